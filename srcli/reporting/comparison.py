"""What `srcli compare` has found: Table 1 of its rows, and what each method is, as Markdown, as a picture, as a section."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from srcli.evaluation.figures import new_figure, save_figure
from srcli.evaluation.tables import as_text
from srcli.methods.registry import UNTRAINED
from srcli.reporting.blocks import Block, Prose, Row, RowKind, Section, Table
from srcli.reporting.numbers import TASK_NAMES

Data = Mapping[str, Any]

FAIRNESS = (
    "All rows of a table played the same scenes with the same cameras, sensor noise, candidates, attempts and seeds. Those that "
    "learn were fitted on the same demonstrations where their digests of training data are equal; learning rates and budgets "
    "are those of their sections, chosen on the validation split and the suite development. Rows differ in what they are given: "
    "see the table of methods."
)
ROWS = (
    "k/n: episodes that succeeded by simulation, Wilson's interval, then that of whole cases drawn again. First: at the first "
    "attempt. Steps: mean attempts over all and over successful episodes. To the reference and to the control: difference in "
    "points on the same scenes, at the first attempt where there are several. Italic rows are untrained controls, the mean of "
    "{initialisations} initial weights; a row with * is told the simulator's truth."
)
FACTS = (
    "Passes: samples seen in training. Time: processor seconds of a decision on one core, images to action, as a multiple of the "
    "reference in the same run. A row that takes the *nearest candidate* to its own pose is lent the action prior of `srcli`."
)


def markdown(data: Data) -> str:
    """The whole comparison as Markdown."""
    lines = ["# Comparison", "", FAIRNESS, ""]
    for part in data["parts"]:
        lines += [f"## {as_text(heading(part))}", ""]
        for split in _splits(part):
            lines += [*_table(*part_table(data, part, split)), ""]
        lines += [conditions(part), ""]
    parts = data["parts"]
    if parts:
        lines += [ROWS.format(initialisations=parts[0]["initialisations"]), ""]
    lines += ["## Methods", "", *_table(*methods_table(data)), "", FACTS, ""]
    if data["left_out"]:
        lines += ["Without a row:", "", *(f"- {as_text(f'{name}: {why}')}" for name, why in data["left_out"].items()), ""]
    return "\n".join(lines)


def section(data: Data, name: str, number: int = 1) -> Section:
    """The comparison as a section of the report.

    Args:
        name: of its file.
        number: among the comparisons of the page, from 1.
    """
    blocks: list[Block] = []
    for part in data["parts"]:
        for split in _splits(part):
            heads, lines = part_table(data, part, split)
            kinds = [_kind(data, row["method"]) for row in part["rows"] if row["split"] == split]
            rows = tuple(Row(tuple(line), kind) for line, kind in zip(lines, kinds, strict=True))
            blocks.append(Table(f"**{heading(part)}, {split} objects**, `{name}`", tuple(heads), rows, conditions(part)))
    heads, lines = methods_table(data)
    blocks.append(Table("**Methods**", tuple(heads), tuple(Row(tuple(line)) for line in lines), FACTS, left=2))
    blocks += [Prose(f"No row: `{method}`: {why}.") for method, why in data["left_out"].items()]
    blocks.append(Prose(FAIRNESS))
    anchor = "comparison" if number == 1 else f"comparison-{number}"
    return Section(anchor, "Table 1 in one harness", tuple(blocks))


def heading(part: Data) -> str:
    """What a part is."""
    where = f"case files `{part['part'].partition('/')[2]}`" if part["suite"] == "cases" else f"suite `{part['suite']}`"
    return f"{TASK_NAMES.get(part['task'], part['task'])}, {where}"


def conditions(part: Data) -> str:
    """What its rows were played with, in a sentence."""
    own = {row["split"]: row for row in reversed(part["rows"])}
    scenes = " and ".join(f"{row['scenes']} {split}" for split, row in own.items())
    attempts = f", up to {part['attempts']} attempts" if part["attempts"] > 1 else ", one attempt"
    attempts = "" if part["task"] == "place" else attempts
    # A control counts each scene once for each of its initialisations.
    missing = {split: row["not_set_up"] * row["scenes"] // max(row["n"], 1) for split, row in own.items()}
    lost = "".join(f"; {count} {split} could not be set up" for split, count in missing.items() if count)
    return f"{scenes} scenes, root seed {part['seed']}{attempts}{lost}."


def part_table(data: Data, part: Data, split: str) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of one table."""
    once = part["task"] == "place"
    reference = data["methods"][part["reference"]]["title"]
    steps = [] if once else ["first %", "steps all / won"]
    heads = [f"{split} objects", "k/n", "success % [Wilson] [cases]", *steps, f"to {reference}", "to its control"]
    lines = []
    for row in part["rows"]:
        if row["split"] != split:
            continue
        which = "all" if once else "first"
        first = [] if once else [_percent(row["first"]["k"], row["n"]), f"{_two(row['steps'])} / {_two(row['steps_success'])}"]
        rate = f"{_percent(row['k'], row['n'])} {_ends(row['wilson'])} {_ends(row['clustered'])}"
        paired = [_difference(row[name], which) for name in ("to_reference", "to_control")]
        lines.append([_shown(data, row["method"]), f"{row['k']}/{row['n']}", rate, *first, *paired])
    return heads, lines


def methods_table(data: Data) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of what each method is and was given."""
    heads = ["method", "source", "fidelity", "encoder", "actions", "sees the truth", "parameters", "trained", "data", "time"]
    usual = (data["methods"].get(data["reference"]) or {}).get("seconds")
    lines = []
    for label, facts in data["methods"].items():
        if facts["control"]:
            continue
        trained = "-"
        if facts["policy"]:
            passes = f"{facts['passes']:,} passes" if facts.get("passes") else f"{facts.get('updates', '?')} updates"
            minutes = f", {facts['minutes']:.0f} min" if facts.get("minutes") is not None else ""
            trained = f"{passes} over {facts.get('samples', '?')} decisions{minutes}"
        seconds = facts.get("seconds")
        relative = (
            f"{seconds / usual:.1f} ({seconds:.2f} s)" if seconds and usual else "" if seconds is None else f"{seconds:.2f} s"
        )
        lines.append(
            [
                f"{facts['title']} (`{label}`)",
                facts["source"],
                facts["fidelity"],
                facts["encoder"] or "-",
                facts["actions"],
                "yes" if facts["privileged"] else "no",
                f"{facts['parameters']:,}" if facts.get("parameters") else "-",
                trained,
                f"`{facts['data'][:8]}`" if facts.get("data") else "-",
                relative or "-",
            ]
        )
    return heads, lines


def draw(path: Path, data: Data) -> Path:
    """Success at the first attempt of every row with its interval and its control's, a panel per part and split."""
    panels = [(part, split) for part in data["parts"] for split in _splits(part)]
    most = max((len(_own(data, part, split)) for part, split in panels), default=1)
    figure = new_figure(1.5 + 4.4 * max(len(panels), 1), 1.6 + 0.34 * most)
    axes = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
    for ax, (part, split) in zip(axes, panels, strict=False):
        rows = _own(data, part, split)
        found = {row["method"]: row for row in part["rows"] if row["split"] == split}
        for place, row in enumerate(rows):
            counts = row if part["task"] == "place" else row["first"]
            value = 100 * counts["k"] / max(row["n"], 1)
            low, high = (100 * end if end is not None else value for end in counts["wilson"])
            colour = "#1b6ca8" if row["method"] == part["reference"] else "#555555"
            errors = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
            ax.errorbar([value], [place], xerr=errors, fmt="o", color=colour, capsize=3, markersize=5)
            control = found.get(f"{UNTRAINED}{row['method']}")
            if control is not None:
                before = control if part["task"] == "place" else control["first"]
                ax.plot([100 * before["k"] / max(control["n"], 1)], [place], "x", color="#d95f02", markersize=6)
        ax.set_yticks(range(len(rows)), [_plain(data, row["method"]) for row in rows], fontsize=8)
        ax.invert_yaxis()
        ax.set_xlim(-2, 102)
        ax.grid(axis="x", alpha=0.3)
        ax.set_title(f"{heading(part).replace('`', '')}\n{split} objects", fontsize=9)
        ax.set_xlabel("success %" if part["task"] == "place" else "first attempt %", fontsize=8)
    figure.suptitle("points: success with its interval; crosses: the untrained control", fontsize=9)
    return save_figure(figure, path)


def _own(data: Data, part: Data, split: str) -> list[Data]:
    return [row for row in part["rows"] if row["split"] == split and not data["methods"][row["method"]]["control"]]


def _kind(data: Data, label: str) -> RowKind:
    facts = data["methods"][label]
    return "control" if facts["control"] else "privileged" if facts["privileged"] else "ours"


def _splits(part: Data) -> list[str]:
    return list(dict.fromkeys(row["split"] for row in part["rows"]))


def _plain(data: Data, label: str) -> str:
    facts = data["methods"][label]
    return f"{facts['title']}{'*' if facts['privileged'] else ''}"


def _shown(data: Data, label: str) -> str:
    title = _plain(data, label)
    return f"*{title}*" if data["methods"][label]["control"] else title


def _percent(count: float, total: int) -> str:
    return f"{100 * count / total:.1f}" if total else "-"


def _ends(ends: Sequence[float | None]) -> str:
    return "[" + ", ".join("-" if end is None else f"{100 * end:.1f}" for end in ends) + "]"


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _difference(paired: Data | None, which: str) -> str:
    found = (paired or {}).get(which)
    if found is None or found["difference"] is None:
        return ""
    low, high = ("-" if end is None else f"{100 * end:+.1f}" for end in found["interval"])
    return f"{100 * found['difference']:+.1f} [{low}, {high}]"


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(as_text(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    return [row(heads), "|" + "---|" * len(heads), *map(row, lines)]
