"""What was recorded: calibrated RGB-D views with the names of their cameras and where the workspace is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srcli.errors import ArtifactError, SceneError
from srcli.types import F32, F64, HeldExtent
from srcli.types import Observation as Views


@dataclass(frozen=True, slots=True)
class Workspace:
    """The box in which actions are looked for.

    Attributes:
        lower, upper: its corners, metres, world frame of the recording.
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Table:
    """The plane that the things stand on, as the depth images show it.

    Attributes:
        height: where it is above z = 0 of the world frame, in the middle of what is seen of it, metres.
        tilt: angle between its normal and the world's z axis, degrees; above 90 the world is upside down.
        seen: share of all points that lie on it.
        cameras: how far the table of each camera alone is above the common one, metres; NaN where a view shows none.
        tilts: angle between the two, degrees. Cameras that disagree here are calibrated differently.
        normal: (3,) of unit length, towards the cameras, world frame.
        point: (3,) on it, world frame, metres.
    """

    height: float
    tilt: float
    seen: float
    cameras: tuple[float, ...]
    tilts: tuple[float, ...]
    normal: F64
    point: F64

    def told(self, names: Sequence[str]) -> str:
        """One line for people."""
        line = (
            f"{1000 * abs(self.height):.1f} mm {'above' if self.height >= 0 else 'below'} z = 0, tilted {self.tilt:.1f} degrees"
        )
        if len(self.cameras) < 2 or not names:
            return line
        each = zip(names, self.cameras, self.tilts, strict=True)
        parts = [f"{n} {1000 * d:+.1f} mm {t:.1f} deg" if np.isfinite(d) else f"{n} none" for n, d, t in each]
        return f"{line}; of each camera, to that: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Observation(Views):
    """M calibrated RGB-D views of one scene, undistorted, depth registered to colour.

    The world frame is the recording's own: metres, z up, the table at z = 0, its origin wherever it is. ``rgb``, ``depth``, ``K``
    and ``T_world_cam`` are those of :class:`srcli.types.Observation`.

    Attributes:
        names: of the cameras, one per view.
        workspace: where to act; None: found from what stands on the table.
        held: size of what the gripper holds, for a placement; None for a grasp.
        failed: poses (7,) of this scene that have been tried and failed; they are left out.
        seed, attempt: what methods that draw, draw from.
        shift: how far beside the middle of the workspace the arm stands, along y, metres; decides which places it reaches.
        posed: the cameras' poses are known. False: the world frame is that of the only camera.
        T_cell_world: (4, 4) from the world frame to that of the cell that decisions are made in, where the workspace lies in
            front of the arm; None until :func:`srcli.frames.placing.placed` has found it.
        table: the fitted plane; None where it was not looked for, or not found.
        notes: what a person should know before acting.
        source: where it was read from.
    """

    names: tuple[str, ...] = ()
    workspace: Workspace | None = None
    held: HeldExtent | None = None
    failed: tuple[F32, ...] = ()
    seed: tuple[int, ...] = (0,)
    attempt: int = 0
    shift: float = 0.0
    posed: bool = True
    T_cell_world: F64 | None = None
    table: Table | None = None
    notes: tuple[str, ...] = ()
    source: str = ""
    labels: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        count = len(self.rgb)
        if self.names and len(self.names) != count:
            raise SceneError(f"{len(self.names)} names for {count} views", "give one name per camera")
        object.__setattr__(self, "labels", self.names or tuple(f"view{i}" for i in range(count)))

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        format: str = "",
        cameras: Sequence[str] = (),
        fit_table: bool = False,
        check: bool = True,
        held: HeldExtent | None = None,
    ) -> Observation:
        """Recorded frames: a native folder, a BOP scene or a GraspNet-1Billion scene (``docs/frames.md``).

        Args:
            format: native, bop or graspnet; empty: told from the files.
            cameras: names of the cameras (numbers of the images in BOP and GraspNet) to use; empty: all, or three of a long
                recording.
            fit_table: the plane that is seen becomes z = 0 for the decision.
            check: refuse what cannot be right; False keeps it as notes.

        Raises:
            ArtifactError: a file is missing or damaged, or breaks the format.
            SceneError: what is read cannot be right: unit of depth, K, registration, upside-down world, nothing on the table.
        """
        from srcli.frames.placing import placed
        from srcli.frames.reading import read_frames

        read = read_frames(folder, format, cameras)
        return placed(read.with_held(held), fit_table=fit_table, check=check)

    @classmethod
    def from_views(
        cls,
        rgb: npt.ArrayLike,
        depth: npt.ArrayLike,
        K: npt.ArrayLike,
        T_world_cam: npt.ArrayLike,
        *,
        depth_scale: float = 1.0,
        names: Sequence[str] = (),
        workspace: Workspace | None = None,
        held: HeldExtent | None = None,
        fit_table: bool = False,
        check: bool = True,
    ) -> Observation:
        """Views at hand, of one camera or several.

        Args:
            rgb: (H, W, 3) or (M, H, W, 3) uint8.
            depth: (H, W) or (M, H, W) along the optical axis, in units of ``depth_scale`` metres, 0 without a return.
            K: (3, 3) or (M, 3, 3) intrinsics in pixels.
            T_world_cam: (4, 4) or (M, 4, 4) camera to world, OpenCV axes (x right, y down, z forward).
            depth_scale: metres per unit: 0.001 for millimetres.
            fit_table, check: as in :meth:`from_folder`.

        Raises:
            ArtifactError: K or a pose is none.
            SceneError: shapes or types do not fit, or what is given cannot be right, the workspace and what is held among it.
        """
        from srcli.frames.checks import check_intrinsics, check_pose
        from srcli.frames.placing import placed
        from srcli.perception.geometry import check_observation

        try:
            colour = np.asarray(rgb)
            metres = np.asarray(depth).astype(np.float32) * np.float32(depth_scale)
        except (TypeError, ValueError, OverflowError):
            raise SceneError("rgb, depth or depth_scale is no array of numbers", "see Observation.from_views") from None
        if colour.ndim not in (3, 4):
            raise SceneError(f"rgb has shape {colour.shape}", "(height, width, 3) or (views, height, width, 3) uint8 is expected")
        single = colour.ndim == 3
        arrays: list[npt.NDArray[Any]] = [colour, metres, _numbers(K, "K"), _numbers(T_world_cam, "T_world_cam")]
        if single:
            arrays = [array[None] for array in arrays]
        made = cls(arrays[0], arrays[1], arrays[2], arrays[3], names=tuple(names), workspace=workspace, held=held)
        check_observation(made)
        for label, matrix, pose in zip(made.labels, made.K, made.T_world_cam, strict=True):
            check_intrinsics(matrix, label)
            check_pose(pose, label)
        return placed(made, fit_table=fit_table, check=check)

    def with_held(self, held: HeldExtent | None) -> Observation:
        """The same with what the gripper holds."""
        return self if held is None else changed(self, held=held)

    def with_seed(self, seed: tuple[int, ...]) -> Observation:
        """The same, from which methods that draw, draw so."""
        return changed(self, seed=seed)

    @property
    def phase(self) -> str:
        """``place`` where something is held, else ``pick``."""
        return "pick" if self.held is None else "place"

    @property
    def views(self) -> int:
        """Number of cameras."""
        return len(self.rgb)


def changed(observation: Observation, **values: Any) -> Observation:
    """A copy with some attributes replaced."""
    from dataclasses import replace

    return replace(observation, **values)


def _numbers(value: npt.ArrayLike, where: str) -> F64:
    """An array of numbers.

    Raises:
        ArtifactError: it is none.
    """
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArtifactError(f"{where}: is no array of numbers", "write rows of numbers, all of one length") from None


def of_views(views: Views) -> Observation:
    """Views as an observation with everything else at its default; an observation as it is."""
    if isinstance(views, Observation):
        return views
    return Observation(views.rgb, views.depth, views.K, views.T_world_cam)
