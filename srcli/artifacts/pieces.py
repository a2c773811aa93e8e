"""Finished pieces of a long run, kept beside the output until all are there.

``<output>.parts/`` holds one small file per finished piece. Each is moved to its name only when it is whole, so that a run may be
killed at any moment; its name carries the digest of the configuration, so that a piece never serves another one.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srcli.artifacts.core import (
    Schema,
    atomic_write,
    check_replaceable,
    check_target,
    is_sealed,
    open_artifact,
    parse_json,
    read_config,
)
from srcli.artifacts.digests import canonical, config_digest, differing_keys, to_json
from srcli.errors import ArtifactError, DiskError, MismatchError

_log = logging.getLogger(__name__)
_NAME = re.compile(r"part_(\d{6,})_([0-9a-f]{12})\.h5")


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of one output under one configuration.

    Attributes:
        output: the final file.
        config: what every piece depends on; the number of pieces does not belong to it, so that a run can be extended.
    """

    output: Path
    config: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return self.output.with_name(self.output.name + ".parts")

    def path(self, index: int) -> Path:
        """Where the piece of this index stands."""
        return self.folder / f"part_{index:06d}_{config_digest(self.config)}.h5"

    def prepare(self, force: bool = False) -> None:
        """Make the folder ready: refuse the pieces of another configuration, or remove them with ``force``.

        Raises:
            MismatchError: pieces of another configuration are there; names the keys that differ.
        """
        record = self.folder / "config.json"
        if self.folder.exists():
            try:
                recorded = parse_json(record.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                recorded = None
            # A damaged record is written anew: the names of the pieces tell their configuration as well.
            other = isinstance(recorded, dict) and any(self.folder.glob("part_*.h5"))
            if other and (keys := differing_keys(recorded, canonical(self.config))):
                if not force:
                    raise MismatchError(
                        f"{self.folder}: holds unfinished work of another configuration: {', '.join(keys)}",
                        "restore that configuration to finish it, or start anew with --force",
                    )
                self.remove()
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink()
        with atomic_write(record) as temporary:
            temporary.write_text(to_json(self.config), encoding="utf-8")

    def finished(self) -> set[int]:
        """The indices whose piece is there and whole. Damaged ones are removed, and that is said."""
        digest = config_digest(self.config)
        found: set[int] = set()
        damaged: list[str] = []
        unsealed = 0
        for piece in sorted(self.folder.glob("part_*.h5")):
            match = _NAME.fullmatch(piece.name)
            if match is None or match.group(2) != digest:
                continue
            try:
                sealed = is_sealed(piece)
                with open_artifact(piece, quiet=True) as handle:
                    if differing_keys(read_config(handle), canonical(self.config)):
                        raise ArtifactError(f"{piece}: is of another configuration")
            except ArtifactError:
                damaged.append(piece.name)
                piece.unlink()
                continue
            found.add(int(match.group(1)))
            unsealed += not sealed
        if damaged:
            names = ", ".join(damaged[:3]) + (", ..." if len(damaged) > 3 else "")
            _log.warning("%s: %d damaged, made again: %s", self.folder, len(damaged), names)
        if unsealed:
            _log.warning("%s: %d are of an earlier version and have no digest", self.folder, unsealed)
        return found

    def size(self, count: int) -> int:
        """Bytes of the first ``count`` pieces together."""
        return sum(self.path(i).stat().st_size for i in range(count))

    def remove(self) -> None:
        """Remove all pieces."""
        shutil.rmtree(self.folder, ignore_errors=True)


def check_existing(recorded: Mapping[str, Any], wanted: Mapping[str, Any], output: Path, force: bool) -> bool:
    """Whether a complete output may be taken as it is.

    Returns:
        True when its recorded configuration is the wanted one; False when it differs and ``force`` allows replacing it.

    Raises:
        MismatchError: it differs; names the keys.
    """
    keys = differing_keys(recorded, canonical(wanted))
    if not keys:
        return True
    if force:
        return False
    raise MismatchError(
        f"{output}: was made with another configuration: {', '.join(keys)}",
        "restore that configuration, give another output, or replace the file with --force",
    )


def is_current(output: Path, schema: Schema, wanted: Mapping[str, Any], force: bool) -> bool:
    """Whether the output is there, complete, and made with the wanted configuration.

    With ``force`` an output that cannot be read, or is of another configuration, does not count.

    Raises:
        ArtifactError: what stands there cannot be used.
        ConfigError: it is a folder, a link, a device or a pipe, or names no file.
        MismatchError: it was made with another configuration.
    """
    check_target(output)
    if not output.exists():
        return False
    try:
        with open_artifact(output, schema) as handle:
            recorded = read_config(handle)
    except ArtifactError:
        if force:
            # What is damaged may be replaced, not what others have written.
            check_replaceable(output)
            return False
        raise
    return check_existing(recorded, wanted, output, force)


def check_space(output: Path, needed: int) -> None:
    """Refuse at once to write what does not fit on the disk.

    Raises:
        DiskError: less than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise DiskError(
            f"{output}: needs {needed / 1e6:.0f} MB, but {free / 1e6:.0f} MB are free",
            "free some space and run the same command again; finished work is kept",
        )
