"""Builders of closed surfaces together with their convex pieces. Lengths keep the unit of the arguments.

Every builder returns :class:`Solid`: one mesh to look at, and convex vertex sets whose union fills it. Hollow vessels become wall
wedges and a floor, so that something dropped in stays in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srcli.objects.mesh import Mesh, clean, hull_mesh
from srcli.types import F64, I32


@dataclass(frozen=True, slots=True)
class Solid:
    """A surface and its convex pieces.

    Attributes:
        mesh: the surface to look at.
        hulls: convex vertex sets (P, 3).
        inner: the inner surface of a vessel, when it is to be coloured apart.
    """

    mesh: Mesh
    hulls: tuple[F64, ...]
    inner: Mesh | None = None


def _skin(rings: F64, cap_start: bool, cap_end: bool, wrap: bool = False, closed: bool = True) -> Mesh:
    """Quads between consecutive rings (R, n, 3), as triangles; caps are fans around the ring's centre."""
    count, n = rings.shape[:2]
    vertices = rings.reshape(-1, 3)
    faces: list[tuple[int, int, int]] = []
    for i in range(count if wrap else count - 1):
        low, high = i * n, ((i + 1) % count) * n
        for j in range(n if closed else n - 1):
            k = (j + 1) % n
            faces += [(low + j, low + k, high + k), (low + j, high + k, high + j)]
    extra: list[F64] = []
    for wanted, ring, flip in ((cap_start, 0, True), (cap_end, count - 1, False)):
        if wanted:
            center = len(vertices) + len(extra)
            extra.append(rings[ring].mean(axis=0))
            for j in range(n):
                pair = (ring * n + j, ring * n + (j + 1) % n)
                faces.append((center, pair[1], pair[0]) if flip else (center, *pair))
    stacked = np.vstack([vertices, *extra]) if extra else vertices
    return clean(stacked, np.asarray(faces, dtype=np.int32))


def section(wx: float, wy: float, n: int, exponent: float = 2.0, arc: tuple[float, float] | None = None) -> F64:
    """(n, 2) points of a superellipse of full widths wx, wy; exponent 2 is an ellipse, 5 a rounded rectangle. arc in degrees."""
    if arc is None:
        angle = np.arange(n) * (2 * np.pi / n) + np.pi / n
    else:
        angle = np.radians(np.linspace(arc[0], arc[1], n))
    cos, sin = np.cos(angle), np.sin(angle)
    power = 2.0 / exponent
    return np.stack([wx / 2 * np.sign(cos) * np.abs(cos) ** power, wy / 2 * np.sign(sin) * np.abs(sin) ** power], axis=1)


def _curve(points: F64, steps: int) -> F64:
    """Catmull-Rom spline through (P, d) points, ``steps`` samples per span."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    out = []
    for i in range(len(points) - 1):
        p0, p1, p2, p3 = padded[i : i + 4]
        for t in np.arange(steps) / steps:
            out.append(
                0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
            )
    return np.asarray([*out, points[-1]], dtype=np.float64)


def _runs(z: F64, bounds: F64, slack: float, straight: bool) -> list[tuple[int, int]]:
    """Cut sections into runs whose hull stays within ``slack`` of the surface.

    Args:
        z: (S,) heights.
        bounds: (S, B) outward distances that have to be concave over z (or straight).
        slack: allowed deviation.
        straight: refuse bulges too (walls of vessels).
    """
    runs, start = [], 0
    while start < len(z) - 1:
        end = start + 1
        while end + 1 < len(z) and _fits(z, bounds, start, end + 1, slack, straight):
            end += 1
        runs.append((start, end))
        start = end
    return runs


def _fits(z: F64, bounds: F64, a: int, b: int, slack: float, straight: bool) -> bool:
    """Whether section ``b`` may join a run that starts at ``a``; chords between earlier sections have been checked before."""
    for i in range(a, b - 1):
        length = z[b] - z[i]
        part = (z[i + 1 : b] - z[i]) / length if length > 0 else np.full(b - i - 1, 0.5)
        gap = bounds[i] + part[:, None] * (bounds[b] - bounds[i]) - bounds[i + 1 : b]
        if gap.max() > slack or (straight and -gap.min() > slack):
            return False
    return True


def loft(
    sections: Sequence[Sequence[float]],
    *,
    n: int = 20,
    exponent: float = 2.0,
    steps: int = 1,
    wall: float = 0.0,
    floor: float = 0.0,
    arc: tuple[float, float] | None = None,
) -> Solid:
    """A skin over stacked sections [z, width_x, width_y, offset_x, offset_y] (later numbers optional; width_y = width_x).

    Args:
        n: points around.
        exponent: see :func:`section`.
        steps: samples per span of a smooth curve through the sections; 1 keeps straight spans.
        wall: thickness of the wall of an open vessel; 0 is solid.
        floor: thickness of its floor; ``wall`` when 0.
        arc: only this range of angles, as an open surface without volume (a printed label).

    Raises:
        ValueError: fewer than two sections, heights that decrease, or a vessel's wall thicker than the vessel.
    """
    if len(sections) < 2:
        raise ValueError("a loft needs at least two sections")
    table = np.asarray([[*s, s[1], 0.0, 0.0][:5] if len(s) == 2 else [*s, 0.0, 0.0][:5] for s in sections], dtype=np.float64)
    if (np.diff(table[:, 0]) < 0).any():
        raise ValueError("the sections of a loft go upward: z must not decrease")
    if steps > 1:
        table = _curve(table, steps)
        table[:, 1:3] = np.maximum(table[:, 1:3], 0.0)
    rings = np.stack([_ring(row, n, exponent, arc) for row in table])
    if arc is not None:
        return Solid(_skin(rings, False, False, closed=False), ())
    half, shift, slack = table[:, 1:3] / 2, table[:, 3:5], 0.02 * float(table[:, 1:3].max())
    bounds = np.hstack([half + shift, half - shift])
    if wall <= 0:
        hulls = [rings[a : b + 1].reshape(-1, 3) for a, b in _runs(table[:, 0], bounds, slack, False)]
        return Solid(_skin(rings, True, True), tuple(hulls))
    return _vessel(table, rings, bounds, slack, n, exponent, wall, floor or wall)


def _ring(row: F64, n: int, exponent: float, arc: tuple[float, float] | None) -> F64:
    flat = section(float(row[1]), float(row[2]), n, exponent, arc) + row[3:5]
    return np.column_stack([flat, np.full(n, row[0])])


def _vessel(table: F64, rings: F64, bounds: F64, slack: float, n: int, exponent: float, wall: float, floor: float) -> Solid:
    bottom = table[0, 0] + floor
    levels = np.concatenate([[bottom], table[table[:, 0] > bottom + 1e-9, 0]])
    columns = [np.interp(levels, table[:, 0], table[:, c]) for c in range(1, 5)]
    lined = np.column_stack([levels, *columns])
    inside = lined.copy()
    inside[:, 1:3] -= 2 * wall
    if len(levels) < 2 or inside[:, 1:3].min() <= 0:
        raise ValueError("the wall or the floor is thicker than the vessel")
    inner = np.stack([_ring(row, n, exponent, None) for row in inside])
    outer = np.stack([_ring(row, n, exponent, None) for row in lined])
    lip = _skin(np.stack([rings[-1], inner[-1]]), False, False)
    skin = _skin(rings, True, False)
    mesh = clean(np.vstack([skin.vertices, lip.vertices]), _join(skin, lip))
    below = np.vstack([rings[table[:, 0] < bottom + 1e-9].reshape(-1, 3), outer[0]])
    hulls = [below]
    lined_bounds = np.hstack([lined[:, 1:3] / 2, lined[:, 1:3] / 2])
    stride = max(n // 12, 1)
    for a, b in _runs(levels, lined_bounds, 2.5 * slack, True):
        for j in range(0, n, stride):
            around = [(j + k) % n for k in range(stride + 1)]
            hulls.append(np.vstack([outer[[a, b]][:, around].reshape(-1, 3), inner[[a, b]][:, around].reshape(-1, 3)]))
    return Solid(mesh, tuple(hulls), _skin(inner[::-1], False, True))


def _join(first: Mesh, second: Mesh) -> I32:
    return np.vstack([first.faces, second.faces + len(first.vertices)]).astype(np.int32)


def ball(radius: float, n: int, rows: int) -> Solid:
    """A sphere around the origin."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
    return loft([[radius * np.sin(a), 2 * radius * max(np.cos(a), 0.0)] for a in angle], n=n)


def box(size: Sequence[float], chamfer: float = 0.0) -> Solid:
    """A box centred at the origin, its edges cut by ``chamfer``."""
    half = np.asarray(size, dtype=np.float64) / 2
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
    if chamfer <= 0:
        return convex(signs * half)
    if chamfer >= half.min():
        raise ValueError("the chamfer must be smaller than half of each side")
    return convex(np.vstack([signs * (half - chamfer * (1 - np.eye(3)[axis])) for axis in range(3)]))


def convex(points: F64) -> Solid:
    """The convex hull of (P, 3) points."""
    mesh = hull_mesh(points)
    return Solid(mesh, (mesh.vertices,))


def tube(path: F64, radii: F64, *, n: int = 8, steps: int = 1, closed: bool = False, flatten: float = 1.0) -> Solid:
    """A round rod along (P, 3) points with (P,) radii; one convex piece per span.

    Args:
        steps: samples per span of a smooth curve through the points.
        closed: join the end to the start (a ring).
        flatten: factor on the section's second direction.
    """
    if len(path) < 2:
        raise ValueError("a tube needs at least two points")
    joined = np.column_stack([path, radii])
    if steps > 1:
        joined = _curve(joined, steps)
    points, width = joined[:, :3], np.maximum(joined[:, 3], 0.0)
    if closed:
        tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    else:
        tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    seed = np.eye(3)[int(np.argmin(np.abs(tangents).max(axis=0)))]
    angle = np.arange(n) * (2 * np.pi / n) + np.pi / n
    rings = []
    side = seed
    for point, tangent, radius in zip(points, tangents, width, strict=True):
        # Parallel transport keeps the section from twisting along the path.
        side = side - tangent * (side @ tangent)
        side /= np.linalg.norm(side)
        up = np.cross(tangent, side)
        rings.append(point + radius * (np.cos(angle)[:, None] * side + flatten * np.sin(angle)[:, None] * up))
    stack = np.stack(rings)
    pairs = [(i, (i + 1) % len(stack)) for i in range(len(stack) if closed else len(stack) - 1)]
    runs = [(0, len(stack) - 1)] if _is_straight(points, width) and not closed else pairs
    hulls = tuple(stack[list(range(a, b + 1)) if b > a else [a, b]].reshape(-1, 3) for a, b in runs)
    return Solid(_skin(stack, not closed, not closed, wrap=closed), hulls)


def _is_straight(points: F64, width: F64) -> bool:
    line = points[-1] - points[0]
    off = np.linalg.norm(np.cross(points - points[0], line), axis=1) / max(float(np.linalg.norm(line)), 1e-12)
    along = np.linalg.norm(points - points[0], axis=1)
    concave = len(_runs(along, width[:, None], 0.02 * float(width.max()), False)) == 1
    return bool(off.max() < 0.02 * max(float(width.max()), 1e-12)) and concave


def ring(radius: float, thickness: Sequence[float], *, arc: tuple[float, float] = (0.0, 360.0), n: int = 20) -> Solid:
    """A hoop (or part of one, arc in degrees) about z. Thickness [d] is round; [radial, axial] is rectangular."""
    whole = arc[1] - arc[0] >= 359.9
    angles = np.radians(np.linspace(arc[0], arc[1], n + 1))[: n if whole else n + 1]
    if len(thickness) == 1:
        turn = np.arange(6) * (np.pi / 3)
        flat = thickness[0] / 2 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    else:
        flat = np.array([[1, -1], [1, 1], [-1, 1], [-1, -1]], dtype=np.float64) * np.asarray(thickness[:2]) / 2
    rings = np.stack(
        [
            np.column_stack([(radius + flat[:, 0]) * np.cos(a), (radius + flat[:, 0]) * np.sin(a), flat[:, 1]])[::-1]
            for a in angles
        ]
    )
    count = len(rings) if whole else len(rings) - 1
    # Contact costs grow with the number of pieces; chords of fifteen degrees are round enough for a finger.
    stride = max(1, round(n * 15.0 / (arc[1] - arc[0])))
    hulls = tuple(
        rings[[k % len(rings) for k in range(a, min(a + stride, count) + 1)]].reshape(-1, 3) for a in range(0, count, stride)
    )
    return Solid(_skin(rings, not whole, not whole, wrap=whole), hulls)


def prism(outline: F64, height: float, taper: float = 1.0) -> Solid:
    """A polygon (P, 2), convex or not, extruded over z in -height/2..height/2; ``taper`` scales the top.

    Raises:
        ValueError: fewer than three points, or an outline that crosses itself.
    """
    if len(outline) < 3:
        raise ValueError("an outline needs at least three points")
    x, y = outline[:, 0], outline[:, 1]
    if float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) < 0:
        outline = outline[::-1]
    n = len(outline)
    low = np.column_stack([outline, np.full(n, -height / 2)])
    high = np.column_stack([outline * taper, np.full(n, height / 2)])
    triangles = _ears(outline)
    faces = [(a + n, b + n, c + n) for a, b, c in triangles] + [(a, c, b) for a, b, c in triangles]
    for i in range(n):
        k = (i + 1) % n
        faces += [(i, k, k + n), (i, k + n, i + n)]
    pieces = _merge_convex(outline, triangles)
    hulls = tuple(np.vstack([low[list(piece)], high[list(piece)]]) for piece in pieces)
    return Solid(clean(np.vstack([low, high]), np.asarray(faces, dtype=np.int32)), hulls)


def _turn(a: F64, b: F64, c: F64) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _ears(outline: F64) -> list[tuple[int, int, int]]:
    """Ear clipping of a counter-clockwise polygon."""
    left, triangles = list(range(len(outline))), []
    while len(left) > 3:
        for i in range(len(left)):
            a, b, c = left[i - 1], left[i], left[(i + 1) % len(left)]
            pa, pb, pc = outline[a], outline[b], outline[c]
            if _turn(pa, pb, pc) <= 1e-12:
                continue
            others = (outline[k] for k in left if k not in (a, b, c))
            if any(_turn(pa, pb, p) >= 0 and _turn(pb, pc, p) >= 0 and _turn(pc, pa, p) >= 0 for p in others):
                continue
            triangles.append((a, b, c))
            del left[i]
            break
        else:
            raise ValueError("the outline crosses itself")
    if _turn(outline[left[0]], outline[left[1]], outline[left[2]]) <= 0:
        raise ValueError("the outline crosses itself")
    return [*triangles, (left[0], left[1], left[2])]


def _merge_convex(outline: F64, triangles: list[tuple[int, int, int]]) -> list[tuple[int, ...]]:
    """Merge triangles over shared edges while the union stays convex (Hertel and Mehlhorn, 1983)."""
    pieces: list[tuple[int, ...]] = list(triangles)
    merged = True
    while merged:
        merged = False
        for i in range(len(pieces)):
            for j in range(i + 1, len(pieces)):
                union = _union(pieces[i], pieces[j])
                if union and _is_convex(outline[list(union)]):
                    pieces = [p for k, p in enumerate(pieces) if k not in (i, j)] + [union]
                    merged = True
                    break
            if merged:
                break
    return pieces


def _union(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    for i in range(len(first)):
        edge = (first[i], first[(i + 1) % len(first)])
        if edge[0] in second and edge[1] in second:
            j = second.index(edge[1])
            if second[(j + 1) % len(second)] == edge[0]:
                rest = [second[(j + k) % len(second)] for k in range(2, len(second))]
                return (*first[: i + 1], *rest, *first[i + 1 :])
    return None


def _is_convex(points: F64) -> bool:
    return all(_turn(points[i - 2], points[i - 1], points[i]) >= -1e-9 for i in range(len(points)))
