"""What says of a folder that this package has written it: only such a folder is replaced."""

from __future__ import annotations

import json
from pathlib import Path

MARK = "srcli.json"
"""Name of the file that says so."""

_PLACES = (Path(MARK), Path("meta") / MARK)


def is_marked(folder: Path) -> bool:
    """Whether this package has written a folder."""
    return any((folder / place).is_file() and not (folder / place).is_symlink() for place in _PLACES)


def mark(folder: Path, what: str) -> None:
    """Say of a folder that this package has written it, if nothing in it says so.

    Args:
        what: it holds, for people.
    """
    if not is_marked(folder):
        (folder / MARK).write_text(json.dumps({"written_by": "srcli", "what": what}) + "\n", encoding="utf-8")
