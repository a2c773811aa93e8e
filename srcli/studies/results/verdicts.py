"""What the paper says, and whether the numbers of docs/results.json confirm it, refute it, or cannot tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from srcli.config.yamltext import read_yaml
from srcli.methods.registry import UNTRAINED

Data = Mapping[str, Any]

POWER = 0.8
"""Share of such measurements in which the difference that is named would have been seen."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement: ``better`` succeeds more often than ``worse`` at the first attempt.

    Attributes:
        text: what is said.
        source: who says it: a section of the paper, or our own question.
        part: name of the part of the results that can tell.
        least: by at least so much, 0..1.
    """

    text: str
    source: str
    part: str
    better: str
    worse: str
    split: str = "unseen"
    least: float = 0.0


def claims() -> tuple[Claim, ...]:
    """Those of ``claims.yaml``."""
    return tuple(Claim(**line) for line in read_yaml(Path(__file__).with_name("claims.yaml")))


ELSEWHERE = (
    "Verdicts on fewer planning steps, perturbed actions, unseen relations, point noise (a pilot), less data, and compositional "
    "sentences in training stand in [method.md](method.md#how-much-data-and-who-hears-the-relation); single evaluations of "
    "pick-and-place and of seen objects, and the losses of these networks (Fig. 8), "
    "[there as well](method.md#the-shipped-strict-networks)."
)

HEAD = (
    "What the paper says, in words or by the order of its rows, and tests of our own (marked), for its own networks: first "
    "attempts, unseen objects unless said otherwise. *Confirmed* "
    "and *refuted*: the interval of the paired difference lies on one side of what is claimed. *Not resolved*: it does not; a "
    "difference would have been seen in four of five such measurements from the points that are named on. One training of each: "
    "another one may turn a verdict. What three trainings of SR, SR-A and BASE say on 626 scenes stands in "
    "[method.md](method.md#three-trainings)."
)


def verdicts(parts: Iterable[Data]) -> list[list[str]]:
    """A line for each claim: what is said, by whom, what was found, the verdict."""
    known = {part["part"]: part for part in parts}
    return [[claim.text, claim.source, *_found(claim, known.get(claim.part))] for claim in claims()]


def _found(claim: Claim, part: Data | None) -> tuple[str, str]:
    if part is None:
        return "", "not measured"
    rows = {row["method"]: row for row in part["rows"] if row["split"] == claim.split}
    paired = _difference(claim, rows, part["reference"])
    if paired is None:
        return "", "not measured"
    value, low, high = paired
    rates = " against ".join(f"{100 * rows[name]['first']['k'] / rows[name]['n']:.1f}%" for name in (claim.better, claim.worse))
    told = verdict(low, high, claim.least, part["confidence"])
    return f"{rates}: {100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]", told


def _difference(claim: Claim, rows: Mapping[str, Data], reference: str) -> tuple[float, float, float] | None:
    """Better minus worse with its interval; None where it was not measured."""
    better, worse = rows.get(claim.better), rows.get(claim.worse)
    if better is None or worse is None:
        return None
    if claim.worse == UNTRAINED + claim.better:
        return _ends(better["to_control"], 1.0)
    if claim.worse == reference:
        return _ends(better["to_reference"], 1.0)
    return _ends(worse["to_reference"], -1.0) if claim.better == reference else None


def _ends(paired: Data | None, sign: float) -> tuple[float, float, float] | None:
    found = (paired or {}).get("first")
    if found is None or None in (found["difference"], *found["interval"]):
        return None
    ends: Sequence[float] = sorted(sign * end for end in found["interval"])
    return sign * found["difference"], ends[0], ends[1]


def verdict(low: float, high: float, least: float = 0.0, confidence: float = 0.95) -> str:
    """In words, from the interval of a difference that is claimed to be above ``least``."""
    if low > least:
        return "confirmed"
    if high < least:
        return "refuted"
    level = NormalDist().inv_cdf(0.5 + confidence / 2)
    seen = (high - low) / 2 * (1.0 + NormalDist().inv_cdf(POWER) / level)
    return f"not resolved (seen from {100 * seen:.0f} points on)"
