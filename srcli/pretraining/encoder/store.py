"""The cache of rendered scenes: one folder per shard of scenes, plain arrays that are memory-mapped.

``rgb.npy`` (S, 3, H, W, 3) uint8 and ``slots.npy`` (S, 3, H, W) uint8 with slot + 1, 0 for the background, of S scenes;
``scenes.json`` holds, per scene, the facts of every slot. A shard appears under its name only when it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from srcli.errors import ArtifactError
from srcli.pretraining.encoder.concepts import Facts
from srcli.types import U8

SCENES_PER_SHARD = 20
VIEWS = 3


@dataclass(frozen=True)
class Shard:
    """Some scenes.

    Attributes:
        rgb: (S, 3, H, W, 3) uint8.
        slots: (S, 3, H, W) uint8, slot + 1, 0 on nothing.
        facts: per scene, the facts of each slot.
    """

    rgb: U8
    slots: U8
    facts: tuple[tuple[Facts, ...], ...]


def shard_path(folder: Path, index: int) -> Path:
    """Where shard ``index`` is, or will be."""
    return folder / f"shard-{index:05d}"


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard completely, then give it its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    # Fewer scenes of an earlier run may be in its place.
    read_shard.cache_clear()
    np.save(temporary / "rgb.npy", shard.rgb)
    np.save(temporary / "slots.npy", shard.slots)
    text = json.dumps([[asdict(f) for f in scene] for scene in shard.facts])
    (temporary / "scenes.json").write_text(text)
    shutil.rmtree(path, ignore_errors=True)
    os.replace(temporary, path)


@lru_cache(maxsize=4096)
def read_shard(path: Path) -> Shard:
    """A shard with memory-mapped arrays.

    Raises:
        ArtifactError: the folder is not a complete shard.
    """
    try:
        rgb = np.load(path / "rgb.npy", mmap_mode="r")
        slots = np.load(path / "slots.npy", mmap_mode="r")
        scenes = json.loads((path / "scenes.json").read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"not a shard of rendered scenes: {path} ({error})", "delete it; 'srcli pretrain encoder' renders it anew"
        ) from error
    facts = tuple(tuple(_facts(f) for f in scene) for scene in scenes)
    return Shard(rgb, slots, facts)


def _facts(stored: dict[str, Any]) -> Facts:
    words = {k: tuple(v) for k, v in stored.items() if k != "name"}
    return Facts(name=str(stored["name"]), **words)


def complete_shards(folder: Path, wanted: int) -> int:
    """How many of the first ``wanted`` shards exist without a gap."""
    count = 0
    while count < wanted and shard_path(folder, count).is_dir():
        count += 1
    return count
