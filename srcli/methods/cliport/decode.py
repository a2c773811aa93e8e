"""From poses to labels of a heat map, and from places in a heat map to poses.

A heat map has Y bins of yaw over half a turn (the jaws are symmetric) and N x N pixels; entry ``(y, i, j)`` has the flat number
``(y * N + i) * N + j``. Published: pixels alone for a pick, pixels and 36 yaws of a full turn for a placement.
"""

from __future__ import annotations

import math

import numpy as np

from srcli.methods.cliport.raster import Grid
from srcli.methods.cliport.section import CliportActConfig
from srcli.types import F32, F64, I64, Bool

#: Smallest footprint that a release is held above, metres.
_FOOT = 0.010


def yaw_bins(poses: F32, bins: int) -> I64:
    """Bin (P,) of the yaw of each pose's closing axis (tool x), seen from above; bin 0 is around 0 and around half a turn."""
    x, y, z, w = poses[:, 3:].astype(np.float64).T
    yaw = np.arctan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z))
    nearest: I64 = np.rint(yaw / (math.pi / bins)).astype(np.int64) % bins
    return nearest


def labels(poses: F32, grid: Grid, bins: int) -> tuple[I64, Bool]:
    """Flat entries (P,) of a heat map that poses (P, 7) fall into, and whether they lie inside the map."""
    cell, inside = grid.cells(poses)
    return yaw_bins(poses, bins) * grid.count**2 + cell, inside


def places(flat: I64, grid: Grid, bins: int) -> tuple[F64, F64]:
    """Centres (P, 2) in metres and yaws (P,) in radians, -pi/2 to pi/2, of flat entries."""
    yaw_bin, cell = np.divmod(flat, grid.count**2)
    yaw = yaw_bin * (math.pi / bins)
    return grid.centres(cell), np.where(yaw >= math.pi / 2, yaw - math.pi, yaw)


def straight_down(xy: F64, z: F64, yaw: F64) -> F32:
    """Poses (P, 7) with the tool straight down, closing along ``yaw``."""
    half = yaw / 2
    nothing = np.zeros_like(half)
    # Half a turn about x, then the yaw about the vertical.
    poses: F32 = np.stack([xy[:, 0], xy[:, 1], z, np.cos(half), np.sin(half), nothing, nothing], axis=1).astype(np.float32)
    return poses


def smoothed(heights: F32) -> F32:
    """Medians of a height map (N, N) over three by three pixels: the highest of a noisy table is not the table."""
    from scipy.ndimage import median_filter

    medians: F32 = np.asarray(median_filter(heights, size=3, mode="nearest"), dtype=np.float32)
    return medians


def grasps(flat: I64, heights: F32, grid: Grid, bins: int, act: CliportActConfig) -> F32:
    """Grasps (P, 7) of flat entries: as deep below the map (N, N metres) as fingers reach and the table allows."""
    xy, yaw = places(flat, grid, bins)
    top = heights.reshape(-1)[flat % grid.count**2].astype(np.float64)
    return straight_down(xy, np.maximum(top - np.minimum(act.depth, top), act.floor), yaw)


def releases(flat: I64, heights: F32, grid: Grid, half_width: float, act: CliportActConfig) -> F32:
    """Releases (P, 7) of flat entries of a map without yaws, in the form of placements.

    The lowest point of the held object is let go a little above the highest that its footprint covers, at yaw 0: it keeps the one
    that it was grasped with.
    """
    xy, yaw = places(flat, grid, 1)
    reach = max(half_width, _FOOT) / grid.pixel
    steps = np.arange(-math.floor(reach), math.floor(reach) + 1)
    disc = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    disc = disc[(disc**2).sum(axis=1) <= reach**2]
    row, column = np.divmod(flat, grid.count)
    near = heights[
        np.clip(row[:, None] + disc[:, 0], 0, grid.count - 1), np.clip(column[:, None] + disc[:, 1], 0, grid.count - 1)
    ]
    return straight_down(xy, near.max(axis=1).astype(np.float64) + act.clearance, yaw)
