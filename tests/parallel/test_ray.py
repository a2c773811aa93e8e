"""The Ray executor on a real Ray of this machine: as processes do it, and a worker that is lost costs its job's time alone."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import parallel_jobs as jobs
import pytest

from srcli.errors import ConfigError, MismatchError, SrcliError
from srcli.parallel import make_executor
from srcli.parallel import ray as executors

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def _started() -> Iterator[None]:
    """One Ray for all tests: an executor uses the one that is there."""
    environment = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", environment["PYTHONPATH"])
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        asked = {"address": "local", "num_cpus": 2, "num_gpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
        for attempt in range(3):
            try:
                ray.init(**asked, log_to_driver=False, logging_level=logging.ERROR)
                break
            except Exception:
                # Ray gives a cluster 30 s to start, which a busy machine may miss.
                ray.shutdown()
                if attempt == 2:
                    raise
        yield
        ray.shutdown()


pytestmark = pytest.mark.usefixtures("_started")


def test_jobs_run_as_in_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order, the first call of each worker, one thread of numerics, the folder, the variables; and they may be copied."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SRCLI_MARK", "here")
    executor = make_executor("ray", 2)
    assert list(executor.imap(jobs.slow_first, range(20), jobs.start, (5,))) == [10 * i + 5 for i in range(20)]
    one = make_executor("ray", 1)
    assert list(one.imap(jobs.surroundings, range(1))) == [(True, str(tmp_path), "here")]
    assert list(one.imap(jobs.threads, range(2))) == [("1", "1")] * 2


def test_errors_come_as_themselves_and_in_their_turn() -> None:
    got = []
    with pytest.raises(MismatchError, match="job 2 is wrong") as caught:
        for result in make_executor("ray", 1).imap(jobs.fail, range(6)):
            got.append(result)
    assert got == [0, 1] and caught.value.hint == "leave it out" and caught.value.exit_code == 5
    with pytest.raises(MismatchError, match="cannot start"):
        list(make_executor("ray", 1).imap(jobs.fail, range(6), jobs.bad_start, (1,)))


@pytest.mark.parametrize("whole", [False, True], ids=["process", "worker"])
def test_a_lost_worker_costs_its_job_s_time_alone(whole: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work = [(number, tmp_path / "marker", whole) for number in range(6)]
    with caplog.at_level(logging.WARNING, "srcli"):
        assert list(make_executor("ray", 1).imap(jobs.die_once, work)) == list(range(6))
    assert [record.message for record in caplog.records if "a worker was lost" in record.message][1:] == []
    assert "another takes its place" in caplog.text


def test_a_job_that_kills_every_worker_ends_the_work(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SrcliError, match="3 workers died over the same job") as caught:
        list(make_executor("ray", 1).imap(jobs.die, range(6)))
    assert caught.value.exit_code == 1


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "__version__", "0.0.1")
    with pytest.raises(MismatchError, match=r"is installed there, 0\.0\.1 here"):
        list(make_executor("ray", 1).imap(jobs.fail, range(2)))


def test_workers_end_with_the_work() -> None:
    results = make_executor("ray", 1).imap(jobs.process, range(1000))
    pid = next(results)
    results.close()
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    pytest.fail("the worker's process is still there")


def test_gpus_are_shared_and_a_numbered_one_is_refused() -> None:
    assert [make_executor("ray", workers, "cuda")._gpus() for workers in (1, 2, 3)] == [1.0, 0.5, pytest.approx(1 / 3)]
    assert make_executor("ray", 2)._gpus() == 0.0
    with pytest.raises(ConfigError, match="cuda:1"):
        make_executor("ray", 2, "cuda:1")
