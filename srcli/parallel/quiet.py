"""What native libraries print of themselves, left out; everything else they print goes to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_NOISE = (b"pybullet build time:", b"argv[0]=")
"""How lines begin that PyBullet and its renderer print in every process."""
_END = b"\0end"
_LOUD = "pybullet"
"""Module that prints when it is imported."""


class _QuietLoader(Loader):
    """Loads an extension module; what its loading prints to standard error goes there without the noise."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create it; PyBullet prints here."""
        kept = os.dup(2)
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                made: ModuleType | None = self.inner.create_module(spec)
            finally:
                ctypes.CDLL(None).fflush(None)
                os.dup2(kept, 2)
                os.close(kept)
            caught.seek(0)
            for line in caught:
                if not line.startswith(_NOISE):
                    _tell(line)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Fill it."""
        self.inner.exec_module(module)


class _QuietFinder(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _LOUD:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


def quiet_import() -> None:
    """Let PyBullet be imported without its greeting from now on."""
    if _LOUD not in sys.modules and not any(isinstance(finder, _QuietFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietFinder())


if multiprocessing.parent_process() is not None:
    # What a worker is sent may import PyBullet before the worker is started.
    quiet_import()


def _copy(source: int) -> None:
    with os.fdopen(source, "rb", buffering=0) as stream:
        left = b""
        while block := stream.read(1 << 16):
            *lines, left = (left + block).split(b"\n")
            for line in lines:
                text = line.removesuffix(_END)
                if not text.startswith(_NOISE) and (text or text == line):
                    _tell(text + b"\n")
                if text != line:
                    return
        _tell(left)


def _tell(text: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(2, text)


def filter_stdout() -> threading.Thread:
    """Send this process's standard output to standard error, without the noise, from now on."""
    source, target = os.pipe()
    os.dup2(target, 1)
    os.close(target)
    quiet_import()
    thread = threading.Thread(target=_copy, args=(source,), daemon=True)
    thread.start()
    return thread


@contextmanager
def reserved() -> Iterator[None]:
    """Keep standard output free for results: what is printed meanwhile goes to standard error, without the noise."""
    kept = os.dup(1)
    thread = filter_stdout()
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        # Processes that were started meanwhile may hold the pipe open: it does not end by itself.
        os.write(1, _END + b"\n")
        os.dup2(kept, 1)
        os.close(kept)
        thread.join(timeout=2)
