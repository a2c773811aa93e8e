"""On which object does a candidate lie? Privileged: for supervision and analysis, never for a policy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srcli.perception.geometry import unproject_view
from srcli.types import F32, F64, I32, Candidates, Observation

ROBOT = 65535
# The region that the fingers close: half a finger's width to each side, from above the tip to just below it.
_HALF_FINGER = 0.011
_ABOVE, _BELOW = 0.030, 0.005
_NEAREST = 0.030
# Covers the region for the widest opening.
_REACH = 0.055
_STRIDE = 2


def candidate_slots(observation: Observation, segmentation: npt.NDArray[np.uint16], candidates: Candidates) -> I32:
    """The object with most visible points between the fingers; else the one nearest to the tip within 3 cm; else -1.

    Args:
        observation: M views.
        segmentation: (M, H, W) slot + 1, 0 background, 65535 robot.
        candidates: K poses, world frame.

    Returns:
        (K,) int32 scene slots.
    """
    points, slots = _object_points(observation, segmentation)
    out = np.full(len(candidates), -1, dtype=np.int32)
    if not len(points):
        return out
    from scipy.spatial import cKDTree

    around = cKDTree(points).query_ball_point(candidates.poses[:, :3], _REACH)
    for row, (pose, width, near) in enumerate(zip(candidates.poses, candidates.widths, around, strict=True)):
        if not near:
            continue
        close, owner = points[near] - pose[:3], slots[near]
        tool = close @ rotation(pose[3:])
        inside = (
            (np.abs(tool[:, 0]) <= width / 2)
            & (np.abs(tool[:, 1]) <= _HALF_FINGER)
            & (tool[:, 2] >= -_ABOVE)
            & (tool[:, 2] <= _BELOW)
        )
        if inside.any():
            out[row] = np.bincount(owner[inside]).argmax()
            continue
        distance = np.linalg.norm(close, axis=1)
        nearest = int(distance.argmin())
        if distance[nearest] <= _NEAREST:
            out[row] = owner[nearest]
    return out


def rotation(quaternion: npt.NDArray[np.floating]) -> F64:
    """(3, 3) rotation matrix of a unit quaternion xyzw; its columns are the tool's axes in the world frame."""
    x, y, z, w = (float(q) for q in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _object_points(observation: Observation, segmentation: npt.NDArray[np.uint16]) -> tuple[F32, I32]:
    """Points on objects from all views, every second pixel of each axis, and the slot of each."""
    points, slots = [], []
    coarse = np.zeros(segmentation.shape[1:], dtype=np.bool_)
    coarse[::_STRIDE, ::_STRIDE] = True
    for depth, K, pose, labels in zip(observation.depth, observation.K, observation.T_world_cam, segmentation, strict=True):
        wanted = coarse & (labels > 0) & (labels < ROBOT) & (depth > 0)
        points.append(unproject_view(np.where(wanted, depth, 0).astype(np.float32), K, pose))
        slots.append(labels[wanted].astype(np.int32) - 1)
    return np.concatenate(points), np.concatenate(slots)
