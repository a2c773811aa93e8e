"""Poses as 9 numbers: position within the workspace in -1..1, and the first two columns of the rotation (Zhou et al. 2019)."""

from __future__ import annotations

import numpy as np

from srcli.learning.keyposes import WORKSPACE
from srcli.methods.keypose import frames_of
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
    """The (K, 7) poses that (K, 9) numbers stand for, whatever the numbers: see :func:`srcli.methods.keypose.frames_of`."""
    from scipy.spatial.transform import Rotation

    if len(numbers) == 0:
        return np.zeros((0, 7), np.float32)
    lower, upper = WORKSPACE
    wide = numbers.astype(np.float64)
    place = (wide[:, :3] + 1.0) / 2.0 * (upper - lower) + lower
    return np.concatenate([place, Rotation.from_matrix(frames_of(wide[:, 3:])).as_quat()], axis=1).astype(np.float32)
