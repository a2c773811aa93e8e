"""docs/results.md and the README's table, made of docs/results.json alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from srcli.config.encoder import SEEN_ONLY
from srcli.errors import ConfigError
from srcli.methods.registry import UNTRAINED
from srcli.studies.results.parts import STRICT
from srcli.studies.results.texts import (
    DIGESTS,
    HARDER,
    INTRODUCTION,
    LIMITS,
    OTHER_SUITES,
    PAPERS,
    PURPOSE,
    README_NOTE,
    TASKS,
    UNLEARNED,
)
from srcli.studies.results.verdicts import ELSEWHERE, HEAD, verdicts

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
Data = Mapping[str, Any]


def page(data: Data) -> str:
    """The page as Markdown."""
    parts: Sequence[Data] = data["parts"]
    first = parts[0]
    level, reference = f"{100 * first['confidence']:g}", _title(first, first["reference"])
    lines = [INTRODUCTION.format(level=level, reference=reference, initialisations=first["initialisations"]), ""]
    for part in parts:
        lines += [*_part(part), ""]
    if any(part["part"].endswith(f"@{STRICT}") for part in parts):
        heads = ["statement", "where", "here, points", "verdict"]
        lines += ["## What the paper claims", "", HEAD, "", *_table(heads, verdicts(parts)), "", ELSEWHERE, ""]
    lines += ["## What the numbers do not show", "", *(f"- {text}" for text in (*_unlearned(parts), *LIMITS)), ""]
    lines += ["## What they were measured with", "", *_conditions(parts), "", *_methods(parts)]
    return "\n".join(lines) + "\n"


def readme_table(data: Data) -> str:
    """The one table of the README: unseen objects, every method once, its control in brackets."""
    parts = [part for part in data["parts"] if any(row["split"] == "unseen" for row in part["rows"])]
    # What the paper's networks do at one attempt stands in the column of the same scenes.
    columns: dict[str, list[Data]] = {}
    for part in parts:
        columns.setdefault(part["part"].removesuffix(f"@{STRICT}"), []).append(part)
    names = dict.fromkeys(name for part in parts for name, method in part["methods"].items() if not method["control"])
    heads = ["unseen objects", *(_column(found[0]) for found in columns.values())]
    lines = []
    for name in names:
        owner = next(part for part in parts if name in part["methods"])
        cells = (next(filter(None, (_short(part, name) for part in found)), "") for found in columns.values())
        lines.append([_shown(owner, name), *cells])
    first = parts[0]
    counts = sorted({row["scenes"] for part in parts for row in part["rows"] if row["split"] == "unseen"})
    scenes = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    level = f"{100 * first['confidence']:g}"
    note = README_NOTE.format(level=level, scenes=scenes, initialisations=first["initialisations"])
    return "\n".join([*_table(heads, lines), "", note]) + "\n"


def with_table(text: str, table: str, where: str) -> str:
    """``text`` with ``table`` between its two markers.

    Raises:
        ConfigError: it does not have each marker once, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in old + after or END in before + after:
        raise ConfigError(
            f"{where}: has no place for the table of results", f"write the lines {BEGIN} and {END} where it belongs"
        )
    return f"{before}{BEGIN}\n{table}{END}{after}"


def _part(part: Data) -> list[str]:
    harder, strict = (part["part"].endswith(f"@{kind}") for kind in (SEEN_ONLY, STRICT))
    tail = ", objects that no part has seen" if harder else ", the paper's networks" if strict else ""
    lines = [f"## {TASKS[part['task']]}, suite `{part['suite']}`{tail}", ""]
    told = (
        HARDER if harder else PAPERS if strict else PURPOSE.get((part["suite"], part["task"])) or OTHER_SUITES.get(part["suite"])
    )
    lines += [told, ""] if told else []
    once = part["task"] == "place" or part["attempts"] == 1
    for split in dict.fromkeys(row["split"] for row in part["rows"]):
        rows = [row for row in part["rows"] if row["split"] == split]
        between = f"to {_title(part, part['reference'])}"
        heads = [f"{split} objects", "success", *([] if once else ["first attempt", "steps"]), between, "to its control"]
        lines += [*_table(heads, [_cells(part, row, once) for row in rows]), ""]
        if part["suite"] in ("compositional", "free") and any("kinds" in row for row in rows):
            lines += [*_kinds(part, rows), ""]
    own = [row for row in part["rows"] if row["method"] == part["reference"]]
    said = " and ".join(f"{row['scenes']} {row['split']}" for row in own) + f" scenes, root seed {part['seed']}"
    said += "" if part["task"] == "place" else ", one attempt" if once else f", up to {part['attempts']} attempts"
    said += "".join(f"; {row['not_set_up']} {row['split']} could not be set up" for row in own if row["not_set_up"])
    left_out = f" No weights for this encoder are shipped of: {', '.join(part['left_out'])}." if part["left_out"] else ""
    return [*lines, f"{said}.{left_out}"]


def _cells(part: Data, row: Data, once: bool) -> list[str]:
    which = "all" if once else "first"
    count = f"{row['k']}/{row['n']} "
    steps = [] if once else [_rate(row["first"], row), f"{_number(row['steps'])} / {_number(row['steps_success'])}"]
    differences = [_difference(row[name], which) for name in ("to_reference", "to_control")]
    return [_shown(part, row["method"]), count + _rate(row, row), *steps, *differences]


def _kinds(part: Data, rows: Sequence[Data]) -> list[str]:
    """First attempts by kind of sentence."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.get("kinds", {})))
    heads = ["first attempt, by kind of sentence", *(kind.replace("_", " ") or "other" for kind in kinds)]
    lines = []
    for row in rows:
        own = [row.get("kinds", {}).get(kind) for kind in kinds]
        lines.append(
            [_shown(part, row["method"]), *(f"{c['first']}/{c['n']} {_percent(c['first'], c['n'])}" if c else "" for c in own)]
        )
    return _table(heads, lines)


def _unlearned(parts: Iterable[Data]) -> list[str]:
    """The learned rows that cannot be told from their controls: what they do was there before they learned."""
    found: dict[str, list[str]] = {}
    for part in parts:
        which = "all" if part["task"] == "place" else "first"
        for row in part["rows"]:
            paired = (row["to_control"] or {}).get(which)
            if paired is not None and paired["interval"][0] is not None and paired["interval"][0] <= 0.0:
                found.setdefault(_title(part, row["method"]), []).append(f"{part['part']} ({row['split']})")
    return [UNLEARNED.format(title=title, places=", ".join(places)) for title, places in found.items()]


def _conditions(parts: Iterable[Data]) -> list[str]:
    heads = ["part", "commit", "shared code", "parameters", "other than the defaults", "weights and data"]
    lines = []
    for part in parts:
        digests = ", ".join(f"{name} `{digest[:12]}`" for name, digest in part["weights"].items())
        changed = ", ".join(f"`{key}` = {value}" for key, value in part["parameters"]["differ"].items()) or "none"
        parameters = f"`{part['parameters']['digest']}`"
        lines.append([f"`{part['part']}`", f"`{part['commit']}`", f"`{part['code'][:12]}`", parameters, changed, digests])
    return [*_table(heads, lines), "", DIGESTS]


def _methods(parts: Iterable[Data]) -> list[str]:
    """Each row's method once for each policy that it acts with."""
    heads = ["row", "name", "fidelity", "source", "training", "policy", "code", "settings other than its own"]
    lines: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        for name, method in part["methods"].items():
            budget = method["budget"] or {}
            seen = budget.get("samples")
            trained = (
                f"{budget.get('updates', '?')} updates"
                + (f" on {seen} decisions" if seen else "")
                + f", seed {budget.get('seed', '?')}"
            )
            training = trained if method["budget"] is not None else "initial weights" if method["control"] else "nothing to learn"
            policy = f"`{method['policy'][:12]}`" if method["policy"] else ""
            changed = ", ".join(f"`{key}` = {value}" for key, value in method["settings"]["differ"].items()) or "none"
            cells = [_shown(part, name), f"`{name}`", method["fidelity"], method["source"], training, policy]
            lines.setdefault((name, policy), [*cells, f"`{method['code'][:12]}`", changed])
    order = list(dict.fromkeys(name for name, _ in lines))
    return _table(heads, [lines[key] for key in sorted(lines, key=lambda key: order.index(key[0]))])


def _column(part: Data) -> str:
    harder = ", seen by no part" if part["part"].endswith(f"@{SEEN_ONLY}") else ""
    suite = "" if part["suite"] == "wide" else f", {part['suite']}"
    return f"{TASKS[part['task']].lower()}{suite}{harder}"


def _short(part: Data, name: str) -> str:
    """Success at the first attempt with its interval, and the control's; empty where a part has no such method."""
    found = {row["method"]: row for row in part["rows"] if row["split"] == "unseen"}
    if name not in found:
        return ""
    row, control = found[name], found.get(UNTRAINED + name)
    low, high = _interval(counts := _at_first(part, row), row)
    told = f"{_percent(counts['k'], row['n'])} [{_points(low, digits=0)}, {_points(high, digits=0)}]"
    return told if control is None else f"{told} ({_percent(_at_first(part, control)['k'], control['n'])})"


def _at_first(part: Data, row: Data) -> Data:
    """Counts of the first attempt; of a placement, which has one, all counts."""
    counts: Data = row if part["task"] == "place" else row["first"]
    return counts


def _rate(counts: Data, row: Data) -> str:
    """Percent with its interval."""
    low, high = _interval(counts, row)
    return f"{_percent(counts['k'], row['n'])} [{_points(low)}, {_points(high)}]"


def _interval(counts: Data, row: Data) -> Sequence[float | None]:
    """Wilson's where every scene is a case of its own, else that of whole cases drawn again."""
    found: Sequence[float | None] = counts["wilson"] if row["cases"] == row["scenes"] else counts["clustered"]
    return found


def _difference(paired: Data | None, which: str) -> str:
    found = (paired or {}).get(which)
    if found is None:
        return ""
    low, high = found["interval"]
    return f"{100 * found['difference']:+.1f} [{_points(low, '+')}, {_points(high, '+')}]"


def _title(part: Data, name: str) -> str:
    return str(part["methods"][name]["title"])


def _shown(part: Data, name: str) -> str:
    """The title of a row: italic for a control, with a star where the truth is seen."""
    method = part["methods"][name]
    title = f"{method['title']}{'*' if method['privileged'] else ''}"
    return f"*{title}*" if method["control"] else title


def _percent(count: float, total: int) -> str:
    return f"{100 * count / total:.1f}%" if total else "-"


def _points(value: float | None, sign: str = "", digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:{sign}.{digits}f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *("| " + " | ".join(line) + " |" for line in lines)]
