"""Grasp and place as sequences of motions; whatever goes wrong ends the attempt with its reason.

Every attempt is driven from the observing pose: starting close above the pile would be shorter but gives other outcomes. After an
attempt that holds nothing the arm is put back to the observing pose at once, from a free place above the pile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srcli.sim.motion import Arm
from srcli.sim.physics import Physics
from srcli.sim.robot import FINGER, HOME, MAX_OPENING, inverse
from srcli.types import F64, Action, Execution, Reason

OPENING_MARGIN = 0.012
_TRANSIT_HEIGHT = 0.25
_TRANSIT_SPEED = 1.0
_TABLE_GAP = 0.002
_EMPTY_GAP = 0.0008
_MIN_RISE = 0.03
_HOLD_STEPS = 30
_BACK_OFF = 0.02
_SOFT_TOUCH = 3.0


@dataclass(frozen=True, slots=True)
class Held:
    """What the gripper holds.

    Attributes:
        slot: which object.
        offset: (3,) its centre of mass in the tip frame, metres.
        bottom: depth of its lowest point below its centre of mass, metres.
    """

    slot: int
    offset: F64
    bottom: float


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


def tip_pose(action: Action) -> F64:
    """World pose (4, 4) of the tip in a 7-vector action (float, metres, quaternion xyzw)."""
    pose = np.eye(4)
    pose[:3, :3] = rotation(np.asarray(action.pose[3:], float))
    pose[:3, 3] = np.asarray(action.pose[:3], float)
    return pose


def above_table(pose: F64, opening: float) -> F64:
    """The pose lifted as far as needed to keep the open fingers' lowest corner 2 mm above the table."""
    reach = (opening / 2 + FINGER[0]) * abs(pose[2, 0]) + FINGER[1] / 2 * abs(pose[2, 1])
    lifted: F64 = pose.copy()
    lifted[2, 3] = max(lifted[2, 3], _TABLE_GAP + reach)
    return lifted


def _raised(pose: F64, vector: F64) -> F64:
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
        pre = _raised(goal, -approach)
        above = _raised(pre, np.array([0.0, 0.0, max(0.0, _TRANSIT_HEIGHT - pre[2, 3])]))
        first = inverse(above)
        if first is None:
            continue
        transit = arm.line_path(first, (above, pre), _TRANSIT_SPEED)
        descent = None if transit is None else arm.line_path(transit[-1], (pre, goal), speed)
        if transit is None or descent is None:
            continue
        up = arm.line_path(descent[-1], (goal, _raised(goal, np.array([0.0, 0.0, lift]))), speed)
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


def grasp(arm: Arm, physics: Physics, action: Action) -> tuple[Execution, Held | None]:
    """Pre-grasp, straight descent with force stop, close, straight lift, hold test.

    Args:
        action: kind "grasp"; pose of the tip in the world frame, ``width`` the opening in metres before closing, to which a
            margin is added up to the gripper's stroke.

    Returns:
        The execution and what is held at its end; reasons NO_IK, COLLISION, NOTHING_HELD, SLIPPED or SUCCESS.
    """
    config, begin = physics.config, physics.steps
    opening = min(MAX_OPENING, max(action.width, 0.0) + OPENING_MARGIN)
    target = above_table(tip_pose(action), opening)
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
    return Execution(Reason.SUCCESS, slot, physics.steps - begin), _hold(arm, physics, slot)


def _hold(arm: Arm, physics: Physics, slot: int) -> Held:
    tip = arm.tip()
    centre = physics.position(slot)
    low, _ = physics.client.getAABB(physics.slots[slot])
    return Held(slot, tip[:3, :3].T @ (centre - tip[:3, 3]), float(centre[2] - low[2]))


def _back_off(arm: Arm) -> None:
    here = arm.tip()
    start = arm.measured()
    back = arm.line_path(start, (here, _raised(here, -here[:3, 2] * _BACK_OFF)), 0.2)
    if back is not None:
        arm.follow(back)


def _still_held(arm: Arm, physics: Physics, held: Held) -> bool:
    return physics.slots[held.slot] in arm.touched()


def place(arm: Arm, physics: Physics, action: Action, held: Held) -> Execution:
    """Carries what is held over the place, lowers it, releases it and retreats.

    Args:
        action: kind "place"; position of the held object's lowest point, taken straight below its centre of mass, in the
            world frame, and the tool's orientation. The object hangs as it was grasped: an orientation that differs from the
            grasp's by more than a yaw tilts it, and lowering then ends at the first touch.

    Returns:
        SUCCESS with the released slot, DROPPED when it was lost on the way, NO_IK when the place cannot be reached.
    """
    config, begin = physics.config, physics.steps
    pose = tip_pose(action)
    offset = pose[:3, :3] @ held.offset
    pose[:3, 3] = pose[:3, 3] + np.array([0.0, 0.0, held.bottom]) - offset
    start = arm.joints
    plan = _plan(arm, start, pose, np.array([0.0, 0.0, -config.approach]), config.approach)
    if plan is None:
        return Execution(Reason.NO_IK, held.slot, 0)
    body = physics.slots[held.slot]

    def landed() -> bool:
        contacts = physics.client.getContactPoints(bodyA=body)
        return bool(sum(c[9] for c in contacts if c[2] != arm.body) > _SOFT_TOUCH)

    arm.follow(plan.reach)
    arm.follow(plan.transit)
    if not _still_held(arm, physics, held):
        return Execution(Reason.DROPPED, held.slot, physics.steps - begin)
    arm.follow(plan.descent, landed)
    if not _still_held(arm, physics, held):
        return Execution(Reason.DROPPED, held.slot, physics.steps - begin)
    arm.open()
    here = arm.tip()
    retreat = arm.line_path(arm.measured(), (here, _raised(here, -here[:3, 2] * config.approach)), config.line_speed)
    if retreat is not None:
        arm.follow(retreat)
    return Execution(Reason.SUCCESS, held.slot, physics.steps - begin)


def carry_home(arm: Arm, physics: Physics, held: Held) -> bool:
    """Drives to the observing pose with what is held; False when it was lost on the way."""
    arm.follow(arm.joint_path(arm.joints, np.array(HOME)))
    return _still_held(arm, physics, held)
