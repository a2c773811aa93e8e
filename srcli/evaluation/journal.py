"""Finished episodes of one method, one JSON line each, so that an evaluation may be killed at any moment and go on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from srcli.artifacts.core import config_digest, disk_error, to_json
from srcli.artifacts.meaning import meaning_digest
from srcli.errors import ArtifactError

PLACES = (
    "actions",
    "artifacts/policy.py",
    "evaluation/attempt.py",
    "evaluation/candidate_slots.py",
    "evaluation/casefiles.py",
    "evaluation/casewords.py",
    "evaluation/data/pick_cases.yaml",
    "evaluation/data/pick_place_cases.yaml",
    "evaluation/data/place_cases.yaml",
    "evaluation/exclusion.py",
    "evaluation/freesentences.py",
    "evaluation/methods.py",
    "evaluation/perturb.py",
    "evaluation/rollout.py",
    "evaluation/setup.py",
    "evaluation/similarity_rule.py",
    "evaluation/suites.py",
    "evaluation/worker.py",
    "evaluation/yamlcases.py",
    "language",
    "methods/base.py",
    "methods/policy_file.py",
    "methods/registry.py",
    "methods/scoring.py",
    "models",
    "objects",
    "perception",
    "sim",
    "tasks",
    "seeding.py",
    "types.py",
)
"""What an episode goes through, whatever the method; the method's own folder is recorded beside it, and what a
sentence or case of a file asks for stands in its episode. Tables, figures, training and
the command line are not among them: a change there keeps finished episodes."""


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest of the package's code, data and encoder weights that every episode depends on; wording and layout do not count."""
    package = Path(str(files("srcli")))
    places = [package / name for name in PLACES]
    found = [path for place in places for path in (place.rglob("*") if place.is_dir() else (place,))]
    return meaning_digest([path for path in found if path.is_file() and path.suffix not in (".pyc", ".h5")], package)


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
        self.path = folder / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name)}-{digest}.jsonl"
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
