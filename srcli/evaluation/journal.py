"""Finished episodes of one method, one JSON line each, so that an evaluation may be killed at any moment and go on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from srcli.artifacts.core import config_digest, disk_error, to_json
from srcli.errors import ArtifactError

ROOMS = (
    "actions",
    "artifacts",
    "evaluation",
    "language",
    "learning",
    "methods",
    "models",
    "objects",
    "perception",
    "sim",
    "tasks",
    "seeding.py",
    "types.py",
)
"""What an episode goes through. Shipped policies are left out: the file of a policy is recorded with its episodes."""


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Sum of the package's code, data and encoder weights that an episode depends on."""
    package = Path(str(files("srcli")))
    digest = hashlib.sha256()
    for room in ROOMS:
        place = package / room
        for path in sorted(place.rglob("*")) if place.is_dir() else (place,):
            if path.is_file() and path.suffix not in (".pyc", ".h5"):
                digest.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


class Journal:
    """An append-only file of finished episodes.

    Its name carries the digest of the configuration, so that episodes of one configuration never serve another.

    Args:
        folder: where journals are kept.
        name: of the method.
        config: everything that the episodes depend on, their number excluded.
        known: journals of other runs (:func:`journals_in`), by digest of their configuration.
        serves: configurations beside ``config`` whose episodes hold all that is wanted of these.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        config: Mapping[str, Any],
        known: Mapping[str, Sequence[Path]] | None = None,
        serves: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        digest = config_digest(config)
        self.path = folder / f"{name}-{digest}.jsonl"
        self.records: dict[str, dict[str, Any]] = {}
        for other in (digest, *map(config_digest, serves)):
            for path in (known or {}).get(other, ()):
                self.records |= _read(path)[0]
        if self.path.exists():
            own, whole = _read(self.path)
            self.records |= own
            # A line cut off by a kill is removed, so that the next one does not continue it.
            if whole < self.path.stat().st_size:
                os.truncate(self.path, whole)

    def add(self, record: dict[str, Any]) -> None:
        """Append one record; it is on the disk when this returns.

        Raises:
            DiskError: the disk is full or the place is not writable.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                stream.write(to_json(record).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise disk_error(error, self.path) or error from None
        self.records[record["key"]] = record


def journals_in(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """All journals in or below the folders, by digest of their configuration.

    Raises:
        ArtifactError: a folder does not exist.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise ArtifactError(f"{folder}: no such folder, so it has no episodes to reuse", "check --reuse")
        for path in sorted(Path(folder).rglob("episodes/*.jsonl")):
            found.setdefault(path.stem.rpartition("-")[2], []).append(path)
    return found


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The records of a journal by key, and how many bytes hold whole lines."""
    records: dict[str, dict[str, Any]] = {}
    whole = 0
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
            except ValueError:
                break
            records[record["key"]] = record
            whole += len(line)
    return records, whole
