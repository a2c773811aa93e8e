"""Names of tasks: the built-in ones, and those that installed packages announce."""

from __future__ import annotations

import difflib
from typing import Annotated

from pydantic import AfterValidator

from srcli.config.extensions import announced

BUILT_IN = ("pick", "place", "pick_place")

ENTRY_POINTS = "srcli.tasks"
"""Entry-point group of a user's own tasks."""


def task_names() -> tuple[str, ...]:
    """All known tasks, the built-in ones first."""
    return (*BUILT_IN, *(point.name for point in announced(ENTRY_POINTS) if point.name not in BUILT_IN))


def _known(name: str) -> str:
    if name not in BUILT_IN:
        names = task_names()
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            meant = f"did you mean '{close[0]}'? " if close else ""
            raise ValueError(f"unknown task '{name}'; {meant}known: {', '.join(names)}")
    return name


TaskName = Annotated[str, AfterValidator(_known)]
"""A known task; another name is refused with the known ones."""
