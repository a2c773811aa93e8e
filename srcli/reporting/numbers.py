"""How numbers are printed: rates with intervals, steps, differences; always with n beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srcli.reporting.blocks import Cell, Measure

TASK_NAMES = {"pick": "Pick", "place": "Place", "pick_place": "Pick-and-place"}


def count(row: Mapping[str, Any]) -> str:
    """``k/n``."""
    return f"{row['successes']}/{row['episodes']}"


def rate(row: Mapping[str, Any], interval: str = "wilson") -> Cell:
    """Success in per cent with an interval."""
    ends = row.get(interval)
    if not ends or ends.get("value") is None:
        return ""
    value, low, high = (float(ends[key]) for key in ("value", "low", "high"))
    return Measure(f"{100 * value:.1f} [{100 * low:.0f}, {100 * high:.0f}]", value, low, high)


def span(row: Mapping[str, Any], interval: str) -> str:
    """The ends of an interval in per cent."""
    ends = row.get(interval)
    return f"[{100 * ends['low']:.0f}, {100 * ends['high']:.0f}]" if ends and ends.get("low") is not None else ""


def share(part: float | None, whole: float) -> str:
    """``part`` of ``whole`` in per cent."""
    return "" if part is None or not whole else f"{100 * part / whole:.1f}"


def first_attempt(row: Mapping[str, Any]) -> str:
    """Success by the first attempt, per cent."""
    within = row.get("within") or {}
    return share(within.get("1", within.get(1)), row["episodes"])


def steps(row: Mapping[str, Any]) -> str:
    """Mean attempts over all episodes, and over the successful ones; a task of one attempt has none."""
    everything, good = row.get("steps_all"), row.get("steps_success")
    if everything is None:
        return ""
    return f"{everything:.2f} / " + (f"{good:.2f}" if good is not None else "none")


def difference(row: Mapping[str, Any]) -> Cell:
    """Paired difference to the reference in points, with its interval."""
    return points((row.get("paired") or {}).get("difference"))


def points(ends: Mapping[str, Any] | None) -> Cell:
    """A difference of rates in points, with its interval; empty where there is none."""
    if not ends or ends.get("value") is None:
        return ""
    value, low, high = (float(ends[key]) for key in ("value", "low", "high"))
    text = f"{100 * value:+.1f} [{100 * low:+.0f}, {100 * high:+.0f}]"
    return Measure(text, value, low, high, bounds=(-0.6, 0.6), zero=True)


def mean(values: list[float]) -> float:
    """Mean of at least one value."""
    return sum(values) / len(values)
