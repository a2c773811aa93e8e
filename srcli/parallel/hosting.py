"""One process beside a Ray worker, in which its work is done.

A Ray worker runs threads of its own and must not be copied (:mod:`srcli.parallel.branching`); the process beside it is started as
those of :class:`~srcli.parallel.processes.ProcessExecutor` are, so that it computes what they compute. What goes in and out is
packed: only that process reads it, and the Ray worker imports none of the libraries that do the work.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any

from srcli import __version__
from srcli.errors import ConfigError, MismatchError, SrcliError
from srcli.parallel.processes import one_thread_each, start_worker

Outcome = tuple[Any, BaseException | None]
"""What a call returned, or what it raised."""

_LOOK_EVERY = 1.0
"""Seconds between two looks whether the process still lives."""


def packed(function: Callable[..., Any], *arguments: Any) -> bytes:
    """A call as :meth:`Host.call` takes it.

    Args:
        function: a function of a module.
    """
    return bytes(ForkingPickler.dumps((function, arguments)))


def unpacked(outcome: bytes) -> Outcome:
    """What :meth:`Host.call` returned."""
    result: Outcome = ForkingPickler.loads(outcome)
    return result


class Host:
    """Starts the process and passes calls on to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        # Not a daemon: those may not be copied. It leaves when this process does.
        self._process: SpawnProcess = context.Process(target=_serve, args=(other,))
        with one_thread_each(), _without_main():
            self._process.start()
        other.close()

    def call(self, message: bytes) -> bytes | None:
        """Make a call (:func:`packed`) in the process; None when the process died over it."""
        try:
            self._connection.send_bytes(message)
            # A copy of the process may outlive it for a moment and keep the connection open.
            while not self._connection.poll(_LOOK_EVERY):
                if not self._process.is_alive():
                    return None
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            return None


def settle(version: str, folder: str, environment: Mapping[str, str]) -> None:
    """The first call: be where the command was given, with its variables.

    Raises:
        MismatchError: this machine has another version of the package.
        ConfigError: the folder is not here.
    """
    if version != __version__:
        raise MismatchError(
            f"{platform.node()}: srcli {__version__} is installed there, {version} here", "install the same on every machine"
        )
    os.environ.update(environment)
    try:
        os.chdir(folder)
    except OSError as error:
        raise ConfigError(
            f"{platform.node()}: cannot work in {folder} ({error.strerror})",
            "give the command in a folder that all machines share under the same path",
        ) from None


def _serve(connection: Connection) -> None:
    """Answer calls until the other side is gone."""
    start_worker(None, ())
    while True:
        try:
            outcome = _answer(connection)
        except EOFError:
            return
        try:
            answer = ForkingPickler.dumps(outcome)
        except Exception as error:
            # TypeError, AttributeError, pickle's own, and whatever an object raises that says itself how it is packed.
            told = SrcliError(f"what a job returned cannot be sent: {error}", "this is a defect")
            answer = ForkingPickler.dumps((None, told))
        connection.send_bytes(answer)


def _answer(connection: Connection) -> Outcome:
    message = connection.recv_bytes()
    try:
        function, arguments = ForkingPickler.loads(message)
    except (ImportError, AttributeError) as error:
        told = MismatchError(f"{platform.node()}: {error}", "install the same packages on every machine")
        return None, told
    try:
        return function(*arguments), None
    except Exception as error:
        return None, error


@contextmanager
def _without_main() -> Iterator[None]:
    """A started process runs the main module again; that of a Ray worker would make it one of Ray's."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
