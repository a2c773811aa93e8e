"""The files of an evaluation: HDF5, JSON, Markdown and pictures, from the episodes that were played."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.core import atomic_write
from srcli.artifacts.digests import file_digest
from srcli.artifacts.evaluation import save_evaluation
from srcli.evaluation.methods import Method
from srcli.evaluation.report import PlayedEpisode, curve, describe_threshold, metrics, not_set_up, readings, tables
from srcli.evaluation.similarity_rule import Threshold
from srcli.evaluation.statistics import Row, summarise_all, summarise_kinds
from srcli.evaluation.tables import as_text, to_json, to_markdown
from srcli.methods.policy_file import read_policy, stored_section
from srcli.methods.registry import code_digest, spec_of

if TYPE_CHECKING:
    from srcli.config.base import Section
    from srcli.methods.base import MethodSpec
    from srcli.params import Params


@dataclass(frozen=True, slots=True)
class Summary:
    """What an evaluation leaves behind.

    Attributes:
        results: the HDF5 file; ``table`` and ``json`` hold the rows as Markdown and JSON.
        rows: one per task, split and method.
        figures: pictures written.
        played, kept: episodes played now, and taken from an interrupted or earlier run.
        markdown: the table's text.
    """

    results: Path
    table: Path
    json: Path
    rows: tuple[Row, ...]
    figures: tuple[Path, ...]
    played: int
    kept: int
    markdown: str


def write_results(
    out_dir: Path,
    params: Params,
    suite: str,
    methods: Sequence[Method],
    played: Sequence[PlayedEpisode],
    threshold: Threshold | None,
    pictures: Sequence[Path],
    fresh: int,
    shared: Mapping[str, Any],
) -> Summary:
    """Statistics, then all files.

    Args:
        played: every episode, of every method.
        pictures: of single episodes, drawn as they were played.
        fresh: how many of them were played in this run.
        shared: what all of them depend on, for the record.
    """
    from srcli.evaluation.figures import draw_failures, draw_success

    section = params.evaluate
    results = [item.result(threshold) for item in played]
    names = list(dict.fromkeys(method.label for method in methods))
    reference = section.reference if section.reference in names else names[0]
    privileged = list(dict.fromkeys(method.label for method in methods if method.privileged))
    counted: Any = {"resamples": section.bootstrap, "confidence": section.confidence, "cap": section.attempts}
    rows = summarise_all(results, reference, privileged=privileged, **counted)
    kinds = summarise_kinds(results, reference, privileged=privileged, **counted)
    summary: dict[str, Any] = {
        "suite": suite,
        "tasks": list(dict.fromkeys(result.task for result in results)),
        "seed": params.seed,
        "runs": _runs(out_dir / "results.json", fresh),
        "attempts": section.attempts,
        "reference": reference,
        "confidence": section.confidence,
        "methods": described(methods),
        "similarity_threshold": describe_threshold(threshold),
        "perturb": section.perturb.model_dump(mode="json"),
        "not_set_up": not_set_up(played),
        **({"readings": told} if (told := readings(played)) else {}),
        "rows": to_json(rows),
        **({"kinds": to_json(kinds)} if kinds else {}),
        "curve": curve(rows),
        "metrics": metrics((*rows, *kinds)),
    }
    title = f"# Suite `{suite}`, seed {params.seed}, up to {section.attempts} attempts\n\n"
    markdown = title + to_markdown((*rows, *kinds)) + _listed(not_set_up(played))
    episodes, attempts = tables(played, results)
    config = {**shared, "evaluate": section.model_dump(mode="json", exclude={"executor"})}
    save_evaluation(out_dir / "results.h5", episodes, attempts, summary, config)
    _text(out_dir / "results.json", json.dumps(summary, indent=2) + "\n")
    _text(out_dir / "table.md", markdown)
    figures = out_dir / "figures"
    drawn: list[Path] = []
    for task in dict.fromkeys(result.task for result in results):
        own = [result for result in results if result.task == task]
        tail = "" if task == "pick" else f"-{task}"
        drawn.append(draw_failures(own, figures / f"failures{tail}.png"))
        if task == "pick":
            drawn.append(draw_success(own, figures / "success_within.png", section.attempts, section.confidence))
    return Summary(
        results=out_dir / "results.h5",
        table=out_dir / "table.md",
        json=out_dir / "results.json",
        rows=rows,
        figures=(*drawn, *pictures),
        played=fresh,
        kept=len(played) - fresh,
        markdown=markdown,
    )


def described(methods: Sequence[Method]) -> dict[str, dict[str, Any]]:
    """Each row's method: identifier, title, code, settings, weights, and whether it sees the simulator's truth."""
    found: dict[str, dict[str, Any]] = {}
    for method in methods:
        spec = spec_of(method.method)
        known = found.setdefault(
            method.label,
            {
                "method": method.method,
                "title": spec.title,
                "privileged": spec.privileged,
                "control": method.control,
                "policy": file_digest(method.path) if method.path else None,
                "code": code_digest(method.method),
                "settings": settings_of(spec, method.section, method.path),
            },
        )
        if method.control:
            known.setdefault("seeds", []).append(method.seed)
    return found


def settings_of(spec: MethodSpec, section: Section, policy: Path | str | None) -> dict[str, Any]:
    """The settings that a method acts with: of a fitted one those that its policy was fitted with, but for what acts at test
    time; of all others the section."""
    now: dict[str, Any] = section.model_dump(mode="json")
    if policy is None:
        return now
    fitted = stored_section(spec.section, read_policy(Path(policy)).weights).model_dump(mode="json")
    return {**fitted, **{key: now[key] for key in spec.acts_with}}


def _listed(missing: Sequence[Mapping[str, Any]]) -> str:
    """The scenes that could not be built, for the table's file."""
    if not missing:
        return ""
    lines = [
        as_text(f"- {item['task']}/{item['split']} {item['case'] or item['key']}: {item['instruction']}")
        + (as_text(f" ({item['why']})") if item["why"] else "")
        for item in missing
    ]
    return "\nNot set up (counted as failures):\n\n" + "\n".join(lines) + "\n"


def _runs(path: Path, played: int) -> int:
    """How many runs have added episodes to this folder: test suites are meant to be run once, not tuned on."""
    before = 0
    if path.exists():
        try:
            before = int(json.loads(path.read_text("utf-8")).get("runs", 0))
        except (ValueError, AttributeError):
            before = 0
    return before + (1 if played else 0)


def _text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
