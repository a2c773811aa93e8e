"""What native libraries print of themselves, left out; everything else they print goes to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_NOISE = (b"pybullet build time:", b"argv[0]=")
"""How lines begin that PyBullet and its renderer print in every process."""
_END = b"\0end"


class _Quiet:
    """Standard error as Python's own printing sees it, without the noise: PyBullet writes through it when it is imported."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write what is no noise."""
        return len(text) if text.encode(errors="replace").startswith(_NOISE) else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _quiet_stderr() -> None:
    if sys.stderr is not None and not isinstance(sys.stderr, _Quiet):
        sys.stderr = cast("TextIO", _Quiet(sys.stderr))


if multiprocessing.parent_process() is not None:
    # What a worker is sent may import PyBullet before the worker is started.
    _quiet_stderr()


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
    _quiet_stderr()
    thread = threading.Thread(target=_copy, args=(source,), daemon=True)
    thread.start()
    return thread


@contextmanager
def reserved() -> Iterator[None]:
    """Keep standard output free for results: what is printed meanwhile goes to standard error, without the noise."""
    kept, stderr = os.dup(1), sys.stderr
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
        sys.stderr = stderr
