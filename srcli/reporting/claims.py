"""What the paper's text says, and whether our numbers agree: confirmed, refuted, or not resolved."""

from __future__ import annotations

from srcli.reporting.blocks import Row, Section, Table
from srcli.reporting.families import Family, Numbers, against, compared
from srcli.reporting.naming import Named
from srcli.reporting.numbers import TASK_NAMES, count
from srcli.reporting.published import BASE_ROW, PAPER_ROWS, SR_A_ROW, SR_ROW
from srcli.reporting.result_files import TASKS, ResultFiles
from srcli.reporting.studies import noisy
from srcli.reporting.training import pairs


def claims(results: ResultFiles) -> Section:
    """The paper's statements against our numbers, for each form whose systems can be compared. Controls are no rivals."""
    lines: list[Row] = []
    for family in compared(results):
        lines += _order(family)
    lines += _noise(results)
    lines += _losses(results)
    note = (
        "_Confirmed_ and _refuted_: the interval of the paired difference (where there is one, else of the two rates) leaves out "
        "zero. _Not resolved_: so many episodes cannot tell the difference from none, whatever its sign."
    )
    headers = ("the paper's statement", "here", "verdict")
    return Section(
        "claims",
        "Does it hold here?",
        (Table("**The paper's statements in words against our numbers**", headers, tuple(lines), note, left=3),),
    )


def _order(family: Family) -> list[Row]:
    lines: list[Row] = []
    top = family.title(SR_ROW)
    for task in TASKS:
        for other in (BASE_ROW, SR_A_ROW):
            text = f"{top} succeeds more often than {family.title(other)}: {TASK_NAMES[task].lower()}, unseen"
            lines.append(_claim(text, family.cells.get((other, task, "unseen")), family.cells.get((SR_ROW, task, "unseen"))))
    best = f"{family.title(SR_A_ROW)} is the best on seen picking (above {top})"
    seen = {row: family.cells.get((row, "pick", "seen")) for row in (SR_ROW, SR_A_ROW)}
    lines.append(_claim(best, seen[SR_ROW], seen[SR_A_ROW]))
    return lines + [_fewer_steps(family, task) for task in ("pick", "pick_place")]


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
    a, b = (row.get("rate") or row["wilson"] for row in (low, high))
    return bool(a["high"] < b["low"] or b["high"] < a["low"])


def verdict(gap: float, certain: bool) -> str:
    """In one or two words, from the sign of a difference and whether its interval leaves out zero."""
    if gap == 0:
        return "not resolved (no difference)"
    if certain:
        return "confirmed" if gap > 0 else "refuted"
    return "not resolved (sign as claimed)" if gap > 0 else "not resolved (opposite sign)"


def _fewer_steps(family: Family, task: str) -> Row:
    text = f"{family.title(SR_ROW)} needs the fewest planning steps: {TASK_NAMES[task].lower()}, unseen"
    own = {row: family.cells[row, task, "unseen"] for row in reversed(PAPER_ROWS) if (row, task, "unseen") in family.cells}
    own = {row: numbers for row, numbers in own.items() if numbers["steps_all"] is not None}
    if SR_ROW not in own or len(own) < 2:
        return Row((text, "", "not measured"))
    here = ", ".join(f"{family.title(row)} {numbers['steps_all']:.2f}" for row, numbers in own.items())
    rivals = [numbers for row, numbers in own.items() if row != SR_ROW]
    gap = min(row["steps_all"] for row in rivals) - own[SR_ROW]["steps_all"]
    paired = [row.get("steps_difference") for row in rivals]
    errors = [row.get("steps_all_se") or 0.0 for row in own.values()]
    if all(paired):
        certain = all(ends["low"] > 0 for ends in paired if ends) if gap > 0 else any(ends["high"] < 0 for ends in paired if ends)
    else:
        certain = abs(gap) > 2 * sum(e * e for e in errors) ** 0.5 > 0
    return Row((text, here, verdict(gap, certain)))


def _noise(results: ResultFiles) -> list[Row]:
    """SR against other forms of its own network that stand for no row of the paper: those with another sparse branch."""
    found: dict[tuple[str, float], Row] = {}
    for study in results.sweeps:
        rows = [(who, row) for who, row in noisy(study) if (row["task"], row["split"]) == ("pick", "unseen") and not who.control]
        for top, row in rows:
            sigma = float(row["sigma"])
            if top.paper_row == SR_ROW and sigma > 0:
                rivals = [(w, r) for w, r in rows if float(r["sigma"]) == sigma and w.family == top.family and not w.paper_row]
                found.setdefault((top.family, sigma), _best_under_noise(top, row, rivals))
    return list(found.values()) or [Row((f"{_BEST_BRANCH}: {SR_ROW} under noise", "", "not measured"))]


_BEST_BRANCH = "ReLU² is the best sparse branch"


def _best_under_noise(top: Named, row: Numbers, rivals: list[tuple[Named, Numbers]]) -> Row:
    text = f"{_BEST_BRANCH}: {top.title} under noise, sigma {float(row['sigma']):g}"
    if not rivals:
        return Row((text, "", "not measured"))
    who, best = max(rivals, key=lambda pair: pair[1]["successes"] / pair[1]["episodes"])
    text += f", against {' and '.join(w.title for w, _ in rivals)}" + (f" (best: {who.title})" if len(rivals) > 1 else "")
    return _claim(text, against(best, best.get("reference") == row["arm"]), against(row, row.get("reference") == best["arm"]))


def _losses(results: ResultFiles) -> list[Row]:
    lines = []
    for pair in pairs(results):
        (own, loss), (other, theirs) = (
            (pair[row][0], float(pair[row][0].curves["train_loss"][-1])) for row in (SR_ROW, SR_A_ROW)
        )
        text = f"The final training loss of {own.named.title} is below that of {other.named.title}"
        here = f"{own.named.title} {loss:.3f}, {other.named.title} {theirs:.3f} nats"
        lines.append(Row((text, here, verdict(theirs - loss, False))))
    return lines or [Row((f"The final training loss of {SR_ROW} is below that of {SR_A_ROW}", "", "not measured"))]
