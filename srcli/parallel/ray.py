"""Workers on a ray cluster: the optional executor for more than one machine."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice
from typing import Any, TypeVar

from srcli.errors import ConfigError, SrcliError

Job = TypeVar("Job")
Result = TypeVar("Result")

_AHEAD = 4


class _Worker:
    """The actor: one per worker, initialised once."""

    def __init__(self, initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def run(self, function: Callable[[Any], Any], job: Any) -> Any:
        return function(job)


class RayExecutor:
    """See :class:`srcli.parallel.Executor`. Paths in jobs must lie on storage that all machines share.

    Args:
        workers: number of actors, one core each.

    Raises:
        ConfigError: ray is not installed, or fewer than one worker.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ConfigError(f"workers = {workers}: at least one is needed", "give --workers 1 or more")
        self.workers = workers
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise ConfigError(
                "the executor 'ray' needs the package ray", "pip install 'srcli[ray]', or use 'processes'"
            ) from None

    def imap(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Iterator[Result]:
        """Yield ``function(job)`` in the order of the jobs.

        Raises:
            SrcliError: what a job raised, as itself; or an actor died.
        """
        ray = self._ray
        owned = not ray.is_initialized()
        if owned:
            ray.init(num_cpus=self.workers, log_to_driver=False)
        actor = ray.remote(num_cpus=1)(_Worker)
        actors = [actor.remote(initializer, initargs) for _ in range(self.workers)]
        turns = cycle(actors)
        waiting = iter(jobs)
        try:
            running = deque(next(turns).run.remote(function, job) for job in islice(waiting, self.workers * _AHEAD))
            while running:
                result: Result = self._get(running.popleft())
                for job in islice(waiting, 1):
                    running.append(next(turns).run.remote(function, job))
                yield result
        finally:
            for handle in actors:
                ray.kill(handle)
            if owned:
                ray.shutdown()

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, SrcliError):
                raise cause from None
            raise
        except self._ray.exceptions.RayActorError:
            raise SrcliError(
                "a worker died: it was killed or its machine is gone", "run the same command again (finished work is kept)"
            ) from None
