"""Tasks by name."""

from __future__ import annotations

from srcli.config.language import LanguageConfig
from srcli.errors import unknown_name
from srcli.tasks.base import Case, Task

TASKS = ("pick", "place", "pick_place")

__all__ = ["TASKS", "Case", "Task", "get_task"]


def get_task(name: str, language: LanguageConfig | None = None) -> Task:
    """The task of that name; an unknown one is an :class:`~srcli.errors.UnknownNameError`."""
    if name == "pick":
        from srcli.tasks.pick import PickTask

        return PickTask(language)
    if name == "place":
        from srcli.tasks.place import PlaceTask

        return PlaceTask(language)
    if name == "pick_place":
        from srcli.tasks.pick_place import PickPlaceTask

        return PickPlaceTask(language)
    raise unknown_name("task", name, TASKS)
