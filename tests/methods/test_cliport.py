"""CLIPort: maps, labels, gates and loss against plain loops; what it learns, and which pose it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from method_inputs import decision, from_above, placing, random_percept
from pydantic import ValidationError

from srcli.artifacts.features import LAYOUT, VIEWS, FeatureDataset, create_features
from srcli.errors import ArtifactError, SceneError
from srcli.evaluation.exclusion import exclude
from srcli.learning.keyposes import KeyposeSet
from srcli.methods.base import Decision, Fitted, TrainingData
from srcli.methods.cliport.decode import grasps, labels, places, releases, straight_down, yaw_bins
from srcli.methods.cliport.network import CliportNetwork, Gate, Maps, build_network, heat_loss
from srcli.methods.cliport.policy import build
from srcli.methods.cliport.raster import Grid, feature_map, surface_map
from srcli.methods.cliport.section import CliportActConfig, CliportConfig, CliportNetworkConfig
from srcli.methods.cliport.training import Teacher, fit
from srcli.methods.policy_file import read_policy, write_policy
from srcli.methods.registry import settings, spec_of
from srcli.perception.encoders.interface import DenseFeatures
from srcli.types import F32, F64, U8, TextEmbedding

GRID = Grid.around((0.5, 0.0), 0.01, 16)
SMALL = {"pixels": 16, "pixel": 0.02, "fold": 1, "spatial": (4, 6, 8), "semantic": (4, 6, 8), "yaws": 4}
NOTHING = (0.5, 0.5, 0.5, 0.0)


def scene(count: int = 150, seed: int = 0) -> tuple[F32, U8]:
    """Points over half of the map's square and beyond its border."""
    rng = np.random.default_rng(seed)
    points = rng.uniform([0.40, -0.10, -0.01], [0.50, 0.10, 0.08], (count, 3)).astype(np.float32)
    return points, rng.integers(0, 256, (count, 3)).astype(np.uint8)


def assert_filled(found: F32, known: dict[tuple[int, int], np.ndarray], nothing: tuple[float, ...]) -> None:
    """Known pixels are as they are, gaps like one of their nearest, what is far from all is nothing."""
    gaps = far = 0
    for i in range(GRID.count):
        for j in range(GRID.count):
            away = {cell: math.hypot(i - cell[0], j - cell[1]) for cell in known}
            least = min(away.values())
            near = [known[cell] for cell, d in away.items() if d == least and d <= 3] or [np.array(nothing)]
            assert min(np.abs(found[:, i, j] - value).max() for value in near) < 1e-5
            gaps, far = gaps + (0 < least <= 3), far + (least > 3)
    assert len(known) > 0 and gaps > 0 and far > 0


def pixel_slowly(point: F32) -> tuple[int, int] | None:
    i, j = (math.floor((float(point[axis]) - GRID.lower[axis]) / GRID.pixel) for axis in (0, 1))
    return (i, j) if 0 <= i < GRID.count and 0 <= j < GRID.count else None


def test_the_surface_map_is_what_stands_highest_in_each_pixel() -> None:
    points, colors = scene()
    highest: dict[tuple[int, int], np.ndarray] = {}
    height: dict[tuple[int, int], float] = {}
    for point, color in zip(points, colors, strict=True):
        cell = pixel_slowly(point)
        if cell is not None and point[2] >= height.get(cell, -1.0):
            height[cell] = float(point[2])
            highest[cell] = np.append(color / 255.0, max(float(point[2]), 0.0))
    assert_filled(surface_map(points, colors, GRID), highest, NOTHING)


def test_the_feature_map_is_the_mean_of_what_is_not_hidden_below_something() -> None:
    cells, _ = scene(120, seed=1)
    features = np.random.default_rng(2).normal(size=(120, 5)).astype(np.float32)
    inside: dict[tuple[int, int], list[int]] = {}
    for index, cell in enumerate(cells):
        where = pixel_slowly(cell)
        if where is not None:
            inside.setdefault(where, []).append(index)
    means, hidden = {}, 0
    for where, members in inside.items():
        top = max(float(cells[index, 2]) for index in members)
        seen = [index for index in members if cells[index, 2] >= top - 0.02]
        hidden += len(members) - len(seen)
        means[where] = np.mean([features[index] for index in seen], axis=0)
    assert_filled(feature_map(cells, features, GRID), means, (0.0,) * 5)
    assert hidden > 0


def test_maps_of_nothing_are_bare_table() -> None:
    nothing = np.zeros((0, 3), np.float32)
    found = surface_map(nothing, nothing.astype(np.uint8), GRID)
    assert (found == np.array(NOTHING, np.float32)[:, None, None]).all()
    assert (feature_map(nothing, np.zeros((0, 5), np.float32), GRID) == 0).all()


def turned_by_quarters(points: F32, quarters: int) -> F64:
    """About the vertical through the middle of the map."""
    c, s = round(math.cos(quarters * math.pi / 2)), round(math.sin(quarters * math.pi / 2))
    turned: F64 = points.astype(np.float64)
    x, y = turned[:, 0] - 0.5, turned[:, 1]
    turned[:, 0], turned[:, 1] = 0.5 + c * x - s * y, s * x + c * y
    return turned


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turning_points_and_poses_together_turns_map_and_label_together(quarters: int) -> None:
    points, colors = scene()
    before = surface_map(points, colors, GRID)
    moved = turned_by_quarters(points, quarters)
    after = surface_map(moved.astype(np.float32), colors, GRID)
    # Rows run along x and columns along y: a turn from x to y is a turn from the first axis to the second. Of two pixels that are
    # equally near to a gap either may fill it.
    same = np.abs(after - np.rot90(before, quarters, axes=(1, 2))).max(axis=0) < 1e-6
    flat, inside = GRID.cells(moved.astype(np.float32))
    assert same.reshape(-1)[flat[inside]].all() and same.mean() > 0.8
    bins = 12
    poses = straight_down(np.array([[0.463, 0.021], [0.555, -0.061]]), np.array([0.02, 0.03]), np.array([0.3, -1.2]))
    heat = np.zeros((2, bins, 16, 16))
    for row, label in enumerate(labels(poses, GRID, bins)[0]):
        heat[row].reshape(-1)[label] = 1.0
    yaws = np.array([0.3, -1.2]) + quarters * math.pi / 2
    turned = straight_down(turned_by_quarters(poses[:, :3], quarters)[:, :2], poses[:, 2].astype(np.float64), yaws)
    expected = np.roll(np.rot90(heat, quarters, axes=(2, 3)), quarters * bins // 2, axis=1)
    for row, label in enumerate(labels(turned, GRID, bins)[0]):
        assert expected[row].reshape(-1)[label] == 1.0


def test_half_a_turn_of_the_jaws_is_the_same_bin_and_places_come_back() -> None:
    rng = np.random.default_rng(3)
    bins, count = 12, 200
    yaw = rng.uniform(-math.pi / 2, math.pi / 2, count)
    xy = rng.uniform([0.42, -0.08], [0.58, 0.08], (count, 2))
    poses = straight_down(xy, np.full(count, 0.02), yaw)
    other = straight_down(xy, np.full(count, 0.02), yaw + math.pi)
    flat, inside = labels(poses, GRID, bins)
    assert inside.all()
    np.testing.assert_array_equal(flat, labels(other, GRID, bins)[0])
    for one, angle in zip(yaw_bins(poses, bins), yaw, strict=True):
        away = [abs((angle - k * math.pi / bins + math.pi / 2) % math.pi - math.pi / 2) for k in range(bins)]
        assert one == int(np.argmin(away))
    back, turn = places(flat, GRID, bins)
    assert np.abs(back - xy).max() <= GRID.pixel / 2 + 1e-9
    assert (np.abs((turn - yaw + math.pi / 2) % math.pi - math.pi / 2) <= math.pi / bins / 2 + 1e-6).all()
    assert not labels(straight_down(np.array([[0.59, 0.0], [0.5, -0.09]]), np.zeros(2), np.zeros(2)), GRID, bins)[1].any()


def test_poses_point_straight_down_and_close_along_their_yaw() -> None:
    from scipy.spatial.transform import Rotation

    from srcli.actions.poses import canonical_poses

    yaw = np.linspace(-math.pi / 2 + 0.01, math.pi / 2, 9)
    poses = straight_down(np.zeros((9, 2)), np.zeros(9), yaw)
    frames = Rotation.from_quat(poses[:, 3:]).as_matrix()
    np.testing.assert_allclose(frames[:, :, 2], np.tile([0, 0, -1], (9, 1)), atol=1e-6)
    np.testing.assert_allclose(frames[:, :, 0], np.stack([np.cos(yaw), np.sin(yaw), 0 * yaw], axis=1), atol=1e-6)
    np.testing.assert_allclose(np.abs((poses[:, 3:] * canonical_poses(poses)[:, 3:]).sum(axis=1)), 1.0, atol=1e-6)
    # A release is what the candidates for placing are: (1, 0, 0, 0).
    np.testing.assert_array_equal(straight_down(np.zeros((1, 2)), np.zeros(1), np.zeros(1))[0, 3:], [1, 0, 0, 0])


def test_heights_follow_from_the_map_alone() -> None:
    act = CliportActConfig(depth=0.03, floor=0.003, clearance=0.004)
    rng = np.random.default_rng(4)
    heights = rng.choice([0.0, 0.01, 0.05, 0.12], (16, 16)).astype(np.float32)
    flat = rng.integers(0, 3 * 256, 80)
    tips = grasps(flat, heights, GRID, 3, act)
    for one, pose in zip(flat, tips, strict=True):
        h = float(heights[(one % 256) // 16, one % 16])
        assert pose[2] == pytest.approx(max(h - min(0.03, h), 0.003))
    flat = rng.integers(0, 256, 60)
    lowest = releases(flat, heights, GRID, 0.025, act)
    for one, pose in zip(flat, lowest, strict=True):
        i, j = divmod(int(one), 16)
        covered = [
            float(heights[min(max(i + a, 0), 15), min(max(j + b, 0), 15)])
            for a in range(-3, 4)
            for b in range(-3, 4)
            if (a * a + b * b) * 0.01**2 <= 0.025**2
        ]
        assert pose[2] == pytest.approx(max(covered) + 0.004)
        assert pose[:2] == pytest.approx([0.42 + (i + 0.5) * 0.01, -0.08 + (j + 0.5) * 0.01])


def test_a_gate_multiplies_each_channel_by_what_the_sentence_says_of_it() -> None:
    gate = Gate(5, 3).double()
    x, text = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    found = gate(x, text).detach()
    weight, bias = gate.project.weight.detach(), gate.project.bias.detach()
    for b in range(2):
        for c in range(3):
            said = sum(float(weight[c, k] * text[b, k]) for k in range(5)) + float(bias[c])
            torch.testing.assert_close(found[b, c], x[b, c] * said)


def test_the_loss_sums_over_a_sample_s_whole_row() -> None:
    logits = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    label = torch.tensor([0, 17, 31])
    loss = heat_loss(logits.double(), label)
    for b in range(3):
        row = logits[b].detach().reshape(-1).tolist()
        assert float(loss[b].detach()) == pytest.approx(math.log(sum(math.exp(v) for v in row)) - row[int(label[b])], rel=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    # Not divided by the number of entries: at the label it is a probability less one.
    chosen = gradient.flatten(1)[torch.arange(3), label]
    torch.testing.assert_close(chosen, torch.softmax(logits.flatten(1), 1)[torch.arange(3), label] - 1, atol=1e-6, rtol=1e-5)


def maps(place: bool = False, count: int = 2, dim: int = 8, seed: int = 0) -> Maps:
    made = torch.Generator().manual_seed(seed)
    return Maps(
        surface=torch.rand(count, 4, 16, 16, generator=made),
        features=torch.randn(count, dim, 8, 8, generator=made) / dim**0.5,
        text=torch.randn(count, 2 * dim, generator=made) / dim**0.5,
        held=torch.rand(count, 3, generator=made) * 0.05,
        place=place,
    )


def network(seed: int = 0, **changes: object) -> CliportNetwork:
    return build_network(CliportNetworkConfig.model_validate({**SMALL, **changes}), 8, seed)


@pytest.mark.parametrize(
    "shape", [{}, {"fold": 2, "spatial": (6, 8), "semantic": (6, 8)}, {"fold": 4, "spatial": (6, 8), "semantic": (4, 6)}]
)
def test_gradients_reach_every_parameter_of_the_module_of_a_phase(shape: dict[str, Any]) -> None:
    net = network(**shape)
    for place, module in ((False, net.pick), (True, net.place)):
        logits = net(maps(place))
        assert logits.shape == (2, 1 if place else 4, 16, 16)
        found = torch.autograd.grad(heat_loss(logits, torch.tensor([3, 200])).sum(), list(module.parameters()))
        still = [name for (name, _), g in zip(module.named_parameters(), found, strict=True) if not g.abs().max() > 0]
        assert not still, still


def test_both_streams_the_sentence_and_what_is_held_are_heard() -> None:
    net, given = network(), maps()
    base = net(given)
    for name in ("surface", "features", "text"):
        other = Maps(**{**{n: getattr(given, n) for n in Maps.__slots__}, name: getattr(maps(seed=1), name)})
        assert (net(other) - base).abs().max() > 1e-4, name
    deaf = network(gates=0)
    torch.testing.assert_close(deaf(maps()), deaf(Maps(given.surface, given.features, -given.text, given.held, False)))
    placing = maps(place=True)
    larger = Maps(placing.surface, placing.features, placing.text, placing.held * 2, True)
    assert (net(larger) - net(placing)).abs().max() > 1e-4
    torch.testing.assert_close(net(Maps(given.surface, given.features, given.text, given.held * 2, False)), base)


def test_initial_weights_follow_from_the_seed_and_leave_torch_s_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, same, other = network(1), network(1), network(2)
    assert torch.rand(1) == expected
    torch.testing.assert_close(first(maps()), same(maps()))
    assert (first(maps()) - other(maps())).abs().max() > 1e-3


def test_published_sizes_are_values_of_the_section() -> None:
    wide = CliportNetworkConfig(
        pixels=160,
        pixel=0.003125,
        fold=1,
        spatial=(32, 64, 128, 256, 512, 672),
        semantic=(32, 64, 128, 512, 1024, 1792),
        blocks=2,
        norm="none",
        yaws=36,
    )
    with torch.device("meta"):
        module = CliportNetwork(wide, 512).pick
    counts = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (module.spatial, module.semantic)]
    assert counts == pytest.approx([39.5, 52.9], rel=0.06)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"semantic": (4, 6)}, "equally many widths"),
        ({"pixels": 18}, "multiple of 4"),
        ({"spatial": (4, 6, 0)}, "1 .. 4096"),
        ({"spatial": ()}, "at least 2"),
    ],
)
def test_streams_that_do_not_fit_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CliportNetworkConfig.model_validate({**SMALL, **changes})


def write_views(path: Path, count: int = 6, dim: int = 8, padding: int = 0) -> Path:
    """Two blocks on a table, one of which the sentence means; picks and placements of what lies on it, alternating."""
    rng = np.random.default_rng(0)
    with create_features(path, count, {"name": "made-up", "dim": dim}, {}) as writer:
        for i in range(count):
            middles = np.array([[0.40, rng.uniform(-0.1, 0.1), 0.05], [0.58, rng.uniform(-0.1, 0.1), 0.05]])
            kinds, meant = np.eye(dim)[rng.permutation(dim)[:2]], int(rng.integers(2))
            corners = rng.uniform([-0.03, -0.03, 0.0], [0.03, 0.03, 0.0], (2, 60, 3))
            table = rng.uniform([0.29, -0.21, 0.0], [0.71, 0.21, 0.0], (400, 3))
            blocks = (middles[:, None] + corners).reshape(-1, 3)
            pose = np.concatenate([middles[meant] - [0, 0, 0.02], [1.0, 0, 0, 0]])
            sizes = {"3": 3, "7": 7, "D": dim, "L": 3}
            rows: dict[str, Any] = {name: np.zeros([sizes.get(a, 2) for a in axes]) for name, (_, axes) in LAYOUT.items()}
            rows |= {
                "candidates": np.stack([pose, pose]),
                "candidate_mask": np.ones(2),
                "label": np.asarray(0),
                "text": kinds[meant],
                "tokens": np.eye(dim)[:3],
                "token_mask": np.array([1, 1, 0]),
                "features": np.zeros((2, dim)),
                "seed": np.array([0, 1, i]),
                "phase": np.asarray(i % 2),
                "cell_points": np.concatenate([blocks, table[:60]]),
                "cell_features": np.concatenate([np.repeat(kinds, 60, axis=0), np.full((60, dim), dim**-0.5)]),
                "surface_points": np.concatenate([blocks, table]),
                "surface_colors": rng.integers(0, 255, (520, 3)),
                "held": np.full(3, 0.02 * (i % 2)),
            }
            rows |= {"cell_mask": np.ones(180), "surface_mask": np.ones(520)}
            for name in (n for n in VIEWS if n != "held" and padding):
                junk = np.full((padding, *np.shape(rows[name])[1:]), 0.0 if name.endswith("mask") else 0.5)
                rows[name] = np.concatenate([rows[name], junk])
            writer.add(rows, "give me the thing")
        writer.finish({"train": np.arange(count - 2), "valid": np.arange(count - 2, count)})
    return path


def section(**train: Any) -> CliportConfig:
    training = {"updates": 4, "batch_size": 4, "validate_every": 4, "checkpoint_every": 1, **train}
    return CliportConfig.model_validate({"network": {**SMALL, "pixel": 0.028}, "train": training})


def fitted(path: Path, made: CliportConfig, checkpoint: Path, progress: Any = None) -> Fitted:
    data = TrainingData(features=FeatureDataset(path))
    return fit(made, data, seed=1, device="cpu", checkpoint=checkpoint, progress=progress)


def test_it_learns_where_the_sentence_points(tmp_path: Path) -> None:
    path = write_views(tmp_path / "views.h5")
    made = section(updates=60, validate_every=20, lr=0.01, warmup=5, checkpoint_every=60)
    result = fitted(path, made, tmp_path / "a")
    loss = result.curves["train_loss"]
    assert loss[0] > 4.5 and loss[-1] < 0.6 * loss[0]
    assert result.samples == 4 and result.updates == 60
    assert {value.dtype for value in result.weights.values()} == {np.dtype(np.float16)}
    assert set(result.metrics) >= {"valid_loss", "pick_distance", "place_distance", "pick_angle"}
    assert all(math.isfinite(value) for value in result.metrics.values())


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    path, made = write_views(tmp_path / "views.h5"), section()
    whole = fitted(path, made, tmp_path / "a")

    def killed(done: int, total: int, text: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(path, made, tmp_path / "b", killed)
    again = fitted(path, made, tmp_path / "b")
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)
    np.testing.assert_array_equal(again.curves["train_loss"], whole.curves["train_loss"])
    other = fit(made, TrainingData(features=FeatureDataset(path)), seed=2, device="cpu", checkpoint=tmp_path / "c", progress=None)
    assert any((other.weights[name] != value).any() for name, value in whole.weights.items())


def test_padding_changes_nothing(tmp_path: Path) -> None:
    made = section(updates=2)
    plain = fitted(write_views(tmp_path / "plain.h5"), made, tmp_path / "a")
    padded = fitted(write_views(tmp_path / "padded.h5", padding=7), made, tmp_path / "b")
    for name, value in plain.weights.items():
        np.testing.assert_array_equal(padded.weights[name], value)


def test_labels_stay_on_the_map_however_a_sample_is_turned(tmp_path: Path) -> None:
    made = section(batch_size=16, shift=0.1)
    data = KeyposeSet(FeatureDataset(write_views(tmp_path / "views.h5")))
    teacher = Teacher(build_network(made.network, 8, 0), data, made, 0, "cpu")
    parts = [part for update in range(4) for part in teacher.draw(update)]
    assert sum(len(part.label) for part in parts) == 4 * 16
    assert len({int(label) for part in parts for label in part.label}) > 20


class Seeing:
    """As much of an encoder as it needs."""

    dim = 8

    def dense(self, rgb: U8) -> DenseFeatures:
        values = np.random.default_rng(0).normal(size=(len(rgb), 20, 20, self.dim)).astype(np.float32)
        return DenseFeatures(values / np.linalg.norm(values, axis=-1, keepdims=True))

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]:
        raise AssertionError("the sentence comes with the percept")


def shown(place: bool = False, failed: tuple[F32, ...] = ()) -> Decision:
    percept = random_percept()
    given = (placing if place else decision)([[0.45, 0.02, 0.03], [0.52, 0.1, 0.03], [0.6, -0.1, 0.03]], percept=lambda: percept)
    repeats = partial(exclude, failed=failed)
    excluded = exclude(given.candidates.poses, failed)
    return replace(given, observation=from_above(), failed=failed, repeats=repeats, excluded=excluded)


@pytest.mark.parametrize("place", [False, True])
def test_a_failed_pose_is_never_repeated(place: bool) -> None:
    policy = build(section(), None, Seeing(), "cpu", 0)
    failed: list[F32] = []
    for _ in range(8):
        action = policy.act(shown(place, tuple(failed))).action
        assert action.index is None and action.kind == ("place" if place else "grasp")
        assert all(np.linalg.norm(action.pose[:3] - before[:3]) > 0.015 for before in failed)
        failed.append(action.pose)
    assert policy.act(shown(place)).action.pose.tolist() == failed[0].tolist(), "the same decision, the same pose"


def test_the_snapped_row_takes_candidates_and_seeds_differ() -> None:
    snapping = section().model_copy(update={"act": CliportActConfig(snap=True)})
    policy, native = build(snapping, None, Seeing(), "cpu", 0), build(section(), None, Seeing(), "cpu", 0)
    taken, pose = policy.act(shown()).action, native.act(shown()).action.pose
    assert taken.index is not None
    poses = shown().candidates.poses
    assert taken.index == int(np.argmin(np.linalg.norm(poses[:, :3] - pose[:3], axis=1)))
    assert policy.act(shown(failed=(taken.pose,))).action.index != taken.index
    other = build(section(), None, Seeing(), "cpu", 1).act(shown()).action.pose
    assert np.abs(other - pose).max() > 1e-3


def test_stored_weights_act_as_fitted_ones(tmp_path: Path) -> None:
    made = section(updates=10, lr=0.02, warmup=0)
    result = fitted(write_views(tmp_path / "views.h5"), made, tmp_path / "a")
    spec = spec_of("cliport")
    write_policy(tmp_path / "p.h5", spec, made, result, seed=1, encoder={"name": "made-up", "dim": 8}, data="digest")
    chosen = []
    for name in ("cliport", "cliport_snapped"):
        own = settings(spec_of(name), made)
        assert isinstance(own, CliportConfig)
        policies = [build(own, read_policy(tmp_path / "p.h5").weights, Seeing(), "cpu", seed) for seed in (0, 5)]
        actions = [policy.act(shown()).action for policy in policies]
        np.testing.assert_array_equal(actions[0].pose, actions[1].pose)
        assert (actions[0].index is None) == (name == "cliport")
        chosen.append(actions[0].pose)
    untrained = build(made, None, Seeing(), "cpu", 1).act(shown()).action.pose
    assert np.abs(untrained - chosen[0]).max() > 1e-3
    weights = replace(read_policy(tmp_path / "p.h5").weights, arrays={})
    with pytest.raises(ArtifactError, match="do not fit"):
        build(made, weights, Seeing(), "cpu", 0)


def test_no_features_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="trained on features"):
        fit(section(), TrainingData(), seed=0, device="cpu", checkpoint=tmp_path / "a", progress=None)
