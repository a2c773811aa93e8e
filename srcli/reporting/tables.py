"""Table 1 and Table 2 of the paper from our evaluation files, beside what others have published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import sqrt
from typing import Any

from srcli.config.evaluate import EvaluateConfig
from srcli.reporting.blocks import Block, Cell, Missing, Row, Section, Table
from srcli.reporting.naming import MARK, NO_CONTROL, rank, without_control
from srcli.reporting.numbers import (
    TASK_NAMES,
    count,
    difference,
    first_attempt,
    mean,
    rate,
    span,
    steps,
)
from srcli.reporting.published import OTHERS, TABLE1, TABLE1_NOTE, TABLE2_NOTE
from srcli.reporting.result_files import TASKS, Evaluated, ResultFiles
from srcli.reporting.svg import strip

BATCH = 10
SUITE_TEXT = {
    "paper": "suite `paper`: the paper's number of cases, each repeated",
    "wide": "suite `wide`: every scene another one, once each",
    "development": "suite `development`: scenes that may be looked at while building",
    "compositional": "suite `compositional`: sentences that need more than one word",
    "free": "suite `free`: sentences as people say and type them",
    "free-development": "suite `free-development`: such sentences that may be looked at while building",
    "compositional-development": "suite `compositional-development`: such scenes that may be looked at while building",
    "files": "benchmark files as they are",
}

KIND_TEXT = {
    "attribute_noun": "an attribute and a noun (“the red cup”)",
    "reference": "two of a kind told apart by a reference (“the cup next to the box”)",
    "superlative": "superlatives (“the leftmost bottle”)",
    "purpose": "what somebody wants to do",
    "situation": "how things stand",
    "description": "what it is like, without its name",
    "negation": "what it is not",
    "typing": "typing errors",
    "telegraphic": "as short as can be",
    "polite": "long and polite",
}


def table1(results: ResultFiles) -> Section:
    """Success and planning steps of every method on every task, split and suite, with published numbers beside them."""
    blocks: list[Block] = []
    for task in (*TASKS, *dict.fromkeys(e.task for e in results.evaluations if e.task not in TASKS and e.rows)):
        found = [e for e in results.evaluations if e.task == task and e.rows]
        if found:
            blocks.append(_task_table(task, found))
        else:
            blocks.append(
                Missing(f"No evaluation of the task `{task}`.", f"srcli evaluate --task {task} --out results/evaluation/{task}")
            )
            blocks.append(_theirs_alone(task))
    blocks.append(
        Table(
            "Other systems in pick tests of the same kind, as published",
            ("system", "success %", "steps", "where it stands"),
            tuple(Row(row, "theirs") for row in OTHERS),
            left=1,
        )
    )
    return Section("table-1", "Table 1: all tasks", tuple(blocks))


_HEADERS = (
    "method",
    "k/n",
    "success % [Wilson]",
    "by case",
    "@1 %",
    "steps all / won",
    "similarity rule",
    "index rule",
    "diff to reference",
)


def _task_table(task: str, found: Sequence[Evaluated]) -> Table:
    lines: list[Row] = []
    for split in ("seen", "unseen"):
        for evaluated in found:
            own = [row for row in evaluated.rows if row["split"] == split]
            own.sort(key=lambda row: rank(evaluated.named(str(row["method"]))))
            if own:
                text = SUITE_TEXT.get(evaluated.suite, f"suite `{evaluated.suite}`")
                reference = evaluated.named(str(evaluated.summary.get("reference", "")))
                metres, radians = evaluated.disturbance
                moved = f", actions disturbed by {1000 * metres:g} mm and {radians:g} rad" if metres or radians else ""
                allowed = _cap(evaluated)
                lines.append(Row((f"{split}: {text}{allowed}{moved}; differences to {reference.title}",), "group"))
                lines += [_line(evaluated, row) for row in own]
                lines += _by_kind(evaluated, task, split)
        lines += [Row(cells, "theirs") for cells in _theirs(task, split)]
    full = [row for row in lines if row.kind != "group"]
    used = [i for i in range(len(_HEADERS)) if i < 3 or any(row.cells[i] for row in full)]
    shown = tuple(row if row.kind == "group" else Row(tuple(row.cells[i] for i in used), row.kind) for row in lines)
    return Table(
        f"**{TASK_NAMES.get(task, task)}**", tuple(_HEADERS[i] for i in used), shown, _NOTE + TABLE1_NOTE + _marked(found)
    )


def _cap(evaluated: Evaluated) -> str:
    """How many attempts were allowed, where it is not the usual number."""
    cap = evaluated.summary.get("attempts")
    return "" if cap in (None, EvaluateConfig.model_fields["attempts"].default) else f", up to {cap} attempts"


def _by_kind(evaluated: Evaluated, task: str, split: str) -> list[Row]:
    """The rows of each kind of sentence; none where a suite has none."""
    here = [r for r in evaluated.summary.get("kinds", ()) if (r["task"], r["split"]) == (task, split)]
    lines: list[Row] = []
    for kind in dict.fromkeys(str(r["kind"]) for r in here):
        own = [row for row in here if row["kind"] == kind]
        own.sort(key=lambda row: rank(evaluated.named(str(row["method"]))))
        lines.append(Row((f"{split}: of these, {KIND_TEXT.get(kind, kind)}",), "group"))
        lines += [_line(evaluated, row) for row in own]
    return lines


_NOTE = (
    "`k/n`: successes of episodes, by what the simulator says was really taken or put; Wilson interval; _by case_: bootstrap "
    "that resamples whole cases; `@1`: solved by the first attempt; steps: mean attempts over all and over won episodes; "
    'difference in points on the same seeds. Rows with * see the simulator\'s true state. A row "untrained" is the control of '
    "the one above it: the same network with its initial weights, the mean of several; `k/n` counts the episodes of all of them. "
)


def _marked(found: Sequence[Evaluated]) -> str:
    return f" {NO_CONTROL}" if any(without_control(evaluated.methods) for evaluated in found) else ""


def _line(evaluated: Evaluated, row: Mapping[str, Any]) -> Row:
    similar, index = row.get("similar"), row.get("index_rule")
    n = row["episodes"]
    who = evaluated.named(str(row["method"]))
    privileged = bool(row.get("privileged")) or who.privileged
    cells: tuple[Cell, ...] = (
        who.title + (" *" if privileged else "") + (MARK if who.name in without_control(evaluated.methods) else ""),
        count(row),
        rate(row),
        span(row, "clustered"),
        first_attempt(row),
        steps(row),
        "" if similar is None else f"{similar}/{n}",
        "" if index is None else f"{index}/{n}",
        difference(row),
    )
    return Row(cells, "privileged" if privileged else "control" if who.control else "ours")


def _theirs(task: str, split: str) -> list[tuple[Cell, ...]]:
    quotes = [q for q in TABLE1 if (q.task, q.split) == (task, split)]
    return [(q.who, "", q.success, "", "", q.steps, "", "", q.how) for q in quotes]


def _theirs_alone(task: str) -> Table:
    rows = [Row((q.split, q.who, q.success, q.steps, q.how), "theirs") for q in TABLE1 if q.task == task]
    return Table(
        f"{TASK_NAMES[task]}, as published by others", ("split", "system", "success %", "steps", "note"), tuple(rows), left=2
    )


def table2(results: ResultFiles) -> Section:
    """Per-batch statistics of the pick task: episodes in their order, ten at a time."""
    blocks: list[Block] = []
    for evaluated in results.evaluations:
        if evaluated.task == "pick" and len(evaluated.episodes.get("method", ())):
            blocks.append(_batches(evaluated))
    if not blocks:
        blocks.append(Missing("No evaluation of the task `pick`.", "srcli evaluate --task pick"))
    return Section("table-2", "Table 2: grasping in batches of ten", tuple(blocks))


def batches(evaluated: Evaluated, method: str, split: str, size: int = BATCH) -> list[tuple[int, int, float]]:
    """(successes, episodes, mean attempts) of each batch of scenes, in the order of the suite; the last one may be smaller.

    A control plays each scene with several initialisations; all of them count in the scene's batch. Scenes that could not be set
    up count as failures; attempts are those of the others.
    """
    columns = evaluated.episodes
    lost = columns.get("not_set_up", [False] * len(columns["method"]))
    scenes: dict[str, list[tuple[bool, list[float]]]] = {}
    for i, (own, part) in enumerate(zip(columns["method"], columns["split"], strict=True)):
        if (own, part) == (method, split):
            key = str(columns["key"][i])
            attempts = [] if lost[i] else [float(columns["attempts"][i])]
            scenes.setdefault(key, []).append((bool(columns["success"][i]), attempts))
    order = list(scenes.values())
    parts = [[episode for scene in order[i : i + size] for episode in scene] for i in range(0, len(order), size)]
    return [(sum(s for s, _ in part), len(part), mean([a for _, own in part for a in own] or [0.0])) for part in parts]


def _batches(evaluated: Evaluated) -> Table:
    rows: list[Row] = []
    pairs = sorted(
        {(str(r["split"]), str(r["method"])) for r in evaluated.rows}, key=lambda p: (p[0], rank(evaluated.named(p[1])))
    )
    lacking = without_control(evaluated.methods)
    several = (
        " A control's batch counts the episodes of all its initialisations." if any(w.control for w in evaluated.methods) else ""
    )
    for split, group in groupby(pairs, key=lambda pair: pair[0]):
        rows.append(Row((split,), "group"))
        for _, method in group:
            parts = batches(evaluated, method, split)
            # The last batch may be smaller, and is left out of the statistics then.
            whole = [part for part in parts if part[1] == parts[0][1]]
            rates = [100 * k / n for k, n, _ in whole]
            spread = sqrt(sum((r - mean(rates)) ** 2 for r in rates) / (len(rates) - 1)) if len(rates) > 1 else None
            attempts = [a for _, _, a in whole]
            rows.append(
                Row(
                    (
                        evaluated.named(method).title + (MARK if method in lacking else ""),
                        strip([(k, n) for k, n, _ in parts]),
                        str(sum(n for _, n, _ in parts)),
                        f"{mean(rates):.1f}" + (f" ± {spread:.1f}" if spread is not None else ""),
                        f"{min(rates):.0f} to {max(rates):.0f}",
                        f"{mean(attempts):.2f} ({min(attempts):.1f} to {max(attempts):.1f})",
                    ),
                    "control" if evaluated.named(method).control else "ours",
                )
            )
    return Table(
        f"**Batches of {BATCH}**, suite `{evaluated.suite}`, seed {evaluated.summary.get('seed', '?')}",
        ("method", "successes per batch, in the order of the suite", "n", "mean ± sd %", "range %", "steps per batch (range)"),
        tuple(rows),
        "Every method plays the same episodes in the same order, so batches can be compared down a column. "
        + TABLE2_NOTE
        + several
        + _marked([evaluated]),
        left=2,
    )
