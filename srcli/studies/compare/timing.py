"""How long a decision takes: images and a sentence in, an action out, on one core, against the reference in the same run."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from srcli.artifacts.core import atomic_write
from srcli.artifacts.digests import config_digest
from srcli.errors import SrcliError
from srcli.evaluation.plan import make_setup, scene_record
from srcli.methods.registry import spec_of

if TYPE_CHECKING:
    from srcli.evaluation.deciding import Decider
    from srcli.evaluation.methods import Method
    from srcli.frames.observation import Observation
    from srcli.parallel import Progress
    from srcli.params import Params
    from srcli.studies.compare.plan import Rows

_log = logging.getLogger(__name__)


def decision_times(params: Params, shown: Sequence[Rows], kept: Path, progress: Progress | None) -> dict[str, float]:
    """Median processor seconds of a decision by method, candidates and the encoder's work included.

    Measured on scenes of the suite ``development``, one thread, every method on the same ones; what an earlier run with the same
    methods has measured is taken, since times are compared within one run alone.

    Args:
        kept: file that they are kept in.
    """
    methods = {m.name: m for rows in shown for m in rows.methods if not m.control and not m.privileged}
    count = params.compare.timed
    if not count:
        return {}
    tasks = sorted({task for method in methods.values() if (task := _task(method))})
    setup = make_setup(params, tuple(methods.values()), tasks)
    identity = config_digest(
        {
            "methods": {name: method.depends_on() for name, method in methods.items()},
            "decisions": count,
            "scenes": {task: scene_record(setup, task, params.seed) for task in tasks},
        }
    )
    try:
        before = json.loads(kept.read_text(encoding="utf-8"))
        if before["measured"] == identity:
            return {str(name): float(value) for name, value in before["seconds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    seconds = _measure(params, methods, count, progress)
    with atomic_write(kept) as temporary:
        temporary.write_text(json.dumps({"measured": identity, "seconds": seconds}, indent=1) + "\n", encoding="utf-8")
    return seconds


def _measure(params: Params, methods: Mapping[str, Method], count: int, progress: Progress | None) -> dict[str, float]:
    import torch

    from srcli.evaluation.deciding import Decider

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    try:
        seen = {task: _scenes(params, task, count) for task in {_task(method) for method in methods.values()} if task}
        for number, (name, method) in enumerate(methods.items()):
            if progress is not None:
                progress(number, len(methods), f"time of {name}")
            try:
                spent = _timed(Decider(params, method), seen.get(_task(method), []))
            except SrcliError as error:
                _log.warning("the time of '%s' is left out: %s", name, error.message)
                continue
            if spent:
                found[name] = round(median(spent), 4)
    finally:
        torch.set_num_threads(threads)
    return found


def _timed(decide: Decider, seen: Sequence[tuple[Observation, str]]) -> list[float]:
    """Processor seconds of each decision; what is loaded at the first one does not count."""
    spent = []
    for index, (observation, sentence) in enumerate(seen):
        if not index:
            decide(observation, sentence)
        began = time.process_time()
        decide(observation, sentence)
        spent.append(time.process_time() - began)
    return spent


def _task(method: Method) -> str:
    """The phase that its decisions are timed in; none for one that can do neither by itself."""
    return next((task for task in ("pick", "place") if task in spec_of(method.method).tasks), "")


def _scenes(params: Params, task: str, count: int) -> list[tuple[Observation, str]]:
    from srcli.errors import SceneError
    from srcli.evaluation.scene import Scene
    from srcli.evaluation.suites import suite_episodes

    found: list[tuple[Observation, str]] = []
    for episode in suite_episodes("development", params.seed, ("seen",), params.evaluate.wording, 2 * count, 0, task=task):
        if len(found) == count:
            break
        try:
            scene = Scene(params, episode)
        except SceneError:
            continue  # one that cannot be set up
        try:
            if not scene.done:
                found.append((scene.observe(), scene.sentence))
        finally:
            scene.close()
    return found
