"""Digests of code that change with what it does, not with how it is written or explained."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from srcli.artifacts.digests import file_digest


def meaning(source: str) -> str:
    """The normal form of a Python module: its syntax tree as text, without what a reader alone needs.

    Comments, layout, quotes and redundant brackets are not part of the tree; left out are statements that are a string alone
    (docstrings) and arguments named ``description``, which explain parameters. Fields that are empty are not written, so that a
    version of Python which knows more fields gives the same text.

    Raises:
        SyntaxError: not Python.
    """
    return "".join(_written(ast.parse(source)))


def _written(node: object) -> Iterator[str]:
    if isinstance(node, ast.AST):
        yield f"{type(node).__name__}("
        for name, value in ast.iter_fields(node):
            # The kind of a constant tells u"" from "", which are equal.
            if value is None or value == [] or (isinstance(node, ast.Constant) and name == "kind"):
                continue
            yield f"{name}="
            yield from _constant(value) if isinstance(node, ast.Constant) else _written(value)
            yield ";"
        # A constant None has no other field: it must not read like an empty one.
        yield "None)" if isinstance(node, ast.Constant) and node.value is None else ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            if not _is_remark(item):
                yield from _written(item)
                yield ","
        yield "]"
    else:
        yield repr(node)


def _constant(value: object) -> Iterator[str]:
    yield f"{type(value).__name__}:{value!r}"


def _is_remark(node: object) -> bool:
    """A string alone, or the description of a parameter."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.keyword) and node.arg == "description"


@lru_cache(maxsize=1024)
def _meaning_digest(source: str) -> str:
    return hashlib.sha256(meaning(source).encode()).hexdigest()


def meaning_digest(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 of files with their names: of Python files the :func:`meaning`, of all others the bytes, as of what is not Python
    for all its name.

    Args:
        paths: files, and folders that stand for all files below them; caches of Python are left out.
        root: what the names are relative to.

    Raises:
        ArtifactError: a file is missing.
    """
    digest = hashlib.sha256()
    found = {file for path in paths for file in (path.rglob("*") if path.is_dir() else (path,)) if not file.is_dir()}
    for file in sorted(found):
        if "__pycache__" in file.parts:
            continue
        content = _content(file) if file.suffix == ".py" and file.is_file() else file_digest(file)
        digest.update(f"{file.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def _content(file: Path) -> str:
    try:
        return _meaning_digest(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        # A package of somebody else's may hold anything: importing it will say so, a digest has to exist before that.
        return file_digest(file)
