"""From finished episodes to results: rows, the two HDF5 tables, JSON, Markdown and the summary pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from srcli.artifacts.evaluation import Table
from srcli.evaluation.similarity_rule import Threshold
from srcli.evaluation.statistics import Result, Row, built_in_phases
from srcli.evaluation.suites import SENTENCE_KINDS
from srcli.types import Reason

EPISODE_COLUMNS = (
    "method",
    "task",
    "key",
    "split",
    "cluster",
    "case",
    "wording",
    "instruction",
    "keyword_kind",
    "kind",
    "success",
    "similar",
    "attempts",
    "ended",
    "detail",
    "not_set_up",
    "index_rule",
    "relation",
    "region",
    "reference",
    "held",
    "phases",
)
ATTEMPT_COLUMNS = (
    "episode",
    "number",
    "phase",
    "reason",
    "slot",
    "object",
    "aimed",
    "aimed_right",
    "candidates",
    "excluded",
    "valid",
    "index",
    "steps",
    "similarity",
    "index_rule",
)

NOT_SET_UP = "not set up"
"""How an episode ends whose scene could not be built."""

Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class PlayedEpisode:
    """A finished episode of one method: its record as :func:`srcli.evaluation.worker.record_of` makes it."""

    method: str
    record: dict[str, Any]

    @property
    def not_set_up(self) -> bool:
        """The scene could not be built: nothing was ever attempted."""
        return self.record["ended"] == NOT_SET_UP or (bool(self.record["ended"]) and not self.record["attempts"])

    def result(self, threshold: Threshold | None) -> Result:
        """What statistics need.

        Success by similarity: anything that was taken reaches the threshold; in a task that also places, what was carried does
        and the placement succeeded.
        """
        record = self.record
        task = record.get("task", "pick")
        attempts = record["attempts"]
        picks = [attempt for attempt in attempts if attempt.get("phase", "pick") == "pick"]
        places = [attempt for attempt in attempts if attempt.get("phase", "pick") == "place"]
        phases = tuple(record.get("phases") or ())
        kind = str(record.get("keyword_kind", ""))
        whole = phases or built_in_phases(task)
        alone, placing = whole == ("pick",), "place" in whole
        # An episode may end with what was picked in the gripper.
        held = bool(record["success"]) if alone else bool(places) or (bool(picks) and picks[-1]["reason"] == Reason.SUCCESS)
        picked = len(picks) * held if "pick" in whole else 0
        similar: bool | None = None
        if threshold is not None and isfinite(threshold.value) and "pick" in whole:
            values = [attempt["similarity"] for attempt in (picks if alone else picks[-1:])]
            similar = any(value is not None and value >= threshold.value for value in values)
            similar = similar and (alone or bool(record["success"]))
        return Result(
            method=self.method,
            split=record["split"],
            key=record["key"],
            cluster=record["cluster"],
            success=bool(record["success"]),
            attempts=len(attempts),
            similar=similar,
            reasons=tuple(attempt["reason"] for attempt in attempts),
            case=record["case"],
            instruction=record["instruction"],
            task=task,
            picked=picked,
            index_rule=any(attempt.get("index_rule") for attempt in places) if placing else None,
            not_set_up=self.not_set_up,
            kind=kind if kind in SENTENCE_KINDS else "",
            phases=phases,
        )


def tables(played: Sequence[PlayedEpisode], results: Sequence[Result]) -> tuple[Columns, Columns]:
    """Columns of the episode table and of the attempt table; an attempt names its episode by row number.

    Args:
        results: of the same episodes in the same order. ``similar`` and ``index_rule`` are -1 where the rule was not asked.
    """
    episodes: Columns = {key: [] for key in EPISODE_COLUMNS}
    attempts: Columns = {key: [] for key in ATTEMPT_COLUMNS}
    for row, (item, result) in enumerate(zip(played, results, strict=True)):
        own = {
            "method": item.method,
            "task": result.task,
            "similar": _flag(result.similar),
            "attempts": result.attempts,
            "not_set_up": result.not_set_up,
            "index_rule": _flag(result.index_rule),
            "kind": result.kind,
            "phases": ",".join(result.phases),
        }
        for key, column in episodes.items():
            column.append(own.get(key, item.record.get(key, "")))
        for number, attempt in enumerate(item.record["attempts"], start=1):
            absent = {"phase": "pick", "valid": -1, "aimed": "", "aimed_right": -1}
            measured = {key: _number(attempt.get(key)) for key in ("similarity", "index_rule")}
            values = {**absent, **attempt, **measured, "episode": row, "number": number}
            for key, column in attempts.items():
                column.append(values[key])
    return episodes, attempts


def results_of(table: Table) -> list[Result]:
    """What statistics need of each episode, from the episode table of a finished evaluation."""
    names = [field.name for field in fields(Result) if field.name in table]
    return [Result(**{name: _cell(name, table[name][row]) for name in names}) for row in range(len(table["method"]))]


def _cell(name: str, value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") else value
    if name in ("similar", "index_rule"):
        return None if plain < 0 else bool(plain)
    return tuple(filter(None, plain.split(","))) if name == "phases" else plain


def _flag(value: bool | None) -> int:
    return -1 if value is None else int(value)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def not_set_up(played: Sequence[PlayedEpisode]) -> list[dict[str, Any]]:
    """The episodes whose scene could not be built, each once: what stood in the way, the methods that it counts against."""
    listed: dict[str, dict[str, Any]] = {}
    for item in played:
        if item.not_set_up:
            record = item.record
            entry = listed.setdefault(
                record["key"],
                {
                    "task": record.get("task", "pick"),
                    "split": record["split"],
                    "case": record["case"],
                    "key": record["key"],
                    "instruction": record["instruction"],
                    "why": record.get("detail", ""),
                    "methods": [],
                },
            )
            entry["methods"].append(item.method)
    return list(listed.values())


def readings(played: Sequence[PlayedEpisode]) -> list[dict[str, Any]]:
    """The sentences of which words were read as others, or say nothing to the encoder, each once."""
    listed: dict[str, dict[str, Any]] = {}
    for item in played:
        record = item.record
        if record.get("read") or record.get("unknown"):
            told = {"read": record.get("read", []), "unknown": record.get("unknown", [])}
            listed.setdefault(record["instruction"], {"instruction": record["instruction"], **told})
    return list(listed.values())


def describe_threshold(threshold: Threshold | None) -> dict[str, Any] | None:
    """The similarity rule's threshold for JSON; None when the rule was not asked."""
    if threshold is None:
        return None
    return {
        "value": _finite(threshold.value),
        "balanced_accuracy": _finite(threshold.balanced_accuracy),
        "positives": threshold.positives,
        "negatives": threshold.negatives,
    }


def metrics(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """The headline numbers by ``task/split/method``, for tools that compare runs."""
    listed: dict[str, dict[str, float]] = {}
    for row in rows:
        numbers = {"success": row.successes / row.episodes}
        if row.within:
            numbers["first_attempt"] = row.within[1] / row.episodes
        if row.index_rule is not None:
            numbers["index_rule"] = row.index_rule / row.episodes
        if isfinite(row.steps_all):
            numbers["steps"] = row.steps_all
        listed["/".join(part for part in (row.task, row.split, row.kind, row.method) if part)] = numbers
    return listed


def curve(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Success of the pick phase within k attempts as flat records, for plotting tools."""
    return [
        {"task": row.task, "split": row.split, "method": row.method, "attempts": k, "rate": row.within[k] / row.episodes}
        for row in rows
        for k in row.within
    ]


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
