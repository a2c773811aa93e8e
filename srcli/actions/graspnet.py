"""Grasp groups in GraspNet's format: files, conversion to and from candidates, suppression, and a picture.

A grasp is a row of 17 numbers: score, width, height, depth, rotation (9, row-major), translation (3), object id; metres. The
columns of the rotation are approach (x), closing direction (y) and their cross product (z). The translation is a point on the
object's surface; the fingertips are ``depth`` further along the approach. By custom rows are given in the frame of a camera with
OpenCV axes (GraspNet-1Billion, CVPR 2020; the row layout is that of graspnetAPI's ``GraspGroup``).

Our candidates have the fingertips' position in the world frame and a tool frame with z = approach, x = closing direction.
"""

from __future__ import annotations

import tokenize
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srcli.actions.gripper import GRIPPER
from srcli.actions.poses import canonical_quaternions, rotation_matrices
from srcli.artifacts.writing import atomic_write
from srcli.errors import ArtifactError
from srcli.perception.geometry import project
from srcli.types import F32, F64, I64, U8, Bool, Candidates

COLUMNS = 17
HEIGHT = 0.02
"""Extent of a finger across the closing direction that GraspNet's rows carry, metres."""
DEPTH = 0.02
"""How far the fingertips of our own candidates are written beyond the row's translation, metres."""
NMS_DISTANCE, NMS_ANGLE = 0.03, float(np.pi / 6)
"""Thresholds of the benchmark's own suppression: 3 cm and 30 degrees."""
_ORTHONORMAL = 1e-2
_WIDEST = 0.5
"""A width beyond this, metres, is one in other units."""


@dataclass(frozen=True, slots=True)
class GraspGroup:
    """N grasps in one frame.

    Attributes:
        rows: (N, 17) float64, as described in the module.
    """

    rows: F64

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or self.rows.shape[1] != COLUMNS:
            raise ArtifactError(f"grasps have shape {self.rows.shape}", f"expected (N, {COLUMNS}), one row per grasp")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def scores(self) -> F64:
        """(N,)"""
        return self.rows[:, 0]

    @property
    def widths(self) -> F64:
        """(N,) opening, metres."""
        return self.rows[:, 1]

    @property
    def depths(self) -> F64:
        """(N,) from the translation to the fingertips along the approach, metres."""
        return self.rows[:, 3]

    @property
    def rotations(self) -> F64:
        """(N, 3, 3), columns = approach, closing, their cross product."""
        return self.rows[:, 4:13].reshape(-1, 3, 3)

    @property
    def translations(self) -> F64:
        """(N, 3) metres."""
        return self.rows[:, 13:16]

    @property
    def object_ids(self) -> I64:
        """(N,) -1 where unknown."""
        return self.rows[:, 16].astype(np.int64)

    @property
    def tips(self) -> F64:
        """(N, 3) point between the fingertips, metres."""
        with _quiet():
            tips: F64 = self.translations + self.depths[:, None] * self.rotations[:, :, 0]
        return tips

    def take(self, which: I64 | Bool) -> GraspGroup:
        """Some of them, in the order of ``which``."""
        return GraspGroup(self.rows[which])

    def scored(self, scores: F32 | F64) -> GraspGroup:
        """The same grasps with other scores (N,)."""
        rows = self.rows.copy()
        rows[:, 0] = scores
        return GraspGroup(rows)

    def moved(self, transform: F64) -> GraspGroup:
        """The same grasps in another frame; ``transform`` (4, 4) maps the present frame to the new one."""
        rows = self.rows.copy()
        with _quiet():
            rows[:, 4:13] = (transform[:3, :3] @ self.rotations).reshape(-1, 9)
            rows[:, 13:16] = self.translations @ transform[:3, :3].T + transform[:3, 3]
        return GraspGroup(rows)


def _quiet() -> np.errstate:
    """No warnings of arithmetic: rows may hold anything, and some BLAS kernels set flags for lanes that they do not use."""
    return np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore")


def make_group(
    scores: F64, widths: F64, depths: F64, rotations: F64, translations: F64, object_ids: I64 | int = -1, height: float = HEIGHT
) -> GraspGroup:
    """A group from its parts: (N,), (N,), (N,), (N, 3, 3), (N, 3), (N,) or one id for all; metres."""
    count = len(scores)
    rows = np.empty((count, COLUMNS))
    rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] = scores, widths, height, depths
    rows[:, 4:13] = np.asarray(rotations).reshape(count, 9)
    rows[:, 13:16] = translations
    rows[:, 16] = object_ids
    return GraspGroup(rows)


def check_group(rows: object, where: str) -> GraspGroup:
    """A usable group from an array of any float type.

    Raises:
        ArtifactError: wrong shape or type, NaN, a rotation that is none, a width that cannot be one in metres. Left-handed frames
            are accepted: they name the same approach and closing direction.
    """
    array = np.asarray(rows)
    if array.ndim != 2 or array.shape[1] != COLUMNS or array.dtype.kind != "f":
        raise ArtifactError(
            f"{where} holds shape {array.shape} of type {array.dtype}",
            f"a grasp group is a float array (N, {COLUMNS}): score, width, height, depth, rotation 9, translation 3, object id",
        )
    with _quiet():
        group = GraspGroup(array.astype(np.float64))
        gram = np.swapaxes(group.rotations, 1, 2) @ group.rotations
        # Products that overflow may be NaN, which is no rotation either.
        skewed: Bool = ~(np.abs(gram - np.eye(3)).max(axis=(1, 2), initial=0.0) <= _ORTHONORMAL)
    broken = np.flatnonzero(~np.isfinite(group.rows).all(axis=1))
    if len(broken):
        raise ArtifactError(f"{where} holds NaN or infinity in row {int(broken[0])}")
    if bool(skewed.any()):
        raise ArtifactError(
            f"{where}: row {_first(skewed)} holds no rotation in columns 4 to 12",
            "they are a rotation matrix, row by row, whose columns are approach, closing direction and their cross product",
        )
    if bool((group.widths < 0).any()):
        raise ArtifactError(f"{where}: row {_first(group.widths < 0)} has a negative width", "widths are in metres")
    if bool((group.widths > _WIDEST).any()):
        row = _first(group.widths > _WIDEST)
        raise ArtifactError(f"{where}: row {row} has a width of {group.widths[row]:g} m", "widths are in metres")
    return group


def read_grasps(path: Path | str) -> GraspGroup:
    """A group from a ``.npy`` file, as graspnetAPI writes it.

    Raises:
        ArtifactError: no such file, not a plain array, or not a grasp group.
    """
    try:
        with open(path, "rb") as handle:
            array = np.lib.format.read_array(handle, allow_pickle=False)
    except FileNotFoundError:
        raise ArtifactError(f"no grasp file {path}") from None
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError, MemoryError, OverflowError) as error:
        # A header is parsed as Python: one that breaks off, or whose numbers are huge, fails in ways of the parser.
        said = error.args[0] if isinstance(error, (SyntaxError, tokenize.TokenError)) and error.args else error
        reason = str(said).splitlines()[0] if str(said) else type(error).__name__
        raise ArtifactError(f"cannot read grasps from {path}: {reason}", "expected a .npy file of numbers") from error
    return check_group(array, str(path))


def write_grasps(path: Path | str, group: GraspGroup) -> None:
    """Write a group as a ``.npy`` file (float64), under a temporary name first.

    Raises:
        DiskError: the place cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as handle:
        np.lib.format.write_array(handle, np.ascontiguousarray(group.rows), allow_pickle=False)


def tool_frames(rotations: F64) -> F64:
    """Tool frames (N, 3, 3) (columns = closing, across, approach) of GraspNet rotations; left-handed ones become right-handed."""
    approach = rotations[:, :, 0] / np.linalg.norm(rotations[:, :, 0], axis=1, keepdims=True)
    closing = rotations[:, :, 1] - (rotations[:, :, 1] * approach).sum(axis=1, keepdims=True) * approach
    closing = closing / np.linalg.norm(closing, axis=1, keepdims=True)
    return np.stack([closing, np.cross(approach, closing), approach], axis=2)


def to_candidates(group: GraspGroup, T_world_cam: F64 | None = None) -> Candidates:
    """Candidates of a group, in its order.

    Args:
        T_world_cam: (4, 4) of the camera in whose frame the rows are; None for rows in the world frame.

    Returns:
        poses of the fingertips in the world frame; ``quality`` as :func:`quality_of` gives it; widths as they are.
    """
    world = group if T_world_cam is None else group.moved(T_world_cam)
    poses = np.concatenate([world.tips, canonical_quaternions(tool_frames(world.rotations))], axis=1)
    return Candidates(
        poses=poses.astype(np.float32),
        widths=world.widths.astype(np.float32),
        quality=quality_of(world.scores),
    )


def quality_of(scores: F64) -> F32:
    """Qualities (N,) in 0..1 of scores: 0 where they are negative, divided by the largest where that is above 1."""
    quality: F32 = (np.maximum(scores, 0.0) / max(1.0, float(scores.max(initial=0.0)))).astype(np.float32)
    return quality


def from_candidates(candidates: Candidates, T_world_cam: F64 | None = None, depth: float = DEPTH) -> GraspGroup:
    """The group of candidates, in their order; the inverse of :func:`to_candidates`.

    Args:
        T_world_cam: (4, 4) of the camera in whose frame the rows are to be; None for the world frame.
        depth: how far the fingertips are beyond the rows' translations, metres.
    """
    tool = rotation_matrices(candidates.poses)
    rotations = tool[:, :, [2, 0, 1]]
    translations = candidates.poses[:, :3].astype(np.float64) - depth * rotations[:, :, 0]
    count = len(candidates)
    group = make_group(
        candidates.quality.astype(np.float64),
        candidates.widths.astype(np.float64),
        np.full(count, depth),
        rotations,
        translations,
    )
    return group if T_world_cam is None else group.moved(np.linalg.inv(T_world_cam).astype(np.float64))


def rotation_distance(rotation: F64, others: F64, symmetric: bool = True) -> F64:
    """Angles (N,) in radians between one rotation (3, 3) and others (N, 3, 3).

    Args:
        symmetric: half a turn about the approach is the same grasp of a parallel gripper.
    """
    diagonal = np.einsum("ij,nij->nj", rotation, others)
    trace = diagonal.sum(axis=1)
    if symmetric:
        trace = np.maximum(trace, diagonal[:, 0] - diagonal[:, 1] - diagonal[:, 2])
    angles: F64 = np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0))
    return angles


def suppress(group: GraspGroup, distance: float = NMS_DISTANCE, angle: float = NMS_ANGLE, symmetric: bool = True) -> I64:
    """Greedy non-maximum suppression: a grasp goes when a better one is nearer than both thresholds.

    Args:
        distance: between translations, metres.
        angle: between rotations, radians.

    Returns:
        indices of what stays, best first; equal scores keep their order.
    """
    order = np.argsort(-group.scores, kind="stable")
    alive = np.ones(len(group), dtype=bool)
    kept = []
    translations, rotations = group.translations[order], group.rotations[order]
    for index in range(len(order)):
        if not alive[index]:
            continue
        kept.append(index)
        near = np.flatnonzero(alive & (((translations - translations[index]) ** 2).sum(axis=1) < distance**2))
        alive[near[rotation_distance(rotations[index], rotations[near], symmetric) < angle]] = False
    return order[np.array(kept, dtype=np.int64)]


def best(group: GraspGroup, count: int, per_object: int | None = None) -> I64:
    """Indices of the ``count`` best grasps, best first; of each object id at most ``per_object`` (the benchmark: 50 and 10)."""
    order = np.argsort(-group.scores, kind="stable")
    if per_object is not None:
        ids = group.object_ids[order]
        rank = np.zeros(len(order), dtype=np.int64)
        for value in np.unique(ids):
            rank[ids == value] = np.arange(int((ids == value).sum()))
        order = order[rank < per_object]
    return order[:count]


def draw_grasps(image: U8, group: GraspGroup, K: F64, T_world_cam: F64 | None = None) -> U8:
    """Grippers drawn over a view: fingers, hand and wrist as lines, from red (the least score) to green (the best).

    Args:
        image: (H, W, 3) of a camera.
        group: grasps in the frame of that camera, or in the world frame when ``T_world_cam`` is given.
        K: (3, 3) of the camera.
        T_world_cam: (4, 4) of the camera, for grasps in the world frame.

    Returns:
        a new image; grippers not wholly in front of the camera are left out.
    """
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    pose = np.eye(4) if T_world_cam is None else T_world_cam
    span = max(float(np.ptp(group.scores)), 1e-9) if len(group) else 1.0
    for index in np.argsort(group.scores, kind="stable"):
        uv, depth = project(_wire(group.tips[index], group.rotations[index], float(group.widths[index])), K, pose)
        if bool((depth <= 0.01).any()):
            continue
        share = (float(group.scores[index]) - float(group.scores.min())) / span
        color = (int(230 * (1 - share)), int(60 + 160 * share), 60)
        for start, end in zip(uv[0::2], uv[1::2], strict=True):
            draw.line([(float(start[0]), float(start[1])), (float(end[0]), float(end[1]))], fill=color, width=2)
    return np.asarray(canvas, dtype=np.uint8)


def _wire(tip: F64, rotation: F64, width: float) -> F64:
    """(8, 3) ends of four lines: two fingers, hand, wrist."""
    approach, closing = rotation[:, 0], rotation[:, 1] * width / 2
    base = tip - GRIPPER.finger_length * approach
    wrist = base - 0.04 * approach
    return np.stack([tip - closing, base - closing, tip + closing, base + closing, base - closing, base + closing, base, wrist])


def _first(which: Bool) -> int:
    return int(np.flatnonzero(which)[0])
