"""The report's sections in their order, and its headline from the numbers that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from srcli.reporting.attribution import attribution
from srcli.reporting.blocks import Cards, Chart, Missing, Report, Section
from srcli.reporting.claims import claims
from srcli.reporting.comparison import section as comparison
from srcli.reporting.failures import failures
from srcli.reporting.naming import Named, colours, rank, without_control
from srcli.reporting.numbers import TASK_NAMES, count, first_attempt
from srcli.reporting.provenance import provenance
from srcli.reporting.published import SR_ROW
from srcli.reporting.result_files import SPLITS, SUITE_ORDER, TASKS, Evaluated, ResultFiles
from srcli.reporting.studies import table3, table4
from srcli.reporting.svg import Axes, Series, line_chart
from srcli.reporting.tables import table1, table2
from srcli.reporting.training import training

TITLE = "Secondary Realignment: what was measured"


def compose(results: ResultFiles, cases: Section) -> Report:
    """All sections.

    Args:
        cases: the case studies, which are played and not read.
    """
    sections = (
        overview(results),
        table1(results),
        *(comparison(data, name, number) for number, (name, data) in enumerate(results.comparisons, start=1)),
        table2(results),
        table3(results),
        attribution(results),
        claims(results),
        table4(results),
        training(results),
        cases,
        failures(results),
        provenance(results),
    )
    return Report(TITLE, headline(results), sections)


@dataclass(frozen=True, slots=True)
class Best:
    """The row of a task and split that a headline quotes, and where it stands."""

    evaluated: Evaluated
    row: Mapping[str, Any]

    @property
    def control(self) -> Mapping[str, Any] | None:
        """The row of its untrained control in the same file and split."""
        method = self.evaluated.named(str(self.row["method"])).method
        return next((row for who, row in self._beside() if who.control and who.method == method), None)

    @property
    def without_learning(self) -> tuple[Named, Mapping[str, Any]] | None:
        """The best in the same file and split of those that learn nothing and are not shown the truth."""
        rows = [(who, row) for who, row in self._beside() if not who.learned and not who.privileged]
        return max(rows, key=lambda pair: pair[1]["successes"], default=None)

    def _beside(self) -> list[tuple[Named, Mapping[str, Any]]]:
        rows = [row for row in self.evaluated.rows if row["split"] == self.row["split"]]
        return [(self.evaluated.named(str(row["method"])), row) for row in rows]


def lead(results: ResultFiles) -> Named | None:
    """The method that the headline speaks of: one that stands for the paper's SR, if possible the reference, with a control."""
    found = [
        (
            who.paper_row != SR_ROW,
            who.name != str(evaluated.summary.get("reference", "")),
            _unmatched(evaluated, who),
            rank(who),
            who,
        )
        for evaluated in results.evaluations
        for who in evaluated.methods
        if who.learned and not who.control and not who.privileged
    ]
    return min(found, key=lambda entry: entry[:4])[4] if found else None


def _unmatched(evaluated: Evaluated, who: Named) -> bool:
    return who.name in without_control(evaluated.methods)


def best_rows(results: ResultFiles, method: str) -> dict[tuple[str, str], Best]:
    """For each (task, split) the row that a headline quotes: of suite `wide`, then `paper`, then what else there is."""
    order = ("wide", "paper", *SUITE_ORDER)
    found: dict[tuple[str, str], Best] = {}
    ranked = sorted(results.evaluations, key=lambda e: order.index(e.suite) if e.suite in order else len(order))
    for evaluated in ranked:
        for row in evaluated.rows:
            if row["method"] == method:
                found.setdefault((evaluated.task, str(row["split"])), Best(evaluated, row))
    return found


def headline(results: ResultFiles) -> str:
    """A few sentences with the main numbers, counts and suite included."""
    top = lead(results)
    if top is None:
        return "No evaluation of a method that learns was found yet; each section says what to run."
    rows = best_rows(results, top.name)
    parts = []
    for task in TASKS:
        said: list[str] = []
        for split in ("unseen", "seen"):
            if (task, split) in rows:
                row = rows[task, split].row
                ends = row["wilson"]
                interval = f"{100 * ends['low']:.0f} to {100 * ends['high']:.0f}"
                where = f", suite `{rows[task, split].evaluated.suite}`" if not said else ""
                said.append(f"**{100 * ends['value']:.0f}%** of {split} ({count(row)}, interval {interval}{where})")
        if said:
            parts.append(f"{TASK_NAMES[task].lower()} episodes: " + " and ".join(said))
    text = f"{top.title}, shown images, a sentence and candidates only, solves of " + "; of ".join(parts) + "."
    best = rows.get(("pick", "unseen"))
    if best is None:
        return text
    others = [] if best.control is None else [("its untrained control", best.control)]
    if best.without_learning is not None:
        others.append((f"the best that learns nothing ({best.without_learning[0].title})", best.without_learning[1]))
    if others:
        told = ", ".join(f"{first_attempt(row)}% ({count(row)} within all attempts) for {name}" for name, row in others)
        text += f" Unseen picks by the first attempt: {first_attempt(best.row)}% for {top.title}, {told}."
    return text


def overview(results: ResultFiles) -> Section:
    """Big numbers, and success within k attempts."""
    top = lead(results)
    if top is None:
        return Section("overview", "Overview", (Missing("No evaluation of a method that learns.", "srcli evaluate"),))
    rows = best_rows(results, top.name)
    cards = []
    for task in TASKS:
        for split in SPLITS:
            if (task, split) not in rows:
                continue
            best = rows[task, split]
            ends = best.row["wilson"]
            under = f"{count(best.row)}, [{100 * ends['low']:.0f}, {100 * ends['high']:.0f}], `{best.evaluated.suite}`"
            if task != "place":
                under += f"; first attempt {first_attempt(best.row)}%"
            if best.control is not None:
                under += f"; untrained {100 * best.control['wilson']['value']:.0f}%"
                under += f", first attempt {first_attempt(best.control)}%" if task != "place" else ""
            cards.append((f"{top.title}, {TASK_NAMES[task].lower()}, {split}", f"{100 * ends['value']:.0f}%", under))
    charts = [_within(e, split) for e in results.evaluations if e.task == "pick" for split in SPLITS]
    return Section("overview", "Overview", (Cards(tuple(cards)), *(chart for chart in charts if chart is not None)))


def _within(evaluated: Evaluated, split: str) -> Chart | None:
    curve = [point for point in evaluated.summary.get("curve", ()) if point["split"] == split]
    if not curve:
        return None
    methods = sorted((evaluated.named(name) for name in {str(point["method"]) for point in curve}), key=rank)
    colour = colours(methods)
    series = []
    for who in methods:
        points = sorted((int(p["attempts"]), 100 * float(p["rate"])) for p in curve if p["method"] == who.name)
        xs, ys = [k for k, _ in points], [r for _, r in points]
        series.append(Series(who.title, xs, ys, colour[who.name], style="dashed" if who.control else "solid"))
    ks = sorted({int(p["attempts"]) for p in curve})
    axes = Axes("within so many attempts", "success (%)", (min(ks), max(ks)), (0, 100), ks, (0, 25, 50, 75, 100))
    n = min(r["episodes"] for r in evaluated.rows if r["split"] == split)
    caption = (
        f"Pick, {split}, suite `{evaluated.suite}`, {n} scenes: with many attempts even a random remover gets far; dashed: "
        "untrained controls."
    )
    return Chart(line_chart(series, axes), caption)
