"""Closed-loop evaluation: the same episodes for every method, then statistics, tables and pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srcli.actions.sources import check_source, content_of
from srcli.artifacts.core import atomic_write, content_digest, file_digest, output_lock
from srcli.artifacts.evaluation import save_evaluation
from srcli.errors import ConfigError, MissingAssetError, unknown_name
from srcli.evaluation.casefiles import CaseFolder, read_cases_folder
from srcli.evaluation.journal import Journal, code_digest, journals_in
from srcli.evaluation.report import Played, curve, describe_threshold, metrics, not_set_up, tables
from srcli.evaluation.similarity_rule import Threshold, best_threshold
from srcli.evaluation.statistics import Row, summarise_all
from srcli.evaluation.suites import SuiteEpisode, file_episodes, suite_episodes
from srcli.evaluation.tables import to_json, to_markdown
from srcli.evaluation.worker import Job, Method, Setup, play, start
from srcli.methods import get_policy, method_origin, policy_names
from srcli.methods.sr.policy import parse_method, shipped_names, shipped_policy
from srcli.objects.library import library_folder, library_records
from srcli.parallel import Executor, Progress, make_executor
from srcli.seeding import Domain, episode_seed

if TYPE_CHECKING:
    from srcli.config.encoder import EncoderConfig
    from srcli.objects.assets import Asset
    from srcli.params import Params

_log = logging.getLogger(__name__)

FILES = "files"
"""What the suite is called in results when the user's case files take its place."""


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


def run(
    params: Params,
    policies: Sequence[Path | str],
    out_dir: Path,
    suite: str | None = None,
    *,
    cases: Path | None = None,
    assets: Path | None = None,
    reuse: Sequence[Path] = (),
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Run every method on every episode of a suite, for every task, and write the results into a folder.

    Methods are those of ``params.evaluate.methods`` and the given policy files. Finished episodes are kept in the folder: an
    interrupted run goes on, and a method added later is run alone.

    Args:
        policies: policy files, each ``FILE`` (named after its variant) or ``NAME=FILE``.
        suite: overrides ``params.evaluate.suite``.
        cases: folder of benchmark case files that take the place of the suite; they say which tasks are run.
        assets: folder with the user's own objects for these cases.
        reuse: folders of other evaluations; their episodes are taken where everything they depend on is the same.

    Raises:
        UnknownNameError: unknown suite, method or object.
        MissingAssetError: weights of the encoder are not there.
        ArtifactError: a damaged case file, or grasps that are none.
        MismatchError: a policy was trained with another encoder.
        BusyError: another run is writing the folder.
    """
    section = params.evaluate
    name = FILES if cases is not None else suite or section.suite
    if assets is not None and cases is None:
        raise ConfigError("objects of your own belong to case files of your own", "give the case files with --cases")
    methods = resolve_methods(section.methods, policies, params.encoder)
    check_source(params.candidates)
    folder = read_cases_folder(cases, assets) if cases is not None else None
    episodes = _episodes(params, name, folder)
    setup = make_setup(params, methods, dict.fromkeys(e.task for e in episodes), device, folder.assets if folder else ())
    out_dir = Path(out_dir)
    with output_lock(out_dir / "results.h5"):
        elsewhere = journals_in(reuse)
        journals = {
            task: [_episodes_of(m, setup, task, params.seed, out_dir / "episodes", elsewhere) for m in methods]
            for task in setup.tasks
        }
        scenes = calibration_episodes(params.seed, section.calibration_scenes)
        shared = _recorded(setup, "pick", params.seed)
        calibration = Journal(out_dir / "episodes", "calibration", shared)
        picks = any(task != "place" for task in setup.tasks)
        calibrated = section.similarity_rule and section.similarity_threshold is None and picks
        jobs = _jobs(episodes, methods, journals, out_dir, section.figure_cases)
        first = [Job(s, ()) for s in scenes if s.key not in calibration.records] if calibrated else []
        total = len(episodes) * len(methods)
        kept = total - sum(len(job.methods) for job in jobs)
        fresh = total - kept
        todo = [*first, *jobs]
        if todo and folder is not None:
            _warn_of_unknown_words(params, episodes)
        if progress is not None:
            progress(kept, total, "starting" if todo else "all episodes are there")
        runner = executor or make_executor("processes", workers)
        outcomes = runner.imap(play, todo, start, (setup,)) if todo else iter(())
        for job, records in zip(todo, outcomes, strict=True):
            if not job.methods:
                calibration.add({"key": job.episode.key, **records[0]})
            else:
                for method, record in zip(job.methods, records, strict=True):
                    journals[job.episode.task][method].add(record)
                kept += len(records)
            if progress is not None:
                progress(kept, total, _state(job, methods, journals))
        scored = [calibration.records[scene.key] for scene in scenes] if calibrated else []
        threshold = _threshold(section.similarity_threshold, scored)
        played = [
            Played(method.name, journals[task][number].records[episode.key])
            for task in setup.tasks
            for split in dict.fromkeys(episode.split for episode in episodes)
            for number, method in enumerate(methods)
            for episode in episodes
            if (episode.task, episode.split) == (task, split)
        ]
        config = {**shared, "tasks": list(setup.tasks)}
        return _write(out_dir, params, name, methods, played, threshold, fresh, config)


def _warn_of_unknown_words(params: Params, episodes: Sequence[SuiteEpisode]) -> None:
    """The embedded encoder was trained on a closed vocabulary: a word outside of it says nothing to any learned method."""
    if params.encoder.name != "embedded":
        return
    from srcli.perception.encoders import load_encoder

    unknown = load_encoder(params.encoder).unknown_words(" ".join(e.case.instruction for e in episodes if e.case is not None))
    if unknown:
        _log.warning("the encoder has never read these words of the cases: %s", ", ".join(unknown))


def _episodes(params: Params, suite: str, folder: CaseFolder | None) -> tuple[SuiteEpisode, ...]:
    section = params.evaluate
    if folder is not None:
        episodes = file_episodes(folder.cases, params.seed, section.splits, section.episodes, section.limit)
        if not episodes:
            raise ConfigError("none of the case files belongs to the splits asked for", "see evaluate.splits")
        return episodes
    return tuple(
        episode
        for task in dict.fromkeys(section.tasks)
        for episode in suite_episodes(
            suite, params.seed, section.splits, section.wording, section.episodes, section.limit, task=task
        )
    )


def make_setup(
    params: Params, methods: Sequence[Method], tasks: Iterable[str], device: str = "cpu", assets: Sequence[Asset] = ()
) -> Setup:
    """What the workers of an evaluation need, from the parameters."""
    section = params.evaluate
    disturbed = section.perturb.translation > 0 or section.perturb.rotation > 0
    return Setup(
        tasks=tuple(tasks),
        scene=params.scene,
        sim=params.sim,
        language=params.language,
        candidates=params.candidates,
        placements=params.placements,
        cloud=params.cloud,
        encoder=params.encoder,
        combine=section.combine,
        methods=tuple(methods),
        attempts=section.attempts,
        judge=section.similarity_rule,
        device=device,
        perturb=section.perturb if disturbed else None,
        assets=tuple(assets),
    )


def resolve_methods(
    names: Sequence[str], policies: Sequence[Path | str], encoder: EncoderConfig | None = None
) -> tuple[Method, ...]:
    """Methods by name, each a given policy file, a registered method, or a shipped policy; given files are always included.

    Args:
        encoder: which of the shipped policies are meant; None: those of the embedded encoder.

    Raises:
        UnknownNameError: a name that is none of them.
        ConfigError: two methods of one name.
    """
    given: dict[str, str] = {}
    for text in policies:
        name, path = parse_method(str(text)) if "=" in str(text) else ("", Path(text))
        name = name or _variant(Path(str(path)))
        if name in given:
            raise ConfigError(f"two policies are named '{name}'", "name them: NAME=FILE")
        given[name] = str(path)
    methods: list[Method] = []
    for name in dict.fromkeys([*(n for n in given if n not in names), *names]):
        if name in given:
            methods.append(Method(name, given[name]))
        elif name in policy_names() and name != "learned":
            methods.append(Method(name))
        else:
            try:
                methods.append(Method(name, str(shipped_policy(name, encoder))))
            except MissingAssetError as error:
                if name in ("sr", "sr_a", "base", "a2"):
                    raise
                if Path(name).suffix == ".h5":
                    raise ConfigError(
                        f"'{name}' is not a method", f"a policy file is given as NAME=FILE, e.g. sr={name}"
                    ) from error
                known = [other for other in policy_names() if other != "learned"]
                raise unknown_name("method", name, [*known, *shipped_names(), *given]) from error
    return tuple(methods)


def _variant(path: Path) -> str:
    """What a policy file is called when nobody names it: its variant, and the sparse branch if it is not the paper's."""
    from srcli.artifacts.policy import load_policy

    config = load_policy(path).config
    variant = str(config.get("variant", path.stem))
    sparse = str(config.get("dssa", {}).get("sparse", "relu2"))
    return f"{variant}-{sparse}" if variant == "sr" and sparse != "relu2" else variant


def calibration_episodes(root: int, count: int) -> tuple[SuiteEpisode, ...]:
    """Seen scenes with training wording, from a range of seeds that nothing else uses."""
    return tuple(SuiteEpisode(i, "seen", episode_seed(root, Domain.PROBE, 500_000 + i), "train") for i in range(count))


def _recorded(setup: Setup, task: str, seed: int) -> dict[str, Any]:
    """What every episode of a task depends on, whatever the method."""
    sections = ["scene", "sim", "language", "candidates", "cloud", "encoder"]
    recorded: dict[str, Any] = {
        "seed": seed,
        "task": task,
        "attempts": setup.attempts,
        "similarity_rule": setup.judge,
        "code": code_digest(),
        **{key: getattr(setup, key).model_dump(mode="json") for key in sections},
    }
    content = content_of(setup.candidates)
    from srcli.config.encoder import SEEN_ONLY

    named = setup.encoder.pretrained
    if weights := content_digest(Path(named)) if named and named != SEEN_ONLY else "":
        content["encoder.pretrained"] = weights
    if content:
        recorded["content"] = content
    if task != "pick":
        recorded["placements"] = setup.placements.model_dump(mode="json")
    if setup.perturb is not None:
        recorded["perturb"] = setup.perturb.model_dump(mode="json")
    if setup.assets:
        recorded["assets"] = {asset.name: asset.digest for asset in setup.assets}
    if own := library_records(library_folder()):
        recorded["library"] = own
    return recorded


def _episodes_of(
    method: Method, setup: Setup, task: str, seed: int, folder: Path, elsewhere: Mapping[str, Sequence[Path]]
) -> Journal:
    """The journal of a method and task."""
    name = method.name if task == "pick" else f"{method.name}-{task}"
    config = _played_with(method, setup, task, seed)
    # What the similarity rule says is one field more, and changes nothing that happens.
    richer = [] if setup.judge else [{**config, "similarity_rule": True}]
    return Journal(folder, name, config, elsewhere, richer)


def _played_with(method: Method, setup: Setup, task: str, seed: int) -> dict[str, Any]:
    """What the episodes of a method depend on."""
    shared = _recorded(setup, task, seed)
    if method.path is None:
        own = method_origin(method.name)
        return {**shared, "method": method.name, **({"method_code": own} if own else {})}
    return {**shared, "policy": file_digest(method.path), "combine": setup.combine.model_dump(mode="json")}


def _jobs(
    episodes: Sequence[SuiteEpisode],
    methods: Sequence[Method],
    journals: Mapping[str, Sequence[Journal]],
    out_dir: Path,
    figures: int,
) -> list[Job]:
    """What is left to play: each episode with all methods that miss it, so that they share it and a partial run stays paired."""
    drawn: dict[str, int] = {}
    jobs: list[Job] = []
    for episode in episodes:
        group = _group(episode.task, episode.split)
        number = drawn.get(group, 0)
        drawn[group] = number + 1
        todo: list[int] = []
        pictures: list[tuple[int, str]] = []
        for index, journal in enumerate(journals[episode.task]):
            path = out_dir / "figures" / f"{group}-{number:02d}-{methods[index].name}.png"
            drawn_too = number < figures and index == 0
            # An episode without attempts leaves nothing to draw.
            known = journal.records.get(episode.key)
            if known is None or (drawn_too and known["attempts"] and not path.exists()):
                todo.append(index)
                pictures += [(index, str(path))] if drawn_too else []
        if todo:
            jobs.append(Job(episode, tuple(todo), tuple(pictures)))
    return jobs


def _group(task: str, split: str) -> str:
    """How pictures of a task and split are called; those of picking by the split alone."""
    return split if task == "pick" else f"{task}-{split}"


def _state(job: Job, methods: Sequence[Method], journals: Mapping[str, Sequence[Journal]]) -> str:
    if not job.methods:
        return "calibrating the similarity rule"
    task = job.episode.task
    parts = [
        f"{m.name} {sum(r['success'] for r in j.records.values())}/{len(j.records)}"
        for m, j in zip(methods, journals[task], strict=True)
    ]
    return f"{task}: " + ", ".join(parts)


def _threshold(fixed: float | None, scenes: Sequence[dict[str, Any]]) -> Threshold | None:
    """The fixed threshold, or the one calibrated on scenes, or None when the rule is off."""
    if fixed is not None:
        return Threshold(fixed, float("nan"), 0, 0)
    if not scenes:
        return None
    positive = np.array([value for scene in scenes for value in scene["positive"]])
    negative = np.array([value for scene in scenes for value in scene["negative"]])
    return best_threshold(positive, negative)


def _write(
    out_dir: Path,
    params: Params,
    suite: str,
    methods: Sequence[Method],
    played: Sequence[Played],
    threshold: Threshold | None,
    fresh: int,
    shared: Mapping[str, Any],
) -> Summary:
    from srcli.evaluation.figures import draw_failures, draw_success

    section = params.evaluate
    results = [item.result(threshold) for item in played]
    names = [method.name for method in methods]
    reference = section.reference if section.reference in names else names[0]
    privileged = [method.name for method in methods if method.path is None and get_policy(method.name).privileged]
    rows = summarise_all(results, reference, privileged=privileged, resamples=section.bootstrap, confidence=section.confidence)
    summary: dict[str, Any] = {
        "suite": suite,
        "tasks": list(dict.fromkeys(result.task for result in results)),
        "seed": params.seed,
        "runs": _runs(out_dir / "results.json", fresh),
        "attempts": section.attempts,
        "reference": reference,
        "confidence": section.confidence,
        "methods": {
            method.name: {"privileged": method.name in privileged, "policy": file_digest(method.path) if method.path else None}
            for method in methods
        },
        "similarity_threshold": describe_threshold(threshold),
        "perturb": section.perturb.model_dump(mode="json"),
        "not_set_up": not_set_up(played),
        "rows": to_json(rows),
        "curve": curve(rows),
        "metrics": metrics(rows),
    }
    markdown = f"# Suite `{suite}`, seed {params.seed}\n\n" + to_markdown(rows) + _listed(not_set_up(played))
    episodes, attempts = tables(played, results)
    config = {**shared, "evaluate": section.model_dump(mode="json")}
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
        for split in dict.fromkeys(result.split for result in own):
            drawn += sorted(figures.glob(f"{_group(task, split)}-*.png"))
    return Summary(
        results=out_dir / "results.h5",
        table=out_dir / "table.md",
        json=out_dir / "results.json",
        rows=rows,
        figures=tuple(drawn),
        played=fresh,
        kept=len(played) - fresh,
        markdown=markdown,
    )


def _listed(missing: Sequence[Mapping[str, Any]]) -> str:
    """The scenes that could not be built, for the table's file."""
    if not missing:
        return ""
    lines = [f"- {item['task']}/{item['split']} {item['case'] or item['key']}: {item['instruction']}" for item in missing]
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
