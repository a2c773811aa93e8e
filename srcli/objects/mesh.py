"""Triangle meshes and convex hulls: cleaning, shading normals, mass properties.

Vertices are (V, 3) float64 in metres (unit-free inside the builders), faces (F, 3) int32, counter-clockwise seen from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srcli.types import F64, I32

CREASE_COS = float(np.cos(np.radians(42.0)))
"""Edges sharper than this angle are shaded with a crease, softer ones smoothly."""


@dataclass(frozen=True, slots=True)
class Skin:
    """A picture on a surface.

    Attributes:
        uv: (F, 3, 2) of the corners of each triangle; (0, 0) is the picture's lower left corner, and it repeats.
        png: the picture's file.
    """

    uv: F64
    png: bytes


@dataclass(frozen=True, slots=True)
class Mesh:
    """A triangle mesh: vertices (V, 3) float64, faces (F, 3) int32; ``skin``: the picture on it."""

    vertices: F64
    faces: I32
    skin: Skin | None = None


@dataclass(frozen=True, slots=True)
class MassProperties:
    """Of a union of convex hulls at unit density; overlaps count twice, which is small for the shapes here.

    Attributes:
        volume: cubic metres.
        center: (3,) centre of mass, metres.
        inertia: (3, 3) about the centre of mass, per unit mass, square metres.
    """

    volume: float
    center: F64
    inertia: F64


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Meshes as one; they have the same picture, or none."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces: I32 = np.vstack([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=False)]).astype(np.int32)
    skins = [mesh.skin for mesh in meshes if mesh.skin is not None]
    skin = Skin(np.concatenate([skin.uv for skin in skins]), skins[0].png) if len(skins) == len(meshes) else None
    return Mesh(np.vstack([mesh.vertices for mesh in meshes]), faces, skin)


def turned(mesh: Mesh) -> Mesh:
    """The other side of a surface."""
    skin = None if mesh.skin is None else Skin(np.ascontiguousarray(mesh.skin.uv[:, ::-1]), mesh.skin.png)
    return Mesh(mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1]), skin)


def clean(vertices: F64, faces: I32, skin: Skin | None = None) -> Mesh:
    """Merge coinciding vertices and drop triangles without area."""
    span = float(np.ptp(vertices, axis=0).max()) or 1.0
    keys = np.round(vertices / (span * 1e-6)).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    merged = vertices[first]
    tri = inverse.reshape(-1)[faces]
    keep = (tri[:, 0] != tri[:, 1]) & (tri[:, 1] != tri[:, 2]) & (tri[:, 2] != tri[:, 0])
    return Mesh(merged, tri[keep].astype(np.int32), None if skin is None else Skin(skin.uv[keep], skin.png))


def face_normals(vertices: F64, faces: I32) -> F64:
    """(F, 3) normals whose length is twice the triangle's area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.asarray(np.cross(b - a, c - a), dtype=np.float64)


def area(mesh: Mesh) -> float:
    """Surface area, square units of the vertices."""
    return float(np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=1).sum() / 2.0)


def vertex_normals(vertices: F64, faces: I32) -> F64:
    """(V, 3) unit normals, area weighted over the triangles that share a vertex."""
    normals = np.zeros_like(vertices)
    per_face = face_normals(vertices, faces)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], per_face)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.where(length > 0, length, 1.0), dtype=np.float64)


def split_creases(mesh: Mesh) -> Mesh:
    """Duplicate vertices along sharp edges, so that averaged vertex normals shade soft edges smoothly and sharp ones flat."""
    normals = face_normals(mesh.vertices, mesh.faces)
    unit = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    users: list[list[int]] = [[] for _ in range(len(mesh.vertices))]
    for face, corners in enumerate(mesh.faces.tolist()):
        for vertex in corners:
            users[vertex].append(face)
    vertices: list[F64] = []
    faces = mesh.faces.copy()
    for vertex, around in enumerate(users):
        groups: list[list[int]] = []
        cosines = unit[around] @ unit[around].T
        left = set(range(len(around)))
        while left:
            # A group is what is reached over soft edges only; a cone's tip stays one smooth fan.
            group, front = [], [min(left)]
            left.discard(front[0])
            while front:
                at = front.pop()
                group.append(at)
                soft = [other for other in sorted(left) if cosines[at, other] > CREASE_COS]
                left.difference_update(soft)
                front.extend(soft)
            groups.append(group)
        for group in groups:
            for member in group:
                face = around[member]
                faces[face][mesh.faces[face] == vertex] = len(vertices)
            vertices.append(mesh.vertices[vertex])
    return Mesh(np.asarray(vertices, dtype=np.float64).reshape(-1, 3), faces, mesh.skin)


def hull_mesh(points: F64) -> Mesh:
    """The convex hull of (P, 3) points as a closed mesh.

    Raises:
        ValueError: the points are fewer than four or lie in one plane.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError) as error:
        raise ValueError("a convex piece needs at least four points that do not lie in one plane") from error
    faces = np.asarray(hull.simplices, dtype=np.int32)
    normals = face_normals(points, faces)
    flipped = np.einsum("ij,ij->i", normals, hull.equations[:, :3]) < 0
    faces[flipped] = faces[flipped][:, ::-1]
    used, inverse = np.unique(faces, return_inverse=True)
    return Mesh(np.ascontiguousarray(points[used]), inverse.reshape(faces.shape).astype(np.int32))


def has_volume(points: F64) -> bool:
    """Whether (P, 3) points span a convex piece that is thicker than a millionth of its distance from the origin.

    What is thinner is flat: a library stores pieces as float32, which would lose the rest.
    """
    try:
        corners = hull_mesh(points).vertices
    except ValueError:
        return False
    across = np.linalg.svd(corners - corners.mean(axis=0), full_matrices=False)[2][-1]
    return bool(np.ptp(corners @ across) > 1e-6 * np.abs(corners).max())


def support_points(points: F64, directions: int = 32) -> F64:
    """The points of a convex set that lie farthest along evenly spread directions: a coarser hull inside it.

    Collision detection and contact generation cost per vertex; 32 directions and the axes keep extents exactly and a sphere's
    radius within about 5%.

    Args:
        points: (P, 3), metres; returned as they are when there are no more than ``directions``.
    """
    if len(points) <= directions:
        return points
    index = np.arange(directions) + 0.5
    polar, turn = np.arccos(1 - 2 * index / directions), np.pi * (1 + 5**0.5) * index
    spread = np.column_stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)])
    size = np.maximum(np.ptp(points, axis=0), 1e-9)
    rays = np.vstack([spread, np.eye(3), -np.eye(3)])
    farthest: F64 = points[np.unique(np.argmax((points / size) @ rays.T, axis=0))]
    return farthest


def mass_properties(hulls: tuple[Mesh, ...], densities: tuple[float, ...]) -> MassProperties:
    """Volume, centre and inertia of convex pieces from signed tetrahedra to the origin.

    Args:
        hulls: closed meshes.
        densities: relative density of each.
    """
    volume, moment, second = 0.0, np.zeros(3), np.zeros((3, 3))
    canonical = (np.ones((3, 3)) + np.eye(3)) / 120.0
    for mesh, density in zip(hulls, densities, strict=True):
        corners = mesh.vertices[mesh.faces]
        det = np.linalg.det(corners) * density
        volume += float(det.sum()) / 6.0
        moment += (det[:, None] * corners.sum(axis=1)).sum(axis=0) / 24.0
        second += np.einsum("f,fki,kl,flj->ij", det, corners, canonical, corners)
    center = moment / volume
    second = second / volume - np.outer(center, center)
    inertia = np.eye(3) * np.trace(second) - second
    return MassProperties(volume, center, inertia)
