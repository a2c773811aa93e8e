"""Plain bodies and a few helpers for the simulator's tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from srcli.objects import ObjectModel, Visual
from srcli.objects.mesh import hull_mesh
from srcli.types import F64, Action


def _body(name: str, points: F64, mass: float) -> ObjectModel:
    mesh = hull_mesh(points)
    extent = np.ptp(mesh.vertices, axis=0)
    inertia = (
        np.diag([extent[1] ** 2 + extent[2] ** 2, extent[0] ** 2 + extent[2] ** 2, extent[0] ** 2 + extent[1] ** 2]) * mass / 12
    )
    return ObjectModel(
        name=name,
        visuals=(Visual(mesh.vertices, mesh.faces, (0.8, 0.2, 0.1, 1.0)),),
        hulls=(mesh.vertices,),
        mass=mass,
        inertia=inertia,
        extent=extent,
        low=mesh.vertices.min(axis=0),
    )


@pytest.fixture
def box() -> Callable[..., ObjectModel]:
    def make(x: float, y: float, z: float, mass: float = 0.2) -> ObjectModel:
        corners = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=float)
        return _body("box", corners * np.array([x, y, z]) / 2, mass)

    return make


@pytest.fixture
def can() -> Callable[..., ObjectModel]:
    def make(radius: float, height: float, mass: float = 0.2) -> ObjectModel:
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1)
        points = np.concatenate([np.column_stack([ring, np.full(24, z)]) for z in (-height / 2, height / 2)])
        return _body("can", points, mass)

    return make


@pytest.fixture
def drop() -> Callable[..., F64]:
    def make(*places: tuple[float, float, float]) -> F64:
        """Upright spawn poses (S, 7) from x, y, yaw."""
        return np.array([[x, y, 0.2, 0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)] for x, y, yaw in places])

    return make


@pytest.fixture
def down() -> Callable[..., Action]:
    def make(x: float, y: float, z: float, yaw: float = 0.0, width: float = 0.05, kind: str = "grasp") -> Action:
        """A top-down action: tool z points down, tool x along ``yaw``."""
        quaternion = (np.cos(yaw / 2), np.sin(yaw / 2), 0.0, 0.0)
        return Action(kind, np.array([x, y, z, *quaternion], dtype=np.float32), width)  # type: ignore[arg-type]

    return make
