"""What the commands that make models share: progress, whose cache a folder is, arrays with digests, what they may replace."""

from __future__ import annotations

import json
import logging
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from srcli.artifacts.core import atomic_write, check_target, output_lock, parse_json, sidecar_path
from srcli.artifacts.digests import content_digest, differing_keys
from srcli.artifacts.seal import seal, vouch
from srcli.errors import ArtifactError, MismatchError

Report = Callable[[str, int, int, dict[str, float]], None]
"""Called with phase, done, total and values."""

_log = logging.getLogger(__name__)
_SETTINGS = "settings.json"
_RECORDED = {"sha256", "format", "recipe"}
"""What stands beside weights of this package, one of these at least."""


def no_report(_phase: str, _done: int, _total: int, _values: dict[str, float]) -> None:
    """Tells nobody."""


def catalogue_digest() -> str:
    """Sum of the files that say what the objects look like."""
    from importlib.resources import files

    return content_digest(Path(str(files("srcli.objects"))) / "data")


@contextmanager
def making(out: Path, cache: Path, what: str) -> Iterator[None]:
    """Hold the weights that are made, and the cache that they are made from.

    Args:
        what: is in the cache; names its lock.

    Raises:
        ArtifactError: somebody else's file stands at ``out``.
        BusyError: another run is writing one of them.
        ConfigError: ``out`` is a folder, a link, a device or a pipe.
        DiskError: a place is not writable.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with output_lock(cache / what), output_lock(out):
        check_weights(out)
        yield


def check_weights(out: Path) -> None:
    """Refuse to put weights in the place of a file that this package has not written: one without its record beside it.

    Raises:
        ArtifactError: somebody else's file stands there.
        ConfigError: ``out`` is a folder, a link, a device or a pipe.
    """
    check_target(out)
    if not out.exists() or not out.stat().st_size:
        return
    try:
        beside = parse_json(sidecar_path(out).read_bytes())
    except (OSError, ValueError):
        beside = None
    if not (isinstance(beside, dict) and _RECORDED & set(beside)):
        raise ArtifactError(
            f"{out}: was not made by srcli (no record beside it), so it is not replaced", "move it away, or give another output"
        )


def claim(cache: Path, wanted: dict[str, Any], what: str) -> None:
    """Record in a cache what it is made with.

    Args:
        what: is in it, for the message.

    Raises:
        ArtifactError: its record is damaged.
        MismatchError: it was made with other settings; names them.
    """
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / _SETTINGS
    if path.is_file():
        try:
            recorded = parse_json(path.read_bytes())
        except ValueError:
            recorded = None
        if not isinstance(recorded, dict):
            raise ArtifactError(
                f"{path}: is damaged: it does not say what {what} were made with", "name another --cache or delete this one"
            )
        if differing := differing_keys(recorded, wanted):
            raise MismatchError(
                f"{what} in {cache} were made with other settings: {', '.join(differing)}",
                "name another --cache or delete this one",
            )
        return
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def store_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Keep arrays in a compressed ``.npz`` file that ends in its digest.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    with atomic_write(path) as temporary:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        seal(temporary)


def load_arrays(path: Path, names: Iterable[str], what: str, command: str) -> dict[str, Any]:
    """Arrays of a file of :func:`store_arrays`, or of an earlier version, which has no digest.

    Args:
        what: it holds, and ``command`` makes it, for the message.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    hint = f"delete it; '{command}' makes it anew"
    try:
        vouch(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except ArtifactError as error:
        raise ArtifactError(error.message, hint) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactError(f"{path}: not {what} ({error})", hint) from error


def is_whole(path: Path) -> bool:
    """Whether a file of :func:`store_arrays` is there; a damaged one is removed, and that is said."""
    if not path.is_file():
        return False
    try:
        vouch(path)
        if not zipfile.is_zipfile(path):
            raise ArtifactError(f"{path}: is damaged")
    except ArtifactError as error:
        _log.warning("%s; it is made again", error.message)
        path.unlink()
        return False
    return True
