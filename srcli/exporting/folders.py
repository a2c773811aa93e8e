"""Outputs that are folders: whole or not there, as files are."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from srcli.artifacts.core import disk_error
from srcli.errors import ConfigError, MissingAssetError


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
    """Refuse to write over something without ``force``.

    Raises:
        ConfigError: there is something.
    """
    if out.exists() and not force and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{out}: is there already", "give another --out, or replace it with --force")


@contextmanager
def whole_folder(out: Path, force: bool) -> Iterator[Path]:
    """Give a temporary folder beside ``out`` and move it there when it is whole.

    Raises:
        ConfigError: there is something already, and no ``force``.
        DiskError: the disk is full or the place is not writable.
    """
    check_free(out, force)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        if out.is_dir():
            shutil.rmtree(out)
        else:
            out.unlink(missing_ok=True)
        os.replace(temporary, out)
    except OSError as error:
        raise disk_error(error, out) or error from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
