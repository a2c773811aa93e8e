"""Copies of a running process: what would be expensive to bring about again is copied with all its state.

A simulation cannot be copied from within, and a saved and restored state is not the same to the last bit. A forked process is
an exact copy, made in milliseconds, so several continuations of one state give what each would have given alone.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from srcli.errors import SrcliError

Result = TypeVar("Result")


def can_branch() -> bool:
    """Whether this process may be copied: on Linux, in a worker process, with a single thread of numerics and no GPU or Ray.

    Forking a process with a pool of numeric threads, a CUDA context or a cluster's connection leaves a copy that hangs.
    """
    if not sys.platform.startswith("linux") or multiprocessing.parent_process() is None or "ray" in sys.modules:
        return False
    torch = sys.modules.get("torch")
    return torch is None or (torch.get_num_threads() == 1 and not torch.cuda.is_initialized())


def branch(function: Callable[[], Result]) -> Result:
    """Call a function in a copy of this process and return its result; nothing it does is seen in this process.

    Raises:
        SrcliError: what the function raised, as itself; or the copy died.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    copy = context.Process(target=_send, args=(function, sender))
    copy.start()
    sender.close()
    try:
        result, error = receiver.recv()
    except EOFError:
        raise SrcliError(
            "a copy of a worker process died: it was killed or ran out of memory",
            "run the same command again (finished work is kept); fewer --workers need less memory",
        ) from None
    finally:
        receiver.close()
        copy.join()
        copy.close()
    if error is not None:
        raise error
    done: Result = result
    return done


def _send(function: Callable[[], Result], sender: Connection) -> None:
    try:
        sender.send((function(), None))
    except Exception as error:
        sender.send((None, error))


def orphaned() -> bool:
    """Whether this process is a copy whose original is gone, so that nobody waits for its work any more."""
    parent = multiprocessing.parent_process()
    return parent is not None and parent.pid != os.getppid()
