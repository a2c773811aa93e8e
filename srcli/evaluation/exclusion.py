"""Which candidates repeat what has already failed in an episode; the rule holds for every method alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srcli.types import F32, F64, Bool

SAME_POSITION = 0.015
SAME_REGION = 0.04
SAME_DIRECTION = float(np.cos(np.deg2rad(20.0)))


def exclude(poses: F32, failed: Sequence[F32]) -> Bool:
    """(K,) True where a pose (K, 7) repeats a failure: within 1.5 cm and 20 degrees in approach, or within 4 cm of two failures.

    The second rule keeps a deterministic method from spending all attempts on one object that cannot be grasped; it is lifted
    when nothing else would be left.
    """
    repeated: Bool = np.zeros(len(poses), dtype=np.bool_)
    failures = np.zeros(len(poses), dtype=np.int64)
    approach = approaches(poses)
    for pose in failed:
        distance = np.linalg.norm(poses[:, :3] - pose[:3], axis=1)
        repeated |= (distance <= SAME_POSITION) & (approach @ approaches(pose[None])[0] >= SAME_DIRECTION)
        failures += distance <= SAME_REGION
    tried: Bool = repeated | (failures >= 2)
    return repeated if tried.all() else tried


def approaches(poses: F32) -> F64:
    """(K, 3) unit approach directions (tool z) of poses (K, 7), world frame."""
    x, y, z, w = (poses[:, i].astype(np.float64) for i in (3, 4, 5, 6))
    direction: F64 = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)
    return direction
