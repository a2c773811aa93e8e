"""The training set: feature samples, in memory or in a file that is larger, drawn as padded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from srcli.artifacts.features import CACHE_BYTES, FeatureDataset
from srcli.config.train import TrainConfig
from srcli.errors import SceneError
from srcli.learning.augment import augment, random_rotation
from srcli.learning.rotations import about, basis_from
from srcli.models.batch import Batch
from srcli.types import F32, F64, I64

Array = npt.NDArray[Any]
NETWORK_INPUTS = (
    "points",
    "features",
    "similarity",
    "point_mask",
    "text",
    "tokens",
    "token_mask",
    "candidates",
    "candidate_mask",
    "quality",
)
PER_POINT = ("points", "features", "similarity", "point_mask")
PER_CANDIDATE = ("candidates", "candidate_mask", "quality", "valid")
MEAN_OF = 200
"""Training samples, evenly spread, that the mean feature and the mean sentence are taken of."""
SAMPLE = (*NETWORK_INPUTS, "label", "valid", "phase")


@dataclass(frozen=True)
class Labels:
    """Supervision of a batch, never an input of the network.

    Attributes:
        expert: (B,) int64, the candidate the expert took.
        valid: (B, K) True for candidates on a target object, or in the region that is asked for.
        quality: (B, K) of the prior.
        place: (B,) True where the decision is a placement.
    """

    expert: torch.Tensor
    valid: torch.Tensor
    quality: torch.Tensor
    place: torch.Tensor

    def part(self, start: int, stop: int, candidates: int) -> Labels:
        """Labels of decisions ``start`` to ``stop`` for the first so many candidates."""
        rows = slice(start, stop)
        return Labels(self.expert[rows], self.valid[rows, :candidates], self.quality[rows, :candidates], self.place[rows])

    def to(self, device: torch.device | str) -> Labels:
        """The same labels on another device."""
        return Labels(*(value.to(device) for value in (self.expert, self.valid, self.quality, self.place)))


class Samples(Protocol):
    """Where samples come from: :class:`InMemory`, or :class:`srcli.artifacts.features.FeatureDataset`."""

    @property
    def arrays(self) -> Mapping[str, Array]:
        """All samples in memory, whatever their size."""

    def column(self, name: str) -> Array:
        """One array of all samples."""

    def sample(self, index: int, names: Sequence[str]) -> Mapping[str, Array]:
        """Arrays of one sample; not to be changed. Threads may ask at once."""


@dataclass(frozen=True)
class InMemory:
    """Samples in memory: arrays whose first axis is the sample."""

    arrays: Mapping[str, Array]

    def column(self, name: str) -> Array:
        """One array of all samples."""
        return self.arrays[name]

    def sample(self, index: int, names: Sequence[str]) -> dict[str, Array]:
        """Views of one sample's arrays."""
        return {name: self.arrays[name][index] for name in names}


class TrainingSet:
    """Samples with their splits.

    Args:
        samples: arrays, or what reads them, as in a features file: points (n, N, 3), features (n, N, D), similarity, point_mask
            (n, N), text (n, D), tokens (n, L, D), token_mask (n, L), candidates (n, K, 7), candidate_mask, quality, valid (n, K),
            label (n,), phase (n,), 0 for a pick and 1 for a placement; arrays without it are all picks.
        train, valid: indices of the samples of both splits.
        encoder: identity of the encoder.

    Raises:
        SceneError: nothing to train on.
    """

    def __init__(
        self, samples: Mapping[str, Array] | Samples, train: I64, valid: I64, encoder: Mapping[str, Any] | None = None
    ) -> None:
        if len(train) == 0:
            raise SceneError("the features hold no training sample", "collect more demonstrations, then featurize again")
        if isinstance(samples, Mapping):
            samples = InMemory({"phase": np.zeros(len(samples["label"]), np.uint8), **samples})
        self.samples: Samples = samples
        self.train, self.valid = train, valid
        self.encoder = dict(encoder or {})
        self.feature_dim = len(samples.sample(int(train[0]), ("text",))["text"])
        """D, channels of the joint space."""
        place = samples.column("phase")[train] == 1
        self._pools = train[~place], train[place]

    @classmethod
    def load(cls, path: Path, cache_bytes: int = CACHE_BYTES) -> TrainingSet:
        """From a features file.

        Args:
            cache_bytes: of samples held in memory at most; what is more is read when a batch needs it.

        Raises:
            ArtifactError: the file cannot be used.
            SceneError: it holds no training sample.
        """
        return cls.of(FeatureDataset(path, cache_bytes))

    @classmethod
    def of(cls, data: FeatureDataset) -> TrainingSet:
        """From an open features file.

        Raises:
            SceneError: it holds no training sample.
        """
        return cls(data, data.split("train"), data.split("valid"), data.encoder)

    @property
    def arrays(self) -> Mapping[str, Array]:
        """All samples in memory, whatever their size."""
        return self.samples.arrays

    def pools(self) -> tuple[I64, I64]:
        """Training samples that are picks, and those that are placements."""
        return self._pools

    @cached_property
    def _means(self) -> F64:
        """(D, D) basis whose first two directions span the mean feature and the mean sentence of the training samples."""
        names = ("features", "point_mask", "text")
        seen = [self.samples.sample(int(i), names) for i in self.train[:: max(1, len(self.train) // MEAN_OF)]]
        features = [s["features"][s["point_mask"]].astype(np.float64).mean(axis=0) for s in seen]
        return basis_from([np.mean(features, axis=0), np.mean([s["text"].astype(np.float64) for s in seen], axis=0)])

    def batch(self, indices: I64) -> tuple[Batch, Labels]:
        """The samples as they are, trailing padding cut off."""
        samples = [self.samples.sample(int(i), SAMPLE) for i in indices]
        return _tensors({name: np.stack([s[name] for s in samples]) for name in SAMPLE})

    def training_batch(self, indices: I64, config: TrainConfig, rng: np.random.Generator) -> tuple[Batch, Labels]:
        """The samples augmented; everything random comes from ``rng``."""
        samples = []
        for i in indices:
            sample = dict(self.samples.sample(int(i), SAMPLE))
            if 0 < config.points < len(sample["points"]):
                order = rng.permutation(np.flatnonzero(sample["point_mask"]))[: config.points]
                order = np.concatenate([order, np.flatnonzero(~sample["point_mask"])])[: config.points]
                sample.update({name: sample[name][order] for name in PER_POINT})
            if 0 < config.candidates < int(sample["candidate_mask"].sum()):
                sample.update(_fewer(sample, config.candidates, rng))
            samples.append(augment(sample, config.augment, rng))
        stacked = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
        if config.augment.pick_rotation:
            stacked["words"] = stacked["tokens"].copy()
            turned = (stacked["phase"] == 0) & (rng.random(len(indices)) < config.augment.pick_rotation)
            for i in np.flatnonzero(turned):
                turn = about(self._means, 2, rng)
                for name in ("features", "text", "tokens"):
                    stacked[name][i] = _turned(stacked[name][i], turn)
        if rng.random() < config.augment.feature_rotation:
            turn = random_rotation(self.feature_dim, rng)
            stacked.setdefault("words", stacked["tokens"])
            for name in ("features", "text", "tokens"):
                stacked[name] = _turned(stacked[name], turn)
        return _tensors(stacked)


def _turned(features: Array, turn: F32) -> F32:
    """Features (..., D) times a rotation, by torch, in the threads that train."""
    turned: F32 = (torch.from_numpy(features.astype(np.float32)) @ torch.from_numpy(turn)).numpy()
    return turned


def _fewer(sample: Mapping[str, Array], count: int, rng: np.random.Generator) -> dict[str, Array]:
    """The expert's candidate first, then others drawn at random; the rest becomes padding."""
    real = np.flatnonzero(sample["candidate_mask"])
    label = int(sample["label"])
    kept = np.concatenate([[label], rng.permutation(real[real != label])[: count - 1]])
    order = np.concatenate([kept, np.setdiff1d(np.arange(len(sample["candidate_mask"])), kept)])
    changed = {name: sample[name][order] for name in PER_CANDIDATE}
    return {**changed, "candidate_mask": np.arange(len(order)) < len(kept), "label": np.zeros_like(sample["label"])}


def _tensors(arrays: dict[str, Array]) -> tuple[Batch, Labels]:
    points = max(1, int(arrays["point_mask"].any(axis=0).nonzero()[0].max(initial=0)) + 1)
    candidates = max(1, int(arrays["candidate_mask"].any(axis=0).nonzero()[0].max(initial=0)) + 1)
    cut = {name: arrays[name][:, :points] for name in PER_POINT}
    cut |= {name: arrays[name][:, :candidates] for name in PER_CANDIDATE}
    cut |= {name: arrays[name] for name in ("text", "tokens", "token_mask", "label", "words") if name in arrays}
    cut["place"] = arrays["phase"] == 1
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(value.astype(np.float32) if value.dtype == np.float16 else value))
        for name, value in cut.items()
    }
    labels = Labels(tensors.pop("label"), tensors.pop("valid"), tensors["quality"], tensors["place"])
    return Batch(**tensors), labels
