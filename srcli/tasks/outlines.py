"""What a settled object looks like from above: outline, opening, flat top. Privileged: from catalogue shapes and true poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from srcli.objects import build, catalogue
from srcli.objects.parts import MM, Loft, assemble, rotation
from srcli.objects.shapes import section
from srcli.types import F64, Look, SceneTruth

UPRIGHT = float(np.cos(np.radians(25.0)))
"""An opening that leans more than 25 degrees no longer holds things."""

_LEAST_OPENING = 0.05
_LEAST_TOP = 0.045
_FLAT = 0.004
_MESHES = ("mesh", "stored")
"""Parts of users' own objects, which do not say where they are hollow."""
_CELL, _DEEP, _LOWEST_EDGE = 0.002, 0.01, 0.02
_STEEP = 1e-6


@dataclass(frozen=True, slots=True)
class Body:
    """The rigid shape of a catalogue object, body frame (origin at the centre of mass), metres.

    Attributes:
        points: (P, 3) corners of its convex hull.
        rim: (R, 3) inner edge of its opening; None when it is not hollow or the opening is narrower than 5 cm.
        axis: (3,) unit direction out of the opening; zero without one.
    """

    points: F64
    rim: F64 | None
    axis: F64


@dataclass(frozen=True, slots=True)
class Outline:
    """An object at its true pose, seen from above; polygons are convex and counter-clockwise, metres, zone frame.

    Attributes:
        footprint: (V, 2).
        center: (2,) middle of the footprint's axis-aligned box.
        half: (2,) half sides of that box.
        low, high: lowest and highest z.
        opening: (R, 2) inner edge of an opening that looks up, or None.
        rim: z of that edge (its lowest point); 0 without one.
        top: (V, 2) flat top face, or None.
    """

    footprint: F64
    center: F64
    half: F64
    low: float
    high: float
    opening: F64 | None
    rim: float
    top: F64 | None


@lru_cache(maxsize=256)
def body(name: str) -> Body:
    """The shape of the catalogue's own instance of an object.

    Raises:
        UnknownNameError: no such object.
    """
    from scipy.spatial import ConvexHull

    entry = catalogue()[name]
    model = build(entry)
    points = np.vstack(model.hulls)
    hull = points[ConvexHull(points).vertices]
    for part in entry.parts:
        if not isinstance(part, Loft) or part.wall <= 0:
            continue
        # The model's frame is the entry's, moved to the centre of mass: the lowest corner of what is seen tells by how much.
        seen = np.vstack([mesh.vertices for other in entry.parts for piece in assemble(other) for _, mesh in piece.surfaces])
        center = seen.min(axis=0) - model.low
        top = part.sections[-1]
        offset = np.array([*top[3:5], 0.0, 0.0])[:2]
        inner = section(top[1] - 2 * part.wall, (top[2] if len(top) > 2 else top[1]) - 2 * part.wall, part.n, part.corner, None)
        ring = np.column_stack([inner + offset, np.full(len(inner), top[0])])
        linear = rotation(part.rot) * np.asarray(part.stretch)
        rim = (ring @ linear.T + np.asarray(part.at[0])) * MM - center
        axis = linear @ np.array([0.0, 0.0, 1.0])
        if np.sort(np.ptp(rim, axis=0))[1] >= _LEAST_OPENING:
            return Body(hull, rim, axis / np.linalg.norm(axis))
    if any(part.shape in _MESHES for part in entry.parts):
        found = opening_of(model.hulls)
        if found is not None:
            return Body(hull, found, np.array([0.0, 0.0, 1.0]))
    return Body(hull, None, np.zeros(3))


def opening_of(hulls: Sequence[F64]) -> F64 | None:
    """The inner edge (R, 3) of the widest hollow that looks up, of what is solid; None where there is none of 5 cm.

    Seen from above on a grid of 2 mm, a hollow is what a closed edge surrounds at most 2 cm below the highest point, and what is
    1 cm and more deep below that edge. Its convex hull is taken.

    Args:
        hulls: convex vertex sets (P, 3), z up, metres.
    """
    from scipy import ndimage
    from scipy.spatial import ConvexHull

    points = np.vstack(hulls)
    low, high = points.min(axis=0), points.max(axis=0)
    # One cell around, so that an edge at the border is closed from outside.
    axes = [np.arange(low[a] - _CELL, high[a] + 2 * _CELL, _CELL) for a in (0, 1)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    heights = np.full(grid.shape[:2], -np.inf)
    for hull in hulls:
        np.maximum(heights, _height(hull, grid), out=heights)
    for level in np.arange(high[2] - _CELL, max(high[2] - _LOWEST_EDGE, low[2] + _DEEP), -_CELL):
        edge = ndimage.binary_closing(heights >= level, iterations=1)
        hollow, count = ndimage.label(ndimage.binary_fill_holes(edge) & ~edge & (heights <= level - _DEEP))
        if not count:
            continue
        widest = int(np.argmax(np.bincount(hollow.ravel())[1:])) + 1
        cells = grid[hollow == widest]
        if np.ptp(cells, axis=0).min() >= _LEAST_OPENING:
            around = cells[ConvexHull(cells).vertices]
            return np.column_stack([around, np.full(len(around), level)])
    return None


def _height(hull: F64, grid: F64) -> F64:
    """How high a convex set (P, 3) reaches over each cell of a grid (X, Y, 2); -inf beside it."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        planes = ConvexHull(hull).equations
    except QhullError:
        return np.full(grid.shape[:2], -np.inf)
    flat = planes[:, :2] @ grid.reshape(-1, 2).T + planes[:, 3:]  # (F, X * Y): n_x x + n_y y + d
    up, down = planes[:, 2] > _STEEP, planes[:, 2] < -_STEEP
    upper = (-flat[up] / planes[up, 2:3]).min(axis=0)
    lower = (-flat[down] / planes[down, 2:3]).max(axis=0)
    beside = (flat[~up & ~down] > 0).any(axis=0) | (upper < lower)
    return np.where(beside, -np.inf, upper).reshape(grid.shape[:2])


@lru_cache(maxsize=256)
def opening_size(name: str) -> tuple[float, float]:
    """Narrow and wide inner width of an object's opening, metres; (0, 0) when it has none."""
    rim = body(name).rim
    if rim is None:
        return (0.0, 0.0)
    # Rims are flat: of the three sides of their box the smallest is nearly zero.
    _, narrow, wide = np.sort(np.ptp(rim, axis=0))
    return (float(narrow), float(wide))


def outline(name: str, pose: F64, scale: float = 1.0) -> Outline:
    """An object at a pose (7,), xyz metres + quaternion xyzw; ``scale`` is a factor on the catalogue's lengths."""
    shape = body(name)
    turn = matrix(pose[3:]) * scale
    points = shape.points @ turn.T + pose[:3]
    footprint = hull_2d(points[:, :2])
    low, high = points.min(axis=0), points.max(axis=0)
    opening, rim = None, 0.0
    if shape.rim is not None and float((turn @ shape.axis)[2]) >= UPRIGHT * scale:
        edge = shape.rim @ turn.T + pose[:3]
        opening, rim = hull_2d(edge[:, :2]), float(edge[:, 2].min())
    return Outline(
        footprint=footprint,
        center=(low[:2] + high[:2]) / 2,
        half=(high[:2] - low[:2]) / 2,
        low=float(low[2]),
        high=float(high[2]),
        opening=opening,
        rim=rim,
        top=None if opening is not None else _top(points, float(high[2])),
    )


def outlines(objects: tuple[str, ...], truth: SceneTruth, looks: tuple[Look, ...] = ()) -> dict[int, Outline]:
    """Outline of every present object by slot.

    Args:
        looks: one per slot; empty: the catalogue's own instances.
    """
    scales = [look.scale for look in looks] or [1.0] * len(objects)
    return {slot: outline(name, truth.poses[slot], scales[slot]) for slot, name in enumerate(objects) if truth.present[slot]}


def gap(a: F64, b: F64) -> float:
    """Least distance between two convex counter-clockwise polygons (V, 2), metres; 0 where they overlap."""
    # Where convex polygons are apart, a corner of one is nearest; where they overlap, a separating edge direction is missing.
    near = min(float(distance(a, b).min()), float(distance(b, a).min()))
    return near if near > 0 and _separate(a, b) else 0.0


def _separate(a: F64, b: F64) -> bool:
    for polygon in (a, b):
        edge = np.roll(polygon, -1, axis=0) - polygon
        normal = np.stack([edge[:, 1], -edge[:, 0]], axis=1)
        mine, other = a @ normal.T, b @ normal.T
        if bool(((mine.max(axis=0) < other.min(axis=0)) | (other.max(axis=0) < mine.min(axis=0))).any()):
            return True
    return False


def _top(points: F64, high: float) -> F64 | None:
    upper = points[points[:, 2] >= high - _FLAT, :2]
    if len(upper) < 3 or np.ptp(upper, axis=0).min() < _LEAST_TOP / 2:
        return None
    polygon = hull_2d(upper)
    return polygon if inradius(polygon) >= _LEAST_TOP / 2 else None


def matrix(quaternion: F64) -> F64:
    """(3, 3) rotation matrix of a unit quaternion xyzw."""
    x, y, z, w = (float(q) for q in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def hull_2d(points: F64) -> F64:
    """Convex hull (V, 2), counter-clockwise, of (P, 2) points that do not lie on one line."""
    from scipy.spatial import ConvexHull

    return np.ascontiguousarray(points[ConvexHull(points).vertices])


def distance(points: F64, polygon: F64) -> F64:
    """(K,) signed distance of points (K, 2) to a convex counter-clockwise polygon (V, 2), metres; negative inside."""
    start, edge = polygon, np.roll(polygon, -1, axis=0) - polygon
    to = points[:, None, :] - start
    along = np.clip((to * edge).sum(axis=2) / np.maximum((edge**2).sum(axis=1), 1e-18), 0.0, 1.0)
    near = np.linalg.norm(to - along[..., None] * edge, axis=2).min(axis=1)
    inside = (edge[:, 0] * to[..., 1] - edge[:, 1] * to[..., 0] >= 0).all(axis=1)
    return np.asarray(np.where(inside, -near, near), dtype=np.float64)


def inradius(polygon: F64) -> float:
    """Distance of a convex polygon's vertex mean to its border, metres: the inner radius of the near-symmetric shapes here."""
    return float(-distance(polygon.mean(axis=0)[None], polygon)[0])
