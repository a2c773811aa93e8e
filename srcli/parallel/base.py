"""What every executor offers: results in the order of the jobs, whatever finishes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Protocol, TypeVar

from srcli.errors import unknown_name

Job = TypeVar("Job")
Result = TypeVar("Result")
ExecutorKind = Literal["processes", "serial", "ray"]
KINDS: tuple[ExecutorKind, ...] = ("processes", "serial", "ray")


class Executor(Protocol):
    """Runs one function over many jobs."""

    workers: int

    def imap(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Iterator[Result]:
        """Yield ``function(job)`` in the order of the jobs.

        Args:
            function: a function of a module (it is sent to other processes), as are ``initializer`` and all arguments.
            initializer: called once in each worker before its first job.

        Raises:
            SrcliError: what a job raised, as itself; or a worker died.
        """
        ...


class Progress(Protocol):
    """Told after each piece of work."""

    def __call__(self, done: int, total: int, message: str) -> None: ...


def part_of(progress: Progress | None, name: str, before: int, total: int) -> Progress | None:
    """Progress of one part, named only, as part of ``total`` pieces of which ``before`` come before it."""
    if progress is None:
        return None
    inner, whole = progress, total

    def told(done: int, total: int, message: str) -> None:
        inner(before + done, whole, name)

    return told


def make_executor(kind: str, workers: int, device: str = "cpu") -> Executor:
    """The executor of a kind.

    Args:
        kind: ``processes``, ``serial`` or ``ray``.
        workers: number of workers, at least 1; serial ignores it.
        device: where the jobs compute; a cluster gives each worker its share of the GPUs.

    Raises:
        UnknownNameError: no such kind.
        ConfigError: fewer than one worker, or ray is not installed.
    """
    if kind == "processes":
        from srcli.parallel.processes import ProcessExecutor

        return ProcessExecutor(workers)
    if kind == "serial":
        from srcli.parallel.serial import SerialExecutor

        return SerialExecutor()
    if kind == "ray":
        from srcli.parallel.ray import RayExecutor

        return RayExecutor(workers, device)
    raise unknown_name("executor", kind, KINDS)
