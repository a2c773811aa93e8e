"""The sampler on drawn scenes whose geometry is known: boxes on a table under three cameras."""

from dataclasses import dataclass

import numpy as np
import pytest

from srcli.actions.closing import ClosingNetwork, Regions
from srcli.actions.features import FEATURES
from srcli.actions.grasps import ScoredGrasps, good_or_alone, sample_grasps, scored_grasps, thin_out
from srcli.actions.gripper import GRIPPER
from srcli.actions.poses import rotation_matrices
from srcli.actions.quality import QualityModel, rounded
from srcli.config.candidates import CandidateConfig
from srcli.errors import SceneError
from srcli.types import OPENING_MARGIN, Candidates, Observation

HEIGHT, WIDTH, FOCAL = 360, 640, 457.0
EYES = ((0.5, 0.001, 0.8), (0.45, 0.6, 0.6), (0.55, -0.6, 0.6))


@dataclass(frozen=True)
class Box:
    """Centre (x, y), size (x, y, z), yaw; it stands on the table."""

    x: float
    y: float
    size: tuple[float, float, float]
    yaw: float = 0.0

    def local(self, points: np.ndarray) -> np.ndarray:
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return (points - [self.x, self.y, self.size[2] / 2]) @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]).T

    def depth(self, points: np.ndarray) -> np.ndarray:
        """How deep points lie inside; negative outside."""
        return (np.array(self.size) / 2 - np.abs(self.local(points))).min(axis=-1)


def draw(boxes: tuple[Box, ...], noise: float = 0.0015, seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
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
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = -eye[2] / rays[..., 2]
            depth = np.where((depth > 0) & (depth < 2), depth, np.inf)
            for box in boxes:
                start = box.local(np.array(eye))
                way = box.local(np.array(eye) + rays) - start
                near, far = (-np.array(box.size) / 2 - start) / way, (np.array(box.size) / 2 - start) / way
                enter, leave = np.minimum(near, far).max(axis=-1), np.maximum(near, far).min(axis=-1)
                depth = np.where((enter < leave) & (enter > 0), np.minimum(depth, enter), depth)
        noisy = np.where(np.isfinite(depth), depth + rng.normal(0, noise, depth.shape), 0.0)
        depths.append(noisy.astype(np.float32))
        poses.append(pose)
    return Observation(np.zeros((3, HEIGHT, WIDTH, 3), np.uint8), np.stack(depths), np.stack([K] * 3), np.stack(poses))


def fingers(candidates: Candidates) -> np.ndarray:
    """(K, 2, P, 3) points all over the two opened fingers."""
    half = np.array([GRIPPER.finger_thickness, GRIPPER.finger_width]) / 2
    grid = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], np.linspace(0, -GRIPPER.finger_length, 13), indexing="ij"), axis=-1)
    grid = grid.reshape(-1, 3) * [*half, 1.0]
    frames = rotation_matrices(candidates.poses)
    offset = (candidates.widths + OPENING_MARGIN) / 2 + GRIPPER.finger_thickness / 2
    both = [grid + np.stack([sign * offset, 0 * offset, 0 * offset], axis=1)[:, None] for sign in (-1, 1)]
    return np.stack([np.einsum("kij,kpj->kpi", frames, p) + candidates.poses[:, None, :3] for p in both], axis=1)


CARTON = Box(0.5, 0.0, (0.12, 0.05, 0.08), yaw=0.4)
PILE = (
    CARTON,
    Box(0.38, -0.12, (0.04, 0.04, 0.04)),
    Box(0.62, 0.12, (0.10, 0.02, 0.03), yaw=1.2),
    Box(0.40, 0.12, (0.06, 0.06, 0.14), yaw=0.7),
    Box(0.62, -0.11, (0.14, 0.015, 0.015), yaw=-0.5),
)


@pytest.fixture(scope="module")
def pile() -> Candidates:
    return sample_grasps(draw(PILE), CandidateConfig())


def test_every_free_object_gets_candidates(pile: Candidates) -> None:
    for box in PILE:
        assert (box.depth(pile.poses[:, :3] + np.array([0.0, 0.0, 0.004])) > 0).any(), box


def test_opened_fingers_touch_nothing(pile: Candidates) -> None:
    points = fingers(pile)
    assert points[..., 2].min() > -0.012
    for box in PILE:
        # The sensor blurs edges by about a pixel, 1.5 mm.
        assert box.depth(points).max() < 0.0025, box


def test_best_candidate_of_a_carton_spans_its_short_side() -> None:
    found = sample_grasps(draw((CARTON,)), CandidateConfig())
    best = int(np.argmax(found.quality))
    closing = rotation_matrices(found.poses)[best, :, 0]
    short = np.array([-np.sin(CARTON.yaw), np.cos(CARTON.yaw), 0.0])
    assert abs(closing @ short) > np.cos(np.radians(12))
    assert 0.04 <= found.widths[best] <= 0.065
    assert abs(CARTON.local(found.poses[best, :3].astype(float))[1]) < 0.005
    assert found.poses[best, 2] < CARTON.size[2] - 0.015


def test_what_is_too_wide_is_left_alone() -> None:
    wide = Box(0.5, 0.0, (0.11, 0.11, 0.03))
    assert len(sample_grasps(draw((wide,)), CandidateConfig(tilt=0.0, yaws=2, min_quality=0.0))) == 0


def test_a_neighbour_that_leaves_no_gap_is_respected() -> None:
    # Two blocks 6 mm apart: nothing fits between, and together they are too wide across the gap.
    blocks = (Box(0.5, -0.028, (0.05, 0.05, 0.05)), Box(0.5, 0.028, (0.05, 0.05, 0.05)))
    found = sample_grasps(draw(blocks), CandidateConfig())
    assert len(found) > 0
    vertical = rotation_matrices(found.poses)[:, 2, 2] < -0.99
    points = fingers(found)
    gap = (np.abs(points[..., 1]) < 0.003) & (np.abs(points[..., 0] - 0.5) < 0.02) & (points[..., 2] < 0.045)
    assert not gap[vertical].any()


def test_candidates_keep_their_contract(pile: Candidates) -> None:
    config = CandidateConfig()
    assert 0 < len(pile) <= config.count and pile.kind == "grasp"
    assert pile.poses.dtype == pile.widths.dtype == pile.quality.dtype == np.float32
    assert pile.poses.shape == (len(pile), 7) and pile.widths.shape == pile.quality.shape == (len(pile),)
    assert (pile.quality >= config.min_quality).all() and (pile.quality <= 1).all()
    assert (pile.widths > 0).all() and (pile.widths <= GRIPPER.max_opening + 1e-6).all()
    np.testing.assert_allclose(np.linalg.norm(pile.poses[:, 3:], axis=1), 1.0, atol=1e-5)
    assert (pile.poses[:, 6] >= 0).all()
    frames = rotation_matrices(pile.poses)
    assert (frames[:, 2, 2] < -0.7).all(), "all approaches point downwards"
    cells = np.floor(pile.poses[:, :2].astype(float) / 0.03).astype(int)
    assert np.unique(cells, axis=0, return_counts=True)[1].max() <= config.per_cell
    assert pile.quality[0] == pile.quality.max()


def test_weak_candidates_are_dropped_where_a_good_one_is_near() -> None:
    positions = np.array([[0.50, 0.0, 0.05], [0.515, 0.0, 0.05], [0.525, 0.0, 0.05], [0.50, 0.2, 0.05]])
    quality = np.array([0.9, 0.85, 0.5, 0.45], dtype=np.float32)
    empty = np.zeros((4, len(FEATURES)), dtype=np.float32)
    found = ScoredGrasps(positions, np.tile(np.eye(3), (4, 1, 1)), np.full(4, 0.03, dtype=np.float32), quality, empty)
    assert good_or_alone(found, CandidateConfig()).tolist() == [True, False, True, True]
    assert good_or_alone(found, CandidateConfig(good_distance=0.03)).tolist() == [True, False, False, True]
    assert good_or_alone(found, CandidateConfig(good_quality=0.95)).all()
    assert len(good_or_alone(found.take(np.zeros(0, dtype=np.int64)), CandidateConfig())) == 0
    assert good_or_alone(found, CandidateConfig(good_distance=0.0)).all()


def test_of_a_pile_every_dropped_candidate_has_a_good_one_near() -> None:
    config = CandidateConfig()
    every, kept = sample_grasps(draw(PILE), config.model_copy(update={"good_distance": 0.0})), sample_grasps(draw(PILE), config)
    good = kept.poses[kept.quality >= config.good_quality][:, :3]
    weak = kept.poses[kept.quality < config.good_quality][:, :3]
    assert len(good) and (every.quality < config.good_quality).sum() > len(weak)
    assert np.linalg.norm(weak[:, None] - good[None], axis=-1).min(initial=np.inf) > config.good_distance
    assert kept.quality.mean() > every.quality.mean()


def test_sampling_is_deterministic(pile: Candidates) -> None:
    again = sample_grasps(draw(PILE), CandidateConfig())
    assert again.poses.tobytes() == pile.poses.tobytes() and again.quality.tobytes() == pile.quality.tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_what_kernels_round_otherwise_changes_no_candidate(pile: Candidates, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of 3.9e-6 on a probability in single precision, where kernels were seen to differ by 6e-7, and of 1e-13 in double,
    where they were by 3e-16.

    That one of some thousand values lies within 1e-13 of the middle between two steps has a chance of about 2e-6.
    """
    rng, disturbed = np.random.default_rng(seed), set()
    probability, score = ClosingNetwork._probability, QualityModel.score

    def noisy(self: ClosingNetwork, regions: Regions, precision: type) -> np.ndarray:
        noise = 3.9e-6 if precision is np.float32 else 1e-13
        disturbed.add(precision)
        return probability(self, regions, precision) + rng.uniform(-noise, noise, len(regions))

    def noisy_shape(self: QualityModel, features: np.ndarray) -> np.ndarray:
        disturbed.add("shape")
        return score(self, features) + rng.uniform(-1e-13, 1e-13, len(features))

    monkeypatch.setattr(ClosingNetwork, "_probability", noisy)
    monkeypatch.setattr(QualityModel, "score", noisy_shape)
    found = sample_grasps(draw(PILE), CandidateConfig())
    assert disturbed == {np.float32, np.float64, "shape"}
    for name in ("poses", "widths", "quality"):
        np.testing.assert_array_equal(getattr(found, name), getattr(pile, name))


def test_quality_comes_in_steps(pile: Candidates) -> None:
    for found in (pile, sample_grasps(draw(PILE), CandidateConfig(quality="shape"))):
        np.testing.assert_array_equal(rounded(found.quality), found.quality)


def test_of_equal_grasps_the_first_found_is_kept() -> None:
    rotation = np.diag([1.0, -1.0, -1.0])
    found = ScoredGrasps(
        positions=np.array([[0.5 + 0.1 * (i // 2), 0.001 * (i % 2), 0.05] for i in range(6)]),
        rotations=np.stack([rotation] * 6),
        widths=np.full(6, 0.05, np.float32),
        quality=np.full(6, 0.6, np.float32),
        features=np.zeros((6, 1), np.float32),
    )
    assert thin_out(found, CandidateConfig()).tolist() == [0, 2, 4]
    assert thin_out(found, CandidateConfig(count=2)).tolist() == [0, 2]


def test_fewer_can_be_asked_for() -> None:
    found = sample_grasps(draw(PILE), CandidateConfig(count=7, per_cell=1))
    assert len(found) == 7
    assert (np.diff(found.quality) <= 0).all()


def test_empty_table_gives_no_candidate() -> None:
    assert len(sample_grasps(draw(()), CandidateConfig())) == 0


def test_broken_depth_is_refused() -> None:
    good = draw((CARTON,))
    depth = good.depth.copy()
    depth[1, 5, 5] = np.nan
    with pytest.raises(SceneError, match="depth of view 1"):
        sample_grasps(Observation(good.rgb, depth, good.K, good.T_world_cam), CandidateConfig())


def test_tilted_approaches_can_be_turned_off() -> None:
    observation = draw(PILE)
    config = CandidateConfig(tilt=0.0, min_quality=0.0)
    assert (scored_grasps(observation, config).rotations[:, 2, 2] < -0.999).all()
    both = scored_grasps(observation, CandidateConfig(cover_quality=1.0, min_quality=0.0))
    tilted = both.rotations[:, 2, 2] > -0.999
    assert tilted.any()
    np.testing.assert_allclose(-both.rotations[tilted, 2, 2], np.cos(0.44), atol=1e-9)


def test_thinning_keeps_the_better_of_two_alike() -> None:
    rotation = np.diag([1.0, -1.0, -1.0])
    turned = rotation @ np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = ScoredGrasps(
        positions=np.array([[0.5, 0.0, 0.05], [0.505, 0.0, 0.05], [0.5, 0.0, 0.05], [0.6, 0.1, 0.02]]),
        rotations=np.stack([rotation, rotation, turned, rotation]),
        widths=np.full(4, 0.05, np.float32),
        quality=np.array([0.6, 0.8, 0.5, 0.3], np.float32),
        features=np.zeros((4, 1), np.float32),
    )
    # The weaker twin goes; another closing direction and another place stay; the best of each cell comes first.
    assert thin_out(found, CandidateConfig()).tolist() == [1, 3, 2]
    assert thin_out(found, CandidateConfig(per_cell=1)).tolist() == [1, 3]
    assert thin_out(found.take(np.zeros(0, dtype=np.int64)), CandidateConfig()).tolist() == []
