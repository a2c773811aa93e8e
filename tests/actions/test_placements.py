"""The placement sampler on drawn scenes whose geometry is known: boxes and a hollow box on a table under three cameras."""

from fractions import Fraction

import numpy as np
import pytest

from srcli.actions.placement_map import _tops, build_placement_map
from srcli.actions.placements import _balance, sample_placements
from srcli.actions.quality import rounded
from srcli.config.placements import PlacementConfig
from srcli.errors import SceneError
from srcli.seeding import generator
from srcli.types import Candidates, HeldExtent, Observation

HEIGHT, WIDTH, FOCAL = 360, 640, 457.0
EYES = ((0.5, 0.001, 0.85), (0.48, 0.6, 0.6), (0.48, -0.6, 0.6))
CONFIG = PlacementConfig()
SMALL = HeldExtent(radius=0.022, half_width=0.018, height=0.06)
LONG = HeldExtent(radius=0.080, half_width=0.012, height=0.03)

# Lower and upper corner of each box.
Box = tuple[tuple[float, float, float], tuple[float, float, float]]
CARTON: Box = ((0.36, 0.06, 0.0), (0.46, 0.16, 0.05))
WALL = 0.008


def tray(x: float, y: float, side: float, height: float) -> list[Box]:
    """An open box: four walls and a floor of 6 mm."""
    a, b = side / 2, side / 2 - WALL
    return [
        ((x - a, y - a, 0.0), (x + a, y + a, 0.006)),
        ((x - a, y - a, 0.0), (x - b, y + a, height)),
        ((x + b, y - a, 0.0), (x + a, y + a, height)),
        ((x - a, y - a, 0.0), (x + a, y - b, height)),
        ((x - a, y + b, 0.0), (x + a, y + a, height)),
    ]


TRAY = tray(0.54, -0.08, 0.14, 0.06)


def draw(boxes: list[Box], seed: int = 0, noise: float = 0.002) -> Observation:
    rng = generator((seed,))
    K = np.array([[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]])
    column, row = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    pixels = np.stack([(column - K[0, 2]) / FOCAL, (row - K[1, 2]) / FOCAL, np.ones_like(row)], axis=-1)
    depths, poses = [], []
    for eye in EYES:
        forward = np.array([0.5, 0.0, 0.0]) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = np.stack([right, np.cross(forward, right), forward], axis=1), eye
        rays = pixels @ pose[:3, :3].T
        rays[np.abs(rays) < 1e-12] = 1e-12
        depth = np.where(rays[..., 2] < 0, -eye[2] / rays[..., 2], np.inf)
        for low, high in boxes:
            one, two = (np.array(low) - eye) / rays, (np.array(high) - eye) / rays
            enter, leave = np.minimum(one, two).max(axis=-1), np.maximum(one, two).min(axis=-1)
            depth = np.where((enter < leave) & (enter > 0), np.minimum(depth, enter), depth)
        depth = np.where(depth < 2, depth + rng.normal(0, noise, depth.shape), 0.0)
        depth[rng.random(depth.shape) < 0.05] = 0.0
        depths.append(depth.astype(np.float32))
        poses.append(pose)
    return Observation(np.zeros((3, HEIGHT, WIDTH, 3), np.uint8), np.stack(depths), np.stack([K] * 3), np.stack(poses))


def outside(box: Box, xy: np.ndarray) -> np.ndarray:
    """(K,) distance of points (K, 2) from a box seen from above."""
    low, high = np.array(box[0][:2]), np.array(box[1][:2])
    return np.linalg.norm(np.maximum(np.maximum(low - xy, xy - high), 0.0), axis=1)


@pytest.fixture(scope="module")
def observation() -> Observation:
    return draw([CARTON, *TRAY])


@pytest.fixture(scope="module")
def small(observation: Observation) -> Candidates:
    return sample_placements(observation, SMALL, CONFIG, generator((1,)))


def test_terrain_tells_things_from_the_table(observation: Observation) -> None:
    placement_map = build_placement_map(observation, CONFIG)
    assert placement_map.count == 2
    cells = np.rint((np.array([[0.41, 0.11], [0.54, -0.08], [0.60, 0.10]]) - placement_map.origin) / CONFIG.cell).astype(int)
    heights = placement_map.heights[cells[:, 0], cells[:, 1]]
    assert heights == pytest.approx([0.05, 0.006, 0.0], abs=0.004)
    things = placement_map.things[cells[:, 0], cells[:, 1]]
    assert things[0] > 0
    assert things[1] > 0
    assert things[0] != things[1]
    assert things[2] == 0
    assert placement_map.rim(cells[1:2])[0] == pytest.approx(0.06, abs=0.004)


def test_candidates_are_well_formed(small: Candidates) -> None:
    assert small.kind == "place"
    assert 60 <= len(small) <= CONFIG.count
    assert small.poses.dtype == np.float32
    assert small.poses.shape == (len(small), 7)
    assert (small.poses[:, 3:] == [1, 0, 0, 0]).all()
    assert (small.widths == 0).all()
    assert (small.quality >= 0).all()
    assert (small.quality <= 1).all()
    low, high = np.array(CONFIG.lower[:2]), np.array(CONFIG.upper[:2])
    assert ((small.poses[:, :2] > low) & (small.poses[:, :2] < high)).all()
    distance = np.linalg.norm(small.poses[:, None, :2] - small.poses[None, :, :2], axis=2)
    same_height = np.abs(small.poses[:, None, 2] - small.poses[None, :, 2]) < 0.01
    assert distance[same_height & ~np.eye(len(small), dtype=bool)].min() >= 0.0099


def test_a_flat_top_gets_places_just_above_it(small: Candidates) -> None:
    on = outside(CARTON, small.poses[:, :2]) == 0
    assert on.sum() >= 3
    assert small.poses[on, 2] == pytest.approx(0.05 + CONFIG.clearance, abs=0.006)
    best = small.poses[on][np.argmax(small.quality[on]), :2]
    assert np.abs(best - [0.41, 0.11]).max() < 0.04
    assert small.quality[on].max() > 0.7


def test_a_hollow_gets_places_between_its_rims(small: Candidates) -> None:
    within = np.abs(small.poses[:, :2] - [0.54, -0.08]).max(axis=1) < 0.07 - WALL - SMALL.half_width
    assert within.sum() >= 1
    inside = within & (small.poses[:, 2] < 0.055)
    assert inside.any()
    assert small.poses[within, 2].min() == pytest.approx(0.006 + CONFIG.clearance, abs=0.006)


def test_a_hollow_that_is_too_narrow_is_bridged() -> None:
    scene = draw(tray(0.5, 0.0, 0.06, 0.06))
    wide = HeldExtent(radius=0.05, half_width=0.045, height=0.04)
    found = sample_placements(scene, wide, CONFIG, generator((1,)))
    on = np.abs(found.poses[:, :2] - [0.5, 0.0]).max(axis=1) < 0.02
    assert on.any()
    assert found.poses[on, 2].min() > 0.055


@pytest.mark.parametrize("held", [SMALL, LONG])
def test_places_around_keep_clear_and_near(observation: Observation, held: HeldExtent) -> None:
    found = sample_placements(observation, held, CONFIG, generator((1,)))
    tray_box: Box = ((0.47, -0.15, 0.0), (0.61, -0.01, 0.06))
    gaps = [outside(box, found.poses[:, :2]) for box in (CARTON, tray_box)]
    table = found.poses[:, 2] < 0.005
    for gap in gaps:
        assert gap[table].min() > held.half_width
        around = table & (gap <= 0.15)
        assert around.sum() >= 8
        # Touching distance is tried, and the whole ring is used.
        assert gap[table].min() < held.half_width + 0.035
    roomy = table & (np.minimum(*gaps) > held.radius + 0.02)
    cramped = table & (np.minimum(*gaps) < held.half_width + 0.5 * (held.radius - held.half_width))
    if cramped.any():
        assert found.quality[cramped].max() < found.quality[roomy].max()


def test_ways_around_a_thing_are_all_tried() -> None:
    box: Box = ((0.42, -0.04, 0.0), (0.50, 0.04, 0.05))
    found = sample_placements(draw([box]), SMALL, CONFIG, generator((1,)))
    near = (outside(box, found.poses[:, :2]) > 0) & (outside(box, found.poses[:, :2]) < 0.15)
    angle = np.arctan2(found.poses[near, 1], found.poses[near, 0] - 0.46)
    assert len(np.unique(np.floor(angle / (np.pi / 4)))) == 8


def test_an_empty_table_offers_free_places() -> None:
    found = sample_placements(draw([]), SMALL, CONFIG, generator((1,)))
    assert len(found) == CONFIG.free_count
    assert found.poses[:, 2] == pytest.approx(CONFIG.clearance)
    assert (found.quality == 1).all()


def test_what_the_arm_cannot_reach_is_not_offered(small: Candidates) -> None:
    from srcli.sim.robot import inverse

    for pose in small.poses:
        tip = np.diag([1.0, -1.0, -1.0, 1.0])
        tip[:3, 3] = pose[0], pose[1] + CONFIG.shift, max(0.25, pose[2] + SMALL.height + 0.1)
        assert inverse(tip) is not None, pose
    # The far corner of the shifted zone lies beyond the arm.
    assert np.hypot(small.poses[:, 0], small.poses[:, 1] + CONFIG.shift).max() < 0.82


def test_the_same_seed_gives_the_same_places(observation: Observation, small: Candidates) -> None:
    again = sample_placements(observation, SMALL, CONFIG, generator((1,)))
    assert np.array_equal(again.poses, small.poses)
    assert np.array_equal(again.quality, small.quality)


def test_quality_comes_in_steps(small: Candidates) -> None:
    assert len(np.unique(small.quality)) > 10
    np.testing.assert_array_equal(rounded(small.quality), small.quality)


def test_balance_is_the_least_share_of_any_half() -> None:
    """Against fractions: sums of ones, whose order does not matter."""
    foot = np.array([(x, y) for x in range(-5, 6) for y in range(-5, 6) if x * x + y * y <= 25])
    carrying = np.random.default_rng(0).random((50, len(foot))) < 0.7
    found = _balance(carrying, foot)
    for row, there in enumerate(carrying):
        shares = []
        for k in range(8):
            half = [i for i, (x, y) in enumerate(foot) if (x, y) != (0, 0) and np.cos(np.arctan2(y, x) - k * np.pi / 4) > 0.3]
            shares.append(Fraction(int(there[half].sum()), len(half)))
        whole = Fraction(int(there[(foot != 0).any(axis=1)].sum()), len(foot) - 1)
        assert found[row] == pytest.approx(min(float(min(shares) / whole), 1.0), abs=1e-7)


def test_damaged_views_are_refused(observation: Observation) -> None:
    depth = observation.depth.copy()
    depth[1, 5, 5] = np.nan
    broken = Observation(observation.rgb, depth, observation.K, observation.T_world_cam)
    with pytest.raises(SceneError, match="NaN"):
        sample_placements(broken, SMALL, CONFIG, generator((1,)))


def test_what_is_higher_than_the_map_can_say_stays_in_its_cell() -> None:
    lower, upper = np.array([0.0, 0.0, 0.0], np.float32), np.array([0.02, 0.02, 1.0], np.float32)
    points = np.array([[0.015, 0.015, 0.9]] * 40 + [[0.005, 0.005, 0.1]] * 40, np.float32)
    assert _tops(points, lower, upper, 0.01).tolist() == [[pytest.approx(0.1, abs=1e-3), 0.0], [0.0, pytest.approx(0.8191)]]
