"""The cache of rendered scenes: one folder per shard of scenes, plain arrays that are memory-mapped.

``rgb.npy`` (S, 3, H, W, 3) uint8 and ``slots.npy`` (S, 3, H, W) uint8 with slot + 1, 0 for the background, of S scenes;
``scenes.json`` holds, per scene, the facts of every slot; ``digests.json`` the SHA-256 of these files, compared when a process
first reads the shard. A shard appears under its name only when it is complete.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from srcli.artifacts.core import atomic_folder, parse_json
from srcli.artifacts.digests import file_digest
from srcli.errors import ArtifactError
from srcli.pretraining.encoder.concepts import Facts
from srcli.types import U8

SCENES_PER_SHARD = 20
VIEWS = 3
_RGB, _SLOTS, _SCENES, _DIGESTS = "rgb.npy", "slots.npy", "scenes.json", "digests.json"
_log = logging.getLogger(__name__)


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
    # Fewer scenes of an earlier run may be in its place.
    read_shard.cache_clear()
    with atomic_folder(path) as temporary:
        np.save(temporary / _RGB, shard.rgb)
        np.save(temporary / _SLOTS, shard.slots)
        text = json.dumps([[asdict(f) for f in scene] for scene in shard.facts])
        (temporary / _SCENES).write_text(text, encoding="utf-8")
        digests = {name: file_digest(temporary / name) for name in (_RGB, _SLOTS, _SCENES)}
        (temporary / _DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


@lru_cache(maxsize=4096)
def read_shard(path: Path) -> Shard:
    """A shard with memory-mapped arrays.

    Raises:
        ArtifactError: the folder is not a complete shard.
    """
    try:
        if (path / _DIGESTS).exists():
            digests = parse_json((path / _DIGESTS).read_bytes())
            if digests != {name: file_digest(path / name) for name in (_RGB, _SLOTS, _SCENES)}:
                raise ValueError("its content is not what was written")
        rgb = np.load(path / _RGB, mmap_mode="r")
        slots = np.load(path / _SLOTS, mmap_mode="r")
        facts = tuple(tuple(_facts(f) for f in scene) for scene in parse_json((path / _SCENES).read_bytes()))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, ArtifactError) as error:
        raise ArtifactError(
            f"not a shard of rendered scenes: {path} ({error})", "delete it; 'srcli pretrain encoder' renders it anew"
        ) from error
    return Shard(rgb, slots, facts)


def is_whole(folder: Path, index: int, scenes: int) -> bool:
    """Whether shard ``index`` is there with all that it holds of ``scenes``; a damaged one is removed, and that is said."""
    path = shard_path(folder, index)
    if not path.is_dir():
        return False
    try:
        return len(read_shard(path).rgb) >= min(SCENES_PER_SHARD, scenes - index * SCENES_PER_SHARD)
    except ArtifactError as error:
        _log.warning("%s; it is rendered again", error.message)
        shutil.rmtree(path)
        return False


def _facts(stored: dict[str, Any]) -> Facts:
    words = {k: tuple(v) for k, v in stored.items() if k != "name"}
    return Facts(name=str(stored["name"]), **words)
