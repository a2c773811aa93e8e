"""3D Diffuser Actor, trained: noise is added to the expert's poses, many times to each, and the network says which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from srcli.learning.keyposes import NEAR, KeyposeSample, KeyposeSet
from srcli.learning.loop import Settings, Task
from srcli.learning.schedule import Schedule
from srcli.methods.base import FitProgress, Fitted, TrainingData
from srcli.methods.diffuser_actor.inputs import scenes_of
from srcli.methods.diffuser_actor.network import POSE, DiffuserNetwork, Scenes, build_network
from srcli.methods.diffuser_actor.noising import POSITION, Noising, noising_of
from srcli.methods.diffuser_actor.policy import DiffuserPolicy
from srcli.methods.diffuser_actor.rotation import to_nine
from srcli.methods.diffuser_actor.section import DiffuserConfig, DiffuserTrainConfig
from srcli.methods.fitting import fit_network
from srcli.methods.keypose import METRES_PER_RADIAN, distances
from srcli.models.state import load_arrays
from srcli.seeding import generator

CHUNK = 8
"""Scenes that a processor works on at once."""
VALID_DRAWS = 32
"""Noisy poses of each validation scene, the same at every validation."""
_BATCH, _VALID, _ERRORS = 2, 3, 4
"""Streams of chance: of a batch's noise, of the validation's, and of the poses drawn to measure errors."""


@dataclass(frozen=True)
class _Part:
    """Some scenes of a batch of ``size`` with S noisy poses each.

    Attributes:
        poses, target: (B, S, 9) and what the network is to say of them.
        when: (B, S) their time steps.
    """

    scenes: Scenes
    poses: torch.Tensor
    when: torch.Tensor
    target: torch.Tensor
    size: int


def fit(
    section: DiffuserConfig, data: TrainingData, *, seed: int, device: str, checkpoint: Path, progress: FitProgress | None
) -> Fitted:
    """Train the network on a features file that has views; interrupted, it goes on from its checkpoint.

    Raises:
        SceneError: no features, none with views, no training sample, or the loss is not finite.
        ConfigError: the section contradicts itself.
    """
    samples = KeyposeSet(data.features, surface=False)
    assert data.features is not None  # KeyposeSet says so otherwise
    config = section.train
    network = build_network(section.network, samples.feature_dim, seed).to(device)
    noising = noising_of(section.noise, device)

    def draw(update: int) -> list[_Part]:
        batch = samples.draw(update, config.batch_size, seed, turn=config.turn, shift=config.shift)
        return _parts(batch, config.cells, config.draws, noising, generator((seed,), _BATCH, update), device)

    kept_back = [
        part
        for start in range(0, len(samples.valid), CHUNK)
        for part in _parts(
            [samples.sample(int(i)) for i in samples.valid[start : start + CHUNK]],
            config.cells,
            VALID_DRAWS,
            noising,
            generator((seed,), _VALID, start),
            device,
        )
    ]

    def validate() -> dict[str, float]:
        losses = [loss_of(network, part, config) * part.size for part in kept_back]
        return {"valid_loss": float(torch.stack(losses).sum()) / len(samples.valid) if losses else math.nan}

    settings = Settings(
        updates=config.updates,
        rate=Schedule(config.lr, config.updates, config.warmup),
        weight_decay=config.weight_decay,
        clip=config.clip,
        best="valid_loss" if config.select == "best" and len(samples.valid) else None,
        validate_every=config.validate_every,
        checkpoint_every=config.checkpoint_every,
        prefetch=device != "cpu",
    )
    task = Task(network, draw, lambda part: loss_of(network, part, config), validate)
    fitted = fit_network(
        task,
        settings,
        section,
        data.features,
        samples=len(samples.train),
        feature_dim=samples.feature_dim,
        titles={"valid_loss": "valid loss"},
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    load_arrays(network, fitted.weights, "the training")
    found = errors(network.eval(), samples, section, seed, device)
    return replace(fitted, metrics={"loss": fitted.metrics["valid_loss"], **found})


def loss_of(network: DiffuserNetwork, part: _Part, config: DiffuserTrainConfig) -> torch.Tensor:
    """A part's share of the batch's mean of 30 L1(position) + 10 L1(rotation) (paper, equation 3, without the gripper's opening).

    A placement's rotation is always the same. It is asked for, too: the network reads what it says of it at the next step.
    """
    away = (network(part.scenes, part.poses, part.when) - part.target).abs()
    position, rotation = away[..., :POSITION].mean(dim=(1, 2)), away[..., POSITION:].mean(dim=(1, 2))
    share: torch.Tensor = (config.position_weight * position + config.rotation_weight * rotation).sum() / part.size
    return share


def _parts(
    batch: Sequence[KeyposeSample], cells: int, draws: int, noising: Noising, rng: np.random.Generator, device: str
) -> list[_Part]:
    """Samples with noise on their poses, in parts that a processor works on at once."""
    clean = to_nine(np.stack([sample.pose for sample in batch]))
    shape = (len(batch), draws)
    noise = torch.from_numpy(rng.standard_normal((*shape, POSE), dtype=np.float32)).to(device)
    when = noising.times(torch.from_numpy(rng.random(shape, dtype=np.float32)).to(device))
    told = torch.from_numpy(clean)[:, None].expand(*shape, POSE).to(device)
    poses, target = noising.noised(told, noise, when), noising.target(told, noise)
    size = CHUNK if device == "cpu" else len(batch)
    parts = []
    for start in range(0, len(batch), size):
        rows = slice(start, start + size)
        scenes = scenes_of([sample.given for sample in batch[rows]], cells, rng).to(device)
        parts.append(_Part(scenes, poses[rows], when[rows], target[rows], len(batch)))
    return parts


def errors(network: DiffuserNetwork, samples: KeyposeSet, section: DiffuserConfig, seed: int, device: str) -> dict[str, float]:
    """How good the poses are that the policy takes, over the validation split; NaN where there is no such decision.

    Returns:
        position_error: median distance from the expert's, metres; right_error: the same from the nearest candidate that is right;
        pick_near, place_near: share within 2 cm of one; angle_error: of picks, median angle to the one that is nearest when a
        radian counts as 0.1 m, radians.
    """
    policy = DiffuserPolicy(network, section.noise, section.act, device)
    expert, right, angles, places = [], [], [], []
    for index in samples.valid:
        sample, good = samples.sample(int(index)), samples.right(int(index))
        pose = policy.pose(sample.given, generator((seed,), _ERRORS, int(index)))
        good = good if len(good) else sample.pose[None]
        away = np.linalg.norm(good[:, :3] - pose[:3], axis=1)
        expert.append(float(np.linalg.norm(pose[:3] - sample.pose[:3])))
        right.append(float(away.min()))
        places.append(sample.given.place)
        if not sample.given.place:
            whole = distances(pose[None], good)[0]
            nearest = int(np.argmin(whole))
            angles.append(float(whole[nearest] - away[nearest]) / METRES_PER_RADIAN)
    close, place = np.array(right) <= NEAR, np.array(places, dtype=bool)

    def of(values: Any, summary: Any) -> float:
        return float(summary(values)) if len(values) else math.nan

    return {
        "position_error": of(expert, np.median),
        "right_error": of(right, np.median),
        "pick_near": of(close[~place], np.mean),
        "place_near": of(close[place], np.mean),
        "angle_error": of(angles, np.median),
    }
