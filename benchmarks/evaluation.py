"""Where the time of an evaluation goes, per task, and what it saves to play methods together instead of one after the other.

Episodes of the development suite in one worker process with one thread. Parts are seconds per episode of SR alone; `together`
over `alone` is wall time of SR, the random candidate and a baseline of the task. Run:
``python benchmarks/evaluation.py [--episodes 6]``. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from srcli.evaluation import worker
from srcli.evaluation.attempt import EpisodeContext
from srcli.evaluation.methods import method_sections, resolve_methods
from srcli.evaluation.plan import make_setup
from srcli.evaluation.suites import SuiteEpisode, suite_episodes
from srcli.evaluation.worker import Job, Setup
from srcli.parallel import make_executor
from srcli.params import Params

BASELINE = {"pick": "similarity", "place": "beside", "pick_place": "beside"}


def parts(job: Job) -> dict[str, float]:
    """Play a job in a worker and return the seconds that its parts took."""
    import srcli.perception.pipeline as pipeline
    from srcli.evaluation import rollout
    from srcli.sim import World

    spent: defaultdict[str, float] = defaultdict(float)

    def timed(owner: Any, name: str, label: str) -> Callable[[], None]:
        plain = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                spent[label] += time.perf_counter() - start

        setattr(owner, name, wrapped)
        return lambda: setattr(owner, name, plain)

    undo = [
        timed(rollout, "set_up", "set up (settle, grip what is to be held)"),
        timed(World, "observe", "observe (render, noise)"),
        timed(EpisodeContext, "attempt_input", "candidates"),
        timed(pipeline, "perceive", "perceive (features, fusion)"),
        timed(EpisodeContext, "decide", "decide (perceive, network)"),
        timed(EpisodeContext, "act", "act (motion, settle, judge)"),
        timed(EpisodeContext, "measure", "show and measure what is held"),
    ]
    start = time.perf_counter()
    worker.run_job(job)
    spent["whole episode"] = time.perf_counter() - start
    for restore in undo:
        restore()
    return dict(spent)


def wall(jobs: list[Job], setup: Setup) -> float:
    """Seconds that one worker needs for the jobs, its start not counted."""
    results = make_executor("processes", 1).imap(worker.run_job, jobs, worker.start, (setup,))
    next(results)
    start = time.perf_counter()
    for _ in results:
        pass
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=6)
    count = parser.parse_args().episodes
    found: dict[str, Any] = {}
    for task, baseline in BASELINE.items():
        params = Params()
        params = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"similarity_rule": False})})
        methods = resolve_methods(("sr_plus", "random", baseline), [], method_sections(params.methods))
        setup = make_setup(params, methods, [task])
        episodes: tuple[SuiteEpisode, ...] = suite_episodes(
            "development", params.seed, ("unseen",), "train", count + 1, 0, task=task
        )
        alone = [Job(episode, (0,)) for episode in episodes]
        spent = list(make_executor("processes", 1).imap(parts, alone, worker.start, (setup,)))[1:]
        names = dict.fromkeys(name for one in spent for name in one)
        everyone = tuple(range(len(methods)))
        warm = Job(episodes[0], (1,))
        together = wall([warm, *(Job(e, everyone) for e in episodes[1:])], setup)
        singly = wall([warm, *(Job(e, (i,)) for e in episodes[1:] for i in everyone)], setup)
        found[task] = {
            "seconds_per_episode": {name: round(sum(one.get(name, 0.0) for one in spent) / count, 3) for name in names},
            "methods": [method.name for method in methods],
            "together_over_alone": round(together / singly, 3),
        }
    json.dump({"episodes": count, "tasks": found}, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
