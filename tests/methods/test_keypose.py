"""What keypose methods learn from and see: whole views, turned samples, distances of poses."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from method_inputs import decision, write_features
from scipy.spatial.transform import Rotation

from srcli.actions.poses import canonical_poses
from srcli.artifacts.features import FeatureDataset
from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER
from srcli.errors import SceneError
from srcli.evaluation.exclusion import exclude
from srcli.learning.keyposes import KeyposeInput, KeyposeSample, KeyposeSet, turned
from srcli.learning.whole_view import CELL, whole_view
from srcli.methods.keypose import distances, nearest, own, tried
from srcli.perception.encoders.interface import DenseFeatures
from srcli.types import Observation

DOWN = (1.0, 0.0, 0.0, 0.0)


def table(height: int = 64, width: int = 64) -> Observation:
    """One view from 1 m above the workspace's middle of a table with a block of 5 cm."""
    depth = np.full((1, height, width), 1.0, np.float32)
    depth[0, 20:30, 30:40] = 0.95
    rgb = np.zeros((1, height, width, 3), np.uint8)
    rgb[0, 20:30, 30:40] = (200, 10, 10)
    K = np.array([[[120.0, 0, 31.5], [0, 120.0, 31.5], [0, 0, 1]]])
    down = np.array([[[0.0, -1, 0, 0.5], [-1, 0, 0, 0], [0, 0, -1, 1.0], [0, 0, 0, 1]]])
    return Observation(rgb, depth, K, down)


def test_a_whole_view_is_the_mean_of_what_falls_into_each_voxel() -> None:
    observation = table()
    values = np.random.default_rng(0).normal(size=(1, 8, 8, 5)).astype(np.float32)
    seen = whole_view(observation, DenseFeatures(values))
    # Slowly: every cell by itself.
    voxels: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
    for i in range(8):
        for j in range(8):
            row, column = 8 * i + 4, 8 * j + 4
            depth = observation.depth[0, row, column]
            camera = np.array([(column - 31.5) / 120 * depth, (row - 31.5) / 120 * depth, depth, 1.0])
            at = (observation.T_world_cam[0] @ camera)[:3]
            if (at > WORKSPACE_LOWER).all() and (at < WORKSPACE_UPPER).all():
                voxels.setdefault(tuple(np.floor((at - WORKSPACE_LOWER) / CELL).astype(int)), []).append((at, values[0, i, j]))
    expected = {key: np.mean([at for at, _ in found], axis=0) for key, found in voxels.items()}
    assert len(seen.cells) == len(expected) and seen.features.dtype == np.float16
    for at, feature in zip(seen.cells, seen.features, strict=True):
        key = tuple(np.floor((at - WORKSPACE_LOWER) / CELL).astype(int))
        np.testing.assert_allclose(at, expected[key], atol=1e-6)
        mean = np.mean([value for _, value in voxels[key]], axis=0)
        np.testing.assert_allclose(feature, mean / np.linalg.norm(mean), atol=2e-3)
    red = (seen.colors == (200, 10, 10)).all(axis=1)
    assert red.any() and np.allclose(seen.points[red, 2], 0.05, atol=1e-4) and np.allclose(seen.points[~red, 2], 0.0, atol=1e-4)


def test_views_without_anything_in_the_workspace_are_refused() -> None:
    far = replace(table(), depth=np.full((1, 64, 64), 5.0, np.float32))
    with pytest.raises(SceneError, match="nothing lies in the workspace"):
        whole_view(far, DenseFeatures(np.ones((1, 8, 8, 5), np.float32)))


def sample(place: bool = False) -> KeyposeSample:
    rng = np.random.default_rng(1)
    pose = canonical_poses(np.array([[0.55, 0.1, 0.03, *Rotation.from_euler("zyx", [0.3, 0.2, np.pi]).as_quat()]], np.float32))[0]
    given = KeyposeInput(
        cells=rng.uniform(0.4, 0.6, (9, 3)).astype(np.float32),
        features=rng.normal(size=(9, 4)).astype(np.float32),
        points=rng.uniform(0.4, 0.6, (20, 3)).astype(np.float32),
        colors=rng.integers(0, 255, (20, 3)).astype(np.uint8),
        text=np.ones(4, np.float32),
        tokens=np.ones((2, 4), np.float32),
        token_mask=np.ones(2, bool),
        place=place,
        held=np.zeros(3, np.float32),
    )
    return KeyposeSample(given, pose)


def in_tool(one: KeyposeSample) -> np.ndarray:
    """Points as the tool sees them; the half turn of its jaws leaves squares of x and y."""
    rotation = Rotation.from_quat(one.pose[3:])
    return np.array(rotation.inv().apply(one.given.points - one.pose[:3]))


def test_points_and_pose_turn_together() -> None:
    before = sample()
    after = turned(before, 2.0, np.array([0.02, -0.01]))
    np.testing.assert_allclose(np.abs(in_tool(after)), np.abs(in_tool(before)), atol=1e-5)
    np.testing.assert_allclose(after.given.points[:, 2], before.given.points[:, 2], atol=1e-6)
    assert not np.allclose(after.given.cells, before.given.cells)
    turned_place = turned(sample(place=True), 2.0, np.zeros(2))
    np.testing.assert_array_equal(turned_place.pose[3:], sample().pose[3:])
    same = turned(before, 0.0, np.zeros(2))
    np.testing.assert_allclose(same.pose, before.pose, atol=1e-6)


def test_distances_of_poses_know_the_half_turn() -> None:
    rng = np.random.default_rng(2)
    quaternions = Rotation.random(6, random_state=3)
    poses = np.concatenate([rng.uniform(0, 1, (6, 3)), quaternions.as_quat()], axis=1).astype(np.float32)
    others = np.concatenate([poses[:, :3], (quaternions * Rotation.from_rotvec([0, 0, np.pi])).as_quat()], axis=1).astype(
        np.float32
    )
    found = distances(poses, others)
    assert np.allclose(np.diag(found), 0.0, atol=1e-3)
    for i in range(6):
        for j in range(6):
            angles = []
            for half in (0.0, np.pi):
                turn = quaternions[i].inv() * Rotation.from_quat(others[j, 3:]) * Rotation.from_rotvec([0, 0, half])
                angles.append(np.linalg.norm(turn.as_rotvec()))
            expected = np.linalg.norm(poses[i, :3] - others[j, :3]) + 0.1 * min(angles)
            assert found[i, j] == pytest.approx(expected, abs=2e-3)


def test_snapping_takes_the_nearest_that_is_left_and_a_native_pose_is_the_methods_own() -> None:
    given = decision([[0.4, 0, 0.05], [0.5, 0, 0.05], [0.6, 0, 0.05]], excluded=[False, True, False])
    pose = np.array([0.49, 0, 0.05, *DOWN], np.float32)
    assert nearest(given, pose).action.index == 0
    choice = own(given, pose)
    assert choice.action.index is None and choice.action.width == pytest.approx(0.085)
    np.testing.assert_allclose(choice.action.pose, pose)


def test_a_region_that_failed_twice_is_left_even_where_all_poses_lie_in_it() -> None:
    failed = tuple(np.array([0.5 + d, 0, 0.05, *DOWN], np.float32) for d in (0.0, 0.016))
    given = replace(decision([[0.4, 0, 0.05]]), failed=failed, repeats=partial(exclude, failed=failed))
    poses = np.array([[0.5, 0, 0.05, *DOWN], [0.53, 0, 0.05, *DOWN]], np.float32)
    assert tried(given, poses).tolist() == [True, True]
    assert tried(given, poses + np.array([0.1, 0, 0, 0, 0, 0, 0], np.float32)).tolist() == [False, False]
    assert tried(decision([[0.4, 0, 0.05]]), poses).tolist() == [False, False]


def test_the_training_set_draws_both_phases_alike_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    data = KeyposeSet(FeatureDataset(write_features(tmp_path / "f.h5", count=10)))
    first, again, other = (data.draw(3, 6, seed) for seed in (0, 0, 1))
    assert sum(one.given.place for one in first) == 3
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.pose, b.pose)
        np.testing.assert_array_equal(a.given.points, b.given.points)
    assert any(not np.array_equal(a.pose, b.pose) for a, b in zip(first, other, strict=True))
    assert data.right(0).shape == (1, 7)


@pytest.mark.parametrize("size", [1, 4, 5])
def test_an_epoch_shows_every_decision_of_a_phase_once(tmp_path: Path, size: int) -> None:
    data = KeyposeSet(FeatureDataset(write_features(tmp_path / "f.h5", count=22)), surface=False)
    assert len(data.train) == 20
    drawn = [one for update in range(40 // size) for one in data.draw(update, size, 3, turn=0.0, shift=0.0)]
    for place in (False, True):
        heights = [float(one.pose[2]) for one in drawn if one.given.place == place]
        assert len(heights) == 20
        first, second = heights[:10], heights[10:]
        assert len(set(first)) == 10 and sorted(first) == sorted(second) and first != second
