"""In real simulation several methods in one episode each get what playing alone gives; in a copy nothing is lost."""

from __future__ import annotations

import json
import multiprocessing
import os
from typing import Any

import pytest

from srcli.errors import SceneError, SrcliError
from srcli.evaluation.methods import method_sections, resolve_methods
from srcli.evaluation.plan import make_setup
from srcli.evaluation.suites import suite_episodes
from srcli.evaluation.worker import Job, run_job, start
from srcli.parallel import make_executor
from srcli.parallel.branching import branch, can_branch, orphaned
from srcli.params import Params


def test_a_copy_returns_its_result_and_changes_nothing_here() -> None:
    here = {"value": 1}

    def there() -> tuple[int, int]:
        here["value"] = 2
        return here["value"], os.getpid()

    value, process = branch(there)
    assert value == 2 and process != os.getpid() and here["value"] == 1


def test_an_error_in_a_copy_arrives_as_itself() -> None:
    def fails() -> None:
        raise SceneError("no such thing", "do something else")

    with pytest.raises(SceneError, match="no such thing") as caught:
        branch(fails)
    assert caught.value.hint == "do something else"


def test_a_copy_that_is_killed_is_told() -> None:
    with pytest.raises(SrcliError, match="died"):
        branch(lambda: os._exit(9))


def test_only_workers_branch() -> None:
    assert multiprocessing.parent_process() is None and not can_branch() and not orphaned()


def test_together_is_alone_in_simulation() -> None:
    params = Params()
    evaluate = params.evaluate.model_copy(update={"similarity_rule": False})
    params = params.model_copy(update={"evaluate": evaluate})
    methods = resolve_methods(("sr_plus", "random", "expert"), [], method_sections(params.methods))
    setup = make_setup(params, methods, ["place"])
    (episode,) = suite_episodes("development", params.seed, ("seen",), "train", 1, 0, task="place")

    def records(jobs: list[Job]) -> list[dict[str, Any]]:
        return [record for played in make_executor("processes", 1).imap(run_job, jobs, start, (setup,)) for record in played]

    everyone = range(len(methods))
    together = records([Job(episode, tuple(everyone))])
    alone = records([Job(episode, (index,)) for index in everyone])
    assert [json.dumps(record) for record in together] == [json.dumps(record) for record in alone]
    poses = {json.dumps([attempt["pose"] for attempt in record["attempts"]]) for record in together}
    assert len(poses) > 1, "the methods were to choose differently"
