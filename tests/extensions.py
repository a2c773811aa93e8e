"""A package of a user, installed for a test: a folder on the path with modules and the metadata of its entry points."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, package: str, modules: Mapping[str, str], points: str) -> Path:
    """Write a package with its ``.dist-info`` and put its folder on the path; both go with the test.

    Args:
        modules: source by module name.
        points: the text of its ``entry_points.txt``.
    """
    home = folder / package
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("")
    for name, text in modules.items():
        (home / f"{name}.py").write_text(text)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(folder))
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    return home
