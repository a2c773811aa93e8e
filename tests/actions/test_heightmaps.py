"""Height maps, windows and poses against brute force."""

import numpy as np
import pytest

from srcli.actions.heightmaps import build_maps, sliding_max
from srcli.actions.poses import approach_frames, canonical_poses, canonical_quaternions, rotation_matrices


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9, 23])
@pytest.mark.parametrize("axis", [1, 2])
def test_sliding_max_equals_brute_force(size: int, axis: int) -> None:
    values = np.random.default_rng(size).normal(size=(2, 30, 27)).astype(np.float32)
    wanted = np.empty_like(values)
    for place in range(values.shape[axis]):
        window = range(max(0, place - size // 2), min(values.shape[axis], place + size // 2 + 1))
        np.moveaxis(wanted, axis, 0)[place] = values.take(window, axis=axis).max(axis=axis)
    np.testing.assert_array_equal(sliding_max(values, size, axis), wanted)


@pytest.mark.parametrize("tilt", [0.0, 0.44])
def test_maps_hold_the_highest_point_and_lead_back_to_it(tilt: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([0.4, -0.1, 0.02], [0.6, 0.1, 0.1], (40, 3)).astype(np.float32)
    frames = approach_frames(3, tilt)
    maps = build_maps(points, frames, 0.003, 0.05)
    for index, frame in enumerate(frames):
        local = points @ frame
        v = np.rint((local[:, 1] - maps.origin[index, 1]) / 0.003).astype(int)
        u = np.rint((local[:, 0] - maps.origin[index, 0]) / 0.003).astype(int)
        height = maps.heights[index, v, u]
        assert (height >= -local[:, 2] - 1e-6).all()
        highest = np.isclose(height, -local[:, 2], atol=1e-6)
        assert highest.sum() > 20
        which = np.full(len(points), index)
        back = maps.positions(which, v, u, height)
        assert np.abs(back - points)[highest].max() < 0.0025


def test_floor_is_the_table_in_every_frame() -> None:
    points = np.array([[0.5, 0.0, 0.05], [0.55, 0.05, 0.05]], np.float32)
    maps = build_maps(points, approach_frames(2, 0.44), 0.004, 0.03)
    frame, v, u = (a.ravel() for a in np.meshgrid(*map(np.arange, maps.floor.shape), indexing="ij"))
    on_table = maps.positions(frame, v, u, maps.floor[frame, v, u])
    np.testing.assert_allclose(on_table[:, 2], 0.0, atol=1e-6)


@pytest.mark.parametrize("tilt", [0.0, 0.44])
def test_part_of_the_maps_is_a_window_of_the_whole(tilt: float) -> None:
    rng = np.random.default_rng(4)
    points = rng.uniform([0.3, -0.2, 0.01], [0.7, 0.2, 0.02], (3000, 3)).astype(np.float32)
    frames, margin = approach_frames(3, tilt), 0.05
    around = points[(np.abs(points[:, :2] - [0.6, 0.1]) < 0.04).all(axis=1)]
    whole, part = build_maps(points, frames, 0.003, margin), build_maps(points, frames, 0.003, margin, around)
    assert part.heights.size < 0.5 * whole.heights.size
    for index, frame in enumerate(frames):
        u0, v0 = np.rint((part.origin[index] - whole.origin[index]) / 0.003).astype(int)
        np.testing.assert_allclose(part.origin[index], whole.origin[index] + np.array([u0, v0]) * 0.003, atol=1e-12)
        assert u0 % 6 == v0 % 6 == 0
        # A hole at the rim may be filled by what the part does not show.
        rows, columns = min(part.heights.shape[1], whole.heights.shape[1] - v0) - 1, part.heights.shape[2]
        columns = min(columns, whole.heights.shape[2] - u0) - 1
        window = whole.heights[index, v0 + 1 : v0 + rows, u0 + 1 : u0 + columns]
        np.testing.assert_array_equal(part.heights[index, 1:rows, 1:columns], window)
        local = around @ frame[:, :2]
        cells = (local - (part.origin[index] - 0.0015)) / 0.003
        assert (cells > margin / 0.003 - 1).all()
        assert (cells < np.array([columns, rows]) + 2 - margin / 0.003).all()


@pytest.mark.parametrize(("lost", "filled"), [(0, True), (3, True), (4, False)])
def test_a_hole_with_five_filled_neighbours_takes_their_mean(lost: int, filled: bool) -> None:
    gone = [(4, 4), (3, 3), (5, 3), (3, 5), (5, 5)][: lost + 1]
    xy = np.array([(i, j) for i in range(9) for j in range(9) if (i, j) not in gone])
    height = np.random.default_rng(5).uniform(0.02, 0.03, len(xy))
    points = np.column_stack([0.5 + 0.003 * xy, height]).astype(np.float32)
    maps = build_maps(points, np.diag([1.0, -1.0, -1.0])[None], 0.003, 0.02)
    near = (np.abs(xy - 4) <= 1).all(axis=1)
    u, v = np.rint((np.array([0.512, -0.512]) - maps.origin[0]) / 0.003).astype(int)
    assert near.sum() == 8 - lost
    np.testing.assert_allclose(maps.heights[0, v, u], height[near].mean() if filled else 0.0, atol=1e-6)


def test_frames_are_rotations_that_point_down() -> None:
    for frames, count in ((approach_frames(12), 12), (approach_frames(4, 0.44), 16)):
        assert frames.shape == (count, 3, 3)
        np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.broadcast_to(np.eye(3), frames.shape), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(frames), 1.0, atol=1e-12)
        np.testing.assert_allclose(frames[:, 2, 2], frames[0, 2, 2], atol=1e-12)
    np.testing.assert_allclose(np.arccos(-approach_frames(4, 0.44)[:, 2, 2]), 0.44)


def test_canonical_form_is_the_same_for_both_of_a_pair() -> None:
    frames = np.concatenate([approach_frames(12), approach_frames(5, 0.3)])
    turned = frames * np.array([-1.0, -1.0, 1.0])
    first, second = canonical_quaternions(frames), canonical_quaternions(turned)
    np.testing.assert_allclose(first, second, atol=1e-9)
    assert (first[:, 3] >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0)


def test_canonical_poses_keep_the_grasp() -> None:
    rng = np.random.default_rng(3)
    quaternions = rng.normal(size=(50, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    poses = np.concatenate([rng.normal(size=(50, 3)), quaternions], axis=1).astype(np.float32)
    canonical = canonical_poses(poses)
    before, after = rotation_matrices(poses), rotation_matrices(canonical)
    np.testing.assert_array_equal(canonical[:, :3], poses[:, :3])
    np.testing.assert_allclose(before[:, :, 2], after[:, :, 2], atol=1e-5)
    np.testing.assert_allclose(np.abs((before[:, :, 0] * after[:, :, 0]).sum(axis=1)), 1.0, atol=1e-5)
    np.testing.assert_allclose(canonical_poses(canonical), canonical, atol=1e-6)
    assert canonical_poses(np.zeros((0, 7), np.float32)).shape == (0, 7)
