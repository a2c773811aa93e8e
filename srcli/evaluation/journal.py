"""Finished episodes of one method, one JSON line each, so that an evaluation may be killed at any moment and go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srcli.artifacts.core import config_digest, disk_error, to_json


class Journal:
    """An append-only file of finished episodes.

    Its name carries the digest of the configuration, so that episodes of one configuration never serve another.

    Args:
        folder: where journals are kept.
        name: of the method.
        config: everything that the episodes depend on, their number excluded.
    """

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self.path = folder / f"{name}-{config_digest(config)}.jsonl"
        self.records: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            whole = 0
            with self.path.open("rb") as stream:
                for line in stream:
                    if not line.endswith(b"\n"):
                        break
                    try:
                        record = json.loads(line)
                    except ValueError:
                        break
                    self.records[record["key"]] = record
                    whole += len(line)
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
