"""How an object lies when it has come to rest, and how wide it then is: known from its shape, before anything is grasped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srcli.types import F64

_MOST_POSES = 24


@dataclass(frozen=True, slots=True)
class Rest:
    """A way to lie.

    Attributes:
        share: of all ways to come to rest, by the solid angle of the side that it lies on.
        width: metres, between two parallel upright planes that just hold its narrowest part: the least that fingers from above
            have to open for any part of it.
    """

    share: float
    width: float


def resting(points: F64, centre: F64, parts: Sequence[F64] = ()) -> tuple[Rest, ...]:
    """The sides that a body can lie on, the likeliest first.

    Args:
        points: (P, 3) that span its convex hull, metres.
        centre: (3,) centre of mass.
        parts: its convex pieces, each (P, 3); none: it is one.

    Raises:
        ValueError: the points lie in one plane.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(points)
    except QhullError as error:
        raise ValueError("the points lie in one plane") from error
    corners = points[hull.vertices]
    size = float(np.ptp(corners, axis=0).max())
    sides: dict[tuple[float, ...], float] = {}
    for simplex, equation in zip(hull.simplices, hull.equations, strict=True):
        key = tuple((np.round(np.append(equation[:3], equation[3] / size), 2) + 0.0).tolist())
        sides[key] = sides.get(key, 0.0) + _solid_angle(points[simplex] - centre)
    found: list[Rest] = []
    for key, angle in sorted(sides.items(), key=lambda item: -item[1]):
        normal = np.asarray(key[:3]) / np.linalg.norm(key[:3])
        height = corners @ normal
        flat = _in_plane(corners, normal)
        foot = flat[height > height.max() - 0.01 * size]
        if _holds(foot, _in_plane(centre[None], normal)[0]):
            found.append(Rest(angle, min(_least_width(_in_plane(part, normal)) for part in (parts or (corners,)))))
        if len(found) == _MOST_POSES:
            break
    whole = sum(rest.share for rest in found) or 1.0
    return tuple(Rest(rest.share / whole, rest.width) for rest in found)


def _solid_angle(triangle: F64) -> float:
    a, b, c = triangle
    la, lb, lc = np.linalg.norm(triangle, axis=1)
    below = la * lb * lc + (a @ b) * lc + (b @ c) * la + (c @ a) * lb
    return abs(2 * float(np.arctan2(a @ np.cross(b, c), below)))


def _in_plane(points: F64, normal: F64) -> F64:
    """(N, 2) coordinates across a direction."""
    first = np.cross(normal, np.eye(3)[int(np.argmin(np.abs(normal)))])
    first /= np.linalg.norm(first)
    return np.asarray(points @ np.column_stack([first, np.cross(normal, first)]), dtype=np.float64)


def _holds(foot: F64, centre: F64) -> bool:
    """Whether a point of the plane lies within the convex hull of others."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        edges = ConvexHull(foot).equations
    except (QhullError, ValueError):
        return False
    return bool((edges[:, :2] @ centre + edges[:, 2] <= 1e-9).all())


def _least_width(flat: F64) -> float:
    """The least distance of two parallel lines that hold (N, 2) points."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(flat)
    spans = flat[hull.vertices] @ hull.equations[:, :2].T
    return float(np.ptp(spans, axis=0).min())
