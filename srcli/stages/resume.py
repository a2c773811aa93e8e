"""What stages share that do many independent pieces of work: only the missing ones are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from srcli.artifacts.pieces import Pieces
    from srcli.parallel import Progress


class PartJob(Protocol):
    """One piece of work and where its part goes."""

    @property
    def index(self) -> int: ...

    @property
    def part(self) -> Path: ...


Job = TypeVar("Job", bound=PartJob)
Result = TypeVar("Result")


def do_missing(
    jobs: Sequence[Job],
    pieces: Pieces,
    function: Callable[[Job], Result],
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    *,
    executor: str,
    device: str = "cpu",
    workers: int,
    progress: Progress | None,
    noun: str,
    tell: Callable[[list[Result]], str],
) -> int:
    """Do the jobs whose part is not there yet.

    Args:
        function: does one job in a worker; ``start`` prepares a worker with ``arguments``. Functions of a module.
        device: where a job computes.
        noun: what a job makes, for the first message.
        tell: the message after each job, from the results so far.

    Returns:
        How many pieces were there already.
    """
    from srcli.parallel import make_executor

    there = pieces.finished()
    missing = [job for job in jobs if job.index not in there]
    reused = len(jobs) - len(missing)
    if progress is not None:
        progress(reused, len(jobs), f"{reused} {noun} are there already" if reused else "starting")
    results: list[Result] = []
    if missing:
        for result in make_executor(executor, min(workers, len(missing)), device).imap(function, missing, start, arguments):
            results.append(result)
            if progress is not None:
                progress(reused + len(results), len(jobs), tell(results))
    return reused
