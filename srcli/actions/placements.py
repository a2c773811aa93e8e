"""Placement candidates of a scene, from its noisy views and the measured size of what is held."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from srcli.actions.gripper import GRIPPER
from srcli.actions.placement_map import PlacementMap, build_placement_map
from srcli.actions.quality import rounded
from srcli.config.placements import PlacementConfig
from srcli.perception.geometry import check_observation
from srcli.types import F32, F64, I64, Bool, Candidates, HeldExtent, Observation

#: The tool points straight down and closes along x: the held object keeps the yaw it was grasped with.
_DOWN = (1.0, 0.0, 0.0, 0.0)
#: Surfaces this far below the highest one under the object still carry it (noise and give), metres.
_CONTACT = 0.006
#: Smallest footprint that is looked at: a few cells, metres.
_FOOT = 0.010
#: How far up a grasp usually is above the lowest point, counted from the top: fingers reach at most so deep, metres.
_REACH_DOWN = 0.045
#: Reach of the arm, tool straight down: (xy distance)^2 + (tip height + lift)^2 <= radius^2, fitted to the UR5's kinematics.
_ARM_RADIUS, _ARM_LIFT, _ARM_NEAR = 0.923, 0.196, 0.20
#: Fingers opened for the release, and the hand above them, stay in discs of these radii, metres.
_FINGERS = GRIPPER.max_opening / 2 + GRIPPER.finger_thickness
_HAND = math.hypot(GRIPPER.hand_x, GRIPPER.hand_y) / 2
#: Area of an ordinary thing, square metres.
_THING = 0.006
#: Places of less than this share of the best quality on a thing are not worth having.
_WORTH = 0.4
#: Candidates nearer than this at one height are one, metres.
_SAME = 0.010
#: Places around things and free ones keep this distance, metres.
_APART = 0.015
#: On its way the tip passes at least so high above the table and so far above the place, metres.
_TRANSIT, _APPROACH = 0.25, 0.10


@dataclass(frozen=True, slots=True)
class _Places:
    """P places: cells (P, 2), height (P,) metres of the held object's lowest point, quality (P,), rounded once it is whole."""

    cells: I64
    z: F32
    quality: F32

    def __len__(self) -> int:
        return len(self.z)

    def take(self, which: I64 | Bool) -> _Places:
        return _Places(self.cells[which], self.z[which], self.quality[which])


def sample_placements(
    observation: Observation, held: HeldExtent, config: PlacementConfig, rng: np.random.Generator
) -> Candidates:
    """Places on, in and around everything that stands out of the table, and some elsewhere on it.

    Args:
        observation: noisy views, zone frame. Nothing else is known of the scene but that the table is at z = 0.
        held: measured size of what is held.
        rng: draws where the rings around things begin and which free places are taken; nothing else.

    Returns:
        at most ``config.count`` candidates: where the lowest point of the held object, below its centre, is released (zone
        frame, metres), all with the tool straight down at yaw 0, widths 0. Quality in 0..1 is described in
        ``docs/candidates.md``.

    Raises:
        SceneError: the observation is unusable.
    """
    check_observation(observation)
    ground = build_placement_map(observation, config)
    allowed = _allowed(ground, held, config)
    free = _room(ground)
    parts = []
    for thing in range(1, ground.count + 1):
        parts.append(_on(ground, thing, allowed, held, config))
        parts.append(_around(ground, thing, allowed, free, held, config, rng))
    parts.append(_free(ground, allowed, free, held, config, rng))
    places = _distinct(_join(parts), ground)
    kept = np.sort(np.argsort(-places.quality, kind="stable")[: config.count])
    places = places.take(kept)
    poses = np.empty((len(places), 7), dtype=np.float32)
    poses[:, :2] = ground.positions(places.cells)
    poses[:, 2] = places.z
    poses[:, 3:] = _DOWN
    return Candidates(poses, np.zeros(len(places), dtype=np.float32), places.quality, kind="place")


def _nothing() -> _Places:
    return _Places(np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32))


def _distinct(places: _Places, ground: PlacementMap) -> _Places:
    """Without those that are nearly the same as an earlier one (a place between two things is around both)."""
    same = np.linalg.norm(places.cells[:, None] - places.cells[None], axis=2) * ground.cell < _SAME
    same &= np.abs(places.z[:, None] - places.z[None]) < _SAME
    kept = np.ones(len(places), dtype=bool)
    for index in range(len(places)):
        kept[index] = not bool((same[index, :index] & kept[:index]).any())
    return places.take(kept)


def _join(parts: list[_Places]) -> _Places:
    return _Places(
        np.concatenate([part.cells for part in parts]),
        np.concatenate([part.z for part in parts]),
        np.concatenate([part.quality for part in parts]),
    )


def _allowed(ground: PlacementMap, held: HeldExtent, config: PlacementConfig) -> Bool:
    """(X, Y): inside the workspace and, with the tool straight down, within the arm's reach on the whole way."""
    shape = ground.heights.shape
    x = ground.origin[0] + np.arange(shape[0])[:, None] * ground.cell
    y = ground.origin[1] + np.arange(shape[1])[None, :] * ground.cell
    border = max(config.border, held.half_width)
    inside: Bool = (x >= config.lower[0] + border) & (x <= config.upper[0] - border)
    inside = inside & (y >= config.lower[1] + border) & (y <= config.upper[1] - border)
    tip = np.maximum(ground.heights + held.height + _APPROACH, _TRANSIT)
    distance = np.hypot(x, y + config.shift)
    reach = np.sqrt(np.maximum(_ARM_RADIUS**2 - (tip + _ARM_LIFT) ** 2, 0.0))
    return np.asarray(inside & (distance > _ARM_NEAR) & (distance < reach))


def _room(ground: PlacementMap) -> F32:
    """(X, Y) distance in metres from each cell to the nearest thing; 0 on things."""
    from scipy import ndimage

    if ground.count == 0:
        return np.full(ground.heights.shape, np.inf, dtype=np.float32)
    distance: F32 = (ndimage.distance_transform_edt(ground.things == 0) * ground.cell).astype(np.float32)
    return distance


def _hand_room(ground: PlacementMap, cells: I64, z: F32, held: HeldExtent) -> F32:
    """(P,) 0..1: how free the way of fingers and hand is when the object's lowest point is at z; 1 is free, 0.2 is blocked.

    Which way the fingers stand around the object is not part of its measured size, so a disc is looked at.
    """
    tips = z + np.float32(max(held.height - _REACH_DOWN, 0.0))
    blocked = np.zeros(len(z))
    for radius, bottom in ((_FINGERS, tips), (_HAND, tips + np.float32(GRIPPER.finger_length))):
        over = ground.around(cells, ground.disc(radius)) > bottom[:, None] + _CONTACT
        blocked = np.maximum(blocked, over.mean(axis=1))
    room: F32 = np.clip(1.0 - 4.0 * blocked, 0.2, 1.0).astype(np.float32)
    return room


def _on(ground: PlacementMap, thing: int, allowed: Bool, held: HeldExtent, config: PlacementConfig) -> _Places:
    """Places in the hollows of a thing, then those on top of it; each the best first, evenly spread."""
    cells = np.argwhere((ground.things == thing) & allowed).astype(np.int64)
    area = len(cells) * ground.cell**2
    # Every second cell will do, but not where a hollow is so narrow that few cells are left.
    cells = cells[(cells.sum(axis=1) % 2 == 0) | (len(cells) < 60)]
    if len(cells) == 0:
        return _nothing()
    foot = ground.disc(max(held.half_width, _FOOT))
    whole = ground.around(cells, ground.disc(max(held.radius, _FOOT)))
    under = ground.around(cells, foot)
    rest = under.max(axis=1)
    rim = ground.rim(cells)
    inside = rim - rest >= config.hollow
    # What touches counts several times as one thing: it gets as many places as it has room for.
    count = config.on_count * max(1, round(area / _THING))
    hollow = _in(ground, cells[inside], rest[inside], rim[inside], whole[inside], held, config)
    middle = _middles(ground, cells, rim - ground.heights[cells[:, 0], cells[:, 1]] >= config.hollow)
    hollow = _spread(hollow, ground, 0.015, max(1, count // 2), middle[inside])
    carrying = under > (rest - _CONTACT)[:, None]
    wide = 1.0 - (whole > (rest + _CONTACT)[:, None]).mean(axis=1)
    quality = np.sqrt(carrying.mean(axis=1) * _balance(carrying, foot) * wide) * _hand_room(ground, cells, rest, held)
    top = _Places(cells, (rest + config.clearance).astype(np.float32), rounded(np.clip(quality, 0.0, 1.0)))
    top = _spread(top.take(~inside), ground, max(0.012, 0.45 * math.sqrt(area / max(count, 1))), count, middle[~inside])
    return _join([hollow, top])


def _in(ground: PlacementMap, cells: I64, rest: F32, rim: F32, whole: F32, held: HeldExtent, config: PlacementConfig) -> _Places:
    """Places (P,) in a hollow: on its ground, or as deep as the fingers can go where they do not fit between the rims."""
    tips = np.float32(max(held.height - _REACH_DOWN, 0.0))
    beside = ground.around(cells, ground.disc(_FINGERS)).max(axis=1, initial=0.0)
    z = np.where(beside > rest + tips + _CONTACT, np.maximum(rest, beside - tips), rest)
    fits = whole.max(axis=1, initial=0.0) < rim
    # Walls keep the object; what matters is how deep the hollow is, how well the object fits, and how far it falls.
    quality = np.clip((rim - rest) / 0.03, 0.5, 1.0) * np.where(fits, 1.0, 0.7) * np.exp(-(z - rest) / 0.2)
    return _Places(cells, (z + config.clearance).astype(np.float32), rounded(quality))


def _middles(ground: PlacementMap, cells: I64, low: Bool) -> Bool:
    """(P,) which cell of a thing is nearest to its middle, and which to the middle of each of its hollows (``low`` cells).

    What nearly fills a hollow, or lies across it, has to be released there.
    """
    from scipy import ndimage

    middle = np.zeros(len(cells), dtype=np.bool_)
    floor = np.zeros((ground.heights.shape[0], ground.heights.shape[1]), dtype=bool)
    floor[tuple(cells[low].T)] = True
    # Cells may come as every second one: diagonal neighbours count, and rows are closed.
    labels, found = ndimage.label(ndimage.binary_dilation(floor))
    centres = [(cells.min(axis=0) + cells.max(axis=0)) / 2]
    for window, number in zip(ndimage.find_objects(labels), range(1, found + 1), strict=True):
        if int((floor[window] & (labels[window] == number)).sum()) >= 4:
            centres.append(np.array([(side.start + side.stop - 1) / 2 for side in window]))
    for centre in centres:
        middle[int(np.argmin(np.linalg.norm(cells - centre, axis=1)))] = True
    return middle


def _balance(carrying: Bool, foot: I64) -> F64:
    """(P,) 0..1: least share of carrying cells in any half of the footprint, relative to the whole: 1 is carried all around."""
    angle = np.arctan2(foot[:, 1], foot[:, 0])
    off_centre = (foot != 0).any(axis=1)
    halves = off_centre[:, None] & (np.cos(angle[:, None] - np.arange(8) * np.pi / 4) > 0.3)
    # Sums of ones are exact whatever the order that a processor adds them in.
    shares = carrying.astype(np.float32) @ halves.astype(np.float32) / halves.sum(axis=0)
    whole = np.maximum(carrying[:, off_centre].mean(axis=1), 1e-6)
    balance: F64 = np.clip(shares.min(axis=1) / whole, 0.0, 1.0)
    return balance


def _spread(places: _Places, ground: PlacementMap, spacing: float, count: int, middle: Bool) -> _Places:
    """At most ``count`` places, best first, none nearer than ``spacing`` metres to another or much worse than the best.

    Places marked as ``middle`` come first, whatever their quality. Ties are broken towards the middle of the good places, where
    there is most room for errors.
    """
    if len(places) == 0:
        return places
    best = float(places.quality.max())
    centre = places.cells[places.quality >= 0.8 * best].mean(axis=0)
    away = np.linalg.norm(places.cells - centre, axis=1) * ground.cell
    left = np.where(places.quality >= _WORTH * best, rounded(places.quality * np.exp(-away / 0.1)), np.float32(-1.0))
    left[middle] = 2.0
    chosen: list[int] = []
    while len(chosen) < count and left.max() >= 0.0:
        chosen.append(int(np.argmax(left)))
        left[np.linalg.norm(places.cells - places.cells[chosen[-1]], axis=1) * ground.cell < spacing] = -1.0
    return places.take(np.array(chosen, dtype=np.int64))


def _side_quality(room: F32, held: HeldExtent, config: PlacementConfig) -> F32:
    """0..1 from the distance to the nearest thing: 0.4 where the narrow side just fits, 1 where the object fits at any yaw."""
    least, ample = held.half_width + config.gap, held.radius + config.gap
    grown: F32 = np.clip(0.4 + 0.6 * (room - least) / max(ample - least, 1e-6), 0.4, 1.0).astype(np.float32)
    return grown


def _around(
    ground: PlacementMap,
    thing: int,
    allowed: Bool,
    free: F32,
    held: HeldExtent,
    config: PlacementConfig,
    rng: np.random.Generator,
) -> _Places:
    """Places on the table around a thing: per ring and direction the one with most room, then evenly thinned."""
    from scipy import ndimage

    own = ground.things == thing
    reach = int(config.around / ground.cell) + 2
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    low = np.maximum([rows[0] - reach, columns[0] - reach], 0)
    window = (slice(low[0], rows[-1] + reach + 1), slice(low[1], columns[-1] + reach + 1))
    distance = ndimage.distance_transform_edt(~own[window]) * ground.cell
    nearest = held.half_width + config.gap
    # A wide object cannot come closer than its own half width: then only the closest ring is left.
    farthest = max(config.around, nearest + 0.02)
    fitting = allowed[window] & (free[window] >= nearest) & (distance >= nearest) & (distance <= farthest)
    cells = np.argwhere(fitting).astype(np.int64)
    away = distance[fitting]
    cells += low
    if len(cells) == 0:
        return _nothing()
    z = np.full(len(cells), config.clearance, dtype=np.float32)
    places = _Places(cells, z, _side_quality(free[cells[:, 0], cells[:, 1]], held, config))
    middle = np.argwhere(own).mean(axis=0)
    angle = np.arctan2(cells[:, 1] - middle[1], cells[:, 0] - middle[0]) + rng.uniform(0, 2 * np.pi / config.angles)
    sector = np.floor(angle / (2 * np.pi / config.angles)).astype(np.int64) % config.angles
    ring = np.minimum(((away - nearest) / (farthest - nearest) * config.rings).astype(np.int64), config.rings - 1)
    group = ring * config.angles + sector
    # Within a part of a ring: room first; close to the thing where room is equal, so that "near" is near.
    order = np.lexsort((away, -np.round(places.quality, 1), group))
    first = order[np.flatnonzero(np.diff(group[order], prepend=-1))]
    places = places.take(first)
    places = _Places(places.cells, places.z, rounded(places.quality * _hand_room(ground, places.cells, places.z, held)))
    return _even(places, ground, config.around_count)


def _even(places: _Places, ground: PlacementMap, count: int) -> _Places:
    """Farthest-point thinning to ``count``, beginning with the best, until the rest is near to what has been taken."""
    if len(places) == 0 or count == 0:
        return _nothing()
    weight = 0.5 + places.quality
    chosen = [int(np.argmax(places.quality))]
    away = np.full(len(places), np.inf)
    while len(chosen) < count:
        away = np.minimum(away, np.linalg.norm(places.cells - places.cells[chosen[-1]], axis=1) * ground.cell)
        if away.max() < _APART:
            break
        chosen.append(int(np.argmax(away * weight)))
    return places.take(np.array(chosen, dtype=np.int64))


def _free(
    ground: PlacementMap, allowed: Bool, free: F32, held: HeldExtent, config: PlacementConfig, rng: np.random.Generator
) -> _Places:
    """Places on the table with ample room, spread over what is farthest from everything."""
    cells = np.argwhere(allowed & (free >= held.radius + config.gap)).astype(np.int64)
    if len(cells) == 0:
        cells = np.argwhere(allowed & (free >= held.half_width + config.gap)).astype(np.int64)
    if len(cells) > 40 * config.free_count:
        cells = cells[rng.choice(len(cells), 40 * config.free_count, replace=False)]
    z = np.full(len(cells), config.clearance, dtype=np.float32)
    quality = _side_quality(free[cells[:, 0], cells[:, 1]], held, config) * _hand_room(ground, cells, z, held)
    places = _Places(cells, z, rounded(quality))
    return _even(places, ground, config.free_count)
