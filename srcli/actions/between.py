"""What stands between the fingers of a grasp before they close."""

from __future__ import annotations

import numpy as np

from srcli.actions.poses import rotation_matrices
from srcli.types import F32, I64

# Half a finger's width to each side, from above the tip to just below it.
_HALF_FINGER = 0.011
_ABOVE, _BELOW = 0.030, 0.005
# Covers the region for the widest opening.
_REACH = 0.055


def between_fingers(points: F32, poses: F32, widths: F32) -> list[I64]:
    """The points in each grasp's closing region.

    Args:
        points: (N, 3) world frame, metres.
        poses: (K, 7) grasps, as in ``Candidates``.
        widths: (K,) opening before closing as in ``Candidates``, without the margin that is added when executing, metres.

    Returns:
        K arrays of indices into ``points``, ascending.
    """
    if not len(points) or not len(poses):
        return [np.zeros(0, dtype=np.int64)] * len(poses)
    from scipy.spatial import cKDTree

    around = cKDTree(points).query_ball_point(poses[:, :3], _REACH, return_sorted=True)
    found = []
    for near, pose, frame, width in zip(around, poses, rotation_matrices(poses), widths, strict=True):
        index = np.asarray(near, dtype=np.int64)
        tool = (points[index] - pose[:3]) @ frame
        inside = (np.abs(tool[:, 0]) <= width / 2) & (np.abs(tool[:, 1]) <= _HALF_FINGER)
        inside &= (tool[:, 2] >= -_ABOVE) & (tool[:, 2] <= _BELOW)
        found.append(index[inside])
    return found
