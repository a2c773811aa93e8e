"""Leaving a part out of a fitted network: the same as the part zeroed by hand, with weights that still fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from method_inputs import PLUS, STRICT, D, decision, make_batch, normal, random_percept, shaken, sr_network, sr_section
from torch import Tensor

from srcli.errors import ConfigError
from srcli.methods.base import Weights
from srcli.methods.registry import builder, parts_of, settings, spec_of, specs
from srcli.methods.sr.network import SRNetwork, build_network
from srcli.methods.sr.section import PartName, SRConfig
from srcli.models.batch import Batch

PARTS = get_args(PartName)
HUGE = 1e9


def silent(*layers: Any) -> None:
    for layer in layers:
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()


def only_branch(net: SRNetwork, kept: int) -> None:
    """One branch with the weight that it had beside the other."""
    attention: Any = net.encoder[0].attention
    attention.out.weight.mul_(torch.softmax(attention.mix, dim=0)[kept])
    attention.mix.copy_(torch.tensor([HUGE, -HUGE] if kept == 0 else [-HUGE, HUGE]))


def no_encoder(net: SRNetwork) -> None:
    block: Any = net.encoder[0]
    silent(block.attention.out, block.down)
    if net.locate is not None:
        silent(net.locate)


def no_offset(net: SRNetwork) -> None:
    waves: Any = net.encoder[0].attention.waves
    waves.even.zero_()
    waves.odd.zero_()


# What changes the weights by hand; what else the network may not have; keys that are left out of it.
Change = Callable[[Any], object]
BY_HAND: dict[str, tuple[Change, tuple[str, ...]]] = {
    "one_align": (lambda net: silent(net.stage1.out, net.stage1.text), ("mask",)),
    "encoder": (no_encoder, ()),
    "self_attention": (lambda net: silent(net.encoder[0].attention.out), ()),
    "dense": (lambda net: only_branch(net, 1), ()),
    "sparse": (lambda net: only_branch(net, 0), ()),
    "offset": (no_offset, ()),
    "two_align": (lambda net: silent(net.stage2.attention.out), ()),
    "strength": (lambda net: silent(net.strength), ()),
    "similarity_bias": (lambda net: net.stage1.similarity_gain.zero_(), ()),
    "window": (lambda net: net.stage2.window.log_radius.fill_(20.0), ()),
    "sink": (lambda net: net.stage2.attention.sink.fill_(-HUGE), ()),
    "readout": (lambda net: net.readout.zero_(), ()),
    "rings": (lambda net: silent(net.rings.out, net.rings.score), ()),
    "words": (lambda net: silent(net.words.spot), ()),
}


def bypassed(name: str, *parts: str, **changes: Any) -> SRNetwork:
    return sr_network(name, bypass=list(parts), **changes)


def logits(net: SRNetwork, batch: Batch) -> Tensor:
    with torch.no_grad():
        return net(batch).logits


def has(name: str, part: str) -> bool:
    return part not in spec_of(name).absent


CASES = [(name, part) for name in ("sr", "sr_a", "sr_plus", "base_words_plus") for part in BY_HAND if has(name, part)]


@pytest.mark.parametrize(("name", "part"), CASES, ids=lambda value: value)
def test_a_part_left_out_is_a_part_zeroed_by_hand(name: str, part: str) -> None:
    whole, batch = shaken(sr_network(name), 0.1), make_batch(place=True)
    change, others = BY_HAND[part]
    left_out = bypassed(name, part)
    left_out.load_state_dict(whole.state_dict())
    by_hand = bypassed(name, *others)
    by_hand.load_state_dict(whole.state_dict())
    with torch.no_grad():
        change(by_hand)
    torch.testing.assert_close(logits(left_out, batch), logits(by_hand, batch))
    assert (logits(left_out, batch) - logits(whole, batch)).abs().max() > 1e-6


@pytest.mark.parametrize("name", ["sr", "sr_plus"])
def test_the_mask_left_out_is_the_mask_switched_off(name: str) -> None:
    whole, batch = shaken(sr_network(name), 0.1), make_batch()
    left_out, off = bypassed(name, "mask"), sr_network(name, network__stage2__mask="off")
    for net in (left_out, off):
        net.load_state_dict(whole.state_dict())
    torch.testing.assert_close(logits(left_out, batch), logits(off, batch))
    assert not torch.allclose(logits(left_out, batch), logits(whole, batch))
    # Nor does it speak in the choice.
    with torch.no_grad():
        told, said = left_out(batch).mask, whole(batch).mask
    assert torch.equal(told, batch.point_mask.to(told)) and not torch.equal(said, told)


def test_quality_left_out_is_the_same_for_every_candidate() -> None:
    whole, batch = shaken(sr_network("sr_plus"), 0.1), make_batch()
    left_out = bypassed("sr_plus", "quality")
    left_out.load_state_dict(whole.state_dict())
    other = replace(batch, quality=torch.rand(batch.quality.shape, dtype=torch.float64))
    torch.testing.assert_close(logits(left_out, other), logits(left_out, batch))
    torch.testing.assert_close(
        logits(left_out, batch), logits(whole, replace(batch, quality=torch.full_like(batch.quality, 0.5)))
    )
    assert not torch.allclose(logits(whole, other), logits(whole, batch))


@pytest.mark.parametrize("name", [*STRICT, *PLUS])
def test_the_weights_are_the_same_whatever_is_left_out(name: str) -> None:
    plain = sr_network(name).state_dict()
    everything = bypassed(name, *PARTS)
    state = everything.state_dict()
    assert list(state) == list(plain) and all(torch.equal(state[key], plain[key]) for key in plain)
    assert torch.isfinite(logits(everything, make_batch())).all()


@pytest.mark.parametrize("name", [*STRICT, *PLUS])
def test_parts_that_are_said_to_be_absent_make_no_difference_and_the_others_do(name: str) -> None:
    whole, batch = shaken(sr_network(name), 0.1), make_batch(place=True)
    before, wrong = logits(whole, batch), []
    for part in PARTS:
        left_out = bypassed(name, part)
        left_out.load_state_dict(whole.state_dict())
        differs = bool((logits(left_out, batch) - before).abs().max() > 1e-9)
        if differs != has(name, part):
            wrong.append(part)
    assert wrong == []


def test_without_the_sentence_the_rings_know_the_kind_of_the_decision_alone() -> None:
    net = bypassed("sr_plus", "words")
    tokens = normal(*make_batch().tokens.shape, seed=77)
    parts = ("one_align",)
    deaf = bypassed("sr_plus", "words", *parts)
    batch = make_batch(place=True)
    torch.testing.assert_close(logits(deaf, replace(batch, tokens=tokens)), logits(deaf, batch))
    assert not torch.allclose(logits(net, make_batch(place=False)), logits(net, batch))


def test_every_declared_part_names_keys_of_its_section() -> None:
    for name, spec in specs().items():
        for key, part in parts_of(spec).items():
            changed = settings(spec, spec.section(), part.without)
            assert changed != settings(spec, spec.section()) or key in STRICT_ALREADY, (name, key)
            assert part.title and part.kind in ("paper", "addition", "choice")


# Strict identifiers choose by 2-Align alone and start at random anyway.
STRICT_ALREADY = ("cosine_start", "pooled_start", "choice_mask", "choice_quality", "choice_rule")


def test_a_network_acts_without_what_it_was_trained_without_and_without_what_is_left_out_now() -> None:
    spec, trained = spec_of("sr_plus"), sr_section("sr_plus", bypass=["rings"])
    arrays = {key: value.numpy() for key, value in shaken(build_network(trained, 8, 0)).state_dict().items()}
    weights = Weights(arrays, trained.model_dump(mode="json"), training={"feature_dim": 8})
    percept = random_percept()
    made = decision([[0.5 + 0.01 * i, 0.02 * i, 0.05] for i in range(-2, 3)], percept=lambda: percept)

    def scores(stored: Weights, *parts: str) -> tuple[float, ...]:
        found = builder(spec)(sr_section("sr_plus", bypass=list(parts)), stored, None, "cpu", 0).act(made).scores
        assert found is not None
        return tuple(found.tolist())

    whole = replace(weights, section=sr_section("sr_plus").model_dump(mode="json"))
    assert scores(weights) == scores(whole, "rings") == scores(weights, "rings") != scores(whole)
    assert scores(weights, "window") == scores(whole, "rings", "window") != scores(weights)


def test_an_unknown_part_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"methods\.sr\.bypass\.0"):
        settings(spec_of("sr"), SRConfig(), {"bypass": ["ring"]})
    assert build_network(sr_section("sr", bypass=["mask"]), D, 0).bypass == {"mask"}
