"""The height map of a zone and what stands out of its table, from the noisy views alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srcli.config.placements import PlacementConfig
from srcli.perception.geometry import unproject_view
from srcli.types import F32, F64, I32, I64, Observation

#: Things just outside the workspace are in the way, too, metres.
_MARGIN = 0.06
#: Pixels below this height are table, metres.
_TABLE = 0.004
#: Fewer pixels in a cell are noise.
_LEAST = 4
#: Thickness of a noisy surface, metres.
_LAYER = 0.006

#: Directions in which the rim of a hollow is looked for, and how far, metres.
_RAYS = 16
_RIM_REACH = 0.11
#: Share of the directions in which there may be no rim: spouts, lost returns.
_OPEN = 0.2


@dataclass(frozen=True, slots=True)
class PlacementMap:
    """A height map over the workspace and a border around it, zone frame.

    Attributes:
        heights: (X, Y) float32 metres above the table: the highest surface of each cell; 0 on the table.
        things: (X, Y) int32: 0 on the table, else 1..T, one number for everything connected that stands out, insides included.
        count: T.
        origin: (2,) xy of the centre of cell [0, 0], metres.
        cell: edge of a cell, metres.
    """

    heights: F32
    things: I32
    count: int
    origin: F64
    cell: float

    def positions(self, cells: I64) -> F64:
        """xy (P, 2) metres of cells (P, 2)."""
        xy: F64 = self.origin + cells * self.cell
        return xy

    def disc(self, radius: float) -> I64:
        """Offsets (D, 2) of the cells within ``radius`` metres of a cell, that cell included; every second of large discs."""
        stride = 1 if radius < 7 * self.cell else 2
        reach = int(radius / self.cell / stride) * stride
        steps = np.arange(-reach, reach + 1, stride)
        grid = np.stack(np.meshgrid(steps, steps, indexing="ij")).reshape(2, -1).T
        near: I64 = grid[(grid**2).sum(axis=1) * self.cell**2 <= radius**2 + 1e-12].astype(np.int64)
        return near

    def around(self, cells: I64, offsets: I64) -> F32:
        """Heights (P, D) at cells (P, 2) + offsets (D, 2); beyond the map the table goes on."""
        rows, columns = cells[:, None, 0] + offsets[:, 0], cells[:, None, 1] + offsets[:, 1]
        inside = (rows >= 0) & (rows < self.heights.shape[0]) & (columns >= 0) & (columns < self.heights.shape[1])
        values = self.heights[rows.clip(0, self.heights.shape[0] - 1), columns.clip(0, self.heights.shape[1] - 1)]
        found: F32 = np.where(inside, values, np.float32(0))
        return found

    def rim(self, cells: I64) -> F32:
        """Height (P,) of the rim around cells (P, 2) of things: what the same thing reaches in nearly all directions."""
        shape = self.heights.shape
        angle = np.arange(_RAYS) * 2 * np.pi / _RAYS
        step = np.arange(1, int(_RIM_REACH / self.cell) + 1)
        offsets = np.rint(step[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.int64)
        rows = (cells[:, None, None, 0] + offsets[..., 0]).clip(0, shape[0] - 1)
        columns = (cells[:, None, None, 1] + offsets[..., 1]).clip(0, shape[1] - 1)
        own = self.things[rows, columns] == self.things[cells[:, 0], cells[:, 1]][:, None, None]
        highest = np.where(own, self.heights[rows, columns], np.float32(0)).max(axis=1)
        rim: F32 = np.sort(highest, axis=1)[:, int(_OPEN * _RAYS)]
        return rim


def build_placement_map(observation: Observation, config: PlacementConfig) -> PlacementMap:
    """Height map and things of a zone.

    Depth is noisy and lost at the edges of objects: all views are merged, a cell needs several pixels, single-cell peaks are cut
    and small holes closed.
    """
    from scipy import ndimage

    lower = np.array([config.lower[0] - _MARGIN, config.lower[1] - _MARGIN, _TABLE], dtype=np.float32)
    upper = np.array([config.upper[0] + _MARGIN, config.upper[1] + _MARGIN, config.upper[2]], dtype=np.float32)
    views = zip(observation.depth, observation.K, observation.T_world_cam, strict=True)
    points = np.concatenate([unproject_view(*view, lower, upper) for view in views])
    heights = _tops(points, lower, upper, config.cell)
    heights = _close(heights)
    heights = np.minimum(heights, ndimage.rank_filter(heights, rank=-3, size=3))
    standing = heights > config.stand_out
    # Padded: a closing at the border of the map would otherwise erode it.
    out = ndimage.binary_closing(np.pad(standing, 2))[2:-2, 2:-2] | standing
    labels, found = ndimage.label(ndimage.binary_fill_holes(out), structure=np.ones((3, 3)))
    kept = np.bincount(labels.ravel(), minlength=found + 1) * config.cell**2 >= config.min_area
    kept[0] = False
    things = np.where(kept, np.cumsum(kept), 0)[labels].astype(np.int32)
    heights[things == 0] = 0.0
    origin = lower[:2].astype(np.float64) + config.cell / 2
    return PlacementMap(heights, things, int(kept.sum()), origin, config.cell)


def _tops(points: F32, lower: F32, upper: F32, cell: float) -> F32:
    """(X, Y) height of the highest surface of each cell; 0 where fewer than ``_LEAST`` points lie.

    The surface is the mean of what lies less than ``_LAYER`` below the cell's third highest point: a maximum would take the
    noise's outliers, a quantile would sink with the points on the side of an object.
    """
    size = np.ceil((upper[:2] - lower[:2]) / cell).astype(np.int64)
    place = ((points[:, :2] - lower[:2]) / np.float32(cell)).astype(np.int64)
    # One sort orders by cell, then by height in steps of 0.1 mm; what is higher than 0.81 m counts as that.
    high = np.minimum((points[:, 2] * 1e4).astype(np.int64), 8191)
    key = np.sort((place[:, 0] * size[1] + place[:, 1]) * 8192 + high)
    index, z = key // 8192, (key % 8192) * 1e-4
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    counts = np.diff(starts, append=len(index))
    third = z[starts + np.maximum(counts - 3, 0)]
    upper_layer = z >= np.repeat(third, counts) - _LAYER
    total, number = np.bincount(index, z * upper_layer), np.bincount(index, upper_layer)
    cells = index[starts][counts >= _LEAST]
    heights = np.zeros(int(size[0] * size[1]), dtype=np.float32)
    heights[cells] = total[cells] / number[cells]
    return heights.reshape(int(size[0]), int(size[1]))


def _close(heights: F32) -> F32:
    """Empty cells with at least five filled ones among their eight neighbours take the mean of those."""
    rows, columns = heights.shape
    padded = np.pad(heights, 1)
    near = [padded[1 + i : 1 + i + rows, 1 + j : 1 + j + columns] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    count = np.sum([part > 0 for part in near], axis=0)
    closed: F32 = np.where((heights == 0) & (count >= 5), np.sum(near, axis=0) / np.maximum(count, 1), heights).astype(np.float32)
    return closed
