"""Surfaces of convex pieces: points and outward normals of the shapes that the simulation collides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srcli.actions.poses import rotation_matrices
from srcli.seeding import generator
from srcli.types import F64, I32, Bool

_STEP = 0.004
MOST = 5000
_DEEP = 2e-4


@dataclass(frozen=True, slots=True)
class Surface:
    """Points (P, 3) in metres, in random order, and outward unit normals (P, 3)."""

    points: F64
    normals: F64

    def moved(self, pose: F64) -> Surface:
        """At a pose (7,): metres and quaternion xyzw."""
        rotation = rotation_matrices(np.asarray(pose, dtype=np.float32)[None])[0]
        return Surface(self.points @ rotation.T + pose[:3], self.normals @ rotation.T)


def sample_surface(hulls: Sequence[F64], most: int) -> Surface:
    """The surface of a union of convex pieces, about one point on each 4 mm square.

    Args:
        hulls: vertices (P, 3) of each piece, metres.
        most: points that are kept, at random, where there are more.
    """
    from srcli.objects.mesh import face_normals, hull_mesh

    meshes = [hull_mesh(hull) for hull in hulls]
    rng = generator((0,), 11)
    points, normals = [], []
    for number, mesh in enumerate(meshes):
        scaled = face_normals(mesh.vertices, mesh.faces)
        length = np.linalg.norm(scaled, axis=1)
        unit = scaled / np.maximum(length, 1e-30)[:, None]
        count = int(np.clip(length.sum() / 2 / _STEP**2, 60, MOST))
        face = rng.choice(len(length), size=count, p=length / length.sum())
        first, second = rng.random((2, count, 1))
        # A point of the parallelogram beyond the diagonal is turned back into the triangle.
        over = first + second > 1
        first, second = np.where(over, 1 - first, first), np.where(over, 1 - second, second)
        a, b, c = (mesh.vertices[mesh.faces[face, corner]] for corner in range(3))
        where = a + first * (b - a) + second * (c - a)
        free = np.ones(count, dtype=bool)
        for other, piece in enumerate(meshes):
            if other != number:
                free &= ~_inside(where, piece.vertices, piece.faces)
        points.append(where[free])
        normals.append(unit[face][free])
    joined, directions = np.concatenate(points), np.concatenate(normals)
    order = rng.permutation(len(joined))[:most]
    return Surface(joined[order], directions[order])


def _inside(points: F64, vertices: F64, faces: I32) -> Bool:
    """(P,) points inside a convex mesh, deeper than 0.2 mm."""
    from srcli.objects.mesh import face_normals

    scaled = face_normals(vertices, faces)
    unit = scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-30)
    deep: Bool = np.all(points @ unit.T - (unit * vertices[faces[:, 0]]).sum(axis=1) < -_DEEP, axis=1)
    return deep
