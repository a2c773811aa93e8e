"""The command line without any stage behind it: help, speed of start, exit codes, output streams."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from srcli import __version__, errors
from srcli.cli.app import app
from srcli.cli.output import emit, lines, plain
from srcli.cli.running import command, resumable
from srcli.errors import SrcliError

runner = CliRunner()
COMMANDS = ("collect", "featurize", "train", "evaluate", "info", "export", "objects", "params", "pretrain", "doctor")
HEAVY = ("torch", "pybullet", "open_clip", "h5py", "scipy", "matplotlib", "numpy")


def test_help_names_every_command_in_its_panel() -> None:
    result = runner.invoke(app, ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout
    for panel in ("Pipeline", "Files and objects", "Set-up"):
        assert f"\n{panel}" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    result = runner.invoke(app, [name, "--help"], env={"COLUMNS": "160", "TERM": "dumb"})
    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_cut_in_a_terminal_of_80_columns(name: str) -> None:
    result = runner.invoke(app, [name, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}, terminal_width=80)
    assert result.exit_code == 0 and "…" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_stage_commands_share_their_options() -> None:
    for name in (
        "collect",
        "featurize",
        "train",
        "evaluate",
        "pretrain encoder",
        "pretrain grasp",
        "pretrain teach",
        "pretrain graspnet",
    ):
        text = runner.invoke(app, [*name.split(), "--help"], env={"COLUMNS": "160", "TERM": "dumb"}).stdout
        for option in ("--params", "--set", "--json", "--dry-run", "--debug", "--seed", "--out"):
            assert option in text, (name, option)
    text = runner.invoke(app, ["train", "--help"], env={"COLUMNS": "160", "TERM": "dumb"}).stdout
    assert "[methods.SECTION.train.lr]" in text
    assert "--method" in text


def test_no_arguments_show_help() -> None:
    assert "Pipeline" in runner.invoke(app, []).output


def test_version() -> None:
    assert runner.invoke(app, ["--version"]).stdout == f"srcli {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom srcli.cli import main\n"
        f"sys.argv = ['srcli', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip().splitlines()[-1] == "[]"


def test_configuration_imports_nothing_heavy() -> None:
    code = (
        "import sys, srcli, srcli.types, srcli.params.loading, srcli.params.rendering\n"
        "print([m for m in ('torch', 'pybullet', 'open_clip', 'h5py', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["train", "--nonsense"], ["train", "--updates", "many"], ["train", "--seed", "-1"]]
)
def test_usage_errors_are_2(arguments: list[str]) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def _app(error: BaseException, guard: Callable[..., Any] = command) -> typer.Typer:
    other = typer.Typer()

    @other.command()
    @guard
    def fail(debug: bool = False) -> None:
        raise error

    return other


KNOWN = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SrcliError)]


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_each_error_has_one_line_a_hint_and_its_code(kind: type[SrcliError]) -> None:
    result = runner.invoke(_app(kind("what is\nwrong", "what to do")), [])
    assert result.exit_code == kind.exit_code
    assert result.stdout == ""
    assert result.stderr == "error: what is wrong\nhint: what to do\n"


def test_exit_codes_are_distinct() -> None:
    codes = [kind.exit_code for kind in KNOWN]
    assert len(set(codes)) == len(codes)
    documented = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    for kind in KNOWN:
        assert f"| {kind.exit_code} | `{kind.__name__}`" in documented


def test_unexpected_failure_is_1_and_debug_shows_where() -> None:
    plainly = runner.invoke(_app(ValueError("odd\nvalue")), [])
    assert plainly.exit_code == 1
    assert plainly.stderr.splitlines()[0] == "error: unexpected: ValueError: odd value"
    assert "Traceback" not in plainly.stderr
    assert "Traceback" in runner.invoke(_app(ValueError("odd")), ["--debug"]).stderr


def test_full_disk_is_6() -> None:
    import errno

    result = runner.invoke(_app(OSError(errno.ENOSPC, "No space left on device", "out.h5")), [])
    assert result.exit_code == 6
    assert "out.h5: no space left on device" in result.stderr


def test_interrupt_is_130_and_says_how_to_go_on() -> None:
    result = runner.invoke(_app(KeyboardInterrupt(), resumable), [])
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr
    nothing_kept = runner.invoke(_app(KeyboardInterrupt()), [])
    assert (nothing_kept.exit_code, nothing_kept.stderr) == (130, "error: interrupted\n")


def test_ctrl_c_in_a_real_process() -> None:
    code = (
        "import time, typer\nfrom srcli.cli.running import command\napp = typer.Typer()\n"
        "@app.command()\n@command\ndef wait() -> None:\n    print('ready', flush=True)\n    time.sleep(60)\napp()"
    )
    process = subprocess.Popen(
        # Started in the background, the tests may have been told to ignore Ctrl-C.
        [sys.executable, "-c", f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in told


def test_closed_pipe_is_silent(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "srcli", "params"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(timeout=30)


def test_native_chatter_does_not_reach_stdout() -> None:
    code = (
        "import os\nfrom srcli.cli.output import emit, reserved_stdout\n"
        "with reserved_stdout():\n    os.write(1, b'chatter')\nemit({'a': 1}, True)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == {"a": 1}
    assert result.stderr.rstrip() == "chatter"


def test_plain_data_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    data = plain({"path": Path("a/b"), "array": np.arange(3), "nan": float("nan"), "scalar": np.float32(0.5), 3: (1, 2)})
    assert data == {"path": "a/b", "array": [0, 1, 2], "nan": None, "scalar": 0.5, "3": [1, 2]}
    assert lines({"a": 1.23456789, "long": None, "inner": {"x": [1, 2]}}) == ["a      1.235", "long   -", "inner", "  x  1, 2"]
    emit(data, True)
    assert json.loads(capsys.readouterr().out) == data


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_numpys_library_gets_one_thread_unless_told_otherwise(given: dict[str, str], expected: str) -> None:
    """Set before NumPy is loaded; the main process then rounds as its workers do."""
    code = (
        "import os, sys\nfrom srcli.cli import main\nassert 'numpy' not in sys.modules\nsys.argv = ['srcli', '--version']\n"
        "try:\n    main()\nexcept SystemExit:\n    print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    place = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"} | given
    done = subprocess.run([sys.executable, "-c", code], env=place, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected


def test_a_command_that_was_asked_to_end_waits_for_no_thread_and_tidies_up(tmp_path: Path) -> None:
    """A thread that computes for a minute, as a training's does; temporary folders are removed when Python ends."""
    code = f"""
import atexit, pathlib, sys, threading, time, types
app = types.ModuleType("srcli.cli.app")
def ended(prog_name):
    threading.Thread(target=time.sleep, args=(60,)).start()
    atexit.register(pathlib.Path({str(tmp_path / "tidied")!r}).touch)
    print("told")
    raise SystemExit(int(sys.argv[1]))
app.app = ended
sys.modules["srcli.cli.app"] = app
from srcli.cli import main
main()
"""
    for number in (130, 143):
        done = subprocess.run([sys.executable, "-c", code, str(number)], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (number, "told\n") and (tmp_path / "tidied").is_file()
        (tmp_path / "tidied").unlink()
