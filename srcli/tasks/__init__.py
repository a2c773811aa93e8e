"""Tasks by name: the built-in ones, and those that installed packages announce."""

from __future__ import annotations

from inspect import signature

from srcli.config.extensions import announced, load, refused
from srcli.config.language import LanguageConfig
from srcli.config.tasks import BUILT_IN, ENTRY_POINTS, task_names
from srcli.errors import unknown_name
from srcli.tasks.base import Case, Task

TASKS = BUILT_IN

__all__ = ["ENTRY_POINTS", "TASKS", "Case", "Task", "get_task", "task_names", "task_origin"]

_METHODS = ("attempts", "shift", "sample", "from_case", "possible", "valid", "expert", "judge")


def get_task(name: str, language: LanguageConfig | None = None) -> Task:
    """The task of that name.

    Args:
        language: how sentences are worded. A user's task gets it when its constructor has a parameter of that name.

    Raises:
        UnknownNameError: no such task.
        ConfigError: a task of an installed package that cannot be used; names the package.
    """
    if name == "pick":
        from srcli.tasks.pick import PickTask

        return PickTask(language)
    if name == "place":
        from srcli.tasks.place import PlaceTask

        return PlaceTask(language)
    if name == "pick_place":
        from srcli.tasks.pick_place import PickPlaceTask

        return PickPlaceTask(language)
    return _own(name, language)


def _own(name: str, language: LanguageConfig | None) -> Task:
    point = next((point for point in announced(ENTRY_POINTS) if point.name == name), None)
    if point is None:
        raise unknown_name("task", name, task_names())
    factory = load(point)
    try:
        task = factory(language=language) if "language" in signature(factory).parameters else factory()
    except Exception as error:
        raise refused(point, " ".join(f"{type(error).__name__}: {error}".split())) from error
    missing = [method for method in _METHODS if not callable(getattr(task, method, None))]
    if missing:
        raise refused(point, f"it has no method {', '.join(missing)} (see srcli.tasks.base.Task)")
    phases = getattr(task, "phases", ())
    if not phases or not set(phases) <= {"pick", "place"}:
        raise refused(point, "its phases have to be pick, place, or both in their order")
    if getattr(task, "name", None) != name:
        raise refused(point, f"the task calls itself '{getattr(task, 'name', '')}'")
    found: Task = task
    return found


def task_origin(name: str) -> str:
    """SHA-256 of the source file of a task of another package; empty for built-in ones."""
    if name in BUILT_IN:
        return ""
    from srcli.artifacts.digests import code_origin

    return next((code_origin(load(point)) for point in announced(ENTRY_POINTS) if point.name == name), "")
