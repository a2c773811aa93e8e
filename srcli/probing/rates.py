"""From the records of scenes to rates with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from srcli.evaluation.statistics import wilson
from srcli.probing.scenes import EPISODE, PICK_KINDS, REFERENCE
from srcli.seeding import generator
from srcli.types import F64, Bool

BINS = 10
ALL = "all"
_RESAMPLES = 1000
_CONFIDENCE = 0.95
Record = Mapping[str, Any]


def rate(values: Iterable[bool]) -> dict[str, Any]:
    """Successes, total, rate and its 95% Wilson interval; the rate is None of nothing."""
    counted = [bool(value) for value in values]
    found = wilson(sum(counted), len(counted), _CONFIDENCE)
    value = round(found.value, 4) if counted else None
    return {"k": sum(counted), "n": len(counted), "rate": value, "low": round(found.low, 4), "high": round(found.high, 4)}


def encoder_numbers(records: Sequence[Record]) -> dict[str, Any]:
    """Naming of regions by split, answers by split, wording and kind, those of suites apart, and the time of dense features."""
    played = [r for r in records if r["set_up"] and not r["suite"]]
    splits = list(dict.fromkeys(r["split"] for r in records))
    regions = {}
    for split in splits:
        rows = [region for r in played if r["split"] == split for region in r["regions"]]
        regions[split] = {
            "top1": rate(row["rank"] == 1 for row in rows),
            "top5": rate(row["rank"] <= 5 for row in rows),
            "true": rate(row["true"] for row in rows),
            "color_top1": rate(row["color_found"] == row["name"] for row in rows),
            "color_true": rate(row["color_true"] for row in rows),
        }
    answers = []
    asked = [(r["split"], q) for r in played for q in r["questions"]]
    for split in splits:
        for wording in dict.fromkeys(q["wording"] for _, q in asked):
            for kind in (EPISODE, *PICK_KINDS, REFERENCE):
                rows = [q for s, q in asked if (s, q["wording"], q["kind"]) == (split, wording, kind)]
                if rows:
                    found = _answered(rows, ("point", "region", "color"))
                    answers.append({"split": split, "wording": wording, "kind": kind, **found})
    times = [r["dense_ms"] for r in played]
    return {
        "scenes": {split: sum(r["split"] == split and r["task"] == "pick" for r in played) for split in splits},
        "not_set_up": sum(not r["set_up"] for r in records),
        "regions": regions,
        "answers": answers,
        "suites": _of_suites([r for r in records if r["set_up"] and r["suite"]]),
        "dense_ms_per_view": _times(times),
    }


def _of_suites(records: Sequence[Record]) -> dict[str, Any]:
    """Suite -> split -> kind of sentence -> how many there are, answers and chance; in the order of the suites."""
    groups: dict[str, dict[str, dict[str, list[Record]]]] = {}
    for record in records:
        for question in record["questions"]:
            kinds = groups.setdefault(record["suite"], {}).setdefault(record["split"], {})
            kinds.setdefault(question["kind"], []).append(question)
    return {
        suite: {
            split: {kind: {"n": len(rows), **_answered(rows, ("point", "region"))} for kind, rows in kinds.items()}
            for split, kinds in splits.items()
        }
        for suite, splits in groups.items()
    }


def _answered(questions: Sequence[Record], ways: Sequence[str]) -> dict[str, Any]:
    """Right answers in each way, and the mean of chance."""
    chance = round(float(np.mean([q["chance"] for q in questions])), 4)
    return {**{way: rate(q[way] for q in questions) for way in ways}, "chance": chance}


def confusions(records: Sequence[Record], split: str) -> dict[tuple[str, str], int]:
    """(true name, other name that is not true of it) -> number of regions."""
    found: dict[tuple[str, str], int] = {}
    for record in records:
        if record["set_up"] and record["split"] == split:
            for region in record["regions"]:
                if not region["true"]:
                    pair = (region["name"], region["found"])
                    found[pair] = found.get(pair, 0) + 1
    return found


def grasp_numbers(records: Sequence[Record]) -> dict[str, Any]:
    """Coverage, holding and calibration by split, and of both together."""
    played = [r for r in records if r["set_up"]]
    splits = list(dict.fromkeys(r["split"] for r in records))
    groups = {split: [r for r in played if r["split"] == split] for split in splits}
    if len(splits) > 1:
        groups[ALL] = played
    return {
        "not_set_up": sum(not r["set_up"] for r in records),
        "milliseconds": _times([r["milliseconds"] for r in played]),
        "groups": {name: _of_group(rows) for name, rows in groups.items()},
    }


def _of_group(records: Sequence[Record]) -> dict[str, Any]:
    objects = [o for r in records for o in r["objects"]]
    graspable = [o for o in objects if o["dense"] or o["holds"]]
    reasons: dict[str, int] = {}
    for item in objects:
        if item["top"] is False:
            reasons[item["reason"]] = reasons.get(item["reason"], 0) + 1
    quality, held = sampled(records)
    return {
        "scenes": len(records),
        "candidates_per_scene": round(float(np.mean([r["candidates"] for r in records])), 1) if records else None,
        "covered": rate(o["candidates"] > 0 for o in objects),
        "holding": rate(o["holds"] for o in objects),
        "graspable": rate(o["dense"] or o["holds"] for o in objects),
        "graspable_with_holding": rate(o["holds"] for o in graspable),
        "dense_finds": rate(o["dense"] for o in objects if o["holds"]),
        "dense_only": rate(o["holds"] for o in objects if o["dense"]),
        "top_holds": rate(o["top"] for o in objects if o["top"] is not None),
        "random_holds": rate(o["random"] for o in objects if o["random"] is not None),
        "top_failures": dict(sorted(reasons.items(), key=lambda item: -item[1])),
        "sampled": rate(held),
        "average_precision": _precision_interval(records),
        "brier": round(float(np.mean((quality - held) ** 2)), 4) if len(held) else None,
        "calibration": calibration(quality, held),
    }


def sampled(records: Sequence[Record]) -> tuple[F64, Bool]:
    """Quality and outcome (n,) of the candidates that were drawn whatever their quality."""
    pairs = [pair for r in records if r["set_up"] for pair in r["sampled"]]
    return np.array([p[0] for p in pairs], dtype=np.float64), np.array([p[1] for p in pairs], dtype=bool)


def calibration(quality: F64, held: Bool) -> list[dict[str, Any]]:
    """By tenths of the quality: its mean and the share that held."""
    number = np.minimum((quality * BINS).astype(np.int64), BINS - 1)
    rows = []
    for index in np.unique(number):
        inside = number == index
        rows.append({"quality": round(float(quality[inside].mean()), 4), **rate(held[inside])})
    return rows


def average_precision(quality: F64, held: Bool) -> float:
    """Area under precision over recall, best quality first; equal qualities count together. NaN where nothing holds.

    Sum of (R_n - R_{n-1}) P_n over the distinct thresholds, without interpolation.
    """
    if not bool(held.any()):
        return float("nan")
    order = np.argsort(-quality, kind="stable")
    right = np.cumsum(held[order])
    last = np.flatnonzero(np.diff(quality[order], append=-np.inf))
    precision, recall = right[last] / (last + 1), right[last] / right[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _precision_interval(records: Sequence[Record]) -> dict[str, Any]:
    """Average precision, with an interval from drawing whole scenes anew; beside it the share that holds, which chance gives."""
    played = [r for r in records if r["set_up"] and r["sampled"]]
    quality, held = sampled(played)
    value = average_precision(quality, held)
    rng = generator((0,), 12)
    values = []
    for _ in range(_RESAMPLES if len(played) > 1 else 0):
        again = average_precision(*sampled([played[i] for i in rng.integers(len(played), size=len(played))]))
        if again == again:
            values.append(again)
    low, high = (round(float(v), 4) for v in np.quantile(values, [0.025, 0.975])) if values else (None, None)
    return {"n": len(held), "value": round(value, 4) if value == value else None, "low": low, "high": high}


def _times(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"n": 0, "median": None, "slowest": None}
    return {"n": len(values), "median": round(float(np.median(values)), 1), "slowest": round(float(np.max(values)), 1)}
