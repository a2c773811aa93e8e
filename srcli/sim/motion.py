"""Motions of arm and gripper: joint moves, straight lines with a force stop, closing and opening, on simulated steps only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pybullet

from srcli.sim.physics import STEP, Physics
from srcli.sim.robot import ARM_JOINTS, EFFORTS, FINGER_JOINTS, HAND_LINK, HOME, MAX_OPENING, STROKE, forward, inverse, robot_urdf
from srcli.types import F64

_PEAK = 1.5  # peak over mean speed of the smooth-step profile
_WAYPOINT = 0.02
_MAX_JUMP = 0.6
_FINGER_SPEED = 0.2
_GENTLE, _GENTLE_SPEED, _RELEASE_WAIT = 0.004, 0.05, 6
_STILL = 0.0001
_MIN_CLOSE, _MAX_CLOSE = 30, 240


class Arm:
    """The robot in a :class:`Physics`; it is loaded at the observing pose with open fingers.

    Attributes:
        body: its body id.
        joints: (6,) commanded joint angles in radians.
    """

    def __init__(self, physics: Physics) -> None:
        self.physics = physics
        self.client = physics.client
        path = f"{physics.folder.name}/robot.urdf"
        with open(path, "w", encoding="utf-8") as file:
            file.write(robot_urdf())
        self.body = int(self.client.loadURDF(path, useFixedBase=True))
        for link in FINGER_JOINTS:
            self.client.changeDynamics(self.body, link, lateralFriction=1.0, spinningFriction=0.02, restitution=0.0)
        gear = self.client.createConstraint(
            self.body, FINGER_JOINTS[0], self.body, FINGER_JOINTS[1], pybullet.JOINT_GEAR, [1, 0, 0], [0, 0, 0], [0, 0, 0]
        )
        self.client.changeConstraint(gear, gearRatio=-1, maxForce=500, erp=0.3)
        self.joints: F64 = np.array(HOME)
        self.reset()

    def reset(self, opening: float = MAX_OPENING) -> None:
        """Puts the arm at the observing pose at once, at rest, with the fingers ``opening`` metres apart."""
        for joint, angle in zip(ARM_JOINTS, HOME, strict=True):
            self.client.resetJointState(self.body, joint, angle, 0.0)
        half = min(max(opening / 2, 0.0), STROKE)
        for joint in FINGER_JOINTS:
            self.client.resetJointState(self.body, joint, half, 0.0)
        self.joints = np.array(HOME)
        self._command(self.joints)
        self.fingers(half)

    def fingers(self, half: float, speed: float = _FINGER_SPEED) -> None:
        """Commands both fingers to ``half`` metres from the centre, at most at ``speed`` m/s each."""
        for joint in FINGER_JOINTS:
            self.client.setJointMotorControl2(
                self.body,
                joint,
                pybullet.POSITION_CONTROL,
                targetPosition=half,
                force=self.physics.config.finger_force,
                maxVelocity=speed,
                positionGain=0.3,
            )

    def _command(self, joints: F64) -> None:
        self.client.setJointMotorControlArray(
            self.body,
            ARM_JOINTS,
            pybullet.POSITION_CONTROL,
            targetPositions=joints.tolist(),
            forces=EFFORTS,
            positionGains=[1.0] * 6,
        )

    def follow(self, path: F64, stop: Callable[[], bool] | None = None) -> bool:
        """Commands one row of ``path`` (n, 6) per step; ends early, returning False, when ``stop`` says so twice in a row."""
        strikes = 0
        for joints in path:
            self._command(joints)
            self.physics.step()
            self.joints = joints
            if stop is not None:
                strikes = strikes + 1 if stop() else 0
                if strikes >= 2:
                    self._command(self.measured())
                    return False
        return True

    def measured(self) -> F64:
        """(6,) measured joint angles in radians."""
        return np.array([state[0] for state in self.client.getJointStates(self.body, ARM_JOINTS)])

    def joint_path(self, start: F64, goal: F64, speed: float | None = None) -> F64:
        """(n, 6) smooth joint-space path; the wrist may turn twice as fast as the first three joints.

        Args:
            start, goal: (6,) radians.
            speed: peak speed of the first three joints in rad/s; None for ``sim.joint_speed``.
        """
        peak = (self.physics.config.joint_speed if speed is None else speed) * np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
        seconds = float(np.max(np.abs(goal - start) / peak)) * _PEAK
        return start + _profile(seconds)[:, None] * (goal - start)

    def line_path(self, start: F64, poses: Sequence[F64], speed: float) -> F64 | None:
        """(n, 6) joint path whose tip follows a straight line.

        Args:
            start: (6,) joints at ``poses[0]``.
            poses: the two (4, 4) end poses, of one orientation.
            speed: peak tip speed in m/s.

        Returns:
            None when a point of the line is out of reach or needs another arm configuration.
        """
        begin, end = poses
        length = float(np.linalg.norm(end[:3, 3] - begin[:3, 3]))
        pieces = max(1, math.ceil(length / _WAYPOINT))
        knots = [start]
        for i in range(1, pieces + 1):
            pose = end.copy()
            pose[:3, 3] = begin[:3, 3] + (end[:3, 3] - begin[:3, 3]) * (i / pieces)
            joints = inverse(pose, knots[-1])
            if joints is None or float(np.abs(joints - knots[-1]).max()) > _MAX_JUMP:
                return None
            knots.append(joints)
        table = np.stack(knots)
        phase = _profile(_PEAK * length / speed) * pieces
        return np.stack([np.interp(phase, np.arange(pieces + 1), table[:, i]) for i in range(6)], axis=1)

    def close(self) -> None:
        """Closes the fingers until both are still; they keep their force."""
        self.fingers(0.0)
        last = self.gaps()
        for taken in range(10, _MAX_CLOSE + 1, 10):
            self.physics.step(10)
            now = self.gaps()
            if taken >= _MIN_CLOSE and float(np.abs(now - last).max()) < _STILL:
                return
            last = now

    def release(self, room: float) -> None:
        """Opens the fingers by ``room`` metres each, the first millimetres slowly so that they push nothing over, and waits."""
        start = float(self.gaps().mean())
        for travel, speed in ((min(_GENTLE, room), _GENTLE_SPEED), (room, _FINGER_SPEED)):
            half = min(start + travel, STROKE)
            self.fingers(half, speed)
            self.physics.step(math.ceil(max(half - float(self.gaps().mean()), 0.0) / speed / STEP) + _RELEASE_WAIT)

    def gaps(self) -> F64:
        """(2,) distance of each finger from the closed position, metres."""
        return np.array([state[0] for state in self.client.getJointStates(self.body, FINGER_JOINTS)])

    def touched(self) -> dict[int, float]:
        """Bodies that touch both fingers: the smaller of the two normal forces in newtons, by body id."""
        forces: list[dict[int, float]] = []
        for link in FINGER_JOINTS:
            found: dict[int, float] = {}
            for contact in self.client.getContactPoints(bodyA=self.body, linkIndexA=link):
                found[contact[2]] = found.get(contact[2], 0.0) + contact[9]
            forces.append(found)
        return {body: min(forces[0][body], forces[1][body]) for body in forces[0] if body in forces[1]}

    def contact_force(self, spared: int | None = None) -> float:
        """Sum of normal forces (N) on hand and fingers from everything else, without those of the body ``spared``."""
        contacts = self.client.getContactPoints(bodyA=self.body)
        return float(sum(c[9] for c in contacts if c[3] >= HAND_LINK and c[2] != self.body and c[2] != spared))

    def tip(self) -> F64:
        """World pose (4, 4) of the tip at the measured joints."""
        return forward(self.measured())


def _profile(seconds: float) -> F64:
    steps = max(1, math.ceil(seconds / STEP))
    s = np.arange(1, steps + 1) / steps
    return np.asarray(s * s * (3.0 - 2.0 * s))
