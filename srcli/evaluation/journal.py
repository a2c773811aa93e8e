"""Finished episodes of one method, one JSON line each, so that an evaluation may be killed at any moment and go on.

Each line ends in the digest of what stands before it. A line that is damaged is left out, and its episode is played again. Lines
of earlier versions have none; they are read as long as no line before them has one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from srcli.artifacts.core import atomic_write, disk_error, parse_json
from srcli.artifacts.digests import config_digest, to_json
from srcli.artifacts.meaning import meaning_digest
from srcli.errors import ArtifactError

_log = logging.getLogger(__name__)
_DIGITS = 32
"""Hexadecimal digits of a line's digest."""
_SEALED = re.compile(rb'(\{.*),"sha256":"([0-9a-f]{%d})"\}\n' % _DIGITS)

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
                found, _, damaged = _read(path)
                self.records |= found
                if damaged:
                    _log.warning("%s: %d of its lines damaged; they are not reused", path, damaged)
        if self.path.exists():
            own, kept, damaged = _read(self.path)
            self.records |= own
            # A line cut off by a kill, or a damaged one, is removed, so that the next one does not continue it.
            if len(kept) < self.path.stat().st_size:
                with atomic_write(self.path) as temporary:
                    temporary.write_bytes(kept)
            if damaged:
                _log.warning("%s: %d of its lines damaged; what they held is done again", self.path, damaged)

    def add(self, record: dict[str, Any]) -> None:
        """Append one record; it is on the disk when this returns.

        Raises:
            DiskError: the disk is full or the place is not writable.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                stream.write(_line(record))
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


def _line(record: Mapping[str, Any]) -> bytes:
    """A record as a line: JSON, whose last member is the digest of all before it."""
    text = to_json(record).encode()[:-1]
    return text + f',"sha256":"{_digest(text)}"}}\n'.encode()


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_DIGITS]


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], bytes, int]:
    """The records of a journal by key, the bytes of its good lines, and how many whole lines are not good.

    Raises:
        ArtifactError: it is no file that can be read.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: is no file of finished episodes", "remove it")
    records: dict[str, dict[str, Any]] = {}
    kept: list[bytes] = []
    damaged, sealed = 0, False
    with path.open("rb") as stream:
        for line in stream:
            seal = _SEALED.fullmatch(line)
            # Once lines have a digest, one without has lost it.
            record = _record(line) if seal is None and not sealed else None
            if seal is not None:
                sealed = True
                if seal[2].decode() == _digest(seal[1]):
                    record = _record(seal[1] + b"}\n")
            if record is None:
                # The last line of a run that was killed ends anywhere.
                damaged += line.endswith(b"\n")
                continue
            records[record["key"]] = record
            kept.append(line)
    return records, b"".join(kept), damaged


def _record(line: bytes) -> dict[str, Any] | None:
    """The record of a whole line, None if it holds none."""
    if not line.endswith(b"\n"):
        return None
    try:
        record = parse_json(line)
    except ValueError:
        return None
    # A digest that cannot be read is a damaged one.
    own = isinstance(record, dict) and isinstance(record.get("key"), str) and "sha256" not in record
    return record if own else None
