"""From a drawn scene to a semantic cloud: a box on a table under three cameras, with features that name what they show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from pydantic import ValidationError

from srcli.config.cloud import CloudConfig
from srcli.errors import SceneError
from srcli.evaluation.attempt import LazyPercept
from srcli.perception.cloud import farthest_points, neighbour_mean, select, unproject, voxel_means
from srcli.perception.pipeline import perceive, sentence
from srcli.types import Observation, Phase, TextEmbedding

HEIGHT, WIDTH = 144, 256
K = np.array([[183.0, 0.0, 127.5], [0.0, 183.0, 71.5], [0.0, 0.0, 1.0]])
BOX = (np.array([0.44, -0.05, 0.0]), np.array([0.54, 0.05, 0.06]))
EYES = ((0.5, 0.001, 0.8), (0.4, 0.6, 0.6), (0.6, -0.6, 0.6))


@dataclass(frozen=True)
class Dense:
    values: np.ndarray


def look_at(eye: tuple[float, float, float]) -> np.ndarray:
    forward = np.array([0.5, 0.0, 0.0]) - np.array(eye)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = eye
    return matrix


def draw(noise: float = 0.0, box: bool = True) -> Observation:
    rng = np.random.default_rng(5)
    depths, colours, poses = [], [], []
    for eye in EYES:
        pose = look_at(eye)
        column, row = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        rays = np.stack([(column - K[0, 2]) / K[0, 0], (row - K[1, 2]) / K[1, 1], np.ones_like(row)], axis=-1) @ pose[:3, :3].T
        table = -eye[2] / rays[..., 2]
        depth = np.where((table > 0) & (table < 2), table, 0.0)
        near, far = (BOX[0] - eye) / rays, (BOX[1] - eye) / rays
        enter, leave = np.minimum(near, far).max(axis=-1), np.maximum(near, far).min(axis=-1)
        hit = (enter < leave) & box
        depth = np.where(hit, enter, depth)
        depths.append(np.where(depth > 0, depth + rng.normal(0, noise, depth.shape), 0.0).astype(np.float32))
        colours.append(np.where(hit[..., None], [255, 0, 0], [0, 255, 0]).astype(np.uint8))
        poses.append(pose)
    return Observation(np.stack(colours), np.stack(depths), np.stack([K] * 3), np.stack(poses))


class ColourEncoder:
    """Features are the mean colour of a cell; the sentence "red" points to red."""

    def dense(self, rgb: np.ndarray) -> Dense:
        cells = rgb.reshape(len(rgb), HEIGHT // 8, 8, WIDTH // 8, 8, 3).mean(axis=(2, 4)).astype(np.float32) + 1.0
        return Dense(cells / np.linalg.norm(cells, axis=-1, keepdims=True))

    def text(self, sentences: Sequence[str]) -> list[TextEmbedding]:
        colours = {"red": [1.0, 0.0, 0.0], "green": [0.0, 1.0, 0.0]}
        return [
            TextEmbedding(np.array(colours[s], np.float32), np.zeros((1, 3), np.float32), np.ones(1, bool)) for s in sentences
        ]


def on_box(points: np.ndarray, slack: float = 0.008) -> np.ndarray:
    return ((points > BOX[0] - slack) & (points < BOX[1] + slack)).all(axis=1)


def test_pick_keeps_the_box_and_drops_a_noisy_table() -> None:
    points = unproject(draw(noise=0.0025), CloudConfig())
    assert on_box(points).mean() > 0.99
    # A hundred 1 cm squares on top; the top lies where it was drawn although pixels scatter by 2.5 mm.
    top = points[points[:, 2] > 0.05]
    assert 100 <= len(top) <= 170
    assert abs(np.median(top[:, 2]) - 0.06) < 0.002


def test_place_keeps_the_table() -> None:
    config = CloudConfig()
    points = unproject(draw(), config, "place")
    table = points[np.abs(points[:, 2]) < 0.002]
    assert len(table) > 1200
    assert (points[:, :2] > config.lower[:2]).all() and (points[:, :2] < config.upper[:2]).all()


def test_voxels_hold_the_mean_and_lone_pixels_are_dropped() -> None:
    points = np.array([[0.001, 0.001, 0.001], [0.003, 0.001, 0.003], [0.055, 0.05, 0.05]], np.float32)
    corner = np.zeros(3, np.float32), np.full(3, 0.1, np.float32)
    np.testing.assert_allclose(voxel_means(points, 0.01, *corner, min_pixels=2), [[0.002, 0.001, 0.002]], atol=1e-7)
    assert len(voxel_means(points, 0.01, *corner)) == 2


def test_the_cloud_is_the_same_every_time() -> None:
    first, second = (perceive(draw(noise=0.002), "red", ColourEncoder(), CloudConfig()) for _ in range(2))
    assert first.cloud.points.tobytes() == second.cloud.points.tobytes()
    assert first.cloud.similarity.tobytes() == second.cloud.similarity.tobytes()


def test_points_that_are_moved_before_fusion_take_what_lies_where_they_are_now() -> None:
    """Every point of the red box is moved onto the table beside it, which is not red; what lies below the table is not seen."""
    config = CloudConfig(select="all", smooth_radius=0.0)

    def beside(points: np.ndarray) -> np.ndarray:
        return np.array(points * [1, 1, 0] + [0.12, 0, 0], np.float32)

    calm = perceive(draw(), "red", ColourEncoder(), config).cloud
    moved = perceive(draw(), "red", ColourEncoder(), config, move=beside).cloud
    assert len(moved.points) > 100 and np.median(moved.similarity) < np.median(calm.similarity) - 0.1
    gone = perceive(draw(), "red", ColourEncoder(), config, move=lambda points: points - np.float32([0, 0, 0.2])).cloud
    assert len(gone.points) == len(gone.views) > 100 and not gone.features.any() and not gone.similarity.any()
    still = perceive(draw(), "red", ColourEncoder(), config, move=lambda points: points).cloud
    np.testing.assert_array_equal(still.features, calm.features)


def test_views_are_encoded_once_however_often_points_are_moved() -> None:
    class Counting(ColourEncoder):
        looks = 0

        def dense(self, rgb: np.ndarray) -> Dense:
            Counting.looks += 1
            return super().dense(rgb)

    look = LazyPercept(draw(), "red", Counting(), CloudConfig(select="all"), "pick")
    calm = look().cloud
    weak, strong = (look.moved(metres, np.random.default_rng(5)).cloud for metres in (1e-4, 2e-4))
    assert look.moved(1e-4, np.random.default_rng(5)).cloud is weak and Counting.looks == 1
    assert len(weak.points) == len(calm.points)
    np.testing.assert_allclose(strong.points - calm.points, 2 * (weak.points - calm.points), atol=1e-6)
    assert not np.array_equal(weak.features, calm.features)


def test_the_most_similar_points_lie_on_what_is_named() -> None:
    cloud = perceive(draw(), "red", ColourEncoder(), CloudConfig(count=60)).cloud
    assert on_box(cloud.points).all() and len(cloud.points) == 60 and cloud.features.shape == (60, 3)
    assert (np.diff(cloud.similarity) <= 0).all() and cloud.similarity.min() > 0.9
    assert cloud.views.min() >= 1 and cloud.views.max() == 3


def test_placing_keeps_what_is_named_and_the_table_around() -> None:
    config = CloudConfig(count=61)
    red = perceive(draw(), "red", ColourEncoder(), config, "place").cloud
    assert len(red.points) == 61 == len(np.unique(red.points, axis=0))
    assert on_box(red.points[:31]).all() and (np.diff(red.similarity[:31]) <= 0).all()
    rest = red.points[31:, :2]
    assert not on_box(red.points[31:], 0.0).all()
    # Thirty points spread over a table of 45 cm: each is several centimetres from the next.
    gaps = np.linalg.norm(rest[:, None] - rest[None], axis=2) + 9 * np.eye(30)
    assert gaps.min() > 0.03 and np.ptp(rest[:, 0]) > 0.35 and np.ptp(rest[:, 1]) > 0.35


class Listener(ColourEncoder):
    """Keeps what it was asked; a sentence is a vector of its own."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def text(self, sentences: Sequence[str]) -> list[TextEmbedding]:
        self.asked += sentences
        out = []
        for said in sentences:
            vector = np.array([len(said), 1.0, 0.0], np.float32) / np.hypot(len(said), 1)
            out.append(TextEmbedding(vector, np.full((1, 3), len(said), np.float32), np.ones(1, bool)))
        return out


@pytest.mark.parametrize(
    ("phase", "sentence", "asked"),
    [
        ("pick", "give me the pear", ["give me the pear"]),
        ("pick", "give me the pear and put it near the apple", ["give me the pear"]),
        ("place", "give me the pear and put it near the apple", ["put it near the apple", "give me the apple"]),
        ("place", "put it in the bowl", ["put it in the bowl", "give me the bowl"]),
        ("place", "over there", ["over there", "over there"]),
    ],
)
def test_each_phase_hears_its_half(phase: str, sentence: str, asked: list[str]) -> None:
    encoder = Listener()
    percept = perceive(draw(), sentence, encoder, CloudConfig(), phase)  # type: ignore[arg-type]
    assert encoder.asked == asked
    assert percept.text.tokens[0, 0] == len(asked[0])
    assert percept.text.pooled[0] / percept.text.pooled[1] == pytest.approx(len(asked[-1]))


@pytest.mark.parametrize(("select", "kept"), [("similarity", 40), ("farthest", 40), ("all", None)])
def test_selection(select: str, kept: int | None) -> None:
    config = CloudConfig(select=select, count=40)  # type: ignore[arg-type]
    cloud = perceive(draw(), "green", ColourEncoder(), config).cloud
    everything = unproject(draw(), config)
    assert len(cloud.points) == (kept or len(everything))
    # What is not similar enough to be kept still says where it stands.
    if select == "farthest":
        assert cloud.rest.shape == (0, 3), "nothing was left out for its meaning"
    else:
        both = np.concatenate([cloud.points, cloud.rest])
        assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, everything.tolist()))


def test_farthest_points_spread() -> None:
    line = np.stack([np.linspace(0, 1, 101), np.zeros(101), np.zeros(101)], axis=1).astype(np.float32)
    chosen = farthest_points(line, 5)
    np.testing.assert_allclose(np.sort(line[chosen, 0]), [0, 0.25, 0.5, 0.75, 1], atol=0.011)
    assert len(farthest_points(line, 500)) == 101
    assert farthest_points(line, 0).shape == (0,)


@pytest.mark.parametrize("phase", ["pick", "place"])
def test_one_point_can_be_kept_in_both_phases(phase: Phase) -> None:
    points, similarity = np.eye(3, dtype=np.float32), np.array([0.1, 0.9, 0.3], np.float32)
    assert select(points, similarity, CloudConfig(count=1), phase).tolist() == [1]


def test_neighbour_mean_equals_brute_force() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 0.1, (80, 3)).astype(np.float32)
    values = rng.normal(size=80).astype(np.float32)
    near = np.linalg.norm(points[:, None] - points[None], axis=-1) <= 0.02
    np.testing.assert_allclose(neighbour_mean(points, values, 0.02), near @ values / near.sum(axis=1), atol=1e-6)
    assert neighbour_mean(points, values, 0.0) is values


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(SceneError, match="above the table"):
        unproject(draw(box=False), CloudConfig())


def test_bounds_must_be_ordered() -> None:
    with pytest.raises(ValidationError, match="below"):
        CloudConfig(lower=(0.8, 0.0, 0.0))
    assert CloudConfig.model_validate({"lower": [0.2, -0.2, 0.0]}).lower == (0.2, -0.2, 0.0)


class Words:
    """Texts as their own axes of a space, so that every part of a direction can be told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]:
        self.asked.append(tuple(texts))
        axes = {"a mug": 0, "cup": 1, "give me the mug": 0, "put it near the mug, not the cup": 2}
        out = []
        for text in texts:
            pooled = np.eye(4, dtype=np.float32)[axes.get(text, 3)]
            out.append(TextEmbedding(pooled, pooled[None], np.ones(1, np.bool_)))
        return out


def test_what_a_sentence_denies_is_taken_from_its_direction() -> None:
    words = Words()
    read = sentence("a mug, not a cup", words, "pick", 0.75)  # type: ignore[arg-type]
    assert words.asked == [("a mug", "cup")]
    np.testing.assert_allclose(read.pooled, [0.8, -0.6, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(read.tokens[0], [1, 0, 0, 0])
    placed = sentence("put it near the mug, not the cup", words, "place", 0.75)  # type: ignore[arg-type]
    np.testing.assert_allclose(placed.pooled, [0.8, -0.6, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(placed.tokens[0], [0, 0, 1, 0])
    whole = sentence("a mug, not a cup", words, "pick")  # type: ignore[arg-type]
    np.testing.assert_array_equal(whole.pooled, [0, 0, 0, 1])
