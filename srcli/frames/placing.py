"""Where a recorded scene lies: its table, its workspace, and the frame that decisions are made in.

Decisions are made in the frame of the cell that methods have learned in: table at z = 0, the middle of the workspace half a metre
in front of the arm. A recording's own world frame may have its origin anywhere; it is moved there, and results are moved back.
"""

from __future__ import annotations

import numpy as np

from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER
from srcli.errors import SceneError
from srcli.frames.checks import Finding, check_held, check_workspace, findings
from srcli.frames.observation import Observation, Table, Workspace, changed
from srcli.frames.table import fit_table as fitted
from srcli.frames.table import levelled, points_of
from srcli.types import F64, I64, Bool
from srcli.types import Observation as Views

CELL = Workspace(WORKSPACE_LOWER, WORKSPACE_UPPER)
_MIDDLE: F64 = (np.array(WORKSPACE_LOWER[:2]) + np.array(WORKSPACE_UPPER[:2])) / 2

#: A table that is farther off than this is told (metres, degrees), and beyond this nothing is decided.
_TOLD, _TOLD_TILT = 0.006, 1.5
_OFF, _OFF_TILT = 0.025, 6.0
#: Cameras whose tables are farther apart than this (metres, degrees) are not of one calibration.
_APART = (0.045, 5.0)
#: What is higher than this above the table stands on it, and what is higher than that is something else, metres.
_STANDS, _HIGHEST = 0.014, 0.30
#: Edge of the cells in which things are looked for, metres, and pixels that one has to hold.
_CELL, _LEAST = 0.02, 3
#: Fewer cells than this are no thing.
_FEW = 2
#: Cosine of the angle up to which a frame's z axis counts as up.
_UPRIGHT = 0.99
#: With a smaller one the table is nearly upright in the world frame, and over a place it has no height.
_LEVEL = 0.2
#: The cell's own workspace is taken where it holds this share of what the best place of that size holds.
_OWN = 0.85


def placed(observation: Observation, fit_table: bool = False, check: bool = True) -> Observation:
    """The observation with its table, its workspace and the transform to the cell.

    Args:
        fit_table: the plane that is seen becomes z = 0, whatever the world frame says.
        check: refuse what cannot be right; False keeps it as notes.

    Raises:
        SceneError: what is wrong with the recording (:mod:`srcli.frames.checks`), no table to fit, nothing stands on it, or a
            workspace, or a size of what is held, that is none.
    """
    check_workspace(observation.workspace)
    check_held(observation.held)
    problems = findings(observation)
    if check and problems:
        raise problems[0].error()
    table = fitted(observation)
    if fit_table and table is None:
        raise SceneError("no table to fit: no plane holds enough of what the cameras see", "the table has to be in view")
    if not observation.posed and not fit_table:
        raise SceneError(
            "the camera has no pose, so it is not known where the table is", "--fit-table takes the plane that is seen as z = 0"
        )
    notes = list(observation.notes)
    if not fit_table and table is not None:
        problem = _world(observation, table)
        if problem is not None and check:
            raise problem.error()
        problems += [problem] if problem is not None else []
        if problem is None and (abs(table.height) > _TOLD or table.tilt > _TOLD_TILT):
            notes.append(f"the table is {table.told(())}; --fit-table takes it as z = 0")
    if table is not None:
        disagreeing = _apart(observation, table, _TOLD, _TOLD_TILT)
        worse = _apart(observation, table, *_APART)
        if worse is not None and check:
            raise worse.error()
        notes += [f"{disagreeing.problem}; {disagreeing.hint}"] if disagreeing is not None else []
    if table is None:
        notes.append("no table is seen, so it is not known whether z = 0 is where it should be")
    notes += [f"{problem.problem} ({problem.hint})" for problem in problems]
    T_level = levelled(table) if fit_table and table is not None else np.eye(4)
    workspace, T_cell = _workspace(observation, T_level, table)
    return changed(observation, T_cell_world=T_cell, workspace=workspace, table=table, notes=tuple(notes))


def _apart(observation: Observation, table: Table, height: float, tilt: float) -> Finding | None:
    """Cameras whose own tables are farther apart than that (metres, degrees)."""
    rows = [
        (max(abs(away) / height, turn / tilt), name, away, turn)
        for name, away, turn in zip(observation.labels, table.cameras, table.tilts, strict=True)
        if observation.views > 1 and np.isfinite(away)
    ]
    beyond = [row for row in rows if row[0] > 1.0]
    if not beyond:
        return None
    _, name, away, turn = max(beyond)
    hint = "calibrate T_world_cam again, or leave a camera out (--camera)"
    return Finding(
        f"the cameras disagree: the table of {name} is {1000 * away:+.0f} mm and {turn:.1f} degrees off that of all",
        f"{hint}; is one of them the inverse?" if height >= _APART[0] else hint,
    )


def _world(observation: Observation, table: Table) -> Finding | None:
    """Whether the world frame is one whose z is up and whose table is at z = 0."""
    hint = "--fit-table takes the plane that is seen as z = 0"
    if table.tilt > _OFF_TILT or abs(table.height) > _OFF:
        inverse = changed(observation, T_world_cam=np.linalg.inv(observation.T_world_cam))
        other = fitted(inverse)
        if other is not None and other.tilt < _OFF_TILT and abs(other.height) < _OFF:
            hint = "T_world_cam looks like its inverse: it has to map the camera to the world, not the world to the camera"
    if table.tilt > 135.0:
        return Finding("the world is upside down: its z axis points into the table", hint)
    if table.tilt > _OFF_TILT:
        return Finding(f"the world's z axis is not up: it is {table.tilt:.0f} degrees off the table's normal", hint)
    if abs(table.height) > _OFF:
        side = "above" if table.height > 0 else "below"
        return Finding(f"the table is {1000 * abs(table.height):.0f} mm {side} z = 0", hint)
    return None


def _workspace(observation: Observation, T_level: F64, table: Table | None) -> tuple[Workspace, F64]:
    """The workspace in the world frame, and the transform to the cell."""
    points, _ = points_of(observation, count=20_000)
    points = points @ T_level[:3, :3].T + T_level[:3, 3]
    given = observation.workspace
    if given is not None:
        centre = (np.array(given.lower) + np.array(given.upper)) / 2
        middle = (T_level[:3, :3] @ _on_table(centre, observation, T_level, table) + T_level[:3, 3])[:2]
        half = (np.array(given.upper[:2]) - np.array(given.lower[:2])) / 2
        inside: Bool = np.all(np.abs(points[:, :2] - middle) < half, axis=1)
        if observation.held is None:
            _check_things(points[inside], "in the workspace of the file", table, T_level)
        return given, _to_cell(T_level, middle)
    middle = _found(points, observation, table, T_level)
    T_cell = _to_cell(T_level, middle)
    if np.array_equal(T_cell, np.eye(4)):
        return CELL, T_cell
    level = np.linalg.inv(T_level)
    centre = level[:3, :3] @ np.array([middle[0], middle[1], 0.0]) + level[:3, 3]
    x, y, z = (float(value) for value in centre - np.array([*_MIDDLE, 0.0]))
    (x0, y0, z0), (x1, y1, z1) = CELL.lower, CELL.upper
    return Workspace((x0 + x, y0 + y, z0 + z), (x1 + x, y1 + y, z1 + z)), T_cell


def _on_table(centre: F64, observation: Observation, T_level: F64, table: Table | None) -> F64:
    """(3,) the place on the table that a box is about, world frame.

    Args:
        centre: (3,) middle of the box, whose height counts only where the world is a camera's own frame: there z = 0 is the lens.
    """
    x, y, height = (float(value) for value in centre)
    if observation.posed:
        height = 0.0
        if table is not None and not np.array_equal(T_level, np.eye(4)) and abs(table.normal[2]) > _LEVEL:
            normal, point = table.normal, table.point
            height = float(point[2] - (normal[0] * (x - point[0]) + normal[1] * (y - point[1])) / normal[2])
    return np.array([x, y, height])


def _to_cell(T_level: F64, middle: F64) -> F64:
    """Levels, then brings ``middle`` to the middle of the cell's workspace. Exactly nothing where both are in place."""
    moved: F64 = T_level.copy()
    away = _MIDDLE - middle
    if np.abs(away).max() > 1e-9:
        moved[:2, 3] += away
    return moved


def _check_things(points: F64, where: str, table: Table | None, T_level: F64) -> None:
    cells, _ = _cells(points[(points[:, 2] > _STANDS) & (points[:, 2] < _HIGHEST)])
    if len(cells) < _FEW:
        raise _nothing(points, where, table, T_level)


def _nothing(points: F64, where: str, table: Table | None, T_level: F64) -> SceneError:
    high = "no point is there"
    if len(points):
        high = f"the highest point is at {1000 * float(np.quantile(points[:, 2], 0.999)):.0f} mm"
    level = "" if table is None or not np.array_equal(T_level, np.eye(4)) else f", the table at {1000 * table.height:.0f} mm"
    return SceneError(f"nothing stands on the table {where}: {high}{level}", "look at the depth image, and at where z = 0 is")


def _cells(points: F64) -> tuple[I64, I64]:
    """Cells (C, 2) with enough points, and their numbers of points."""
    index = np.floor(points[:, :2] / _CELL).astype(np.int64)
    cells, counts = np.unique(index, axis=0, return_counts=True)
    return cells[counts >= _LEAST], counts[counts >= _LEAST]


def _found(points: F64, observation: Observation, table: Table | None, T_level: F64) -> F64:
    """(2,) middle of the workspace, levelled world frame: where most stands on the table in a window of the cell's size."""
    standing = points[(points[:, 2] > _STANDS) & (points[:, 2] < _HIGHEST)]
    flat = points[np.abs(points[:, 2]) < _STANDS]
    cells, _ = _cells(standing)
    cells = cells[_over_table(cells, flat)] if len(cells) and len(flat) else cells
    if len(cells) < _FEW:
        if observation.held is None:
            raise _nothing(points, "that the cameras see", table, T_level)
        table_middle: F64 = _MIDDLE if not len(flat) or _covers(flat) else np.median(flat[:, :2], axis=0)
        return table_middle
    centres = (cells + 0.5) * _CELL
    half = (np.array(WORKSPACE_UPPER[:2]) - np.array(WORKSPACE_LOWER[:2])) / 2
    inside = (np.abs(centres[:, None] - centres[None]) < half - _CELL).all(axis=2)
    own = (np.abs(centres - _MIDDLE) < half).all(axis=1)
    best = inside[int(np.argmax(inside.sum(axis=1)))]
    # What stands in the best window is brought to its middle, which may let more of it in.
    for _ in range(3):
        middle = (centres[best].min(axis=0) + centres[best].max(axis=0)) / 2
        best = (np.abs(centres - middle) < half).all(axis=1)
    if own.sum() >= _OWN * best.sum():
        return _MIDDLE
    found: F64 = (centres[best].min(axis=0) + centres[best].max(axis=0)) / 2
    return found


def _covers(flat: F64) -> bool:
    """Whether the table lies where the cell's own workspace is."""
    near = (np.abs(flat[:, :2] - _MIDDLE) < 0.1).all(axis=1)
    return bool(near.sum() > 20)


def _over_table(cells: I64, flat: F64) -> Bool:
    """(C,) cells with table around them: a wall behind the table, or the floor beside it, holds nothing to grasp."""
    from scipy import ndimage

    table, _ = _cells(flat)
    if not len(table):
        return np.ones(len(cells), dtype=np.bool_)
    low = np.minimum(table.min(axis=0), cells.min(axis=0)) - 6
    size = np.maximum(table.max(axis=0), cells.max(axis=0)) - low + 7
    if int(size.max()) > 1000:
        return np.ones(len(cells), dtype=np.bool_)
    grid = np.zeros(tuple(size), dtype=bool)
    grid[tuple((table - low).T)] = True
    covered = ndimage.binary_fill_holes(ndimage.binary_closing(grid, np.ones((3, 3)), iterations=4))
    inside: Bool = covered[tuple((cells - low).T)]
    return inside if inside.any() else np.ones(len(cells), dtype=np.bool_)


def in_cell(observation: Observation) -> tuple[Views, Workspace]:
    """The views and the workspace in the cell's frame; the very same arrays where that is the world frame.

    Raises:
        SceneError: it is not known where the scene lies (:func:`placed`).
    """
    transform, box = observation.T_cell_world, observation.workspace
    if transform is None or box is None:
        raise SceneError("it is not known where the scene lies", "srcli.frames.placing.placed finds table and workspace")
    if np.array_equal(transform, np.eye(4)):
        return Views(observation.rgb, observation.depth, observation.K, observation.T_world_cam), box
    views = Views(observation.rgb, observation.depth, observation.K, transform @ observation.T_world_cam)
    half = (np.array(box.upper[:2]) - np.array(box.lower[:2])) / 2
    centre = (np.array(box.lower[:2]) + np.array(box.upper[:2])) / 2
    bottom, top = CELL.lower[2], CELL.upper[2]
    # In a frame that leans (that of a camera without a pose) a box says nothing of heights.
    if transform[2, 2] > _UPRIGHT:
        bottom, top = (float((transform @ np.array([*centre, z, 1.0]))[2]) for z in (box.lower[2], box.upper[2]))
    lower, upper = (*(_MIDDLE - half), bottom), (*(_MIDDLE + half), top)
    if np.allclose([*lower, *upper], [*CELL.lower, *CELL.upper], atol=1e-9):
        return views, CELL
    return views, Workspace(lower, upper)
