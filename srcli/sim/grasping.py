"""Grasping as a sequence of motions; whatever goes wrong ends the attempt with its reason.

Every attempt is driven from the observing pose: starting close above the pile would be shorter but gives other outcomes. After an
attempt that holds nothing the arm is put back to the observing pose at once, from a free place above the pile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srcli.sim.motion import Arm
from srcli.sim.physics import Physics
from srcli.sim.robot import FINGER, HOME, MAX_OPENING, inverse
from srcli.types import F64, OPENING_MARGIN, Action, Execution, Reason

_TRANSIT_HEIGHT = 0.25
_TRANSIT_SPEED = 1.0
_TABLE_GAP = 0.002
_EMPTY_GAP = 0.0008
_MIN_RISE = 0.03
_HOLD_STEPS = 30
_BACK_OFF = 0.02


@dataclass(frozen=True, slots=True)
class Held:
    """What the gripper holds.

    Attributes:
        slot: which object.
        rotation: (3, 3) the tip's orientation in the world when it was grasped.
    """

    slot: int
    rotation: F64


def rotation(quaternion: F64) -> F64:
    """Rotation matrix (3, 3) of a quaternion xyzw, normalised first."""
    x, y, z, w = np.asarray(quaternion, float) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def tip_pose(action: Action, shift: float = 0.0) -> F64:
    """World pose (4, 4) of the tip in a 7-vector action (metres, quaternion xyzw) given in the zone ``shift`` metres along y."""
    pose = np.eye(4)
    pose[:3, :3] = rotation(np.asarray(action.pose[3:], float))
    pose[:3, 3] = np.asarray(action.pose[:3], float)
    pose[1, 3] += shift
    return pose


def above_table(pose: F64, opening: float) -> F64:
    """The pose lifted as far as needed to keep the open fingers' lowest corner 2 mm above the table."""
    reach = (opening / 2 + FINGER[0]) * abs(pose[2, 0]) + FINGER[1] / 2 * abs(pose[2, 1])
    lifted: F64 = pose.copy()
    lifted[2, 3] = max(lifted[2, 3], _TABLE_GAP + reach)
    return lifted


def raised(pose: F64, vector: F64) -> F64:
    """The pose (4, 4) moved by ``vector`` (3,) in metres, world frame."""
    moved: F64 = pose.copy()
    moved[:3, 3] += vector
    return moved


def _flipped(pose: F64) -> F64:
    """The same grasp with the fingers exchanged: turned by pi about the approach."""
    turned: F64 = pose.copy()
    turned[:3, :2] *= -1.0
    return turned


@dataclass(frozen=True, slots=True)
class _Plan:
    reach: F64
    transit: F64
    descent: F64
    lift: F64


def _plan(arm: Arm, start: F64, target: F64, approach: F64, lift: float) -> _Plan | None:
    """Joint paths: start -> above -> pre-grasp -> target -> straight up; of the two equal hand poses the nearer one."""
    best: tuple[float, _Plan] | None = None
    speed = arm.physics.config.line_speed
    for goal in (target, _flipped(target)):
        pre = raised(goal, -approach)
        above = raised(pre, np.array([0.0, 0.0, max(0.0, _TRANSIT_HEIGHT - pre[2, 3])]))
        first = inverse(above)
        if first is None:
            continue
        transit = arm.line_path(first, (above, pre), _TRANSIT_SPEED)
        descent = None if transit is None else arm.line_path(transit[-1], (pre, goal), speed)
        if transit is None or descent is None:
            continue
        up = arm.line_path(descent[-1], (goal, raised(goal, np.array([0.0, 0.0, lift]))), speed)
        if up is None:
            continue
        cost = float(np.abs(first - start).max())
        if best is None or cost < best[0]:
            best = (cost, _Plan(arm.joint_path(start, first), transit, descent, up))
    return None if best is None else best[1]


def _held(arm: Arm, physics: Physics, before: F64) -> int | None:
    """The slot in contact with both fingers and lifted since ``before`` (S, 7); the most firmly held when there are several."""
    if float(arm.gaps().min()) < _EMPTY_GAP and float(arm.gaps().sum()) < 2 * _EMPTY_GAP:
        return None
    now = physics.poses()
    candidates = []
    for body, force in arm.touched().items():
        slot = physics.slot_of(body)
        if slot is not None and now[slot, 2] - before[slot, 2] > _MIN_RISE:
            candidates.append((force, -slot))
    return -max(candidates)[1] if candidates else None


def grasp(arm: Arm, physics: Physics, action: Action, shift: float = 0.0) -> tuple[Execution, Held | None]:
    """Pre-grasp, straight descent with force stop, close, straight lift, hold test.

    Args:
        action: kind "grasp"; pose of the tip in the zone's frame, ``width`` the opening in metres before closing, to which a
            margin is added up to the gripper's stroke.
        shift: the zone's shift in y, metres.

    Returns:
        The execution and what is held at its end; reasons NO_IK, COLLISION, NOTHING_HELD, SLIPPED or SUCCESS.
    """
    config, begin = physics.config, physics.steps
    opening = min(MAX_OPENING, max(action.width, 0.0) + OPENING_MARGIN)
    target = above_table(tip_pose(action, shift), opening)
    plan = _plan(arm, np.array(HOME), target, target[:3, 2] * config.approach, config.lift)
    if plan is None:
        return Execution(Reason.NO_IK, None, 0), None
    before = physics.poses()
    arm.reset(opening)
    arm.follow(plan.reach)

    def blocked() -> bool:
        return arm.contact_force() > config.contact_force

    if not (arm.follow(plan.transit, blocked) and arm.follow(plan.descent, blocked)):
        _back_off(arm)
        return Execution(Reason.COLLISION, None, physics.steps - begin), None
    arm.close()
    arm.follow(plan.lift)
    first = _held(arm, physics, before)
    if first is None:
        return Execution(Reason.NOTHING_HELD, None, physics.steps - begin), None
    physics.step(_HOLD_STEPS)
    slot = _held(arm, physics, before)
    if slot is None:
        return Execution(Reason.SLIPPED, None, physics.steps - begin), None
    return Execution(Reason.SUCCESS, slot, physics.steps - begin), Held(slot, arm.tip()[:3, :3])


def _back_off(arm: Arm) -> None:
    here = arm.tip()
    start = arm.measured()
    back = arm.line_path(start, (here, raised(here, -here[:3, 2] * _BACK_OFF)), 0.2)
    if back is not None:
        arm.follow(back)
