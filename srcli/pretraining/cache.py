"""What the commands that make models share: how they tell of their progress, and whose cache a folder is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srcli.artifacts.core import atomic_write, content_digest, differing_keys
from srcli.errors import MismatchError

Report = Callable[[str, int, int, dict[str, float]], None]
"""Called with phase, done, total and values."""


def no_report(_phase: str, _done: int, _total: int, _values: dict[str, float]) -> None:
    """Tells nobody."""


def catalogue_digest() -> str:
    """Sum of the files that say what the objects look like."""
    from importlib.resources import files

    return content_digest(Path(str(files("srcli.objects"))) / "data")


def claim(cache: Path, wanted: dict[str, Any], what: str) -> None:
    """Record in a cache what it is made with.

    Args:
        what: is in it, for the message.

    Raises:
        MismatchError: it was made with other settings; names them.
    """
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / "settings.json"
    if path.is_file():
        differing = differing_keys(json.loads(path.read_text(encoding="utf-8")), wanted)
        if differing:
            raise MismatchError(
                f"{what} in {cache} were made with other settings: {', '.join(differing)}",
                "name another --cache or delete this one",
            )
        return
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
