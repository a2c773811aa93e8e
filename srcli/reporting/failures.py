"""Why attempts fail, by method and split; cases that could not be set up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from srcli.reporting.blocks import Block, Chart, Folded, Missing, Row, Section, Table
from srcli.reporting.naming import MARK, NO_CONTROL, rank, without_control
from srcli.reporting.numbers import TASK_NAMES
from srcli.reporting.result_files import Evaluated, ResultFiles
from srcli.reporting.svg import stacked_bars

REASON_TEXT = {
    "wrong_object": "took something that was not meant",
    "nothing_held": "closed on nothing",
    "slipped": "held, then lost while lifting",
    "collision": "the hand met something on its way down",
    "no_ik": "out of the arm's reach",
    "no_candidate": "no candidate was left to choose from",
    "wrong_region": "put down where the sentence does not say",
    "dropped": "lost on the way to the place",
}
NOT_SET_UP = "not set up"
AIMED = "aimed at what was meant"
AIMED_NOTE = f"{AIMED.capitalize()}: failed grasps with a meant object between or next to the fingers: the grasp failed."

Groups = Mapping[tuple[str, str], tuple[Counter[str], int]]


def failures(results: ResultFiles) -> Section:
    """Stacked bars of the failed attempts of every method and split, one chart per evaluation."""
    blocks: list[Block] = []
    for evaluated in results.evaluations:
        if not len(evaluated.attempts.get("reason", ())):
            continue
        groups = taxonomy(evaluated)
        order = sorted(groups, key=lambda g: (g[0], rank(evaluated.named(g[1]))))
        bars = [(f"{evaluated.named(m).title} / {s}", groups[s, m][1], groups[s, m][0].most_common()) for s, m in order]
        what = f"{TASK_NAMES.get(evaluated.task, evaluated.task)}, suite `{evaluated.suite}`"
        caption = f"{what}: attempts that failed as a share of all attempts of that method; numbers of attempts inside the bars."
        blocks.append(Chart(stacked_bars(bars), caption))
        blocks.append(_table(evaluated, groups, order, what))
    if not blocks:
        blocks.append(Missing("No evaluation with attempts.", "srcli evaluate"))
    else:
        rows = tuple(Row((name.replace("_", " "), text)) for name, text in REASON_TEXT.items())
        blocks.append(Folded("What the reasons mean", (Table("**Reasons**", ("reason", "what happened"), rows, left=2),)))
        blocks.append(_not_set_up(results))
    return Section("failures", "How attempts fail", tuple(blocks))


def taxonomy(evaluated: Evaluated) -> Groups:
    """Failed attempts by reason, and all attempts, of each (split, method)."""
    episodes, attempts = evaluated.episodes, evaluated.attempts
    owner = [(str(s), str(m)) for s, m in zip(episodes["split"], episodes["method"], strict=True)]
    groups: dict[tuple[str, str], tuple[Counter[str], int]] = {}
    for row, reason in zip(attempts["episode"], attempts["reason"], strict=True):
        counts, total = groups.get(owner[int(row)], (Counter(), 0))
        if reason != "success":
            counts[str(reason)] += 1
        groups[owner[int(row)]] = (counts, total + 1)
    return groups


def aimed_right(evaluated: Evaluated) -> Counter[tuple[str, str]] | None:
    """Failed grasps of each (split, method) that had been aimed at an object that was meant; None where no aim was recorded."""
    episodes, attempts = evaluated.episodes, evaluated.attempts
    aims = attempts.get("aimed_right", ())
    if all(aim < 0 for aim in aims):
        return None
    failed = zip(attempts["episode"], attempts["reason"], aims, strict=True)
    rows = [int(row) for row, reason, aim in failed if reason != "success" and aim == 1]
    return Counter((str(episodes["split"][row]), str(episodes["method"][row])) for row in rows)


def _table(evaluated: Evaluated, groups: Groups, order: list[tuple[str, str]], what: str) -> Folded:
    reasons = [r for r in REASON_TEXT if any(groups[g][0][r] for g in order)]
    lacking, aimed = without_control(evaluated.methods), aimed_right(evaluated)
    rows = []
    for split, method in order:
        counts, total = groups[split, method]
        own = () if aimed is None else (str(aimed[split, method]),)
        who = evaluated.named(method)
        label = f"{who.title}{MARK if method in lacking else ''} / {split}"
        rows.append(Row((label, str(total), *(str(counts[r]) for r in reasons), *own), "control" if who.control else "ours"))
    headers = ("method / split", "attempts", *(r.replace("_", " ") for r in reasons), *(() if aimed is None else (AIMED,)))
    notes = [*([] if aimed is None else [AIMED_NOTE]), *([NO_CONTROL] if lacking else [])]
    table = Table(f"**{what}**", headers, tuple(rows), " ".join(notes))
    return Folded(f"The numbers behind the bars: {what.replace('`', '')}", (table,))


def _not_set_up(results: ResultFiles) -> Table:
    rows = []
    for evaluated in results.evaluations:
        ended = evaluated.episodes.get("ended", ())
        broken = sum(text == NOT_SET_UP for text in ended)
        names = sorted({str(entry.get("case") or entry["key"]) for entry in evaluated.not_set_up})
        early = sum(bool(text) and text != NOT_SET_UP for text in ended)
        label = f"{TASK_NAMES.get(evaluated.task, evaluated.task)}, `{evaluated.suite}`"
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        rows.append(Row((label, str(len(ended)), str(broken), str(early), shown)))
    headers = ("evaluation", "episodes, all methods", "not set up", "ended early: no target left", "which could not be set up")
    note = "Episodes that could not be set up stay in every denominator as failures."
    return Table("**Episodes that ended before their attempts were used up**", headers, tuple(rows), note)
