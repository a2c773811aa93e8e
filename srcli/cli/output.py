"""Results go to stdout, as lines for people or as one JSON document; progress and warnings go to stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from srcli.cli.running import Plan


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Sends what native libraries print to stderr: PyBullet writes to stdout, which is for results alone."""
    from srcli.parallel.quiet import reserved

    sys.stdout.flush()
    with reserved():
        yield


def plain(value: Any) -> Any:
    """``value`` in JSON types: dataclasses become mappings, paths text, arrays lists; NaN becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value


def emit(value: Any, as_json: bool) -> None:
    """Prints a result: JSON, or aligned ``name  value`` lines with nested values indented."""
    data = plain(value)
    if as_json:
        typer.echo(json.dumps(data, indent=2))
        return
    for line in lines(data):
        typer.echo(line)


def lines(data: Any, indent: str = "") -> list[str]:
    """Readable lines of plain data."""
    if isinstance(data, Mapping):
        out = []
        width = max((len(str(key)) for key in data), default=0)
        for key, value in data.items():
            if isinstance(value, Mapping) or _is_table(value):
                out.append(f"{indent}{key}")
                out.extend(lines(value, indent + "  ") or [f"{indent}  (none)"])
            else:
                out.append(f"{indent}{key!s:<{width}}  {_cell(value)}")
        return out
    if _is_table(data):
        return [line for item in data for line in [*lines(item, indent), ""]][:-1]
    return [f"{indent}{_cell(data)}"]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_cell(item) for item in value) or "-"
    return "-" if value is None or value == "" else str(value)


def emit_plan(plan: Plan, as_json: bool) -> None:
    """Prints what a command would do."""
    if as_json:
        typer.echo(json.dumps({"dry_run": True, **plain(plan)}, indent=2))
        return
    typer.echo(f"{plan.command}: dry run, nothing is done")
    for title, entries in (("would read", plan.reads), ("would do", plan.does), ("would write", plan.writes)):
        for number, entry in enumerate(entries or ("nothing",)):
            typer.echo(f"  {title if number == 0 else '':<12}{entry}")
    for key, value in _flat(plain(plan.settings)):
        typer.echo(f"  {'':<12}{key} = {_cell(value)}")


def _flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and their values, as params.yaml and ``--set`` name them."""
    out: list[tuple[str, Any]] = []
    for key, value in data.items():
        out.extend(_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)])
    return out
