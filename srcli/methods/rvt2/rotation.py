"""A grasp's rotation as classes: a bin of yaw over half a turn, and how the approach is tilted.

RVT-2 has 72 bins of 5 degrees for each of three Euler angles. Our demonstrations' grasps are vertical or tilted by one angle,
either way about the closing axis or about the axis across the pads (``srcli.actions.poses.approach_frames``), and half a turn
about the approach changes nothing: so yaw over half a turn and five classes of tilt say all there is, without the seam that a
roll of 180 degrees lies on.
"""

from __future__ import annotations

import numpy as np

from srcli.types import F32, F64

TILTS = 5
"""Vertical; tilted by -tilt and by tilt about the closing axis; by -tilt and by tilt about the axis across."""
_DOWN = np.array([0.0, 0.0, -1.0])


def encode(quaternion: F32, tilt: float) -> tuple[float, int]:
    """Yaw in [-pi / 2, pi / 2) and class of tilt of a grasp.

    Args:
        quaternion: (4,) xyzw of the tool, in either of its two forms.
        tilt: angle of tilted approaches, radians; what is nearer to vertical counts as vertical.
    """
    from scipy.spatial.transform import Rotation

    closing, across, approach = Rotation.from_quat(np.asarray(quaternion, np.float64)).as_matrix().T
    about_closing = abs(closing[2]) <= abs(across[2])
    level = closing if about_closing else np.cross(across, _DOWN)
    yaw = float(np.arctan2(level[1], level[0]))
    sideways = float(approach @ np.cross(_DOWN, level)) if about_closing else float(approach @ level)
    if not -np.pi / 2 <= yaw < np.pi / 2:
        yaw = (yaw + np.pi / 2) % np.pi - np.pi / 2
        sideways = -sideways
    if np.arcsin(min(1.0, abs(sideways) / max(1e-9, float(np.linalg.norm(approach))))) < tilt / 2:
        return yaw, 0
    return yaw, (1 if about_closing else 3) + int(sideways > 0)


def decode(yaw: float, tilted: int, tilt: float) -> F32:
    """(4,) quaternion xyzw of the tool, canonical; :func:`encode` backwards."""
    from srcli.actions.poses import canonical_quaternions

    x: F64 = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    y: F64 = np.cross(_DOWN, x)
    if tilted:
        c, s = np.cos(tilt), np.sin(tilt) * (1.0 if tilted in (2, 4) else -1.0)
        if tilted <= 2:
            y, z = c * y - s * _DOWN, s * y + c * _DOWN
        else:
            x, z = c * x - s * _DOWN, s * x + c * _DOWN
    else:
        z = _DOWN
    quaternion: F32 = canonical_quaternions(np.stack([x, y, z], axis=1)[None])[0].astype(np.float32)
    return quaternion


def yaw_bin(yaw: float, bins: int) -> int:
    """The bin of a yaw. The first has its middle at -pi / 2, and the last is beside it.

    So the yaws of the demonstrations, evenly over half a turn, are middles of bins and no borders, which rounding would decide.
    """
    return round((yaw + np.pi / 2) / np.pi * bins) % bins


def bin_yaw(number: int, bins: int) -> float:
    """The yaw at the middle of a bin, radians."""
    return number / bins * np.pi - np.pi / 2
