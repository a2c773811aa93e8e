import hashlib
import subprocess
import sys

import numpy as np
import pytest

from srcli.config.sim import SimConfig
from srcli.errors import ConfigError, SceneError
from srcli.objects import build, catalogue
from srcli.sim import Light, World, contact_sheet_images

_DIGEST = """
import hashlib
import numpy as np
from srcli.config.sim import SimConfig
from srcli.objects import build, catalogue
from srcli.sim import World
from srcli.types import Action

def digest():
    entries = catalogue()
    models = [build(entries[name]) for name in sorted(entries.names)[:4]]
    drops = np.array([[0.45 + 0.03 * i, 0.02 * i, 0.2, 0.1 * i, 0.2, 0.3, 0.9] for i in range(4)])
    drops[:, 3:] /= np.linalg.norm(drops[:, 3:], axis=1, keepdims=True)
    with World(SimConfig(camera_scale=0.2)) as world:
        world.reset(models, drops)
        place = world.truth().poses[3, :3]
        world.execute(Action("grasp", np.array([*place, 1.0, 0.0, 0.0, 0.0], dtype=np.float32), 0.06))
        world.discard()
        observation, segmentation = world.observe(np.random.default_rng(3))
        parts = observation.rgb, observation.depth, segmentation, world.truth(segmentation).poses
        return hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()
"""


def test_same_scene_gives_the_same_bytes_again_and_in_another_process():
    scope: dict = {}
    exec(_DIGEST, scope)
    first = scope["digest"]()
    assert scope["digest"]() == first
    other = subprocess.run(
        [sys.executable, "-c", _DIGEST + "print('digest=' + digest())"], capture_output=True, text=True, check=True
    )
    assert f"digest={first}" in other.stdout


def test_dropped_objects_come_to_rest_in_slot_order_and_stay(box, can, drop):
    with World(SimConfig(camera_scale=0.2), robot=False) as world:
        places = [(0.4, 0.1, 0.3), (0.4, 0.1, 0.0), (0.6, -0.1, 1.0), (0.5, 0.0, 0.0)]
        assert world.reset([box(0.08, 0.08, 0.04), box(0.05, 0.05, 0.05), can(0.03, 0.1), box(0.04, 0.06, 0.05)], drop(*places))
        before = world.truth()
        world._physics.wake()
        world._physics.step(120)
        after = world.truth()
    assert before.present.all()
    assert np.abs(after.poses[:, :3] - before.poses[:, :3]).max() < 1e-3
    assert np.allclose(before.poses[:, :2], [p[:2] for p in places], atol=0.01)
    # Each convex piece has a contact margin of 1 mm: one on the table, two between the boxes.
    assert 0.0 < before.poses[1, 2] - (0.04 + 0.025) < 0.0035
    assert (before.poses[:, 6] >= 0).all()


def test_arm_is_in_no_view_and_objects_have_slot_plus_one(box, drop):
    with World(SimConfig(camera_scale=0.5)) as world:
        world.reset([box(0.06, 0.06, 0.06), box(0.04, 0.08, 0.05)], drop((0.4, 0.1, 0.0), (0.6, -0.1, 0.0)))
        observation, segmentation = world.observe(np.random.default_rng(0))
    assert observation.rgb.shape == (3, 360, 640, 3) and observation.rgb.dtype == np.uint8
    assert observation.depth.dtype == np.float32 and segmentation.dtype == np.uint16
    for view in segmentation:
        assert set(np.unique(view)) == {0, 1, 2}


def test_noise_can_be_switched_off_and_follows_the_generator(box, drop):
    with World(SimConfig(camera_scale=0.2), robot=False) as world:
        world.reset([box(0.06, 0.06, 0.06)], drop((0.5, 0.0, 0.0)))
        clean_rgb, clean_depth, _ = world.render()
        first, _ = world.observe(np.random.default_rng(0))
        again, _ = world.observe(np.random.default_rng(0))
        other, _ = world.observe(np.random.default_rng(1))
    assert np.array_equal(first.depth, again.depth) and np.array_equal(first.rgb, again.rgb)
    assert not np.array_equal(first.depth, other.depth)
    valid = first.depth > 0
    error = (first.depth - clean_depth)[valid & (clean_depth < 1.2)]
    assert 0.001 < error.std() < 0.005
    assert not np.array_equal(first.rgb, clean_rgb)


def test_table_color_and_light_change_the_picture_only(box, drop):
    with World(SimConfig(camera_scale=0.2, noise=False), robot=False) as world:
        args = [box(0.06, 0.06, 0.06)], drop((0.5, 0.0, 0.0))
        world.reset(*args)
        plain = world.render()
        world.reset(*args, table_color=(0.1, 0.6, 0.2), light=Light(direction=(-1.0, 0.5, 1.0), ambient=0.4))
        varied = world.render()
    assert np.array_equal(plain[1], varied[1]) and np.array_equal(plain[2], varied[2])
    table = plain[2] == 0
    assert (varied[0][table][:, 1] > varied[0][table][:, 0]).all()
    assert not np.array_equal(plain[0][~table], varied[0][~table])


def test_an_object_that_leaves_the_workspace_is_not_present(box, drop):
    with World(SimConfig(camera_scale=0.2), robot=False) as world:
        world.reset([box(0.05, 0.05, 0.05), box(0.05, 0.05, 0.05)], drop((0.5, 0.0, 0.0), (0.8, 0.0, 0.0)))
        assert world.truth().present.tolist() == [True, False]


def test_bad_input_is_refused(box, drop, down):
    with World(SimConfig(camera_scale=0.2), robot=False) as world:
        with pytest.raises(SceneError):
            world.reset([box(0.05, 0.05, 0.05)], np.zeros((2, 7)))
        with pytest.raises(SceneError):
            world.reset([box(0.05, 0.05, 0.05)], drop((np.nan, 0.0, 0.0)))
        world.reset([box(0.05, 0.05, 0.05)], drop((0.5, 0.0, 0.0)))
        with pytest.raises(SceneError):
            world.execute(down(0.5, 0.0, 0.03))
    with pytest.raises(ConfigError):
        SimConfig(workspace_x=(0.5, 0.4))


def test_portraits_show_each_object(box, can):
    entries = catalogue()
    names = sorted(entries.names)[:2]
    images = contact_sheet_images([build(entries[name]) for name in names], size=96)
    assert len(images) == 2
    for image in images:
        assert image.shape == (96, 96, 3)
        corner = image[0, 0].astype(int)
        share = (np.abs(image.astype(int) - corner).max(axis=2) > 8).mean()
        assert 0.03 < share < 0.95
    assert hashlib.sha256(images[0].tobytes()).digest() != hashlib.sha256(images[1].tobytes()).digest()
