"""Workers on a Ray cluster: the optional executor for more than one machine.

Each worker is an actor that does one job at a time; who is free gets the next. An actor that is lost, with its machine or alone,
is replaced, and its job is done again by another: that is all it costs.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeVar

from srcli import __version__
from srcli.errors import ConfigError, SrcliError
from srcli.parallel.hosting import Host, Outcome, packed, settle, unpacked

_log = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")

_AHEAD = 4
"""Jobs per worker that may be begun before the first of them is done."""
_TRIES = 3
"""Workers that may be lost over one job, or in a row while they start."""
_PATIENCE = 60.0
"""Seconds without any worker after which it is said."""
_STORE = 100 * 2**20
"""Bytes of a local cluster's memory for objects; only jobs and their results pass."""
_FORWARDED = ("SRCLI_", "XDG_", "HF_")
"""How the names of variables begin that workers are given: they say where objects and weights lie."""


class RayExecutor:
    """See :class:`srcli.parallel.Executor`. The working folder must lie on storage that all machines share, under one path.

    The cluster is that of ``RAY_ADDRESS``; without it one is started on this machine, and ended with the work.

    Args:
        workers: number of actors, one core each.
        device: ``cuda`` gives each actor its share of the cluster's GPUs.

    Raises:
        ConfigError: ray is not installed, a numbered device, or fewer than one worker.
    """

    def __init__(self, workers: int, device: str = "cpu") -> None:
        if workers < 1:
            raise ConfigError(f"workers = {workers}: at least one is needed", "give --workers 1 or more")
        if device.startswith("cuda:"):
            raise ConfigError(f"device {device}: Ray says which GPU a worker gets", "give --device cuda")
        self.workers = workers
        self.device = device
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
            SrcliError: what a job raised, as itself; workers were lost again and again; or the cluster cannot be reached.
        """
        waiting = iter(jobs)
        first = list(islice(waiting, self.workers))
        if not first:
            return
        calls = (packed(function, job) for job in chain(first, waiting))
        environment = {name: value for name, value in os.environ.items() if name.startswith(_FORWARDED)}
        beginning = [packed(settle, __version__, os.getcwd(), environment)]
        if initializer is not None:
            beginning.append(packed(initializer, *initargs))
        with self._cluster():
            crew = _Crew(self._ray, self._gpus(), beginning)
            try:
                for _ in first:
                    crew.hire()
                for result, error in _in_order(crew, calls, self.workers * _AHEAD):
                    if error is not None:
                        raise error
                    yield result
            finally:
                crew.dismiss()

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        ray = self._ray
        if ray.is_initialized():
            yield
            return
        address = os.environ.get("RAY_ADDRESS")
        alone = {"address": "local", "num_cpus": self.workers, "include_dashboard": False, "object_store_memory": _STORE}
        where: dict[str, Any] = {"address": address} if address else alone
        # Ray warns of a default of its own that is going to change.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # A busy machine may be too slow at first for what Ray allows a cluster to start in.
        for last in (bool(address), False, True):
            try:
                with _own_sigterm():
                    ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
                break
            except Exception as error:
                ray.shutdown()
                if last:
                    place = f"the Ray cluster at {address}" if address else "Ray on this machine"
                    hint = "see `ray status`; RAY_ADDRESS names the cluster, RAY_AUTH_MODE=token says that it has a token"
                    raise SrcliError(f"{place} cannot be used: {_line(error)}", hint) from None
        try:
            yield
        finally:
            ray.shutdown()

    def _gpus(self) -> float:
        """What each actor gets of a GPU, so that all find a place."""
        if self.device == "cpu":
            return 0.0
        found = int(self._ray.cluster_resources().get("GPU", 0))
        if not found:
            raise ConfigError(f"device {self.device}: the Ray cluster has no GPU", "give --device cpu")
        return 1.0 / math.ceil(self.workers / found)


@dataclass
class _Task:
    """A job under way."""

    index: int
    call: bytes
    losses: int = 0


class _Crew:
    """Actors, each with one call at a time."""

    def __init__(self, ray: Any, gpus: float, beginning: list[bytes]) -> None:
        self._ray = ray
        self._kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)(_Actor)
        self._beginning = beginning
        self._running: dict[Any, tuple[Any, _Task | None]] = {}
        self.idle: list[Any] = []
        self._failed_starts = 0
        # When there was a worker last that had begun, and whether it has been said that there is none since.
        self._since = time.monotonic()
        self._told = self._had = False

    def hire(self) -> None:
        """One more actor; it is idle when it has begun."""
        actor = self._kind.remote()
        self._running[actor.begin.remote(self._beginning)] = (actor, None)

    def give(self, task: _Task) -> None:
        """Let an idle actor do a job."""
        actor = self.idle.pop()
        self._running[actor.call.remote(task.call)] = (actor, task)

    def wait(self) -> tuple[_Task, Outcome | None] | None:
        """Wait until something has happened: a job with its outcome, None when its actor was lost; None: an actor has begun.

        Raises:
            SrcliError: an actor cannot begin.
        """
        while True:
            ready, _ = self._ray.wait(list(self._running), timeout=1.0)
            if ready:
                break
            self._tell_once()
        actor, task = self._running.pop(ready[0])
        outcome, why = self._outcome(ready[0])
        if outcome is not None or task is not None:
            self._seen()
        if outcome is None:
            self._ray.kill(actor)
            self.hire()
            _log.warning("a worker was lost%s; another takes its place", f" ({why})" if why else "")
            if task is None:
                self._failed_starts += 1
                if self._failed_starts == _TRIES:
                    raise SrcliError(
                        f"{_TRIES} workers in a row died while they started ({why or 'no reason is known'})",
                        "is the same srcli installed on every machine, and is there memory? `ray status` and its logs say more",
                    )
                return None
            return task, None
        self.idle.append(actor)
        if task is None:
            if outcome[1] is not None:
                raise outcome[1]
            self._failed_starts = 0
            self._had = True
            return None
        return task, outcome

    def dismiss(self) -> None:
        """End all actors."""
        for actor in [*self.idle, *(actor for actor, _ in self._running.values())]:
            self._ray.kill(actor)

    def _outcome(self, reference: Any) -> tuple[Outcome | None, str]:
        """What a call came to, None when the actor, its process or its machine is gone; and why, as far as it is known."""
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return None, _line(error)
        return (None, "its process was killed, or ran out of memory") if answer is None else (unpacked(answer), "")

    def _seen(self) -> None:
        self._since, self._told = time.monotonic(), False

    def _tell_once(self) -> None:
        """Say that nothing but starts is under way, once for each time that this has become so."""
        if self.idle or any(task is not None for _, task in self._running.values()):
            self._seen()
            return
        if self._told or time.monotonic() - self._since < _PATIENCE:
            return
        self._told = True
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        what = "all workers are lost, and none has begun in their place" if self._had else "no worker has begun yet"
        _log.warning("%s; the Ray cluster has %d core(s): `ray status` says what they do", what, cores)


class _Actor:
    """What Ray runs: a process and what it is told (:class:`srcli.parallel.hosting.Host`)."""

    def __init__(self) -> None:
        self._host = Host()

    def begin(self, calls: list[bytes]) -> bytes | None:
        """The first calls, up to the first that fails."""
        answer: bytes | None = None
        for call in calls:
            answer = self._host.call(call)
            if answer is None or unpacked(answer)[1] is not None:
                break
        return answer

    def call(self, message: bytes) -> bytes | None:
        return self._host.call(message)


def _in_order(crew: _Crew, calls: Iterator[bytes], ahead: int) -> Iterator[Outcome]:
    """The outcomes of the calls in their order."""
    again: deque[_Task] = deque()
    done: dict[int, Outcome] = {}
    begun = told = 0
    left = True
    while True:
        while crew.idle and (again or (left and begun < told + ahead)):
            if again:
                crew.give(again.popleft())
                continue
            call = next(calls, None)
            if call is None:
                left = False
            else:
                crew.give(_Task(begun, call))
                begun += 1
        # Whoever takes an outcome may take its time; the actors have their next jobs already.
        if told in done:
            yield done.pop(told)
            told += 1
            continue
        if not left and told == begun:
            return
        event = crew.wait()
        if event is None:
            continue
        task, outcome = event
        if outcome is None:
            task.losses += 1
            if task.losses == _TRIES:
                raise SrcliError(
                    f"{_TRIES} workers died over the same job, the last of them now",
                    "run the same command again (finished work is kept); fewer --workers need less memory",
                )
            again.append(task)
            continue
        done[task.index] = outcome


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray puts a handler of its own in place of that which lets SIGTERM end a command in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _line(error: BaseException) -> str:
    """The first line of an error of Ray, which may be a page."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
