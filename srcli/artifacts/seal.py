"""The digest at the end of a file: whatever changes in it, structure, attributes and unused bytes included, is noticed.

A sealed file is its content followed by one line of :data:`LENGTH` bytes with the SHA-256 of all bytes before it. HDF5 reads no
further than its own end, so any HDF5 reader opens a sealed file. Files of earlier versions have no seal; those that come with
this package are known by their own digest (``shipped.json``).

A digest tells damage, not malice: whoever can write a file can seal it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from srcli.artifacts.heaps import Heaps
from srcli.errors import ArtifactError

_MAGIC = b"\nsrcli-sha256 "
LENGTH = len(_MAGIC) + 64 + 1
_SEAL = re.compile(re.escape(_MAGIC) + rb"([0-9a-f]{64})\n")
_BLOCK = 1 << 18
_LOOKED_THROUGH = 256 << 20
"""Bytes of a sealed file up to which its heaps are looked for."""
_SETTLED = 100_000_000
"""Nanoseconds after which a file's time tells that it has changed: clocks of file systems are coarse."""

State = Literal["sealed", "shipped", "open"]


@dataclass(frozen=True, slots=True)
class Vouched:
    """What is known of a file's bytes.

    Attributes:
        state: sealed, known as shipped, or open: of an earlier version, with nothing to check it by.
        digest: SHA-256 of all bytes of the file.
    """

    state: State
    digest: str


# By what the system says of a file (device, inode, length, times): a file is read once for its digest in each process.
_known: dict[tuple[int, ...], Vouched] = {}


def identity(path: Path | str) -> tuple[int, ...]:
    """What tells one state of a file from another.

    Raises:
        OSError: it cannot be asked.
    """
    found = os.stat(path)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def vouched_for() -> dict[tuple[int, ...], Vouched]:
    """What this process knows of files, by their :func:`identity`."""
    return _known


def has_seal(path: Path) -> bool:
    """Whether a file ends in the line of a seal, right or not: then this package has written it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        stream.seek(max(identity(path)[2] - LENGTH, 0))
        return _SEAL.fullmatch(stream.read()) is not None


def vouch(path: Path) -> Vouched:
    """Read a file, compare it with its seal, and look at what HDF5 would not come back from.

    Raises:
        ArtifactError: it is not what was written, or a heap in it has no end.
        OSError: it cannot be read.
    """
    before = identity(path)
    if before in _known:
        return _known[before]
    size = before[2]
    content, heaps, last = hashlib.sha256(), Heaps(), b""
    with path.open("rb") as stream:
        left = max(size - LENGTH, 0)
        stream.seek(left)
        # Looking for heaps takes as long as the digest: a large file is taken at the word of its seal.
        looked = size <= _LOOKED_THROUGH or _SEAL.fullmatch(stream.read()) is None
        stream.seek(0)
        while left > 0 and (block := stream.read(min(_BLOCK, left))):
            content.update(block)
            if looked:
                heaps.add(block)
            left -= len(block)
        last = stream.read()
    whole = content.copy()
    whole.update(last)
    found = _judged(path, content.hexdigest(), last, whole.hexdigest())
    heaps.check(path)
    if time.time_ns() - max(before[3], before[4]) > _SETTLED and identity(path) == before:
        _known[before] = found
    return found


def known_digest(path: Path | str) -> str:
    """SHA-256 of a file that this process has vouched for; empty where it has not."""
    found = _known.get(identity(path))
    return "" if found is None else found.digest


def _judged(path: Path, content: str, last: bytes, whole: str) -> Vouched:
    seal = _SEAL.fullmatch(last)
    if seal is not None:
        if seal[1].decode() != content:
            raise ArtifactError(
                f"{path}: is damaged: its content is not what was written (its digest differs)",
                "copy it again from its source, or make it anew",
            )
        return Vouched("sealed", whole)
    if whole in _shipped():
        return Vouched("shipped", whole)
    if path.resolve().is_relative_to(Path(str(files("srcli"))).resolve()):
        raise ArtifactError(f"{path}: is damaged: it is not what this package ships", "install srcli again")
    return Vouched("open", whole)


@lru_cache(maxsize=1)
def _shipped() -> frozenset[str]:
    """SHA-256 of the files that come with this package and were made before files were sealed."""
    known: dict[str, str] = json.loads((files("srcli") / "artifacts" / "shipped.json").read_text("utf-8"))
    return frozenset(known.values())


def seal(path: Path) -> None:
    """Append the digest of a file to it.

    Raises:
        OSError: the disk is full or the file not writable.
    """
    digest = hashlib.sha256()
    with path.open("rb+") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
        stream.seek(0, os.SEEK_END)
        stream.write(_MAGIC + digest.hexdigest().encode() + b"\n")
