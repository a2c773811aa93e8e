"""Table 3 (ablation) and Table 4 (noise), and which of the paper's statements hold here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srcli.reporting.blocks import Block, Cell, Chart, Missing, Prose, Row, Section, Table
from srcli.reporting.numbers import TASK_NAMES, count, difference, first_attempt, method_name, rate, span, steps
from srcli.reporting.published import ABLATION, ABLATION_NOTE, NOISE_NOTE, UNKNOWN
from srcli.reporting.sources import TASKS, Sources, Study
from srcli.reporting.svg import Axes, Series, line_chart

VARIANTS = ("base", "sr_a", "sr")
SPLITS = ("seen", "unseen")
SPARSE_NAMES = {"softmax": "softmax", "relu": "ReLU", "relu2": "ReLU²"}
_SPARSE_COLOURS = {"softmax": 5, "relu": 1, "relu2": 0}
Numbers = Mapping[str, Any]
Cells = Mapping[tuple[str, str, str], Numbers]


def ablation_rows(sources: Sources) -> tuple[Cells, str]:
    """The row of each (variant, task, split), and where it comes from; empty when there is neither ablation nor evaluation.

    An ablation file counts before evaluations; of evaluations the first suite in the order of the page that has the variant.
    """
    for study in sources.ablations:
        rows = [row for row in pooled(study) if _variant(row) in VARIANTS]
        found = {(_variant(row), str(row["task"]), str(row["split"])): _against(row, str(row.get("reference"))) for row in rows}
        if found:
            return found, f"from `{study.name}`: {_seeds(study)}"
    found = {}
    for evaluated in sources.evaluations:
        for row in evaluated.rows:
            key = (str(row["method"]), evaluated.task, str(row["split"]))
            if key[0] in VARIANTS:
                found.setdefault(key, _against(row, str(evaluated.summary.get("reference"))))
    return found, "from the evaluations, one policy file per variant; no ablation file was found"


def _against(row: Numbers, reference: str) -> Numbers:
    """The row with its paired difference only if that is taken against SR."""
    return row if reference == "sr" else {**row, "paired": None, "steps_difference": None}


def pooled(study: Study) -> list[Numbers]:
    """The rows over all training seeds; where there was one seed, its own."""
    rows: dict[tuple[str, str, str], Numbers] = {}
    for row in study.rows:
        key = (str(row["task"]), str(row["split"]), str(row["arm"]))
        if key not in rows or row["seed"] is None:
            rows[key] = row
    return list(rows.values())


def _variant(row: Numbers) -> str:
    return str(row.get("arm") or row.get("method") or "")


def _seeds(study: Study) -> str:
    scale = study.summary.get("scale") or {}
    seeds = sorted({row["seed"] for row in study.rows if row.get("seed") is not None})
    trained = f"{len(seeds)} training seed{'s' if len(seeds) != 1 else ''} ({', '.join(str(s) for s in seeds)})"
    updates = study.summary.get("training_updates")
    chosen = ", chosen by 2-Align alone" if scale.get("choice") == "align2" else ""
    return f"suite `{scale.get('suite', '')}`, {trained}" + (f", {updates} updates each" if updates else "") + chosen


def table3(sources: Sources) -> Section:
    """BASE, SR-A, SR on all tasks and splits."""
    found, origin = ablation_rows(sources)
    blocks: list[Block] = []
    lines: list[Row] = []
    for task in TASKS:
        for split in SPLITS:
            own = [(variant, found[variant, task, split]) for variant in VARIANTS if (variant, task, split) in found]
            if not own:
                continue
            lines.append(Row((f"{TASK_NAMES[task]}, {split}",), "group"))
            for variant, row in own:
                theirs = ABLATION.get((variant, task, split), UNKNOWN)
                lines.append(Row((method_name(variant), theirs, *_numbers(row))))
    if lines:
        headers = (
            "variant",
            "paper, theirs %",
            "k/n",
            "success % [Wilson]",
            "by case",
            "@1 %",
            "steps all / won",
            "diff to SR, paired",
        )
        caption = f"**Ablation**, {origin}"
        blocks.append(Table(caption, headers, tuple(lines), ABLATION_NOTE))
    if not sources.ablations or not lines:
        blocks.append(Missing("Several training seeds of BASE, SR-A and SR on all tasks.", "srcli ablate"))
    blocks += [block for study in sources.ablations if (block := _open_choices(study)) is not None]
    blocks += [Prose(f"`{study.name}`: {note}.") for study in sources.ablations for note in study.summary.get("notes", ())]
    return Section("table-3", "Table 3: ablation", tuple(blocks))


def _numbers(row: Numbers) -> tuple[Cell, ...]:
    return (count(row), rate(row), span(row, "clustered"), first_attempt(row), steps(row), difference(row))


def _open_choices(study: Study) -> Table | None:
    """Rows of an ablation file that vary something else than the variant."""
    rows = [row for row in pooled(study) if _variant(row) not in VARIANTS]
    if not rows:
        return None
    lines = tuple(
        Row((str(row.get("title") or _variant(row)), f"{row.get('task', '')}, {row['split']}", *_numbers(row))) for row in rows
    )
    headers = ("value", "task, split", "k/n", "success % [Wilson]", "by case", "@1 %", "steps all / won", "diff, paired")
    return Table(f"**Choices that the paper leaves open**, `{study.name}`", headers, lines, left=2)


def table4(sources: Sources) -> Section:
    """Sparse branches under point noise: a table and a curve."""
    blocks: list[Block] = []
    for study in sources.sweeps:
        rows = [row for row in pooled(study) if "sigma" in row]
        if rows:
            blocks += _sweep(study, rows)
    if not blocks:
        blocks.append(Missing("The noise sweep.", "srcli noise-sweep --sigma 0.1 0.2 0.3"))
    blocks.append(Prose(NOISE_NOTE))
    return Section("table-4", "Table 4: noise on the points", tuple(blocks))


def _sweep(study: Study, rows: Sequence[Numbers]) -> list[Block]:
    sparse = [s for s in SPARSE_NAMES if any(_sparse(row) == s for row in rows)]
    unit = str(rows[0].get("unit", "normalized"))
    blocks: list[Block] = []
    groups = list(dict.fromkeys((str(row.get("task", "pick")), str(row.get("split", "unseen"))) for row in rows))
    for task, split in groups:
        own = [r for r in rows if (str(r.get("task", "pick")), str(r.get("split", "unseen"))) == (task, split)]
        sigmas = sorted({float(row["sigma"]) for row in own})
        by = {(_sparse(row), float(row["sigma"])): row for row in own}
        where = f"{TASK_NAMES.get(task, task)}, {split}"
        axes = Axes(f"sigma ({unit})", "success (%)", (min(sigmas), max(sigmas)), (0, 100), sigmas, (0, 25, 50, 75, 100))
        for interval, what in (("wilson", "success within all attempts"), ("first", "success at the first attempt")):
            series = []
            for name in sparse:
                at = [s for s in sigmas if (name, s) in by]
                ends = [by[name, s][interval] for s in at]
                percent = [[100 * end[key] for end in ends] for key in ("value", "low", "high")]
                series.append(Series(SPARSE_NAMES[name], at, percent[0], _SPARSE_COLOURS[name], percent[1], percent[2]))
            blocks.append(Chart(line_chart(series, axes), f"{where}: {what}, with intervals."))
        table = [
            Row(
                (
                    f"{sigma:g}",
                    *(rate(by[n, sigma]) if (n, sigma) in by else "" for n in sparse),
                    *(rate(by[n, sigma], "first") if (n, sigma) in by else "" for n in sparse),
                    _n(by, sparse, sigma),
                    UNKNOWN,
                )
            )
            for sigma in sigmas
        ]
        names = [SPARSE_NAMES[n] for n in sparse]
        headers = ("sigma", *(f"{n} % [Wilson]" for n in names), *(f"{n} @1 %" for n in names), "n each", "paper, theirs")
        blocks.append(Table(f"**{where}**, sigma in unit `{unit}`, `{study.name}`: {_seeds(study)}", headers, tuple(table)))
    return blocks


def _sparse(row: Numbers) -> str:
    return str(row.get("sparse") or row.get("method") or "").rsplit("-", maxsplit=1)[-1]


def _n(by: Mapping[tuple[str, float], Numbers], sparse: Sequence[str], sigma: float) -> str:
    return " / ".join(str(by[n, sigma]["episodes"]) for n in sparse if (n, sigma) in by)


def claims(sources: Sources) -> Section:
    """What the paper's text says, and whether our numbers agree: it holds, does not, or cannot be told."""
    found, _ = ablation_rows(sources)
    lines: list[Row] = []
    for task in TASKS:
        for other in ("base", "sr_a"):
            text = f"SR succeeds more often than {method_name(other)}: {TASK_NAMES[task].lower()}, unseen"
            lines.append(_claim(text, found.get((other, task, "unseen")), found.get(("sr", task, "unseen"))))
    lines.append(
        _claim(
            "SR-A is the best on seen picking (above SR)", found.get(("sr", "pick", "seen")), found.get(("sr_a", "pick", "seen"))
        )
    )
    lines += [_fewer_steps(found, task) for task in ("pick", "pick_place")]
    lines += _noise_claims(sources)
    lines.append(_loss_claim(sources))
    note = (
        "_holds_ and _contrary_: the interval of the paired difference (where there is one, else of the two rates) leaves out "
        "zero; _as stated_ and _other way_: the difference has that sign, but so many episodes cannot tell it from none."
    )
    headers = ("the paper's statement", "here", "verdict")
    return Section(
        "claims",
        "Does it hold here?",
        (Table("**The paper's statements in words against our numbers**", headers, tuple(lines), note, left=3),),
    )


def _claim(text: str, low: Numbers | None, high: Numbers | None) -> Row:
    if low is None or high is None:
        return Row((text, "", "not measured"))
    gap = high["successes"] / high["episodes"] - low["successes"] / low["episodes"]
    here = f"{count(high)} against {count(low)} ({100 * gap:+.1f} points)"
    return Row((text, here, verdict(gap, _certain(low, high))))


def _certain(low: Numbers, high: Numbers) -> bool:
    for row in (low, high):
        paired = row.get("paired")
        if paired and paired.get("difference") and paired["difference"].get("low") is not None:
            ends = paired["difference"]
            return bool(ends["low"] > 0 or ends["high"] < 0)
    a, b = low["wilson"], high["wilson"]
    return bool(a["high"] < b["low"] or b["high"] < a["low"])


def verdict(gap: float, certain: bool) -> str:
    """In one or two words, from the sign of a difference and whether its interval leaves out zero."""
    if gap == 0:
        return "no difference"
    if certain:
        return "holds" if gap > 0 else "contrary"
    return "as stated, not certain" if gap > 0 else "other way, not certain"


def _fewer_steps(found: Cells, task: str) -> Row:
    text = f"SR needs the fewest planning steps: {TASK_NAMES[task].lower()}, unseen"
    own = {v: found[v, task, "unseen"] for v in VARIANTS if (v, task, "unseen") in found}
    if "sr" not in own or len(own) < 2:
        return Row((text, "", "not measured"))
    here = ", ".join(f"{method_name(v)} {row['steps_all']:.2f}" for v, row in own.items())
    rivals = [row for v, row in own.items() if v != "sr"]
    gap = min(row["steps_all"] for row in rivals) - own["sr"]["steps_all"]
    paired = [row.get("steps_difference") for row in rivals]
    errors = [row.get("steps_all_se") or 0.0 for row in own.values()]
    if all(paired):
        certain = all(ends["low"] > 0 for ends in paired if ends) if gap > 0 else any(ends["high"] < 0 for ends in paired if ends)
    else:
        certain = abs(gap) > 2 * sum(e * e for e in errors) ** 0.5 > 0
    return Row((text, here, verdict(gap, certain)))


def _noise_claims(sources: Sources) -> list[Row]:
    text = "ReLU² is best under noise"
    rows = [
        r for s in sources.sweeps for r in pooled(s) if r.get("task", "pick") == "pick" and r.get("split", "unseen") == "unseen"
    ]
    by = {(_sparse(row), float(row["sigma"])): row for row in rows if "sigma" in row}
    lines = []
    for sigma in sorted({s for _, s in by if s > 0}):
        rivals = [by[n, sigma] for n in ("softmax", "relu") if (n, sigma) in by]
        best = max(rivals, key=lambda r: r["successes"] / r["episodes"], default=None)
        lines.append(_claim(f"{text}: sigma {sigma:g}, against the better of softmax and ReLU", best, by.get(("relu2", sigma))))
    return lines or [Row((text, "", "not measured"))]


def _loss_claim(sources: Sources) -> Row:
    text = "The final training loss of SR is below that of SR-A"
    ends = {
        v: p.curves["train_loss"][-1] for v in ("sr", "sr_a") if (p := sources.policy(v)) and len(p.curves.get("train_loss", ()))
    }
    if len(ends) < 2:
        return Row((text, "", "not measured"))
    gap = float(ends["sr_a"]) - float(ends["sr"])
    return Row((text, f"SR {ends['sr']:.3f}, SR-A {ends['sr_a']:.3f} nats", verdict(gap, False)))
