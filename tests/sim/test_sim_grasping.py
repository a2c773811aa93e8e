import numpy as np
import pytest

from srcli.config.sim import SimConfig
from srcli.errors import SceneError
from srcli.sim import World
from srcli.types import Reason

CONFIG = SimConfig(camera_scale=0.2)


@pytest.fixture(scope="module")
def world():
    with World(CONFIG) as one:
        yield one


def test_ideal_grasps_hold(world, box, can, drop, down):
    rng = np.random.default_rng(4)
    held = 0
    trials = 16
    for trial in range(trials):
        x, y, yaw = rng.uniform(0.33, 0.67), rng.uniform(-0.17, 0.17), rng.uniform(-3.0, 3.0)
        width, height = rng.uniform(0.025, 0.065), rng.uniform(0.04, 0.12)
        mass = rng.uniform(0.05, 0.5)
        model = box(width, rng.uniform(0.03, 0.09), height, mass) if trial % 2 else can(width / 2, height, mass)
        world.reset([model], drop((x, y, yaw)))
        dx, dy = rng.uniform(-0.003, 0.003, 2)
        execution = world.execute(down(x + dx, y + dy, height - min(0.035, height - 0.006), yaw, width))
        assert execution.steps < 600
        if execution.reason is Reason.SUCCESS:
            held += 1
            assert execution.slot == 0 and world.held == 0
            assert world.truth().poses[0, 2] > height / 2 + 0.1
    assert held >= trials - 1


def test_discard_removes_what_is_held_and_only_that(world, box, drop, down):
    world.reset([box(0.04, 0.04, 0.06), box(0.05, 0.05, 0.05)], drop((0.42, 0.1, 0.0), (0.6, -0.1, 0.0)))
    assert world.execute(down(0.42, 0.1, 0.03, 0.0, 0.04)).slot == 0
    with pytest.raises(SceneError):
        world.execute(down(0.6, -0.1, 0.03))
    world.discard()
    truth = world.truth()
    assert world.held is None
    assert truth.present.tolist() == [False, True]
    assert np.isnan(truth.poses[0]).all() and np.isfinite(truth.poses[1]).all()
    assert set(np.unique(truth.segmentation)) == {0, 2}
    assert world.execute(down(0.6, -0.1, 0.03, 0.0, 0.05)).slot == 1


def test_what_rests_on_a_discarded_object_falls(world, box, drop, down):
    world.reset([box(0.05, 0.05, 0.05), box(0.05, 0.05, 0.03)], drop((0.5, 0.0, 0.0), (0.5, 0.0, 0.0)))
    high = world.truth().poses[1, 2]
    world._physics.remove(0)
    world.discard()
    assert world.truth().poses[1, 2] < high - 0.04


def test_each_failure_has_its_reason(world, box, drop, down):
    world.reset([box(0.15, 0.15, 0.08, 1.0)], drop((0.5, 0.0, 0.0)))
    before = world.truth().poses
    assert world.execute(down(1.4, 0.0, 0.1)).reason is Reason.NO_IK
    assert np.array_equal(world.truth().poses, before)
    missed = world.execute(down(0.33, -0.17, 0.05))
    assert (missed.reason, missed.slot) == (Reason.NOTHING_HELD, None)
    hit = world.execute(down(0.5, 0.0, 0.03))
    assert (hit.reason, hit.slot) == (Reason.COLLISION, None)
    assert world.held is None
    assert np.abs(world.truth().poses[0, :3] - before[0, :3]).max() < 0.02


def test_a_weak_gripper_does_not_hold_a_heavy_object(box, drop, down):
    with World(SimConfig(camera_scale=0.2, finger_force=1.0)) as weak:
        weak.reset([box(0.05, 0.05, 0.1, 3.0)], drop((0.5, 0.0, 0.0)))
        assert weak.execute(down(0.5, 0.0, 0.06, 0.0, 0.05)).reason in (Reason.NOTHING_HELD, Reason.SLIPPED)


def test_fingers_stay_above_the_table_when_the_grasp_is_too_low(world, box, drop, down):
    world.reset([box(0.04, 0.06, 0.03)], drop((0.5, 0.05, 0.0)))
    assert world.execute(down(0.5, 0.05, -0.03, 0.0, 0.04)).reason is Reason.SUCCESS


def test_a_held_object_is_carried_and_placed(world, box, drop, down):
    world.reset([box(0.04, 0.05, 0.08)], drop((0.4, 0.1, 0.4)))
    with pytest.raises(SceneError):
        world.execute(down(0.6, -0.1, 0.0, kind="place"))
    assert world.execute(down(0.4, 0.1, 0.05, 0.4, 0.04)).slot == 0
    assert world.carry_home()
    assert world.execute(down(1.5, 0.0, 0.0, kind="place")).reason is Reason.NO_IK
    assert world.held == 0
    placed = world.execute(down(0.6, -0.1, 0.005, 0.0, 0.0, kind="place"))
    assert (placed.reason, placed.slot, world.held) == (Reason.SUCCESS, 0, None)
    pose = world.truth().poses[0]
    assert np.linalg.norm(pose[:2] - [0.6, -0.1]) < 0.01
    assert abs(pose[2] - 0.04) < 0.005
