"""From finished episodes to results: rows, the two HDF5 tables, JSON, Markdown and the summary pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from srcli.evaluation.similarity_rule import Threshold
from srcli.evaluation.statistics import WITHIN, Result, Row

EPISODE_COLUMNS = (
    "method",
    "key",
    "split",
    "cluster",
    "case",
    "wording",
    "instruction",
    "keyword_kind",
    "success",
    "similar",
    "attempts",
    "ended",
)
ATTEMPT_COLUMNS = ("episode", "number", "reason", "slot", "object", "candidates", "excluded", "index", "steps", "similarity")

Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Played:
    """A finished episode of one method: its record as :func:`srcli.evaluation.worker.record_of` makes it."""

    method: str
    record: dict[str, Any]

    def result(self, threshold: Threshold | None) -> Result:
        """What statistics need. Success by similarity: anything that was taken reaches the threshold."""
        record = self.record
        similar: bool | None = None
        if threshold is not None and isfinite(threshold.value):
            values = [attempt["similarity"] for attempt in record["attempts"]]
            similar = any(value is not None and value >= threshold.value for value in values)
        return Result(
            method=self.method,
            split=record["split"],
            key=record["key"],
            cluster=record["cluster"],
            success=bool(record["success"]),
            attempts=len(record["attempts"]),
            similar=similar,
            reasons=tuple(attempt["reason"] for attempt in record["attempts"]),
            case=record["case"],
            instruction=record["instruction"],
        )


def tables(played: Sequence[Played], results: Sequence[Result]) -> tuple[Columns, Columns]:
    """Columns of the episode table and of the attempt table; an attempt names its episode by row number.

    Args:
        results: of the same episodes in the same order. ``similar`` is -1 where the rule was not asked.
    """
    episodes: Columns = {key: [] for key in EPISODE_COLUMNS}
    attempts: Columns = {key: [] for key in ATTEMPT_COLUMNS}
    for row, (item, result) in enumerate(zip(played, results, strict=True)):
        own = {
            "method": item.method,
            "similar": -1 if result.similar is None else int(result.similar),
            "attempts": result.attempts,
        }
        for key, column in episodes.items():
            column.append(own.get(key, item.record.get(key)))
        for number, attempt in enumerate(item.record["attempts"], start=1):
            similarity = float("nan") if attempt["similarity"] is None else attempt["similarity"]
            values = {**attempt, "episode": row, "number": number, "similarity": similarity}
            for key, column in attempts.items():
                column.append(values[key])
    return episodes, attempts


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
    """The headline numbers by ``split/method``, for tools that compare runs."""
    return {
        f"{row.split}/{row.method}": {
            "success": row.successes / row.episodes,
            "first_attempt": row.within[1] / row.episodes,
            "steps": row.steps_all,
        }
        for row in rows
    }


def curve(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Success within k attempts as flat records, for plotting tools."""
    return [
        {"split": row.split, "method": row.method, "attempts": k, "rate": row.within[k] / row.episodes}
        for row in rows
        for k in WITHIN
    ]


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
