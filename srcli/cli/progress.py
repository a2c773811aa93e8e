"""Progress on stderr: a bar on a terminal, elsewhere one line every few percent, always with the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import typer

from srcli.cli.output import reserved_stdout

PARTS = 20


class Progress(Protocol):
    """What a stage reports to: ``done`` of ``total`` units are finished."""

    def __call__(self, done: int, total: int, message: str = "") -> None: ...


@contextmanager
def progress(name: str) -> Iterator[Progress]:
    """A :class:`Progress` that shows itself on stderr under ``name``; stdout is reserved for results meanwhile."""
    with reserved_stdout(), _shown(name) as report:
        yield report


@contextmanager
def _shown(name: str) -> Iterator[Progress]:
    if not sys.stderr.isatty():
        yield _Lines(name)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[message]}"),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(name, total=None, message="")

        def report(done: int, total: int, message: str = "") -> None:
            bars.update(task, completed=done, total=total, message=message)

        yield report


class _Lines:
    """One line at the start, at every 5 percent and at the end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._start = time.monotonic()
        self._first: int | None = None
        self._shown = -1
        self._total = -1

    def __call__(self, done: int, total: int, message: str = "") -> None:
        if self._first is None or total != self._total or done < self._first:
            # What an earlier run left counts as done, but says nothing of the pace.
            self._first, self._start, self._shown, self._total = done, time.monotonic(), -1, total
        part = done * PARTS // total if total > 0 else 0
        if part <= self._shown:
            return
        self._shown = part
        elapsed = time.monotonic() - self._start
        fresh = done - self._first
        left = f"ETA {_clock(elapsed / fresh * (total - done))}" if fresh > 0 else "ETA -"
        percent = f"{100 * done // total:3d}%" if total > 0 else ""
        tail = f"  {message}" if message else ""
        typer.echo(f"{self._name}  {done}/{total}  {percent}  {_clock(elapsed)} elapsed  {left}{tail}", err=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
