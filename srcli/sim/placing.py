"""Carrying, presenting and placing what the gripper holds."""

from __future__ import annotations

import math

import numpy as np

from srcli.sim.grasping import Held, raised, tip_pose
from srcli.sim.motion import Arm
from srcli.sim.physics import Physics
from srcli.sim.robot import HOME, inverse
from srcli.types import F64, Action, Execution, Reason

PRESENT = (0.50, 0.0, 0.28)
"""Where the tip presents what it holds: both side cameras see it at eye level, above everything that lies in the zone."""

CARRY_SPEED = 1.5
_CLEARANCE = 0.20
_TRANSIT_HEIGHT = 0.25
_SLOW = 0.03
_SLOW_SPEED = 0.12
_SINK = 0.02
_SOFT_TOUCH = 1.5
_HARD_TOUCH = 15.0
_RETREAT = 0.06
_ROOM = 0.025


def still_held(arm: Arm, physics: Physics, held: Held) -> bool:
    """True while the object touches both fingers."""
    return physics.slots[held.slot] in arm.touched()


def carry_home(arm: Arm, physics: Physics, held: Held) -> bool:
    """Drives to the observing pose with what is held; False when it was lost on the way."""
    arm.follow(arm.joint_path(arm.joints, np.array(HOME), CARRY_SPEED))
    return still_held(arm, physics, held)


def present(arm: Arm, physics: Physics, held: Held, shift: float) -> bool:
    """Drives what is held to :data:`PRESENT` in the zone, the closing direction across the side cameras' views; False when lost.

    Turned like this the fingers stand beside the object and not before it.
    """
    pose = np.eye(4)
    closing = math.atan2(held.rotation[1, 0], held.rotation[0, 0])
    pose[:3, :3] = turn(-math.remainder(closing, math.pi)) @ held.rotation
    pose[:3, 3] = PRESENT
    pose[1, 3] += shift
    joints = inverse(pose, arm.joints)
    if joints is not None:
        arm.follow(arm.joint_path(arm.joints, joints, CARRY_SPEED))
    return still_held(arm, physics, held)


def turn(angle: float) -> F64:
    """Rotation matrix (3, 3) about the vertical by ``angle`` radians."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _goal(arm: Arm, physics: Physics, action: Action, held: Held, shift: float) -> tuple[F64, float]:
    """Tip pose (4, 4) at which the held object's bottom is where the action wants it, and the bottom's depth below the tip."""
    asked = tip_pose(action, shift)
    tip = arm.tip()
    centre = physics.position(held.slot)
    low, _ = physics.client.getAABB(physics.slots[held.slot])
    pose = np.eye(4)
    pose[:3, :3] = turn(math.atan2(asked[1, 0], asked[0, 0])) @ held.rotation
    # How it hangs is measured where the arm is now: it may have shifted between the fingers on the way.
    offset = pose[:3, :3] @ (tip[:3, :3].T @ (centre - tip[:3, 3]))
    pose[:3, 3] = asked[:3, 3] - offset
    pose[2, 3] += centre[2] - low[2]
    return pose, float(tip[2, 3] - low[2])


def _approach(arm: Arm, goal: F64, depth: float) -> tuple[F64, F64, F64] | None:
    """Joint paths: over the place, down to slightly above it, slowly down; None when there is no height to come from."""
    config = arm.physics.config
    near = raised(goal, np.array([0.0, 0.0, _SLOW]))
    end = raised(goal, np.array([0.0, 0.0, -_SINK]))
    for height in (_CLEARANCE + depth, _TRANSIT_HEIGHT, goal[2, 3] + config.approach):
        over = raised(goal, np.array([0.0, 0.0, max(height, near[2, 3]) - goal[2, 3]]))
        first = inverse(over)
        if first is None:
            continue
        down = arm.line_path(first, (over, near), config.line_speed)
        slow = None if down is None else arm.line_path(down[-1], (near, end), _SLOW_SPEED)
        if down is not None and slow is not None:
            return arm.joint_path(arm.joints, first, CARRY_SPEED), down, slow
    return None


def place(arm: Arm, physics: Physics, action: Action, held: Held, shift: float = 0.0) -> Execution:
    """Carries what is held over the place, lowers it until it touches something, releases it and retreats.

    Args:
        action: kind "place"; position where the held object's lowest point, taken straight below its centre of mass, is
            released, in the zone's frame. Of the orientation only the yaw counts, relative to a tool that points down and
            closes along x: by it the object is turned about the vertical from how it was oriented when it was grasped.
        shift: the zone's shift in y, metres.

    Returns:
        SUCCESS with the released slot, DROPPED when it was lost on the way, NO_IK when the place cannot be reached.
    """
    begin = physics.steps
    goal, depth = _goal(arm, physics, action, held, shift)
    plan = _approach(arm, goal, depth)
    if plan is None:
        return Execution(Reason.NO_IK, held.slot, 0)
    body = physics.slots[held.slot]

    def landed() -> bool:
        below = sum(c[9] for c in physics.client.getContactPoints(bodyA=body) if c[2] != arm.body)
        return bool(below > _SOFT_TOUCH) or arm.contact_force(body) > _HARD_TOUCH

    over, down, slow = plan
    arm.follow(over)
    if not still_held(arm, physics, held):
        return Execution(Reason.DROPPED, held.slot, physics.steps - begin)
    if arm.follow(down, landed):
        arm.follow(slow, landed)
    if not still_held(arm, physics, held):
        return Execution(Reason.DROPPED, held.slot, physics.steps - begin)
    arm.release(_ROOM)
    here = arm.tip()
    retreat = arm.line_path(arm.measured(), (here, raised(here, -here[:3, 2] * _RETREAT)), physics.config.line_speed)
    if retreat is not None:
        arm.follow(retreat)
    return Execution(Reason.SUCCESS, held.slot, physics.steps - begin)
