"""Poses as 9 numbers: position within the workspace in -1..1, and the first two columns of the rotation (Zhou et al. 2019)."""

from __future__ import annotations

import numpy as np

from srcli.learning.keyposes import WORKSPACE
from srcli.types import F32, F64


def to_nine(poses: F32) -> F32:
    """(K, 7) poses (metres, xyzw) as (K, 9): position scaled from the workspace to -1..1, tool x, tool y.

    What lies outside of the workspace goes outside of -1..1.
    """
    from scipy.spatial.transform import Rotation

    if len(poses) == 0:
        return np.zeros((0, 9), np.float32)
    lower, upper = WORKSPACE
    matrices: F64 = Rotation.from_quat(poses[:, 3:].astype(np.float64)).as_matrix()
    place = 2.0 * (poses[:, :3].astype(np.float64) - lower) / (upper - lower) - 1.0
    return np.concatenate([place, matrices[:, :, 0], matrices[:, :, 1]], axis=1).astype(np.float32)


def from_nine(numbers: F32) -> F32:
    """The (K, 7) poses that (K, 9) numbers stand for; the two columns are made orthonormal by Gram and Schmidt.

    Columns that say nothing (no length, or parallel) give any rotation that fits them.
    """
    from scipy.spatial.transform import Rotation

    if len(numbers) == 0:
        return np.zeros((0, 7), np.float32)
    lower, upper = WORKSPACE
    wide = numbers.astype(np.float64)
    x = _unit(wide[:, 3:6], np.tile([1.0, 0.0, 0.0], (len(wide), 1)))
    # The axis that x has least of is never parallel to it.
    other = np.eye(3)[np.argmin(np.abs(x), axis=1)]
    y = _unit(_across(wide[:, 6:9], x), _unit(_across(other, x), other))
    matrices = np.stack([x, y, np.cross(x, y)], axis=2)
    place = (wide[:, :3] + 1.0) / 2.0 * (upper - lower) + lower
    return np.concatenate([place, Rotation.from_matrix(matrices).as_quat()], axis=1).astype(np.float32)


def _across(vectors: F64, x: F64) -> F64:
    """The part of (K, 3) vectors that is perpendicular to unit vectors x."""
    rest: F64 = vectors - (vectors * x).sum(axis=1, keepdims=True) * x
    return rest


def _unit(vectors: F64, otherwise: F64) -> F64:
    """(K, 3) vectors with length 1; ``otherwise`` where they have none."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: F64 = np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), otherwise)
    return unit
