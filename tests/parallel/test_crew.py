"""The Ray executor's crew on a Ray of this file's own, which does what a cluster does that loses its machines."""

from __future__ import annotations

import logging
from itertools import count
from multiprocessing.reduction import ForkingPickler
from types import SimpleNamespace

import parallel_jobs as jobs

from srcli.errors import SrcliError
from srcli.parallel import ray as executors
from srcli.parallel.hosting import Host, packed, unpacked


class Lost(Exception):
    """What Ray raises of an actor whose machine is gone."""


class Cluster:
    """References are numbers, in the order of the calls; ``answers`` holds what is ready."""

    exceptions = SimpleNamespace(RayError=Lost)

    def __init__(self) -> None:
        self.numbers = count()
        self.answers: dict[int, bytes | Exception | None] = {}
        self.waits: list[dict[int, bytes | Exception | None]] = []

    def remote(self, **_):
        method = SimpleNamespace(remote=lambda _: next(self.numbers))
        actor = SimpleNamespace(begin=method, call=method)
        return lambda _: SimpleNamespace(remote=lambda: actor)

    def wait(self, references, timeout):
        assert references, "ray.wait() of nothing is a ValueError"
        self.answers.update(self.waits.pop(0) if self.waits else {})
        ready = [r for r in references if r in self.answers]
        assert ready or self.waits, "the script has ended"
        return ready[:1], ready[1:]

    def get(self, reference):
        if isinstance(found := self.answers[reference], Exception):
            raise found
        return found

    def kill(self, _):
        pass

    def cluster_resources(self):
        return {"CPU": 3.0}


def outcome(value=None) -> bytes:
    return bytes(ForkingPickler.dumps((value, None)))


def test_it_is_said_again_when_all_machines_vanish_later(monkeypatch, caplog):
    monkeypatch.setattr(executors, "_PATIENCE", 0.0)
    cluster = Cluster()
    # It begins late (0), does a job (1) that takes a while, is lost over the next (2); another begins late (3), does it (4).
    cluster.waits = [{}, {}, {0: outcome()}, {}, {1: outcome(10)}, {2: Lost("gone")}, {}, {}, {3: outcome()}, {4: outcome(11)}]
    crew = executors._Crew(cluster, 0.0, [])
    crew.hire()
    with caplog.at_level(logging.WARNING, "srcli"):
        assert [value for value, _ in executors._in_order(crew, iter([b"a", b"b"]), 4)] == [10, 11]
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(";")[0] for text in said] == [
        "no worker has begun yet",
        "a worker was lost (gone)",
        "all workers are lost, and none has begun in their place",
    ]
    assert "3 core(s)" in said[2]


def test_no_jobs_are_no_work_and_need_no_cluster(monkeypatch):
    monkeypatch.setattr(executors.importlib, "import_module", lambda _: Cluster())
    assert list(executors.RayExecutor(2).imap(jobs.fail, [])) == []


def test_what_cannot_be_sent_is_said_and_the_process_goes_on():
    host = Host()
    for function, what in ((jobs.unnamed, "lambda"), (jobs.unwilling, "not me"), (jobs.local, "local")):
        answer = host.call(packed(function, 1))
        assert answer is not None, "the process died over it"
        error = unpacked(answer)[1]
        assert isinstance(error, SrcliError) and "cannot be sent" in error.message and what in error.message
    answer = host.call(packed(jobs.fail, 1))
    assert answer is not None and unpacked(answer) == (1, None)
