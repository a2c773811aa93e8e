"""The report's sections in their order, and its headline from the numbers that there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srcli.reporting.blocks import Cards, Chart, Missing, Report, Section
from srcli.reporting.failures import failures
from srcli.reporting.numbers import TASK_NAMES, count, first_attempt, method_colour, method_name, method_rank
from srcli.reporting.provenance import provenance
from srcli.reporting.sources import SUITE_ORDER, TASKS, Evaluated, Sources
from srcli.reporting.studies import claims, table3, table4
from srcli.reporting.svg import Axes, Series, line_chart
from srcli.reporting.tables import table1, table2
from srcli.reporting.training import training

TITLE = "Secondary Realignment: what was measured"


def compose(sources: Sources, cases: Section) -> Report:
    """All sections.

    Args:
        cases: the case studies, which are played and not read.
    """
    sections = (
        overview(sources),
        table1(sources),
        table2(sources),
        table3(sources),
        claims(sources),
        table4(sources),
        training(sources),
        cases,
        failures(sources),
        provenance(sources),
    )
    return Report(TITLE, headline(sources), sections)


def best_rows(sources: Sources, method: str = "sr") -> dict[tuple[str, str], tuple[Evaluated, Mapping[str, Any]]]:
    """For each (task, split) the row that a headline quotes: of suite `wide`, then `paper`, then what else there is."""
    order = ("wide", "paper", *SUITE_ORDER)
    found: dict[tuple[str, str], tuple[Evaluated, Mapping[str, Any]]] = {}
    ranked = sorted(sources.evaluations, key=lambda e: order.index(e.suite) if e.suite in order else len(order))
    for evaluated in ranked:
        for row in evaluated.rows:
            if row["method"] == method:
                found.setdefault((evaluated.task, str(row["split"])), (evaluated, row))
    return found


def headline(sources: Sources) -> str:
    """One or two sentences with the main numbers, counts and suite included."""
    rows = best_rows(sources)
    parts = []
    for task in TASKS:
        said: list[str] = []
        for split in ("unseen", "seen"):
            if (task, split) in rows:
                evaluated, row = rows[task, split]
                ends = row["wilson"]
                interval = f"{100 * ends['low']:.0f} to {100 * ends['high']:.0f}"
                where = f", suite `{evaluated.suite}`" if not said else ""
                said.append(f"**{100 * ends['value']:.0f}%** of {split} ({count(row)}, interval {interval}{where})")
        if said:
            parts.append(f"{TASK_NAMES[task].lower()} episodes: " + " and ".join(said))
    if not parts:
        return "No evaluation of SR was found yet; each section says what to run."
    others = best_rows(sources, "random")
    text = "SR, shown images, a sentence and candidates only, solves of " + "; of ".join(parts) + "."
    if ("pick", "unseen") in others and ("pick", "unseen") in rows:
        random, own = others["pick", "unseen"][1], rows["pick", "unseen"][1]
        text += (
            f" A random candidate solves {count(random)} of the unseen pick episodes within all attempts; by the first attempt "
            f"it is {first_attempt(own)}% for SR and {first_attempt(random)}% for the random candidate."
        )
    return text


def overview(sources: Sources) -> Section:
    """Big numbers, and success within k attempts."""
    rows = best_rows(sources)
    cards = []
    for task in TASKS:
        for split in ("seen", "unseen"):
            if (task, split) not in rows:
                continue
            evaluated, row = rows[task, split]
            ends = row["wilson"]
            under = f"{count(row)}, [{100 * ends['low']:.0f}, {100 * ends['high']:.0f}], `{evaluated.suite}`"
            if task != "place":
                under += f"; first attempt {first_attempt(row)}%"
            cards.append((f"SR, {TASK_NAMES[task].lower()}, {split}", f"{100 * ends['value']:.0f}%", under))
    if not cards:
        return Section("overview", "Overview", (Missing("No evaluation with the method `sr`.", "srcli evaluate"),))
    charts = [_within(e, split) for e in sources.evaluations if e.task == "pick" for split in ("seen", "unseen")]
    return Section("overview", "Overview", (Cards(tuple(cards)), *(chart for chart in charts if chart is not None)))


def _within(evaluated: Evaluated, split: str) -> Chart | None:
    curve = [point for point in evaluated.summary.get("curve", ()) if point["split"] == split]
    if not curve:
        return None
    methods = sorted({str(point["method"]) for point in curve}, key=method_rank)
    series = []
    for method in methods:
        points = sorted((int(p["attempts"]), 100 * float(p["rate"])) for p in curve if p["method"] == method)
        series.append(Series(method_name(method), [k for k, _ in points], [r for _, r in points], method_colour(method)))
    ks = sorted({int(p["attempts"]) for p in curve})
    axes = Axes("within so many attempts", "success (%)", (min(ks), max(ks)), (0, 100), ks, (0, 25, 50, 75, 100))
    n = max(r["episodes"] for r in evaluated.rows if r["split"] == split)
    caption = (
        f"Pick, {split}, suite `{evaluated.suite}`, {n} episodes per method: with many attempts even a random remover gets far."
    )
    return Chart(line_chart(series, axes), caption)
