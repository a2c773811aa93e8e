"""The front door: ``srcli``, one file per subcommand."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def main() -> None:
    """Entry point of the ``srcli`` command."""
    open_streams()
    have_home()
    # Matrices that NumPy multiplies here are small: a second thread of its library gains nothing, spins beside torch's, and
    # rounds otherwise than the workers do, which have one. It counts only before NumPy is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from srcli.cli.app import app
    from srcli.parallel.deferred import defer_imports

    defer_imports()
    stdout = sys.stdout
    try:
        app(prog_name="srcli")
    except SystemExit as ended:
        # The reader of a help text has gone (`srcli evaluate --help | head`): Typer puts another stream there, rich ends with 1.
        if ended.code == 1 and (sys.stdout is not stdout or isinstance(ended.__context__, BrokenPipeError)):
            raise SystemExit(0) from None
        from srcli.cli.running import INTERRUPTED, TERMINATED

        if ended.code in (INTERRUPTED, TERMINATED):
            from srcli.parallel.processes import leave

            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            leave(int(ended.code))
        raise


NO_HOME = "/nonexistent"


def have_home() -> None:
    """Name a home folder that is not there where the system knows none (a container's user of any number).

    Whoever looks for files below it then finds none, instead of failing; what has to be written there says that it cannot.
    """
    from pathlib import Path

    try:
        Path.home()
    except (RuntimeError, KeyError):
        os.environ["HOME"] = NO_HOME


def open_streams() -> None:
    """Give a process that was started without standard streams (``>&-``) ones that lead nowhere.

    Otherwise the next file that is opened takes their place, and what a library prints would end up in it.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))
