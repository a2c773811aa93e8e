"""open_clip's companions run their own code when something asks for it, not whenever open_clip is imported.

open_clip needs a few modules of torchvision and timm. Importing one of these runs the packages around it first, and with them
every network they have, torch's compiler and sympy: more time than torch itself takes, in every process. Here the packages are
entered without being run; they run when anything is asked of them that is not here yet.
"""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import threading
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_PACKAGES = ("torchvision", "torchvision.ops", "torchvision.models", "timm", "timm.models")
_lock = threading.RLock()


class _Package(ModuleType):
    """A package of which modules can be imported before it has run itself; it runs when anything else of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        at_hand = _AT_HAND.get(f"{self.__name__}.{name}")
        if at_hand is not None:
            return at_hand()
        self.run()
        try:
            return self.__dict__[name]
        except KeyError:
            failed = self.__dict__.get("_failed")
            why = "" if failed is None else f": {failed}"
            # What looks through all loaded modules for a name (pickle does) expects this error and no other.
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}{why}") from failed

    def run(self) -> None:
        """Run it, once."""
        with _lock:
            loader = self.__dict__.pop("_waiting", None)
            if loader is not None:
                try:
                    loader.exec_module(self)
                except Exception as error:
                    self.__dict__["_failed"] = error


def _create_model(name: str, *arguments: Any, **options: Any) -> Any:
    """``timm.create_model``: timm's own models are imported where the name is of none that is registered."""
    if not importlib.import_module("timm.models._registry").is_model(name):
        models = importlib.import_module("timm.models")
        if isinstance(models, _Package):
            models.run()
    return importlib.import_module("timm.models._factory").create_model(name, *arguments, **options)


_AT_HAND: dict[str, Callable[[], Any]] = {
    "timm.__version__": lambda: importlib.import_module("timm.version").__version__,
    "timm.create_model": lambda: _create_model,
    "timm.models.register_model": lambda: importlib.import_module("timm.models._registry").register_model,
}
"""What open_clip, timm's own modules and this package ask for without needing the rest."""


class _Entering(Loader):
    def __init__(self, inner: Loader) -> None:
        self.inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """A package that waits."""
        return _Package(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Enter it without running it."""
        module.__dict__["_waiting"] = self.inner


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Entering(spec.loader)
        return spec


def defer_imports() -> None:
    """From now on torchvision and timm, where they have not been imported yet, are entered without being run."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


if multiprocessing.parent_process() is not None:
    # What a worker is sent may import open_clip before the worker is started.
    defer_imports()
