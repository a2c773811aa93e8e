"""All jobs in this process, one after the other: for debugging and for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class SerialExecutor:
    """See :class:`srcli.parallel.Executor`."""

    workers = 1

    def imap(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Iterator[Result]:
        """Yield ``function(job)`` for each job."""
        if initializer is not None:
            initializer(*initargs)
        for job in jobs:
            yield function(job)
