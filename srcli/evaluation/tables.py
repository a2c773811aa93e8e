"""Result rows as JSON, Markdown and rich tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

from srcli.evaluation.statistics import WITHIN, Interval, Row

if TYPE_CHECKING:
    from rich.table import Table

PRIVILEGED_MARK = "*"
PRIVILEGED_NOTE = "* sees the simulator's true state; every other row gets images, the sentence and candidates only."
NOTE = (
    "Rates are successes by identity. `k/n` with the Wilson interval; `clustered` resamples whole cases; `@k`: within k "
    "attempts; "
    "`steps`: mean attempts over all episodes (± standard error) and over successful ones; `similar`: success by the similarity "
    "rule; `diff`: paired difference to the reference method on the same seeds, clustered interval, episodes only this method / "
    "only the reference solved, exact McNemar p."
)

_HEADERS = ("split", "method", "k/n", "rate", "clustered", *(f"@{k}" for k in WITHIN), "steps", "similar", "diff")


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One JSON object per row; numbers that do not exist are null."""
    return [_clean(asdict(row)) for row in rows]


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    return value


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table with its legend."""
    lines = ["| " + " | ".join(_HEADERS) + " |", "|" + "---|" * len(_HEADERS)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    notes = [NOTE] + ([PRIVILEGED_NOTE] if any(row.privileged for row in rows) else [])
    return "\n".join(lines) + "\n\n" + "\n\n".join(notes) + "\n"


def to_rich(rows: Sequence[Row], title: str = "") -> Table:
    """A table for the terminal."""
    from rich.table import Table

    table = Table(title=title or None)
    for header in _HEADERS:
        table.add_column(header, justify="left" if header in ("split", "method") else "right")
    for row in rows:
        table.add_row(*cells(row))
    return table


def cells(row: Row) -> tuple[str, ...]:
    """The texts of one row, in the order of the headers."""
    return (
        row.split,
        row.method + (PRIVILEGED_MARK if row.privileged else ""),
        f"{row.successes}/{row.episodes}",
        _percent(row.wilson),
        _range(row.clustered),
        *(f"{100 * row.within[k] / max(row.episodes, 1):.1f}" for k in WITHIN),
        _steps(row),
        "" if row.similar is None else f"{row.similar}/{row.episodes}",
        _difference(row),
    )


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} {_range(interval)}"


def _range(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _steps(row: Row) -> str:
    error = f"±{row.steps_all_se:.2f}" if isfinite(row.steps_all_se) else ""
    success = f"{row.steps_success:.2f}" if isfinite(row.steps_success) else "-"
    return f"{row.steps_all:.2f}{error} / {success}"


def _difference(row: Row) -> str:
    paired = row.paired
    if paired is None:
        return ""
    d = paired.difference
    return f"{100 * d.value:+.1f} {_range(d)} {paired.only_method}/{paired.only_reference} p={paired.p_value:.3f}"
