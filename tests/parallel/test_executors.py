"""Results in the order of the jobs, errors as themselves, no orphans."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import parallel_jobs as jobs
import pytest

from srcli.errors import ConfigError, MismatchError, SrcliError, UnknownNameError
from srcli.parallel import make_executor


@pytest.mark.parametrize(("kind", "workers"), [("serial", 1), ("processes", 1), ("processes", 3)])
def test_order_and_initializer(kind, workers):
    results = make_executor(kind, workers).imap(jobs.slow_first, range(20), jobs.start, (5,))
    assert list(results) == [10 * i + 5 for i in range(20)]


def test_processes_are_others_and_run_one_thread_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    executor = make_executor("processes", 2)
    assert list(executor.imap(jobs.threads, range(3))) == [("1", "1")] * 3
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ
    pids = set(executor.imap(jobs.process, range(12)))
    assert 1 <= len(pids) <= 2 and os.getpid() not in pids


def test_workers_do_not_write_to_standard_output(capfd):
    assert list(make_executor("processes", 1).imap(jobs.noisy, range(2))) == [0, 1]
    out, err = capfd.readouterr()
    assert out == "" and err.count("noise") == 2


@pytest.mark.parametrize("kind", ["serial", "processes"])
def test_errors_come_as_themselves(kind):
    got = []
    with pytest.raises(MismatchError, match="job 2 is wrong") as caught:
        for result in make_executor(kind, 2).imap(jobs.fail, range(6)):
            got.append(result)
    assert got == [0, 1] and caught.value.hint == "leave it out" and caught.value.exit_code == 5


@pytest.mark.parametrize("kind", ["serial", "processes"])
def test_failing_start_comes_as_itself(kind):
    with pytest.raises(MismatchError, match="cannot start"):
        list(make_executor(kind, 2).imap(jobs.fail, range(6), jobs.bad_start, (1,)))


def test_killed_worker():
    with pytest.raises(SrcliError, match="worker process died") as caught:
        list(make_executor("processes", 1).imap(jobs.die, range(6)))
    assert caught.value.exit_code == 1


def test_stopping_early_ends_the_workers():
    results = make_executor("processes", 2).imap(jobs.process, range(1000))
    pids = {next(results) for _ in range(4)}
    results.close()
    assert not any(_alive(pid) for pid in pids)


SCRIPT = """
import signal, sys
# Started in the background, the tests may have been told to ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {folder!r})
import parallel_jobs
from srcli.parallel import make_executor
if __name__ == "__main__":
    try:
        for pid in make_executor("processes", 2).imap(parallel_jobs.process, range(10000)):
            print(pid, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_orphans(tmp_path, how):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent)))
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    pids = {int(process.stdout.readline()) for _ in range(20)}
    process.send_signal(how)
    process.stdout.close()
    code = process.wait(timeout=20)
    if how is signal.SIGINT:
        assert code == 130
        assert "Traceback" not in process.stderr.read()
    for _ in range(100):
        if not any(_alive(pid) for pid in pids):
            break
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)
    process.stderr.close()


@pytest.mark.parametrize("how", ["stopped", "parent killed"])
def test_workers_that_are_ended_leave_no_temporary_folders(tmp_path, how, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    if how == "stopped":
        results = make_executor("processes", 2).imap(jobs.with_folder, range(1_000_000))
        workers = set()
        # Until both have their folder: an end while one is being made may leave it.
        while len(workers) < 2:
            workers.add(next(results))
        assert len(list(tmp_path.glob("kept-*"))) == 2
        results.close()
    else:
        script = tmp_path / "run.py"
        script.write_text(SCRIPT.format(folder=str(Path(__file__).parent)).replace("jobs.process", "jobs.with_folder"))
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() and list(tmp_path.glob("kept-*"))
        process.kill()
        process.stdout.close()
        process.wait(timeout=20)
    for _ in range(100):
        if not list(tmp_path.glob("kept-*")):
            break
        time.sleep(0.05)
    assert not list(tmp_path.glob("kept-*"))


def _alive(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_bad_arguments():
    with pytest.raises(ConfigError, match="workers = 0"):
        make_executor("processes", 0)
    with pytest.raises(UnknownNameError, match="unknown executor 'procesess'") as caught:
        make_executor("procesess", 1)
    assert "processes" in caught.value.hint


def test_ray_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="needs the package ray") as caught:
        make_executor("ray", 2)
    assert "srcli[ray]" in caught.value.hint
