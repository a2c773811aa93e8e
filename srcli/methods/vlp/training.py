"""VLP, trained by the likelihood of demonstrated places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from srcli.errors import SceneError
from srcli.learning.keyposes import KeyposeSet
from srcli.learning.loop import Settings, Task
from srcli.learning.regions import regions_of_cells
from srcli.learning.schedule import Schedule, walk
from srcli.methods.base import FitProgress, Fitted, TrainingData
from srcli.methods.fitting import fit_network
from srcli.methods.vlp.network import Scenes, VlpNetwork, build_network
from srcli.methods.vlp.scenes import Scene, collated, scene_of
from srcli.methods.vlp.section import VlpConfig
from srcli.seeding import generator
from srcli.types import I64, Bool

if TYPE_CHECKING:
    from srcli.artifacts.features import FeatureDataset

VALUES = ("valid_loss", "valid_top1", "valid_rate")
"""Negative log-likelihood in nats; shares of samples whose best place is the demonstrated one, and is right."""
ADVICE = "lower methods.vlp.train.lr; if it is so from the first update, check the features with `srcli info`"


@dataclass(frozen=True, slots=True)
class Example:
    """A placement with its label.

    Attributes:
        label: the demonstrated place.
        valid: (K,) places that are right.
    """

    scene: Scene
    label: int
    valid: Bool


@dataclass(frozen=True)
class Part:
    """A batch.

    Attributes:
        target: (B, K) shares of the likelihood, rows of sum 1.
    """

    scenes: Scenes
    target: torch.Tensor


def examples_of(features: FeatureDataset | None, section: VlpConfig) -> tuple[list[Example], int, int]:
    """The placements of a features file with things found: those trained on first, then those kept back.

    Returns:
        Examples, how many are trained on, and D.

    Raises:
        SceneError: no features, or no placement among its training samples.
        ArtifactError: the file was made without whole views, or is damaged.
    """
    seen = KeyposeSet(features, surface=False)
    assert features is not None
    place = features.column("phase") == 1
    train, valid = seen.train[place[seen.train]], seen.valid[place[seen.valid]]
    if len(train) == 0:
        raise SceneError("the features hold no placement among the training samples", "collect placements, then featurize again")
    found = []
    for index in np.concatenate([train, valid]):
        row = features.sample(int(index), ("candidates", "candidate_mask", "label", "valid"))
        # Padding stands last and has no pose; what had failed before has one.
        count = int(row["candidates"].any(axis=1).nonzero()[0][-1]) + 1
        given = seen.sample(int(index)).given
        poses, usable = row["candidates"][:count], row["candidate_mask"][:count]
        scene = scene_of(given, (), poses, usable, regions_of_cells(given.cells, given.features, section.regions))
        found.append(Example(scene, int(row["label"]), np.asarray(row["valid"][:count], dtype=np.bool_)))
    return found, len(train), seen.feature_dim


def batch_of(examples: Sequence[Example], target: str, turns: Sequence[float] | None = None) -> Part:
    """A batch.

    Args:
        target: ``expert``: the demonstrated place; ``valid``: all that are right in equal parts.
        turns: radians that each example is turned about the vertical; None: none.
    """
    scenes = collated([e.scene if turns is None else e.scene.turned(turns[i]) for i, e in enumerate(examples)])
    shares = torch.zeros(scenes.place_mask.shape)
    for row, example in zip(shares, examples, strict=True):
        usable = example.valid & example.scene.usable
        if target == "valid" and usable.any():
            row[: len(usable)] = torch.from_numpy(usable / usable.sum())
        else:
            row[example.label] = 1.0
    return Part(scenes, shares)


def loss_of(log_p: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood (B,) of targets (B, K) under log probabilities (B, K), which are -inf where padded."""
    return -(target * log_p.masked_fill(target == 0, 0.0)).sum(dim=1)


class _Training:
    """What the loop asks for.

    Args:
        examples: the first ``trained`` of them are trained on.
    """

    def __init__(
        self, network: VlpNetwork, examples: Sequence[Example], trained: int, section: VlpConfig, seed: int, device: str
    ) -> None:
        self.network, self.examples, self.trained = network, examples, trained
        self.section, self.seed, self.device = section, seed, device

    def draw(self, update: int) -> list[Part]:
        """The batch of an update."""
        train = self.section.train
        order: I64 = np.arange(self.trained)
        chosen = [self.examples[int(i)] for i in walk(order, update, train.batch_size, self.seed)]
        turns = generator((self.seed,), 2, update).uniform(-train.turn, train.turn, len(chosen))
        return [batch_of(chosen, train.target, turns.tolist())]

    def loss(self, part: Part) -> torch.Tensor:
        """Mean over the batch."""
        return loss_of(self.network(part.scenes.to(self.device)), part.target.to(self.device)).mean()

    def validate(self) -> dict[str, float]:
        """:data:`VALUES` over what is kept back; NaN where nothing is."""
        values = []
        back, size = self.examples[self.trained :], self.section.train.batch_size
        for start in range(0, len(back), size):
            some = back[start : start + size]
            part = batch_of(some, self.section.train.target)
            log_p = self.network(part.scenes.to(self.device)).cpu()
            best = log_p.argmax(dim=1).tolist()
            for example, loss, taken in zip(some, loss_of(log_p, part.target).tolist(), best, strict=True):
                values.append((loss, float(taken == example.label), float(example.valid[taken])))
        means = np.mean(values, axis=0).tolist() if values else [math.nan] * len(VALUES)
        return dict(zip(VALUES, means, strict=True))


def fit(
    section: VlpConfig, data: TrainingData, *, seed: int, device: str, checkpoint: Path, progress: FitProgress | None
) -> Fitted:
    """Train the network on the placements of a features file.

    Raises:
        SceneError: no features, no placement among them, or the loss is not finite.
        ArtifactError: the features were made without whole views.
    """
    examples, trained, dim = examples_of(data.features, section)
    assert data.features is not None
    train = section.train
    network = build_network(section.network, dim, seed).to(device)
    task = _Training(network, examples, trained, section, seed, device)
    settings = Settings(
        updates=train.updates,
        rate=Schedule(train.lr, train.updates, train.warmup),
        weight_decay=train.weight_decay,
        clip=train.clip,
        best=VALUES[0] if train.select == "best" and trained < len(examples) else None,
        validate_every=train.validate_every,
        checkpoint_every=train.checkpoint_every,
        advice=ADVICE,
    )
    fitted = fit_network(
        Task(network, task.draw, task.loss, task.validate),
        settings,
        section,
        data.features,
        samples=trained,
        feature_dim=dim,
        titles={name: name.replace("_", " ") for name in VALUES},
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    return replace(fitted, metrics={name.replace("valid_loss", "loss"): value for name, value in fitted.metrics.items()})
