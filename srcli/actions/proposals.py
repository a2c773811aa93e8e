"""Geometric grasp proposals: where the opened gripper fits around something, as deep as clearance allows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from srcli.actions.gripper import GRIPPER
from srcli.actions.heightmaps import HeightMaps, sliding_max
from srcli.config.candidates import CandidateConfig
from srcli.types import F32, I64, Bool

#: Depths below the local top at which the opened fingers are tried, metres; the deepest possible one is tried besides.
DEPTHS = (0.010, 0.015, 0.020, 0.026, 0.032, 0.038, 0.045)
#: What rises less than this above the table is not worth a grasp, metres.
_LEAST_HEIGHT = 0.008
#: Cells between start cells, across and along the closing direction; ``heightmaps._PITCH`` is a multiple of both.
_ROW_STEP, _COLUMN_STEP = 3, 2
#: Fingers that reach less than this below the top hold nothing, metres.
_LEAST_GRIP = 0.006
#: Room beside each finger, metres: depth sensors lose the rim of an object, so what is seen is a few millimetres too small.
_SIDE = 0.004
#: Room across the pads and beside the hand, metres.
_ACROSS = 0.0025


@dataclass(frozen=True, slots=True)
class Proposals:
    """P grasps as places in height maps.

    Attributes:
        frame: (P,) which map.
        v, u: (P,) fractional cells of the grasp's axis.
        height: (P,) of the fingertips along the approach, metres.
        opening: (P,) distance between the pads before closing, metres.
    """

    frame: I64
    v: F32
    u: F32
    height: F32
    opening: F32

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, which: I64 | Bool) -> Proposals:
        """Some of them, in the order of ``which``."""
        return Proposals(self.frame[which], self.v[which], self.u[which], self.height[which], self.opening[which])


@dataclass(frozen=True, slots=True)
class Clearance:
    """Lowest heights at which parts of the gripper fit, for every cell of every map; (F, V, U) float32 metres.

    Attributes:
        finger: a finger with the room it needs.
        generous: a finger with a cell more room on all sides.
        hand: the hand's box.
    """

    finger: F32
    generous: F32
    hand: F32


def clearance_maps(maps: HeightMaps) -> Clearance:
    """Sliding maxima of the height maps under the fingertip's and the hand's footprint."""
    finger = sliding_max(maps.heights, odd((GRIPPER.finger_thickness + 2 * _SIDE) / maps.cell), axis=2)
    finger = sliding_max(finger, odd((GRIPPER.finger_width + 2 * _ACROSS) / maps.cell), axis=1)
    generous = sliding_max(sliding_max(finger, 3, axis=2), 3, axis=1)
    hand = sliding_max(maps.heights, odd((GRIPPER.hand_x + 2 * _ACROSS) / maps.cell), axis=2)
    hand = sliding_max(hand, odd((GRIPPER.hand_y + 2 * _ACROSS) / maps.cell), axis=1)
    return Clearance(*(np.ascontiguousarray(part) for part in (finger, generous, hand)))


def odd(cells: float) -> int:
    """The odd number of cells that covers at least ``cells``, less half a cell of slack."""
    size = int(np.ceil(cells - 0.5))
    return size if size % 2 else size + 1


def propose(maps: HeightMaps, clearance: Clearance, config: CandidateConfig, wanted: Bool | None = None) -> Proposals:
    """Grasps around every second cell along the closing direction, in every third row, that holds something.

    From a start cell the fingers are moved outwards, each for itself, to the first place where it can go down to the tried
    height; the grasp is centred between them. So its opening and centre fit whatever stands between.

    Args:
        maps: height maps in F tool frames.
        clearance: of the same maps.
        wanted: (F, V, U) start cells to consider; None takes all.

    Returns:
        proposals without repetition.
    """
    height = maps.heights
    some = (slice(None), slice(None, None, _ROW_STEP), slice(None, None, _COLUMN_STEP))
    start = height[some] - maps.floor[some] > _LEAST_HEIGHT
    if wanted is not None:
        start &= wanted[some]
    frame, v, u = np.nonzero(start)
    v, u = v * _ROW_STEP, u * _COLUMN_STEP
    reach = int((GRIPPER.max_opening + GRIPPER.finger_thickness) / maps.cell)
    edge = reach + 1
    inner = (v >= 6) & (v < height.shape[1] - 6) & (u >= edge) & (u < height.shape[2] - edge)
    frame, v, u = frame[inner], v[inner], u[inner]
    offsets = np.arange(2, reach - 1)
    flat, generous = clearance.finger.reshape(-1), clearance.generous.reshape(-1)
    base = (frame * height.shape[1] + v) * height.shape[2] + u
    # (O, P): the lowest place so far on the way outwards. A finger stops at the first place that is low enough, before which all
    # are too high: their number is where it stops.
    right, left = _lowest_so_far(flat.take(base + offsets[:, None])), _lowest_so_far(flat.take(base - offsets[:, None]))
    top = height[frame, v, u]
    found = []
    for depth in (*DEPTHS, None):
        if depth is None:
            # As deep as the wider neighbourhood allows: down to the lowest place beside the start cell.
            lowest = np.maximum(left[-1], right[-1]) + config.clearance
            level = np.ceil(np.maximum(lowest, top - config.max_depth) * 1000) / 1000
        else:
            # In steps of 4 mm, so that neighbouring start cells find the same grasp instead of many alike.
            level = np.ceil((top - min(depth, config.max_depth)) * 250) / 250
        limit = level - config.clearance + 1e-6
        free = (left[-1] <= limit) & (right[-1] <= limit)
        a, b = _first_free(left, limit, offsets), _first_free(right, limit, offsets)
        a = _one_further(a, generous[base - a - 1] <= limit, b, maps.cell)
        b = _one_further(b, generous[base + b + 1] <= limit, a, maps.cell)
        opening = (a + b) * maps.cell - GRIPPER.finger_thickness
        ok = free & (opening <= GRIPPER.max_opening) & (top - level > _LEAST_GRIP)
        a, b, keep = a[ok], b[ok], np.flatnonzero(ok)
        centre = u[keep] + (b - a) / 2
        # The hand's own footprint decides at the centred place; it is wide, so half a cell does not matter.
        hand = clearance.hand[frame[keep], v[keep], np.floor(centre).astype(np.int64)]
        fits = hand + config.clearance <= level[keep] + GRIPPER.finger_length
        keep, centre = keep[fits], centre[fits]
        half_cells = np.rint(centre * 2).astype(np.int64)
        level_mm = np.rint(level[keep] * 1000).astype(np.int64)
        opening_mm = np.rint(opening[ok][fits] * 1000).astype(np.int64)
        # One integer per proposal: far cheaper to make unique than rows.
        row = frame[keep] * height.shape[1] + v[keep]
        found.append(((row * (2 * height.shape[2]) + half_cells) * 2048 + (level_mm + 1024)) * 128 + opening_mm)
    code = np.unique(np.concatenate(found))
    code, opening_mm = np.divmod(code, 128)
    code, level_mm = np.divmod(code, 2048)
    row, half_cells = np.divmod(code, 2 * height.shape[2])
    return Proposals(
        frame=row // height.shape[1],
        v=(row % height.shape[1]).astype(np.float32),
        u=(half_cells / 2).astype(np.float32),
        height=((level_mm - 1024) / 1000).astype(np.float32),
        opening=(opening_mm / 1000).astype(np.float32),
    )


def _lowest_so_far(values: F32) -> F32:
    """Running minimum along the first axis, in place; numpy's ``accumulate`` goes along memory only for the last one."""
    for before, here in pairwise(values):
        np.minimum(before, here, out=here)
    return values


def _first_free(lowest: F32, limit: F32, offsets: I64) -> I64:
    """The first offset (P,) at which ``lowest`` (O, P), which never rises, is at most ``limit`` (P,); the first where none is."""
    blocked = (lowest > limit).sum(axis=0, dtype=np.uint8)
    found: I64 = offsets[np.where(blocked < len(offsets), blocked, 0)]
    return found


def _one_further(offset: I64, free: Bool, other: I64, cell: float) -> I64:
    """One cell more distance from the object for a finger, where there is room and the opening allows it."""
    widest = (GRIPPER.max_opening + GRIPPER.finger_thickness) / cell
    return offset + (free & (offset + 1 + other <= widest))
