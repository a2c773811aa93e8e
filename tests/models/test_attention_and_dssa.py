"""Attention, DSSA and the position biases against slow references written with loops and explicit differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from srcli.methods.sr.dssa import SelfAttention
from srcli.methods.sr.radial_pooling import RadialPooling
from srcli.methods.sr.section import DSSAConfig
from srcli.models.attention import CrossAttention
from srcli.models.branches import branches, plain_branches
from srcli.models.geometry import CENTRE, RelativeWaves, ToolWindow, fourier, rotary, tool_axes
from srcli.models.sparsity import MASKED, branch_weights

B, N, D, H = 2, 11, 24, 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask_of(*counts: int) -> Tensor:
    return torch.arange(N)[None] < torch.tensor(counts)[:, None]


def self_attention(norm: str = "none", **config: object) -> SelfAttention:
    torch.manual_seed(1)
    module = SelfAttention(D, H, DSSAConfig.model_validate(config), norm).double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(p.numel())))
    return module


def slow_self_attention(module: SelfAttention, x: Tensor, points: Tensor, mask: Tensor) -> Tensor:
    """One sample, one head, one query at a time; B from explicit differences of positions."""
    config, e = module.config, D // H
    weight, bias = module.qkv.weight, module.qkv.bias
    out = torch.zeros_like(x)
    for b in range(len(x)):
        real = [j for j in range(N) if mask[b, j]]
        heads = []
        for h in range(H):
            rows = [slice(part * D + h * e, part * D + (h + 1) * e) for part in range(3)]
            q, k, v = (x[b] @ weight[r].T + bias[r] for r in rows)
            scores = torch.zeros(N, N, dtype=x.dtype)
            for i in range(N):
                for j in real:
                    scores[i, j] = q[i] @ k[j] / math.sqrt(e)
                    if module.waves is not None:
                        phase = module.waves.frequency @ ((points[b, i] - points[b, j]) / module.waves.radius)
                        scores[i, j] += (module.waves.even[h] * phase.cos() + module.waves.odd[h] * phase.sin()).sum()
            result = []
            for i in range(N):
                row = scores[i, real]
                dense = torch.softmax(row, 0) @ v[real]
                if config.branch == "dense":
                    result.append(dense)
                    continue
                phi = {"relu": row.clamp(min=0), "relu2": row.clamp(min=0) ** 2, "softmax": torch.softmax(row, 0)}[config.sparse]
                sparse = phi @ v[real]
                if module.sparse_norm == "rms":
                    sparse = sparse / torch.sqrt((sparse**2).mean() + 1e-6) * module.gain[h, 0]  # type: ignore[index]
                elif module.sparse_norm == "count":
                    sparse = sparse / len(real)
                if config.branch == "sparse":
                    result.append(sparse)
                    continue
                assert module.mix is not None
                a = module.mix.exp() / module.mix.exp().sum()
                result.append(a[0] * dense + a[1] * sparse)
            heads.append(torch.stack(result))
        out[b] = torch.cat(heads, dim=1) @ module.out.weight.T + module.out.bias
    return out


@pytest.mark.parametrize("sparse", ["softmax", "relu", "relu2"])
@pytest.mark.parametrize("norm", ["rms", "count", "none"])
@pytest.mark.parametrize("branch", ["both", "sparse"])
def test_dssa_equals_the_slow_reference(sparse: str, norm: str, branch: str) -> None:
    module = self_attention(norm, sparse=sparse, branch=branch)
    x, points, mask = normal(B, N, D), 0.1 * normal(B, N, 3, seed=3), mask_of(N, 7)
    torch.testing.assert_close(module(x, points, mask)[mask], slow_self_attention(module, x, points, mask)[mask])


@pytest.mark.parametrize("norm", ["rms", "none"])
def test_ordinary_attention_equals_the_slow_reference(norm: str) -> None:
    module = self_attention(norm, branch="dense")
    assert module.mix is None and module.gain is None
    x, points, mask = normal(B, N, D), 0.1 * normal(B, N, 3, seed=3), mask_of(N, 7)
    torch.testing.assert_close(module(x, points, mask)[mask], slow_self_attention(module, x, points, mask)[mask])


def test_identity_convolution_changes_nothing_and_ignores_padding() -> None:
    plain = self_attention("rms")
    conv = SelfAttention(D, H, DSSAConfig(dense_conv="dw3"), "rms").double()
    conv.load_state_dict({**plain.state_dict(), "conv.weight": conv.conv.weight})  # type: ignore[union-attr]
    x, points, mask = normal(B, N, D), 0.1 * normal(B, N, 3, seed=3), mask_of(N, 7)
    torch.testing.assert_close(conv(x, points, mask)[mask], plain(x, points, mask)[mask])
    with torch.no_grad():
        conv.conv.weight.add_(0.3)  # type: ignore[union-attr]
    before = conv(x, points, mask)[mask]
    torch.testing.assert_close(conv(x.masked_fill(~mask[..., None], 9.0), points, mask)[mask], before)
    assert not torch.allclose(before, plain(x, points, mask)[mask])


@pytest.mark.parametrize("kind", [None, "relu", "relu2"])
def test_frugal_branches_equal_plain_ones_with_gradients(kind: str | None) -> None:
    q, k, v = (normal(B, H, N, c, seed=c).requires_grad_() for c in (5, 5, 6))
    weights = normal(2, B, H, N, 6, seed=9)
    gradients = []
    for function in (branches, plain_branches):
        dense, sparse = function(q, k, v, kind)  # type: ignore[arg-type]
        total = (dense * weights[0]).sum() + (0.0 if sparse is None else (sparse * weights[1]).sum())
        gradients.append((total.detach(), *torch.autograd.grad(total, (q, k, v))))
    for ours, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, reference)


def test_gradcheck_of_the_frugal_branches() -> None:
    q, k, v = (normal(1, 2, 4, 3, seed=s).requires_grad_() for s in (1, 2, 3))
    assert torch.autograd.gradcheck(lambda *x: branches(*x, "relu2"), (q, k, v))


@pytest.mark.parametrize("kind", ["softmax", "relu", "relu2"])
def test_masked_logits_weigh_nothing(kind: str) -> None:
    logits = normal(3, 5)
    logits[:, 2] = logits[:, 2] + MASKED
    assert (branch_weights(logits, kind)[:, 2] == 0).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("sink", [False, True])
def test_cross_attention_equals_the_slow_reference(sink: bool) -> None:
    torch.manual_seed(2)
    module = CrossAttention(D, H, sink=sink).double()
    query, key, value, bias, mask = (
        normal(B, 3, D),
        normal(B, N, D, seed=4),
        normal(B, N, D, seed=5),
        normal(B, H, 3, N),
        mask_of(N, 6),
    )
    out, weights = module(query, key, value, mask, bias)
    e = D // H
    for b in range(B):
        for i in range(3):
            parts = []
            for h in range(H):
                cut = slice(h * e, (h + 1) * e)
                scores = [
                    (module.q(query[b, i])[cut] @ module.k(key[b, j])[cut]).item() / math.sqrt(e) + bias[b, h, i, j].item()
                    for j in range(N)
                    if mask[b, j]
                ]
                total = sum(math.exp(s) for s in scores) + (math.exp(module.sink[h].item()) if module.sink is not None else 0.0)
                w = torch.tensor([math.exp(s) / total for s in scores], dtype=torch.float64)
                torch.testing.assert_close(weights[b, h, i, mask[b]], w)
                parts.append(w @ module.v(value[b, mask[b]])[:, cut])
            torch.testing.assert_close(out[b, i], module.out(torch.cat(parts)))
    assert (weights[1, :, :, 6:] == 0).all()


def test_a_sink_that_is_left_out_is_none() -> None:
    torch.manual_seed(2)
    module = CrossAttention(D, H, sink=True).double()
    plain = CrossAttention(D, H).double()
    plain.load_state_dict({name: value for name, value in module.state_dict().items() if name != "sink"})
    args = (normal(B, 3, D), normal(B, N, D, seed=4), normal(B, N, D, seed=5), mask_of(N, 6))
    torch.testing.assert_close(module(*args, sink=False), plain(*args))
    assert not torch.allclose(module(*args)[0], plain(*args)[0])


def test_tool_window_equals_explicit_offsets() -> None:
    torch.manual_seed(0)
    window = ToolWindow(H, 0.025).double()
    with torch.no_grad():
        window.centre.normal_()
        window.log_radius.add_(0.3 * torch.randn(H, 3, dtype=torch.float64))
    poses = torch.cat(
        [torch.tensor(CENTRE) + 0.05 * normal(B, 5, 3), torch.nn.functional.normalize(normal(B, 5, 4, seed=2), dim=-1)], -1
    )
    points = torch.tensor(CENTRE) + 0.05 * normal(B, N, 3, seed=6)
    bias = window(poses, points)
    axes = tool_axes(poses[..., 3:])
    torch.testing.assert_close(axes @ axes.transpose(-1, -2), torch.eye(3, dtype=torch.float64).expand_as(axes))
    for h in range(H):
        local = (points[:, None] - poses[:, :, None, :3]) @ axes
        slow = -0.5 * (((local - window.centre[h] * window.scale) / window.log_radius[h].exp()) ** 2).sum(-1)
        torch.testing.assert_close(bias[:, h], slow)


def test_positions_are_read_exactly_though_autocast_computes_in_bf16() -> None:
    window, waves, rings = ToolWindow(H, 0.025), RelativeWaves(H, 6), RadialPooling(D)
    poses = torch.cat([torch.tensor(CENTRE) + 0.05 * normal(B, 5, 3), normal(B, 5, 4, seed=2)], -1).float()
    points = (torch.tensor(CENTRE) + 0.05 * normal(B, N, 3, seed=6)).float()
    cosine, real = torch.rand(B, N), torch.ones(B, N, dtype=torch.bool)
    learned = normal(B, N, 2, seed=7).float()

    def read() -> list[torch.Tensor]:
        return [window(poses, points), *waves(points), rings.read(poses, points, learned, real, cosine, None)]

    exact = read()
    with torch.autocast("cpu", torch.bfloat16):
        assert (points @ torch.eye(3)).dtype == torch.bfloat16
        found = read()
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)


def test_waves_depend_on_differences_only() -> None:
    waves = RelativeWaves(H, 6).double()
    points = 0.1 * normal(B, N, 3)
    query, key = waves(points)
    moved_query, moved_key = waves(points + torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64))
    torch.testing.assert_close(query @ key.transpose(-1, -2), moved_query @ moved_key.transpose(-1, -2))
    height = (query @ key.transpose(-1, -2)).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(height, torch.full_like(height, 2.0))


def test_rotary_keeps_length_and_makes_products_relative() -> None:
    a, b = normal(1, 1, 18), normal(1, 1, 18, seed=1)
    p, q, shift = normal(1, 1, 3, seed=2), normal(1, 1, 3, seed=3), normal(1, 1, 3, seed=4)
    torch.testing.assert_close(rotary(a, p).norm(dim=-1), a.norm(dim=-1))
    product = (rotary(a, p) * rotary(b, q)).sum()
    torch.testing.assert_close((rotary(a, p + shift) * rotary(b, q + shift)).sum(), product)
    assert fourier(p).shape == (1, 1, 33)
