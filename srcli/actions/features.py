"""What a height map tells about one grasp proposal: the inputs of the quality score."""

from __future__ import annotations

import numpy as np

from srcli.actions.gripper import GRIPPER
from srcli.actions.heightmaps import HeightMaps
from srcli.actions.proposals import Clearance, Proposals
from srcli.types import F32, I64, Bool

#: Names of the columns of :func:`describe`. Lengths in centimetres, so that all are of order one.
FEATURES = (
    "opening",
    "closed_width",
    "engagement_less",
    "engagement_more",
    "top",
    "contact_less",
    "contact_more",
    "skew_less",
    "skew_more",
    "lean_less",
    "lean_more",
    "lean_high_less",
    "lean_high_more",
    "solidity",
    "run_short",
    "run_long",
    "run_tip_short",
    "run_tip_long",
    "tip_height",
    "hand_room",
    "around",
    "off_centre",
    "tilt",
    "finger_room",
    "generous_room",
)

_ROWS = np.arange(-3, 4)
_COLUMNS = np.arange(-16, 17)
_RUN = 26
LOOK = _RUN + 2
"""Cells around a start cell that :func:`describe` reads at most: maps need as wide a border."""
_FAR = np.float32(3.0)


def describe(maps: HeightMaps, clearance: Clearance, proposals: Proposals) -> F32:
    """Features (P, len(FEATURES)) float32 of proposals; see :data:`FEATURES`.

    All are local and relative to the fingertips: how much of the object stands between the pads, how its two contact faces lie
    (turned against the pad = skew, leaning inwards with height = lean), how far it reaches to both sides across the pads. The two
    sides of the gripper are interchangeable, so the lesser and the greater value are given, not left and right.
    """
    if len(proposals) == 0:
        return np.zeros((0, len(FEATURES)), dtype=np.float32)
    # Proposals run along the last axis of all arrays: reductions over rows and columns then run along memory.
    heights, cell = maps.heights, maps.cell
    stride = heights.shape[2]
    frame, v = proposals.frame, proposals.v.astype(np.int64)
    u = np.floor(proposals.u).astype(np.int64)
    flat = heights.reshape(-1)
    base = (frame * heights.shape[1] + v) * stride + u
    patch = flat.take((_ROWS[:, None] * stride + _COLUMNS)[:, :, None] + base) - proposals.height
    fraction = proposals.u - u
    inside = np.abs(_COLUMNS[:, None] - fraction) * cell < proposals.opening / 2 + cell / 2
    low = (patch > 0.004) & inside
    left, right, any_row = _edges(low)
    near_left, near_right = left.min(axis=0), right.max(axis=0)
    columns: dict[str, F32] = {
        "opening": proposals.opening * 100,
        "closed_width": (near_right - near_left + 1) * (cell * 100),
        "top": (patch * inside).max(axis=0).max(axis=0) * 100,
        "off_centre": np.abs((near_right + near_left) / 2 - fraction) * (cell * 100),
    }
    sides = [
        _contact(patch, edge, any_row, near, inward) for edge, near, inward in ((left, near_left, 1), (right, near_right, -1))
    ]
    for name, one, other in zip(("contact", "engagement", "skew"), *sides, strict=True):
        columns[f"{name}_less"], columns[f"{name}_more"] = np.minimum(one, other), np.maximum(one, other)
    for name, level in (("lean", 0.014), ("lean_high", 0.026)):
        upper_left, upper_right, upper = _edges((patch > level) & inside)
        there = np.any(upper, axis=0)
        one = np.where(there, np.minimum((upper_left.min(axis=0) - near_left) * cell * 100, _FAR), _FAR)
        other = np.where(there, np.minimum((near_right - upper_right.max(axis=0)) * cell * 100, _FAR), _FAR)
        columns[f"{name}_less"], columns[f"{name}_more"] = np.minimum(one, other), np.maximum(one, other)
    between = (near_left <= _COLUMNS[:, None]) & (near_right >= _COLUMNS[:, None])
    filled = (low & between).sum(axis=0, dtype=np.uint8).sum(axis=0)
    columns["solidity"] = filled / np.maximum(between.sum(axis=0) * len(_ROWS), 1)
    short, long = _run(flat, base, stride, proposals.height + 0.004, None)
    columns["run_tip_short"], columns["run_tip_long"] = short * cell * 100, long * cell * 100
    short, long = _run(flat, base, stride, flat[base] - 0.012, flat[base] + 0.012)
    columns["run_short"], columns["run_long"] = short * cell * 100, long * cell * 100
    columns["tip_height"] = (proposals.height - maps.floor.reshape(-1)[base]) * 100
    hand = clearance.hand.reshape(-1)[base]
    columns["hand_room"] = (proposals.height + GRIPPER.finger_length - hand) * 100
    columns["around"] = (hand - flat[base]) * 100
    columns["tilt"] = np.arccos(np.clip(-maps.frames[frame, 2, 2], -1, 1))
    # Where the fingers stand: whole cells again, the proposal's centre lies midway between them.
    offset = (proposals.opening + GRIPPER.finger_thickness) / 2 / cell
    one = base - u + np.rint(proposals.u - offset).astype(np.int64)
    other = base - u + np.rint(proposals.u + offset).astype(np.int64)
    for name, room in (("finger_room", clearance.finger), ("generous_room", clearance.generous)):
        fingers = np.maximum(room.reshape(-1)[one], room.reshape(-1)[other])
        columns[name] = np.clip((proposals.height - fingers) * 100, -_FAR, _FAR)
    return np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float32)


def _contact(patch: F32, edge: F32, any_row: Bool, near: F32, inward: int) -> tuple[F32, F32, F32]:
    """How one pad meets the object, (P,) each: share of its rows that touch, height of the object behind them (cm), skew."""
    touching = any_row & (np.abs(edge - near) < 1.7)
    count = touching.sum(axis=0)
    column, each = (near - _COLUMNS[0]).astype(np.int64), np.arange(len(near))
    # The rim itself and two cells behind it: thin walls end before that, and sensors blur the rim.
    behind = np.max([patch[:, np.clip(column + k * inward, 0, len(_COLUMNS) - 1), each] for k in range(3)], axis=0)
    engagement = (behind * touching).sum(axis=0) / np.maximum(count, 1) * 100
    return (count / len(_ROWS)).astype(np.float32), engagement.astype(np.float32), _slope(edge, any_row)


def _edges(occupied: Bool) -> tuple[F32, F32, Bool]:
    """First and last occupied column of each row (R, P), in cells from the centre; rows without any stand at the far side."""
    # As int8 a negated True has all bits set: & keeps a column's distance from the far side, or gives 0.
    mask, column = np.negative(occupied.view(np.int8)), _COLUMNS.astype(np.int8)[:, None]
    left: F32 = (column[-1] - (mask & (column[-1] - column)).max(axis=1)).astype(np.float32)
    right: F32 = (column[0] + (mask & (column - column[0])).max(axis=1)).astype(np.float32)
    any_row: Bool = np.any(occupied, axis=1)
    return left, right, any_row


def _slope(edge: F32, valid: Bool) -> F32:
    """Absolute slope of an edge across the pad, by least squares over the rows that have one; (P,), at most 3."""
    weight = valid.astype(np.float32)
    count = np.maximum(weight.sum(axis=0), 1.0)
    row = _ROWS.astype(np.float32)[:, None]
    mean_row = (weight * row).sum(axis=0) / count
    mean_edge = (weight * edge).sum(axis=0) / count
    centred = (row - mean_row) * weight
    slope = (centred * (edge - mean_edge)).sum(axis=0) / np.maximum((centred**2).sum(axis=0), 1.0)
    bounded: F32 = np.minimum(np.abs(slope), _FAR).astype(np.float32)
    return bounded


def _run(flat: F32, base: I64, stride: int, low: F32, high: F32 | None) -> tuple[F32, F32]:
    """Cells over which the surface goes on across the pads between two heights: the shorter and the longer side, (P,) each."""
    sides = []
    for sign in (-1, 1):
        line = flat.take(base + sign * np.arange(1, _RUN)[:, None] * stride, mode="clip")
        on = line > low
        if high is not None:
            on &= line < high
        sides.append(np.logical_and.accumulate(on, axis=0).sum(axis=0, dtype=np.uint8).astype(np.float32))
    return np.minimum(*sides), np.maximum(*sides)
