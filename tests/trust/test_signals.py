"""Ctrl-C and SIGTERM at the worst moments: nothing is written that is not whole, and the command ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srcli import cli
from srcli.artifacts.output import Output
from srcli.artifacts.policy import load_policy, save_policy


class Ended(BaseException):
    """What a command raises."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("call", [1, 3, 7])
def test_a_signal_while_hdf5_writes_loses_no_write(tmp_path, monkeypatch, number, call):
    weights = {name: np.random.default_rng(0).normal(size=(60, 80)).astype(np.float32) for name in "abc"}
    whole, out = tmp_path / "whole.h5", tmp_path / "out.h5"
    save_policy(whole, weights, {}, {})

    def end(*_):
        raise Ended

    before, real, calls = signal.signal(number, end), Output.seek, []

    def seek(self, *where):
        calls.append(where)
        if len(calls) == call:
            signal.raise_signal(number)
        return real(self, *where)

    try:
        monkeypatch.setattr(Output, "seek", seek)
        with pytest.raises(Ended):
            save_policy(out, weights, {}, {})
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
    assert len(calls) >= call and [file.name for file in tmp_path.iterdir()] == ["whole.h5"]
    save_policy(out, weights, {}, {})
    assert out.read_bytes() == whole.read_bytes() and load_policy(out).weights.keys() == weights.keys()


LOST = """
import os, signal, time, typer
from srcli.cli.running import command

class Tidied:
    def __del__(self):
        os.kill(os.getpid(), {number})
        time.sleep(0.01)

app = typer.Typer()

@app.command()
@command
def work() -> None:
    Tidied()
    time.sleep(30)
    print("never ended")

app()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_python_tidies_up_is_not_lost(number, code):
    script = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{LOST.format(number=int(number))}"
    env = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=env)
    assert (done.returncode, done.stdout) == (code, "")
    assert "error: " in done.stderr and "Traceback" not in done.stderr
