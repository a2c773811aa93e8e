"""The numbers of a probe as tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srcli.evaluation.suites import COMPOSED, FREE

_WORDING = {"train": "as in demonstrations", "heldout": "held out"}


def encoder_table(numbers: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """Regions, then sentences, then those of suites."""
    time = numbers["dense_ms_per_view"]
    out = [
        f"## Encoder {identity['name']}",
        "",
        f"Weights {str(identity['sha256'])[:12]}, width {identity['dim']}, route {identity['route']}; dense features "
        f"{_number(time['median'])} ms per view (median of {time['n']} scenes, slowest {_number(time['slowest'])}).",
        "",
        "Regions of piles (true masks) among all catalogue names:",
        "",
        "| split | own name first | among the first five | first name is true of it | colours: own name | colours: true of it |",
        "|---|---|---|---|---|---|",
    ]
    for split, row in numbers["regions"].items():
        keys = ("top1", "top5", "true", "color_top1", "color_true")
        out.append(f"| {split} | " + " | ".join(share(row[key]) for key in keys) + " |")
    out += [
        "",
        "Sentences (episode: what an evaluation asks in that scene; reference: of a placement):",
        "",
        "| split | wording | kind | most similar point on a target | most similar region | colours alone | chance |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in numbers["answers"]:
        cells = (share(row[key]) for key in ("point", "region", "color"))
        wording = _WORDING.get(row["wording"], row["wording"])
        out.append(f"| {row['split']} | {wording} | {row['kind']} | " + " | ".join(cells) + f" | {100 * row['chance']:.0f}% |")
    for suite, splits in numbers["suites"].items():
        out += ["", *_suite_table(suite, splits)]
    return "\n".join([*out, *_left_out(numbers), ""])


def _suite_table(suite: str, splits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A row per kind of sentence, the splits side by side."""
    said = "sentences as people say them" if suite in FREE else "compositional sentences" if suite in COMPOSED else "sentences"
    out = [
        f"{suite}: {said}",
        "",
        "| kind | " + " | ".join(f"{split}: point | region | chance" for split in splits) + " |",
        "|---|" + "---|---|---|" * len(splits),
    ]
    for kind in dict.fromkeys(kind for kinds in splits.values() for kind in kinds):
        out.append(f"| {kind} | " + " | ".join(_suite_cells(kinds.get(kind)) for kinds in splits.values()) + " |")
    return out


def _suite_cells(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "- | - | -"
    return f"{_count(row['point'])} | {_count(row['region'])} | {100 * row['chance']:.0f}%"


def grasp_table(numbers: Mapping[str, Any], source: str) -> str:
    """One column per split."""
    groups = numbers["groups"]
    time = numbers["milliseconds"]
    lines: Sequence[tuple[str, str]] = (
        ("objects with a candidate", "covered"),
        ("objects with a candidate that holds", "holding"),
        ("graspable objects", "graspable"),
        ("graspable objects with a candidate that holds", "graspable_with_holding"),
        ("top candidate of an object holds", "top_holds"),
        ("random candidate of an object holds", "random_holds"),
        ("random candidate of a scene holds anything", "sampled"),
        ("dense search finds a grasp where a candidate holds", "dense_finds"),
        ("a candidate holds where the dense search finds a grasp", "dense_only"),
    )
    out = [
        f"## Grasps from {source}",
        "",
        f"{_number(time['median'])} ms per call (median of {time['n']} scenes, slowest {_number(time['slowest'])}).",
        "",
        "| | " + " | ".join(f"{name}, {row['scenes']} scenes" for name, row in groups.items()) + " |",
        "|---|" + "---|" * len(groups),
    ]
    out += [f"| {title} | " + " | ".join(share(row[key]) for row in groups.values()) + " |" for title, key in lines]
    out.append("| average precision of quality | " + " | ".join(_precision(row) for row in groups.values()) + " |")
    out.append("| Brier score of quality | " + " | ".join(_number(row["brier"], 3) for row in groups.values()) + " |")
    out.append("| candidates per scene | " + " | ".join(_number(r["candidates_per_scene"]) for r in groups.values()) + " |")
    out.append("| failures of top candidates | " + " | ".join(_failures(row["top_failures"]) for row in groups.values()) + " |")
    return "\n".join([*out, *_left_out(numbers), ""])


def share(found: Mapping[str, Any]) -> str:
    """``k/n = 91% [84, 95]``; a dash of nothing."""
    if not found["n"]:
        return "-"
    return f"{found['k']}/{found['n']} = {100 * found['rate']:.0f}% [{100 * found['low']:.0f}, {100 * found['high']:.0f}]"


def _count(found: Mapping[str, Any]) -> str:
    return f"{found['k']}/{found['n']}"


def _precision(row: Mapping[str, Any]) -> str:
    found = row["average_precision"]
    if found["value"] is None:
        return "-"
    ends = f" [{found['low']:.3f}, {found['high']:.3f}]" if found["low"] is not None else ""
    return f"{found['value']:.3f}{ends}, n {found['n']}"


def _failures(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in reasons.items()) or "none"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _left_out(numbers: Mapping[str, Any]) -> list[str]:
    count = numbers["not_set_up"]
    return ["", f"{count} scene(s) could not be laid out and are not counted."] if count else []
