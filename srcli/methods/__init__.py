"""Methods by name; a method's module is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from srcli.artifacts.core import code_origin
from srcli.errors import unknown_name
from srcli.methods.base import Choice, Decision, Fittable, Policy, register, registered

ENTRY_POINTS = "srcli.methods"

_MODULES = {
    "random": "srcli.methods.random",
    "quality": "srcli.methods.quality",
    "similarity": "srcli.methods.similarity",
    "beside": "srcli.methods.beside",
    "expert": "srcli.methods.expert",
    "learned": "srcli.methods.sr.policy",
}

__all__ = ["ENTRY_POINTS", "Choice", "Decision", "Fittable", "Policy", "get_policy", "method_origin", "policy_names", "register"]


def policy_names() -> tuple[str, ...]:
    """All known methods: built in, registered in this process, and announced by installed packages."""
    return tuple(sorted({*_MODULES, *registered(), *(point.name for point in entry_points(group=ENTRY_POINTS))}))


def get_policy(name: str, /, **options: Any) -> Policy:
    """A new instance of a method.

    Args:
        options: passed to the method's constructor (``learned`` needs ``path``).

    Raises:
        UnknownNameError: no method of that name.
    """
    if name not in registered():
        if name in _MODULES:
            import_module(_MODULES[name])
        else:
            for point in entry_points(group=ENTRY_POINTS):
                if point.name == name:
                    return cast("Callable[..., Policy]", point.load())(**options)
            raise unknown_name("policy", name, policy_names())
    return registered()[name](**options)


def method_origin(name: str) -> str:
    """SHA-256 of the source file of a method of another package; empty for built-in ones, and for names that are none."""
    if name in _MODULES:
        return ""
    if name in registered():
        return code_origin(registered()[name])
    return next((code_origin(point.load()) for point in entry_points(group=ENTRY_POINTS) if point.name == name), "")
