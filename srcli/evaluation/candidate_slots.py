"""On which object does a candidate lie? Privileged: for supervision and analysis, never for a policy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srcli.actions.between import between_fingers
from srcli.perception.geometry import unproject_view
from srcli.types import F32, I32, Candidates, Observation

ROBOT = 65535
_NEAREST = 0.030
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
    if not len(points) or not len(candidates):
        return out
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(points).query(candidates.poses[:, :3])
    near = distance <= _NEAREST
    out[near] = slots[nearest[near]]
    for row, inside in enumerate(between_fingers(points, candidates.poses, candidates.widths)):
        if len(inside):
            out[row] = np.bincount(slots[inside]).argmax()
    return out


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
