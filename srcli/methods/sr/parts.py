"""The parts of SR and SR+, each with what leaves it out."""

from __future__ import annotations

from collections.abc import Mapping

from srcli.methods.base import Part


def _bypassed(title: str, name: str) -> Part:
    return Part(title, "paper", {"bypass": [name]})


def _added(title: str, name: str) -> Part:
    return Part(title, "addition", {"bypass": [name]})


def _start(title: str, key: str, value: object) -> Part:
    # A start is gone after training: only a network trained without it shows what it is worth.
    return Part(title, "addition", {f"additions.{key}": value}, kept=False)


def _rule(title: str, **values: float) -> Part:
    return Part(title, "choice", {f"choice.{key}": value for key, value in values.items()}, retrained=False)


PARTS: Mapping[str, Part] = {
    "one_align": _bypassed("1-Align (mask and write-back)", "one_align"),
    "mask": _bypassed("the mask, wherever it is read behind 1-Align", "mask"),
    "encoder": _bypassed("the whole encoder", "encoder"),
    "dssa": _bypassed("DSSA (self-attention)", "self_attention"),
    "sparse": _bypassed("the sparse branch", "sparse"),
    "dense": _bypassed("the dense branch", "dense"),
    "offset": _bypassed("relative offset B", "offset"),
    "two_align": _bypassed("2-Align's attention output", "two_align"),
    "strength": _added("similarity and mask added to the cloud", "strength"),
    "similarity_bias": _added("similarity bias in 1-Align", "similarity_bias"),
    "window": _added("window of 2-Align", "window"),
    "sink": _added("sink of 2-Align", "sink"),
    "readout": _added("readout", "readout"),
    "rings": _added("rings", "rings"),
    "words": _added("words in the rings", "words"),
    "quality_input": _added("quality as an input", "quality"),
    "cosine_start": _start("cosine start of 1-Align", "cosine_start", "off"),
    "pooled_start": _start("start weight of the pooled sentence", "pooled_start", 0.0),
    "choice_mask": _rule("mask between the fingers in the choice", align1=0.0, align1_place=0.0),
    "choice_quality": _rule("quality in the choice", prior=0.0, prior_place=0.0),
    "choice_rule": _rule("both: chosen by 2-Align alone", align1=0.0, align1_place=0.0, prior=0.0, prior_place=0.0),
}
