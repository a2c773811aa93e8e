import numpy as np
import pytest

from srcli.config.sim import SimConfig
from srcli.errors import SceneError
from srcli.sim import PICK_SHIFT, PLACE_SHIFT, ROBOT_PIXEL, World
from srcli.sim.robot import inverse
from srcli.types import Reason

CONFIG = SimConfig(camera_scale=0.2)
ZONES = (PICK_SHIFT, PLACE_SHIFT)


@pytest.fixture(scope="module")
def world():
    with World(CONFIG) as one:
        yield one


def _points(observation, view, mask):
    v, u = np.nonzero(mask)
    depth = observation.depth[view, v, u].astype(float)
    k, pose = observation.K[view], observation.T_world_cam[view]
    return (
        np.stack([(u - k[0, 2]) / k[0, 0] * depth, (v - k[1, 2]) / k[1, 1] * depth, depth], axis=1) @ pose[:3, :3].T + pose[:3, 3]
    )


def _in_zone(points):
    low, high = np.array([0.276, -0.224, -0.01]), np.array([0.724, 0.224, 0.4])
    return np.all((points > low) & (points < high), axis=1)


@pytest.mark.parametrize("shift", ZONES)
def test_a_zone_looks_like_the_unshifted_workspace_and_only_its_objects_are_present(box, drop, shift):
    models, drops = [box(0.06, 0.10, 0.08), box(0.05, 0.05, 0.05)], drop((0.42, 0.11, 0.5), (0.6, -0.1, 0.2))
    with World(SimConfig(camera_scale=0.2, noise=False), robot=False) as world:
        world.reset(models, drops, shifts=[shift, -shift])
        assert world.shift == 0.0
        world.enter_zone(shift)
        here, near = world.observe(np.random.default_rng(0)), world.truth()
        world.enter_zone(-shift)
        far = world.truth()
        world.reset(models, drops)
        plain, alike = world.observe(np.random.default_rng(0)), world.truth()
    assert near.present.tolist() == [True, False] and far.present.tolist() == [False, True]
    assert np.allclose(near.poses[0], alike.poses[0], atol=1e-3)
    assert np.allclose(far.poses[1], alike.poses[1], atol=1e-3)
    assert np.array_equal(here[0].T_world_cam, plain[0].T_world_cam)
    for view in range(3):
        first = _points(here[0], view, here[1][view] == 1).mean(axis=0)
        assert np.allclose(first, _points(plain[0], view, plain[1][view] == 1).mean(axis=0), atol=3e-3)
        assert (here[0].depth[view] > 0).mean() > 0.9


def test_shifts_are_checked(world, box, drop):
    for shifts in ([0.1], [np.nan, 0.0]):
        with pytest.raises(SceneError):
            world.reset([box(0.05, 0.05, 0.05)] * 2, drop((0.5, 0.0, 0.0), (0.6, 0.1, 0.0)), shifts=shifts)


def test_contacts_name_who_touches_whom(world, box, drop):
    places = drop((0.5, 0.0, 0.0), (0.5, 0.0, 0.3), (0.6, 0.1, 0.0), (0.6, 0.16, 0.0))
    world.reset([box(0.08, 0.08, 0.04), box(0.05, 0.05, 0.05), box(0.05, 0.05, 0.05), box(0.05, 0.05, 0.05)], places)
    assert world.truth().contacts == ((-1, 0), (-1, 2), (-1, 3), (0, 1))
    assert world.truth().contacts == world.truth().contacts


def test_the_arm_reaches_both_zones():
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    for shift in ZONES:
        for half, height, least in ((0.15, 0.02, 1.0), (0.15, 0.35, 1.0), (0.2, 0.02, 1.0), (0.2, 0.25, 0.99)):
            grid = [(x, y) for x in np.linspace(-half, half, 11) for y in np.linspace(-half, half, 11)]
            reached = 0
            for x, y in grid:
                pose[:3, 3] = 0.5 + x, shift + y, height
                reached += inverse(pose) is not None
            assert reached / len(grid) >= least


def test_from_zone_to_zone_and_what_is_seen_on_the_way(world, box, drop, down):
    models = [box(0.09, 0.09, 0.05, 0.5), box(0.04, 0.09, 0.06)]
    world.reset(models, drop((0.55, 0.05, 0.3), (0.45, -0.1, 0.7)), shifts=[PLACE_SHIFT, PICK_SHIFT])
    with pytest.raises(SceneError):
        world.present_held(np.random.default_rng(0))
    world.enter_zone(PICK_SHIFT)
    assert world.execute(down(0.45, -0.1, 0.03, 0.7, 0.04)).slot == 1
    observation, tip = world.present_held(np.random.default_rng(0))
    assert world.held == 1
    assert np.allclose(tip[:3, 3], [0.5, 0.0, 0.28], atol=5e-3)
    assert abs(tip[1, 0]) < 0.02  # closes along x
    seen = np.concatenate([_points(observation, view, observation.depth[view] > 0) for view in range(3)])
    local = (seen - tip[:3, 3]) @ tip[:3, :3]
    hung = local[(np.abs(local[:, 0]) < 0.03) & (np.abs(local[:, 1]) < 0.06) & (np.abs(local[:, 2]) < 0.06)]
    assert len(hung) > 50
    assert 0.07 < np.ptp(hung[:, 1]) < 0.12
    # At the observing pose neither arm nor object is in a crop of either zone, nor does it hide one.
    for shift in ZONES:
        world.enter_zone(shift)
        observation, segmentation = world.observe(np.random.default_rng(1))
        for view in range(3):
            for code in (2, ROBOT_PIXEL):
                assert not _in_zone(_points(observation, view, segmentation[view] == code)).any()
    world.enter_zone(PLACE_SHIFT)
    before = world.truth()
    assert before.present.tolist() == [True, False]
    yaw = 0.5
    placed = world.execute(down(0.4, -0.05, 0.0, yaw, kind="place"))
    assert (placed.reason, placed.slot, world.held) == (Reason.SUCCESS, 1, None)
    after = world.truth()
    assert np.linalg.norm(after.poses[1, :2] - [0.4, -0.05]) < 0.01
    turned = 2 * np.arctan2(after.poses[1, 5], after.poses[1, 6])
    assert abs(np.arctan(np.tan(turned - 0.7 - yaw))) < 0.1
    assert (-1, 1) in after.contacts and (0, 1) not in after.contacts
    assert np.abs(after.poses[0] - before.poses[0]).max() < 1e-3


def test_an_object_is_put_on_top_of_another(world, box, drop, down):
    models = [box(0.10, 0.10, 0.06, 0.5), box(0.04, 0.04, 0.06)]
    world.reset(models, drop((0.5, 0.05, 0.3), (0.5, 0.05, 0.0)), shifts=[PLACE_SHIFT, PICK_SHIFT])
    world.enter_zone(PICK_SHIFT)
    assert world.execute(down(0.5, 0.05, 0.04, 0.0, 0.04)).slot == 1
    assert world.carry_home()
    world.enter_zone(PLACE_SHIFT)
    # Asked for inside the lower one: lowering ends at the first touch.
    assert world.execute(down(0.51, 0.05, 0.03, kind="place")).reason is Reason.SUCCESS
    truth = world.truth()
    assert truth.contacts == ((-1, 0), (0, 1))
    assert np.linalg.norm(truth.poses[1, :2] - [0.51, 0.05]) < 0.01
    assert abs(truth.poses[1, 2] - 0.09) < 0.006


def test_what_is_lost_on_the_way_is_reported(world, box, drop, down):
    world.reset([box(0.04, 0.05, 0.06)], drop((0.5, 0.0, 0.0)), shifts=[PICK_SHIFT])
    world.enter_zone(PICK_SHIFT)
    assert world.execute(down(0.5, 0.0, 0.04, 0.0, 0.04)).slot == 0
    arm = world._arm
    for joint in (8, 9):
        arm.client.resetJointState(arm.body, joint, 0.0425)
    arm.fingers(0.0425)
    world._physics.step(60)
    world.enter_zone(PLACE_SHIFT)
    dropped = world.execute(down(0.5, 0.0, 0.0, kind="place"))
    assert dropped.reason is Reason.DROPPED and world.held is None
