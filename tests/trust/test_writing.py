"""Nothing of anybody else's is overwritten; two runs do not write one output."""

import errno
import os
import stat

import filelock
import numpy as np
import pytest
import subjects

from srcli.artifacts import core, writing
from srcli.artifacts.policy import export_safetensors, save_policy
from srcli.errors import ArtifactError, BusyError, ConfigError
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
