"""What an HDF5 file may consist of: plain arrays that lie in it, under links that lead down; seen before it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from srcli.errors import ArtifactError

_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})
_RATIO = 2048
"""Declared bytes of a dataset to those that it takes: gzip reaches 1032, and padding is not stored."""
_FREE = 64 << 20
"""Bytes that a dataset may declare whatever it takes."""
_DEEPEST = 8
_KINDS = "biufS"


def check_structure(handle: h5py.File, path: Path) -> None:
    """Refuse what this package never writes.

    Raises:
        ArtifactError: data outside of the file, links that are not plain or form a loop, filters that a reader might lack, types
            other than numbers and fixed text, or sizes that the file cannot hold.
    """
    size = path.stat().st_size
    declared = [0]
    seen: set[int] = set()
    _group(handle.id, "", path, size, declared, seen, 0)
    if declared[0] > 4 * _FREE + _RATIO * size:
        _refuse(path, "/", "declares more than the file can hold")


def _refuse(path: Path, name: str, what: str) -> None:
    raise ArtifactError(f"{path}: '{name[:120]}' {what}", "srcli writes no such file; do not use it")


def _group(group: Any, name: str, path: Path, size: int, declared: list[int], seen: set[int], depth: int) -> None:
    if depth > _DEEPEST:
        _refuse(path, name, f"lies more than {_DEEPEST} levels deep")
    for key in group:
        below = f"{name}/{key.decode('utf-8', 'replace')}"
        if group.links.get_info(key).type != h5py.h5l.TYPE_HARD:
            _refuse(path, below, "is a link to somewhere else")
        thing = h5py.h5o.open(group, key)
        about = h5py.h5o.get_info(thing)
        if about.addr in seen:
            _refuse(path, below, "is one thing under two names")
        seen.add(about.addr)
        if isinstance(thing, h5py.h5g.GroupID):
            _group(thing, below, path, size, declared, seen, depth + 1)
        elif isinstance(thing, h5py.h5d.DatasetID):
            _dataset(thing, below, path, size, declared)
        else:
            _refuse(path, below, "is neither a group nor an array")


def _dataset(dataset: Any, name: str, path: Path, size: int, declared: list[int]) -> None:
    made = dataset.get_create_plist()
    layout = made.get_layout()
    if layout == h5py.h5d.VIRTUAL and not _of_this_file(dataset, made):
        _refuse(path, name, "is put together from other files")
    if made.get_external_count():
        _refuse(path, name, "lies in another file")
    if any(made.get_filter(number)[0] not in _FILTERS for number in range(made.get_nfilters())):
        _refuse(path, name, "needs a filter that srcli does not use")
    kind = dataset.dtype
    if kind.kind not in _KINDS or kind.shape:
        _refuse(path, name, "holds neither numbers nor fixed text")
    wanted = kind.itemsize * int(np.prod(dataset.shape, dtype=object))
    stored = dataset.get_storage_size()
    if layout == h5py.h5d.CONTIGUOUS:
        # A contiguous array without a place was never written; h5py gives an array without elements none.
        place = dataset.get_offset()
        if wanted and (place is None or place + wanted > size):
            _refuse(path, name, "declares more than the file holds")
    elif layout == h5py.h5d.VIRTUAL and wanted > max(_FREE, _RATIO * size):
        _refuse(path, name, "declares more than the file can hold")
    elif layout == h5py.h5d.CHUNKED:
        if stored > size or wanted > max(_FREE, _RATIO * stored):
            _refuse(path, name, "declares more than the file can hold")
        if wanted > _RATIO * stored:
            declared[0] += wanted


def _of_this_file(dataset: Any, made: Any) -> bool:
    """Whether a virtual array shows parts of plain arrays of its own file alone, as the views of single cameras do."""
    file = h5py.h5i.get_file_id(dataset)
    for number in range(made.get_virtual_count()):
        if made.get_virtual_filename(number) != ".":
            return False
        source = made.get_virtual_dsetname(number).encode()
        if source not in file or h5py.h5d.open(file, source).get_create_plist().get_layout() == h5py.h5d.VIRTUAL:
            return False
    return True
