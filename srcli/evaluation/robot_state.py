"""What is known of the robot itself at a decision, as a vector: the ``state`` of neighbouring formats."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from srcli.sim.robot import HOME, MAX_OPENING, forward
from srcli.types import F32, HeldExtent

STATE = ("x", "y", "z", "qx", "qy", "qz", "qw", "opening", "held_radius", "held_half_width", "held_height")
"""Columns of :func:`robot_state`."""


@lru_cache(maxsize=1)
def _home() -> tuple[float, ...]:
    tip = forward(HOME)
    quaternion = Rotation.from_matrix(tip[:3, :3]).as_quat()
    quaternion = quaternion * (1.0 if quaternion[3] >= 0 else -1.0)
    return (*(float(v) for v in tip[:3, 3]), *(float(v) for v in quaternion))


def robot_state(held: HeldExtent | None) -> F32:
    """The tip's pose, the opening and the measured size of what is held, (11,) float32 with columns ``STATE``.

    Every decision is made with the arm at its observing pose: pose in the world frame, metres and xyzw. The opening is the
    gripper's widest where nothing is held, else the narrow side of what is; sizes are 0 where nothing is held.
    """
    opening = MAX_OPENING if held is None else min(2.0 * held.half_width, MAX_OPENING)
    extent = (0.0, 0.0, 0.0) if held is None else (held.radius, held.half_width, held.height)
    return np.array([*_home(), opening, *extent], dtype=np.float32)
