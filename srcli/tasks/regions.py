"""Where a placement is right: valid regions before it, and the physical check after it. Privileged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from srcli.config.sim import SimConfig
from srcli.language.relations import Region
from srcli.tasks.outlines import Outline, distance
from srcli.types import F64, Bool, HeldExtent

RING_INNER, RING_OUTER = 0.05, 0.15
"""Radii of the benchmark's ring around a reference, metres (A2)."""

GAP = 0.12
"""What is supervised as beside a reference lies at most so far from its outline: things roll a little when released."""

Bounds = tuple[tuple[float, float], tuple[float, float]]
"""Of a workspace along x and along y, metres."""
_SPARE = 0.005
_SLACK = 0.012
_TIGHT = 0.03
_TABLE = -1


def valid_region(
    points: F64,
    region: Region,
    references: Iterable[int],
    scene: Mapping[int, Outline],
    held: HeldExtent | None,
    workspace: Bounds | None = None,
) -> Bool:
    """(K,) release positions (K, 2) that are right and where the held object stays.

    "in" and "on": inside the opening (or the flat top), by the held object's half width; an object that fills the opening almost
    has to be released within 1.2 cm of its middle. "around": the benchmark's ring, where the held object's outline stays clear of
    the reference and its centre within :data:`GAP` of it. Always clear of all other objects and of the workspace's border by the
    half width. Regions of several references are united.

    Args:
        points: metres, frame of the place zone.
        scene: outlines of all objects in the zone by slot.
        held: measured size of what is to be placed; None: no size.
        workspace: bounds along x and along y, metres; None: those of the cell.
    """
    size = held or HeldExtent(0.0, 0.0, 0.0)
    ok = np.zeros(len(points), dtype=np.bool_)
    away = {slot: distance(points, shape.footprint) for slot, shape in scene.items()}
    for slot in references:
        if slot not in scene:
            continue
        shape = scene[slot]
        if region == "around":
            right = _beside(points, shape, away[slot], size)
        else:
            right = _upon(points, shape, region, size)
        for other, far in away.items():
            if other != slot:
                right &= far >= size.half_width
        ok |= right
    return ok & _inside_workspace(points, size.half_width, workspace or default_bounds())


def index_region(
    points: F64, region: Region, references: Iterable[int], scene: Mapping[int, Outline], held: HeldExtent | None
) -> Bool:
    """(K,) positions that the benchmark's rule accepts (A2: the chosen pixel lies in the region mask), on true outlines.

    A disc of half the outline box's short side for "in" and "on"; else a ring from 5 cm (or half the long side) to 15 cm (or half
    the long side), grown by the held object's radius, minus the boxes of all objects.
    """
    radius = held.radius if held else 0.0
    ok = np.zeros(len(points), dtype=np.bool_)
    boxed = np.zeros(len(points), dtype=np.bool_)
    for shape in scene.values():
        boxed |= (np.abs(points - shape.center) <= shape.half).all(axis=1)
    for slot in references:
        if slot not in scene:
            continue
        shape = scene[slot]
        far = np.linalg.norm(points - shape.center, axis=1)
        if region == "around":
            long = float(shape.half.max())
            ok |= (far >= max(RING_INNER, long)) & (far <= max(RING_OUTER, long) + radius) & ~boxed
        else:
            ok |= far <= shape.half.min()
    return ok


def _beside(points: F64, shape: Outline, away: F64, size: HeldExtent) -> Bool:
    far = np.linalg.norm(points - shape.center, axis=1)
    long = float(shape.half.max())
    ring = (far >= max(RING_INNER, long)) & (far <= max(RING_OUTER, long) + size.radius)
    clear: Bool = ring & (away >= min(size.radius, GAP - _TIGHT) + _SPARE) & (away <= GAP)
    return clear


def _upon(points: F64, shape: Outline, region: Region, size: HeldExtent) -> Bool:
    polygon = shape.opening if shape.opening is not None else (shape.top if region == "on" else None)
    if polygon is None:
        return np.zeros(len(points), dtype=np.bool_)
    inside = -distance(points, polygon)
    deepest = float(-distance(polygon.mean(axis=0)[None], polygon)[0])
    right: Bool = inside >= min(size.half_width + _SPARE, deepest - _SLACK)
    return right


def default_bounds() -> Bounds:
    """The cell's workspace along x and along y, metres."""
    config = SimConfig()
    return config.workspace_x, config.workspace_y


def _inside_workspace(points: F64, margin: float, workspace: Bounds) -> Bool:
    low, high = np.array(workspace, dtype=np.float64).T + np.array([[margin], [-margin]])
    return np.asarray(((points >= low) & (points <= high)).all(axis=1), dtype=np.bool_)


def rests_on(slot: int, reference: int, contacts: Iterable[tuple[int, int]]) -> bool:
    """Whether an object is carried by the reference: it touches it, directly or through others, and none of these the table."""
    touching: dict[int, set[int]] = {}
    for a, b in contacts:
        touching.setdefault(a, set()).add(b)
        touching.setdefault(b, set()).add(a)
    grounded = touching.get(_TABLE, set())
    if slot in grounded:
        return False
    reached, front = {slot}, [slot]
    while front:
        for other in touching.get(front.pop(), set()):
            if other == reference:
                return True
            if other != _TABLE and other not in reached and other not in grounded:
                reached.add(other)
                front.append(other)
    return False


def lies_in(thing: Outline, center: F64, reference: Outline) -> bool:
    """Whether an object lies in a hollow reference: its centre (2,) inside the opening, its lowest point below the rim."""
    if reference.opening is None:
        return False
    return bool(distance(center[None], reference.opening)[0] <= 0 and thing.low < reference.rim)


def satisfied(
    region: Region, slot: int, reference: int, scene: Mapping[int, Outline], contacts: tuple[tuple[int, int], ...]
) -> bool:
    """The physical rule of a relation for a released object at rest.

    on: carried by the reference, centre above its outline. in: in its opening, below the rim. around: neither, and the centre of
    its outline within 15 cm plus its own radius of the reference's outline.
    """
    if slot not in scene or reference not in scene:
        return False
    thing, other = scene[slot], scene[reference]
    inside = lies_in(thing, thing.center, other)
    carried = rests_on(slot, reference, contacts)
    gap = float(distance(thing.center[None], other.footprint)[0])
    if region == "in":
        return inside
    if region == "on":
        return carried and gap <= 0
    radius = float(np.linalg.norm(thing.footprint - thing.center, axis=1).max())
    return not inside and not carried and gap <= RING_OUTER + radius
