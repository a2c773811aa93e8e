"""The simulated cell: a scene is reset, observed, acted upon. One simulation per world, never the global one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from srcli.config.sim import SimConfig
from srcli.errors import SceneError
from srcli.sim.cameras import Camera, cameras, shifted
from srcli.sim.grasping import Held, grasp
from srcli.sim.motion import Arm
from srcli.sim.noise import noisy_color, noisy_depth
from srcli.sim.physics import Physics
from srcli.sim.placing import carry_home, place, present
from srcli.sim.render import TABLE_COLOR, Light, render, table_depth
from srcli.types import F32, F64, U8, Action, Execution, Observation, Reason, SceneTruth

if TYPE_CHECKING:
    from srcli.objects import ObjectModel

ROBOT_PIXEL = 65535
Segmentation = npt.NDArray[np.uint16]


class World:
    """A table, its objects, three cameras and, with ``robot``, the arm.

    The table has zones beside each other, each told by its shift along y in metres. The cameras stand before the zone that
    :meth:`enter_zone` chose; everything that is observed, told or asked for is in this zone's frame, the world frame moved by the
    shift, in which all zones look alike.

    Args:
        config: section ``sim``.
        robot: load the arm; without it nothing can be executed and scenes are cheaper (renders for pre-training).
    """

    def __init__(self, config: SimConfig, robot: bool = True) -> None:
        self.config = config
        self.cameras: tuple[Camera, ...] = cameras(config)
        self._tables = tuple(table_depth(camera) for camera in self.cameras)
        self._robot = robot
        self._physics = Physics(config)
        self._arm: Arm | None = None
        self._held: Held | None = None
        self._shift = 0.0
        self._color = TABLE_COLOR
        self._light = Light()

    def reset(
        self,
        models: Sequence[ObjectModel],
        drops: F64,
        table_color: tuple[float, float, float] | None = None,
        light: Light | None = None,
        shifts: Sequence[float] | None = None,
    ) -> bool:
        """A fresh scene: the models are dropped one after another and settle. The zone looked at is the unshifted one.

        Args:
            models: one per slot; files are written to a folder of this world.
            drops: (S, 7) spawn poses, xyz metres + quaternion xyzw, each in the frame of its zone. Each object appears at xy
                and orientation just above what lies below it; z is not used.
            table_color: RGB 0..1 of the table in every observation of this scene.
            light: how the scene is lit.
            shifts: (S,) shift in y of each slot's zone, metres; None: all 0.

        Returns:
            True when all objects came to rest within the step limit.

        Raises:
            SceneError: ``drops`` does not have one row of seven finite numbers per model, or ``shifts`` not one number.
        """
        from srcli.objects import write_urdf

        drops = np.asarray(drops, dtype=np.float64)
        if drops.shape != (len(models), 7) or not np.isfinite(drops).all():
            raise SceneError(
                f"drops of shape {drops.shape} for {len(models)} objects", "give one finite pose of 7 numbers per object"
            )
        moves = np.zeros(len(models)) if shifts is None else np.asarray(shifts, dtype=np.float64)
        if moves.shape != (len(models),) or not np.isfinite(moves).all():
            raise SceneError(f"shifts of shape {moves.shape} for {len(models)} objects", "give one finite number per object")
        self._physics.restart()
        self._held = None
        self._shift = 0.0
        self._color = table_color or TABLE_COLOR
        self._light = light or Light()
        self._arm = Arm(self._physics) if self._robot else None
        folder = Path(self._physics.folder.name)
        for model, pose, move in zip(models, drops, moves, strict=True):
            self._physics.drop(write_urdf(model, folder), pose, model.friction, float(move))
            self._physics.step(self.config.drop_interval)
            self._physics.doze()
        self._physics.wake()
        return self._physics.settle()

    @property
    def on_step(self) -> Callable[[int], None] | None:
        """Told the number of simulated steps after every advance of the simulation; it may look but not touch (films)."""
        return self._physics.on_step

    @on_step.setter
    def on_step(self, callback: Callable[[int], None] | None) -> None:
        self._physics.on_step = callback

    def picture(self, camera: Camera) -> U8:
        """(H, W, 3) colours that a camera of one's own, placed in the world frame, sees now; without sensor noise."""
        return render(self._physics.client, camera, table_depth(camera), self._color, self._light)[0]

    def enter_zone(self, shift: float) -> None:
        """Chooses the zone, by its shift in y (metres), that is looked at and acted upon from now on."""
        self._shift = float(shift)

    @property
    def shift(self) -> float:
        """Shift in y of the zone looked at, metres."""
        return self._shift

    @property
    def steps(self) -> int:
        """Simulated steps (1/240 s) since the last reset."""
        return self._physics.steps

    @property
    def held(self) -> int | None:
        """The slot in the gripper, or None."""
        return None if self._held is None else self._held.slot

    def render(self) -> tuple[U8, F32, Segmentation]:
        """All views without sensor noise: colour (M, H, W, 3), depth (M, H, W) in metres, segmentation (M, H, W).

        Segmentation: slot + 1, 0 for table and background, 65535 for the robot.
        """
        bodies = [body for body in self._physics.slots if body is not None]
        highest = max([*bodies, self._physics.table, -1 if self._arm is None else self._arm.body])
        codes = np.zeros(highest + 2, dtype=np.uint16)
        for slot, body in enumerate(self._physics.slots):
            if body is not None:
                codes[body + 1] = slot + 1
        if self._arm is not None:
            codes[self._arm.body + 1] = ROBOT_PIXEL
        views = [
            render(self._physics.client, shifted(camera, self._shift), table, self._color, self._light)
            for camera, table in zip(self.cameras, self._tables, strict=True)
        ]
        return (
            np.stack([view[0] for view in views]),
            np.stack([view[1] for view in views]),
            np.stack([codes[view[2] + 1] for view in views]),
        )

    def observe(self, rng: np.random.Generator) -> tuple[Observation, Segmentation]:
        """What the cameras give now, and the true segmentation (M, H, W) for those who may see it.

        Args:
            rng: draws the sensor noise; not used when ``sim.noise`` is off.
        """
        rgb, depth, segmentation = self.render()
        if self.config.noise:
            for i, camera in enumerate(self.cameras):
                depth[i] = noisy_depth(depth[i], float(camera.K[0, 0]), self.config, rng)
                rgb[i] = noisy_color(rgb[i], self.config, rng)
        observation = Observation(
            rgb=rgb,
            depth=depth,
            K=np.stack([camera.K for camera in self.cameras]),
            T_world_cam=np.stack([camera.T_world_cam for camera in self.cameras]),
        )
        return observation, segmentation

    def truth(self, segmentation: Segmentation | None = None) -> SceneTruth:
        """Privileged state in the frame of the zone looked at; renders the segmentation when it is not given."""
        if segmentation is None:
            segmentation = self.render()[2]
        poses = self._physics.poses()
        poses[:, 1] -= self._shift
        return SceneTruth(
            poses=poses,
            present=self._physics.present(self._shift),
            segmentation=segmentation,
            contacts=self._physics.contacts(),
            workspace=(self._physics.config.workspace_x, self._physics.config.workspace_y),
        )

    def execute(self, action: Action) -> Execution:
        """Carries out one grasp or place in the zone looked at and lets the scene settle.

        After a successful grasp the object stays in the gripper until :meth:`discard` or a place; after anything else the arm
        is at the observing pose.

        Raises:
            SceneError: the world has no robot or no scene, a grasp is asked for while something is held, or a place with nothing
                held.
        """
        arm = self._ready()
        if action.kind == "grasp":
            if self._held is not None:
                raise SceneError("a grasp was asked for while the gripper holds an object", "discard or place it first")
            execution, self._held = grasp(arm, self._physics, action, self._shift)
            if self._held is None:
                arm.reset()
        else:
            if self._held is None:
                raise SceneError("a place was asked for while nothing is held", "grasp an object first")
            execution = place(arm, self._physics, action, self._held, self._shift)
            if execution.reason is not Reason.NO_IK:
                self._held = None
                arm.reset()
        if execution.reason is not Reason.NO_IK:
            self._physics.settle()
        return execution

    def carry_home(self) -> bool:
        """Drives to the observing pose with the held object; False when it was lost on the way and nothing is held any more."""
        arm = self._ready()
        if self._held is None:
            raise SceneError("nothing is held that could be carried", "grasp an object first")
        if not carry_home(arm, self._physics, self._held):
            self._lost(arm)
        return self._held is not None

    def present_held(self, rng: np.random.Generator) -> tuple[Observation, F64]:
        """Shows what is held, free in the air, to the cameras of the zone looked at, then drives to the observing pose.

        Afterwards :attr:`held` is None when it was lost on the way; the observation then shows an empty gripper.

        Args:
            rng: draws the sensor noise.

        Returns:
            What the cameras gave, and the pose (4, 4) of the tip by the joint angles, both in the zone's frame.

        Raises:
            SceneError: nothing is held.
        """
        arm = self._ready()
        if self._held is None:
            raise SceneError("nothing is held that could be presented", "grasp an object first")
        kept = present(arm, self._physics, self._held, self._shift)
        observation, _ = self.observe(rng)
        tip = arm.tip()
        tip[1, 3] -= self._shift
        if not (kept and carry_home(arm, self._physics, self._held)):
            self._lost(arm)
        return observation, tip

    def _lost(self, arm: Arm) -> None:
        self._held = None
        arm.reset()
        self._physics.settle()

    def discard(self) -> None:
        """Takes the held object, if any, out of the scene; the arm goes to the observing pose and the rest settles."""
        arm = self._ready()
        if self._held is not None:
            self._physics.remove(self._held.slot)
            self._held = None
        arm.reset()
        self._physics.wake()
        self._physics.settle()

    def close(self) -> None:
        """Ends the simulation."""
        self._physics.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ready(self) -> Arm:
        if self._arm is None:
            raise SceneError("this world has no robot in a scene", "create it with robot=True and call reset first")
        return self._arm
