"""Who plays the jobs of an evaluation: processes of this machine, or workers of a cluster, which have to be what it is."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from srcli.artifacts.digests import config_digest
from srcli.errors import MismatchError
from srcli.evaluation.plan import scene_record
from srcli.evaluation.worker import Job, Setup, run_job, start
from srcli.parallel import Executor, make_executor


def play(
    setup: Setup, jobs: Sequence[Job], kind: str, workers: int, executor: Executor | None = None
) -> Iterator[list[dict[str, Any]]]:
    """The records of each job, in the order of the jobs.

    Args:
        kind: of the executor, as ``evaluate.executor``.
        executor: takes the place of one of that kind.

    Raises:
        ConfigError: ray is not installed, or cannot give what the device asks for.
        MismatchError: a machine of the cluster has other code, weights or objects.
    """
    if executor is None and kind == "ray":
        return make_executor(kind, workers, setup.device).imap(run_job, jobs, start_elsewhere, (setup, standing(setup)))
    return (executor or make_executor(kind, workers)).imap(run_job, jobs, start, (setup,))


def standing(setup: Setup) -> dict[str, str]:
    """Digests of all that the episodes depend on, as this machine has it, by what it is."""
    found: dict[str, list[Any]] = {}
    for record in [*(scene_record(setup, task, 0) for task in setup.tasks), *(m.depends_on() for m in setup.methods)]:
        for key, value in record.items():
            found.setdefault(key, []).append(value)
    return {key: config_digest({key: values}) for key, values in found.items()}


def start_elsewhere(setup: Setup, wanted: Mapping[str, str]) -> None:
    """Prepare this process, if it stands on what the one stands on that gave the command.

    Raises:
        MismatchError: it does not; what differs is named.
    """
    here = standing(setup)
    differ = sorted(key for key in {*here, *wanted} if here.get(key) != wanted.get(key))
    if differ:
        raise MismatchError(
            f"{platform.node()}: what episodes depend on is not the same there ({', '.join(differ)})",
            "install the same srcli and the same packages on every machine, with the same objects and weights",
        )
    start(setup)
