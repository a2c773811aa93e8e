"""Nothing of anybody else's is overwritten; two runs do not write one output."""

import errno
import os
import signal
import stat
import subprocess
import sys

import filelock
import numpy as np
import pytest
import subjects

from srcli.artifacts import core, writing
from srcli.artifacts.policy import export_safetensors, save_policy
from srcli.errors import ArtifactError, BusyError, ConfigError, DiskError
from srcli.stages import train


@pytest.fixture()
def weights():
    return {"w": np.ones(3, np.float32)}


def test_only_files_of_srcli_are_replaced(tmp_path, weights):
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("five years of work\n")
    with pytest.raises(ArtifactError, match=r"thesis\.txt: is no file of srcli, so it is not replaced"):
        save_policy(thesis, weights, {}, {})
    policy = tmp_path / "policy.h5"
    save_policy(policy, weights, {}, {})
    with pytest.raises(ArtifactError, match=r"thesis\.txt: is no export of srcli"):
        export_safetensors(policy, thesis)
    assert thesis.read_text() == "five years of work\n"
    export_safetensors(policy, tmp_path / "w.safetensors")
    export_safetensors(policy, tmp_path / "w.safetensors")
    policy.write_bytes(policy.read_bytes()[:-3])
    save_policy(policy, weights, {}, {})
    (tmp_path / "empty.h5").touch()
    save_policy(tmp_path / "empty.h5", weights, {}, {})


def test_training_says_so_before_it_starts(tmp_path):
    from srcli.methods.registry import settings, spec_of

    thesis = tmp_path / "thesis.txt"
    thesis.write_text("five years of work\n")
    features = tmp_path / "features.h5"
    subjects.make_artifact("features", features)
    spec = spec_of("sr_plus")
    with pytest.raises(ArtifactError, match="is no file of srcli"):
        train.run(spec, settings(spec, spec.section()), thesis, features=features)
    out = tmp_path / "policy.h5"
    with core.output_lock(out), pytest.raises(BusyError) as caught:
        train.run(spec, settings(spec, spec.section()), out, features=features)
    assert caught.value.exit_code == 7
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == ["features.h5", "thesis.txt"]


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link", "folder", "device"])
def test_only_regular_files_are_written(tmp_path, weights, kind):
    out, victim = tmp_path / "out.h5", tmp_path / "victim"
    victim.write_text("mine")
    if kind == "pipe":
        os.mkfifo(out)
    elif kind == "folder":
        out.mkdir()
    elif kind == "device":
        out = type(out)("/dev/null")
    else:
        out.symlink_to(victim if kind == "link" else tmp_path / "nowhere")
    said = "a link" if "link" in kind else f"a {kind}"
    with pytest.raises(ConfigError, match=f"is {said}, and is not written to"):
        save_policy(out, weights, {}, {})
    with pytest.raises(ConfigError), core.output_lock(out):
        pass
    assert victim.read_text() == "mine" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_a_path_without_a_file(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        writing.check_target(type(tmp_path)(name))


def test_temporary_names_cannot_be_foreseen_or_led_elsewhere(tmp_path, monkeypatch):
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("mine")
    monkeypatch.setattr(writing.secrets, "token_hex", lambda n: "0" * 2 * n)
    (tmp_path / f".out.{'0' * 12}.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError), core.atomic_write(out) as temporary:
        temporary.write_text("theirs")
    monkeypatch.undo()
    assert victim.read_text() == "mine"
    before = os.umask(0o022)
    try:
        with core.atomic_write(out) as first:
            first.write_text("a")
        with core.atomic_write(out) as second:
            second.write_text("b")
    finally:
        os.umask(before)
    assert first != second and out.read_text() == "b" and stat.S_IMODE(out.stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "no locks"), NotImplementedError("no flock")])
def test_a_file_system_without_locks_is_told_of_once(tmp_path, monkeypatch, caplog, error):
    def refuse(self, *args, **kwargs):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    out = tmp_path / "out.h5"
    with core.output_lock(out):
        assert "the file system has no locks; .out.h5.busy stands for one" in caplog.text
        with pytest.raises(BusyError) as caught, core.output_lock(out):
            pass
        assert caught.value.hint.endswith(f"delete {tmp_path / '.out.h5.busy'}")
    with core.output_lock(out):
        pass
    assert caplog.text.count("has no locks") == 1


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".out.h5.lock").symlink_to(victim)
    with pytest.raises(ConfigError, match="cannot be a lock"), core.output_lock(tmp_path / "out.h5"):
        pass
    assert victim.read_text() == "mine"


def _folder(path, text):
    path.mkdir()
    (path / "a").write_text(text)


@pytest.mark.parametrize("moment", ["before", "between", "after"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_folder_is_old_or_new_wherever_a_run_is_stopped(tmp_path, monkeypatch, kind, moment):
    out, rename, calls = tmp_path / "out", os.rename, []
    _folder(out, "old")

    def stopped(source, target):
        calls.append(target)
        if moment == "before" and len(calls) == 1:
            raise kind
        rename(source, target)
        if len(calls) == {"before": 0, "between": 1, "after": 2}[moment]:
            raise kind

    monkeypatch.setattr(writing.os, "rename", stopped)
    with pytest.raises(kind), core.atomic_folder(out) as temporary:
        (temporary / "a").write_text("new")
    assert (out / "a").read_text() == ("new" if moment == "after" else "old")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_old_folder_stays_where_it_cannot_be_put_back(tmp_path, monkeypatch):
    out, rename, calls = tmp_path / "out", os.rename, []
    _folder(out, "old")

    def refused(source, target):
        calls.append(target)
        if len(calls) > 1:
            raise OSError(errno.EIO, "broken")
        rename(source, target)

    monkeypatch.setattr(writing.os, "rename", refused)
    with pytest.raises(DiskError), core.atomic_folder(out):
        pass
    monkeypatch.undo()
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".old.tmp") and (left / "a").read_text() == "old"


@pytest.mark.parametrize("again", [True, False])
def test_the_only_copy_of_a_folder_outlives_a_kill(tmp_path, caplog, again):
    out = tmp_path / "out"
    _folder(out, "old")
    script = f"""
import os, signal
from srcli.artifacts import core, writing
rename = os.rename
def killed(source, target):
    rename(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
writing.os.rename = killed
with core.output_lock({str(out)!r}, folder=True), core.atomic_folder({str(out)!r}) as temporary:
    (temporary / "a").write_text("new")
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL and not out.exists()
    with core.output_lock(out, folder=True):
        assert (out / "a").read_text() == "old" and "is put back" in caplog.text
        if again:
            with core.atomic_folder(out) as temporary:
                (temporary / "a").write_text("new")
    assert (out / "a").read_text() == ("new" if again else "old")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_folder_that_is_put_back_is_no_file_to_write(tmp_path):
    _folder(tmp_path / f".out.{'0' * 12}.old.tmp", "old")
    with pytest.raises(ConfigError, match="is a folder"), core.output_lock(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_only_what_is_left_of_the_same_output_is_tidied_up(tmp_path):
    mine, other = tmp_path / f".out.{'0' * 12}.tmp", tmp_path / f".out.h5.{'0' * 12}.tmp"
    mine.touch()
    other.touch()
    with core.output_lock(tmp_path / "out", folder=True):
        assert other.exists() and not mine.exists()
