"""Grasp poses as 7-vectors in one canonical form."""

from __future__ import annotations

import numpy as np

from srcli.types import F32, F64

#: Below this a component counts as zero when a sign is chosen.
_ZERO = 1e-6


def approach_frames(yaws: int, tilt: float = 0.0) -> F64:
    """Tool frames that point downwards.

    Args:
        yaws: closing directions, evenly over half a turn (the gripper is symmetric under a half turn about its approach).
        tilt: angle between approach and vertical, radians. For 0 there is one frame per yaw; otherwise four: tilted both ways
            about the closing axis and both ways about the axis across the pads.

    Returns:
        (F, 3, 3) rotations, columns = tool x, y, z in the world frame.
    """
    frames = []
    for yaw in np.arange(yaws) * np.pi / yaws:
        x = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        z = np.array([0.0, 0.0, -1.0])
        y = np.cross(z, x)
        if tilt == 0.0:
            frames.append(np.stack([x, y, z], axis=1))
            continue
        for sign in (-1.0, 1.0):
            c, s = np.cos(tilt), sign * np.sin(tilt)
            frames.append(np.stack([x, c * y - s * z, s * y + c * z], axis=1))
            frames.append(np.stack([c * x - s * z, y, s * x + c * z], axis=1))
    return np.stack(frames)


def canonical_rotations(rotations: F64) -> F64:
    """Of the two rotations that are one grasp (half a turn about tool z) the one whose closing axis points to +x (or else +y)."""
    x = rotations[:, :, 0]
    lead = np.where(np.abs(x[:, 0]) > _ZERO, x[:, 0], np.where(np.abs(x[:, 1]) > _ZERO, x[:, 1], x[:, 2]))
    sign = np.where(lead < 0, -1.0, 1.0)
    turned: F64 = rotations * np.stack([sign, sign, np.ones_like(sign)], axis=1)[:, None, :]
    return turned


def canonical_quaternions(rotations: F64) -> F64:
    """Quaternions (K, 4) xyzw of canonical rotations, w >= 0; where w = 0 the first component that is not zero is positive."""
    from scipy.spatial.transform import Rotation

    if len(rotations) == 0:
        return np.zeros((0, 4))
    quaternions = np.array(Rotation.from_matrix(canonical_rotations(rotations)).as_quat(), dtype=np.float64)
    quaternions[np.abs(quaternions) < _ZERO] = 0.0
    order = quaternions[:, [3, 0, 1, 2]]
    lead = order[np.arange(len(order)), np.argmax(order != 0, axis=1)]
    canonical: F64 = quaternions * np.where(lead < 0, -1.0, 1.0)[:, None] + 0.0
    return canonical


def rotation_matrices(poses: F32) -> F64:
    """Tool frames (K, 3, 3) of (K, 7) poses: columns = closing, across, approach."""
    from scipy.spatial.transform import Rotation

    if len(poses) == 0:
        return np.zeros((0, 3, 3))
    return np.asarray(Rotation.from_quat(poses[:, 3:].astype(np.float64)).as_matrix(), dtype=np.float64)


def canonical_poses(poses: F32) -> F32:
    """(K, 7) poses of any source in canonical form: position, then the quaternion of :func:`canonical_quaternions`."""
    quaternions = canonical_quaternions(rotation_matrices(poses))
    return np.concatenate([poses[:, :3], quaternions.astype(np.float32)], axis=1).astype(np.float32)
