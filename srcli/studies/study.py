"""What ``ablate`` and ``noise-sweep`` share: policies trained once, every arm on the same episodes, one file of results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.core import Schema, atomic_write, config_digest
from srcli.studies.policy_store import Arm, Shelved

if TYPE_CHECKING:
    from srcli.config.ablate import ScaleConfig
    from srcli.parallel import Executor, Progress
    from srcli.params import Params
    from srcli.studies.tables import Episode, StudyRow


@dataclass(frozen=True)
class Summary:
    """What a study leaves behind.

    Attributes:
        results: the HDF5 file; ``json`` and ``table`` hold the rows as JSON and Markdown, ``figure`` as a picture.
        rows: one per task, split, arm and training seed, and pooled.
        trained, reused, given: policies (given: or shipped).
        played, kept: episodes played now, and taken from an interrupted or earlier run.
        notes: what a reader has to know of this run.
    """

    results: Path
    json: Path
    table: Path
    figure: Path
    rows: tuple[StudyRow, ...]
    trained: int
    reused: int
    given: int
    played: int
    kept: int
    notes: tuple[str, ...]
    markdown: str


def at_scale(params: Params, scale: ScaleConfig) -> Params:
    """The parameters with the training budget, the suite and the choice of a scale."""
    combine = params.evaluate.combine
    if scale.choice == "align2":
        combine = combine.model_copy(update={"align1": 0.0, "align1_place": 0.0, "align2": 1.0, "prior": 0.0, "prior_place": 0.0})
    evaluate = params.evaluate.model_copy(
        update={
            "suite": scale.suite,
            "tasks": scale.tasks,
            "splits": scale.splits,
            "episodes": scale.episodes,
            "figure_cases": 0,
            "similarity_rule": False,
            "combine": combine,
        }
    )
    train = params.train.model_copy(update={"updates": scale.updates}) if scale.updates else params.train
    return params.model_copy(update={"evaluate": evaluate, "train": train})


@dataclass
class Played:
    """Episodes of all arms, and how many of them were new."""

    episodes: list[Episode]
    played: int = 0
    kept: int = 0


def play(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    policies: Mapping[tuple[str, int], Shelved],
    base: Params,
    folder: Path,
    *,
    reuse: Sequence[Path],
    workers: int,
    device: str,
    progress: Progress | None,
    executor: Executor | None,
) -> Played:
    """Evaluate every arm and seed on the same episodes; finished episodes are kept in ``folder``, or taken from ``reuse``.

    Arms that see the same points are evaluated together, those of other points in a folder of their own.
    """
    from srcli.methods.sr.policy import Recipe, write_recipe
    from srcli.stages import evaluate

    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        same = arm.params.cloud == base.cloud
        group = "points" if same else f"points-{config_digest(arm.params.cloud.model_dump(mode='json'))}"
        groups.setdefault(group, []).append(arm)
    result = Played([])
    before = 0
    for group, members in groups.items():
        place = folder / group
        files: dict[str, str] = {}
        owners: dict[str, tuple[str, int]] = {}
        for arm in members:
            combine = arm.params.evaluate.combine if arm.params.evaluate.combine != base.evaluate.combine else None
            for seed in seeds:
                file = policies[arm.name, seed].path
                name = f"{arm.name}-seed{seed}"
                if arm.noise is not None or combine is not None:
                    file = write_recipe(place / "recipes" / f"{name}.json", Recipe(file, arm.noise, combine))
                files[name], owners[name] = str(file), (arm.name, seed)
        section = members[0].params.evaluate.model_copy(
            update={"methods": tuple(files), "reference": next(iter(files)), "combine": base.evaluate.combine}
        )
        evaluated = evaluate.run(
            members[0].params.model_copy(update={"evaluate": section}),
            [f"{name}={file}" for name, file in files.items()],
            place,
            reuse=reuse,
            workers=workers,
            device=device,
            progress=_share(progress, before / len(arms), len(members) / len(arms)),
            executor=executor,
        )
        before += len(members)
        result.played += evaluated.played
        result.kept += evaluated.kept
        result.episodes += _episodes(evaluated.results, owners)
    return result


def _share(progress: Progress | None, start: float, width: float) -> Progress | None:
    """Progress of one evaluation as part of all of them."""
    if progress is None:
        return None
    inner = progress

    def told(done: int, total: int, message: str = "") -> None:
        whole = max(round(total / width), 1)
        # The successes so far of every arm would be longer than a line.
        inner(round(start * whole) + done, whole, f"evaluate {message.partition(':')[0]}")

    return told


def _episodes(path: Path, owners: Mapping[str, tuple[str, int]]) -> list[Episode]:
    from srcli.artifacts.evaluation import load_evaluation
    from srcli.evaluation.statistics import Result
    from srcli.studies.tables import Episode

    table = load_evaluation(path).episodes
    names = [field.name for field in fields(Result) if field.name in table]
    found = []
    for row, method in enumerate(table["method"]):
        if method in owners:
            arm, seed = owners[method]
            values = {name: _value(name, table[name][row]) for name in names}
            found.append(Episode(arm, seed, str(table["task"][row]), Result(**{**values, "method": arm})))
    return found


def _value(name: str, value: Any) -> Any:
    """A cell as Python has it; -1 stands for a rule that was not asked."""
    plain = value.item() if hasattr(value, "item") else value
    return (bool(plain) if plain >= 0 else None) if name in ("similar", "index_rule") else plain


def write_results(
    stem: Path,
    schema: Schema,
    study: str,
    title: str,
    scale: ScaleConfig,
    seeds: Sequence[int],
    arms: Sequence[Arm],
    policies: Mapping[tuple[str, int], Shelved],
    played: Played,
    references: Mapping[str, str],
    base: Params,
    draw: Callable[[Path, tuple[StudyRow, ...]], Path],
    calm: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Summary:
    """Rows, the HDF5 file, JSON, Markdown and the picture of a study, all named after ``stem``."""
    from srcli.artifacts.study import save_study
    from srcli.studies.tables import episode_columns, markdown, row_columns, rows_json, study_rows

    section = base.evaluate
    rows = study_rows(played.episodes, references, calm, section.bootstrap, section.confidence)
    told = (*notes, *dict.fromkeys(p.note for p in policies.values() if p.note))
    summary = {
        "study": study,
        "seed": base.seed,
        "scale": {**scale.model_dump(mode="json", include=set(type(scale).model_fields) & _SCALE), "seeds": list(seeds)},
        "training_updates": base.train.updates,
        "attempts": section.attempts,
        "combine": section.combine.model_dump(mode="json"),
        "confidence": section.confidence,
        "encoder": base.encoder.model_dump(mode="json"),
        "notes": list(told),
        "arms": [{"arm": a.name, "title": a.title, "reference": references.get(a.name, a.name), **a.facts} for a in arms],
        "policies": [_described(arm, seed, shelved) for (arm, seed), shelved in policies.items()],
    }
    config = {"study": study, "params": base.model_dump(mode="json", exclude={"collect", "pretrain", "ablate", "noise"})}
    results = stem.with_suffix(".h5")
    save_study(results, schema, episode_columns(played.episodes), row_columns(rows), summary, config)
    data = {**summary, "rows": rows_json(rows), "metrics": _metrics(rows)}
    _text(stem.with_suffix(".json"), json.dumps(data, indent=2) + "\n")
    chosen = {"align2": "chosen by 2-Align alone", "combined": "chosen by `evaluate.combine`"}[scale.choice]
    words = f"suite `{scale.suite}`, seed {base.seed}, training seeds {', '.join(map(str, seeds))}, {section.attempts} attempts"
    text = f"# {title}\n\n{words}, {chosen}.\n\n" + markdown(rows, {a.name: a.title for a in arms}, bool(calm))
    text += "".join(f"\n- {note}" for note in told) + ("\n" if told else "")
    _text(stem.with_suffix(".md"), text)
    figure = draw(stem.with_suffix(".png"), rows)
    # A file that several arms share is one policy.
    unique = {p.path: p.origin for p in sorted(policies.values(), key=lambda p: p.origin == "trained")}
    origins = list(unique.values())
    return Summary(
        results=results,
        json=stem.with_suffix(".json"),
        table=stem.with_suffix(".md"),
        figure=figure,
        rows=rows,
        trained=origins.count("trained"),
        reused=origins.count("reused"),
        given=origins.count("given") + origins.count("shipped"),
        played=played.played,
        kept=played.kept,
        notes=told,
        markdown=text,
    )


_SCALE = {"suite", "tasks", "splits", "episodes", "updates", "choice"}


def _described(arm: str, seed: int, shelved: Shelved) -> dict[str, Any]:
    metrics = shelved.training.get("metrics", {})
    return {
        "arm": arm,
        "seed": seed,
        "file": shelved.path.name,
        "sha256": shelved.sha256,
        # Whether it was trained in this run or an earlier one does not belong into a result that has to be reproducible.
        "origin": "trained" if shelved.origin in ("trained", "reused") else shelved.origin,
        "updates": shelved.training.get("updates"),
        **{f"valid_{key}": metrics.get(key) for key in ("loss", "top1", "valid_rate")},
    }


def _metrics(rows: Sequence[StudyRow]) -> dict[str, dict[str, float]]:
    """Headline numbers by ``task/split/arm`` of the pooled rows, for tools that compare runs."""
    from srcli.studies.figures import pooled

    return {f"{r.task}/{r.split}/{r.arm}": {"success": r.rate, "first_attempt": r.first, "steps": r.steps} for r in pooled(rows)}


def _text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
