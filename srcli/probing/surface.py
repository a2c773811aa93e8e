"""True surfaces of the catalogue at true poses. Privileged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from srcli.pretraining.surface import MOST, Surface, sample_surface
from srcli.types import F64, Bool


@lru_cache(maxsize=256)
def surface(name: str) -> Surface:
    """The surface of an object of the catalogue in its body frame."""
    from srcli.evaluation.setup import instance

    return sample_surface(instance(name).hulls, MOST)


def scene_points(names: Sequence[str], poses: F64, present: Bool) -> F64:
    """(P, 3) points of the true surfaces of all present objects at their poses (S, 7), world frame, metres."""
    parts = [surface(name).moved(pose).points for name, pose, here in zip(names, poses, present, strict=True) if here]
    return np.concatenate(parts) if parts else np.zeros((0, 3))
