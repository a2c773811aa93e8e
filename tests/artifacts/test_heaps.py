"""Heaps of texts: walked through by their heads, in time and memory that do not depend on what they claim."""

import struct
import tracemalloc

import pytest

from srcli.artifacts.heaps import Heaps
from srcli.errors import ArtifactError

START = b"\x89HDF\r\n\x1a\n" + bytes(5) + b"\x08\x08" + bytes(1)


def head(length):
    return struct.pack("<5s3xQ", b"GCOL\x01", length)


def entry(index, length):
    return struct.pack("<HHxxxxQ", index, 1, length)


def check(path, data):
    heaps = Heaps()
    for at in range(0, len(data), 1 << 16):
        heaps.add(data[at : at + (1 << 16)])
    path.write_bytes(data)
    heaps.check(path)


def test_what_lies_between_the_heads_is_not_read(tmp_path):
    size = 1 << 24
    heap = head(size) + entry(1, size - 112) + bytes(size - 112) + entry(0, 80) + bytes(64)
    assert len(heap) == size
    data = START + heap
    heaps = Heaps()
    heaps.add(data)
    (tmp_path / "x.h5").write_bytes(data)
    tracemalloc.start()
    try:
        heaps.check(tmp_path / "x.h5")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_heaps_beside_each_other_may_be_full(tmp_path):
    """As many objects as fit, none of which has a content."""
    heap = head(4096) + entry(1, 0) * 255
    check(tmp_path / "x.h5", START + heap * 20)


def test_heaps_within_heaps_are_refused_before_each_is_walked_to_its_end(tmp_path):
    """From every one of them objects lead to the end of the file."""
    count = 2048
    data = START + b"".join(head(32 * (count - i) + 16) + entry(1, 16) for i in range(count))
    # The object of each pair spans the next one's head.
    data += bytes(16)
    with pytest.raises(ArtifactError, match="a heap of texts has no end"):
        check(tmp_path / "x.h5", data)


@pytest.mark.parametrize("step", [entry(1, 0), entry(1, 8), entry(0, 16)])
def test_a_heap_that_is_cut_off_in_an_object_is_refused(tmp_path, step):
    data = START + head(4096) + step * 20 + entry(1, 5000)
    with pytest.raises(ArtifactError, match="a heap of texts has no end"):
        check(tmp_path / "x.h5", data + bytes(4096))
