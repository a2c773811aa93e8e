"""Outputs that are folders: whole or not there, as files are."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from srcli.artifacts.core import atomic_folder
from srcli.artifacts.marks import is_marked, mark
from srcli.errors import ArtifactError, ConfigError, MissingAssetError


def library(name: str, extra: str, what: str) -> Any:
    """A library of an extra.

    Raises:
        MissingAssetError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingAssetError(f"{what} needs the package {name.partition('.')[0]}", f"pip install 'srcli[{extra}]'") from error


def check_free(out: Path, force: bool) -> None:
    """Refuse to write over something without ``force``, and over what others have written in any case.

    Raises:
        ArtifactError: there is something that this package has not written.
        ConfigError: there is something.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not force:
        raise ConfigError(f"{out}: is there already", "give another --out, or replace it with --force")
    if not (is_marked(out) if out.is_dir() else _written_file(out)):
        raise ArtifactError(f"{out}: is no export of srcli, so it is not replaced", "move it away, or give another --out")


def _written_file(out: Path) -> bool:
    with out.open("rb") as stream:
        head = stream.read(1 << 16)
    return not head or (head.startswith((b"ply\n", b"RRF2")) and b"srcli" in head)


@contextmanager
def whole_folder(out: Path, force: bool) -> Iterator[Path]:
    """Give a temporary folder beside ``out``; when it is whole it is marked as ours and moved there.

    Raises:
        ArtifactError: there is something that this package has not written.
        ConfigError: there is something already, and no ``force``.
        DiskError: the disk is full or the place is not writable.
    """
    check_free(out, force)
    with atomic_folder(out) as temporary:
        yield temporary
        mark(temporary, "an export")
