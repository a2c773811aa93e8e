"""Every kind of damage gives one clear line; writing is atomic; one writer per output."""

import errno
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from srcli.artifacts import core, digests, writing
from srcli.artifacts.features import FeatureDataset
from srcli.artifacts.policy import export_safetensors, load_policy, save_policy
from srcli.artifacts.seal import seal
from srcli.errors import ArtifactError, BusyError, DiskError, SrcliError


@pytest.fixture()
def policy(tmp_path):
    path = tmp_path / "policy.h5"
    rng = np.random.default_rng(0)
    save_policy(path, {"w": rng.normal(size=(200, 50)).astype(np.float32), "b": np.zeros(3)}, {"width": 8}, {"name": "e"})
    return path


def one_line(error: SrcliError) -> None:
    assert "\n" not in error.message and "\n" not in error.hint and error.hint
    assert error.exit_code == 3


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.001, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_truncated(policy, share):
    data = policy.read_bytes()
    policy.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArtifactError, match=r"is (empty|truncated)") as caught:
        load_policy(policy)
    one_line(caught.value)


def test_missing_text_foreign_folder(tmp_path):
    with pytest.raises(ArtifactError, match=r"none\.h5: no such file") as caught:
        load_policy(tmp_path / "none.h5")
    one_line(caught.value)
    assert "srcli train" in caught.value.hint
    text = tmp_path / "text.h5"
    text.write_text("these are notes\n")
    with pytest.raises(ArtifactError, match="is not an HDF5 file") as caught:
        load_policy(text)
    one_line(caught.value)
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as handle:
        handle.create_group("data").attrs["total"] = 3
    with pytest.raises(ArtifactError, match="not a file of srcli") as caught:
        load_policy(foreign)
    one_line(caught.value)
    with pytest.raises(ArtifactError, match="is a folder") as caught:
        load_policy(tmp_path)
    one_line(caught.value)
    with pytest.raises(ArtifactError, match="no such file"):
        load_policy(text / "below.h5")


def test_other_kind_version_incomplete(policy):
    with pytest.raises(ArtifactError, match="is a policy file where a features file is needed") as caught:
        FeatureDataset(policy)
    one_line(caught.value)
    with h5py.File(policy, "r+") as handle:
        handle.attrs["schema_version"] = 9
    seal(policy)
    with pytest.raises(ArtifactError, match="schema version 9; this srcli reads version 1") as caught:
        load_policy(policy)
    one_line(caught.value)
    with h5py.File(policy, "r+") as handle:
        handle.attrs["schema_version"] = 1
        del handle.attrs["complete"]
    seal(policy)
    with pytest.raises(ArtifactError, match="is incomplete") as caught:
        load_policy(policy)
    one_line(caught.value)


def test_missing_content_breaks_the_contract(policy):
    with h5py.File(policy, "r+") as handle:
        del handle["curves"]
    seal(policy)
    with pytest.raises(ArtifactError, match="breaks its contract") as caught:
        load_policy(policy)
    one_line(caught.value)


def test_flipped_bit_is_refused(policy):
    with h5py.File(policy, "r") as handle:
        chunk = handle["weights/w"].id.get_chunk_info(0)
    data = bytearray(policy.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 1
    policy.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="is damaged"):
        load_policy(policy)


def test_policy_round_trip_and_export(tmp_path, policy):
    from safetensors import safe_open

    loaded = load_policy(policy)
    assert loaded.config == {"width": 8} and loaded.encoder == {"name": "e"} and loaded.training == {}
    assert set(loaded.weights) == {"w", "b"}
    out = tmp_path / "policy.safetensors"
    export_safetensors(policy, out)
    with safe_open(str(out), "np") as tensors:
        np.testing.assert_array_equal(tensors.get_tensor("w"), loaded.weights["w"])
        assert json.loads(tensors.metadata()["config"]) == {"width": 8}


def test_same_content_same_bytes_without_host_or_path(tmp_path):
    paths = [tmp_path / "a.h5", tmp_path / "longer_name.h5"]
    for path in paths:
        save_policy(path, {"w": np.arange(9000, dtype=np.float32)}, {"b": 1, "a": (2, 3)}, {"name": "e"}, {"loss": np.ones(3)})
    first, second = (p.read_bytes() for p in paths)
    assert first == second
    assert str(tmp_path).encode() not in first and os.uname().nodename.encode() not in first


@pytest.mark.parametrize(
    ("code", "text"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "cannot be written"), (errno.EROFS, "cannot be")]
)
def test_disk_errors_keep_the_old_file(tmp_path, monkeypatch, code, text):
    path = tmp_path / "policy.h5"
    save_policy(path, {"w": np.ones(3)}, {}, {})
    before = path.read_bytes()

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(writing.os, "fsync", refuse)
    with pytest.raises(DiskError, match=text) as caught:
        save_policy(path, {"w": np.zeros(3)}, {}, {})
    assert caught.value.exit_code == 6 and caught.value.hint
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["policy.h5"]


LIMITED = """
import resource, sys, numpy as np
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from srcli.artifacts.policy import save_policy
from srcli.errors import DiskError
try:
    save_policy(sys.argv[1], {"w": np.random.default_rng(0).normal(size=(1000, 500))}, {}, {})
except DiskError as error:
    print(error.message)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("limit", [50, 3_000, 200_000])
def test_hdf5_that_really_cannot_write(tmp_path, limit):
    path = tmp_path / "policy.h5"
    result = subprocess.run([sys.executable, "-c", LIMITED, str(path), str(limit)], capture_output=True, text=True)
    assert result.returncode == 6, result.stderr
    assert result.stderr == ""
    assert "the disk is full" in result.stdout
    assert os.listdir(tmp_path) == []


def test_interrupted_writing_leaves_nothing(tmp_path):
    path = tmp_path / "x.h5"
    with pytest.raises(KeyboardInterrupt), core.create_artifact(path, core.POLICY, {}):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_lock_is_refused_at_once_and_freed(tmp_path):
    out = tmp_path / "deep" / "out.h5"
    script = f"""
from srcli.artifacts.core import output_lock
from srcli.errors import BusyError
import sys
try:
    with output_lock({str(out)!r}):
        pass
except BusyError as error:
    sys.exit(error.exit_code)
"""
    with core.output_lock(out):
        assert subprocess.run([sys.executable, "-c", script]).returncode == 7
        with pytest.raises(BusyError, match=r"out\.h5: another run is writing it"), core.output_lock(out):
            pass
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_differing_keys():
    recorded = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert digests.differing_keys(recorded, {"a": {"b": 1, "c": (1, 2)}, "d": 1}) == []
    assert digests.differing_keys(recorded, {"a": {"b": 2, "c": [1, 2]}, "e": 1}) == [
        "a.b (1 -> 2)",
        'd (1 -> "absent")',
        'e ("absent" -> 1)',
    ]


def test_paths_are_kept_out(tmp_path):
    with pytest.raises(TypeError, match="path"):
        digests.to_json({"x": tmp_path})
