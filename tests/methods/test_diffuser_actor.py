"""3D Diffuser Actor: masks, samples, learning, and what it chooses."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from method_inputs import decision, random_poses, shaken, write_features

from srcli.artifacts.features import FeatureDataset
from srcli.errors import ConfigError
from srcli.evaluation.exclusion import exclude
from srcli.learning.keyposes import WORKSPACE, KeyposeInput
from srcli.learning.loop import Loop
from srcli.methods.base import Fitted, TrainingData
from srcli.methods.diffuser_actor.inputs import scenes_of
from srcli.methods.diffuser_actor.network import DiffuserNetwork, Scenes, build_network, farthest
from srcli.methods.diffuser_actor.noising import Diffusion, Flow
from srcli.methods.diffuser_actor.policy import DiffuserPolicy
from srcli.methods.diffuser_actor.sampling import denoised, densest, fresh
from srcli.methods.diffuser_actor.section import DiffuserConfig, DiffuserNetworkConfig, DiffuserNoiseConfig
from srcli.methods.diffuser_actor.training import fit
from srcli.methods.keypose import distances, tried
from srcli.methods.registry import settings, spec_of
from srcli.types import F32

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
