"""Camera geometry on views whose depth is known in closed form."""

import numpy as np
import pytest

from srcli.errors import SceneError
from srcli.perception.geometry import check_observation, project, rotated, smooth_depth, unproject_view
from srcli.types import Observation

HEIGHT, WIDTH = 48, 64
K = np.array([[60.0, 0.0, 31.0], [0.0, 62.0, 24.5], [0.0, 0.0, 1.0]])


def camera_pose(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, rng.normal(size=3)
    return pose


def observation(depth: np.ndarray | None = None) -> Observation:
    depth = np.full((2, HEIGHT, WIDTH), 0.7, np.float32) if depth is None else depth
    views = len(depth)
    return Observation(
        np.zeros((views, HEIGHT, WIDTH, 3), np.uint8),
        depth,
        np.stack([K] * views),
        np.stack([camera_pose(i) for i in range(views)]),
    )


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rotated_points_are_sums_in_one_order(kind: type) -> None:
    """To the last bit what single numbers give, so that no processor gives another."""
    rng = np.random.default_rng(2)
    points = rng.normal(size=(50, 3)).astype(kind)
    frames = rng.normal(size=(4, 3, 3)).astype(kind)
    found = rotated(points, frames)
    assert found.shape == (4, 50, 3) and found.dtype == kind
    np.testing.assert_allclose(found, points @ frames, atol=1e-5)
    for frame, (i, j) in ((f, (i, j)) for f in range(4) for i in range(50) for j in range(3)):
        a, b, c = (points[i, k] * frames[frame, k, j] for k in range(3))
        assert found[frame, i, j] == (a + b) + c
    np.testing.assert_array_equal(rotated(points, frames[1]), found[1])


def test_projection_undoes_unprojection() -> None:
    rng = np.random.default_rng(1)
    depth = rng.uniform(0.3, 1.2, (HEIGHT, WIDTH)).astype(np.float32)
    depth[5:8, 10:20] = 0.0
    pose = camera_pose(3)
    points = unproject_view(depth, K, pose)
    uv, distance = project(points, K, pose)
    row, column = np.nonzero(depth)
    assert len(points) == HEIGHT * WIDTH - 30
    np.testing.assert_allclose(uv, np.stack([column, row], axis=1), atol=2e-3)
    np.testing.assert_allclose(distance, depth[row, column], atol=1e-5)


def test_pixel_on_the_principal_point_lies_on_the_axis() -> None:
    depth = np.zeros((HEIGHT, WIDTH), np.float32)
    depth[24, 31] = 0.5
    centred = K.copy()
    centred[1, 2] = 24.0
    np.testing.assert_allclose(unproject_view(depth, centred, np.eye(4)), [[0.0, 0.0, 0.5]], atol=1e-7)


def test_box_crops_points() -> None:
    depth = np.full((HEIGHT, WIDTH), 0.8, np.float32)
    depth[:10] = 0.4
    pose = camera_pose(2)
    points = unproject_view(depth, K, pose)
    lower = np.quantile(points, 0.3, axis=0).astype(np.float32)
    upper = np.quantile(points, 0.8, axis=0).astype(np.float32)
    inside = ((points > lower) & (points < upper)).all(axis=1)
    assert 0 < inside.sum() < len(points)
    np.testing.assert_allclose(unproject_view(depth, K, pose, lower, upper), points[inside], atol=1e-6)


def test_points_behind_the_camera_have_negative_depth() -> None:
    _, depth = project(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 2.0]]), K, np.eye(4))
    np.testing.assert_allclose(depth, [-1.0, 2.0])


def test_smoothing_equals_a_pixel_by_pixel_reference() -> None:
    rng = np.random.default_rng(7)
    depth = (0.8 + rng.normal(0, 0.002, (2, 13, 17))).astype(np.float32)
    depth[0, 4:9, 6:12] -= 0.05
    depth[rng.random(depth.shape) < 0.08] = 0
    inner, wanted = np.zeros(depth.shape, bool), depth.copy()
    for m, i, j in np.argwhere(depth > 0):
        near = depth[m, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        inner[m, i, j] = np.ptp(near[near > 0]) < 0.016
    for m, i, j in np.argwhere(inner):
        window = (m, slice(max(i - 2, 0), i + 3), slice(max(j - 2, 0), j + 3))
        mean = depth[window][inner[window]].mean()
        wanted[m, i, j] = mean if abs(mean - depth[m, i, j]) < 0.008 else depth[m, i, j]
    assert 0.2 < inner.mean() < 0.95
    np.testing.assert_allclose(smooth_depth(depth), wanted, atol=1e-6)


def test_smoothing_quietens_surfaces_and_keeps_edges() -> None:
    rng = np.random.default_rng(0)
    clean = np.full((1, 60, 80), 0.8, np.float32)
    clean[:, :, 40:] = 0.7
    noisy = (clean + rng.normal(0, 0.002, clean.shape)).astype(np.float32)
    noisy[0, 10, 10] = 0.0
    smooth = smooth_depth(noisy)
    away = np.ones((60, 80), bool)
    away[:, 36:44] = False
    away[10, 10] = False
    assert np.std((smooth - clean)[0][away]) < 0.45 * 0.002
    assert smooth[0, 10, 10] == 0.0
    # Nothing is dragged into the step between the two surfaces.
    assert np.abs(smooth - clean)[0][clean[0] > 0].reshape(60, 80)[:, 36:44].max() < 0.009


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("depth", np.full((2, HEIGHT, WIDTH), np.nan, np.float32), "NaN"),
        ("depth", np.full((2, HEIGHT, WIDTH), -1.0, np.float32), "negative"),
        ("depth", np.zeros((2, HEIGHT, WIDTH), np.float32), "no depth"),
        ("depth", np.ones((1, HEIGHT, WIDTH), np.float32), "shape"),
        ("rgb", np.zeros((2, HEIGHT, WIDTH), np.uint8), "colour"),
        ("rgb", np.zeros((2, HEIGHT, WIDTH, 3), np.float32), "colour"),
        ("K", np.full((2, 3, 3), np.inf), "K of view 0"),
        ("T_world_cam", np.zeros((3, 4, 4)), "T_world_cam"),
    ],
)
def test_unusable_observations_are_refused(field: str, value: np.ndarray, words: str) -> None:
    good = observation()
    fields = {name: getattr(good, name) for name in ("rgb", "depth", "K", "T_world_cam")}
    check_observation(good)
    with pytest.raises(SceneError, match=words):
        check_observation(Observation(**{**fields, field: value}))


def test_a_missing_view_is_named() -> None:
    with pytest.raises(SceneError, match="2 of 3 views"):
        check_observation(observation(), views=3)
    with pytest.raises(SceneError, match="a view is missing"):
        check_observation(_empty())


def _empty() -> Observation:
    return Observation(
        np.zeros((0, HEIGHT, WIDTH, 3), np.uint8),
        np.zeros((0, HEIGHT, WIDTH), np.float32),
        np.zeros((0, 3, 3)),
        np.zeros((0, 4, 4)),
    )
