"""3D Diffuser Actor: schedules, steps, rotary attention and rotations against slow references; masks, samples, learning."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from method_inputs import decision, shaken, write_features
from scipy.spatial.transform import Rotation

from srcli.artifacts.features import FeatureDataset
from srcli.errors import ConfigError
from srcli.evaluation.exclusion import exclude
from srcli.learning.keyposes import WORKSPACE, KeyposeInput
from srcli.learning.loop import Loop
from srcli.methods.base import Fitted, TrainingData
from srcli.methods.diffuser_actor.attention import Layer, Rotary
from srcli.methods.diffuser_actor.inputs import scenes_of
from srcli.methods.diffuser_actor.network import DiffuserNetwork, Scenes, build_network, farthest
from srcli.methods.diffuser_actor.noising import Diffusion, Flow, scaled_linear, squared_cosine
from srcli.methods.diffuser_actor.policy import DiffuserPolicy
from srcli.methods.diffuser_actor.rotation import from_nine, to_nine
from srcli.methods.diffuser_actor.sampling import denoised, densest, fresh
from srcli.methods.diffuser_actor.section import DiffuserConfig, DiffuserNetworkConfig, DiffuserNoiseConfig
from srcli.methods.diffuser_actor.training import fit
from srcli.methods.keypose import distances, tried
from srcli.methods.networks import turn_pairs
from srcli.methods.registry import settings, spec_of
from srcli.types import F32, F64

DIM, CELLS, WORDS = 8, 20, 3
SMALL = {"width": 12, "heads": 2, "self_layers": 2, "head_layers": 2, "cross_layers": 2, "gripper_layers": 2}


def given(seed: int = 0, place: bool = False, cells: int = CELLS) -> KeyposeInput:
    rng = np.random.default_rng(seed)
    lower, upper = WORKSPACE

    def unit(*shape: int) -> F32:
        values = rng.normal(size=shape).astype(np.float32)
        return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True), np.float32)

    return KeyposeInput(
        cells=rng.uniform(lower, upper, (cells, 3)).astype(np.float32),
        features=unit(cells, DIM),
        points=np.zeros((0, 3), np.float32),
        colors=np.zeros((0, 3), np.uint8),
        text=unit(DIM),
        tokens=unit(WORDS, DIM),
        token_mask=np.ones(WORDS, bool),
        place=place,
        held=np.full(3, 0.05 if place else 0.0, np.float32),
    )


def scenes(*which: KeyposeInput) -> Scenes:
    return scenes_of(which or [given(0), given(1, place=True)], 0, np.random.default_rng(0))


def network(**changes: Any) -> DiffuserNetwork:
    config = DiffuserNetworkConfig.model_validate({**SMALL, **changes})
    made: DiffuserNetwork = shaken(build_network(config, DIM, 1)).eval()
    return made


def noisy(count: int, rows: int = 2, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    poses = torch.from_numpy(rng.normal(size=(rows, count, 9)).astype(np.float32))
    return poses, torch.from_numpy(rng.integers(0, 100, (rows, count)).astype(np.float32))


def random_poses(count: int, seed: int = 0) -> F32:
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(*WORKSPACE, (count, 3))
    return np.concatenate([xyz, Rotation.random(count, random_state=seed).as_quat()], axis=1).astype(np.float32)


# Schedules and steps


def slow_betas(kind: str, steps: int, last: float) -> list[float]:
    betas = []
    for k in range(steps):
        if kind == "position":
            root = math.sqrt(1e-4) + (math.sqrt(last) - math.sqrt(1e-4)) * k / (steps - 1)
            betas.append(root * root)
        else:
            share = [math.cos(((k + i) / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in (0, 1)]
            betas.append(min(1 - share[1] / share[0], 0.999))
    return betas


@pytest.mark.parametrize(("steps", "last"), [(100, 0.02), (100, 0.2), (10, 0.5)])
def test_schedules_are_those_of_the_formulas(steps: int, last: float) -> None:
    np.testing.assert_allclose(scaled_linear(steps, last), slow_betas("position", steps, last), rtol=1e-10)
    np.testing.assert_allclose(squared_cosine(steps), slow_betas("rotation", steps, last), rtol=1e-10)
    kept = Diffusion(DiffuserNoiseConfig(steps=steps, position_end=last)).kept
    for column in range(9):
        left = 1.0
        for step, beta in enumerate(slow_betas("position" if column < 3 else "rotation", steps, last)):
            left *= 1 - beta
            assert float(kept[step, column]) == pytest.approx(left, rel=1e-5, abs=1e-7)


def test_the_published_schedule_leaves_half_of_the_signal_and_ours_hardly_any() -> None:
    ends = [
        float(Diffusion(DiffuserNoiseConfig(position_end=end)).kept[-1, 0]) for end in (0.02, DiffuserNoiseConfig().position_end)
    ]
    assert ends[0] == pytest.approx(0.49, abs=0.01) and ends[1] < 0.002


def test_noising_and_the_step_back_are_those_of_the_formulas() -> None:
    made = Diffusion(DiffuserNoiseConfig(steps=50))
    rng = np.random.default_rng(0)
    clean, noise, said = (rng.normal(size=(2, 4, 9)) for _ in range(3))
    when = rng.integers(0, 50, (2, 4))
    found = made.noised(torch.from_numpy(clean).float(), torch.from_numpy(noise).float(), torch.from_numpy(when).float())
    betas = {kind: slow_betas(kind, 50, DiffuserNoiseConfig().position_end) for kind in ("position", "rotation")}
    kept = {kind: np.cumprod([1 - b for b in values]) for kind, values in betas.items()}
    for b in range(2):
        for s in range(4):
            for i in range(9):
                left = kept["position" if i < 3 else "rotation"][when[b, s]]
                wanted = math.sqrt(left) * clean[b, s, i] + math.sqrt(1 - left) * noise[b, s, i]
                assert float(found[b, s, i]) == pytest.approx(wanted, abs=1e-5)
    back = made.back(found, torch.from_numpy(said).float(), 30.0, 20.0)
    last = made.back(found, torch.from_numpy(said).float(), 30.0, -1.0)
    for b in range(2):
        for s in range(4):
            for i in range(9):
                before, after = (kept["position" if i < 3 else "rotation"][k] for k in (30, 20))
                x = float(found[b, s, i])
                start = min(1.0, max(-1.0, (x - math.sqrt(1 - before) * said[b, s, i]) / math.sqrt(before)))
                eps = (x - math.sqrt(before) * start) / math.sqrt(1 - before)
                assert float(back[b, s, i]) == pytest.approx(math.sqrt(after) * start + math.sqrt(1 - after) * eps, abs=1e-4)
                assert float(last[b, s, i]) == pytest.approx(start, abs=1e-4)


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("steps", [1, 5, 10])
def test_one_who_knows_the_pose_is_led_to_it(flow: bool, steps: int) -> None:
    config = DiffuserNoiseConfig(flow=flow)
    made = Flow(config) if flow else Diffusion(config)
    rng = np.random.default_rng(1)
    clean = torch.from_numpy(rng.uniform(-1, 1, (6, 9)).astype(np.float32))
    x = torch.from_numpy(rng.normal(size=(6, 9)).astype(np.float32))
    way = made.way(steps)
    assert len(way) == steps and [to for _, to in way[:-1]] == [now for now, _ in way[1:]]
    for now, to in way:
        if isinstance(made, Flow):
            # At time u the pose is (1 - u) clean + u noise, so noise - clean = (pose - clean) / u.
            said = (x - clean) / (now / 100)
        else:
            kept = made.kept[int(now)]
            said = (x - kept.sqrt() * clean) / (1 - kept).sqrt()
        x = made.back(x, said, now, to)
    torch.testing.assert_close(x, clean, atol=2e-4, rtol=0)


def test_flow_goes_straight() -> None:
    made = Flow(DiffuserNoiseConfig(flow=True))
    rng = np.random.default_rng(0)
    clean, noise = (torch.from_numpy(rng.normal(size=(3, 9)).astype(np.float32)) for _ in range(2))
    at = made.noised(clean, noise, torch.tensor([0.0, 25.0, 100.0]))
    torch.testing.assert_close(at, torch.stack([clean[0], 0.75 * clean[1] + 0.25 * noise[1], noise[2]]))
    stepped = made.back(noise, made.target(clean, noise), 100.0, 60.0)
    torch.testing.assert_close(stepped, noise - 0.4 * (noise - clean))


def test_time_steps_cover_the_schedule_evenly() -> None:
    uniform = (torch.arange(1000) + 0.5) / 1000
    counts = torch.bincount(Diffusion(DiffuserNoiseConfig(steps=10)).times(uniform).long(), minlength=10)
    assert counts.tolist() == [100] * 10
    assert float(Flow(DiffuserNoiseConfig(flow=True)).times(uniform).max()) == pytest.approx(99.95)


# Rotations


def test_six_numbers_and_back() -> None:
    poses = random_poses(50)
    nine = to_nine(poses)
    for pose, numbers in zip(poses, nine, strict=True):
        matrix = Rotation.from_quat(pose[3:]).as_matrix()
        np.testing.assert_allclose(numbers[3:], [*matrix[:, 0], *matrix[:, 1]], atol=1e-6)
        for axis in range(3):
            low, high = WORKSPACE[0][axis], WORKSPACE[1][axis]
            assert numbers[axis] == pytest.approx((pose[axis] - low) / (high - low) * 2 - 1, abs=1e-5)
    back = from_nine(nine)
    np.testing.assert_allclose(back[:, :3], poses[:, :3], atol=1e-6)
    turns = (Rotation.from_quat(back[:, 3:]).inv() * Rotation.from_quat(poses[:, 3:])).magnitude()
    assert turns.max() < 1e-3


def slow_gram_schmidt(numbers: F64) -> F64:
    a, b = numbers[:3], numbers[3:]
    x = a / math.sqrt(sum(v * v for v in a))
    y = b - sum(u * v for u, v in zip(x, b, strict=True)) * x
    y = y / math.sqrt(sum(v * v for v in y))
    z = np.array([x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]])
    matrix: F64 = np.stack([x, y, z], axis=1)
    return matrix


def test_columns_that_are_not_orthonormal() -> None:
    numbers = np.random.default_rng(2).normal(size=(20, 9)).astype(np.float32)
    found = Rotation.from_quat(from_nine(numbers)[:, 3:]).as_matrix()
    for one, matrix in zip(numbers.astype(np.float64), found, strict=True):
        np.testing.assert_allclose(matrix, slow_gram_schmidt(one[3:]), atol=1e-4)
    nothing = np.zeros((3, 9), np.float32)
    nothing[1, 3:] = [1, 2, 3, 2, 4, 6]
    nothing[2, 6] = 1.0
    assert np.isfinite(from_nine(nothing)).all()
    assert from_nine(nothing[:0]).shape == (0, 7) and to_nine(random_poses(1)[:0]).shape == (0, 9)


# Attention


def slow_turned(value: F64, position: F64, heads: int, spread: str, scale: float, base: float) -> F64:
    """Channels of one token (W,), each pair turned by itself."""
    group = len(value) // heads if spread == "heads" else len(value)
    pairs, result = group // 6, np.array(value, np.float64)
    for start in range(0, len(value), group):
        for axis in range(3):
            for i in range(pairs):
                angle = scale * base ** (-i / pairs) * position[axis]
                first = start + 2 * (axis * pairs + i)
                a, b = value[first], value[first + 1]
                result[first] = a * math.cos(angle) - b * math.sin(angle)
                result[first + 1] = a * math.sin(angle) + b * math.cos(angle)
    return result


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("width", "heads", "spread"), [(24, 2, "heads"), (32, 2, "heads"), (24, 8, "width"), (120, 8, "width")])
def test_rotary_attention_is_that_of_loops(width: int, heads: int, spread: Any, relative: bool) -> None:
    rng = np.random.default_rng(0)
    queries, tokens, scale, base = 3, 5, 20.0, 50.0
    layer: Layer = shaken(Layer(width, heads, 1, relative=relative)).double()
    rotary = Rotary(width, heads, spread, scale, base).double()
    x, y = rng.normal(size=(1, queries, width)), rng.normal(size=(1, tokens, width))
    at, where = rng.uniform(-0.2, 0.2, (1, queries, 3)), rng.uniform(-0.2, 0.2, (1, tokens, 3))
    mask = np.array([[True, True, False, True, True]])
    t = torch.from_numpy
    with torch.no_grad():
        found = layer(t(x), layer.keys(t(y), rotary(t(where))), t(mask), rotary(t(at)))[0].numpy()
        q = layer.q(layer.read(t(x), None))[0].numpy()
        k, v = (part.numpy() for part in layer.keys.both(layer.keys.norm(t(y)))[0].chunk(2, dim=-1))
        q = np.stack([slow_turned(q[i], at[0, i], heads, spread, scale, base) for i in range(queries)])
        k = np.stack([slow_turned(k[j], where[0, j], heads, spread, scale, base) for j in range(tokens)])
        if relative:
            v = np.stack([slow_turned(v[j], where[0, j], heads, spread, scale, base) for j in range(tokens)])
        mixed, each = np.zeros((queries, width)), width // heads
        for i in range(queries):
            for h in range(heads):
                part = slice(h * each, (h + 1) * each)
                weights = [math.exp(q[i, part] @ k[j, part] / math.sqrt(each)) * mask[0, j] for j in range(tokens)]
                for j in range(tokens):
                    mixed[i, part] += weights[j] / sum(weights) * v[j, part]
        if relative:
            mixed = np.stack([slow_turned(mixed[i], -at[0, i], heads, spread, scale, base) for i in range(queries)])
        after = t(x)[0] + layer.out(t(mixed))
        wanted = after + layer.down(torch.nn.functional.gelu(layer.up(layer.think(after, None))))
    # The rates of the code are kept in single precision.
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_products_of_turned_vectors_depend_on_the_difference_of_positions() -> None:
    rotary = Rotary(24, 2, "heads", 150.0, 100.0).double()
    rng = np.random.default_rng(0)
    q, k, at, where = (torch.from_numpy(rng.normal(size=(1, 4, n))) for n in (24, 24, 3, 3))
    shift = torch.tensor([0.3, -0.1, 0.2], dtype=torch.float64)
    for offset in (0.0, shift):
        products = turn_pairs(q, rotary(at + offset)) @ turn_pairs(k, rotary(where + offset)).transpose(1, 2)
        if isinstance(offset, float):
            first = products
    torch.testing.assert_close(products, first)
    assert not torch.allclose(products, q @ k.transpose(1, 2))


# The network


@pytest.mark.parametrize("sampling", ["random", "farthest"])
def test_padding_changes_nothing(sampling: str) -> None:
    made, alone = network(sampling=sampling), scenes()
    grown = {
        "cells": torch.cat([alone.cells, torch.full((2, 7, 3), 0.4)], 1),
        "features": torch.cat([alone.features, torch.full((2, 7, DIM), 3.0)], 1),
        "cell_mask": torch.cat([alone.cell_mask, torch.zeros(2, 7, dtype=torch.bool)], 1),
        "tokens": torch.cat([alone.tokens, torch.full((2, 4, DIM), -2.0)], 1),
        "token_mask": torch.cat([alone.token_mask, torch.zeros(2, 4, dtype=torch.bool)], 1),
    }
    poses, when = noisy(5)
    with torch.no_grad():
        torch.testing.assert_close(made(replace(alone, **grown), poses, when), made(alone, poses, when), atol=1e-5, rtol=1e-5)


def test_scenes_of_other_sizes_beside_it_change_nothing() -> None:
    made = network()
    poses, when = noisy(3)
    few, many = given(4, cells=6), given(5, place=True, cells=33)
    order = np.random.default_rng(0)
    both = scenes_of([few, many], 0, order)
    order = np.random.default_rng(0)
    with torch.no_grad():
        found = made(both, poses, when)
        for row, one in enumerate((few, many)):
            alone = made(scenes_of([one], 0, order), poses[row : row + 1], when[row : row + 1])
            torch.testing.assert_close(found[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_poses_of_one_scene_do_not_see_each_other() -> None:
    made, both = network(), scenes()
    poses, when = noisy(6)
    with torch.no_grad():
        together = made(both, poses, when)
        alone = torch.cat([made(both, poses[:, i : i + 1], when[:, i : i + 1]) for i in range(6)], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[:, 0], together[:, 1])


def test_what_is_held_matters_for_placements_alone() -> None:
    made, both = network(), scenes()
    poses, when = noisy(2)
    with torch.no_grad():
        first = made(both, poses, when)
        second = made(replace(both, held=both.held + 0.04), poses, when)
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1])


@pytest.mark.parametrize(
    "changes", [{}, {"relative": True}, {"sampling": "farthest", "rotary": "width"}, {"positions": False, "similarity": False}]
)
def test_gradients_reach_all_parameters(changes: dict[str, Any]) -> None:
    made = network(**changes)
    made(scenes(), *noisy(4)).square().sum().backward()
    missing = [name for name, p in made.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert missing == []


def test_a_scene_without_cells_or_words_gives_numbers() -> None:
    empty = given(0, cells=0)
    empty = replace(empty, token_mask=np.zeros(WORDS, bool))
    for sampling in ("random", "farthest"):
        found = network(sampling=sampling)(scenes(empty), *noisy(2, rows=1))
        assert bool(torch.isfinite(found).all())


def test_published_sizes_are_a_matter_of_configuration() -> None:
    published = DiffuserNetworkConfig(
        width=120,
        heads=8,
        language_layers=2,
        gripper_layers=3,
        cross_layers=2,
        self_layers=4,
        head_layers=2,
        sampling="farthest",
        rotary="width",
        rotary_scale=1.0,
        rotary_base=10_000.0,
        positions=False,
        similarity=False,
    )
    made = build_network(published, DIM, 0)
    assert 1e6 < sum(p.numel() for p in made.parameters()) < 4e6
    with torch.no_grad():
        assert made(scenes(), *noisy(2)).shape == (2, 2, 9)


@pytest.mark.parametrize("changes", [{"width": 13}, {"width": 20, "heads": 2, "rotary": "width"}, {"width": 10}, {"width": 14}])
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"methods\.diffuser_actor\.network"):
        network(**changes)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_farthest_points_are_those_of_loops(count: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 9, 4))
    mask = np.ones((2, 9), bool)
    mask[1, 6:] = False
    found = farthest(torch.from_numpy(values), torch.from_numpy(mask), count).numpy()
    for row in range(2):
        chosen = [0]
        real = np.flatnonzero(mask[row])
        while len(chosen) < count:
            away = [min(((values[row, i] - values[row, j]) ** 2).sum() for j in chosen) for i in real]
            chosen.append(int(real[int(np.argmax(away))]) if max(away) > 0 else 0)
        assert found[row].tolist() == chosen


# Sampling


def test_the_densest_place_wins() -> None:
    rng = np.random.default_rng(0)
    poses = random_poses(30)
    poses[:12, :3] = rng.normal([0.4, 0.1, 0.05], 0.004, (12, 3))
    poses[12:20, :3] = rng.normal([0.6, -0.1, 0.05], 0.004, (8, 3))
    poses[:20, 3:] = poses[0, 3:]
    apart = distances(poses, poses)
    slow = [sum(math.exp(-0.5 * (apart[i, j] / 0.02) ** 2) for j in range(30)) for i in range(30)]
    assert densest(poses, 0.02) == int(np.argmax(slow)) < 12


def test_no_pose_repeats_a_failure() -> None:
    lower, upper = WORKSPACE
    middle = (lower + upper) / 2
    first, second = random_poses(8), random_poses(8, seed=1)
    first[:, :3] = middle + np.random.default_rng(0).normal(0, 0.002, (8, 3))

    def near(poses: F32) -> Any:
        return np.linalg.norm(poses[:, :3] - middle, axis=1) < 0.03

    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(fresh(iter([first, second]), rng, near), second[~near(second)])
    # Every drawing repeats it: the poses are moved, and stay in the workspace.
    moved = fresh(iter([first, first]), rng, near)
    assert len(moved) and not near(moved).any()
    assert (moved[:, :3] >= lower).all() and (moved[:, :3] <= upper).all()
    # Nothing is left: a pose is better than none.
    np.testing.assert_array_equal(fresh(iter([first]), rng, lambda poses: np.ones(len(poses), bool)), first)


@pytest.mark.parametrize("flow", [False, True])
def test_samples_follow_from_their_noise(flow: bool) -> None:
    made = network()
    config = DiffuserNoiseConfig(flow=flow)
    noising = Flow(config) if flow else Diffusion(config)
    encoded = made.encode(scenes())
    noise = noisy(4)[0]
    first, again, other = (denoised(made, encoded, noising, x, 3) for x in (noise, noise, noise + 0.5))
    assert first.shape == (2, 4, 9) and float(first.abs().max()) <= 1.0
    assert torch.equal(first, again) and not torch.equal(first, other)


# Learning


SMALL_FIT = {
    **{f"network.{key}": value for key, value in SMALL.items()},
    "train.updates": 40,
    "train.batch_size": 4,
    "train.lr": 1e-2,
    "train.warmup": 5,
    "train.validate_every": 20,
    "train.turn": 0.0,
    "train.shift": 0.0,
    "act.samples": 8,
    "act.steps": 4,
}


def section(**changes: Any) -> DiffuserConfig:
    made = settings(spec_of("diffuser_actor"), DiffuserConfig(), {**SMALL_FIT, **changes})
    assert isinstance(made, DiffuserConfig)
    return made


def fitted(features: Path, checkpoint: Path, **changes: Any) -> Fitted:
    data = TrainingData(features=FeatureDataset(features))
    return fit(section(**changes), data, seed=0, device="cpu", checkpoint=checkpoint, progress=None)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_features(tmp_path_factory.mktemp("features") / "features.h5", count=10)


@pytest.mark.parametrize("flow", [False, True])
def test_it_learns(flow: bool, features: Path, tmp_path: Path) -> None:
    made = fitted(features, tmp_path / "fit", **{"noise.flow": flow})
    losses = made.curves["train_loss"]
    assert made.updates == 40 and made.samples == 8 and losses[-1] < 0.9 * losses[0]
    assert set(made.metrics) == {"loss", "position_error", "right_error", "pick_near", "place_near", "angle_error"}
    assert made.metrics["loss"] == pytest.approx(made.curves["valid_loss"][-1]) and 0 < made.metrics["right_error"] < 1


def test_a_training_that_was_interrupted_ends_with_the_same_weights(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"train.updates": 6, "train.checkpoint_every": 2, "train.select": "best", "train.validate_every": 2}
    whole = fitted(features, tmp_path / "whole", **changes)
    run = Loop.run
    with monkeypatch.context() as broken:
        broken.setattr(Loop, "run", lambda self, progress=None: run(self, progress, stop_after=3))
        fitted(features, tmp_path / "parts", **changes)
    again = fitted(features, tmp_path / "parts", **changes)
    assert whole.updates == again.updates == 6
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(value, again.weights[name])
    np.testing.assert_array_equal(whole.curves["valid_loss"], again.curves["valid_loss"])


def policy(**changes: Any) -> DiffuserPolicy:
    made = section(**changes)
    return DiffuserPolicy(network(), made.noise, made.act, "cpu")


def test_failed_poses_are_not_chosen_again() -> None:
    actor, scene = policy(), given(7)
    failed: list[F32] = []
    for attempt in range(8):
        repeats = partial(exclude, failed=tuple(failed))
        asked = replace(decision([[0.5, 0, 0.05]]), failed=tuple(failed), repeats=repeats)
        pose = actor.pose(scene, np.random.default_rng(attempt), partial(tried, asked))
        assert not failed or not tried(asked, pose[None])[0]
        failed.append(pose)
    lower, upper = WORKSPACE
    assert all((pose[:3] >= lower - 1e-6).all() and (pose[:3] <= upper + 1e-6).all() for pose in failed)


def test_a_placement_keeps_the_yaw_that_things_hang_with() -> None:
    pose = policy().pose(given(2, place=True), np.random.default_rng(0))
    np.testing.assert_array_equal(pose[3:], [1, 0, 0, 0])
    assert not np.allclose(policy().pose(given(2), np.random.default_rng(0))[3:], [1, 0, 0, 0], atol=1e-2)


def test_chance_comes_from_the_generator_alone() -> None:
    actor, scene = policy(), given(3)
    torch.manual_seed(1)
    first = actor.pose(scene, np.random.default_rng(5))
    torch.manual_seed(2)
    np.testing.assert_array_equal(actor.pose(scene, np.random.default_rng(5)), first)
    assert not np.array_equal(actor.pose(scene, np.random.default_rng(6)), first)


def test_snapped_takes_a_candidate_and_native_its_own_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srcli.methods.diffuser_actor.policy.look", lambda decision, encoder: given(1))
    asked = decision([[0.4, 0.1, 0.05], [0.6, -0.1, 0.05], [0.5, 0.0, 0.1]])
    native = policy().act(replace(asked, rng=np.random.default_rng(0))).action
    snapped = policy(**{"act.snap": True}).act(replace(asked, rng=np.random.default_rng(0))).action
    assert native.index is None
    assert snapped.index == int(np.argmin(distances(native.pose[None], asked.candidates.poses)[0]))
