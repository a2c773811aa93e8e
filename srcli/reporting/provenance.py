"""Under which conditions the numbers arose: encoder, candidates, privilege, seeds, n, runs of the test suites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srcli.reporting.blocks import Block, Folded, Missing, Prose, Row, Section, Table
from srcli.reporting.naming import rank
from srcli.reporting.numbers import TASK_NAMES
from srcli.reporting.result_files import Evaluated, ResultFiles, Study

PRIVILEGED = (
    "Simulator identities, true poses and true masks are used by the **expert**, the **oracle** and the **success checks** only. "
    "Every other row gets the RGB-D images of the cameras, the sentence, and candidates that were sampled from the same images."
)


def provenance(results: ResultFiles) -> Section:
    """How it was measured."""
    blocks: list[Block] = [Prose(PRIVILEGED)]
    if results.evaluations:
        blocks.append(Table("**Evaluations**", _HEADERS, tuple(_row(e) for e in results.evaluations), _NOTE, left=3))
        blocks += [_methods(results), _conditions(results.evaluations[0])]
    else:
        blocks.append(Missing("No evaluation.", "srcli evaluate"))
    identities = {str(p.encoder.get("sha256", "")): p.encoder for p in results.policies if p.encoder}
    if identities:
        rows = tuple(
            Row((str(i.get("name", "")), str(i.get("route", "")), str(i.get("dim", "")), str(i.get("image", "")), f"`{sha}`"))
            for sha, i in identities.items()
        )
        note = (
            "The embedded encoder knows the categories of the unseen objects, as web CLIP would, but none of their instances; "
            "where `encoder.pretrained` is `seen-only`, it has learned from seen objects alone."
        )
        blocks.append(Table("**Encoder**", ("name", "route", "width", "images", "sha256 of the weights"), rows, note, left=2))
    studies = [*results.ablations, *results.sweeps]
    if studies:
        keys = ("suite", "tasks", "splits", "episodes", "seeds")
        study_rows = tuple(Row((f"`{s.name}`", s.study, *(_scale(s, key) for key in keys))) for s in studies)
        blocks.append(
            Table(
                "**Ablation and noise files**",
                ("file", "study", "suite", "tasks", "splits", "episodes per task and split", "training seeds"),
                study_rows,
                left=2,
            )
        )
    if results.unreadable:
        bad = tuple(Row((f"`{name}`", why)) for name, why in results.unreadable)
        blocks.append(Table("**Files that could not be read and are not in this report**", ("file", "reason"), bad, left=2))
    return Section("conditions", "How it was measured", tuple(blocks))


_HEADERS = (
    "task",
    "suite",
    "file",
    "root seed",
    "runs",
    "attempts",
    "episodes per method, seen / unseen",
    "wording",
    "perturbation",
)
_NOTE = (
    "`runs`: how many runs have added episodes to that file. `paper` and `wide` are test suites: run to report, never to "
    "choose anything; `development` is for that."
)


def _row(evaluated: Evaluated) -> Row:
    summary, section = evaluated.summary, evaluated.config.get("evaluate", {})
    counts = {
        # A control plays each episode with several initialisations.
        split: max(
            (r["episodes"] // max(int(r.get("initialisations") or 1), 1) for r in evaluated.rows if r["split"] == split),
            default=0,
        )
        for split in ("seen", "unseen")
    }
    moved = section.get("perturb") or {}
    disturbed = ", ".join(f"{key} {value:g}" for key, value in moved.items() if isinstance(value, int | float) and value)
    return Row(
        (
            TASK_NAMES.get(evaluated.task, evaluated.task),
            evaluated.suite,
            f"`{evaluated.name}`",
            str(summary.get("seed", "")),
            str(summary.get("runs", "")),
            str(summary.get("attempts", "")),
            f"{counts['seen']} / {counts['unseen']}",
            str(section.get("wording", "")),
            disturbed or "none",
        )
    )


def _methods(results: ResultFiles) -> Table:
    rows: dict[tuple[str, str], tuple[Any, Row]] = {}
    for evaluated in results.evaluations:
        for name, facts in (evaluated.summary.get("methods") or {}).items():
            who, sha = evaluated.named(name), str(facts.get("policy") or "")
            sees = "the simulator's truth" if who.privileged else "images, sentence, candidates"
            weights = f"`{sha[:16]}`" if sha else "nothing learned"
            if who.control:
                seeds = ", ".join(str(seed) for seed in facts.get("seeds", ()))
                weights = "initial weights" + (f", seeds {seeds}" if seeds else "")
            rows[who.title, weights] = (rank(who), Row((who.title, f"`{name}`", sees, weights)))
    lines = tuple(row for _, row in sorted(rows.values(), key=lambda pair: pair[0]))
    return Table("**Methods**", ("method", "row in the files", "sees", "weights (policy file, sha256)"), lines, left=4)


def _conditions(evaluated: Evaluated) -> Folded:
    config = evaluated.config
    shown = []
    for key in ("candidates", "placements", "cloud", "encoder", "sim", "scene", "language"):
        section = config.get(key)
        if isinstance(section, Mapping):
            text = ", ".join(f"{name} = {_short(value)}" for name, value in section.items())
            shown.append(Row((key, text)))
    candidates = config.get("candidates")
    source = str(candidates.get("source", "sampler")) if isinstance(candidates, Mapping) else "sampler"
    rated = str(candidates.get("quality", "embedded")) if isinstance(candidates, Mapping) else "embedded"
    by = {"embedded": "the package's network", "shape": "the shape of the height map"}.get(rated, rated)
    own = f"the package's own sampler on height maps of the views, rated by {by}"
    intro = Prose(
        f"Grasp candidates: {own if source == 'sampler' else source}; placements: "
        "positions on a height map of the views. No true object pose, no true mask. Methods that choose among candidates have "
        "the same ones; others act with poses of their own."
    )
    table = Table("**Parameters in force** (of the first evaluation)", ("section", "values"), tuple(shown), left=2)
    return Folded("Candidates, cloud, simulation: all parameters", (intro, table))


def _scale(study: Study, key: str) -> str:
    value = (study.summary.get("scale") or {}).get(key, "")
    return ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
