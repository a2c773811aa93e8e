"""A search for grasps on the true surface of an object in its pile: the yardstick of what can be grasped at all. Privileged.

Pairs of opposite surface points, approached at many angles across the line between them, as far as the open gripper comes there
without touching anything. What it gives is not yet a grasp that holds: its best ones are executed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srcli.actions.gripper import GRIPPER
from srcli.actions.poses import canonical_quaternions
from srcli.pretraining.surface import Surface
from srcli.types import F32, F64, I64, Action, Bool

_SAMPLE = 600
_WIDEST = GRIPPER.max_opening - 0.008
_BESIDE = 0.004
_PAIRS = 500
_CONE = np.cos(np.radians(35.0))
_TURNS = np.radians(np.arange(-60.0, 61.0, 12.0))
_STEEPEST = np.cos(np.radians(60.0))
_DEPTHS = (0.004, 0.011, 0.020)
_ADDED = 0.012  # what the executor opens the gripper wider than it is told, metres
_ROOMS = (0.008, 0.003)  # room around the object for both fingers together, metres
_TIGHT = 0.2
_MARGIN = 0.0015
_SWEEP = 0.25
_AROUND = 0.22
_TABLE_GAP = 0.002
_MOST_LIFT = 0.008
_CHUNK = 200
_MOST = 4000
_COARSE = 10
_CELL = 0.015
_APART, _ANGLE = 0.012, np.cos(np.radians(25.0))
_BALANCE = 12.0  # per metre between the line of closing and the centre of mass
_STEEP = 0.4


@dataclass(frozen=True, slots=True)
class _Poses:
    """G grasps: tips (G, 3), tool frames (G, 3, 3), distance between the open pads (G,), score (G,)."""

    tips: F64
    rotations: F64
    openings: F64
    score: F64

    def take(self, which: I64 | Bool) -> _Poses:
        return _Poses(self.tips[which], self.rotations[which], self.openings[which], self.score[which])


def search(own: Surface, centre: F64, scene: F64, count: int) -> list[Action]:
    """The best distinct grasps of one object that collide with nothing, best first.

    Args:
        own: the object's surface in the world frame.
        centre: (3,) its centre of mass.
        scene: (P, 3) points of all objects' surfaces, its own included.
        count: how many at most.
    """
    poses = _propose(own, centre)
    if not len(poses.score):
        return []
    near = scene[np.linalg.norm(scene[:, :2] - centre[:2], axis=1) < _AROUND].astype(np.float32)
    poses = poses.take(_spread(poses)[:_MOST])
    kept: list[int] = []
    for first in range(0, len(poses.score), _CHUNK):
        chunk = np.arange(first, min(first + _CHUNK, len(poses.score)))
        # Most collide, which few points tell as well as all.
        chunk = chunk[_free(poses.take(chunk), near[::_COARSE])]
        for index in chunk[_free(poses.take(chunk), near)]:
            if len(kept) < count and not _doubles(poses, kept, int(index)):
                kept.append(int(index))
        if len(kept) >= count:
            break
    found = poses.take(np.array(kept, dtype=np.int64))
    vectors = np.concatenate([found.tips, canonical_quaternions(found.rotations)], axis=1).astype(np.float32)
    widths = np.maximum(found.openings - _ADDED, 0.0)
    return [Action("grasp", pose, float(width)) for pose, width in zip(vectors, widths, strict=True)]


def _propose(own: Surface, centre: F64) -> _Poses:
    """Contact pairs, each approached from several sides and at several depths."""
    middle, closing, gap, square = (np.concatenate(parts) for parts in zip(_by_pairs(own), _by_rays(own), strict=True))
    off = middle - centre
    lever = np.linalg.norm(off - (off * closing).sum(axis=1, keepdims=True) * closing, axis=1)
    score = square - _BALANCE * lever
    usable = np.flatnonzero(np.abs(closing[:, 2]) < 0.95)
    best = usable[_thinned(middle[usable], closing[usable], score[usable])[:_PAIRS]]
    closing, middle, gap, score = closing[best], middle[best], gap[best], score[best]
    # The approach across the line of closing that points most steeply down, then turned about that line.
    down = np.array([0.0, 0.0, -1.0]) + closing[:, 2:] * closing
    down /= np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-9)
    side = np.cross(closing, down)
    parts = []
    for turn in _TURNS:
        approach = np.cos(turn) * down + np.sin(turn) * side
        rotation = np.stack([closing, np.cross(approach, closing), approach], axis=2)
        for depth in _DEPTHS:
            likely = score - _STEEP * (1 + approach[:, 2])
            for room in _ROOMS:
                opening = np.maximum(gap + room, _ADDED)
                parts.append(_Poses(middle + depth * approach, rotation, opening, likely - _TIGHT * (room < max(_ROOMS))))
    every = _Poses(*(np.concatenate([getattr(part, name) for part in parts]) for name in _Poses.__slots__))
    lifted, lift = _above_table(every)
    return lifted.take((every.rotations[:, 2, 2] < -_STEEPEST) & (lift < _MOST_LIFT))


_Contacts = tuple[F64, F64, F64, F64]
"""Middles (C, 3), unit closing directions (C, 3), distances (C,), and how squarely both fingers meet the surface (C,)."""


def _by_pairs(own: Surface) -> _Contacts:
    """Points of a sample of the surface that face away from each other along the line between them."""
    from scipy.spatial import cKDTree

    points, normals = own.points[:_SAMPLE], own.normals[:_SAMPLE]
    pairs = cKDTree(points).query_pairs(_WIDEST, output_type="ndarray")
    across = points[pairs[:, 1]] - points[pairs[:, 0]]
    gap = np.linalg.norm(across, axis=1)
    closing = across / np.maximum(gap, 1e-9)[:, None]
    first = -(normals[pairs[:, 0]] * closing).sum(axis=1)
    second = (normals[pairs[:, 1]] * closing).sum(axis=1)
    good = (first > _CONE) & (second > _CONE)
    middle = points[pairs].mean(axis=1)
    return middle[good], closing[good], gap[good], (first + second)[good]


def _by_rays(own: Surface) -> _Contacts:
    """From each point of the sample straight inwards to where the surface is left again: finds thin walls, which pairs miss."""
    from scipy.spatial import cKDTree

    start, inwards = own.points[:_SAMPLE], -own.normals[:_SAMPLE]
    steps = np.arange(0.002, _WIDEST, 0.003)
    along = start[:, None] + steps[None, :, None] * inwards[:, None]
    distance, nearest = cKDTree(own.points).query(along.reshape(-1, 3), distance_upper_bound=_BESIDE)
    row, column = np.nonzero(np.isfinite(distance).reshape(along.shape[:2]))
    hit = nearest.reshape(along.shape[:2])[row, column]
    second = (own.normals[hit] * inwards[row]).sum(axis=1)
    gap = ((own.points[hit] - start[row]) * inwards[row]).sum(axis=1)
    good = (second > _CONE) & (gap > 0.001)
    row, gap = row[good], gap[good]
    return start[row] + inwards[row] * gap[:, None] / 2, inwards[row], gap, 1.0 + second[good]


def _above_table(poses: _Poses) -> tuple[_Poses, F64]:
    """The poses lifted until fingers and hand clear the table, and by how much (G,) metres."""
    tool = poses.rotations
    reach = (poses.openings / 2 + GRIPPER.finger_thickness) * np.abs(tool[:, 2, 0])
    lowest = poses.tips[:, 2] - reach - GRIPPER.finger_width / 2 * np.abs(tool[:, 2, 1])
    palm = poses.tips[:, 2] - GRIPPER.finger_length * tool[:, 2, 2]
    palm = palm - GRIPPER.hand_x / 2 * np.abs(tool[:, 2, 0]) - GRIPPER.hand_y / 2 * np.abs(tool[:, 2, 1])
    lift = np.maximum(_TABLE_GAP - np.minimum(lowest, palm), 0.0)
    tips = poses.tips + lift[:, None] * np.array([0.0, 0.0, 1.0])
    return _Poses(tips, tool, poses.openings, poses.score - 20.0 * lift), lift


def _thinned(middle: F64, closing: F64, score: F64) -> I64:
    """Order of the pairs in which every neighbourhood and direction comes before any comes twice."""
    bearing = np.floor(np.arctan2(closing[:, 1], closing[:, 0]) % np.pi / np.radians(20.0))
    cells = np.column_stack([np.floor(middle / _CELL), bearing, np.floor(np.abs(closing[:, 2]) * 3)])
    return _round_robin(cells, score)


def _spread(poses: _Poses) -> I64:
    """The same for grasps, by place, closing direction and approach."""
    axes = np.floor(np.concatenate([poses.rotations[:, :, 0], poses.rotations[:, :, 2]], axis=1) * 2.5)
    return _round_robin(np.column_stack([np.floor(poses.tips / _CELL), axes]), poses.score)


def _round_robin(cells: F64, score: F64) -> I64:
    if not len(score):
        return np.zeros(0, dtype=np.int64)
    _, group = np.unique(cells.astype(np.int64), axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.lexsort((-score, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.empty(len(score), dtype=np.int64)
    rank[order] = np.arange(len(score)) - np.repeat(starts, np.diff(starts, append=len(score)))
    # Within one round the best come first; a second look at a good place beats the first at a bad one by half a point.
    chosen: I64 = np.argsort(-(score - 0.5 * rank), kind="stable").astype(np.int64)
    return chosen


def _free(poses: _Poses, scene: F32) -> Bool:
    """(G,) grasps whose open gripper, on its whole straight way in, meets no point (P, 3)."""
    local = np.einsum("gpc,gcd->gpd", scene[None] - poses.tips[:, None].astype(np.float32), poses.rotations.astype(np.float32))
    x, y, z = np.abs(local[:, :, 0]), np.abs(local[:, :, 1]), local[:, :, 2]
    inner = poses.openings[:, None] / 2
    finger = (x > inner - _MARGIN / 3) & (x < inner + GRIPPER.finger_thickness + _MARGIN)
    finger &= (y < GRIPPER.finger_width / 2 + _MARGIN) & (z < _MARGIN) & (z > -_SWEEP)
    hand = (x < GRIPPER.hand_x / 2 + _MARGIN) & (y < GRIPPER.hand_y / 2 + _MARGIN)
    hand &= (z < -GRIPPER.finger_length + _MARGIN) & (z > -_SWEEP)
    free: Bool = ~np.any(finger | hand, axis=1)
    return free


def _doubles(poses: _Poses, kept: list[int], index: int) -> bool:
    """Whether nearly the same grasp is among the kept ones."""
    if not kept:
        return False
    near = np.linalg.norm(poses.tips[kept] - poses.tips[index], axis=1) < _APART
    same = np.abs(poses.rotations[kept, :, 0] @ poses.rotations[index, :, 0]) > _ANGLE
    same &= poses.rotations[kept, :, 2] @ poses.rotations[index, :, 2] > _ANGLE
    return bool(np.any(near & same))
