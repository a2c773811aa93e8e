"""srcli: build, train, measure and explain language-conditioned grasping.

The Python interface (``docs/python.md``) is loaded when it is first used: ``import srcli`` itself imports nothing.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Action",
    "Decision",
    "HeldExtent",
    "Observation",
    "Policy",
    "Scene",
    "SrcliError",
    "Step",
    "Table",
    "Workspace",
    "evaluate",
    "load_policy",
    "make_scene",
    "read",
]

if TYPE_CHECKING:
    from srcli.api import (
        Action,
        Decision,
        HeldExtent,
        Observation,
        Policy,
        Scene,
        SrcliError,
        Step,
        Table,
        Workspace,
        evaluate,
        load_policy,
        make_scene,
        read,
    )


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'srcli' has no attribute '{name}'")
    from srcli import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
