"""Artifacts: no damage is accepted, nothing outside of the file is read, what `info` refuses every reader refuses."""

import json
import logging
import time

import h5py
import numpy as np
import pytest
import subjects

from srcli.artifacts import core
from srcli.artifacts.policy import load_policy
from srcli.artifacts.seal import LENGTH, seal
from srcli.errors import ArtifactError
from srcli.methods.policy_file import read_policy, stored_section
from srcli.methods.registry import is_shipped, load, shipped, spec_of, specs
from srcli.stages import info


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    for kind in subjects.KINDS:
        subjects.make_artifact(kind, folder / f"{kind}.h5")
    return folder


@pytest.fixture()
def policy(originals, tmp_path):
    path = tmp_path / "policy.h5"
    path.write_bytes((originals / "policy.h5").read_bytes())
    return path


def refused(path, kind, said):
    """By `info` and by the reader that stages use, at once."""
    start = time.process_time()
    with pytest.raises(ArtifactError, match=said):
        subjects.read_artifact(kind)(path)
    try:
        problems = info.run(path)["problems"]
    except ArtifactError as error:
        problems = [error.message]
    assert problems and time.process_time() - start < 5


@pytest.mark.parametrize("kind", subjects.KINDS)
def test_a_flipped_bit_anywhere_is_refused(originals, tmp_path, kind):
    whole = (originals / f"{kind}.h5").read_bytes()
    assert subjects.read_artifact(kind)(originals / f"{kind}.h5")
    for number, at in enumerate(np.linspace(0, len(whole) - 1, 25).astype(int)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << number % 8
        path = tmp_path / f"{number}.h5"
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError):
            subjects.read_artifact(kind)(path)


def test_a_small_array_and_an_index_of_chunks(policy, tmp_path):
    with h5py.File(policy, "r") as handle:
        small = handle["weights/head.4.bias"].id.get_offset()
    data = policy.read_bytes()
    for at in (small + 3, data.index(b"TREE") + 40):
        path = tmp_path / f"{at}.h5"
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        refused(path, "policy", "is damaged: its content is not what was written")


def test_changed_by_hand_and_cut_off(policy):
    whole = policy.read_bytes()
    with h5py.File(policy, "r+") as handle:
        handle["weights/head.4.bias"][0] = 5
    refused(policy, "policy", "changed after it was written: its digest is gone")
    policy.write_bytes(whole[:-LENGTH])
    refused(policy, "policy", "is truncated")
    policy.write_bytes(whole[:-1])
    refused(policy, "policy", "is truncated")


def harm(change):
    """What somebody writes who seals the file again."""

    def write(path):
        with h5py.File(path, "r+") as handle:
            change(handle)
        seal(path)

    return write


def external(handle):
    del handle["weights/body"]
    handle.create_dataset("weights/body", shape=(4096,), dtype="u1", external=[("/etc/passwd", 0, 4096)])


def virtual(handle):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4,))
    handle["weights"].create_virtual_dataset("v", layout)


def put(name, value):
    def change(handle):
        if name in handle:
            del handle[name]
        handle[name] = value

    return change


def attribute(name, value):
    def change(handle):
        handle.attrs[name] = value

    return change


def drop(name):
    def change(handle):
        del handle[name]

    return change


def infinite(handle):
    handle["weights/head.4.bias"][...] = np.nan


def renamed(handle, name):
    """The first row of the summary is said to be of another method, which has no episode."""
    summary = json.loads(handle["summary"][()].tobytes())
    summary["rows"][0]["method"] = name
    del handle["summary"]
    handle["summary"] = np.frombuffer(json.dumps(summary).encode(), np.uint8)


def sparse(handle):
    handle.create_dataset("weights/big", shape=(20_000, 200_000), dtype="f4", chunks=(1, 1000))


def loop(handle):
    handle["weights/again"] = handle["/"]


HARMED = {
    "external storage": ("policy", external, "lies in another file"),
    "virtual dataset": ("policy", virtual, "is put together from other files"),
    "external link": ("policy", put("weights/x", h5py.ExternalLink("o.h5", "/x")), "is a link to somewhere else"),
    "soft link": ("policy", put("weights/x", h5py.SoftLink("/weights/body")), "is a link to somewhere else"),
    "loop": ("policy", loop, "under two names|levels deep"),
    "appetite": ("policy", sparse, "declares more than the file can hold"),
    "unknown filter": (
        "policy",
        lambda h: h["weights"].create_dataset("z", data=np.ones(99), compression="lzf"),
        "needs a filter",
    ),
    "text of any length": ("policy", put("weights/x", "text"), "neither numbers nor fixed text"),
    "compound": ("policy", put("weights/body", np.zeros(3, [("a", "f4")])), "neither numbers nor fixed text"),
    "a group for an array": ("policy", lambda h: h["weights"].create_group("x"), "breaks its contract"),
    "an array for a group": ("policy", put("curves", 1.0), "breaks its contract"),
    "no weights": ("policy", lambda h: [h["weights"].pop(n) for n in list(h["weights"])], "holds no weights"),
    "truth values as weights": ("policy", put("weights/body", np.ones(3, bool)), "holds no numbers"),
    "NaN": ("policy", infinite, "holds a value that is not finite"),
    "complete as a word": ("policy", attribute("complete", "false"), "is incomplete"),
    "version as a word": ("policy", attribute("schema_version", "1"), "schema version 1; this srcli reads"),
    "version True": ("policy", attribute("schema_version", True), "schema version True"),
    "version NaN": ("policy", attribute("schema_version", np.nan), "schema version nan"),
    "config is a list": ("policy", attribute("config", "[1]"), "is no mapping in JSON"),
    "config too deep": ("policy", attribute("config", "[" * 9000), "breaks its contract|is damaged"),
    "no split to train on": ("features", drop("mask/train"), "has no split 'train'"),
    "a split twice": ("features", put("mask/train", np.array([0, 0])), "names a sample twice"),
    "rows contradict episodes": (
        "evaluation",
        lambda h: h["episodes/success"].write_direct(np.ones(len(h["episodes/success"]), bool)),
        "contradicts its episodes",
    ),
    "an attempt of nobody": ("evaluation", lambda h: h["attempts/episode"].__setitem__(0, 999), "an attempt names no episode"),
    "a row of nobody": ("evaluation", lambda h: renamed(h, "nobody"), "contradicts its episodes"),
    "a column more": ("evaluation", put("episodes/more", np.zeros(8)), "are not those that it names"),
    "splits without an episode": ("demos", put("mask/failed", np.array([b"demo_000000"])), "splits do not cover"),
    "total": ("demos", lambda h: h["data"].attrs.__setitem__("total", 99), "'total' says 99"),
    "an object that is not there": (
        "demos",
        lambda h: h["data/demo_000000/outcome/slot"].__setitem__(0, 77),
        "names an object that is not there",
    ),
}


@pytest.mark.parametrize("name", HARMED)
def test_sealed_by_whoever_means_harm(originals, tmp_path, name):
    kind, change, said = HARMED[name]
    path = tmp_path / "x.h5"
    path.write_bytes((originals / f"{kind}.h5").read_bytes())
    harm(change)(path)
    refused(path, kind, said)


@pytest.mark.parametrize("training", ['{"seed": "x"}', '{"feature_dim": 1000000000000}', '{"feature_dim": -3}'])
def test_a_policy_that_no_method_can_be_made_of(policy, training):
    harm(attribute("training", training))(policy)
    with pytest.raises(ArtifactError, match="says that it"):
        read_policy(policy)


@pytest.mark.parametrize("length", [0, 2**64 - 16, 2**63, 5000])
def test_a_heap_that_leads_nowhere_is_refused_before_hdf5_walks_through_it(originals, tmp_path, length):
    data = bytearray(subjects.unsealed(originals / "policy.h5"))
    path, place = tmp_path / "x.h5", data.index(b"GCOL\x01")
    index = int.from_bytes(data[place + 16 : place + 18], "little")
    data[place + 16 : place + 18] = (0 if length == 0 else index).to_bytes(2, "little")
    data[place + 24 : place + 32] = length.to_bytes(8, "little")
    path.write_bytes(data)
    refused(path, "policy", "a heap of texts has no end")
    with pytest.raises(ArtifactError, match="so it is not replaced"):
        core.check_replaceable(path)


def test_a_policy_without_one_of_its_weights_is_not_played(tmp_path):
    path = tmp_path / "policy.h5"
    path.write_bytes(shipped("sr_plus").read_bytes())
    with h5py.File(path, "r+") as handle:
        del handle["weights"][min(handle["weights"])]
    seal(path)
    assert info.run(path)["problems"]
    stored = read_policy(path)
    spec = spec_of(stored.method)
    with pytest.raises(ArtifactError):
        load(spec.build)(stored_section(spec.section, stored.weights), stored.weights, None, "cpu", 0)


def test_files_of_an_earlier_version_are_read_and_told_of_once(policy, caplog):
    old = policy.with_name("old.h5")
    old.write_bytes(subjects.unsealed(policy))
    for _ in range(2):
        assert subjects.fingerprint(load_policy(old)) == subjects.fingerprint(load_policy(policy))
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "old.h5: is of an earlier version and has no digest" in caplog.text


def test_shipped_policies_are_known_and_told_of_by_nobody(tmp_path, caplog):
    names = [name for name in specs() if is_shipped(name)]
    assert names
    for name in names:
        load_policy(shipped(name))
        copy = tmp_path / f"{name}.h5"
        copy.write_bytes(shipped(name).read_bytes())
        load_policy(copy)
        assert core.is_sealed(shipped(name)) and core.is_sealed(copy)
    assert not caplog.records


def test_a_pipe_and_a_folder_are_not_opened(tmp_path):
    import os

    os.mkfifo(tmp_path / "x.h5")
    with pytest.raises(ArtifactError, match="is not a regular file"):
        load_policy(tmp_path / "x.h5")
