"""Stage ``probe``: what the policy stands on, measured before any policy: the encoder, and the grasp candidates."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srcli.evaluation.journal import Journal
    from srcli.parallel import Executor, Progress
    from srcli.params import Params


@dataclass(frozen=True, slots=True)
class Summary:
    """What was measured and written.

    Attributes:
        numbers: by part, as in the JSON files.
        markdown: the tables of all parts.
        files: tables and numbers; pictures: everything drawn.
    """

    numbers: dict[str, Any]
    markdown: str
    files: tuple[Path, ...]
    pictures: tuple[Path, ...]


def check(params: Params) -> None:
    """What :func:`run` would refuse before it measures anything.

    Raises:
        UnknownNameError: no encoder of that name.
        ConfigError: the source of the candidates cannot be used.
    """
    from srcli.actions.sources import check_source

    check_source(params.candidates)
    config = params.encoder
    if config.name == "embedded":
        return
    from srcli.errors import unknown_name
    from srcli.perception.encoders.compat import import_open_clip
    from srcli.perception.encoders.weights import HUB

    known = import_open_clip().list_models()
    if not config.name.startswith(HUB) and config.name not in known:
        raise unknown_name("encoder", config.name, ["embedded", *known])


def run(
    params: Params,
    out_dir: Path,
    *,
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Measure the parts that ``probe.parts`` names; write ``PART.json`` and ``PART.md`` for each, and pictures.

    All scenes come from seeds of their own (``Domain.PROBE``), so that nothing is measured on what it was learned or tuned on;
    but those of ``probe.suites`` are the scenes of an evaluation.
    The result does not depend on the number of workers, its times apart.

    Args:
        out_dir: folder; files of a part that is not measured stay.
        device: of the encoder.
        executor: None makes ``workers`` processes.

    Raises:
        SceneError: no scene of a part could be laid out.
        BusyError: another run is writing the folder.
    """
    from srcli.artifacts.core import output_lock
    from srcli.parallel import make_executor

    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    pool = executor or make_executor("processes", workers)
    numbers: dict[str, Any] = {}
    tables: list[str] = []
    files: list[Path] = []
    pictures: list[Path] = []
    with output_lock(out_dir / "probe"):
        for part in dict.fromkeys(params.probe.parts):
            measure = _encoder if part == "encoder" else _grasps
            found, table, drawn = measure(params, out_dir, pool, device, progress)
            numbers[part] = found
            tables.append(table)
            pictures += drawn
            files += [_write(out_dir / f"{part}.json", json.dumps(found, indent=1) + "\n"), _write(out_dir / f"{part}.md", table)]
    return Summary(numbers, "\n".join(tables), tuple(files), tuple(pictures))


def _encoder(
    params: Params, out_dir: Path, executor: Executor, device: str, progress: Progress | None
) -> tuple[dict[str, Any], str, list[Path]]:
    from srcli.perception.encoders.loading import load_encoder
    from srcli.probing import encoder
    from srcli.probing.pictures import draw_answers, draw_confusions, draw_overlays
    from srcli.probing.rates import confusions, encoder_numbers
    from srcli.probing.tables import encoder_table

    section = params.probe
    # Loaded here first: what is wrong with it is said before any work begins.
    identity = load_encoder(params.encoder, device).identity.as_dict()
    jobs = [
        encoder.EncoderJob(task, split, number)
        for number in range(section.scenes)
        for split in dict.fromkeys(section.splits)
        for task in encoder.TASKS
    ]
    jobs += encoder.suite_jobs(params)
    records = _play(executor, encoder.play, jobs, encoder.start, (params, device), progress, "encoder")
    numbers = {"encoder": identity, **encoder_numbers(records), "settings": _settings(params)}
    pictures = [draw_answers(out_dir / "answers.png", numbers["answers"])]
    pictures.append(
        draw_confusions(out_dir / "confusions.png", {split: confusions(records, split) for split in numbers["regions"]})
    )
    for split in numbers["regions"]:
        drawings = [d for r in records if r["split"] == split and r["set_up"] for d in r["drawings"]]
        if drawings:
            pictures.append(draw_overlays(out_dir / f"similarity-{split}.png", drawings, section.drawn))
    return numbers, encoder_table(numbers, identity), pictures


def _grasps(
    params: Params, out_dir: Path, executor: Executor, device: str, progress: Progress | None
) -> tuple[dict[str, Any], str, list[Path]]:
    from srcli.actions.sources import check_source, content_of
    from srcli.evaluation.journal import Journal, code_digest
    from srcli.probing import grasps
    from srcli.probing.pictures import draw_calibration
    from srcli.probing.rates import grasp_numbers
    from srcli.probing.tables import grasp_table
    from srcli.stages.library_use import drawn

    section = params.probe
    check_source(params.candidates)
    jobs = grasps.jobs(tuple(dict.fromkeys(section.splits)), section.grasp_scenes)
    # Minutes per scene: what an interrupted run has finished is kept until the part is whole.
    sections = ("scene", "sim", "language", "candidates")
    counts = {"sampled": section.sampled, "dense_grasps": section.dense_grasps}
    config = {"seed": params.seed, **params.model_dump(mode="json", include=set(sections)), **counts}
    own = ("user",) if params.scene.library != "none" else ()
    config |= {"code": code_digest(), "content": content_of(params.candidates), **drawn((*section.splits, *own))}
    journal = Journal(out_dir / "unfinished", "grasps", config)
    records = _play(executor, grasps.play, jobs, grasps.start, (params, device), progress, "grasps", journal)
    journal.path.unlink(missing_ok=True)
    objects = [{"split": r["split"], "scene": r["number"], **row} for r in records if r["set_up"] for row in r["objects"]]
    numbers = {"source": params.candidates.source, **grasp_numbers(records), "objects": objects, "settings": _settings(params)}
    return (
        numbers,
        grasp_table(numbers, params.candidates.source),
        [draw_calibration(out_dir / "calibration.png", numbers["groups"])],
    )


def _play(
    executor: Executor,
    play: Callable[[Any], dict[str, Any]],
    jobs: Sequence[Any],
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    progress: Progress | None,
    name: str,
    journal: Journal | None = None,
) -> list[dict[str, Any]]:
    """The records of all jobs, in their order; those that a journal holds are not played again."""
    from srcli.artifacts.digests import to_json
    from srcli.errors import SceneError

    keys = [to_json(dataclasses.asdict(job)) for job in jobs]
    done: dict[str, dict[str, Any]] = dict(journal.records) if journal is not None else {}
    left = [(key, job) for key, job in zip(keys, jobs, strict=True) if key not in done]
    results: Iterable[dict[str, Any]] = executor.imap(play, [job for _, job in left], start, arguments)
    total, finished = len(jobs), len(jobs) - len(left)
    if progress is not None:
        progress(finished, total, name)
    for (key, _), record in zip(left, results, strict=True):
        done[key] = record
        finished += 1
        if journal is not None:
            journal.add({"key": key, **record})
        if progress is not None:
            progress(finished, total, name)
    records = [done[key] for key in keys]
    # Suites bring scenes of their own, which say nothing about those of the sections.
    own = [record for record in records if not record.get("suite")]
    if not any(record["set_up"] for record in own):
        raise SceneError(f"none of the {len(own)} scenes for the {name} could be laid out", "check the sections scene and sim")
    return records


def _settings(params: Params) -> dict[str, Any]:
    return {"seed": params.seed, **params.probe.model_dump(mode="json")}


def _write(path: Path, text: str) -> Path:
    from srcli.artifacts.core import atomic_write

    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
