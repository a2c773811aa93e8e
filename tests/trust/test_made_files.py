"""What pre-training and exports write: held while it is made, with digests, and never in the place of somebody else's file."""

import json

import numpy as np
import pytest

from srcli.artifacts.core import output_lock
from srcli.errors import ArtifactError, BusyError, ConfigError
from srcli.exporting.folders import check_free, whole_folder
from srcli.exporting.ply import write_ply
from srcli.pretraining import cache
from srcli.pretraining.encoder.concepts import Facts
from srcli.pretraining.encoder.store import Shard, is_whole, read_shard, shard_path, write_shard


@pytest.fixture()
def arrays(tmp_path):
    path = tmp_path / "000000.npz"
    cache.store_arrays(path, {"held": np.arange(400), "points": np.ones((5, 3))})
    return path


def load(path):
    return cache.load_arrays(path, ("held", "points"), "outcomes", "srcli pretrain grasp")


def test_arrays_of_a_cache_have_a_digest(arrays, caplog):
    assert cache.is_whole(arrays) and load(arrays)["held"].tolist() == list(range(400))
    whole = arrays.read_bytes()
    for position in np.linspace(0, len(whole) - 1, 40).astype(int):
        data = bytearray(whole)
        data[position] ^= 4
        arrays.write_bytes(data)
        with pytest.raises(ArtifactError):
            load(arrays)
            # A seal that is none any more leaves the file as one of an earlier version, whose arrays are whole.
            assert position >= len(whole) - 80
            raise ArtifactError("unsealed")
    arrays.write_bytes(whole[:300])
    assert not cache.is_whole(arrays) and not arrays.exists() and "it is made again" in caplog.text
    np.savez_compressed(arrays, held=np.arange(3), points=np.ones(2))
    assert cache.is_whole(arrays) and load(arrays)["held"].tolist() == [0, 1, 2]


def test_a_damaged_shard_is_rendered_again_and_that_is_said(tmp_path, caplog):
    facts = ((Facts("mug", ("mug",), ("red",), ("red",), ("cup",), ("drink",)),),) * 20
    shard = Shard(np.full((20, 3, 4, 5, 3), 7, np.uint8), np.ones((20, 3, 4, 5), np.uint8), facts)
    path = shard_path(tmp_path, 0)
    for name in ("rgb.npy", "slots.npy", "scenes.json", "digests.json"):
        write_shard(path, shard)
        assert is_whole(tmp_path, 0, 20) and read_shard(path).facts == facts
        data = bytearray((path / name).read_bytes())
        data[len(data) // 2] ^= 1
        (path / name).write_bytes(data)
        read_shard.cache_clear()
        with pytest.raises(ArtifactError, match="not a shard of rendered scenes"):
            read_shard(path)
        assert not is_whole(tmp_path, 0, 20) and not path.exists()
    assert caplog.text.count("it is rendered again") == 4
    write_shard(path, shard)
    (path / "digests.json").unlink()
    read_shard.cache_clear()
    assert is_whole(tmp_path, 0, 20) and not is_whole(tmp_path, 1, 40)


def test_weights_are_held_while_they_are_made_and_replace_their_like_alone(tmp_path):
    out = tmp_path / "w.safetensors"
    with cache.making(out, tmp_path / "a", "scenes"):
        for other, place in ((out, tmp_path / "b"), (tmp_path / "x.safetensors", tmp_path / "a")):
            with pytest.raises(BusyError), cache.making(other, place, "scenes"):
                pass
        out.write_bytes(b"weights")
    with pytest.raises(ArtifactError, match="was not made by srcli"), cache.making(out, tmp_path / "a", "scenes"):
        pass
    out.with_suffix(".json").write_text(json.dumps({"sha256": "0" * 64, "recipe": {}}))
    with cache.making(out, tmp_path / "a", "scenes"):
        pass
    assert out.read_bytes() == b"weights"
    with pytest.raises(ConfigError), cache.making(tmp_path, tmp_path / "a", "scenes"):
        pass


@pytest.mark.parametrize("text", ["", "[1]", "{", "9" * 5000, "[" * 100_000])
def test_a_damaged_record_of_a_cache(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ArtifactError, match="is damaged"):
        cache.claim(tmp_path, {"seed": 1}, "the scenes")


def test_force_replaces_exports_of_srcli_alone(tmp_path):
    cloud, theirs = tmp_path / "a.ply", tmp_path / "b.ply"
    write_ply(cloud, np.zeros((2, 3), np.float32), np.zeros((2, 3), np.uint8))
    theirs.write_text("ply\nformat ascii 1.0\nelement vertex 0\nend_header\n")
    with pytest.raises(ConfigError, match="is there already"):
        check_free(cloud, False)
    check_free(cloud, True)
    with pytest.raises(ArtifactError, match="is no export of srcli"):
        check_free(theirs, True)
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.txt").write_text("five years of work")
    with pytest.raises(ArtifactError, match="is no export of srcli"), whole_folder(mine, True):
        pass
    assert (mine / "chapter.txt").read_text() == "five years of work"
    arrays, empty, linked = (tmp_path / name for name in ("arrays", "empty", "linked"))
    (arrays / "measured").mkdir(parents=True)
    np.save(arrays / "measured" / "0000.npy", np.zeros(3))
    (empty / "a" / "b").mkdir(parents=True)
    linked.mkdir()
    (linked / "srcli.json").symlink_to(cloud)
    for theirs in (arrays, empty, linked):
        with pytest.raises(ArtifactError, match="is no export of srcli"), whole_folder(theirs, True):
            pass
    assert (arrays / "measured" / "0000.npy").is_file() and (empty / "a" / "b").is_dir()
    for number in range(2):
        with whole_folder(tmp_path / "rows", number > 0) as folder:
            (folder / "0-1-2").mkdir()
            (folder / "0-1-2" / "0000.npy").write_bytes(bytes([number]))
    assert (tmp_path / "rows" / "0-1-2" / "0000.npy").read_bytes() == b"\1"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("a.ply", "arrays", "b.ply", "empty", "linked", "rows", "thesis")
    ]


def test_a_link_is_no_folder_to_replace(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(ConfigError, match="is a link"), whole_folder(tmp_path / "link", True):
        pass


def test_a_replay_holds_its_folder(tmp_path):
    from srcli.params import Params
    from srcli.params.loading import override
    from srcli.stages import replay

    params = override(Params(), {"evaluate.methods": ["random"]})
    with output_lock(tmp_path / "replay.json"), pytest.raises(BusyError):
        replay.run(params, (), tmp_path, ["0-4-1000007-train"])
