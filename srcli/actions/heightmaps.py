"""What a gripper meets on its way: surface points of the noisy views, and their height maps along an approach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from srcli.config.candidates import CandidateConfig
from srcli.perception.geometry import rotated, smooth_depth, unproject_view
from srcli.types import F32, F64, I64, U8, Observation

#: The hand reaches beyond the workspace: what stands this far outside is still seen, metres.
_MARGIN = 0.06
#: Parts of maps begin at multiples of this many cells: of every step between the start cells of :mod:`srcli.actions.proposals`,
#: which are so the same in a part as in the whole.
_PITCH = 6
#: Smoothed points below this height are table, metres.
_TABLE = 0.005


def surface_points(observation: Observation, config: CandidateConfig) -> F32:
    """Everything that stands on the table in and around the workspace: means of 3 mm voxels of the smoothed views.

    Returns:
        (P, 3) float32 metres, world frame.
    """
    lower = np.array(config.lower, dtype=np.float32) - _MARGIN
    upper = np.array(config.upper, dtype=np.float32) + _MARGIN
    lower[2] = _TABLE
    views = zip(smooth_depth(observation.depth), observation.K, observation.T_world_cam, strict=True)
    points = np.concatenate([unproject_view(*view, lower, upper) for view in views])
    cell = ((points - lower) / np.float32(config.cell)).astype(np.int64)
    shape = np.ceil((upper - lower) / config.cell).astype(np.int64) + 1
    index = (cell[:, 0] * shape[1] + cell[:, 1]) * shape[2] + cell[:, 2]
    # A point's number behind its voxel: sorting such keys is stable and several times as fast as a stable argsort.
    index, order = np.divmod(np.sort(index * len(points) + np.arange(len(points))), max(len(points), 1))
    points = points[order]
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    count = np.diff(starts, append=len(index))
    if len(starts) == 0:
        return np.zeros((0, 3), dtype=np.float32)
    means: F32 = (np.add.reduceat(points, starts, axis=0) / count[:, None]).astype(np.float32)
    return means[count >= 2]


@dataclass(frozen=True, slots=True)
class HeightMaps:
    """Height maps in F tool frames; heights are measured against the approach (up), metres.

    Attributes:
        heights: (F, V, U) float32: the highest surface at each cell, at least the table. Axis U runs along the closing direction,
            axis V across the pads.
        floor: (F, V, U) float32: the table alone.
        frames: (F, 3, 3) tool frames, columns = closing, across, approach.
        origin: (F, 2) coordinates (u, v) of the centre of cell [0, 0], metres.
        cell: edge of a cell, metres.
    """

    heights: F32
    floor: F32
    frames: F64
    origin: F64
    cell: float

    def positions(self, frame: I64, v: npt.NDArray[np.floating], u: npt.NDArray[np.floating], height: F32) -> F64:
        """World positions (K, 3) of fractional cells (v, u) at heights (K,) along each frame's approach."""
        local = np.stack([self.origin[frame, 0] + u * self.cell, self.origin[frame, 1] + v * self.cell, -height], axis=1)
        world: F64 = np.einsum("kij,kj->ki", self.frames[frame], local)
        return world


def build_maps(points: F32, frames: F64, cell: float, margin: float, around: F32 | None = None) -> HeightMaps:
    """Height maps of surface points in tool frames.

    Args:
        points: (P, 3) world frame, metres, at least one.
        frames: (F, 3, 3) tool frames.
        cell: edge of a cell, metres.
        margin: border around what is shown, metres.
        around: (Q, 3) some of the points, at least one: the maps show these and what is up to ``margin`` from them, in the same
            cells as the maps of all points, but for holes at the rim; None shows all.

    Cells between points that received none themselves take the mean of their neighbours; all other empty cells are table.
    """
    # (F, 3, P): reductions over points run along memory.
    local = np.swapaxes(rotated(points.astype(np.float64), frames), 1, 2)
    low = local[:, :2].min(axis=2) - margin
    first = np.zeros((len(frames), 2), dtype=np.int64)
    shown = local[:, :2]
    if around is not None:
        shown = np.swapaxes(rotated(around.astype(np.float64), frames), 1, 2)[:, :2]
        first = np.maximum(np.floor((shown.min(axis=2) - margin - low) / cell).astype(np.int64), 0) // _PITCH * _PITCH
    last = np.ceil((shown.max(axis=2) + margin - low) / cell).astype(np.int64)
    columns, rows = ((last - first).max(axis=0) + 1).tolist()
    empty = np.float32(-1e3)
    heights = np.full((len(frames), rows, columns), empty, dtype=np.float32)
    for frame, (x, y, z) in enumerate(local):
        u = ((x - low[frame, 0]) / cell).astype(np.int64) - first[frame, 0]
        v = ((y - low[frame, 1]) / cell).astype(np.int64) - first[frame, 1]
        if around is not None:
            inside = np.flatnonzero((u >= 0) & (u < columns) & (v >= 0) & (v < rows))
            u, v, z = u[inside], v[inside], z[inside]
        np.maximum.at(heights[frame].reshape(-1), v * columns + u, (-z).astype(np.float32))
    _fill_holes(heights, empty)
    origin = low + cell / 2 + first * cell
    up = -frames[:, :, 2]
    along = origin[:, :1] + np.arange(columns) * cell
    across = origin[:, 1:] + np.arange(rows) * cell
    # World z of a point (u, v, h) is u x_z + v y_z + h up_z; the table is where that is 0.
    slope = frames[:, 2, :2] / up[:, 2:]
    floor = (-(slope[:, :1] * along)[:, None, :] - (slope[:, 1:] * across)[:, :, None]).astype(np.float32)
    return HeightMaps(np.maximum(heights, floor, out=heights), floor, frames, origin, cell)


def _fill_holes(heights: F32, empty: np.float32) -> None:
    """Empty cells with at least five filled among their eight neighbours take the mean of those; in place."""
    filled = np.pad(heights > empty, ((0, 0), (1, 1), (1, 1)))
    count = _sum3(filled.view(np.uint8))
    frame, v, u = np.nonzero((count >= 5) & ~filled[:, 1:-1, 1:-1])
    base = (frame * filled.shape[1] + v) * filled.shape[2] + u
    steps = np.arange(3)
    near = base[:, None, None] + steps[:, None] * filled.shape[2] + steps
    there = filled.reshape(-1)[near]
    # Without the padding; what it would show is not there.
    inner = (frame * heights.shape[1] + v - 1) * heights.shape[2] + u - 1
    places = inner[:, None, None] + (steps[:, None] * heights.shape[2] + steps)
    value = np.where(there, heights.reshape(-1)[np.where(there, places, 0)], np.float32(0))
    heights[frame, v, u] = value.sum(axis=1).sum(axis=1) / count[frame, v, u]


def _sum3(padded: U8) -> U8:
    """Sum over 3 x 3 cells of an array padded by one in its last two axes."""
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    total: U8 = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    return total


def sliding_max(values: F32, size: int, axis: int) -> F32:
    """Maximum over a centred window of an odd ``size`` cells along one axis, cut at the borders; same shape."""
    half = size // 2
    shape = list(values.shape)
    shape[axis] += half
    inner: list[slice] = [slice(None)] * values.ndim
    inner[axis] = slice(half, None)
    # Padded in front, a window that starts at i is the one centred at i.
    result = np.full(shape, -np.inf, dtype=np.float32)
    result[tuple(inner)] = values
    other = np.empty_like(result)
    # A window of 2k is the maximum of two windows of k: log2(size) passes instead of size.
    covered = 1
    while covered < size:
        step = min(covered, size - covered)
        head, tail = list(inner), list(inner)
        head[axis], tail[axis] = slice(None, -step), slice(step, None)
        np.maximum(result[tuple(head)], result[tuple(tail)], out=other[tuple(head)])
        last: list[slice] = list(inner)
        last[axis] = slice(-step, None)
        other[tuple(last)] = result[tuple(last)]
        result, other, covered = other, result, covered + step
    inner[axis] = slice(None, values.shape[axis])
    return result[tuple(inner)]
