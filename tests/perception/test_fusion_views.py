"""Fusion against a slow reference written point by point from the equations."""

from dataclasses import dataclass

import numpy as np
import pytest

from srcli.config.cloud import CloudConfig
from srcli.errors import SceneError
from srcli.perception.fusion import fuse
from srcli.types import Observation

HEIGHT, WIDTH = 36, 64
K = np.array([[45.0, 0.0, 32.0], [0.0, 45.0, 18.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Dense:
    values: np.ndarray


def pose(eye: tuple[float, float, float]) -> np.ndarray:
    forward = np.array([0.5, 0.0, 0.0]) - np.array(eye)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.1, 0.0, 1.0])
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = eye
    return matrix


def scene(seed: int = 0) -> tuple[np.ndarray, Dense, Observation]:
    """Random points, depth images that partly agree with them, random features."""
    rng = np.random.default_rng(seed)
    poses = np.stack([pose(eye) for eye in ((0.5, 0.02, 0.7), (0.2, 0.5, 0.5), (0.8, -0.5, 0.5))])
    points = (rng.uniform([0.2, -0.3, 0.0], [0.8, 0.3, 0.2], (150, 3))).astype(np.float32)
    depth = rng.uniform(0.4, 0.9, (3, HEIGHT, WIDTH)).astype(np.float32)
    for view in range(3):
        local = (points - poses[view, :3, 3]) @ poses[view, :3, :3]
        column = np.rint(local[:, 0] / local[:, 2] * 45 + 32).astype(int)
        row = np.rint(local[:, 1] / local[:, 2] * 45 + 18).astype(int)
        ok = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT) & (rng.random(150) < 0.8)
        depth[view, row[ok], column[ok]] = local[ok, 2] + rng.normal(0, 0.02, ok.sum())
    depth[:, 3:6, 5:25] = 0.0
    values = rng.normal(size=(3, 9, 16, 5)).astype(np.float32)
    return points, Dense(values), Observation(np.zeros((3, HEIGHT, WIDTH, 3), np.uint8), depth, np.stack([K] * 3), poses)


def reference(points, values, observation, mu: float, norm: str):  # type: ignore[no-untyped-def]
    features, views = [], []
    _, h, w, dim = values.shape
    for point in points.astype(float):
        total, weights, count = np.zeros(dim), 0.0, 0
        for view in range(len(values)):
            camera = np.linalg.inv(observation.T_world_cam[view]) @ np.append(point, 1.0)
            u, v, one = observation.K[view] @ camera[:3] / camera[2]
            assert one == pytest.approx(1.0)
            i, j = int(np.floor(v + 0.5)), int(np.floor(u + 0.5))
            if camera[2] <= 0 or not (0 <= i < HEIGHT and 0 <= j < WIDTH):
                continue
            measured = float(observation.depth[view, i, j])
            d = camera[2] - measured
            if measured <= 0 or d >= mu:
                continue
            b = np.exp(min(mu - abs(d), 0.0) / mu)
            x = min(max((u + 0.5) * w / WIDTH - 0.5, 0.0), w - 1.0)
            y = min(max((v + 0.5) * h / HEIGHT - 0.5, 0.0), h - 1.0)
            x0, y0 = int(x), int(y)
            sample = np.zeros(dim)
            for yy, wy in ((y0, 1 - (y - y0)), (min(y0 + 1, h - 1), y - y0)):
                for xx, wx in ((x0, 1 - (x - x0)), (min(x0 + 1, w - 1), x - x0)):
                    sample += wy * wx * values[view, yy, xx]
            total += b * sample
            weights += b
            count += 1
        features.append(total / max(weights if norm == "weight" else count, 1e-6))
        views.append(count)
    return np.array(features), np.array(views)


@pytest.mark.parametrize("norm", ["weight", "count"])
def test_fusion_equals_the_reference(norm: str) -> None:
    points, dense, observation = scene()
    features, views = fuse(points, dense, observation, CloudConfig(norm=norm))  # type: ignore[arg-type]
    wanted, count = reference(points, dense.values, observation, 0.02, norm)
    assert set(count) == {0, 1, 2, 3}
    np.testing.assert_array_equal(views, count)
    np.testing.assert_allclose(features, wanted, atol=2e-4)
    assert features.dtype == np.float32 and views.dtype == np.uint8


def test_the_two_norms_differ_only_where_confidence_is_below_one() -> None:
    points, dense, observation = scene(1)
    by_weight, views = fuse(points, dense, observation, CloudConfig(norm="weight"))
    by_count, _ = fuse(points, dense, observation, CloudConfig(norm="count"))
    longer = np.linalg.norm(by_weight, axis=1) - np.linalg.norm(by_count, axis=1)
    assert longer.min() > -1e-5 and longer.max() > 0.1
    assert (np.abs(longer[views > 0]) < 1e-5).any()


def test_an_occluded_point_takes_nothing_from_the_view_that_misses_it() -> None:
    depth = np.full((2, HEIGHT, WIDTH), 1.0, np.float32)
    depth[0] = 0.5
    observation = Observation(np.zeros((2, HEIGHT, WIDTH, 3), np.uint8), depth, np.stack([K] * 2), np.stack([np.eye(4)] * 2))
    values = np.stack([np.full((9, 16, 2), 7.0), np.full((9, 16, 2), 2.0)]).astype(np.float32)
    features, views = fuse(np.array([[0.0, 0.0, 1.0]], np.float32), Dense(values), observation, CloudConfig())
    np.testing.assert_allclose(features, [[2.0, 2.0]])
    assert views.tolist() == [1]


def test_another_number_of_views_is_refused() -> None:
    points, dense, observation = scene()
    with pytest.raises(SceneError, match="features of 2 views"):
        fuse(points, Dense(dense.values[:2]), observation, CloudConfig())
