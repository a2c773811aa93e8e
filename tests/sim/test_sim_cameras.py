import numpy as np
import pytest

from srcli.config.sim import SimConfig
from srcli.sim import World, cameras


def _unproject(observation, index, mask):
    v, u = np.nonzero(mask)
    depth = observation.depth[index, v, u].astype(float)
    k, pose = observation.K[index], observation.T_world_cam[index]
    points = np.stack([(u - k[0, 2]) / k[0, 0] * depth, (v - k[1, 2]) / k[1, 1] * depth, depth], axis=1)
    return points @ pose[:3, :3].T + pose[:3, 3]


def test_every_point_of_the_workspace_is_in_at_least_two_views():
    axes = np.linspace(0.276, 0.724, 21), np.linspace(-0.224, 0.224, 21), np.linspace(0.0, 0.2, 5)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = np.zeros(len(points), dtype=int)
    for camera in cameras(SimConfig()):
        local = (points - camera.T_world_cam[:3, 3]) @ camera.T_world_cam[:3, :3]
        u = camera.K[0, 0] * local[:, 0] / local[:, 2] + camera.K[0, 2]
        v = camera.K[1, 1] * local[:, 1] / local[:, 2] + camera.K[1, 2]
        seen += (local[:, 2] > 0) & (u >= 0) & (u <= camera.width - 1) & (v >= 0) & (v <= camera.height - 1)
    assert seen.min() >= 2


def test_poses_and_intrinsics_are_those_documented():
    top, left, right = cameras(SimConfig())
    assert [c.name for c in (top, left, right)] == ["top", "left", "right"]
    assert np.allclose(top.T_world_cam[:3, 2], [0, 0, -1])
    for side in (left, right):
        assert 40 < np.degrees(np.arcsin(-side.T_world_cam[2, 2])) < 50
    assert (top.width, top.height) == (640, 360)
    assert np.isclose(top.K[0, 0], 914.01 / 2)
    for camera in (top, left, right):
        assert np.isclose(np.linalg.det(camera.T_world_cam[:3, :3]), 1.0)


@pytest.mark.parametrize("scale", [0.25, 0.5])
def test_rendered_depth_unprojects_onto_a_box_of_known_size(box, drop, scale):
    size = np.array([0.06, 0.10, 0.08])
    with World(SimConfig(noise=False, camera_scale=scale), robot=False) as world:
        world.reset([box(*size)], drop((0.42, 0.11, 0.5)))
        pose = world.truth().poses[0]
        observation, segmentation = world.observe(np.random.default_rng(0))
        truth = world.truth(segmentation)
    yaw = 2 * np.arctan2(pose[5], pose[6])
    rotation = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    assert truth.present.tolist() == [True]
    union = []
    for i in range(3):
        on_box = (_unproject(observation, i, segmentation[i] == 1) - pose[:3]) @ rotation
        assert len(on_box) > 100
        outside = np.maximum(np.abs(on_box) - size / 2, 0)
        inside = np.minimum((np.abs(on_box) - size / 2).max(axis=1), 0)
        assert np.abs(np.linalg.norm(outside, axis=1) + inside).max() < 1e-3
        union.append(on_box)
        table = _unproject(observation, i, (segmentation[i] == 0) & (observation.depth[i] > 0))
        assert np.abs(table[:, 2]).max() < 1e-4
    assert np.abs(np.abs(np.concatenate(union)).max(axis=0) - size / 2).max() < 2e-3
