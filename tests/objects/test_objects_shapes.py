"""Meshes and convex pieces against closed formulas."""

from __future__ import annotations

import numpy as np
import pytest

from srcli.objects import shapes
from srcli.objects.mesh import hull_mesh, mass_properties, split_creases, vertex_normals


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    return float(np.linalg.det(vertices[faces]).sum() / 6)


def hull_volume(solid: shapes.Solid) -> float:
    meshes = tuple(hull_mesh(points) for points in solid.hulls)
    return mass_properties(meshes, (1.0,) * len(meshes)).volume


L_SHAPE = np.array([[0, 0], [4, 0], [4, 1], [1, 1], [1, 3], [0, 3]], dtype=float)

SOLIDS = {
    "box": (shapes.box([2, 3, 4]), 24.0, 1e-9),
    "chamfered box": (shapes.box([2, 3, 4], 0.01), 24.0, 0.01),
    "ball": (shapes.ball(1.0, 48, 32), 4 / 3 * np.pi, 0.02),
    "cone": (shapes.loft([[0, 2], [3, 0]], n=48), np.pi, 0.01),
    "waist": (shapes.loft([[0, 4], [1, 2], [2, 4]], n=48), 2 * np.pi / 3 * (1 + 2 + 4), 0.01),
    "tube": (shapes.tube(np.array([[0, 0, 0], [0, 0, 5.0]]), np.array([1.0, 1.0]), n=24), 5 * np.pi, 0.02),
    "hoop": (shapes.ring(5, [2], n=48), 2 * np.pi * 5 * 6 * np.sqrt(3) / 4, 0.02),
    "half hoop": (shapes.ring(5, [2, 1], arc=(0, 180), n=40), np.pi * 5 * 2, 0.01),
    "L": (shapes.prism(L_SHAPE, 2), 12.0, 1e-9),
}


@pytest.mark.parametrize("name", list(SOLIDS))
def test_surface_and_pieces_enclose_the_right_volume(name: str) -> None:
    solid, expected, tolerance = SOLIDS[name]
    surface = volume(solid.mesh.vertices, solid.mesh.faces)
    assert surface == pytest.approx(expected, rel=tolerance), "outward surface"
    assert hull_volume(solid) == pytest.approx(surface, rel=0.02), "pieces fill the surface"


@pytest.mark.parametrize("name", list(SOLIDS))
def test_surfaces_are_watertight(name: str) -> None:
    mesh = SOLIDS[name][0].mesh
    edges = np.vstack([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    forward = {tuple(edge) for edge in edges.tolist()}
    assert len(forward) == len(edges)
    assert all((b, a) in forward for a, b in forward)


def test_vessel_is_hollow() -> None:
    cup = shapes.loft([[0, 60], [80, 60]], n=24, wall=4, floor=5)
    for points in cup.hulls:
        mesh = hull_mesh(points)
        inside = np.array([[0, 0, 30.0], [20, 0, 10], [0, -24, 70]])
        planes = np.cross(
            mesh.vertices[mesh.faces[:, 1]] - mesh.vertices[mesh.faces[:, 0]],
            mesh.vertices[mesh.faces[:, 2]] - mesh.vertices[mesh.faces[:, 0]],
        )
        height = np.einsum("fpk,fk->fp", inside[None] - mesh.vertices[mesh.faces[:, :1]], planes)
        assert (height.max(axis=0) > 0).all()
    wall = np.pi * (30**2 - 26**2) * 75 + np.pi * 30**2 * 5
    assert hull_volume(cup) == pytest.approx(wall, rel=0.1)
    assert cup.inner is not None
    with pytest.raises(ValueError, match="thicker"):
        shapes.loft([[0, 20], [80, 20]], wall=12)


def test_inertia_of_a_box() -> None:
    moved = hull_mesh(shapes.box([2, 4, 6]).mesh.vertices + np.array([5, -3, 2]))
    properties = mass_properties((moved,), (1.0,))
    assert properties.center == pytest.approx([5, -3, 2])
    expected = np.diag([4**2 + 6**2, 2**2 + 6**2, 2**2 + 4**2]) / 12
    assert properties.inertia == pytest.approx(expected, abs=1e-9)


def test_creases_keep_cubes_flat_and_balls_smooth() -> None:
    cube = split_creases(shapes.box([1, 1, 1]).mesh)
    assert len(cube.vertices) == 24
    normals = vertex_normals(cube.vertices, cube.faces)
    assert np.abs(normals).max(axis=1) == pytest.approx(1.0)
    ball = shapes.ball(1.0, 24, 16).mesh
    smooth = split_creases(ball)
    assert len(smooth.vertices) == len(ball.vertices)
    outward = (vertex_normals(smooth.vertices, smooth.faces) * smooth.vertices).sum(axis=1)
    assert outward.min() > 0.98


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="crosses"):
        shapes.prism(np.array([[0, 0], [2, 2], [2, 0], [0, 2.0]]), 1.0)
    with pytest.raises(ValueError, match="upward"):
        shapes.loft([[0, 1], [2, 1], [1, 1]])
    with pytest.raises(ValueError, match="plane"):
        shapes.convex(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]]))
    with pytest.raises(ValueError, match="chamfer"):
        shapes.box([1, 1, 1], 0.6)
