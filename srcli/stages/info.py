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
    if validate and found["kind"] == "policy" and not found["problems"]:
        found["problems"] = _unusable(Path(path))
    return found


def _unusable(path: Path) -> list[str]:
    """Why no policy can be made of a file that is whole, as whoever uses it would say."""
    from srcli.errors import SrcliError, UnknownNameError
    from srcli.methods.policy_file import read_policy
    from srcli.methods.registry import builder, settings, spec_of

    try:
        stored = read_policy(path)
        spec = spec_of(stored.method)
        builder(spec)(settings(spec, stored.weights.section), stored.weights, None, "cpu", 0)
    except UnknownNameError:
        return []
    except SrcliError as error:
        return [error.message]
    return []
