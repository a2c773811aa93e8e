"""What each part of a method is worth: left out of the fitted method, and of one that was fitted without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from srcli.reporting.blocks import Block, Cell, Chart, Missing, Prose, Row, Section, Table
from srcli.reporting.families import Numbers, scale
from srcli.reporting.naming import MARK, NO_CONTROL, named
from srcli.reporting.numbers import TASK_NAMES, count, first_attempt, points, rate
from srcli.reporting.result_files import SPLITS, TASKS, ResultFiles, Study
from srcli.reporting.svg import Dot, interval_chart

ATTRIBUTION = "attribution"
KINDS = {
    "paper": "Parts of the paper",
    "addition": "Additions of ours",
    "choice": "The rule that chooses",
    "control": "Nothing learned",
}
_COLOURS = {"paper": 0, "addition": 1, "choice": 2, "control": 5}
Where = tuple[str, str]
"""Task and split."""

NOTE = (
    "Each line is the method without that part, on the same episodes. `@1`: solved at the first attempt; differences in points "
    "to the whole, paired, with intervals: below zero the part helps. _Left out_: of the fitted method, whose other weights stay "
    "as they are. _Trained without_: another training, against one with all parts and the same budget."
)


@dataclass(frozen=True, slots=True)
class Part:
    """One line: a part, or the control.

    Attributes:
        cut, anew: numbers by task and split with the part left out, and of a method that was fitted without it.
    """

    title: str
    kind: str
    cut: dict[Where, Numbers]
    anew: dict[Where, Numbers]


def attribution(results: ResultFiles) -> Section:
    """A table and a drawing of each attribution study."""
    blocks: list[Block] = []
    for study in results.ablations:
        if study.study == ATTRIBUTION:
            blocks += _study(study)
    if not blocks:
        blocks.append(Missing("What each part of the network is worth.", f"srcli ablate --study {ATTRIBUTION}"))
    return Section("attribution", "What each part is worth", tuple(blocks))


def _study(study: Study) -> list[Block]:
    rows = study.pooled
    # The methods with all parts are their own reference: the fitted one comes first, the one that is trained anew second.
    wholes = list(dict.fromkeys(str(row["arm"]) for row in rows if row["arm"] == row.get("reference")))
    if not wholes:
        return [Prose(f"`{study.name}`: no arm has all parts, so there is nothing to compare with.")]
    places = [(t, s) for t in TASKS for s in SPLITS if any((row["task"], row["split"]) == (t, s) for row in rows)]
    parts = parts_of(rows, wholes)
    whole = {arm: {_where(row): row for row in rows if row["arm"] == arm} for arm in wholes}
    control = any(part.kind == "control" for part in parts)
    title = named(named(wholes[0], next(iter(whole[wholes[0]].values()))).method).title
    return [
        _drawing(study, parts, places, title),
        _table(study, parts, whole, places, title + ("" if control else MARK)),
    ]


def _where(row: Numbers) -> Where:
    return str(row["task"]), str(row["split"])


def parts_of(rows: Sequence[Numbers], wholes: Sequence[str]) -> list[Part]:
    """The parts in the order of the study, by kind; the control last.

    Args:
        wholes: arms with all parts; what is compared with the first has the part left out, the rest was fitted without it.
    """
    found: dict[str, Part] = {}
    for row in rows:
        kind = str(row.get("kind", ""))
        if str(row["arm"]) in wholes or not kind:
            continue
        part = found.setdefault(str(row.get("part") or row["arm"]), Part(str(row.get("title", row["arm"])), kind, {}, {}))
        (part.cut if row.get("reference") == wholes[0] else part.anew)[_where(row)] = row
    order = list(KINDS)
    return sorted(found.values(), key=lambda p: order.index(p.kind) if p.kind in order else len(order) - 1.5)


def _drawing(study: Study, parts: Sequence[Part], places: Sequence[Where], title: str) -> Chart:
    groups: dict[str, list[tuple[str, list[tuple[Dot, ...]]]]] = {}
    for part in parts:
        colour = _COLOURS.get(part.kind, 3)
        dots = [
            tuple(
                Dot(100 * ends["value"], 100 * ends["low"], 100 * ends["high"], colour, hollow)
                for hollow, cells in ((False, part.cut), (True, part.anew))
                if (ends := (cells.get(place) or {}).get("first_difference"))
            )
            for place in places
        ]
        groups.setdefault(KINDS.get(part.kind, part.kind), []).append((part.title, dots))
    heads = [f"{TASK_NAMES[task]}, {split}" for task, split in places]
    anew = "; rings: trained without it" if any(part.anew for part in parts) else ""
    caption = (
        f"{title}: success at the first attempt without each part minus that of the whole, in points, with intervals (dots: left "
        f"out of the fitted method{anew}). Left of zero the part helps. `{study.name}`."
    )
    return Chart(interval_chart(list(groups.items()), heads, "points at the first attempt"), caption, wide=True)


def _table(
    study: Study, parts: Sequence[Part], whole: dict[str, dict[Where, Numbers]], places: Sequence[Where], title: str
) -> Table:
    again = any(part.anew for part in parts)
    # A task of one attempt has the same number twice.
    several = {place for place in places if any(_differs(p.cut.get(place)) for p in parts) or _differs(_first(whole).get(place))}
    headers = ["part"]
    for task, split in places:
        where = f"{TASK_NAMES[task].lower()}, {split}"
        headers += [f"{where}: k/n", "success %"]
        headers += ["@1 %", "diff @1"] if (task, split) in several else ["diff"]
        headers += ["trained without: @1 %", "diff @1"] if again else []

    def cells(cut: Numbers | None, anew: Numbers | None, place: Where) -> list[Cell]:
        found: list[Cell] = ["", ""] if cut is None else [count(cut), rate(cut)]
        found += [] if place not in several else [""] if cut is None else [first_attempt(cut)]
        found += [""] if cut is None else [points(cut.get("first_difference"))]
        if again:
            found += ["", ""] if anew is None else [first_attempt(anew), points(anew.get("first_difference"))]
        return found

    arms = list(whole.values())
    full, anew = arms[0], arms[1] if len(arms) > 1 else {}
    lines = [Row((f"{title}, all parts", *(cell for p in places for cell in cells(full.get(p), anew.get(p), p))))]
    kind = ""
    for part in parts:
        if part.kind != kind:
            kind = part.kind
            lines.append(Row((KINDS.get(kind, kind),), "group"))
        line = (part.title, *(cell for p in places for cell in cells(part.cut.get(p), part.anew.get(p), p)))
        lines.append(Row(line, "control" if part.kind == "control" else "ours"))
    note = NOTE + (f" {NO_CONTROL}" if title.endswith(MARK) else "")
    return Table(f"**{title} without each of its parts**, `{study.name}`: {scale(study)}", tuple(headers), tuple(lines), note)


def _first(whole: dict[str, dict[Where, Numbers]]) -> dict[Where, Numbers]:
    return next(iter(whole.values()))


def _differs(row: Numbers | None) -> bool:
    return row is not None and abs(row["within"]["1"] - row["successes"]) > 0.5
