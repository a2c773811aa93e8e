"""A2's network: against its block written again, masks, independence of candidates, and the unit of its positions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from method_inputs import B, D, K, L, N, make_batch, normal, padded, shaken
from torch import Tensor
from torch.nn.functional import layer_norm, normalize

from srcli.errors import ConfigError
from srcli.methods.a2.network import A2Network, build_network
from srcli.methods.a2.section import A2Config
from srcli.methods.registry import settings, spec_of
from srcli.models.geometry import fourier, rotary

H = 4
NAMES = ("a2", "a2_metres")


def section(name: str = "a2", **changes: Any) -> A2Config:
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    made = settings(spec_of(name), A2Config(), {"network.heads": H, **dotted})
    assert isinstance(made, A2Config)
    return made


def network(name: str = "a2", dim: int = D, **changes: Any) -> A2Network:
    return build_network(section(name, **changes).network, dim, 3).double()


@pytest.mark.parametrize("name", NAMES)
def test_padding_never_changes_a_score(name: str) -> None:
    net, batch = network(name), make_batch()
    ours, theirs = net(batch), net(padded(batch, 7, 5, 3))
    torch.testing.assert_close(theirs.logits[:, :K], ours.logits)
    torch.testing.assert_close(theirs.mask[:, :N], ours.mask)
    assert torch.isneginf(theirs.logits[:, K:]).all()
    assert (theirs.mask[:, N:] == 0).all() and (ours.mask == 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_score_depends_on_no_other_candidate_and_on_no_order_of_points(name: str) -> None:
    net, batch = network(name), make_batch()
    scores, order = net(batch).logits, torch.tensor([4, 0, 7])
    names = ("candidates", "candidate_mask", "quality")
    fewer = replace(batch, **{name: getattr(batch, name)[:, order] for name in names})
    torch.testing.assert_close(net(fewer).logits, scores[:, order])
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    mixed = replace(batch, **{name: getattr(batch, name)[:, order] for name in ("points", "features", "similarity")})
    torch.testing.assert_close(net(mixed).logits, scores)


@pytest.mark.parametrize("name", NAMES)
def test_it_hears_the_sentence_through_the_similarity_alone(name: str) -> None:
    net, batch = network(name), make_batch()
    text = normalize(normal(B, D, seed=40), dim=-1)
    words = replace(batch, text=text, tokens=normalize(normal(B, L, D, seed=50), dim=-1))
    torch.testing.assert_close(net(words).logits, net(batch).logits)
    heard = replace(words, similarity=torch.einsum("bnd,bd->bn", batch.features, text))
    assert (net(heard).logits - net(batch).logits).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_it_knows_neither_quality_nor_kind_of_a_candidate(name: str) -> None:
    net, batch = network(name), make_batch()
    other = replace(batch, quality=1 - batch.quality, place=torch.ones(B, dtype=torch.bool))
    assert torch.equal(net(other).logits, net(batch).logits)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    net = network(name)
    torch.log_softmax(net(make_batch()).logits, dim=1)[:, 0].sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert sum(float(p.grad.abs().max()) > 1e-9 for p in net.parameters()) > 0.8 * len(list(net.parameters()))


def test_gradcheck_of_the_whole_network() -> None:
    net = network(dim=12, network__heads=2)
    batch = make_batch(points=5, candidates=3, tokens=2)
    features, similarity = batch.features[..., :12].clone().requires_grad_(), batch.similarity.clone().requires_grad_()

    def score(f: Tensor, s: Tensor) -> Tensor:
        return net(replace(batch, features=f, similarity=s)).logits  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(score, (features, similarity), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_the_published_block_written_again(name: str) -> None:
    net, batch = shaken(network(name)), make_batch()
    p, e = {key: value.detach() for key, value in net.named_parameters()}, D // H

    def linear(x: Tensor, at: str) -> Tensor:
        return torch.einsum("...i,oi->...o", x, p[f"{at}.weight"]) + p[f"{at}.bias"]

    def three_layers(x: Tensor, at: str) -> Tensor:
        return linear(linear(linear(x, f"{at}.0").clamp(min=0), f"{at}.2").clamp(min=0), f"{at}.4")

    def norm(x: Tensor, at: str) -> Tensor:
        return layer_norm(x, (D,), p[f"{at}.weight"], p[f"{at}.bias"])

    for b in range(B):
        points, tips, s = batch.points[b], batch.candidates[b, :, :3], batch.similarity[b]
        if name == "a2":
            points, tips = ((x - torch.tensor([0.5, 0.0, 0.0])) / 0.224 for x in (points, tips))
        values = batch.features[b] * ((s - s.min() + 1e-4) / (s.max() - s.min() + 1e-4))[:, None]
        asks = three_layers(torch.cat([tips, batch.candidates[b, :, 3:]], 1), "stage2.candidate")
        keys = rotary(three_layers(fourier(points), "stage2.position")[None], points[None])[0]
        values = norm(rotary(values[None], points[None])[0], "stage2.norm_q")
        q, k, v = (
            linear(x, f"stage2.attention.{at}").reshape(-1, H, e)
            for at, x in (("q", norm(asks, "stage2.norm_q")), ("k", norm(keys, "stage2.norm_q")), ("v", values))
        )
        weights = torch.softmax(torch.einsum("khe,nhe->hkn", q, k) / math.sqrt(e), dim=2)
        h = asks + linear(torch.einsum("hkn,nhe->khe", weights, v).reshape(K, D), "stage2.attention.out")
        hidden = linear(norm(h, "stage2.norm_out"), "stage2.up")
        h = h + linear(hidden * torch.sigmoid(1.702 * hidden), "stage2.down")
        with torch.no_grad():
            scores = net(batch)
        torch.testing.assert_close(scores.logits[b], three_layers(h, "head")[:, 0])
        torch.testing.assert_close(scores.attention[b], weights)


def test_place_adapter_is_silent_at_first_and_never_touches_picks() -> None:
    shared, adapted = network(), network(network__place_head="adapter")
    adapted.load_state_dict({**adapted.state_dict(), **shared.state_dict()})
    places, picks = make_batch(place=True), make_batch(place=False)
    torch.testing.assert_close(adapted(places).logits, shared(places).logits)
    assert adapted.adapter is not None
    with torch.no_grad():
        adapted.adapter.up.weight.normal_()
    assert not torch.allclose(adapted(places).logits, shared(places).logits)
    for batch in (picks, make_batch()):
        torch.testing.assert_close(adapted(batch).logits, shared(batch).logits)


def test_one_centimetre_is_seen_as_more_in_units_of_the_workspace() -> None:
    """The identifiers differ in the unit of positions and in nothing else."""
    scaled, metres = network("a2"), network("a2_metres")
    assert all(torch.equal(a, b) for a, b in zip(scaled.state_dict().values(), metres.state_dict().values(), strict=True))
    batch = make_batch()
    seen = replace(
        batch,
        points=(batch.points - torch.tensor([0.5, 0.0, 0.0])) / 0.224,
        candidates=torch.cat([(batch.candidates[..., :3] - torch.tensor([0.5, 0, 0])) / 0.224, batch.candidates[..., 3:]], -1),
    )
    torch.testing.assert_close(metres(seen).logits, scaled(batch).logits)
    assert not torch.allclose(metres(batch).logits, scaled(batch).logits)


def test_sizes_seed_and_errors() -> None:
    big = build_network(section(network__width=768, network__heads=8).network, 768, 0)
    assert 7e6 < sum(p.numel() for p in big.parameters()) < 1e7
    with pytest.raises(ConfigError, match=r"methods\.a2\.network\.heads = 8 does not divide"):
        network(network__width=30, network__heads=8)
    assert network(network__width=32)(make_batch()).logits.shape == (B, K)
    states = []
    for other in (1, 2):
        torch.manual_seed(other)
        before = torch.random.get_rng_state()
        states.append(build_network(section().network, D, 5).state_dict())
        assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], v) for k, v in build_network(section().network, D, 6).state_dict().items())
