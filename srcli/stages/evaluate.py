"""Stage ``evaluate``: the same episodes for every method in closed loop, then statistics, tables and pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from srcli.actions.sources import check_source
from srcli.artifacts.core import artifact_lock
from srcli.evaluation.journal import Journal, journals_in
from srcli.evaluation.methods import Method, check_tasks, chosen_methods
from srcli.evaluation.plan import (
    calibration_episodes,
    case_folder,
    journal_of,
    make_setup,
    missing_jobs,
    pictures_of,
    planned_episodes,
    scene_record,
)
from srcli.evaluation.playing import play
from srcli.evaluation.report import PlayedEpisode
from srcli.evaluation.results import Summary, write_results
from srcli.evaluation.similarity_rule import Threshold, best_threshold
from srcli.evaluation.suites import COMPOSED, FREE, SuiteEpisode
from srcli.evaluation.worker import Job
from srcli.language.phrases import phrase_texts
from srcli.parallel import Executor, Progress
from srcli.stages.grasp_rows import check_rows

if TYPE_CHECKING:
    from srcli.params import Params

_log = logging.getLogger(__name__)

FILES = "files"
"""What the suite is called in results when the user's case files take its place."""

_SHOWN = 5


def run(
    params: Params,
    policies: Sequence[Path | str | Method],
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
    finished: Callable[[list[PlayedEpisode]], None] | None = None,
) -> Summary:
    """Run every method on every episode of a suite, for every task, and write the results into a folder.

    Methods are those of ``params.evaluate.methods`` and the given policy files. Finished episodes are kept in the folder: an
    interrupted run goes on, and a method added later is run alone.

    Args:
        policies: policy files, each ``FILE`` (named after its method) or ``NAME=FILE``; or methods with settings of their own,
            which then are the only ones.
        suite: overrides ``params.evaluate.suite``.
        cases: folder of benchmark case files that take the place of the suite; they say which tasks are run.
        assets: folder with the user's own objects for these cases.
        reuse: folders of other evaluations; their episodes are taken where everything they depend on is the same.
        finished: is given the episodes of a task that is done while other tasks are still to be played.

    Raises:
        UnknownNameError: unknown suite, method or object.
        MissingAssetError: weights of the encoder are not there.
        ArtifactError: a damaged case file, or grasps that are none.
        MismatchError: a policy was trained with another encoder.
        BusyError: another run is writing the folder.
    """
    section = params.evaluate
    name = FILES if cases is not None else suite or section.suite
    methods = chosen_methods(params, policies)
    check_source(params.candidates)
    check_rows(params)
    folder = case_folder(cases, assets)
    episodes = planned_episodes(params, name, folder)
    check_tasks(methods, dict.fromkeys(e.task for e in episodes))
    setup = make_setup(params, methods, dict.fromkeys(e.task for e in episodes), device, folder.assets if folder else ())
    out_dir = Path(out_dir)
    with artifact_lock(out_dir / "results.h5"):
        elsewhere = journals_in(reuse)
        journals = {
            task: [journal_of(m, setup, task, params.seed, out_dir / "episodes", elsewhere) for m in methods]
            for task in setup.tasks
        }
        scenes = calibration_episodes(params.seed, section.calibration_scenes)
        shared = scene_record(setup, "pick", params.seed)
        calibration = Journal(out_dir / "episodes", "calibration", shared, elsewhere)
        picks = any(task != "place" for task in setup.tasks)
        calibrated = section.similarity_rule and section.similarity_threshold is None and picks
        jobs = missing_jobs(episodes, methods, journals, out_dir, section.figure_cases)
        first = [Job(s, ()) for s in scenes if s.key not in calibration.records] if calibrated else []
        total = len(episodes) * len(methods)
        kept = total - sum(len(job.methods) for job in jobs)
        fresh = total - kept
        todo = [*first, *jobs]
        if todo and (folder is not None or name in (*COMPOSED, *FREE)):
            _tell_how_read(params, episodes)
        if progress is not None:
            progress(kept, total, "starting" if todo else "all episodes are there")
        outcomes = play(setup, todo, section.executor, workers, executor) if todo else iter(())
        for number, (job, records) in enumerate(zip(todo, outcomes, strict=True), 1):
            if not job.methods:
                calibration.add({"key": job.episode.key, **records[0]})
            else:
                for method, record in zip(job.methods, records, strict=True):
                    journals[job.episode.task][method].add(record)
                kept += len(records)
            if progress is not None:
                progress(kept, total, _state(job, methods, journals))
            task = job.episode.task
            if finished is not None and job.methods and number < len(todo) and todo[number].episode.task != task:
                finished(_played(task, episodes, methods, journals))
        scored = [calibration.records[scene.key] for scene in scenes] if calibrated else []
        threshold = _threshold(section.similarity_threshold, scored)
        played = [one for task in setup.tasks for one in _played(task, episodes, methods, journals)]
        config = {**shared, "tasks": list(setup.tasks)}
        pictures = pictures_of(episodes, methods, journals, out_dir, section.figure_cases)
        return write_results(out_dir, params, name, methods, played, threshold, pictures, fresh, config)


def _played(
    task: str, episodes: Sequence[SuiteEpisode], methods: Sequence[Method], journals: Mapping[str, Sequence[Journal]]
) -> list[PlayedEpisode]:
    """The episodes of a task, by split and method."""
    return [
        PlayedEpisode(method.label, journals[task][number].records[episode.key])
        for split in dict.fromkeys(episode.split for episode in episodes)
        for number, method in enumerate(methods)
        for episode in episodes
        if (episode.task, episode.split) == (task, split)
    ]


def _tell_how_read(params: Params, episodes: Sequence[SuiteEpisode]) -> None:
    """Warn once of words that were read as others or say nothing, and of sentences that say nothing, or nothing clear."""
    if params.encoder.name != "embedded":
        return
    from srcli.evaluation.understanding import Listener
    from srcli.perception.encoders import load_encoder

    encoder = load_encoder(params.encoder)
    listener = Listener(encoder, params.language, params.cloud.denied)
    whole = [e.case.instruction for e in episodes if e.case is not None]
    composed = dict.fromkeys(e.wording for e in episodes if e.kind and e.case is None)
    said = [*whole, *(text for wording in composed for text in phrase_texts(wording))]
    readings = {text: listener.read(text) for text in dict.fromkeys(said)}
    changed = dict.fromkeys(pair for reading in readings.values() for pair in reading.corrected)
    if changed:
        _log.warning("%s", ", ".join(f'read "{typed}" as "{meant}"' for typed, meant in changed))
    unknown = dict.fromkeys(word for reading in readings.values() for word in reading.unknown)
    if unknown:
        _log.warning("the encoder has never read these words of the sentences: %s", ", ".join(unknown))
    if empty := [text for text, reading in readings.items() if not listener.names_something(reading)]:
        _log.warning("understood nothing of: %s", _some(empty))
    if guesses := [text for text in dict.fromkeys(whole) if text not in empty and listener(text, 1).guess]:
        _log.warning("no name is close, what is taken is a guess: %s", _some(guesses))


def _some(texts: Sequence[str]) -> str:
    """The first of some sentences, in quotes, and how many more there are."""
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(f'"{shorten(text, 60)}"' for text in texts[:_SHOWN]) + more


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
