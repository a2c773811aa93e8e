"""The network on a gripper's closing region: what it reads, its symmetry, its file, and its place in the sampler."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from test_grasps import Box, draw

from srcli.actions.closing import (
    GRASP_INPUTS,
    LAYERS,
    LOWER,
    POINT_INPUTS,
    SHIPPED,
    UPPER,
    ClosingNetwork,
    Regions,
    crop,
    inputs,
    load_network,
    turned,
)
from srcli.actions.features import FEATURES
from srcli.actions.grasps import rescored, sample_grasps, scored_grasps
from srcli.actions.heightmaps import surface_points
from srcli.actions.quality import rounded
from srcli.config.candidates import CandidateConfig
from srcli.errors import ArtifactError, MissingAssetError
from srcli.pretraining.grasp_quality.network import Closing

DOWN = np.diag([1.0, -1.0, -1.0])
MEAN, SCALE = np.full(len(FEATURES), 1.0, np.float32), np.full(len(FEATURES), 2.0, np.float32)


def none_of(total: int) -> np.ndarray:
    return np.zeros((total, len(FEATURES)), np.float32)


def network(seed: int = 0, points: int = 24) -> ClosingNetwork:
    torch.manual_seed(seed)
    return ClosingNetwork(Closing((6, 8, 10, 7), MEAN, SCALE).arrays(), points)


def regions(seed: int = 0, total: int = 5, most: int = 24) -> Regions:
    rng = np.random.default_rng(seed)
    count = np.array([0, 1, most, most // 2, 3])[:total]
    points = rng.uniform(LOWER, UPPER, (total, most, 3)).astype(np.float32)
    points[np.arange(most) >= count[:, None]] = 0
    grasps = np.stack([rng.uniform(0.01, 0.08, total), rng.uniform(0, 0.1, total), rng.uniform(0.8, 1, total)], axis=1)
    features = rng.normal(1, 2, (total, len(FEATURES)))
    return Regions(points, count, grasps.astype(np.float32), features.astype(np.float32))


def test_crop_against_one_grasp_after_the_other() -> None:
    rng = np.random.default_rng(1)
    cloud = rng.uniform([0.4, -0.1, 0.0], [0.6, 0.1, 0.12], (4000, 3)).astype(np.float32)
    angle = rng.uniform(0, 3, 6)
    turns = np.array([[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angle])
    positions, widths = rng.uniform([0.42, -0.08, 0.01], [0.58, 0.08, 0.1], (6, 3)), np.full(6, 0.05, np.float32)
    found = crop(cloud, positions, turns @ DOWN, widths, none_of(6), 4000)
    for row in range(6):
        tool = (cloud - positions[row]) @ (turns[row] @ DOWN)
        inside = tool[((tool >= LOWER) & (tool <= UPPER)).all(axis=1)]
        assert abs(found.count[row] - len(inside)) <= 1  # a point on the border, in another precision
        if found.count[row] == len(inside):
            np.testing.assert_allclose(found.points[row, : len(inside)], inside, atol=1e-6)
    few = crop(cloud, positions, turns @ DOWN, widths, none_of(6), 10)
    assert (few.count == 10).all()
    full = {tuple(point) for point in found.points[0]}
    assert all(tuple(point) in full for point in few.points[0])
    np.testing.assert_allclose(few.grasps, [[0.05, z, 1.0] for z in positions[:, 2]], rtol=1e-6)


def test_no_points_and_no_grasps() -> None:
    empty = crop(np.zeros((0, 3), np.float32), np.zeros((2, 3)), np.stack([DOWN, DOWN]), np.zeros(2, np.float32), none_of(2), 8)
    assert empty.count.tolist() == [0, 0]
    assert np.isfinite(network().score(empty)).all()
    none = crop(np.ones((5, 3), np.float32), np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros(0, np.float32), none_of(0), 8)
    assert network().score(none).shape == (0,)


def test_the_network_in_numpy_is_the_one_that_is_trained() -> None:
    torch.manual_seed(0)
    module = Closing((6, 8, 10, 7), MEAN, SCALE)
    read = regions()
    answers = []
    for side in (read, turned(read)):
        each, grasp = inputs(side)
        assert (each.shape[2], grasp.shape[1]) == (POINT_INPUTS, GRASP_INPUTS)
        there = torch.from_numpy(np.arange(24) < side.count[:, None])
        with torch.no_grad():
            answers.append(module(torch.from_numpy(each), torch.from_numpy(grasp), torch.from_numpy(side.features), there))
    expected = torch.sigmoid(sum(answers) / 2).numpy()
    np.testing.assert_allclose(ClosingNetwork(module.arrays(), 24).score(read), expected, atol=1e-6)


def test_padding_order_and_exchanged_fingers_change_nothing() -> None:
    read, model = regions(), network()
    score = model.score(read)
    np.testing.assert_allclose(model.score(turned(read)), score, atol=1e-6)
    more = np.concatenate([read.points, np.full_like(read.points, 9.0)], axis=1)
    wider = Regions(more, read.count, read.grasps, read.features)
    # The share of points that there is room for is an input: as many again is half of it.
    half = ClosingNetwork({k: v.copy() for k, v in model.weights.items()}, 48)
    half.weights["pooled.weight"][:, -1 - len(FEATURES)] *= 2
    np.testing.assert_allclose(half.score(wider), score, atol=1e-6)
    shuffled = read.points.copy()
    for row, count in enumerate(read.count):
        shuffled[row, :count] = shuffled[row, np.random.default_rng(row).permutation(count)]
    np.testing.assert_allclose(model.score(Regions(shuffled, read.count, read.grasps, read.features)), score, atol=1e-6)
    assert score.std() > 0
    others = Regions(read.points, read.count, read.grasps, read.features + 1)
    assert not np.allclose(model.score(others), score, atol=1e-3)


def test_quality_is_what_double_precision_rounds_to_whatever_single_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of 3.9e-6 on single precision, six times what kernels differ by, would round every fiftieth otherwise."""
    rng = np.random.default_rng(0)
    read = regions()
    read = read.take(rng.integers(0, len(read), 3000))
    read = Regions(read.points, read.count, read.grasps, read.features + rng.normal(0, 1, read.features.shape).astype(np.float32))
    model, probability = network(), ClosingNetwork._probability
    exact = model._probability(read, np.float64)
    assert len(np.unique(rounded(exact))) > 100
    np.testing.assert_allclose(exact, model.score(read), atol=1e-6)
    noise = rng.uniform(-3.9e-6, 3.9e-6, 3000)
    assert 20 < (rounded(exact + noise) != rounded(exact)).sum() < 200

    def noisy(self: ClosingNetwork, regions: Regions, precision: type) -> np.ndarray:
        return probability(self, regions, precision) + (noise if precision is np.float32 else 0.0)

    monkeypatch.setattr(ClosingNetwork, "_probability", noisy)
    np.testing.assert_array_equal(model.quality(read), rounded(exact))


def test_a_file_comes_back_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "grasp.safetensors"
    network().save(path)
    back = load_network(path)
    assert back.points == 24
    assert len(back.sha256) == 64
    np.testing.assert_array_equal(back.score(regions()), network().score(regions()))

    with pytest.raises(MissingAssetError, match="no such file"):
        load_network(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        load_network(tmp_path / "cut.safetensors")
    other = dict(network().weights)
    other["point2.weight"] = other["point2.weight"][:, :-1]
    ClosingNetwork(other, 24).save(tmp_path / "other.safetensors")
    with pytest.raises(ArtifactError, match="not a network that scores grasps"):
        load_network(tmp_path / "other.safetensors")
    sick = {name: value.copy() for name, value in network().weights.items()}
    sick[f"{LAYERS[0]}.bias"][0] = np.nan
    ClosingNetwork(sick, 24).save(tmp_path / "sick.safetensors")
    with pytest.raises(ArtifactError, match="not a network"):
        load_network(tmp_path / "sick.safetensors")


@pytest.mark.parametrize("header", ["[" * 100_000, "1" * 5_000, "[]", "{", "null", '{"format": "srcli-closing-2"}'])
def test_a_damaged_header_of_a_network_is_refused(header: str, tmp_path: Path) -> None:
    path = tmp_path / "grasp.safetensors"
    save_file(dict(network().weights), path, metadata={"srcli": header})
    with pytest.raises(ArtifactError, match=r"not a (safetensors file|network that scores grasps)") as caught:
        load_network(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("points", [0, -1, 10**12, "24", 24.5, True, None])
def test_a_network_reads_a_number_of_points_that_there_can_be(points: object, tmp_path: Path) -> None:
    path = tmp_path / "grasp.safetensors"
    header = json.dumps({"format": "srcli-closing-2", "points": points})
    save_file(dict(network().weights), path, metadata={"srcli": header})
    with pytest.raises(ArtifactError, match="not a network that scores grasps"):
        load_network(path)


@pytest.mark.parametrize(("name", "value"), [("point1.weight", 1e30), ("features.scale", 0.0), ("features.scale", 1e-40)])
def test_a_network_that_would_overflow_is_refused(name: str, value: float, tmp_path: Path) -> None:
    weights = {key: array.copy() for key, array in network().weights.items()}
    weights[name].flat[0] = value
    ClosingNetwork(weights, 24).save(tmp_path / "grasp.safetensors")
    with pytest.raises(ArtifactError, match="not a network that scores grasps"):
        load_network(tmp_path / "grasp.safetensors")


def test_a_network_of_the_largest_numbers_scores_without_a_warning(tmp_path: Path) -> None:
    largest = {key: np.where(array < 0, -1e4, 1e4).astype(np.float32) for key, array in network().weights.items()}
    largest["features.scale"][:] = 1e-7
    ClosingNetwork(largest, 24).save(tmp_path / "grasp.safetensors")
    with np.errstate(all="raise"):
        found = load_network(tmp_path / "grasp.safetensors").score(regions())
    assert np.isfinite(found).all()


def test_the_sampler_takes_its_quality_from_the_network(tmp_path: Path) -> None:
    observation = draw((Box(0.5, 0.0, (0.04, 0.06, 0.05)), Box(0.42, 0.08, (0.03, 0.03, 0.07), 0.4)))
    path = tmp_path / "grasp.safetensors"
    network(points=64).save(path)
    config = CandidateConfig(quality=str(path), min_quality=0.0)
    found, plain = sample_grasps(observation, config), sample_grasps(observation, CandidateConfig(min_quality=0.0))
    assert 0 < len(found) <= config.count
    assert not np.array_equal(np.sort(found.quality), np.sort(plain.quality))
    points = surface_points(observation, config)
    rated = rescored(scored_grasps(observation, config), points, config, path)
    read = crop(points, rated.positions, rated.rotations, rated.widths, rated.features, 64)
    np.testing.assert_array_equal(load_network(path).quality(read), rated.quality)
    assert set(found.quality) <= set(rated.quality)
    assert found.quality[0] == found.quality.max()
    best = float(found.quality.max())
    assert len(sample_grasps(observation, config.model_copy(update={"min_quality": best + 0.01}))) == 0


def test_the_package_rates_with_its_own_network() -> None:
    observation = draw((Box(0.5, 0.0, (0.04, 0.06, 0.05)), Box(0.42, 0.08, (0.03, 0.03, 0.07), 0.4)))
    named = sample_grasps(observation, CandidateConfig(quality=str(SHIPPED)))
    found = sample_grasps(observation, CandidateConfig())
    np.testing.assert_array_equal(found.quality, named.quality)
    np.testing.assert_array_equal(found.poses, named.poses)
    assert found.quality[0] > 0.8  # free-standing blocks that fit between the fingers
    note = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert note["sha256"] == load_network(SHIPPED).sha256
