"""What native libraries print of themselves, left out; everything else they print goes to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NOISE = (b"pybullet build time:", b"argv[0]=")
"""How lines begin that PyBullet and its renderer print in every process."""
_END = b"\0end"


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
