"""What ``ablate`` and ``noise-sweep`` share: policies trained once, every arm on the same episodes, one file of results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.core import Schema, atomic_write
from srcli.artifacts.digests import config_digest
from srcli.evaluation.results import settings_of
from srcli.studies.policy_store import Arm, Kept, methods_of

if TYPE_CHECKING:
    from srcli.config.ablate import ScaleConfig
    from srcli.evaluation.report import PlayedEpisode
    from srcli.evaluation.statistics import Result
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


def recorded_params(params: Params) -> dict[str, Any]:
    """The parameters as a study's file records them. Who does the work belongs to no result."""
    left_out: Any = {"collect": True, "pretrain": True, "ablate": True, "noise": True, "evaluate": {"executor"}}
    return params.model_dump(mode="json", exclude=left_out)


def at_scale(params: Params, scale: ScaleConfig) -> Params:
    """The parameters with the suite of a scale."""
    evaluate = params.evaluate.model_copy(
        update={
            "suite": scale.suite,
            "tasks": scale.tasks,
            "splits": scale.splits,
            "episodes": scale.episodes,
            "attempts": scale.attempts or params.evaluate.attempts,
            "limit": 0,
            "figure_cases": 0,
            "similarity_rule": False,
        }
    )
    return params.model_copy(update={"evaluate": evaluate})


def scaled(arm: Arm, scale: ScaleConfig) -> Arm:
    """An arm with the training budget and the way of choosing of a scale."""
    section = arm.spec.section
    budget = {"train.updates": scale.updates} if scale.updates and "train" in section.model_fields else {}
    choice = dict(arm.spec.learned_only) if scale.choice == "learned" else {}
    return replace(arm, changes={**budget, **arm.changes}, acts={**choice, **arm.acts})


@dataclass
class ArmResults:
    """Episodes of all arms, and how many of them were new."""

    episodes: list[Episode]
    played: int = 0
    kept: int = 0


def play(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    policies: Mapping[tuple[str, int], Kept],
    base: Params,
    folder: Path,
    *,
    reuse: Sequence[Path],
    workers: int,
    device: str,
    progress: Progress | None,
    executor: Executor | None,
    finished: Callable[[list[Episode]], None] | None = None,
) -> ArmResults:
    """Evaluate every arm and seed on the same episodes; finished episodes are kept in ``folder``, or taken from ``reuse``.

    Arms that see the same points are evaluated together, those of other points in a folder of their own.

    Args:
        finished: is given the episodes of a task that is done for all arms while other tasks are still to be played.
    """
    from srcli.stages import evaluate

    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        same = arm.params.cloud == base.cloud
        group = "points" if same else f"points-{config_digest(arm.params.cloud.model_dump(mode='json'))}"
        groups.setdefault(group, []).append(arm)
    result = ArmResults([])
    before = 0
    for group, members in groups.items():
        found = methods_of(members, seeds, policies, base.evaluate.initialisations)
        section = members[0].params.evaluate.model_copy(update={"methods": tuple(found), "reference": next(iter(found))})
        owners = {name: (arm, seed) for name, (_, arm, seed) in found.items()}
        evaluated = evaluate.run(
            members[0].params.model_copy(update={"evaluate": section}),
            [method for method, _, _ in found.values()],
            folder / group,
            reuse=reuse,
            workers=workers,
            device=device,
            progress=_share(progress, before / len(arms), len(members) / len(arms)),
            executor=executor,
            finished=None if finished is None or len(groups) > 1 else _as_arms(finished, owners),
        )
        before += len(members)
        result.played += evaluated.played
        result.kept += evaluated.kept
        result.episodes += _episodes(evaluated.results, owners)
    return result


def _as_arms(
    finished: Callable[[list[Episode]], None], owners: Mapping[str, tuple[str, int]]
) -> Callable[[list[PlayedEpisode]], None]:
    """What takes the episodes of methods, from what takes those of arms."""

    def told(played: list[PlayedEpisode]) -> None:
        results = (one.result(None) for one in played if one.method in owners)
        finished([_episode(result, *owners[result.method]) for result in results])

    return told


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
    from srcli.evaluation.report import results_of

    results = results_of(load_evaluation(path).episodes)
    return [_episode(result, *owners[result.method]) for result in results if result.method in owners]


def _episode(result: Result, arm: str, seed: int) -> Episode:
    from srcli.studies.tables import Episode

    return Episode(arm, seed, result.task, replace(result, method=arm))


def write_results(
    stem: Path,
    schema: Schema,
    study: str,
    title: str,
    scale: ScaleConfig,
    seeds: Sequence[int],
    arms: Sequence[Arm],
    policies: Mapping[tuple[str, int], Kept],
    played: ArmResults,
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
    untaught = [arm.name for arm in arms if not arm.learns]
    rows = study_rows(played.episodes, references, calm, section.bootstrap, section.confidence, untaught)
    told = (*notes, *dict.fromkeys(p.note for p in policies.values() if p.note))
    summary = {
        "study": study,
        "seed": base.seed,
        "scale": {**scale.model_dump(mode="json", include=set(type(scale).model_fields) & _SCALE), "seeds": list(seeds)},
        "attempts": section.attempts,
        "initialisations": section.initialisations,
        "confidence": section.confidence,
        "encoder": base.encoder.model_dump(mode="json"),
        "notes": list(told),
        "arms": [_arm(a, references.get(a.name, a.name), policies.get((a.name, seeds[0]))) for a in arms],
        "policies": [_described(arm, seed, kept) for (arm, seed), kept in policies.items()],
    }
    config = {"study": study, "params": recorded_params(base)}
    results = stem.with_suffix(".h5")
    save_study(results, schema, episode_columns(played.episodes), row_columns(rows), summary, config)
    data = {**summary, "rows": rows_json(rows), "metrics": _metrics(rows)}
    _text(stem.with_suffix(".json"), json.dumps(data, indent=2) + "\n")
    chosen = {"learned": "chosen by what was learned alone", "combined": "chosen as each method is used"}[scale.choice]
    allowed = f"{section.attempts} attempt{'s' if section.attempts > 1 else ''}"
    words = f"suite `{scale.suite}`, seed {base.seed}, training seeds {', '.join(map(str, seeds))}, {allowed}"
    text = f"# {title}\n\n{words}, {chosen}.\n\n" + markdown(rows, {a.name: a.title for a in arms}, bool(calm), section.attempts)
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


def _arm(arm: Arm, reference: str, policy: Kept | None) -> dict[str, Any]:
    return {
        "arm": arm.name,
        "title": arm.title,
        "method": arm.spec.name,
        "control": arm.control,
        "reference": reference,
        "settings": settings_of(arm.spec, arm.acts_with(), None if policy is None else policy.path),
        **arm.facts,
    }


def _described(arm: str, seed: int, kept: Kept) -> dict[str, Any]:
    metrics = kept.training.get("metrics", {})
    return {
        "arm": arm,
        "seed": seed,
        "file": kept.path.name,
        "sha256": kept.sha256,
        # Whether it was trained in this run or an earlier one does not belong into a result that has to be reproducible.
        "origin": "trained" if kept.origin in ("trained", "reused") else kept.origin,
        "updates": kept.training.get("updates"),
        **{f"valid_{key}": metrics.get(key) for key in ("loss", "top1", "valid_rate")},
    }


def _metrics(rows: Sequence[StudyRow]) -> dict[str, dict[str, float]]:
    """Headline numbers by ``task/split/arm`` of the pooled rows, for tools that compare runs."""
    from srcli.studies.figures import pooled

    return {f"{r.task}/{r.split}/{r.arm}": {"success": r.rate, "first_attempt": r.first, "steps": r.steps} for r in pooled(rows)}


def _text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
