"""From a finished evaluation to what docs/results.json keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.evaluation import Table, load_evaluation
from srcli.evaluation.report import results_of
from srcli.evaluation.statistics import Interval, Paired, Result, compare, summarise
from srcli.methods.registry import UNTRAINED
from srcli.studies.tables import at_once

if TYPE_CHECKING:
    from srcli.config.evaluate import EvaluateConfig
    from srcli.studies.results.parts import Part

SCHEMA = 1


def part_record(part: Part, facts: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]], results: Path) -> dict[str, Any]:
    """One part: what it was measured with, and a row for each split and method.

    Args:
        facts: what all rows stand on.
        methods: what each row's method is, by name of the row.
        results: file of its evaluation.
    """
    section = part.params.evaluate
    return {
        "part": part.name,
        "suite": part.suite,
        "task": part.task,
        "seed": part.params.seed,
        "attempts": section.attempts,
        "initialisations": section.initialisations,
        "confidence": section.confidence,
        "reference": section.reference,
        "left_out": list(part.left_out),
        **facts,
        "methods": {name: dict(methods[name]) for name in part.methods},
        "rows": rows_of_results(section, part.methods, part.task, results),
    }


def rows_of_results(section: EvaluateConfig, methods: Sequence[str], task: str, results: Path) -> list[dict[str, Any]]:
    """A row for each split and method of a finished evaluation, with its differences to the reference and to its control.

    Args:
        section: as it was evaluated with.
        results: file of the evaluation.
    """
    played, kinds = _results(load_evaluation(results).episodes)
    rows = []
    for split in section.splits:
        for method in methods:
            own = played.get((split, method), [])
            if not own:
                continue
            reference = played.get((split, section.reference), []) if method != section.reference else []
            control = played.get((split, UNTRAINED + method), [])
            rows.append(_row(section, task, own, reference, control, kinds))
    return rows


def _results(table: Table) -> tuple[dict[tuple[str, str], list[Result]], dict[str, str]]:
    """Episodes by split and method, and the kind of each episode's sentence by its key."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results_of(table):
        found.setdefault((result.split, result.method), []).append(result)
    kinds = {str(key): str(kind) for key, kind in zip(table["key"], table["keyword_kind"], strict=True)}
    return found, kinds


def _row(
    section: EvaluateConfig,
    task: str,
    own: Sequence[Result],
    reference: Sequence[Result],
    control: Sequence[Result],
    kinds: Mapping[str, str],
) -> dict[str, Any]:
    resamples, confidence = how = (section.bootstrap, section.confidence)
    row = summarise(own, resamples=resamples, confidence=confidence)
    once = at_once(own)
    first = summarise(once, resamples=resamples, confidence=confidence)
    found: dict[str, Any] = {
        "method": row.method,
        "split": row.split,
        "k": row.successes,
        "n": row.episodes,
        "scenes": row.episodes // row.initialisations,
        "cases": row.clusters,
        "wilson": _ends(row.wilson),
        "clustered": _ends(row.clustered),
        "first": {"k": first.successes, "wilson": _ends(first.wilson), "clustered": _ends(first.clustered)},
        "steps": _number(row.steps_all),
        "steps_success": _number(row.steps_success),
        "not_set_up": row.not_set_up,
        "to_reference": _differences(own, reference, task, how),
        "to_control": _differences(own, control, task, how),
    }
    named = dict.fromkeys(kinds[result.key] for result in own)
    if len(named) > 1:
        found["kinds"] = {kind: _counts(own, once, kinds, kind) for kind in sorted(named)}
    return found


def _counts(own: Sequence[Result], once: Sequence[Result], kinds: Mapping[str, str], kind: str) -> dict[str, int]:
    numbers = [index for index, result in enumerate(own) if kinds[result.key] == kind]
    return {"k": sum(own[i].success for i in numbers), "first": sum(once[i].success for i in numbers), "n": len(numbers)}


def _differences(own: Sequence[Result], other: Sequence[Result], task: str, how: tuple[int, float]) -> dict[str, Any] | None:
    """Paired differences to another row: at all attempts, and at the first; None where there is no other row."""
    if not other:
        return None
    return {
        "all": _paired(compare(own, other, *how)),
        "first": _paired(compare(at_once(own), at_once(other), *how)),
    }


def _paired(paired: Paired | None) -> dict[str, Any] | None:
    if paired is None:
        return None
    return {
        "difference": _number(paired.difference.value),
        "interval": _ends(paired.difference),
        "only_this": paired.only_method,
        "only_other": paired.only_reference,
        "p": _number(paired.p_value),
    }


def _ends(interval: Interval) -> list[float | None]:
    return [_number(interval.low), _number(interval.high)]


def _number(value: float) -> float | None:
    """Six digits: enough for any table, and the same on every machine."""
    return round(value, 6) if isfinite(value) else None
