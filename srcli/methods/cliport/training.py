"""CLIPort, trained on the keyposes of demonstrations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from srcli.learning.keyposes import NEAR, KeyposeSample, KeyposeSet, turned
from srcli.learning.loop import Settings, Task
from srcli.learning.schedule import Schedule
from srcli.methods.base import FitProgress, Fitted, TrainingData
from srcli.methods.cliport.decode import labels, places, yaw_bins
from srcli.methods.cliport.maps import grid_of, maps_of
from srcli.methods.cliport.network import CliportNetwork, Maps, build_network, heat_loss
from srcli.methods.cliport.section import CliportConfig
from srcli.methods.fitting import fit_network
from srcli.seeding import generator
from srcli.types import F64, I64

CHUNK = 4
"""Samples that a processor works on at once."""
_TRIES = 20
"""Turns that are drawn for a sample whose label leaves the map, before it is taken as it is."""


@dataclass(frozen=True)
class Part:
    """Samples of one phase, of a batch of ``size``."""

    maps: Maps
    label: torch.Tensor
    size: int


class Teacher:
    """Batches, loss and validation of one training."""

    def __init__(self, network: CliportNetwork, data: KeyposeSet, section: CliportConfig, seed: int, device: str) -> None:
        self.network, self.data, self.config, self.seed, self.device = network, data, section, seed, device
        self.grid = grid_of(section.network)

    def draw(self, update: int) -> list[Part]:
        """The batch of an update; samples are turned and shifted, and drawn into maps anew."""
        train = self.config.train
        rng = generator((self.seed,), 3, update)
        drawn = self.data.draw(update, train.batch_size, self.seed, turn=0.0, shift=0.0)
        return self._parts([self._augmented(sample, rng) for sample in drawn], CHUNK if self.device == "cpu" else len(drawn))

    def _augmented(self, sample: KeyposeSample, rng: np.random.Generator) -> KeyposeSample:
        """The sample turned so that its label stays on the map: as published, others are drawn again."""
        train = self.config.train
        for _ in range(_TRIES):
            angle, shift = rng.uniform(-train.turn, train.turn), rng.normal(0.0, 1.0, 2) * train.shift
            changed = turned(sample, float(angle), shift)
            if labels(changed.pose[None], self.grid, 1)[1][0]:
                return changed
        return sample

    def _parts(self, samples: Sequence[KeyposeSample], size: int) -> list[Part]:
        parts = []
        for place in (False, True):
            same = [sample for sample in samples if sample.given.place == place]
            label, inside = self._labels(same, place)
            same = [sample for sample, kept in zip(same, inside, strict=True) if kept]
            label = label[inside]
            for start in range(0, len(same), size):
                maps = maps_of([sample.given for sample in same[start : start + size]], self.grid, self.device)
                parts.append(Part(maps, torch.from_numpy(label[start : start + size]).to(self.device), len(samples)))
        return parts

    def _labels(self, samples: Sequence[KeyposeSample], place: bool) -> tuple[I64, np.ndarray]:
        if not samples:
            return np.zeros(0, np.int64), np.zeros(0, np.bool_)
        bins = 1 if place else self.config.network.yaws
        return labels(np.stack([sample.pose for sample in samples]), self.grid, bins)

    def loss(self, part: Part) -> torch.Tensor:
        """A part's share of the batch's mean."""
        return heat_loss(self.network(part.maps), part.label).sum() / part.size

    def validate(self) -> dict[str, float]:
        """Loss (nats), horizontal distance (metres) and angle (radians) of the highest entries from the expert's poses."""
        found: dict[bool, list[F64]] = {False: [], True: []}
        for start in range(0, len(self.data.valid), CHUNK):
            samples = [self.data.sample(int(index)) for index in self.data.valid[start : start + CHUNK]]
            for place in (False, True):
                same = [sample for sample in samples if sample.given.place == place]
                if same:
                    found[place].append(self._errors(same, place))
        rows = {place: np.concatenate(part) if part else np.zeros((0, 3)) for place, part in found.items()}
        both = np.concatenate([rows[False], rows[True]])
        return {
            "valid_loss": _mean(both[:, 0]),
            "pick_distance": _median(rows[False][:, 1]),
            "place_distance": _median(rows[True][:, 1]),
            "pick_near": _mean(rows[False][:, 1] <= NEAR),
            "place_near": _mean(rows[True][:, 1] <= NEAR),
            "pick_angle": _mean(rows[False][:, 2]),
        }

    def _errors(self, samples: Sequence[KeyposeSample], place: bool) -> F64:
        """(S, 3) loss, distance and angle of samples of one phase; a label outside of the map counts as on its border."""
        bins = 1 if place else self.config.network.yaws
        poses = np.stack([sample.pose for sample in samples])
        half = self.grid.pixel * self.grid.count / 2 - self.grid.pixel / 2
        middle = np.asarray(self.grid.lower) + self.grid.pixel * self.grid.count / 2
        bounded = poses.copy()
        bounded[:, :2] = np.clip(poses[:, :2], middle - half, middle + half)
        label, _ = labels(bounded, self.grid, bins)
        logits = self.network(maps_of([sample.given for sample in samples], self.grid, self.device))
        loss = heat_loss(logits, torch.from_numpy(label).to(self.device)).double().cpu().numpy()
        best = logits.flatten(1).argmax(dim=1).cpu().numpy()
        xy, yaw = places(best, self.grid, bins)
        # In hundredths of a bin's width: the expert's own yaw is finer than the bins.
        fine = 100 * bins
        turn = np.abs(yaw_bins(poses, fine) * (math.pi / fine) - yaw)
        angle = np.minimum(turn % math.pi, math.pi - turn % math.pi)
        return np.stack([loss, np.linalg.norm(xy - poses[:, :2], axis=1), angle], axis=1)


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else math.nan


def fit(
    section: CliportConfig, data: TrainingData, *, seed: int, device: str, checkpoint: Path, progress: FitProgress | None
) -> Fitted:
    """Train both modules; weights come back in half precision.

    Raises:
        SceneError: no features, no training sample, or the loss is not finite.
        ArtifactError: the features were made without whole views.
    """
    keyposes = KeyposeSet(data.features)
    assert data.features is not None
    train = section.train
    network = build_network(section.network, keyposes.feature_dim, seed).to(device)
    teacher = Teacher(network, keyposes, section, seed, device)
    settings = Settings(
        updates=train.updates,
        rate=Schedule(train.lr, train.updates, train.warmup, train.schedule, floor=0.02),
        weight_decay=train.weight_decay,
        clip=train.clip,
        best="valid_loss" if train.select == "best" and len(keyposes.valid) else None,
        validate_every=train.validate_every,
        checkpoint_every=train.checkpoint_every,
        prefetch=device != "cpu",
        advice="lower methods.cliport.train.lr",
    )
    task = Task(network, teacher.draw, teacher.loss, teacher.validate if len(keyposes.valid) else None)
    return fit_network(
        task,
        settings,
        section,
        data.features,
        samples=len(keyposes.train),
        feature_dim=keyposes.feature_dim,
        titles={"valid_loss": "valid loss", "pick_near": "picks near"},
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
        half=True,
    )
