"""3D Diffuser Actor: its schedules, steps, rotations and rotary attention against slow references."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from method_inputs import random_poses, shaken
from scipy.spatial.transform import Rotation

from srcli.learning.keyposes import WORKSPACE
from srcli.methods.diffuser_actor.attention import Layer, Rotary
from srcli.methods.diffuser_actor.noising import Diffusion, Flow, scaled_linear, squared_cosine
from srcli.methods.diffuser_actor.rotation import from_nine, to_nine
from srcli.methods.diffuser_actor.section import DiffuserNoiseConfig
from srcli.methods.networks import turn_pairs
from srcli.types import F64

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
