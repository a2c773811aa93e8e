"""What people who do this job report of such tools: grasp rows, refused starts, read-only folders, noise, no home."""

import importlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from subjects import fake
from typer.testing import CliRunner

from srcli import cli
from srcli.actions.graspnet import make_group, write_grasps
from srcli.artifacts import core
from srcli.artifacts.policy import load_policy, save_policy
from srcli.cli.app import app
from srcli.errors import ArtifactError, ConfigError, SceneError
from srcli.params import Params
from srcli.params.loading import override
from srcli.stages import collect
from srcli.stages.grasp_rows import check_rows

runner = CliRunner()
EPISODES = {"collect.episodes": 3, "collect.executor": "serial"}


def rows(path, turned=False, scale=1.0, count=60):
    """Grasps from above on a table's things, in the world's frame, in metres."""
    rng = np.random.default_rng(0)
    rotations = []
    for yaw, tilt in zip(rng.uniform(0, np.pi, count), rng.uniform(-0.4, 0.4, count), strict=True):
        approach = np.array([np.sin(tilt), 0.0, -np.cos(tilt)])
        closing = np.array([np.cos(tilt) * np.cos(yaw), np.sin(yaw), np.sin(tilt) * np.cos(yaw)])
        rotations.append(np.stack([approach, closing, np.cross(approach, closing)], axis=1))
    frames = np.stack(rotations)
    places = rng.uniform([0.35, -0.15, 0.03], [0.65, 0.15, 0.12], (count, 3))
    group = make_group(
        np.linspace(0.1, 1, count),
        np.full(count, 0.05),
        np.full(count, 0.02),
        np.swapaxes(frames, 1, 2) if turned else frames,
        places * scale,
    )
    write_grasps(path, group)
    return path


def played(path, **values):
    return override(Params(), {**EPISODES, "candidates.source": f"{path}@world", **values})


def test_good_rows_are_played_in_silence_and_doubtful_ones_with_a_warning(tmp_path, caplog):
    check_rows(played(rows(tmp_path / "good.npy")))
    assert not caplog.records
    for name, change in {"turned.npy": {"turned": True}, "small.npy": {"scale": 0.6}}.items():
        caplog.clear()
        try:
            check_rows(played(rows(tmp_path / name, **change)))
        except ArtifactError as error:
            assert "of its 60 grasps can be used" in error.message
        else:
            assert [record.levelno for record in caplog.records] == [logging.WARNING]
            assert f"{name}: of its grasps" in caplog.text and "% approach what can stand there" in caplog.text


@pytest.mark.parametrize("command", ["collect --dry-run --grasps", "evaluate --suite development --dry-run --grasps"])
def test_rows_whose_header_breaks_off_within_a_bracket(tmp_path, command):
    path = tmp_path / "rows.npy"
    path.write_bytes(rows(path).read_bytes().replace(b"'shape': (60, 17), }", b"'shape': ((60, 17,,}"))
    told = CliRunner().invoke(app, [*command.split(), str(path)])
    assert told.exit_code == ArtifactError.exit_code and "cannot read grasps from" in told.stderr, told.output


@pytest.mark.parametrize(("name", "said"), [("millimetres", "none of its 60 grasps can be used"), ("empty", "holds no grasp")])
def test_rows_that_cannot_be_played_are_refused_by_the_dry_run_as_well(tmp_path, name, said):
    path = rows(tmp_path / "g.npy", scale=1000.0) if name == "millimetres" else tmp_path / "g.npy"
    if name == "empty":
        np.save(path, np.zeros((0, 17)))
    for more in ([], ["--dry-run"]):
        told = runner.invoke(app, ["collect", "--grasps", f"{path}@world", "--out", str(tmp_path / "d.h5"), *more])
        assert told.exit_code == 3 and said in told.stderr and len(told.stderr.splitlines()) == 2


@pytest.mark.parametrize("words", [["-m", "nonsense"], ["--cases", "/nonexistent"], ["nothing.h5"]])
def test_a_dry_run_refuses_what_the_run_refuses(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codes = [runner.invoke(app, ["evaluate", *words, *more]).exit_code for more in ([], ["--dry-run"])]
    assert codes[0] == codes[1] > 1
    assert list(tmp_path.iterdir()) == []


def test_a_refused_start_leaves_nothing_that_blocks_the_corrected_one(tmp_path, monkeypatch):
    path, out = rows(tmp_path / "world.npy"), tmp_path / "demos.h5"
    told = runner.invoke(app, ["collect", "--grasps", str(path), "--out", str(out), "--episodes", "3"])
    assert told.exit_code == 3 and "@world" in told.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["world.npy"]
    monkeypatch.setattr(collect, "simulate", fake.episode)
    assert collect.run(played(path), "pick", out).episodes == 3
    # As a start does that ends before its first episode.
    other = tmp_path / "other.h5"
    with pytest.raises(SceneError):
        collect.run(override(played(path), {"collect.episodes": 1}), "pick", other, episode_fn=_nothing)
    assert collect.run(played(path, **{"candidates.count": 7}), "pick", other).episodes == 3


def _nothing(params, task, seed):
    raise SceneError("no scene could be laid out")


def test_a_complete_file_in_a_read_only_folder_is_up_to_date(tmp_path, monkeypatch):
    params, out = override(Params(), EPISODES), tmp_path / "demos.h5"
    collect.run(params, "pick", out, episode_fn=fake.episode)
    before = sorted(tmp_path.iterdir())

    def refuse(*args, **more):
        raise PermissionError(30, "read-only file system")

    # Root may write anywhere, so the folder alone would not tell.
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(core, "artifact_lock", refuse)
    assert collect.run(params, "pick", out, episode_fn=fake.episode).up_to_date
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == before


WORKER = """
import os
from srcli.parallel.processes import ProcessExecutor

def job(number):
    import pybullet
    pybullet.disconnect(pybullet.connect(pybullet.DIRECT))
    os.write(2, b"kept\\n")
    return number

if __name__ == "__main__":
    print(list(ProcessExecutor(2).imap(job, range(2))))
"""


def test_workers_print_no_noise(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    done = subprocess.run([sys.executable, str(tmp_path / "worker.py")], capture_output=True, text=True, check=True, env=_env())
    assert done.stdout == "[0, 1]\n" and done.stderr.replace("kept\n", "") == ""


def _env():
    return {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}


def test_a_user_without_a_home_folder(tmp_path, monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SRCLI_OBJECTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Path, "home", unknown)
    cli.have_home()
    assert os.environ["HOME"] == cli.NO_HOME
    doctor = importlib.import_module("srcli.cli.doctor")
    assert doctor._home().startswith("none: ")


def test_hdf5_on_a_file_system_without_locks(tmp_path, monkeypatch):
    path = tmp_path / "policy.h5"
    save_policy(path, {"w": np.ones(3, np.float32)}, {}, {})
    opened, real = [], h5py.File

    def without(*args, **options):
        opened.append(options.get("locking"))
        if options.get("locking") is not False:
            raise BlockingIOError(37, "Unable to synchronously open file (unable to lock file, errno = 37, no locks available)")
        return real(*args, **options)

    monkeypatch.setattr(h5py, "File", without)
    assert load_policy(path).weights["w"].tolist() == [1, 1, 1]
    assert False in opened


def test_doctor_takes_every_encoder_that_the_other_commands_take():
    doctor = importlib.import_module("srcli.cli.doctor")
    assert doctor._encoder("embedded/seen-only").startswith("embedded")
    # Known, and refused for what it is.
    with pytest.raises(ConfigError, match="'openai' were trained with QuickGELU, 'ViT-B-32' computes GELU"):
        doctor._encoder("ViT-B-32/openai")


def test_help_into_a_pipe_that_is_closed_ends_well():
    process = subprocess.Popen(
        [sys.executable, "-m", "srcli", "evaluate", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_env()
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 0
    process.stderr.close()


@pytest.mark.parametrize(("kind", "kept"), [("resumable", True), ("command", False)])
def test_sigterm_says_whether_work_is_kept(kind, kept):
    code = (
        f"import time, typer\nfrom srcli.cli.running import {kind}\napp = typer.Typer()\n"
        f"@app.command()\n@{kind}\ndef wait() -> None:\n    print('ready', flush=True)\n    time.sleep(60)\napp()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_env()
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143 and "error: terminated" in told and ("finished work is kept" in told) == kept
    assert "Traceback" not in told and "resource_tracker" not in told


def test_long_values_are_cut_and_numbers_rounded_in_messages():
    from srcli.cli.running import _line
    from srcli.objects.importing import check_mass

    assert len(_line("x" * 100_000)) < 300 and len(_line("word " * 100_000)) < 1_300
    with pytest.raises(ArtifactError, match=r"mass 2\.16 kg is not allowed"):
        check_mass(Path("x.obj"), 2.1600000000000006)


@pytest.mark.parametrize("name", [".", ""])
def test_an_output_that_names_no_file_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        collect.run(override(Params(), EPISODES), "pick", name, episode_fn=fake.episode)
    assert list(tmp_path.iterdir()) == []
