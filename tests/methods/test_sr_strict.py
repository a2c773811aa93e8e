"""Strict SR, SR-A and BASE: the paper's network written again with einsum from its parameters, and nothing else in it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from method_inputs import STRICT, B, D, make_batch, normal, shaken, sr_network, sr_section
from torch import Tensor

from srcli.models.batch import Batch

H = 4
E = D // H
STRICT_NAMES = (*STRICT, "sr_relu", "sr_softmax")
Arrays = dict[str, Tensor]


def layer_norm(x: Tensor, p: Arrays, name: str) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def linear(x: Tensor, p: Arrays, name: str) -> Tensor:
    out = torch.einsum("...i,oi->...o", x, p[f"{name}.weight"])
    return out + p[f"{name}.bias"] if f"{name}.bias" in p else out


def three_layers(x: Tensor, p: Arrays, name: str) -> Tensor:
    x = linear(x, p, f"{name}.0").clamp(min=0)
    x = linear(x, p, f"{name}.2").clamp(min=0)
    return linear(x, p, f"{name}.4")


def scaled(xyz: Tensor) -> Tensor:
    """Positions in units of half the workspace's edge, from its centre."""
    return (xyz - torch.tensor([0.5, 0.0, 0.0], dtype=xyz.dtype)) / 0.224


def encoded(x: Tensor) -> Tensor:
    waves = [f(2.0**i * x) for f in (torch.sin, torch.cos) for i in range(5)]
    return torch.cat([x, *waves], dim=-1)


def turned(x: Tensor, place: Tensor) -> Tensor:
    """3-D rotary code: a third of the channels per axis, pairs as complex numbers."""
    out, third = x.clone(), 2 * (x.shape[-1] // 6)
    for axis in range(3):
        for i in range(0, third, 2):
            at = axis * third + i
            angle = place[:, axis] * 10000.0 ** (-i / third)
            pair = torch.complex(x[:, at], x[:, at + 1]) * torch.exp(1j * angle)
            out[:, at], out[:, at + 1] = pair.real, pair.imag
    return out


def heads(x: Tensor) -> Tensor:
    return x.reshape(len(x), H, E)


def one_align(p: Arrays, f: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Aligned cloud (n, d) and mask (n,) of features (n, d) and tokens (l, d), the pooled sentence the first."""
    q, k, w = (heads(linear(x, p, f"stage1.{name}")) for name, x in (("q", t), ("k", f), ("text", t)))
    s = torch.einsum("lhe,nhe->hln", q, k) / math.sqrt(E)
    over_points, over_tokens = torch.softmax(s, dim=2), torch.softmax(s, dim=1)
    weight = linear(t, p, "stage1.token_weight")[:, 0]
    weight = torch.softmax(torch.cat([weight[:1] + p["stage1.pooled_weight"], weight[1:]]), dim=0)
    mean = torch.einsum("l,hln->n", weight, over_points)
    m = mean / mean.max()
    carried = torch.einsum("hln,lhe->nhe", over_tokens, w).reshape(len(f), D)
    written = linear(linear(f, p, "stage1.v"), p, "stage1.out")
    return layer_norm(f + m[:, None] * written + carried, p, "stage1.norm"), m


def encoder(p: Arrays, cloud: Tensor, points: Tensor, branch: str, sparse: str) -> Tensor:
    """Encoded positions added, then one layer: DSSA with a sparse branch of unit size, or ordinary attention."""
    x = cloud + linear(encoded(scaled(points)), p, "locate")
    name = "encoder.0"
    q, k, v = (heads(part) for part in linear(layer_norm(x, p, f"{name}.norm1"), p, f"{name}.attention.qkv").split(D, dim=-1))
    waves = f"{name}.attention.waves"
    phase = torch.einsum("ijx,rx->ijr", (points[:, None] - points[None]) / 0.05, p[f"{waves}.frequency"])
    offset = torch.einsum("ijr,hr->hij", phase.cos(), p[f"{waves}.even"])
    offset = offset + torch.einsum("ijr,hr->hij", phase.sin(), p[f"{waves}.odd"])
    s = torch.einsum("ihe,jhe->hij", q, k) / math.sqrt(E) + offset
    read = torch.einsum("hij,jhe->ihe", torch.softmax(s, dim=2), v)
    if branch == "both":
        phi = {"relu2": s.clamp(min=0) ** 2, "relu": s.clamp(min=0), "softmax": torch.softmax(s, dim=2)}[sparse]
        a = p[f"{name}.attention.mix"].exp()
        other = torch.einsum("hij,jhe->ihe", phi, v)
        other = other / (other.square().mean(dim=2, keepdim=True) + 1e-6).sqrt()
        read = (a[0] * read + a[1] * other * p[f"{name}.attention.gain"].reshape(1, H, E)) / a.sum()
    x = x + linear(read.reshape(len(x), D), p, f"{name}.attention.out")
    hidden = linear(layer_norm(x, p, f"{name}.norm2"), p, f"{name}.up")
    gelu = 0.5 * hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    return x + linear(gelu, p, f"{name}.down")


def two_align(p: Arrays, poses: Tensor, points: Tensor, f: Tensor, values: Tensor, m: Tensor | None) -> Tensor:
    """States (k, d) of candidates that ask; keys from features and positions, values from the aligned cloud, log m as a bias."""
    e = three_layers(torch.cat([scaled(poses[:, :3]), poses[:, 3:]], dim=1), p, "stage2.candidate")
    place = scaled(points)
    g = turned(three_layers(torch.cat([f, encoded(place)], dim=1), p, "stage2.position"), place)
    q = heads(linear(layer_norm(e, p, "stage2.norm_q"), p, "stage2.attention.q"))
    k = heads(linear(layer_norm(g, p, "stage2.norm_k"), p, "stage2.attention.k"))
    v = heads(linear(values, p, "stage2.attention.v"))
    s = torch.einsum("khe,nhe->hkn", q, k) / math.sqrt(E)
    if m is not None:
        s = s + m.clamp(min=1e-3).log()
    read = torch.einsum("hkn,nhe->khe", torch.softmax(s, dim=2), v).reshape(len(e), D)
    h = e + linear(read, p, "stage2.attention.out")
    hidden = linear(layer_norm(h, p, "stage2.norm_out"), p, "stage2.up")
    return h + linear(hidden * torch.sigmoid(1.702 * hidden), p, "stage2.down")


def reference(p: Arrays, name: str, batch: Batch, b: int) -> tuple[Tensor, Tensor]:
    """Logits of the real candidates and mask of the real points of one decision."""
    rows, words = batch.point_mask[b], batch.token_mask[b]
    points, f, s = batch.points[b, rows], batch.features[b, rows], batch.similarity[b, rows]
    s = (s - s.min() + 1e-4) / (s.max() - s.min() + 1e-4)
    if name == "base":
        values, m = f * s[:, None], None
    else:
        values, m = one_align(p, f, torch.cat([batch.text[b][None], batch.tokens[b, words]]))
        branch = "dense" if name == "sr_a" else "both"
        values = encoder(p, values, points, branch, {"sr_relu": "relu", "sr_softmax": "softmax"}.get(name, "relu2"))
    states = two_align(p, batch.candidates[b, batch.candidate_mask[b]], points, f, values, m)
    return three_layers(states, p, "head")[:, 0], torch.ones_like(s) if m is None else m


@pytest.mark.parametrize("name", STRICT_NAMES)
def test_strict_networks_equal_the_papers_network_written_again(name: str) -> None:
    net, batch = shaken(sr_network(name)), make_batch()
    hidden = {"point_mask": batch.point_mask.clone(), "token_mask": batch.token_mask.clone()}
    hidden["candidate_mask"] = batch.candidate_mask.clone()
    hidden["point_mask"][1, 25:], hidden["token_mask"][1, 4:], hidden["candidate_mask"][1, 6:] = False, False, False
    batch = replace(batch, **hidden)
    p = {key: value.detach() for key, value in net.named_parameters()}
    with torch.no_grad():
        scores = net(batch)
    for b in range(B):
        logits, mask = reference(p, name, batch, b)
        torch.testing.assert_close(scores.logits[b, batch.candidate_mask[b]], logits)
        torch.testing.assert_close(scores.mask[b, batch.point_mask[b]], mask)


ADDITIONS = ("similarity_gain", "strength", "window", "sink", "rings", "words", "readout")


@pytest.mark.parametrize("name", STRICT_NAMES)
def test_strict_networks_have_no_parameter_of_any_addition(name: str) -> None:
    state = dict(sr_network(name).named_parameters())
    assert [key for key in state if set(key.split(".")) & set(ADDITIONS)] == []
    assert state["stage2.candidate.0.weight"].shape[1] == 7, "a pose, and no quality"
    assert state["stage2.position.0.weight"].shape[1] == D + 33, "features together with the encoded position"
    modules = {key.partition(".")[0] for key in state}
    assert modules == {"stage2", "head"} if name == "base" else modules == {"stage1", "locate", "encoder", "stage2", "head"}
    plus = dict(sr_network("sr_plus").named_parameters())
    assert {part for key in plus for part in key.split(".")} >= set(ADDITIONS), "the names that are looked for do exist"


@pytest.mark.parametrize("name", [name for name in STRICT_NAMES if name != "base"])
def test_strict_networks_start_without_any_rule_for_language(name: str) -> None:
    """Queries and keys of 1-Align start as different random maps, and no token counts more than another."""
    stage = sr_network(name).stage1
    assert stage is not None and not torch.allclose(stage.q.weight, stage.k.weight)
    assert float(stage.pooled_weight.detach()) == 0.0 == float(stage.token_weight.weight.detach().abs().max())
    product = (stage.q.weight.T @ stage.k.weight).detach()
    assert float(product.diagonal().abs().mean()) < 3 * float(product.abs().mean())
    plus = sr_network("sr_plus").stage1
    assert plus is not None and torch.equal(plus.q.weight, plus.k.weight) and float(plus.pooled_weight.detach()) > 0


@pytest.mark.parametrize("name", STRICT_NAMES)
def test_strict_identifiers_choose_by_two_align_alone_and_learn_from_the_experts_candidate(name: str) -> None:
    section = sr_section(name)
    choice = section.choice
    assert (choice.align1, choice.align1_place, choice.prior, choice.prior_place, choice.align2) == (0, 0, 0, 0, 1)
    assert section.train.target == "expert" and section.noise.sigma == 0
    assert section.network.encoder.layers == 1


@pytest.mark.parametrize("name", STRICT_NAMES)
def test_strict_scores_know_neither_the_quality_nor_the_kind_of_a_candidate(name: str) -> None:
    net, batch = sr_network(name), make_batch()
    before = net(batch).logits
    other = replace(batch, quality=1 - batch.quality, place=torch.ones(B, dtype=torch.bool))
    torch.testing.assert_close(net(other).logits, before)


def test_base_hears_the_sentence_through_the_similarity_alone() -> None:
    net, batch = sr_network("base"), make_batch()
    other = replace(batch, tokens=normal(*batch.tokens.shape, seed=70), text=normal(*batch.text.shape, seed=71))
    torch.testing.assert_close(net(other).logits, net(batch).logits)
    assert not torch.allclose(net(replace(batch, similarity=-batch.similarity)).logits, net(batch).logits)
