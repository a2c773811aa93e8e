"""Radial pooling, words, the place adapter and the switches: against references; what reaches a score and what does not."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from method_inputs import sr_network, sr_section
from torch import Tensor
from torch.nn.functional import normalize

from srcli.errors import ConfigError
from srcli.methods.sr.network import build_network
from srcli.methods.sr.radial_pooling import HEIGHT_UNIT, RING_STEP, RINGS, STANDS_OUT, KeywordPooling, RadialPooling
from srcli.models.batch import Batch, batch_of_one
from srcli.types import Candidates, Percept, SemanticCloud, TextEmbedding

B, N, K, L, D = 3, 30, 7, 5, 24


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scene(place: bool | None = None) -> Batch:
    down = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64).expand(B, K, 4)
    middle = torch.tensor([0.5, 0.0, 0.03])
    return Batch(
        points=(middle + 0.06 * normal(B, N, 3, seed=1)).clamp_min(0.0),
        features=normalize(normal(B, N, D, seed=2), dim=-1),
        similarity=normal(B, N, seed=3),
        point_mask=torch.ones(B, N, dtype=torch.bool),
        text=normalize(normal(B, D, seed=4), dim=-1),
        tokens=normalize(normal(B, L, D, seed=5), dim=-1),
        token_mask=torch.ones(B, L, dtype=torch.bool),
        candidates=torch.cat([middle + 0.06 * normal(B, K, 3), down], -1),
        candidate_mask=torch.ones(B, K, dtype=torch.bool),
        quality=torch.full((B, K), 0.5, dtype=torch.float64),
        place=None if place is None else torch.full((B,), place),
    )


def another_word(batch: Batch) -> Batch:
    tokens = batch.tokens.clone()
    tokens[:, 2] = normalize(normal(B, D, seed=60), dim=-1)
    return replace(batch, tokens=tokens)


def test_rings_read_what_a_loop_reads() -> None:
    rings, batch = RadialPooling(D, learned=2).double(), scene()
    learned, s = normal(B, N, 2, seed=8), torch.rand(B, N, dtype=torch.float64)
    m = torch.rand(B, N, dtype=torch.float64)
    real = torch.arange(N)[None] < torch.tensor([N, 20, 1])[:, None]
    read = rings.read(batch.candidates, batch.points, learned, real, s, m).view(B, K, RINGS, -1)
    e = torch.exp(8.0 * (s - 1.0))
    for b in range(B):
        rows = torch.where(real[b])[0]
        z = batch.points[b, rows, 2] / HEIGHT_UNIT
        solid = (batch.points[b, rows, 2] / STANDS_OUT - 0.5).clamp(0, 1)
        for k in range(K):
            own = batch.candidates[b, k, 2] / HEIGHT_UNIT
            rho = (batch.points[b, rows, :2] - batch.candidates[b, k, :2]).norm(dim=-1)
            for r in range(RINGS):
                w = (1 - (rho / RING_STEP - r).abs()).clamp_min(0)
                mean = [(w * c).sum() / (w.sum() + 1) for c in (solid, z - own, s[b, rows], e[b, rows], m[b, rows])]
                shares = [RINGS * (w * c).sum() / c.sum() for c in (e[b, rows], m[b, rows])]
                raised = [RINGS * (w * c * (z - own)).sum() / c.sum() for c in (e[b, rows], m[b, rows])]
                rest = [(w * learned[b, rows, i]).sum() / (w.sum() + 1) for i in range(2)]
                torch.testing.assert_close(read[b, k, r], torch.stack([*mean, *shares, *raised, *rest]))


def test_rings_do_not_change_when_the_scene_turns_or_moves() -> None:
    rings, batch = RadialPooling(D, learned=2).double(), scene()
    turn = torch.tensor([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    shift = torch.tensor([0.1, -0.2, 0.0], dtype=torch.float64)
    rest = (normal(B, N, 2), batch.point_mask, torch.rand(B, N, dtype=torch.float64), None)
    moved = torch.cat([batch.candidates[..., :3] @ turn + shift, batch.candidates[..., 3:]], dim=-1)
    torch.testing.assert_close(
        rings.read(moved, batch.points @ turn + shift, *rest), rings.read(batch.candidates, batch.points, *rest)
    )


def test_words_find_a_token_wherever_it_stands_and_ignore_padding() -> None:
    torch.manual_seed(0)
    words, batch = KeywordPooling(D).double(), scene()
    place = torch.tensor([True, False, True])
    said = words(batch.tokens, batch.token_mask, place)
    torch.testing.assert_close(words(batch.tokens[:, [3, 0, 4, 2, 1]], batch.token_mask, place), said)
    tail = torch.cat([batch.tokens, 9.0 * torch.ones(B, 2, D, dtype=torch.float64)], dim=1)
    longer = torch.cat([batch.token_mask, torch.zeros(B, 2, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(words(tail, longer, place), said)
    assert not torch.allclose(words(batch.tokens, batch.token_mask, ~place), said)


def test_base_never_sees_a_token_and_staged_networks_and_the_control_for_words_do() -> None:
    batch = scene(place=True)
    for name in ("base", "base_plus"):
        net = sr_network(name)
        torch.testing.assert_close(net(another_word(batch)).logits, net(batch).logits)
    for name in ("sr", "sr_a", "sr_plus", "sr_a_plus", "base_words_plus"):
        net = sr_network(name)
        assert (net(another_word(batch)).logits - net(batch).logits).abs().max() > 1e-5


def test_tokens_in_the_encoders_axes_are_what_the_rings_hear() -> None:
    net, batch = sr_network(), scene(place=True)
    torch.testing.assert_close(net(replace(batch, words=batch.tokens)).logits, net(batch).logits)
    assert not torch.allclose(net(replace(batch, words=another_word(batch).tokens)).logits, net(batch).logits)


def test_kind_of_decision_reaches_the_rings_and_is_a_pick_by_default() -> None:
    for name in ("sr_plus", "base_plus"):
        net = sr_network(name)
        torch.testing.assert_close(net(scene(place=False)).logits, net(scene()).logits)
        assert not torch.allclose(net(scene(place=True)).logits, net(scene()).logits)


def test_place_adapter_is_silent_at_first_and_never_touches_picks() -> None:
    shared, adapted = sr_network(), sr_network(network__stage2__place_head="adapter")
    adapted.load_state_dict({**adapted.state_dict(), **shared.state_dict()})
    torch.testing.assert_close(adapted(scene(place=True)).logits, shared(scene(place=True)).logits)
    assert adapted.adapter is not None
    with torch.no_grad():
        adapted.adapter.up.weight.normal_()
    assert not torch.allclose(adapted(scene(place=True)).logits, shared(scene(place=True)).logits)
    torch.testing.assert_close(adapted(scene(place=False)).logits, shared(scene(place=False)).logits)
    mixed = replace(scene(), place=torch.tensor([True, False, True]))
    changed = (adapted(mixed).logits - shared(mixed).logits).abs().amax(dim=1) > 1e-6
    assert changed.tolist() == [True, False, True]


SWITCHES: list[tuple[str, object]] = [
    ("network.encoder.layers", 0),
    ("network.encoder.layers", 2),
    ("network.encoder.place", "actions"),
    ("network.stage1.direction", "point_query"),
    ("network.stage1.write_back", "mask"),
    ("network.dssa.branch", "dense"),
    ("network.dssa.branch", "sparse"),
    ("network.dssa.sparse", "relu"),
    ("network.dssa.sparse", "softmax"),
    ("network.dssa.position_rank", 0),
    ("network.stage2.mask", "off"),
    ("additions.similarity_bias", 0.0),
    ("additions.strength", "off"),
    ("additions.plain_points", "off"),
    ("additions.position_keys", "off"),
    ("additions.sparse_norm", "none"),
    ("additions.sparse_norm", "count"),
    ("additions.window", "off"),
    ("additions.sink", "off"),
    ("additions.readout", "off"),
    ("additions.rings", "off"),
    ("additions.words", "off"),
    ("additions.quality", "off"),
]


@pytest.mark.parametrize(("key", "value"), SWITCHES, ids=lambda value: str(value))
def test_every_switch_changes_the_scores_and_trains(key: str, value: object) -> None:
    """With the weights that both networks have in common, so that the switch alone makes the difference."""
    batch, plain, net = scene(place=True), sr_network(), sr_network(**{key: value})
    ours, theirs = net.state_dict(), plain.state_dict()
    net.load_state_dict({n: theirs[n] if n in theirs and theirs[n].shape == w.shape else w for n, w in ours.items()})
    logits = net(batch).logits
    assert (logits - plain(batch).logits).abs().max() > 1e-6
    torch.log_softmax(logits, dim=1)[:, 0].sum().backward()
    gradients = [p.grad for p in net.stage2.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", ["sr", "sr_plus"])
def test_convolution_changes_the_scores_once_it_is_trained(name: str) -> None:
    batch, net = scene(), sr_network(name, network__dssa__dense_conv="dw3")
    before = net(batch).logits
    with torch.no_grad():
        net.encoder[0].attention.conv.weight.add_(0.3)  # type: ignore[operator,union-attr]
    assert (net(batch).logits - before).abs().max() > 1e-6
    with pytest.raises(ConfigError, match="dense_conv acts on the dense branch"):
        sr_section(name, network__dssa__dense_conv="dw3", network__dssa__branch="sparse")


def test_mask_off_in_stage_2_closes_every_way_but_the_written_cloud() -> None:
    batch, net = scene(), sr_network(network__stage2__mask="off", network__stage1__write_back="mask")
    assert net.stage1 is not None
    before = net(batch)
    with torch.no_grad():
        net.stage1.out.weight.zero_()
        written_nothing = net(batch).logits
        net.stage1.similarity_gain.add_(2.0)  # type: ignore[union-attr]
    after = net(batch)
    assert not torch.allclose(after.mask, before.mask)
    torch.testing.assert_close(after.logits, written_nothing)


def test_batch_of_one_knows_the_kind() -> None:
    cloud = SemanticCloud(
        points=np.zeros((4, 3), np.float32),
        features=np.ones((4, D), np.float32),
        similarity=np.zeros(4, np.float32),
        views=np.ones(4, np.uint8),
    )
    text = TextEmbedding(np.ones(D, np.float32), np.ones((2, D), np.float32), np.ones(2, bool))
    poses = np.array([[0.5, 0, 0.1, 1, 0, 0, 0]], np.float32)
    for kind in ("grasp", "place"):
        candidates = Candidates(poses, np.zeros(1, np.float32), np.ones(1, np.float32), kind)  # type: ignore[arg-type]
        batch = batch_of_one(Percept(cloud, text), candidates)
        assert batch.place is not None and batch.place.tolist() == [kind == "place"]
        assert batch.double().to("cpu").place.dtype == torch.bool  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def relations() -> ModuleType:
    """The generator of made-up scenes, from the benchmark that uses it at full size."""
    path = Path(__file__).parents[2] / "benchmarks" / "relations.py"
    spec = importlib.util.spec_from_file_location("relations_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_few_demonstrations_teach_relation_and_noun_to_sr_and_not_to_base(relations: ModuleType) -> None:
    """On made-up scenes of unseen classes: what is put "on" and what "near" follow the sentence; BASE+ cannot tell them apart."""
    bank = relations.Bank.make(48, 0, classes=40)
    data = relations.demonstrations(bank, np.arange(28), 160, 64)
    test = relations.exam(bank, np.arange(28, 40), 40, 64)
    results = {}
    for name in ("sr_plus", "base_plus"):
        net = build_network(sr_section(name, network__encoder__layers=0), 48, 0)
        relations.train(net, data, updates=90, batch=16, seed=0, rotate=0.25, lr=3e-3)
        results[name] = test.take(net.eval())
    plain, sr, base = test.take(None), results["sr_plus"], results["base_plus"]
    chance = float(np.mean([family[0]["valid"].sum() / family[0]["candidate_mask"].sum() for family in test.seen]))
    assert sr["pick"] >= plain["pick"] - 0.05
    assert sr["both_relations"] >= 0.25 > base["both_relations"] + 0.1
    assert sr["place"] > base["place"] + 0.1 > chance + 0.1
