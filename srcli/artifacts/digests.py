"""What says whether content is the same: canonical JSON, digests of configurations, files and code, and what tells them apart."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from srcli.artifacts.seal import known_digest
from srcli.errors import ArtifactError


def to_json(value: object) -> str:
    """Compact JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        raise TypeError("a path does not belong into an artifact")
    raise TypeError(f"{type(value).__name__} does not belong into an artifact")


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it comes back from a file (tuples become lists)."""
    result: dict[str, Any] = json.loads(to_json(config))
    return result


def config_digest(config: Mapping[str, Any]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of the canonical JSON of a configuration."""
    return hashlib.sha256(to_json(config).encode()).hexdigest()[:12]


def differing_keys(recorded: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys in which two configurations differ, as ``key (recorded -> wanted)``, sorted."""
    out: list[str] = []
    for key in sorted(set(recorded) | set(wanted)):
        a, b = recorded.get(key, "absent"), wanted.get(key, "absent")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            out += differing_keys(a, b, f"{prefix}{key}.")
        elif to_json(a) != to_json(b):
            out.append(f"{prefix}{key} ({_short(a)} -> {_short(b)})")
    return out


def _short(value: object) -> str:
    text = to_json(value)
    return text if len(text) <= 40 else text[:37] + "..."


def encoder_label(identity: Mapping[str, Any]) -> str:
    """An encoder's recorded identity for messages: name and the first digits of its weights' sha256."""
    return f"{identity.get('name', '?')} {str(identity.get('sha256', '?'))[:12]}"


def file_digest(path: Path | str) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        ArtifactError: the file is missing.
    """
    digest = hashlib.sha256()
    try:
        if known := known_digest(path):
            return known
        with Path(path).open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file", "check the path") from None
    return digest.hexdigest()


def content_digest(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder with their names; empty where there is neither."""
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        return ""
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{file_digest(file)}\n".encode())
    return digest.hexdigest()


def code_origin(thing: object) -> str:
    """SHA-256 of the source file that a class or function of another package comes from; empty for this package's own."""
    module = sys.modules.get(getattr(thing, "__module__", ""))
    file = getattr(module, "__file__", None)
    if module is None or file is None or module.__name__.partition(".")[0] == "srcli":
        return ""
    return content_digest(Path(file))
