"""The networks of SR, SR-A and BASE: masks, independence of candidates, language, gradients, each stage by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from method_inputs import PLUS, STRICT, B, D, K, L, N, make_batch, normal, padded, shaken, sr_network, sr_section
from torch import Tensor
from torch.nn.functional import normalize

from srcli.errors import ConfigError
from srcli.methods.sr.align import OneAlign, TwoAlign
from srcli.methods.sr.network import build_network
from srcli.methods.sr.section import AdditionsConfig, OneAlignConfig
from srcli.models.layers import rescale

NAMES = (*STRICT, *PLUS)
STAGED = ("sr", "sr_a", "sr_plus", "sr_a_plus")
STRICT_ADDITIONS, PLUS_ADDITIONS = sr_section("sr").additions, sr_section("sr_plus").additions


@pytest.mark.parametrize("place", ["points", "actions"])
@pytest.mark.parametrize("name", NAMES)
def test_padding_never_changes_a_score(name: str, place: str) -> None:
    net, batch = sr_network(name, network__encoder__place=place), make_batch()
    ours, theirs = net(batch), net(padded(batch, 7, 5, 3))
    torch.testing.assert_close(theirs.logits[:, :K], ours.logits)
    torch.testing.assert_close(theirs.mask[:, :N], ours.mask)
    assert torch.isneginf(theirs.logits[:, K:]).all()
    assert (theirs.mask[:, N:] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_score_does_not_depend_on_other_candidates(name: str) -> None:
    net, batch = sr_network(name), make_batch()
    scores = net(batch).logits
    order = torch.tensor([4, 0, 7])
    fewer = replace(
        batch,
        candidates=batch.candidates[:, order],
        candidate_mask=batch.candidate_mask[:, order],
        quality=batch.quality[:, order],
    )
    torch.testing.assert_close(net(fewer).logits, scores[:, order])


@pytest.mark.parametrize("name", STAGED)
def test_self_attention_across_actions_couples_candidates(name: str) -> None:
    net, batch = shaken(sr_network(name, network__encoder__place="actions")), make_batch()
    some = batch.candidate_mask.clone()
    some[:, 5:] = False
    assert not torch.allclose(net(replace(batch, candidate_mask=some)).logits[:, :5], net(batch).logits[:, :5])


@pytest.mark.parametrize("name", NAMES)
def test_order_of_points_changes_nothing(name: str) -> None:
    net, batch = sr_network(name), make_batch()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    mixed = replace(
        batch, points=batch.points[:, order], features=batch.features[:, order], similarity=batch.similarity[:, order]
    )
    torch.testing.assert_close(net(mixed).logits, net(batch).logits)


@pytest.mark.parametrize("name", NAMES)
def test_another_sentence_changes_the_scores(name: str) -> None:
    net, batch = sr_network(name), make_batch()
    text = normalize(normal(B, D, seed=40), dim=-1)
    other = replace(
        batch,
        text=text,
        tokens=normalize(normal(B, L, D, seed=50), dim=-1),
        similarity=torch.einsum("bnd,bd->bn", batch.features, text),
    )
    assert (net(other).logits - net(batch).logits).abs().max() > 1e-3


@pytest.mark.parametrize("name", STAGED)
def test_a_word_reaches_the_scores_besides_the_similarity(name: str) -> None:
    """Relations stand in tokens: with one token exchanged and the same similarity map the scores differ."""
    batch = make_batch()
    tokens = batch.tokens.clone()
    tokens[:, 2] = normalize(normal(B, D, seed=60), dim=-1)
    net = sr_network(name)
    assert (net(replace(batch, tokens=tokens)).logits - net(batch).logits).abs().max() > 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    net = sr_network(name)
    torch.log_softmax(net(make_batch()).logits, dim=1)[:, 0].sum().backward()
    # Shifts that cancel in a softmax (key biases, the head's last bias) and a zero-initialised partner leave exact or near zeros.
    silent = [n for n, p in net.named_parameters() if p.grad is None]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert sum(float(p.grad.abs().max()) > 1e-9 for p in net.parameters()) > 0.8 * len(list(net.parameters()))


@pytest.mark.parametrize("name", ["sr", "base", "sr_plus"])
def test_gradcheck_of_the_whole_network(name: str) -> None:
    net = sr_network(name, dim=12, network__heads=2)
    batch = make_batch(points=5, candidates=3, tokens=2)
    features = batch.features[..., :12].clone().requires_grad_()
    text, tokens = batch.text[..., :12], batch.tokens[..., :12].clone().requires_grad_()

    def score(f: Tensor, t: Tensor) -> Tensor:
        return net(replace(batch, features=f, tokens=t, text=text)).logits  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(score, (features, tokens), atol=1e-6)


@pytest.mark.parametrize("additions", [STRICT_ADDITIONS, PLUS_ADDITIONS], ids=["strict", "plus"])
def test_one_align_equals_the_slow_reference(additions: AdditionsConfig) -> None:
    torch.manual_seed(0)
    stage = shaken(OneAlign(D, 4, OneAlignConfig(), additions).double())
    batch, e = make_batch(), D // 4
    tokens, s = torch.cat([batch.text[:, None], batch.tokens], 1), torch.rand(B, N, dtype=torch.float64)
    keep = torch.ones(B, L + 1, dtype=torch.bool)
    keep[1, 4:] = False
    real = batch.point_mask.clone()
    real[0, 30:] = False
    cloud, mask = stage(batch.features, s, real, tokens, keep)
    for b in range(B):
        words, rows = torch.where(keep[b])[0], torch.where(real[b])[0]
        f, t = batch.features[b, rows], tokens[b, words]
        worth = stage.token_weight(t)[:, 0].clone()
        worth[0] += stage.pooled_weight
        worth = torch.softmax(worth, 0)
        mean, carried = torch.zeros(len(rows), dtype=torch.float64), []
        for h in range(4):
            cut = slice(h * e, (h + 1) * e)
            scores = stage.q(t)[:, cut] @ stage.k(f)[:, cut].T / e**0.5
            if additions.similarity_bias:
                scores = scores + stage.similarity_gain[h] * s[b, rows]
            mean = mean + worth @ torch.softmax(scores, dim=1)
            carried.append(torch.softmax(scores, dim=0).T @ stage.text(t)[:, cut])
        m = mean / mean.max()
        wanted = stage.norm(f + m[:, None] * stage.out(stage.v(f)) + torch.cat(carried, 1))
        torch.testing.assert_close(mask[b, rows], m)
        torch.testing.assert_close(cloud[b, rows], wanted)
    assert mask.min().item() >= 0.0 and mask.max().item() == pytest.approx(1.0)


def test_one_align_starts_as_a_cosine_in_the_plus_forms_alone() -> None:
    batch = make_batch()
    cosine = torch.einsum("bnd,bd->bn", batch.features, batch.text)
    only = torch.zeros(B, L + 1, dtype=torch.bool)
    only[:, 0] = True
    tokens = torch.cat([batch.text[:, None], batch.tokens], 1)
    same = []
    for additions in (PLUS_ADDITIONS.model_copy(update={"similarity_bias": 0.0}), STRICT_ADDITIONS):
        stage = OneAlign(D, 1, OneAlignConfig(), additions).double()
        _, mask = stage(batch.features, cosine, batch.point_mask, tokens, only)
        same.append(bool((mask.argsort(dim=1) == cosine.argsort(dim=1)).all()))
    assert same == [True, False]


@pytest.mark.parametrize("additions", [STRICT_ADDITIONS, PLUS_ADDITIONS], ids=["strict", "plus"])
def test_two_align_of_all_candidates_equals_one_at_a_time(additions: AdditionsConfig) -> None:
    torch.manual_seed(0)
    stage = TwoAlign(D, 4, additions).double()
    batch, log_mask = make_batch(), torch.rand(B, N, dtype=torch.float64).log()
    quality = batch.quality if additions.quality == "on" else None
    rest = (batch.points, batch.features, 2 * batch.features, batch.point_mask, log_mask)
    all_states, _ = stage(batch.candidates, quality, *rest)
    for k in range(K):
        own = None if quality is None else quality[:, k : k + 1]
        state, _ = stage(batch.candidates[:, k : k + 1], own, *rest)
        torch.testing.assert_close(state[:, 0], all_states[:, k])


@pytest.mark.parametrize("additions", [STRICT_ADDITIONS, PLUS_ADDITIONS], ids=["strict", "plus"])
def test_masked_out_points_do_not_reach_a_candidate(additions: AdditionsConfig) -> None:
    """log m closes the region: what lies where m is (nearly) 0 hardly matters."""
    torch.manual_seed(0)
    stage = TwoAlign(D, 4, additions).double()
    batch = make_batch()
    log_mask = torch.zeros(B, N, dtype=torch.float64)
    log_mask[:, N // 2 :] = -60.0
    changed = batch.features.clone()
    changed[:, N // 2 :] = 7.0
    args = (batch.candidates, batch.quality if additions.quality == "on" else None, batch.points)

    def states(seen: Tensor, mask: Tensor) -> Tensor:
        return stage(*args, seen, seen, batch.point_mask, mask)[0]  # type: ignore[no-any-return]

    torch.testing.assert_close(states(changed, log_mask), states(batch.features, log_mask))
    assert not torch.allclose(states(changed, 0 * log_mask), states(batch.features, 0 * log_mask))


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "plus"])
def test_keys_of_two_align_hear_the_features_in_the_strict_form_alone(strict: bool) -> None:
    torch.manual_seed(0)
    stage = TwoAlign(D, 4, STRICT_ADDITIONS if strict else PLUS_ADDITIONS).double()
    batch = make_batch()
    quality = None if strict else batch.quality

    def weights(features: Tensor) -> Tensor:
        args = (batch.candidates, quality, batch.points, features, batch.features, batch.point_mask, None)
        return stage(*args)[1]  # type: ignore[no-any-return]

    moved = float((weights(-batch.features) - weights(batch.features)).detach().abs().max())
    assert moved > 1e-4 if strict else moved == 0.0


def test_sizes_and_errors() -> None:
    assert sr_network("base").stage1 is None and len(sr_network("base").encoder) == 0
    with pytest.raises(ConfigError, match="does not divide"):
        build_network(sr_section("sr", network__width=30, network__heads=8), D, 0)
    for name in ("sr", "sr_plus"):
        assert sr_network(name, network__width=32)(make_batch()).logits.shape == (B, K)
    paper = build_network(sr_section("sr", network__width=768, network__heads=8), 768, 0)
    assert 1e7 < sum(p.numel() for p in paper.parameters()) < 3e7


@pytest.mark.parametrize("name", NAMES)
def test_initial_weights_follow_from_the_seed_alone(name: str) -> None:
    section, states = sr_section(name), []
    for other in (1, 2):
        torch.manual_seed(other)
        before = torch.random.get_rng_state()
        states.append(build_network(section, D, 5).state_dict())
        assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], v) for k, v in build_network(section, D, 6).state_dict().items())


def test_rescale_ignores_padding() -> None:
    similarity = torch.tensor([[0.2, 0.6, 9.0], [0.3, 0.3, 0.3]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    scaled = rescale(similarity, mask)
    torch.testing.assert_close(scaled[0], torch.tensor([1e-4 / 0.4001, 1.0, 0.0]))
    torch.testing.assert_close(scaled[1], torch.ones(3))
