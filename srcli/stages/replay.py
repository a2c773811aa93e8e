"""One case again: the same episode by its name and repeat, or by its key, with what every attempt did."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.core import atomic_write, output_lock
from srcli.evaluation.methods import chosen_methods
from srcli.evaluation.plan import case_folder, make_setup
from srcli.evaluation.playing import play
from srcli.evaluation.suites import find_episode
from srcli.evaluation.worker import Job
from srcli.parallel import Executor, Progress

if TYPE_CHECKING:
    from srcli.params import Params


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay tells.

    Attributes:
        json: file with the records; one per case and method, as in the journals of an evaluation.
        figures: pictures of the last attempts.
        records: the same records.
        text: attempts with their reasons, one line each.
    """

    json: Path
    figures: tuple[Path, ...]
    records: tuple[dict[str, Any], ...]
    text: str


def run(
    params: Params,
    policies: Sequence[Path | str],
    out_dir: Path,
    names: Sequence[str],
    repeat: int = 1,
    *,
    cases: Path | None = None,
    assets: Path | None = None,
    task: str | None = None,
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Play single episodes; what happens is what happened in the suite with the same parameters.

    Args:
        names: case names (of the `paper` suite, or of ``cases``), or episode keys.
        repeat: which repeat of each case, from 1.
        cases, assets: as for an evaluation of case files.
        task: look for names only among the cases of this task.

    Raises:
        UnknownNameError: no such case, key or method.
        ConfigError: a name that several cases have, or objects without case files.
        BusyError: another run is writing the folder.
        DiskError: the disk is full or the place is not writable.
    """
    methods = chosen_methods(params, policies)
    folder = case_folder(cases, assets)
    known = folder.cases if folder is not None else ()
    episodes = [find_episode(name, repeat, params.seed, known, task) for name in names]
    setup = make_setup(params, methods, dict.fromkeys(e.task for e in episodes), device, folder.assets if folder else ())
    jobs = []
    for episode in episodes:
        said = episode.case.name if episode.case is not None else episode.key
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{episode.task}-{said}-{episode.seed[-1] % 10_000 + 1 if episode.case else 0}")
        drawing = [(i, str(Path(out_dir) / f"{stem}-{m.name}.png")) for i, m in enumerate(methods)]
        jobs.append(Job(episode, tuple(range(len(methods))), tuple(drawing) if params.evaluate.figure_cases else ()))
    outcomes = play(setup, jobs, params.evaluate.executor, min(workers, len(jobs)), executor)
    records: list[dict[str, Any]] = []
    path = Path(out_dir) / "replay.json"
    with output_lock(path):
        for job, played in zip(jobs, outcomes, strict=True):
            records += [{"method": methods[index].name, **record} for index, record in zip(job.methods, played, strict=True)]
            if progress is not None:
                progress(len(records), len(jobs) * len(methods), job.episode.key)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    drawn = tuple(Path(file) for job in jobs for _, file in job.figures if Path(file).exists())
    return Summary(path, drawn, tuple(records), "\n".join(_told(record) for record in records))


def _told(record: dict[str, Any]) -> str:
    """A record as text."""
    said = record["case"] or record["key"]
    lines = [f"{record['task']}/{record['split']} {said} ({record['key']}), {record['method']}: {record['instruction']}"]
    for number, attempt in enumerate(record["attempts"], start=1):
        holding = f", {attempt['object']}" if attempt["object"] else ""
        index = attempt.get("index_rule")
        rule = "" if index is None else f", index rule {'yes' if index else 'no'}"
        lines.append(
            f"  {number}. {attempt['phase']}: {attempt['reason'].replace('_', ' ')}{holding} "
            f"(candidate {attempt['index']} of {attempt['candidates']}{rule})"
        )
    why = record.get("detail") or record["ended"]
    ended = f" ({why})" if why else ""
    lines.append(f"  {'success' if record['success'] else 'failure'}{ended}")
    return "\n".join(lines)
