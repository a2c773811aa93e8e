"""RVT-2: the renderer, projection, heat maps and upsampling against slow references; rotation; training; acting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from method_inputs import decision, from_above, placing, random_percept, shaken, write_features
from pydantic import ValidationError
from torch import Tensor

from srcli.actions.poses import approach_frames, canonical_quaternions
from srcli.artifacts.features import FeatureDataset
from srcli.errors import ArtifactError, ConfigError
from srcli.evaluation.exclusion import exclude
from srcli.learning.keyposes import KeyposeInput, KeyposeSample
from srcli.methods.base import Acting, Decision, Fitted, TrainingData
from srcli.methods.keypose import tried
from srcli.methods.policy_file import read_policy, write_policy
from srcli.methods.registry import settings, spec_of
from srcli.methods.rvt2 import RVT2, cube, layers, rotation
from srcli.methods.rvt2.network import Rvt2Network, build_network
from srcli.methods.rvt2.policy import build
from srcli.methods.rvt2.scenes import HALF, scenes_of
from srcli.methods.rvt2.section import Rvt2Config
from srcli.methods.rvt2.training import fit, lesson, losses
from srcli.perception.encoders.interface import DenseFeatures
from srcli.types import TextEmbedding


def cloud(count: int, seed: int = 0) -> Tensor:
    """Points in and a little around the cube."""
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 2.2 - 1.1


def looked_at(points: np.ndarray, size: int, radius: float) -> np.ndarray:
    """What each pixel of the three views shows, by going through all points for every pixel."""
    shown = np.full((3, size, size), -1)
    reach = np.float32(radius * 0.5 * size)
    for number, (first, second, depth) in enumerate(((0, 1, 2), (1, 2, 0), (0, 2, 1))):
        for i in range(size):
            for j in range(size):
                nearest = np.inf
                for index, point in enumerate(points):
                    if (abs(point) >= 1.0).any():
                        continue
                    u, v = (point[first] + 1) * np.float32(0.5 * size), (point[second] + 1) * np.float32(0.5 * size)
                    holds = int(u) == i and int(v) == j
                    away = (np.float32(i + 0.5) - u) ** 2 + (np.float32(j + 0.5) - v) ** 2
                    if (holds or away <= reach * reach) and 1.0 - point[depth] < nearest:
                        nearest, shown[number, i, j] = 1.0 - point[depth], index
    return shown


@pytest.mark.parametrize("radius", [0.001, 0.12, 0.3])
def test_the_renderer_shows_the_nearest_point_of_every_pixel(radius: float) -> None:
    clouds = [cloud(60, 1), cloud(45, 2)]
    rows = torch.tensor([0] * 60 + [1] * 45)
    index = cube.draw(torch.cat(clouds), rows, 3, 12, radius)
    for scene, (points, before) in enumerate(zip(clouds, (0, 60), strict=True)):
        reference = looked_at(points.numpy(), 12, radius)
        expected = np.where(reference < 0, 105, reference + before)
        np.testing.assert_array_equal(index[scene].numpy(), expected)
    assert (index[2] == 105).all(), "a scene without points shows none"


def test_of_two_points_at_one_place_the_nearer_is_seen_from_each_side_and_the_first_of_equals() -> None:
    points = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.1, 0.5], [0.1, 0.6, 0.1], [0.7, 0.1, 0.1], [0.1, 0.1, 0.5]])
    top, front, right = cube.draw(points, torch.zeros(5, dtype=torch.int64), 1, 4, 0.01)[0]
    assert (top[2, 2], front[2, 2], right[2, 2]) == (1, 3, 2)


def test_centres_of_pixels_project_onto_themselves() -> None:
    size = 7
    centres = cube.pixel_centres(size)
    grid = torch.stack(torch.meshgrid(centres, centres, centres, indexing="ij"), dim=-1)
    at = cube.project(grid, size)
    for number, view in enumerate(cube.VIEWS):
        index = torch.stack(torch.meshgrid(*[torch.arange(size)] * 3, indexing="ij"), dim=-1) + 0.5
        torch.testing.assert_close(at[:, :, :, number], index[..., [view.first, view.second]])


def test_channels_are_position_value_depth_by_its_mean_and_pixel() -> None:
    points, colors, size = cloud(80, 3), torch.rand(80, 3), 10
    index = cube.draw(points, torch.zeros(80, dtype=torch.int64), 1, size, 0.15)
    made = cube.images(index, points, colors)[0]
    assert made.shape == (3, 10, size, size)
    for number, view in enumerate(cube.VIEWS):
        depths = [1 - points[k, view.depth] for k in index[0, number].flatten() if k < 80]
        mean = sum(depths) / len(depths)
        for i in range(size):
            for j in range(size):
                k, pixel = int(index[0, number, i, j]), torch.zeros(3)
                pixel[view.first], pixel[view.second] = -1 + (2 * i + 1) / size, -1 + (2 * j + 1) / size
                torch.testing.assert_close(made[number, 7:, i, j], pixel)
                if k == 80:
                    assert (made[number, :7, i, j] == 0).all()
                else:
                    expected = torch.cat([points[k], colors[k], (1 - points[k, view.depth])[None] / mean])
                    torch.testing.assert_close(made[number, :7, i, j], expected)


def test_targets_are_gaussians_cut_off_at_three_sigma() -> None:
    points, size, sigma = torch.tensor([[0.13, -0.7, 0.94], [0.2, 0.3, 1.2]]), 20, 1.5
    maps = cube.gaussians(points, size, sigma)
    assert (maps[1] == 0).all(), "a point outside the cube asks for nothing"
    torch.testing.assert_close(maps[0].sum(dim=(1, 2)), torch.ones(3))
    for number, view in enumerate(cube.VIEWS):
        expected = np.zeros((size, size))
        for i in range(size):
            for j in range(size):
                away = [(float(points[0, a]) + 1) * size / 2 - (k + 0.5) for a, k in ((view.first, i), (view.second, j))]
                square = away[0] ** 2 + away[1] ** 2
                expected[i, j] = np.exp(-square / (2 * sigma**2)) if square <= (3 * sigma) ** 2 else 0.0
        np.testing.assert_allclose(maps[0, number].numpy(), expected / expected.sum(), atol=1e-6)


def test_the_point_is_the_best_of_the_grid_by_the_mean_of_softmaxed_maps() -> None:
    size = 6
    maps = 3 * torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(4))
    blocked = torch.rand(2, size, size, size, generator=torch.Generator().manual_seed(5)) < 0.5
    scores = cube.grid_scores(maps)
    softmaxed = np.exp(maps.numpy()) / np.exp(maps.numpy()).sum(axis=(2, 3), keepdims=True)
    for free in (None, blocked):
        found, score = cube.best_point(maps, free)
        for b in range(2):
            best, where = -np.inf, np.zeros(3)
            for x in range(size):
                for y in range(size):
                    for z in range(size):
                        value = (softmaxed[b, 0, x, y] + softmaxed[b, 1, y, z] + softmaxed[b, 2, x, z]) / 3
                        assert scores[b, x, y, z].item() == pytest.approx(value, rel=1e-5)
                        if value > best and not (free is not None and free[b, x, y, z]):
                            best, where = value, -1 + (2 * np.array([x, y, z]) + 1) / size
            np.testing.assert_allclose(found[b].numpy(), where, atol=1e-6)
            assert score[b].item() == pytest.approx(best, rel=1e-5)
    assert torch.isneginf(cube.best_point(maps, torch.ones_like(blocked))[1]).all()


def test_the_target_s_own_maps_lead_back_to_the_point() -> None:
    points = torch.tensor([[0.31, -0.52, 0.07], [-0.9, 0.9, -0.66]])
    found, _ = cube.best_point(cube.gaussians(points, 64, 1.5).clamp_min(1e-9).log())
    assert (found - points).abs().max() <= 1 / 64 + 1e-6


def test_convex_upsampling_is_a_convex_combination_of_the_nine_around() -> None:
    m, n, ratio = 2, 3, 4
    generator = torch.Generator().manual_seed(6)
    coarse, weights = torch.randn(m, 1, n, n, generator=generator), torch.randn(m, 9 * ratio**2, n, n, generator=generator)
    fine = layers.combine(coarse, weights, ratio)
    assert fine.shape == (m, n * ratio, n * ratio)
    for k in range(m):
        for i in range(n * ratio):
            for j in range(n * ratio):
                row, column, inner = i // ratio, j // ratio, (i % ratio) * ratio + j % ratio
                logits = np.array([float(weights[k, w * ratio**2 + inner, row, column]) for w in range(9)])
                share = np.exp(logits) / np.exp(logits).sum()
                around = [
                    float(coarse[k, 0, min(max(row + a, 0), n - 1), min(max(column + b, 0), n - 1)])
                    for a in (-1, 0, 1)
                    for b in (-1, 0, 1)
                ]
                assert float(fine[k, i, j]) == pytest.approx(float(share @ around), abs=1e-5)


def test_sampling_is_bilinear_between_the_centres_of_cells() -> None:
    n = 4
    maps = torch.randn(1, 3, 2, n, n, generator=torch.Generator().manual_seed(7))
    at = torch.tensor([[[-0.3, 0.55], [0.99, -1.0], [0.0, 0.25]]])
    taken = layers.sample(maps, at)
    for view in range(3):
        u, v = ((float(x) + 1) * n / 2 - 0.5 for x in at[0, view])
        for channel in range(2):
            total = 0.0
            for i in range(n):
                for j in range(n):
                    wide, high = min(max(u, 0), n - 1), min(max(v, 0), n - 1)
                    total += float(maps[0, view, channel, i, j]) * max(0, 1 - abs(wide - i)) * max(0, 1 - abs(high - j))
            assert float(taken[0, view, channel]) == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("tilt", [0.0, 0.44])
def test_classes_of_rotation_hold_every_grasp_and_half_a_turn_is_the_same(tilt: float) -> None:
    frames = np.concatenate([approach_frames(12), approach_frames(4, tilt)]) if tilt else approach_frames(12)
    for frame, quaternion in zip(frames, canonical_quaternions(frames), strict=True):
        yaw, tilted = rotation.encode(quaternion, 0.44)
        assert -np.pi / 2 <= yaw < np.pi / 2 and (tilted > 0) == (frame[2, 2] > -0.99)
        np.testing.assert_allclose(rotation.decode(yaw, tilted, 0.44), quaternion, atol=1e-5)
        half = canonical_quaternions((frame * np.array([-1.0, -1.0, 1.0]))[None])[0]
        again = rotation.encode(half, 0.44)
        assert again[1] == tilted and np.cos(2 * (again[0] - yaw)) > 1 - 1e-9


def test_a_bin_of_yaw_is_never_wrong_by_more_than_half_its_width_round_the_half_turn() -> None:
    for yaw in np.linspace(-np.pi / 2, np.pi / 2, 201, endpoint=False):
        number = rotation.yaw_bin(float(yaw), 24)
        assert 0 <= number < 24
        apart = abs(rotation.bin_yaw(number, 24) - yaw)
        assert min(apart, np.pi - apart) <= np.pi / 48 + 1e-9


# -------------------------------------------------------------------------------- network and training


def section(**changes: Any) -> Rvt2Config:
    dotted = {key.replace("__", "."): value for key, value in {**SMALL, **changes}.items()}
    made = settings(spec_of("rvt2_features"), Rvt2Config(), dotted)
    assert isinstance(made, Rvt2Config)
    return made


SMALL = {
    "network.size": 16,
    "network.patch": 4,
    "network.width": 16,
    "network.heads": 2,
    "network.within": 1,
    "network.joint": 1,
    "network.map_width": 8,
    "network.pixel_width": 4,
    "network.splat": 0.02,
    "network.feature_splat": 0.02,
    "train.batch_size": 4,
    "train.precision": "fp32",
    "train.warmup": 1,
    "train.validate_every": 4,
    "train.checkpoint_every": 4,
}


def sample(seed: int, place: bool = False, words: int = 3) -> KeyposeSample:
    """A scene whose grasp lies where it is red; the jaws close along x."""
    rng = np.random.default_rng(seed)
    points = rng.uniform([0.3, -0.2, 0.0], [0.7, 0.2, 0.06], (150, 3)).astype(np.float32)
    target = rng.uniform([0.4, -0.1, 0.02], [0.6, 0.1, 0.05]).astype(np.float32)
    points[:40] = target + rng.normal(0, 0.01, (40, 3))
    colors = np.full((150, 3), 90, np.uint8)
    colors[:40] = (250, 20, 20)
    features = rng.normal(size=(60, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    given = KeyposeInput(
        cells=points[:60],
        features=features,
        points=points,
        colors=colors,
        text=features[0],
        tokens=features[:words].copy(),
        token_mask=np.arange(words) < 2,
        place=place,
        held=np.array([0.03, 0.02, 0.05] if place else [0, 0, 0], np.float32),
    )
    return KeyposeSample(given, np.array([*target, 1.0, 0.0, 0.0, 0.0], np.float32))


def network(config: Rvt2Config) -> Rvt2Network:
    return build_network(config.network, 8, HALF, 3)


def test_every_parameter_of_both_stages_learns() -> None:
    config = section()
    net = shaken(network(config))
    batch = lesson([sample(0), sample(1, place=True), sample(2)], config, np.random.default_rng(0))
    cost, _ = losses(net, batch, config.train.sigma)
    cost.total(1.0).mean().backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []


def test_padding_words_and_other_decisions_of_a_batch_change_nothing() -> None:
    config = section()
    net = shaken(network(config)).eval()
    few, many = sample(0, words=5), sample(0, words=5)
    many.given.tokens[3:] = 7.0
    # What stands in masked words does not matter, nor what else is in the batch.
    alone = net.first(scenes_of([few.given], True)).heat
    beside = net.first(scenes_of([sample(4, words=5).given, many.given], True)).heat
    torch.testing.assert_close(beside[1:], alone, atol=1e-5, rtol=1e-5)
    shorter = replace(few.given, tokens=few.given.tokens[:2], token_mask=few.given.token_mask[:2])
    torch.testing.assert_close(net.first(scenes_of([shorter], True)).heat, alone, atol=1e-5, rtol=1e-5)


def test_the_second_stage_sees_the_neighbourhood_alone_and_closer() -> None:
    config = section()
    scenes = scenes_of([sample(0).given], True)
    centre = torch.tensor([[0.1, -0.2, -0.5]])
    near = scenes.about(centre, 4.0)
    inside = [k for k, p in enumerate(scenes.points) if ((p - centre[0]).abs() * 4 < 1).all()]
    torch.testing.assert_close(near.points, (scenes.points[inside] - centre) * 4)
    torch.testing.assert_close(near.colors, scenes.colors[inside])
    net = network(config)
    torch.testing.assert_close(net.back(net.closer(scenes.points[:1], centre), centre), scenes.points[:1])


def test_a_keypose_that_left_the_cube_asks_for_nothing() -> None:
    config = section()
    away = replace(sample(0), pose=np.array([0.9, 0.0, 0.05, 1, 0, 0, 0], np.float32))
    cost, _ = losses(network(config), lesson([away], config, np.random.default_rng(0)), 1.5)
    assert cost.total(1.0).tolist() == [0.0]


def test_the_second_stage_trains_about_the_first_one_s_point_only_where_the_true_one_stays_in_view() -> None:
    config = section()
    net = network(config)
    batch = lesson([sample(0)], config, None)
    shown: list[Tensor] = []
    second = net.second
    net.second = lambda scenes, centres: (shown.append(centres), second(scenes, centres))[1]  # type: ignore[method-assign]
    found, _ = cube.best_point(net.first(batch.scenes).heat)
    losses(net, replace(batch, points=found + 0.1), 1.5)
    losses(net, replace(batch, points=found + 0.1, own=torch.tensor([False])), 1.5)
    far = torch.where(found > 0, found - 0.4, found + 0.4)
    losses(net, replace(batch, points=far), 1.5)
    torch.testing.assert_close(shown[0], found)
    torch.testing.assert_close(shown[1], found + 0.1)
    torch.testing.assert_close(shown[2], far)


def test_a_jitter_that_leaves_the_second_stage_s_cube_is_refused() -> None:
    sections = ({"train": {"jitter": 0.25}}, {"network": {"zoom": 2.0}, "train": {"jitter": 0.5}})
    for section in sections:
        Rvt2Config.model_validate(section)
    with pytest.raises(ValidationError, match=r"train\.jitter = 0\.26 .* at most 1 / network\.zoom = 0\.25"):
        Rvt2Config.model_validate({"train": {"jitter": 0.26}})
    with pytest.raises(ConfigError, match=r"methods\.rvt2.*network\.zoom = 0\.0625"):
        settings(RVT2, Rvt2Config(), {"network.zoom": 16.0})


def test_sizes_that_do_not_divide_each_other_are_refused() -> None:
    for changes, line in (({"network__heads": 3}, "heads = 3"), ({"network__patch": 5}, "patch = 5")):
        with pytest.raises(ConfigError, match=line):
            network(section(**changes))


# -------------------------------------------------------------------------------- fitting, acting


class TinyEncoder:
    """As much of an encoder as the method asks for."""

    dim = 8

    def dense(self, rgb: np.ndarray) -> DenseFeatures:
        values = np.random.default_rng(0).normal(size=(len(rgb), 20, 20, self.dim)).astype(np.float32)
        return DenseFeatures(values / np.linalg.norm(values, axis=-1, keepdims=True))

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]:
        return [TextEmbedding(np.eye(8, dtype=np.float32)[0], np.eye(8, dtype=np.float32)[:3], np.ones(3, bool)) for _ in texts]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureDataset:
    return FeatureDataset(write_features(tmp_path_factory.mktemp("rvt2") / "features.h5", count=10))


class MadeUp:
    """Four scenes to learn, one kept back."""

    train, valid, feature_dim, tokens = np.arange(4), np.array([4]), 8, 3

    def __init__(self, features: FeatureDataset | None) -> None:
        pass

    def sample(self, index: int) -> KeyposeSample:
        return sample(index)

    def draw(self, update: int, size: int, seed: int, *, turn: float, shift: float) -> list[KeyposeSample]:
        return [self.sample((update + number) % 4) for number in range(size)]


def made(data: FeatureDataset, config: Rvt2Config, checkpoint: Path, progress: Any = None) -> Fitted:
    return fit(config, TrainingData(features=data), seed=1, device="cpu", checkpoint=checkpoint, progress=progress)


@pytest.fixture
def four_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srcli.methods.rvt2.training.KeyposeSet", MadeUp)


@pytest.mark.usefixtures("four_scenes")
def test_it_learns_a_few_scenes_and_says_how_well(features: FeatureDataset, tmp_path: Path) -> None:
    fitted = made(features, section(train__updates=40, train__lr=0.01, train__validate_every=40), tmp_path / "c")
    curve = fitted.curves["train_loss"]
    assert 0 < curve[-1] < 0.75 * curve[0]
    assert fitted.updates == 40 and fitted.samples == 4
    assert set(fitted.metrics) == {
        *("valid_loss", "valid_metres", "valid_coarse_metres", "valid_near", "valid_radians", "valid_tilt")
    }
    assert all(np.isfinite(value) for value in fitted.metrics.values())
    assert {value.dtype for value in fitted.weights.values()} == {np.dtype(np.float16)}


@pytest.mark.usefixtures("four_scenes")
def test_an_interrupted_fit_goes_on_to_the_same_weights(features: FeatureDataset, tmp_path: Path) -> None:
    config = section(train__updates=6, train__checkpoint_every=2, train__validate_every=3)
    whole = made(features, config, tmp_path / "whole")

    def stop(done: int, total: int, text: str) -> None:
        if done == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        made(features, config, tmp_path / "part", stop)
    rest = made(features, config, tmp_path / "part")
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(rest.weights[name], value)


def seen(place: bool = False) -> Decision:
    percept = random_percept()
    given = (placing if place else decision)([[0.45, 0.0, 0.03], [0.5, 0.05, 0.04]], percept=lambda: percept)
    return replace(given, observation=from_above())


def policy(config: Rvt2Config, seed: int = 0) -> Acting:
    return build(config, None, TinyEncoder(), "cpu", seed)


def test_a_pose_that_has_failed_is_never_repeated() -> None:
    acting, given, failed = policy(section(network__size=32)), seen(), []
    for _ in range(6):
        given = replace(given, failed=tuple(failed), repeats=partial(exclude, failed=tuple(failed)))
        action = acting.act(given).action
        assert action.index is None and action.pose[2] >= 0.0
        assert not tried(given, action.pose[None])[0]
        assert all(np.linalg.norm(action.pose[:3] - pose[:3]) > 0.02 for pose in failed)
        failed.append(action.pose)


def test_where_everything_repeats_a_failure_the_pose_is_still_its_own() -> None:
    given = replace(seen(), failed=(np.zeros(7, np.float32),), repeats=lambda poses: np.ones(len(poses), bool))
    assert policy(section()).act(given).action.index is None


def test_a_placement_keeps_its_yaw_and_snapping_takes_a_candidate() -> None:
    action = policy(section()).act(seen(place=True)).action
    np.testing.assert_array_equal(action.pose[3:], [1, 0, 0, 0])
    assert (action.kind, action.index, action.width) == ("place", None, 0.0)
    for place in (False, True):
        snapped = policy(section(act__snap=True)).act(seen(place)).action
        assert snapped.index in (0, 1)


def test_the_untrained_control_follows_from_its_seed_and_dense_features_matter() -> None:
    poses = [policy(section(), seed).act(seen()).action.pose for seed in (0, 0, 1)]
    np.testing.assert_array_equal(poses[0], poses[1])
    assert not np.array_equal(poses[0], poses[2])
    config, given = section(), sample(0).given
    net = network(config)
    other = replace(given, features=np.roll(given.features, 7, axis=0))
    assert not torch.allclose(net.first(scenes_of([given], True)).heat, net.first(scenes_of([other], True)).heat)


def test_saved_weights_act_as_the_fitted_ones(features: FeatureDataset, tmp_path: Path) -> None:
    config, spec = section(train__updates=2), spec_of("rvt2_features")
    fitted = made(features, config, tmp_path / "c")
    write_policy(tmp_path / "p.h5", spec, config, fitted, seed=1, encoder={"name": "made-up", "dim": 8}, data="digest")
    stored = read_policy(tmp_path / "p.h5").weights
    first, again = (build(config, stored, TinyEncoder(), "cpu", seed).act(seen()).action.pose for seed in (0, 5))
    np.testing.assert_array_equal(first, again)
    with pytest.raises(ArtifactError, match="do not fit"):
        build(config, replace(stored, arrays={**stored.arrays, "x": np.ones(1)}), TinyEncoder(), "cpu", 0)
    with pytest.raises(ArtifactError, match="does not say"):
        build(config, replace(stored, training={}), TinyEncoder(), "cpu", 0)
