"""The heaps of text in an HDF5 file, looked at before HDF5 does: it walks through a damaged one without end, or beyond it.

Texts of any length, as most attributes are, lie in global heaps: collections of objects, one after the other, with their lengths
(HDF5 File Format Specification, version 3.0, III.E). HDF5 adds up these lengths without asking whether they lead on.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from srcli.errors import ArtifactError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_START = b"GCOL\x01"
_HEAD, _OBJECT = struct.Struct("<5s3xQ"), struct.Struct("<HHxxxxQ")
_SMALLEST = 4096
_ENDS = {0: 13, 1: 13, 2: 9, 3: 9}
"""Where a superblock of each version says how many bytes an offset and a length have."""


class Heaps:
    """Finds the heaps of a file that is read block after block."""

    def __init__(self) -> None:
        self._places: list[int] = []
        self._read, self._rest = 0, b""

    def add(self, block: bytes) -> None:
        """The next bytes of the file."""
        for part, start in ((self._rest + block[: len(_START) - 1], self._read - len(self._rest)), (block, self._read)):
            at = part.find(_START)
            while at >= 0:
                self._places.append(start + at)
                at = part.find(_START, at + 1)
        self._read += len(block)
        self._rest = (self._rest + block[1 - len(_START) :])[1 - len(_START) :]

    def check(self, path: Path) -> None:
        """Refuse a heap that HDF5 should not walk through.

        Raises:
            ArtifactError: an object in it has no length, or one that leads out of it; or heaps lie within heaps.
            OSError: the file cannot be read.
        """
        if not self._places:
            return
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(16)
            if not start.startswith(_SIGNATURE):
                return
            ends = _ENDS.get(start[8], 0)
            if start[ends : ends + 2] != b"\x08\x08":
                raise _damaged(path)
            # Heaps beside each other have no more objects than that; heaps within heaps would take the square of it.
            left = size // _OBJECT.size
            for place in self._places:
                file.seek(place)
                length = _HEAD.unpack(head)[1] if len(head := file.read(_HEAD.size)) == _HEAD.size else 0
                # The same five bytes in an array are no heap: HDF5 would not take one of such a length either.
                if not _SMALLEST <= length <= size - place:
                    continue
                walked = _walk(file, place + _HEAD.size, place + length, left)
                if walked is None:
                    raise _damaged(path)
                left -= walked


def _walk(file: BinaryIO, at: int, end: int, most: int) -> int | None:
    """Go from object to object of a heap by their heads, whatever lies between.

    Returns:
        how many there are; None where their lengths do not end where the heap does, or they are more than ``most``.
    """
    count = 0
    while at + _OBJECT.size <= end:
        file.seek(at)
        head = file.read(_OBJECT.size)
        if len(head) < _OBJECT.size or count == most:
            return None
        index, _, length = _OBJECT.unpack(head)
        # The free space, which has index 0, counts its head; others are padded to 8 bytes.
        step = length if index == 0 else _OBJECT.size + -(-length // 8) * 8
        if not 0 < step <= end - at:
            return None
        at, count = at + step, count + 1
    return count


def _damaged(path: Path) -> ArtifactError:
    return ArtifactError(f"{path}: is damaged: a heap of texts has no end", "copy it again from its source, or make it anew")
