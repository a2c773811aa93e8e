"""The network: stages against references, variants, masks, independence of candidates, language, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from srcli.errors import ConfigError
from srcli.methods.sr.align import OneAlign, TwoAlign
from srcli.methods.sr.network import SRNetwork, build_network, rescale
from srcli.methods.sr.section import ModelConfig, Stage1Config
from srcli.models.batch import Batch

B, N, K, L, D = 2, 40, 9, 6, 24
VARIANTS = ["base", "sr_a", "sr", "a2"]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_batch(points: int = N, candidates: int = K, tokens: int = L) -> Batch:
    ones = torch.ones
    poses = torch.cat(
        [torch.tensor([0.5, 0.0, 0.05]) + 0.04 * normal(B, candidates, 3), normalize(normal(B, candidates, 4), dim=-1)], -1
    )
    return Batch(
        points=torch.tensor([0.5, 0.0, 0.05]) + 0.04 * normal(B, points, 3, seed=1),
        features=normalize(normal(B, points, D, seed=2), dim=-1),
        similarity=normal(B, points, seed=3),
        point_mask=ones(B, points, dtype=torch.bool),
        text=normalize(normal(B, D, seed=4), dim=-1),
        tokens=normalize(normal(B, tokens, D, seed=5), dim=-1),
        token_mask=ones(B, tokens, dtype=torch.bool),
        candidates=poses,
        candidate_mask=ones(B, candidates, dtype=torch.bool),
        quality=torch.rand(B, candidates, generator=torch.Generator().manual_seed(6), dtype=torch.float64),
    )


def network(variant: str, **options: object) -> SRNetwork:
    config = ModelConfig.model_validate({"variant": variant, "heads": 4, **options})
    return build_network(config, D, 3).double()


def padded(batch: Batch, points: int, candidates: int, tokens: int) -> Batch:
    """The same batch with junk behind every masked axis."""

    def grow(x: Tensor, count: int, junk: float) -> Tensor:
        shape = (x.shape[0], count, *x.shape[2:])
        tail = torch.zeros(shape, dtype=torch.bool) if x.dtype == torch.bool else torch.full(shape, junk, dtype=x.dtype)
        return torch.cat([x, tail], dim=1)

    return replace(
        batch,
        points=grow(batch.points, points, 0.45),
        features=grow(batch.features, points, 3.0),
        similarity=grow(batch.similarity, points, 50.0),
        point_mask=grow(batch.point_mask, points, 0),
        tokens=grow(batch.tokens, tokens, -2.0),
        token_mask=grow(batch.token_mask, tokens, 0),
        candidates=grow(batch.candidates, candidates, 0.5),
        candidate_mask=grow(batch.candidate_mask, candidates, 0),
        quality=grow(batch.quality, candidates, 0.9),
    )


@pytest.mark.parametrize("place", ["points", "actions"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_never_changes_a_score(variant: str, place: str) -> None:
    net, batch = network(variant, encoder={"place": place}), make_batch()
    ours, theirs = net(batch), net(padded(batch, 7, 5, 3))
    torch.testing.assert_close(theirs.logits[:, :K], ours.logits)
    torch.testing.assert_close(theirs.mask[:, :N], ours.mask)
    assert torch.isneginf(theirs.logits[:, K:]).all()
    assert (theirs.mask[:, N:] == 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_score_does_not_depend_on_other_candidates(variant: str) -> None:
    net, batch = network(variant), make_batch()
    scores = net(batch).logits
    order = torch.tensor([4, 0, 7])
    fewer = replace(
        batch,
        candidates=batch.candidates[:, order],
        candidate_mask=batch.candidate_mask[:, order],
        quality=batch.quality[:, order],
    )
    torch.testing.assert_close(net(fewer).logits, scores[:, order])


def test_self_attention_across_actions_couples_candidates() -> None:
    net, batch = network("sr", encoder={"place": "actions"}), make_batch()
    some = batch.candidate_mask.clone()
    some[:, 5:] = False
    assert not torch.allclose(net(replace(batch, candidate_mask=some)).logits[:, :5], net(batch).logits[:, :5])


@pytest.mark.parametrize("variant", VARIANTS)
def test_order_of_points_changes_nothing(variant: str) -> None:
    net, batch = network(variant), make_batch()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    mixed = replace(
        batch, points=batch.points[:, order], features=batch.features[:, order], similarity=batch.similarity[:, order]
    )
    torch.testing.assert_close(net(mixed).logits, net(batch).logits)


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_sentence_changes_the_scores(variant: str) -> None:
    net, batch = network(variant), make_batch()
    text = normalize(normal(B, D, seed=40), dim=-1)
    other = replace(
        batch,
        text=text,
        tokens=normalize(normal(B, L, D, seed=50), dim=-1),
        similarity=torch.einsum("bnd,bd->bn", batch.features, text),
    )
    assert (net(other).logits - net(batch).logits).abs().max() > 1e-3


@pytest.mark.parametrize("variant", ["sr", "sr_a"])
def test_a_word_reaches_the_scores_besides_the_similarity(variant: str) -> None:
    """Relations stand in tokens: with one token exchanged and the same similarity map the scores differ."""
    batch = make_batch()
    tokens = batch.tokens.clone()
    tokens[:, 2] = normalize(normal(B, D, seed=60), dim=-1)
    net = network(variant)
    assert (net(replace(batch, tokens=tokens)).logits - net(batch).logits).abs().max() > 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gets_a_gradient(variant: str) -> None:
    net = network(variant)
    torch.log_softmax(net(make_batch()).logits, dim=1)[:, 0].sum().backward()
    # Shifts that cancel in a softmax (key biases, the head's last bias) and a zero-initialised partner leave exact or near zeros.
    silent = [n for n, p in net.named_parameters() if p.grad is None]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert sum(float(p.grad.abs().max()) > 1e-9 for p in net.parameters()) > 0.8 * len(list(net.parameters()))


def test_gradcheck_of_the_whole_network() -> None:
    net = build_network(ModelConfig(variant="sr", heads=2), 12, 0).double()
    batch = make_batch(points=5, candidates=3, tokens=2)
    features = batch.features[..., :12].clone().requires_grad_()
    text, tokens = batch.text[..., :12], batch.tokens[..., :12].clone().requires_grad_()

    def score(f: Tensor, t: Tensor) -> Tensor:
        return net(replace(batch, features=f, tokens=t, text=text)).logits  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(score, (features, tokens), atol=1e-6)


def test_one_align_equals_the_slow_reference() -> None:
    torch.manual_seed(0)
    stage = OneAlign(D, 4, Stage1Config()).double()
    with torch.no_grad():
        for p in stage.parameters():
            p.add_(0.05 * torch.randn_like(p))
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
            scores = stage.q(t)[:, cut] @ stage.k(f)[:, cut].T / e**0.5 + stage.similarity_gain[h] * s[b, rows]
            mean = mean + worth @ torch.softmax(scores, dim=1)
            carried.append(torch.softmax(scores, dim=0).T @ stage.text(t)[:, cut])
        m = mean / mean.max()
        wanted = stage.norm(f + m[:, None] * stage.out(stage.v(f)) + torch.cat(carried, 1))
        torch.testing.assert_close(mask[b, rows], m)
        torch.testing.assert_close(cloud[b, rows], wanted)
    assert mask.min().item() >= 0.0 and mask.max().item() == pytest.approx(1.0)


def test_first_attention_of_one_align_is_the_cosine() -> None:
    stage = OneAlign(D, 1, Stage1Config(similarity_gain=0.0)).double()
    batch = make_batch()
    cosine = torch.einsum("bnd,bd->bn", batch.features, batch.text)
    only = torch.zeros(B, L + 1, dtype=torch.bool)
    only[:, 0] = True
    _, mask = stage(batch.features, cosine, batch.point_mask, torch.cat([batch.text[:, None], batch.tokens], 1), only)
    assert (mask.argsort(dim=1) == cosine.argsort(dim=1)).all()


@pytest.mark.parametrize("published", [False, True])
def test_two_align_of_all_candidates_equals_one_at_a_time(published: bool) -> None:
    torch.manual_seed(0)
    stage = TwoAlign(D, 4, published=published, locality=not published, radius=0.025, query_size=7).double()
    batch, log_mask = make_batch(), torch.rand(B, N, dtype=torch.float64).log()
    all_states, _ = stage(batch.candidates, None, batch.points, batch.features, batch.point_mask, log_mask)
    for k in range(K):
        state, _ = stage(batch.candidates[:, k : k + 1], None, batch.points, batch.features, batch.point_mask, log_mask)
        torch.testing.assert_close(state[:, 0], all_states[:, k])


def test_masked_out_points_do_not_reach_a_candidate() -> None:
    """log m closes the region: what lies where m is (nearly) 0 hardly matters."""
    torch.manual_seed(0)
    stage = TwoAlign(D, 4, published=False, locality=True, radius=0.05, query_size=7).double()
    batch = make_batch()
    log_mask = torch.zeros(B, N, dtype=torch.float64)
    log_mask[:, N // 2 :] = -60.0
    changed = batch.features.clone()
    changed[:, N // 2 :] = 7.0
    args = (batch.candidates, None, batch.points)
    torch.testing.assert_close(
        stage(*args, changed, batch.point_mask, log_mask)[0], stage(*args, batch.features, batch.point_mask, log_mask)[0]
    )


def test_variants_sizes_and_errors() -> None:
    assert build_network(ModelConfig(variant="a2", width=768), 768, 0).stage2.window is None
    assert 7e6 < sum(p.numel() for p in build_network(ModelConfig(variant="a2"), 768, 0).parameters()) < 1e7
    assert network("base").stage1 is None
    with pytest.raises(ConfigError, match="does not divide"):
        build_network(ModelConfig(width=30, heads=8), D, 0)
    wide = network("sr", width=32)
    assert wide(make_batch()).logits.shape == (B, K)
    same = build_network(ModelConfig(), D, 5).state_dict(), build_network(ModelConfig(), D, 5).state_dict()
    assert all(torch.equal(same[0][k], same[1][k]) for k in same[0])


def test_rescale_ignores_padding() -> None:
    similarity = torch.tensor([[0.2, 0.6, 9.0], [0.3, 0.3, 0.3]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    scaled = rescale(similarity, mask)
    torch.testing.assert_close(scaled[0], torch.tensor([1e-4 / 0.4001, 1.0, 0.0]))
    torch.testing.assert_close(scaled[1], torch.ones(3))
