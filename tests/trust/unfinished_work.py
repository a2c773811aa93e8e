"""What is damaged of work that is not finished: journals, checkpoints, parts, outcomes, shards."""

from __future__ import annotations

import shutil
from pathlib import Path

import fake_episodes as fake
import numpy as np
from damage import change_bytes
from subject import Subject, fingerprint

_RECORDS = [
    {"key": f"k{i}", "success": i % 2 == 0, "attempts": [{"reason": "slipped", "slot": i}], "said": "Stück"} for i in range(6)
]


def _journal(folder: Path) -> bytes:
    from srcli.evaluation.journal import Journal

    made = Journal(folder, "m", {"a": 1})
    for record in _RECORDS:
        made.add(record)
    return made.path.read_bytes()


def _read_journal(path: Path) -> str:
    """What is left are records as they were: whatever is missing is played again."""
    from srcli.evaluation.journal import Journal

    place = Journal(path.parent / f"{path.stem}-episodes", "m", {"a": 1}).path
    place.parent.mkdir(exist_ok=True)
    shutil.copy(path, place)
    try:
        kept = Journal(place.parent, "m", {"a": 1}).records
    finally:
        shutil.rmtree(place.parent)
    whole = {str(record["key"]): record for record in _RECORDS}
    return "as they were" if all(whole.get(key) == record for key, record in kept.items()) else fingerprint(kept)


def _checkpoint(folder: Path) -> bytes:
    import torch

    from srcli.learning.checkpoint import State, save_checkpoint

    module = torch.nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(2, 30)).sum().backward()
    optimizer.step()
    path = folder / "x.checkpoint"
    save_checkpoint(path, {"a": 1}, module, [optimizer], State(4, {"update": [1.0], "train_loss": [2.0]}))
    return path.read_bytes()


def _read_checkpoint(path: Path) -> str:
    """A damaged one is told of and begun anew, which counts as refused."""
    from srcli.errors import ArtifactError
    from srcli.learning.checkpoint import read_checkpoint

    stored = read_checkpoint(path)
    if stored is None:
        raise ArtifactError("begun anew")
    tensors = {name: value.numpy() for name, value in {**stored.weights, **stored.optimizers}.items()}
    return fingerprint([stored.identity, tensors, stored.state.update, stored.state.curves])


_PART = {"task": "pick"}


def _part(folder: Path) -> bytes:
    from srcli.artifacts.demos import write_part

    path = folder / "x.part"
    write_part(path, fake.episode(None, "pick", (0, 1, 1)), 0, _PART)
    return path.read_bytes()


def _read_part(path: Path) -> str:
    """As `collect` does: a damaged part is removed and told of, which counts as refused; else what it gives to the whole."""
    from srcli.artifacts.demos import DemoDataset, merge_parts
    from srcli.artifacts.pieces import Pieces
    from srcli.errors import ArtifactError

    pieces = Pieces(path.with_suffix(".h5"), _PART)
    pieces.folder.mkdir()
    try:
        shutil.copy(path, pieces.path(0))
        if 0 not in pieces.finished():
            raise ArtifactError("made again")
        merge_parts(pieces.output, [pieces.path(0)], _PART, 3)
        return fingerprint(DemoDataset(pieces.output).episode(0))
    finally:
        pieces.remove()
        pieces.output.unlink(missing_ok=True)


def _outcomes(folder: Path) -> bytes:
    from srcli.pretraining.cache import store_arrays

    rng = np.random.default_rng(0)
    path = folder / "x.npz"
    store_arrays(path, {"points": rng.normal(size=(5, 8, 3)).astype(np.float32), "held": np.array([True, False] * 3)})
    return path.read_bytes()


def _read_outcomes(path: Path) -> str:
    """A damaged file is removed and told of, which counts as refused."""
    from srcli.errors import ArtifactError
    from srcli.pretraining.cache import is_whole, load_arrays

    if not is_whole(path):
        raise ArtifactError("made again")
    return fingerprint(load_arrays(path, ("points", "held"), "outcomes", "srcli pretrain grasp"))


def _shard(folder: Path) -> Subject:
    from srcli.errors import ArtifactError
    from srcli.pretraining.encoder.concepts import Facts
    from srcli.pretraining.encoder.store import Shard, is_whole, read_shard, shard_path, write_shard

    rng = np.random.default_rng(0)
    facts = (Facts("mug", ("mug",), ("red",), ("red", "round"), ("cup",), ("drink",)),)
    made = Shard(rng.integers(0, 255, (2, 3, 4, 5, 3)).astype(np.uint8), np.ones((2, 3, 4, 5), np.uint8), (facts, facts))
    whole = shard_path(folder / "shards", 0)
    write_shard(whole, made)
    names = sorted(file.name for file in whole.iterdir())
    # All files in a row are damaged as one.
    sizes = [(whole / name).stat().st_size for name in names]

    def read(path: Path) -> str:
        data, place = path.read_bytes(), path.parent / f"{path.stem}-shard"
        shard_path(place, 0).mkdir(parents=True)
        try:
            for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
                start = sum(sizes[:number])
                (shard_path(place, 0) / name).write_bytes(data[start : start + size if name != names[-1] else None])
            read_shard.cache_clear()
            if not is_whole(place, 0, 2):
                raise ArtifactError("rendered again")
            found = read_shard(shard_path(place, 0))
            return fingerprint([np.array(found.rgb), np.array(found.slots), [list(scene) for scene in found.facts]])
        finally:
            shutil.rmtree(place)

    return Subject("shard", b"".join((whole / name).read_bytes() for name in names), ".shard", read, change_bytes)


def unfinished(folder: Path) -> list[Subject]:
    return [
        Subject("journal", _journal(folder), ".jsonl", _read_journal, change_bytes),
        Subject("checkpoint", _checkpoint(folder), ".checkpoint", _read_checkpoint, change_bytes),
        Subject("part", _part(folder), ".part", _read_part, change_bytes),
        Subject("outcomes", _outcomes(folder), ".npz", _read_outcomes, change_bytes),
        _shard(folder),
    ]
