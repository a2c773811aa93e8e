"""Something to damage, and a digest of whatever a reader makes of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Mutate = Callable[[bytes, random.Random, Path], bytes]


@dataclass(frozen=True)
class Subject:
    """Something to damage.

    Attributes:
        name: for the table.
        data: the original.
        suffix: of its name.
        read: a digest of the content that a stage would take from it.
        mutate: damages it; see :mod:`damage`.
        beside: files that lie in its folder.
    """

    name: str
    data: bytes
    suffix: str
    read: Callable[[Path], str]
    mutate: Mutate
    beside: Mapping[str, bytes] = field(default_factory=dict)


def fingerprint(value: Any) -> str:
    """A digest of plain data with arrays."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, dict):
            for key in sorted(part, key=str):
                digest.update(f"{key}=".encode("utf-8", "replace"))
                add(part[key])
        elif isinstance(part, (list, tuple)):
            digest.update(f"[{len(part)}".encode())
            for item in part:
                add(item)
        elif isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(repr(part.tolist()).encode() if part.dtype.kind == "O" else part.tobytes())
        elif hasattr(part, "__dataclass_fields__"):
            add({name: getattr(part, name) for name in part.__dataclass_fields__})
        else:
            digest.update(f"{type(part).__name__}:{part!r}".encode("utf-8", "replace"))

    add(value)
    return digest.hexdigest()
