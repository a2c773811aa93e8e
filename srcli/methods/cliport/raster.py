"""Maps of a scene seen from straight above, and places in them (CLIPort section 3.1: orthographic colour and height).

Rows of a map run along x and columns along y, so that pixel (i, j) covers a square whose centre is
``lower + ((i, j) + 0.5) * pixel``. Turned samples are drawn into maps anew: no map is ever warped, cropped or padded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srcli.types import F32, F64, I64, U8, Bool

#: Features of what lies further than this below the highest of a pixel are hidden from above, metres.
_LAYER = 0.02
#: Empty pixels so near to a filled one are gaps, pixels.
_REACH = 3.0
#: What is seen where nothing is: the bare table, of no particular colour.
_EMPTY = (0.5, 0.5, 0.5, 0.0)


@dataclass(frozen=True, slots=True)
class Grid:
    """Square pixels over a square of the table.

    Attributes:
        lower: xy of the corner of pixel (0, 0), metres.
        pixel: edge, metres.
        count: pixels along each side.
    """

    lower: tuple[float, float]
    pixel: float
    count: int

    @classmethod
    def around(cls, centre: tuple[float, float], pixel: float, count: int) -> Grid:
        """A grid whose middle is at ``centre`` (metres)."""
        half = pixel * count / 2
        return cls((centre[0] - half, centre[1] - half), pixel, count)

    def coarser(self, factor: int) -> Grid:
        """The same square in pixels ``factor`` times as wide."""
        return Grid(self.lower, self.pixel * factor, self.count // factor)

    def cells(self, positions: F32) -> tuple[I64, Bool]:
        """Flat pixel (P,) of positions (P, 2 or more) in metres, and whether they lie inside; 0 for those outside."""
        cell = np.floor((positions[:, :2].astype(np.float64) - self.lower) / self.pixel).astype(np.int64)
        inside: Bool = np.asarray(((cell >= 0) & (cell < self.count)).all(axis=1))
        return np.where(inside, cell[:, 0] * self.count + cell[:, 1], 0), inside

    def centres(self, flat: I64) -> F64:
        """Centres (P, 2) of flat pixels, metres."""
        cell = np.stack(np.divmod(flat, self.count), axis=1)
        xy: F64 = self.lower + (cell + 0.5) * self.pixel
        return xy


def surface_map(points: F32, colors: U8, grid: Grid) -> F32:
    """Colour and height of the highest point of each pixel.

    Args:
        points: (P, 3) metres, table at z = 0.
        colors: (P, 3).

    Returns:
        (4, N, N) float32: red, green, blue in 0..1 and height in metres, at least 0. Gaps take the nearest pixel's; what is
        still empty is bare table, grey.
    """
    flat, inside = grid.cells(points)
    flat, points, colors = flat[inside], points[inside], colors[inside]
    # Of repeated indices the last one stays: the highest.
    order = np.argsort(points[:, 2], kind="stable")
    values = np.zeros((grid.count**2, 4), dtype=np.float32)
    values[flat[order], :3] = colors[order] / np.float32(255.0)
    values[flat[order], 3] = np.maximum(points[order, 2], 0.0)
    filled = np.zeros(grid.count**2, dtype=np.bool_)
    filled[flat] = True
    shaped = values.reshape(grid.count, grid.count, 4)
    seen = fill(shaped, filled.reshape(grid.count, grid.count))
    shaped[~seen] = _EMPTY
    return np.ascontiguousarray(shaped.transpose(2, 0, 1))


def feature_map(cells: F32, features: F32, grid: Grid) -> F32:
    """Mean feature of what is seen of each pixel from above.

    Args:
        cells: (C, 3) metres.
        features: (C, D).

    Returns:
        (D, N, N) float32; gaps take the nearest pixel's, and it is zero where nothing is near.
    """
    flat, inside = grid.cells(cells)
    flat, height, features = flat[inside], cells[inside, 2], features[inside]
    top = np.full(grid.count**2, -np.inf, dtype=np.float32)
    np.maximum.at(top, flat, height)
    seen = height >= top[flat] - np.float32(_LAYER)
    flat, features = flat[seen], features[seen]
    order = np.argsort(flat, kind="stable")
    used, starts = np.unique(flat[order], return_index=True)
    values = np.zeros((grid.count**2, features.shape[1]), dtype=np.float32)
    if len(used):
        count = np.diff(starts, append=len(flat))[:, None]
        values[used] = np.add.reduceat(features[order].astype(np.float32), starts, axis=0) / count
    filled = np.zeros(grid.count**2, dtype=np.bool_)
    filled[used] = True
    shaped = values.reshape(grid.count, grid.count, -1)
    fill(shaped, filled.reshape(grid.count, grid.count))
    return np.ascontiguousarray(shaped.transpose(2, 0, 1))


def fill(values: F32, filled: Bool) -> Bool:
    """Give empty pixels the values of the nearest filled one, up to a few pixels away: turned points leave gaps.

    Args:
        values: (N, N, C), changed in place.
        filled: (N, N).

    Returns:
        (N, N) what is filled in the end.
    """
    from scipy.ndimage import distance_transform_edt

    if not filled.any():
        return filled
    away, (row, column) = distance_transform_edt(~filled, return_indices=True)
    gap = (away > 0) & (away <= _REACH)
    values[gap] = values[row[gap], column[gap]]
    closed: Bool = away <= _REACH
    return closed
