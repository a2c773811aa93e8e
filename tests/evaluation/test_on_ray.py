"""An evaluation on a real Ray: the same files as with processes, though a worker is killed in the middle of an episode."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from srcli.errors import MismatchError
from srcli.evaluation.methods import chosen_methods
from srcli.evaluation.plan import make_setup
from srcli.evaluation.playing import standing, start_elsewhere
from srcli.params import Params
from srcli.params.loading import override
from srcli.stages.evaluate import run

pytest.importorskip("ray")


def params(executor: str) -> Params:
    section = {
        "suite": "development", "tasks": ["place"], "splits": ["seen"], "methods": ["random", "beside"], "reference": "random",
        "episodes": 3, "figure_cases": 1, "bootstrap": 100, "similarity_rule": False, "executor": executor,
    }  # fmt: skip
    return override(Params(), {f"evaluate.{key}": value for key, value in section.items()})


def test_the_same_files_though_a_worker_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed: list[int] = []

    def kill_one(done: int, total: int, message: str) -> None:
        # The first episode is there, so that the next one is under way.
        if done == 2 and not killed:
            ours = psutil.Process().children(recursive=True)
            killed.extend(p.pid for p in ours if "spawn_main" in " ".join(p.cmdline()))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    there, here = tmp_path / "ray", tmp_path / "processes"
    summary = run(params("ray"), [], there, workers=1, progress=kill_one)
    assert len(killed) == 1 and "a worker was lost" in caplog.text
    assert (summary.played, summary.kept) == (6, 0)
    run(params("processes"), [], here, workers=1)
    files = sorted(path.relative_to(here) for path in here.rglob("*") if path.is_file())
    assert len([file for file in files if file.suffix == ".jsonl"]) == 2
    assert files == sorted(path.relative_to(there) for path in there.rglob("*") if path.is_file())
    differ = [str(file) for file in files if (here / file).read_bytes() != (there / file).read_bytes()]
    assert differ == []


def test_a_machine_that_stands_on_something_else_is_refused() -> None:
    values = params("ray")
    setup = make_setup(values, chosen_methods(values, []), ["place"])
    wanted = standing(setup)
    assert {"code", "method_code", "encoder", "placements"} <= set(wanted)
    with pytest.raises(MismatchError, match=r"not the same there \(code\)"):
        start_elsewhere(setup, {**wanted, "code": "another"})
