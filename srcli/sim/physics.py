"""Rigid bodies on a table: loading, dropping and settling, on simulated time only.

Every scene starts from a fresh simulation, loaded in slot order: that is bit-identical between runs and processes, which
restoring a saved state is not.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pybullet
from pybullet_utils.bullet_client import BulletClient

from srcli.config.sim import SimConfig
from srcli.types import F64, Bool

STEP = 1.0 / 240.0
GRAVITY = -9.81
_CHECK_EVERY = 12
_QUIET_SPIN = 0.2
_SPAWN_GAP = 0.004
_TOUCH = 5e-4


@contextmanager
def _muted() -> Iterator[None]:
    """Nothing reaches stdout: PyBullet prints a line whenever it connects, which would tear lines of progress."""
    if sys.stdout is not None:
        sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:
        # Started without a stdout.
        yield
        return
    library = ctypes.CDLL(None)
    library.fflush(None)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield
    finally:
        library.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


class Physics:
    """One simulation with a table at z = 0 and the objects of a scene.

    Attributes:
        client: the simulation's own ``BulletClient``.
        slots: body id of each slot; None when removed.
        zones: shifts in y, metres, of the zones that hold objects.
        steps: simulated steps since the last :meth:`restart`.
        on_step: told the number of steps after every :meth:`step`; it may look but not touch (films).
    """

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        with _muted():
            self.client: Any = BulletClient(pybullet.DIRECT)
        self.folder = tempfile.TemporaryDirectory(prefix="srcli-sim-")
        self.slots: list[int | None] = []
        self.zones: tuple[float, ...] = ()
        self.steps = 0
        self.on_step: Callable[[int], None] | None = None
        self.restart()

    def restart(self) -> None:
        """An empty table; all bodies are gone and the step count is zero."""
        client = self.client
        client.resetSimulation()
        client.setPhysicsEngineParameter(
            fixedTimeStep=STEP, numSolverIterations=50, numSubSteps=0, deterministicOverlappingPairs=1, enableFileCaching=0
        )
        client.setGravity(0.0, 0.0, GRAVITY)
        plane = client.createCollisionShape(pybullet.GEOM_PLANE)
        # Without a visual shape the renderer draws the collision plane; the table is drawn in render.py instead.
        speck = client.createVisualShape(pybullet.GEOM_BOX, halfExtents=[1e-4] * 3, visualFramePosition=[0.0, 0.0, -9.0])
        # In maximal coordinates, as the objects are: contacts with a body of joints go through another, slower solver.
        self.table = client.createMultiBody(0.0, plane, speck, useMaximalCoordinates=1)
        client.changeDynamics(self.table, -1, lateralFriction=1.0, restitution=0.0)
        self.slots = []
        self.zones = ()
        self.steps = 0

    def close(self) -> None:
        """Ends the simulation; the object cannot be used afterwards."""
        if self.client.isConnected():
            self.client.disconnect()
        self.folder.cleanup()

    def step(self, count: int = 1) -> None:
        """Simulates ``count`` steps of 1/240 s."""
        for _ in range(count):
            self.client.stepSimulation()
        self.steps += count
        if self.on_step is not None:
            self.on_step(self.steps)

    def drop(self, path: Path, pose: F64, friction: float | None = None, shift: float = 0.0) -> None:
        """Adds the next slot: the body appears at xy and orientation of ``pose``, just above what lies below it.

        Args:
            path: URDF of one link with its origin at the centre of mass.
            pose: (7,) spawn pose in the zone's frame, xyz metres + quaternion xyzw; z is not used.
            friction: lateral friction, or None for 0.8.
            shift: the zone's shift in y, metres.
        """
        client = self.client
        x, y = float(pose[0]), float(pose[1]) + shift
        orientation = [float(v) for v in pose[3:]]
        # Free bodies in maximal coordinates cost a third less per step and are held as well.
        body = client.loadURDF(str(path), [x, y, 5.0], orientation, useMaximalCoordinates=True)
        client.changeDynamics(
            body,
            -1,
            lateralFriction=0.8 if friction is None else friction,
            spinningFriction=0.003,
            rollingFriction=0.002,
            linearDamping=0.3,
            angularDamping=0.5,
            restitution=0.0,
            activationState=pybullet.ACTIVATION_STATE_ENABLE_SLEEPING,
        )
        low, high = (np.asarray(v) for v in client.getAABB(body))
        top = 0.0
        for other in self.bodies():
            other_low, other_high = client.getAABB(other)
            if np.all(low[:2] < other_high[:2]) and np.all(high[:2] > other_low[:2]):
                top = max(top, float(other_high[2]))
        height = top + _SPAWN_GAP + 5.0 - float(low[2])
        client.resetBasePositionAndOrientation(body, [x, y, height], orientation)
        self.slots.append(body)
        if shift not in self.zones:
            self.zones = (*self.zones, shift)

    def bodies(self) -> list[int]:
        """Ids of all bodies that have not been removed, in slot order."""
        return [body for body in self.slots if body is not None]

    def slot_of(self, body: int) -> int | None:
        """The slot of a body id, or None when it is no object."""
        return self.slots.index(body) if body in self.slots else None

    def remove(self, slot: int) -> None:
        """Takes an object out of the scene."""
        body = self.slots[slot]
        if body is not None:
            self.client.removeBody(body)
            self.slots[slot] = None

    def wake(self) -> None:
        """Wakes all objects: a sleeping body would hover when its support is taken away."""
        self._activate(pybullet.ACTIVATION_STATE_WAKE_UP)

    def _activate(self, state: int) -> None:
        for body in self.bodies():
            self.client.changeDynamics(body, -1, activationState=state)

    def settle(self) -> bool:
        """Steps until several consecutive checks find every object in the workspace quiet, or the step limit is reached.

        Returns:
            True when the scene is quiet.
        """
        quiet = 0
        for _ in range(self.config.settle_limit // _CHECK_EVERY):
            self.step(_CHECK_EVERY)
            quiet = quiet + 1 if self._quiet() else 0
            if quiet >= self.config.settle_checks:
                # Sleeping bodies cost nothing until the gripper or a moving object touches them.
                self._activate(pybullet.ACTIVATION_STATE_SLEEP)
                return True
        return False

    def doze(self) -> None:
        """Puts the bodies that are still now to sleep until something touches them."""
        for body in self.bodies():
            if self._still(body):
                self.client.changeDynamics(body, -1, activationState=pybullet.ACTIVATION_STATE_SLEEP)

    def _still(self, body: int) -> bool:
        linear, angular = self.client.getBaseVelocity(body)
        return bool(sum(v * v for v in linear) <= self.config.settle_speed**2 and sum(v * v for v in angular) <= _QUIET_SPIN**2)

    def _quiet(self) -> bool:
        return all(
            self._still(body)
            for slot, body in enumerate(self.slots)
            if body is not None and any(self.inside(slot, shift) for shift in self.zones)
        )

    def position(self, slot: int) -> F64:
        """Centre of mass (3,) of a slot in metres; NaN when removed."""
        return self.poses()[slot, :3] if self.slots[slot] is not None else np.full(3, np.nan)

    def inside(self, slot: int, shift: float = 0.0) -> bool:
        """True while the slot's centre of mass is above the workspace of the zone with this shift in y (metres)."""
        body = self.slots[slot]
        if body is None:
            return False
        (x, y, z), _ = self.client.getBasePositionAndOrientation(body)
        (x0, x1), (y0, y1) = self.config.workspace_x, self.config.workspace_y
        return bool(x0 <= x <= x1 and y0 <= y - shift <= y1 and z > -0.01)

    def poses(self) -> F64:
        """(S, 7) centre-of-mass poses, xyz + quaternion xyzw with w >= 0; NaN where removed."""
        poses = np.full((len(self.slots), 7), np.nan)
        for slot, body in enumerate(self.slots):
            if body is not None:
                position, quaternion = self.client.getBasePositionAndOrientation(body)
                sign = -1.0 if quaternion[3] < 0 else 1.0
                poses[slot] = [*position, *(sign * v for v in quaternion)]
        return poses

    def present(self, shift: float = 0.0) -> Bool:
        """(S,) True for objects in the workspace of the zone with this shift in y (metres)."""
        return np.array([self.inside(slot, shift) for slot in range(len(self.slots))], dtype=np.bool_)

    def contacts(self) -> tuple[tuple[int, int], ...]:
        """Pairs of slots that touch, the smaller first, in order; -1 is the table. Touch = closer than the margins + 0.5 mm."""
        names = {body: slot for slot, body in enumerate(self.slots) if body is not None}
        names[self.table] = -1
        pairs = {
            (min(names[c[1]], names[c[2]]), max(names[c[1]], names[c[2]]))
            for c in self.client.getContactPoints()
            if c[1] in names and c[2] in names and c[8] < _TOUCH
        }
        return tuple(sorted(pairs))
