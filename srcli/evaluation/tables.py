"""Result rows as JSON, Markdown and rich tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from srcli.evaluation.statistics import Interval, Row

PRIVILEGED_MARK = "*"
CONTROL_NOTE = (
    "Rows `untrained:NAME` are controls: the same network with its initial weights. They count the episodes of several "
    "initialisations; their interval is that of the mean over the scenes."
)
PRIVILEGED_NOTE = "* sees the simulator's true state; every other row gets images, the sentence and candidates only."
NOTE = (
    "Rates are successes by simulation: the target held, the object come to rest where the relation names it. `k/n` with the "
    "Wilson interval; `clustered` resamples whole cases; `@k`: pick phase within k attempts, percent; `steps`: mean attempts "
    "over all episodes (± standard error) and over successful ones; `similar`: success by the similarity rule; `index`: "
    "placements judged by the chosen position alone, as the earlier benchmark does; `diff`: paired difference to the reference "
    "method on the same seeds, clustered interval, episodes only this method / only the reference solved, exact McNemar p; "
    "`not set up`: scenes that could not be built, failures among n."
)

_BEFORE = ("task", "split", "kind", "method", "k/n", "rate", "clustered")
_BEHIND = ("steps", "similar", "index", "diff", "not set up")
_OPTIONAL = ("kind", "similar", "index", "not set up")
"""Columns that are left out where no row has anything in them."""


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


_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def as_text(text: str) -> str:
    """A line of Markdown in which HTML and links show as text; its `code`, **strong** and _emphasis_ stay."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.splitlines()))
    return "".join(part if i % 2 else _TAG.sub("&lt;", part).replace("](", "]\\(") for i, part in enumerate(parts))


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table with its legend."""
    headers, lines = _table(rows)
    text = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    text += ["| " + " | ".join(as_text(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]
    notes = [NOTE] + ([PRIVILEGED_NOTE] if any(row.privileged for row in rows) else [])
    notes += [CONTROL_NOTE] if any(row.initialisations > 1 for row in rows) else []
    return "\n".join(text) + "\n\n" + "\n\n".join(notes) + "\n"


def _table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headers and lines without the optional columns that are empty in all rows."""
    within = sorted({k for row in rows for k in row.within})
    headers = (*_BEFORE, *(f"@{k}" for k in within), *_BEHIND)
    texts = [cells(row, within) for row in rows]
    kept = [i for i, header in enumerate(headers) if header not in _OPTIONAL or any(line[i] for line in texts)]
    return [headers[i] for i in kept], [[line[i] for i in kept] for line in texts]


def cells(row: Row, within: Sequence[int] | None = None) -> tuple[str, ...]:
    """The texts of one row, in the order of the headers.

    Args:
        within: attempts within which the table counts; None: those of the row.
    """
    index = ""
    if row.index_rule is not None and row.index_wilson is not None:
        index = f"{row.index_rule}/{row.episodes} {_percent(row.index_wilson)}"
    return (
        row.task,
        row.split,
        row.kind.replace("_", " + "),
        row.method + (PRIVILEGED_MARK if row.privileged else ""),
        f"{row.successes}/{row.episodes}",
        _percent(row.wilson),
        _range(row.clustered),
        *(f"{100 * row.within[k] / max(row.episodes, 1):.1f}" if k in row.within else "" for k in within or row.within),
        _steps(row),
        "" if row.similar is None else f"{row.similar}/{row.episodes}",
        index,
        _difference(row),
        str(row.not_set_up) if row.not_set_up else "",
    )


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} {_range(interval)}"


def _range(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _steps(row: Row) -> str:
    error = f"±{row.steps_all_se:.2f}" if isfinite(row.steps_all_se) else ""
    everywhere = f"{row.steps_all:.2f}{error}" if isfinite(row.steps_all) else "-"
    success = f"{row.steps_success:.2f}" if isfinite(row.steps_success) else "-"
    return f"{everywhere} / {success}"


def _difference(row: Row) -> str:
    paired = row.paired
    if paired is None:
        return ""
    d = paired.difference
    return f"{100 * d.value:+.1f} {_range(d)} {paired.only_method}/{paired.only_reference} p={paired.p_value:.3f}"
