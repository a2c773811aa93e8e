"""Table 3 (the paper's systems against each other), studies of open choices, and Table 4 (noise)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from srcli.reporting.attribution import ATTRIBUTION
from srcli.reporting.blocks import Block, Cell, Chart, Missing, Prose, Row, Section, Table
from srcli.reporting.families import VARIANTS, Family, Numbers, families, scale
from srcli.reporting.naming import MARK, NO_CONTROL, Named, colours, named, rank, without_control
from srcli.reporting.numbers import TASK_NAMES, count, difference, first_attempt, rate, span, steps
from srcli.reporting.published import ABLATION, ABLATION_NOTE, NOISE_NOTE, PAPER_ROWS, UNKNOWN
from srcli.reporting.result_files import SPLITS, TASKS, ResultFiles, Study
from srcli.reporting.svg import Axes, Series, line_chart


def table3(results: ResultFiles) -> Section:
    """The paper's systems on all tasks and splits, one table per form; then what studies of other choices have found."""
    blocks: list[Block] = []
    for family in families(results):
        blocks.append(_family(family))
    if not any(study.study in VARIANTS for study in results.ablations) or not blocks:
        blocks.append(Missing("Several training seeds of the paper's systems on all tasks.", "srcli ablate"))
    for study in results.ablations:
        if study.study in VARIANTS:
            others = [row for row in study.pooled if _arm(row).paper_row not in PAPER_ROWS]
            blocks += _arms(study, others, f"**Other methods in the same study**, `{study.name}`")
        elif study.study != ATTRIBUTION:
            blocks += _arms(study, study.pooled, f"**Choice that the paper leaves open: `{study.study}`**, `{study.name}`")
        blocks += [Prose(f"`{study.name}`: {note}.") for note in study.summary.get("notes", ())]
    return Section("table-3", "Table 3: ablation", tuple(blocks))


def _family(family: Family) -> Table:
    lines: list[Row] = []
    for task in TASKS:
        for split in SPLITS:
            own = [row for row in PAPER_ROWS if (row, task, split) in family.cells]
            if own:
                lines.append(Row((f"{TASK_NAMES[task]}, {split}",), "group"))
            for row in own:
                mark = MARK if row in family.unmatched else ""
                theirs = ABLATION.get((row, task, split), UNKNOWN)
                lines.append(Row((family.title(row) + mark, theirs, *_numbers(family.cells[row, task, split]))))
                control = family.untrained.get((row, task, split))
                if control is not None:
                    lines.append(Row((family.controls[row].title, "", *_numbers(control)), "control"))
    headers = ("system", "paper, theirs %", *_HEADERS, f"diff to {family.title(PAPER_ROWS[0])}, paired")
    titles = ", ".join(family.title(row) for row in PAPER_ROWS if row in family.methods)
    note = ABLATION_NOTE + (f" {NO_CONTROL}" if family.unmatched else "")
    return Table(f"**Ablation: {titles}**, {family.origin}", headers, tuple(lines), note)


_HEADERS = ("k/n", "success % [Wilson]", "by case", "@1 %", "steps all / won")


def _numbers(row: Numbers) -> tuple[Cell, ...]:
    return (count(row), rate(row), span(row, "clustered"), first_attempt(row), steps(row), difference(row))


def _arm(row: Numbers) -> Named:
    return named(str(row["arm"]), row)


def _arms(study: Study, rows: Sequence[Numbers], caption: str) -> list[Block]:
    """A table of arms as they are; nothing where there are none."""
    if not rows:
        return []
    lacking = without_control(study.methods)
    lines = tuple(
        Row(
            (
                _arm(row).title + (MARK if _arm(row).name in lacking else ""),
                f"{TASK_NAMES.get(str(row['task']), row['task'])}, {row['split']}",
                *_numbers(row),
            ),
            "control" if _arm(row).control else "ours",
        )
        for row in rows
    )
    titles = {str(arm["arm"]): str(arm.get("title", arm["arm"])) for arm in study.summary.get("arms", ())}
    references = dict.fromkeys(str(row.get("reference", "")) for row in rows)
    to = ", ".join(titles.get(name, name) for name in references if name)
    note = f"{scale(study)}; differences to: {to}." + (f" {NO_CONTROL}" if any(_arm(r).name in lacking for r in rows) else "")
    return [Table(caption, ("value", "task, split", *_HEADERS, "diff, paired"), lines, note, left=2)]


def table4(results: ResultFiles) -> Section:
    """Methods under noise on the points: a table and curves."""
    blocks: list[Block] = []
    for study in results.sweeps:
        rows = noisy(study)
        if rows:
            blocks += _sweep(study, rows)
            blocks += [Prose(f"`{study.name}`: {note}.") for note in study.summary.get("notes", ())]
    if not blocks:
        blocks.append(Missing("The noise sweep.", "srcli noise-sweep --sigma 0.1 0.2 0.3"))
    blocks.append(Prose(NOISE_NOTE))
    return Section("table-4", "Table 4: noise on the points", tuple(blocks))


def noisy(study: Study) -> list[tuple[Named, Numbers]]:
    """The pooled rows of a sweep, each with its method, whose title does not name the strength of the noise."""
    found = []
    for row in study.pooled:
        if "sigma" in row:
            title = str(row.get("title", "")).partition(", σ")[0]
            found.append((named(str(row.get("value") or row["arm"]), {**row, "title": title}), row))
    return found


def _sweep(study: Study, rows: Sequence[tuple[Named, Numbers]]) -> list[Block]:
    methods = sorted({who.name: who for who, _ in rows}.values(), key=rank)
    lacking, colour = without_control(methods), colours(methods)
    unit = str(rows[0][1].get("unit", "normalized"))
    blocks: list[Block] = []
    for task, split in dict.fromkeys((str(row["task"]), str(row["split"])) for _, row in rows):
        by = {(w.name, float(r["sigma"])): r for w, r in rows if (str(r["task"]), str(r["split"])) == (task, split)}
        sigmas = sorted({sigma for _, sigma in by})
        where = f"{TASK_NAMES.get(task, task)}, {split}"
        axes = Axes(f"sigma ({unit})", "success (%)", (min(sigmas), max(sigmas)), (0, 100), sigmas, (0, 25, 50, 75, 100))
        for interval, what in (("rate", "success within all attempts"), ("first", "success at the first attempt")):
            series = []
            for who in methods:
                at = [s for s in sigmas if (who.name, s) in by]
                ends = [by[who.name, s][interval] for s in at]
                percent = [[100 * end[key] for end in ends] for key in ("value", "low", "high")]
                style = "dashed" if who.control else "solid"
                series.append(Series(who.title, at, percent[0], colour[who.name], percent[1], percent[2], style))
            blocks.append(Chart(line_chart(series, axes), f"{where}: {what}, with intervals."))
        table = [
            Row(
                (
                    f"{sigma:g}",
                    *(rate(by[w.name, sigma], "rate") if (w.name, sigma) in by else "" for w in methods),
                    *(rate(by[w.name, sigma], "first") if (w.name, sigma) in by else "" for w in methods),
                    _n(by, methods, sigma),
                    UNKNOWN,
                )
            )
            for sigma in sigmas
        ]
        titles = [who.title + (MARK if who.name in lacking else "") for who in methods]
        headers = ("sigma", *(f"{t} %" for t in titles), *(f"{t} @1 %" for t in titles), "n each", "paper, theirs")
        caption = f"**{where}**, sigma in unit `{unit}`, `{study.name}`: {scale(study)}"
        blocks.append(Table(caption, headers, tuple(table), NO_CONTROL if lacking else ""))
    return blocks


def _n(by: Mapping[tuple[str, float], Numbers], methods: Sequence[Named], sigma: float) -> str:
    return " / ".join(str(by[who.name, sigma]["episodes"]) for who in methods if (who.name, sigma) in by)
