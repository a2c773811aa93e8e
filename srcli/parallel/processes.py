"""Worker processes: started afresh (spawn), one thread of numerics each, gone when the parent is gone."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import wait
from typing import Any, TypeVar

from srcli.errors import ConfigError, SrcliError
from srcli.parallel.deferred import defer_imports
from srcli.parallel.quiet import quiet_import

Job = TypeVar("Job")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_AHEAD = 4


class ProcessExecutor:
    """See :class:`srcli.parallel.Executor`. One worker is a process of its own too, so that its numerics are those of many.

    Args:
        workers: number of processes.

    Raises:
        ConfigError: fewer than one worker.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ConfigError(f"workers = {workers}: at least one is needed", "give --workers 1 or more")
        self.workers = workers

    def imap(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Iterator[Result]:
        """Yield ``function(job)`` in the order of the jobs; at most a few jobs per worker are under way.

        Raises:
            SrcliError: what a job raised, as itself; or a worker died.
        """
        waiting = iter(jobs)
        with one_thread_each():
            pool = ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_worker,
                initargs=(initializer, initargs),
            )
            finished = False
            try:
                running: deque[Future[Any]] = deque(
                    pool.submit(_run, function, job) for job in islice(waiting, self.workers * _AHEAD)
                )
                while running:
                    result = running.popleft().result()
                    for job in islice(waiting, 1):
                        running.append(pool.submit(_run, function, job))
                    yield result
                finished = True
            except BrokenProcessPool:
                raise SrcliError(
                    "a worker process died: it was killed, ran out of memory, or could not start",
                    "run the same command again (finished work is kept); fewer --workers need less memory",
                ) from None
            finally:
                processes = list((pool._processes or {}).values())
                manager = getattr(pool, "_executor_manager_thread", None)
                pool.shutdown(wait=finished, cancel_futures=True)
                if not finished:
                    # A job may take minutes; nobody waits for its result any more.
                    for process in processes:
                        process.terminate()
                    for process in processes:
                        process.join(timeout=5)
                    # Python's own exit would write to the pipe that this thread is about to close, and print a traceback.
                    if manager is not None:
                        manager.join(timeout=5)


_failed_start: BaseException | None = None
_leaving = threading.Lock()


def start_worker(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    """Prepare a worker: Ctrl-C is the parent's business, and a worker must not outlive its parent."""
    global _failed_start
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: leave(143))
    # Results go to the parent's standard output; what a library prints in a worker must not mix with them.
    os.dup2(2, 1)
    quiet_import()
    defer_imports()
    # After the temporary folders' own, so that it runs before: an end by itself is not cut short by a signal either.
    weakref.finalize(leave, bool).detach()
    atexit.register(_leaving.acquire, blocking=False)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if initializer is not None:
        try:
            initializer(*initargs)
        except Exception as error:
            # Raised here it would only break the pool; the first job reports it as itself.
            _failed_start = error


def _run(function: Callable[[Job], Result], job: Job) -> Result:
    if _failed_start is not None:
        raise _failed_start
    return function(job)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        leave(1)


def leave(code: int) -> None:
    """End this process at once, but for what has to be tidied up: temporary folders.

    Threads that still compute are left as they are: while Python unloads libraries they would crash. Returns only where the
    process is about to end already: a second signal, or the end of the parent, must not cut the tidying short.
    """
    if not _leaving.acquire(blocking=False):
        return
    try:
        # Python's own list of what runs at the end has no public door.
        atexit._run_exitfuncs()
    finally:
        os._exit(code)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Spawned processes read the number of threads from the environment when numpy and torch are imported."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
