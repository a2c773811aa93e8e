"""Act3D: its parts against slow references, what it learns, and what it never does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from method_inputs import decision, from_above, placing, random_percept, write_features
from scipy.spatial.transform import Rotation
from test_every_method import TinyEncoder

from srcli.artifacts.features import FeatureDataset
from srcli.errors import ConfigError
from srcli.evaluation.exclusion import exclude
from srcli.learning.keyposes import WORKSPACE, KeyposeInput, KeyposeSet
from srcli.methods.act3d import ACT3D, ACT3D_SNAPPED
from srcli.methods.act3d.decode import locate
from srcli.methods.act3d.ghosts import in_ball, in_box, soft_labels, spacing
from srcli.methods.act3d.network import Act3DNetwork, Asked, Tokens, build_network
from srcli.methods.act3d.policy import Act3D, build
from srcli.methods.act3d.rotary import RelativeAttention, rotary_code
from srcli.methods.act3d.rotation import Bins, Quaternion, SixNumbers, rotation_of
from srcli.methods.act3d.scene import fine_tokens, level_tokens
from srcli.methods.act3d.section import Act3DConfig, Act3DNetworkConfig, GhostsConfig, RotaryConfig
from srcli.methods.act3d.training import Teacher, angle_between, fit
from srcli.methods.base import Decision, TrainingData, Weights
from srcli.methods.registry import settings
from srcli.types import F32, F64

SMALL: dict[str, Any] = {
    "network.width": 12,
    "network.heads": 2,
    "ghosts.train": 12,
    "ghosts.coarse_tokens": 10,
    "ghosts.fine_tokens": 8,
    "train.updates": 6,
    "train.batch_size": 4,
    "train.warmup": 0,
    "train.validate_every": 3,
    "train.checkpoint_every": 1,
    "act.ghosts": 40,
}
LOWER, UPPER = (corner.astype(np.float32) for corner in WORKSPACE)


def small(**changes: Any) -> Act3DConfig:
    made = settings(ACT3D, Act3DConfig(), SMALL | {key.replace("__", "."): value for key, value in changes.items()})
    assert isinstance(made, Act3DConfig)
    return made


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def keyposes(tmp_path_factory: pytest.TempPathFactory) -> FeatureDataset:
    return FeatureDataset(write_features(tmp_path_factory.mktemp("act3d") / "features.h5"))


# ------------------------------------------------------------------------------------------------------- relative attention


def slow_attention(layer: RelativeAttention, states: F64, context: F64, at: F64, other: F64, config: RotaryConfig) -> F64:
    """One decision (g, c), (n, c), positions (g, 3), (n, 3): loops over everything."""

    def linear(part: torch.nn.Linear, x: F64) -> F64:
        made: F64 = part.weight.detach().numpy() @ x + part.bias.detach().numpy()
        return made

    def norm(part: torch.nn.LayerNorm, x: F64) -> F64:
        made: F64 = (x - x.mean()) / np.sqrt(x.var() + part.eps) * part.weight.detach().numpy() + part.bias.detach().numpy()
        return made

    def turned(x: F64, place: F64) -> F64:
        x = x.copy()
        width, heads = len(x), layer.heads
        block = width // heads if config.over == "head" else width
        per_axis = block // 3
        for start in range(0, width, block):
            for axis in range(3):
                for i in range(per_axis // 2):
                    angle = place[axis] * config.scale * config.base ** (-2 * i / per_axis)
                    a = start + axis * per_axis + 2 * i
                    c, s = np.cos(angle), np.sin(angle)
                    x[a], x[a + 1] = c * x[a] - s * x[a + 1], s * x[a] + c * x[a + 1]
        return x

    rows = []
    for state, place in zip(states, at, strict=True):
        q = turned(linear(layer.query, state), place)
        keys = [turned(linear(layer.key, token), there) for token, there in zip(context, other, strict=True)]
        values = [linear(layer.value, token) for token in context]
        read = np.zeros_like(q)
        e = len(q) // layer.heads
        for head in range(layer.heads):
            part = slice(head * e, (head + 1) * e)
            logits = np.array([q[part] @ key[part] / np.sqrt(e) for key in keys])
            weight = np.exp(logits) / np.exp(logits).sum()
            read[part] = sum(w * value[part] for w, value in zip(weight, values, strict=True))
        state = norm(layer.norm, state + linear(layer.out, read))
        state = norm(layer.norm_out, state + linear(layer.down, np.maximum(linear(layer.up, state), 0.0)))
        rows.append(state)
    return np.stack(rows)


@pytest.mark.parametrize("over", ["head", "width"])
def test_relative_attention_is_that_of_slow_loops_and_padding_changes_nothing(over: Any) -> None:
    torch.manual_seed(0)
    config, width, heads = RotaryConfig(over=over, scale=40.0, base=30.0), 24, 2
    layer = RelativeAttention(width, heads).double()
    states, context = rng(1).normal(size=(5, width)), rng(2).normal(size=(7, width))
    at, other = rng(3).normal(0, 0.1, (5, 3)), rng(4).normal(0, 0.1, (7, 3))
    wanted = slow_attention(layer, states, context, at, other, config)

    def fast(context: F64, other: F64, mask: list[bool], moved: float = 0.0) -> F64:
        places = [torch.from_numpy(x[None] + moved) for x in (at, other)]
        codes = rotary_code(places[0], width, heads, config), rotary_code(places[1], width, heads, config)
        with torch.no_grad():
            read = layer(torch.from_numpy(states[None]), torch.from_numpy(context[None]), torch.tensor([mask]), codes)
        found: F64 = read[0].numpy()
        return found

    np.testing.assert_allclose(fast(context, other, [True] * 7), wanted, atol=1e-9)
    junk = np.concatenate([context, 9.0 * np.ones((2, width))]), np.concatenate([other, np.ones((2, 3))])
    np.testing.assert_allclose(fast(*junk, [True] * 7 + [False] * 2), wanted, atol=1e-9)
    # Only offsets count.
    np.testing.assert_allclose(fast(context, other, [True] * 7, moved=0.17), wanted, atol=1e-9)


def test_the_published_rotary_code_turns_a_centimetre_by_a_hundredth() -> None:
    published = RotaryConfig(over="width", scale=1.0, base=10000.0)
    code = rotary_code(torch.tensor([[[0.01, 0.0, 0.0]]]), 120, 4, published)
    assert code.shape == (1, 4, 1, 15)
    assert float(code.angle().abs().max()) == pytest.approx(0.01)
    # The first third of all channels is that of x: the later heads know nothing of it.
    assert float(code[0, 2:].angle().abs().max()) == 0.0


# --------------------------------------------------------------------------------------------------------------- ghost points


def test_ghost_points_fill_the_box_evenly() -> None:
    points = in_box(rng(), LOWER, UPPER, 4000)
    assert points.dtype == np.float32 and (points >= LOWER).all() and (points <= UPPER).all()
    share = ((points - LOWER) / (UPPER - LOWER) < 0.5).all(axis=1).mean()
    assert share == pytest.approx(1 / 8, abs=0.02)


def test_ghost_points_fill_the_ball_evenly_and_stay_in_the_box() -> None:
    centre = np.array([0.5, 0.0, 0.2], np.float32)
    points = in_ball(rng(), centre, 0.16, LOWER, UPPER, 4000)
    radius = np.linalg.norm(points - centre, axis=1)
    assert radius.max() <= 0.08 + 1e-6
    # A ball of half the radius has an eighth of the volume.
    assert (radius < 0.04).mean() == pytest.approx(1 / 8, abs=0.02)
    assert np.abs(points.mean(axis=0) - centre).max() < 0.003
    corner = in_ball(rng(), UPPER + 0.5, 0.16, LOWER, UPPER, 500)
    assert len(corner) == 500 and (corner <= UPPER).all() and np.linalg.norm(corner - UPPER, axis=1).max() <= 0.08 + 1e-6


def test_soft_labels_are_those_of_a_slow_loop_and_scale_with_the_spacing() -> None:
    ghosts, position = in_box(rng(), LOWER, UPPER, 9), np.array([0.5, 0.0, 0.1], np.float32)
    weights = []
    for ghost in ghosts:
        distance = sum((float(a) - float(b)) ** 2 for a, b in zip(ghost, position, strict=True)) ** 0.5
        weights.append(np.exp(-distance / 0.03))
    np.testing.assert_allclose(soft_labels(ghosts, position, 0.03), np.array(weights) / sum(weights), rtol=1e-5)
    assert spacing(8.0, 1) == pytest.approx(2.0)
    # In a box and a ball that differ in size alone, the labels are alike.
    near = in_ball(rng(1), position, 0.04, LOWER, UPPER, 200)
    wide = position + 4 * (near - position)
    one, four = (soft_labels(g, position, t) for g, t in ((near, 0.5 * spacing(1e-4, 200)), (wide, 0.5 * spacing(64e-4, 200))))
    np.testing.assert_allclose(one, four, rtol=1e-3)


def given(count: int = 30, seed: int = 0, place: bool = False) -> KeyposeInput:
    source = rng(seed)
    cells = source.uniform([0.4, -0.1, 0.0], [0.6, 0.1, 0.1], (count, 3)).astype(np.float32)
    features = source.normal(size=(count, 8)).astype(np.float32)
    points = np.repeat(cells, 4, axis=0) + source.normal(0, 0.003, (4 * count, 3)).astype(np.float32)
    colors = source.integers(0, 256, (4 * count, 3)).astype(np.uint8)
    tokens = source.normal(size=(3, 8)).astype(np.float32)
    held = np.full(3, 0.03 if place else 0.0, np.float32)
    return KeyposeInput(cells, features, points, colors, tokens[0], tokens, np.array([True, True, False]), place, held)


def test_finer_levels_read_what_is_nearest() -> None:
    seen, anchor = given(), np.array([0.5, 0.0, 0.05], np.float32)
    places, features, colors = fine_tokens(seen, anchor, 5, False, 0.0, rng())
    order = sorted(range(len(seen.cells)), key=lambda i: float(np.linalg.norm(seen.cells[i] - anchor)))[:5]
    np.testing.assert_array_equal(places, seen.cells[sorted(order)])
    np.testing.assert_array_equal(features, seen.features[sorted(order)])
    assert not colors.any()
    places, features, colors = fine_tokens(seen, anchor, 9, True, 0.0, rng())
    order = sorted(range(len(seen.points)), key=lambda i: float(np.linalg.norm(seen.points[i] - anchor)))[:9]
    np.testing.assert_array_equal(places, seen.points[sorted(order)])
    for place, feature in zip(places, features, strict=True):
        cell = int(np.argmin(np.linalg.norm(seen.cells - place, axis=1)))
        np.testing.assert_array_equal(feature, seen.features[cell])
    assert colors.min() >= -1 and colors.max() <= 1
    config = GhostsConfig(coarse_tokens=1000)
    assert len(level_tokens(seen, 0, anchor, config, rng())[0]) == len(seen.cells)
    assert len(np.unique(level_tokens(seen, 0, anchor, config, rng())[0], axis=0)) == len(seen.cells)


# ------------------------------------------------------------------------------------------------------------------ rotations


def quaternions(count: int, seed: int = 0) -> F32:
    """Of grasps that point downwards, more or less."""
    source = rng(seed)
    yaw, tilt, axis = source.uniform(0, np.pi, count), source.uniform(0, 0.6, count), source.uniform(0, 2 * np.pi, count)
    lean = Rotation.from_rotvec(tilt[:, None] * np.stack([np.cos(axis), np.sin(axis), np.zeros(count)], axis=1))
    made = lean * Rotation.from_euler("z", yaw[:, None]) * Rotation.from_euler("x", np.pi)
    return np.asarray(made.as_quat(), np.float32)


HALF = Rotation.from_euler("z", np.pi)


def half_turned(quaternion: F32) -> F32:
    return np.asarray((Rotation.from_quat(quaternion) * HALF).as_quat(), np.float32)


def test_class_of_a_rotation_is_the_nearest_either_way_round() -> None:
    bins, wanted = Bins(6, 0.44), quaternions(20)
    for quaternion, found in zip(wanted, bins.nearest(wanted), strict=True):
        angles = [
            min(
                (Rotation.from_matrix(f).inv() * Rotation.from_quat(q)).magnitude() for q in (quaternion, half_turned(quaternion))
            )
            for f in bins.frames
        ]
        assert angles[found] == pytest.approx(min(angles), abs=1e-4)
    np.testing.assert_array_equal(bins.nearest(wanted), bins.nearest(half_turned(wanted)))
    said = torch.randn(1, bins.size)
    assert float(bins.log_probabilities(said).exp().sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", [Bins(12, 0.44), SixNumbers(), Quaternion()])
def test_a_half_turn_of_the_jaws_loses_nothing(kind: Any) -> None:
    wanted, said = quaternions(6), torch.from_numpy(rng(3).normal(size=(6, kind.size)).astype(np.float32))
    losses = [kind.loss(said, torch.from_numpy(q), True) for q in (wanted, half_turned(wanted), -wanted)]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(losses[0], losses[2], atol=1e-5, rtol=1e-4)


def test_a_rotation_that_was_said_is_read_back() -> None:
    wanted = quaternions(4)
    for quaternion in wanted:
        frame = Rotation.from_quat(quaternion).as_matrix()
        six = np.concatenate([3 * frame[:, 0], frame[:, 1] + 0.2 * frame[:, 0]]).astype(np.float32)
        for kind, said in ((SixNumbers(), six), (Quaternion(), -2 * quaternion)):
            read, likely = kind.meant(said)
            assert read.shape == (1, 4) and likely.shape == (1,)
            assert angle_between(read[0], quaternion) < 1e-3
    # As published: neither the sign of a quaternion nor the half turn is forgiven.
    turned = torch.from_numpy(-wanted)
    assert float(Quaternion().loss(turned, torch.from_numpy(wanted), False).min()) > 0.9
    assert float(Quaternion().loss(turned, torch.from_numpy(wanted), True).max()) < 1e-5
    assert angle_between(wanted[0], half_turned(wanted[0])) < 1e-3


# ---------------------------------------------------------------------------------------------------------------------- network


def tokens_of(count: int, junk: int, seed: int = 0) -> Tokens:
    source = torch.Generator().manual_seed(seed)
    places, colors = 0.1 * torch.randn(2, count, 3, generator=source), torch.rand(2, count, 3, generator=source)
    features = torch.randn(2, count, 8, generator=source)
    grown = [torch.cat([x, torch.full((2, junk, x.shape[2]), 7.0)], dim=1) for x in (places, features, colors)]
    return Tokens(grown[0], grown[1], grown[2], torch.arange(count + junk).expand(2, -1) < count)


def asked_of(junk: int) -> Asked:
    words = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(4))
    grown = torch.cat([words, torch.full((2, junk, 8), -5.0)], dim=1)
    return Asked(grown, torch.arange(3 + junk).expand(2, -1) < 3, torch.tensor([0, 1]), torch.tensor([[0.0] * 3, [0.04] * 3]))


def test_padding_changes_nothing() -> None:
    network = build_network(small(network__offsets=True).network, 8, 3, 0).double()

    def run(junk: int) -> tuple[Any, Any]:
        tokens, asked = tokens_of(6, junk), asked_of(junk)
        tokens = Tokens(tokens.places.double(), tokens.features.double(), tokens.colors.double(), tokens.mask)
        asked = replace(asked, words=asked.words.double(), held=asked.held.double())
        ghosts = 0.1 * torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        with torch.no_grad():
            found = network(1, tokens, asked, ghosts, network.first_query(2), torch.zeros(2, 3, dtype=torch.float64))
        return found[0].numpy(), found[1].numpy()

    for plain, padded in zip(run(0), run(4), strict=True):
        np.testing.assert_allclose(plain, padded, atol=1e-9)


@pytest.mark.parametrize(("rotation", "tied"), [("bins", True), ("6d", False), ("quaternion", True)])
def test_gradients_reach_every_parameter(rotation: Any, tied: bool, keyposes: FeatureDataset) -> None:
    section = small(network__rotation=rotation, network__tied=tied, network__offsets=not tied)
    network = build_network(section.network, 8, 3, 0)
    teacher = Teacher(network, section, KeyposeSet(keyposes), 0, "cpu")
    sum(teacher.loss(part) for part in teacher.draw(0)).backward()  # type: ignore[union-attr]
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert len(network.levels) == (1 if tied else 3)


def test_the_published_size_is_reached_and_heads_have_to_fit() -> None:
    published = Act3DNetworkConfig(width=120, heads=4, text_layers=2, rotary=RotaryConfig(over="width"), rotation="quaternion")
    # 0.60 million without the encoder and its feature pyramid.
    assert sum(p.numel() for p in build_network(published, 512, 3, 0).parameters()) == pytest.approx(0.65e6, rel=0.08)
    with pytest.raises(ConfigError, match=r"width = 72 .* 5 heads"):
        build_network(Act3DNetworkConfig(heads=5), 8, 3, 0)
    with pytest.raises(ValueError, match="jitter has 1 values for 2 balls"):
        GhostsConfig(jitter=(0.04,))


# -------------------------------------------------------------------------------------------------------------- training, acting


def trained(keyposes: FeatureDataset, path: Path, updates: int, checkpoint: str, **changes: Any) -> Any:
    section = small(train__updates=updates, **changes)
    return fit(section, TrainingData(features=keyposes), seed=1, device="cpu", checkpoint=path / checkpoint, progress=None)


def test_learns_from_few_updates(keyposes: FeatureDataset, tmp_path: Path) -> None:
    fitted = trained(keyposes, tmp_path, 40, "a", train__lr=1e-2, train__turn=0.0, train__shift=0.0, train__validate_every=40)
    loss = fitted.curves["train_loss"]
    assert loss[-2:].mean() < 0.8 * loss[0]
    assert set(fitted.metrics) == {"valid_loss", "valid_error", "valid_near", "valid_angle"}
    assert fitted.samples == 4 and fitted.facts["feature_dim"] == 8


def test_errors_are_measured_with_as_many_ghost_points_as_it_acts_with(keyposes: FeatureDataset, tmp_path: Path) -> None:
    few, many = (trained(keyposes, tmp_path, 1, f"ghosts{count}", act__ghosts=count) for count in (40, 4000))
    assert few.metrics["valid_loss"] == many.metrics["valid_loss"], "the loss is that of training"
    assert few.metrics["valid_error"] != many.metrics["valid_error"]
    again = trained(keyposes, tmp_path, 1, "ghosts40", act__ghosts=4000)
    assert again.metrics == many.metrics, "a checkpoint with another number is another training's"


def test_an_interrupted_training_ends_with_the_same_weights(
    keyposes: FeatureDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(keyposes, tmp_path, 6, "whole")

    def stop(done: int, total: int, text: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    data = TrainingData(features=keyposes)
    with pytest.raises(KeyboardInterrupt):
        fit(small(), data, seed=1, device="cpu", checkpoint=tmp_path / "part", progress=stop)
    rest = fit(small(), data, seed=1, device="cpu", checkpoint=tmp_path / "part", progress=None)
    assert all(np.array_equal(whole.weights[name], value) for name, value in rest.weights.items())


def policy(seed: int = 0, snap: bool = False) -> Act3D:
    made = build(small(act__snap=snap), None, TinyEncoder(), "cpu", seed)  # type: ignore[arg-type]
    assert isinstance(made, Act3D)
    return made


def asking(place: bool = False, failed: tuple[F32, ...] = ()) -> Decision:
    xyz = rng(1).normal([0.5, 0.0, 0.05], 0.03, (6, 3)).tolist()
    percept = random_percept()
    made = (placing if place else decision)(xyz, percept=lambda: percept)
    return replace(made, observation=from_above(), failed=failed, repeats=lambda poses: exclude(poses, failed))


@pytest.mark.parametrize("place", [False, True])
def test_a_failed_pose_is_never_repeated(place: bool) -> None:
    acting, failed = policy(), ()  # type: tuple[Act3D, tuple[F32, ...]]
    for _ in range(6):
        choice = acting.act(asking(place, failed))
        assert choice.action.index is None and np.isfinite(choice.action.pose).all()
        assert not exclude(np.stack([choice.action.pose, choice.action.pose + 9]), failed)[0]
        failed = (*failed, choice.action.pose)
    if place:
        np.testing.assert_array_equal(np.stack(failed)[:, 3:], np.tile([1.0, 0, 0, 0], (6, 1)))


def test_the_snapped_row_takes_a_candidate_and_controls_differ_by_seed() -> None:
    given = asking()
    assert policy(snap=True).act(given).action.index in range(6)
    poses = [policy(seed).act(asking()).action.pose for seed in (0, 0, 1)]
    np.testing.assert_array_equal(poses[0], poses[1])
    assert not np.array_equal(poses[0], poses[2])
    assert ACT3D_SNAPPED.fitted_as == "act3d" and ACT3D_SNAPPED.preset == {"act.snap": True}


def test_weights_bring_their_own_network(keyposes: FeatureDataset, tmp_path: Path) -> None:
    fitted = trained(keyposes, tmp_path, 2, "a")
    section = small(train__updates=2).model_dump(mode="json")
    weights = Weights(fitted.weights, section, training=fitted.facts)
    one, other = (build(Act3DConfig(), weights, TinyEncoder(), "cpu", seed) for seed in (0, 5))  # type: ignore[arg-type]
    given = asking()
    np.testing.assert_array_equal(one.act(given).action.pose, other.act(asking()).action.pose)


def test_each_level_looks_where_the_one_before_found() -> None:
    config, network = small(), build_network(small().network, 8, 3, 2)
    assert isinstance(network, Act3DNetwork) and network.rotation.size == rotation_of(config.network).size
    (found,) = locate(network, [given(place=True)], config.ghosts, 50, [rng(1)])
    for level, diameter in enumerate(config.ghosts.balls, start=1):
        best = found.ghosts[level - 1][int(np.argmax(found.logits[level - 1]))]
        np.testing.assert_array_equal(found.anchors[level], best)
        assert np.linalg.norm(found.ghosts[level] - best, axis=1).max() <= diameter / 2 + 1e-6
    (away,) = locate(network, [given(place=True)], config.ghosts, 50, [rng(1)], barred=lambda _, points: points[:, 0] < 0.5)
    assert (away.position[0] >= 0.5) and np.isinf(away.logits[0][away.ghosts[0][:, 0] < 0.5]).all()
