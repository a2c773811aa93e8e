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
from srcli.learning.regions import unit
from srcli.methods.base import Decision
from srcli.perception.fusion import DenseValues, fuse
from srcli.types import F32, Bool

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


def encoder_of(encoder: Looking | None) -> Looking:
    """The encoder.

    Raises:
        ConfigError: there is none.
    """
    if encoder is None:
        raise ConfigError("this method compares what is seen with a sentence, but no encoder was given", "pass an encoder")
    return encoder


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
