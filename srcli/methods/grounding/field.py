"""What the methods of this folder look at: every point that the cameras saw, with its fused features, and regions of them.

The percept of a decision keeps the points most like the sentence. These systems look at all of them, so the views are encoded
once more and fused on the percept's points, those kept and those left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from srcli.config.cloud import CloudConfig
from srcli.errors import ConfigError, SceneError
from srcli.methods.base import Decision
from srcli.methods.grounding.clusters import regions
from srcli.methods.grounding.section import RegionConfig
from srcli.perception.fusion import DenseValues, fuse
from srcli.types import F32, I64, Bool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from srcli.types import U8, TextEmbedding


class Looking(Protocol):
    """What these methods need of an encoder."""

    def dense(self, rgb: U8) -> DenseValues: ...

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]: ...

    def unknown_words(self, text: str) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Field:
    """Points with features.

    Attributes:
        points: (N, 3) float32, world frame, metres; the percept's own first, in their order.
        features: (N, D) float32, fused, of unit length.
        kept: how many of them the percept's cloud keeps.
        query: (D,) the sentence, of unit length.
    """

    points: F32
    features: F32
    kept: int
    query: F32


@dataclass(frozen=True, slots=True)
class Regions:
    """Things without names: the regions of a field that are large enough.

    Attributes:
        label: (N,) the region of each point, from 0; -1 for points of none.
        features: (L, D) their mean features, of unit length.
        lower, upper: (L, 3) corners of their boxes, metres.
    """

    label: I64
    features: F32
    lower: F32
    upper: F32

    def __len__(self) -> int:
        return len(self.features)

    @property
    def centres(self) -> F32:
        """(L, 3) middle of each box, metres."""
        middle: F32 = ((self.lower + self.upper) / 2).astype(np.float32)
        return middle


def encoder_of(encoder: Looking | None) -> Looking:
    """The encoder.

    Raises:
        ConfigError: there is none.
    """
    if encoder is None:
        raise ConfigError("this method compares what is seen with a sentence, but no encoder was given", "pass an encoder")
    return encoder


def unit(vectors: F32) -> F32:
    """Rows (N, D) at unit length; a zero row stays zero."""
    scaled: F32 = (vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)).astype(np.float32)
    return scaled


def look(decision: Decision, dense: DenseValues) -> Field:
    """The field of a decision.

    Args:
        dense: features of its views.

    Raises:
        SceneError: the observation is unusable, or no camera sees any point.
    """
    percept = decision.percept()
    points = np.concatenate([percept.cloud.points, percept.cloud.rest])
    return Field(points, on_points(points, dense, decision), len(percept.cloud.points), percept.text.pooled)


def on_points(points: F32, dense: DenseValues, decision: Decision) -> F32:
    """Features of the views fused on points (N, 3); (N, D) of unit length.

    A point that no camera sees has those of the nearest that one sees: without any it would count as neither like the query nor
    like any other word, which may be more than all that is seen.

    Raises:
        SceneError: no camera sees any of them.
    """
    features, views = fuse(points, dense, decision.observation, CloudConfig())
    seen = np.flatnonzero(views)
    if len(seen) == 0:
        raise SceneError("no camera sees any point of the cloud", "depth and camera poses do not fit together")
    if len(seen) < len(points):
        from scipy.spatial import cKDTree

        blind = np.flatnonzero(views == 0)
        features[blind] = features[seen[np.asarray(cKDTree(points[seen]).query(points[blind])[1])]]
    return unit(features)


def regions_of(field: Field, config: RegionConfig) -> Regions:
    """The regions of a field; where none is large enough, all of it is one.

    Boxes of regions stand in for the boxes and masks of detectors: two touching things that look alike are one, a thing that is
    hidden in part may be two.
    """
    label = regions(field.points, field.features, config.reach, config.alike)
    count = np.bincount(label)
    large = np.flatnonzero(count >= config.least)
    if len(large) == 0:
        large, label = np.zeros(1, dtype=np.int64), np.zeros_like(label)
    number = np.full(len(count), -1, dtype=np.int64)
    number[large] = np.arange(len(large))
    label = number[label]
    members = [np.flatnonzero(label == i) for i in range(len(large))]
    return Regions(
        label,
        unit(np.stack([field.features[index].mean(axis=0) for index in members])),
        np.stack([field.points[index].min(axis=0) for index in members]),
        np.stack([field.points[index].max(axis=0) for index in members]),
    )


def spread(values: F32) -> F32:
    """Values (N,) stretched to 0..1, for pictures; all 1 where they are equal."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:
        return np.ones(len(values), dtype=np.float32)
    return ((values - low) / (high - low)).astype(np.float32)


def any_of(decision: Decision, wanted: Bool) -> int:
    """A random candidate of those wanted (K,); of all, where none of these is left."""
    allowed = ~decision.excluded
    found = np.flatnonzero(wanted & allowed)
    return int(decision.rng.choice(found if len(found) else np.flatnonzero(allowed)))
