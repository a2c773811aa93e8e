"""Show and check any artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def run(path: Path | str, validate: bool = True) -> dict[str, Any]:
    """What a file is, what it holds, and what is wrong with it.

    Args:
        path: an artifact.
        validate: also read every byte of it and check its contract.

    Returns:
        Plain data: ``path``, ``kind``, ``schema``, ``schema_version``, ``srcli_version``, ``bytes``, ``config``, ``summary``
        (numbers of the kind at hand), ``contents`` (name, shape and type of each dataset, of the first episode only) and
        ``problems`` (one line each; empty when the file is good).

    Raises:
        ArtifactError: missing, truncated, foreign, of another schema version, or incomplete.
    """
    from srcli.artifacts.inspect import describe, problems

    found = describe(path)
    found["problems"] = problems(path) if validate else []
    return found
