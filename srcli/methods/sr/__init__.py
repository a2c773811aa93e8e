"""SR, SR-A and BASE of the paper, strictly and with our additions: one network whose stages are switches."""

from __future__ import annotations

from typing import Any

from srcli.config.choice import LEARNED_ONLY, WITH_QUALITY
from srcli.methods.base import EVERY_TASK, MethodSpec
from srcli.methods.sr.section import STRICT, SRConfig

PAPER = "Secondary Realignment (the paper), sections 3.3 and 3.4"
SR_A = {"network.dssa.branch": "dense"}
BASE = {"network.stage1.use": "off"}
# What chooses beside 2-Align or in its place; the paper names 1Align-Action and 2Align-Action without a formula.
QUALITY = {f"choice.{key}": value for key, value in WITH_QUALITY.items()}
FIRST_ALONE = {"choice.align2": 0.0, "choice.align1": 1.0, "choice.align1_place": 1.0}
BOTH = {"choice.align1": 1.0, "choice.align1_place": 1.0}
RELU = {"network.dssa.sparse": "relu"}
SOFTMAX = {"network.dssa.sparse": "softmax"}


ONE_ALIGN_PARTS = ("one_align", "mask", "encoder", "self_attention", "dense", "sparse", "offset", "strength", "similarity_bias")
PLUS_PARTS = ("strength", "similarity_bias", "window", "sink", "readout", "rings", "words", "quality")


def _spec(
    name: str,
    title: str,
    preset: dict[str, Any],
    strict: bool,
    row: str,
    absent: tuple[str, ...] = (),
    source: str = PAPER,
    weights_of: str = "",
) -> MethodSpec:
    return MethodSpec(
        name=name,
        title=title,
        tasks=EVERY_TASK,
        build="srcli.methods.sr.policy:build",
        fit="srcli.methods.sr.training:fit",
        reads="features",
        section=SRConfig,
        group="sr",
        preset={**(STRICT if strict else {}), **preset},
        acts_with=("choice", "noise", "bypass"),
        learned_only={f"choice.{key}": value for key, value in LEARNED_ONLY.items()},
        fidelity="reimplemented" if strict else "adapter",
        source=source if strict else f"{source}; with our additions",
        absent=(*absent, *(PLUS_PARTS if strict else ())),
        paper_row=row,
        weights_of=weights_of,
        adopt=None if strict else "srcli.methods.sr.first_version:adopt",
        parts="srcli.methods.sr.parts:PARTS",
        studies="srcli.methods.sr.studies:STUDIES",
    )


DENSE_ONLY = ("dense", "sparse")
NO_LANGUAGE = (*ONE_ALIGN_PARTS, "words")

# Without it the sparse branch grows with the number of points, and a network trained on some of them is lost among all.
DSSA = {"additions.sparse_norm": "rms"}

SR_STRICT = _spec("sr", "SR", DSSA, True, "SR")
SR_A_STRICT = _spec("sr_a", "SR-A", SR_A, True, "SR-A", DENSE_ONLY)
BASE_STRICT = _spec("base", "BASE", BASE, True, "BASE", NO_LANGUAGE)
SR_QUALITY = _spec("sr_quality", "SR with quality", {**DSSA, **QUALITY}, True, "", weights_of="sr")
SR_A_QUALITY = _spec("sr_a_quality", "SR-A with quality", {**SR_A, **QUALITY}, True, "", DENSE_ONLY, weights_of="sr_a")
BASE_QUALITY = _spec("base_quality", "BASE with quality", {**BASE, **QUALITY}, True, "", NO_LANGUAGE, weights_of="base")
SR_1ALIGN = _spec("sr_1align", "SR, 1-Align alone", {**DSSA, **FIRST_ALONE}, True, "", weights_of="sr")
SR_BOTH = _spec("sr_both", "SR, 1-Align and 2-Align", {**DSSA, **BOTH}, True, "", weights_of="sr")
SR_RELU = _spec("sr_relu", "SR, ReLU branch", {**DSSA, **RELU}, True, "")
SR_SOFTMAX = _spec("sr_softmax", "SR, softmax branch", {**DSSA, **SOFTMAX}, True, "")
SR_PLUS = _spec("sr_plus", "SR+", {}, False, "SR")
SR_A_PLUS = _spec("sr_a_plus", "SR-A+", SR_A, False, "SR-A", DENSE_ONLY)
BASE_PLUS = _spec("base_plus", "BASE+", {**BASE, "additions.words": "off"}, False, "BASE", NO_LANGUAGE)
BASE_WORDS_PLUS = _spec("base_words_plus", "BASE+ with words", BASE, False, "", ONE_ALIGN_PARTS)
SR_PLUS_RELU = _spec("sr_plus_relu", "SR+, ReLU branch", RELU, False, "")
SR_PLUS_SOFTMAX = _spec("sr_plus_softmax", "SR+, softmax branch", SOFTMAX, False, "")
