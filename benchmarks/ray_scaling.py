"""What an evaluation costs with one and two workers, as processes and on a local Ray, and where the processor's time goes.

    python benchmarks/ray_scaling.py --episodes 12 --workers 1 2

Beside the time on the clock, which says something on an idle machine alone, it adds up the processor time of the command itself,
of Ray's own processes, of Ray's workers and of the processes that play. What is not played is what scaling can lose.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from srcli.params import Params
from srcli.params.loading import override
from srcli.stages.evaluate import run

PLAYS, WORKER, RAY, COMMAND = "plays", "ray workers", "ray itself", "command"


def role(process: psutil.Process) -> str:
    """Which part of the run a process is."""
    words = " ".join(process.cmdline())
    if process.pid == psutil.Process().pid:
        return COMMAND
    if "spawn_main" in words:
        return PLAYS
    return WORKER if words.startswith("ray::") or "default_worker.py" in words else RAY


class Meter(threading.Thread):
    """Samples the processor time of this process and all that it has started, ended children of theirs included."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.seen: dict[tuple[int, float], tuple[str, float]] = {}
        self.began = psutil.Process().cpu_times()

    def run(self) -> None:
        me = psutil.Process()
        while not self.stopped.wait(0.2):
            self.look(me)

    def look(self, me: psutil.Process) -> None:
        """One sample."""
        for process in [me, *me.children(recursive=True)]:
            try:
                times, key = process.cpu_times(), (process.pid, process.create_time())
                used = times.user + times.system
                kind = role(process)
                # Copies of a playing process end within it; what Ray starts lives as long as Ray.
                used += times.children_user + times.children_system if kind == PLAYS else 0.0
                used -= self.began.user + self.began.system if kind == COMMAND else 0.0
                self.seen[key] = (kind, used)
            except psutil.Error:
                continue

    def total(self) -> dict[str, float]:
        """Seconds of processor time by role."""
        found = dict.fromkeys((PLAYS, WORKER, RAY, COMMAND), 0.0)
        for kind, used in self.seen.values():
            found[kind] += used
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=12)
    parser.add_argument("--task", default="place")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--executors", nargs="+", default=["processes", "ray"])
    options = parser.parse_args()
    roles = " | ".join(f"{name}, CPU s" for name in (PLAYS, WORKER, RAY, COMMAND))
    sys.stdout.write(f"| executor | workers | seconds | {roles} |\n|---|---|---|---|---|---|---|\n")
    for kind in options.executors:
        for workers in options.workers:
            section = {
                "suite": "development", "tasks": [options.task], "splits": ["seen"], "methods": ["sr_plus", "random"],
                "episodes": options.episodes, "figure_cases": 0, "similarity_rule": False, "executor": kind,
            }  # fmt: skip
            params = override(Params(), {f"evaluate.{key}": value for key, value in section.items()})
            with tempfile.TemporaryDirectory() as folder:
                meter = Meter()
                meter.start()
                start = time.perf_counter()
                run(params, [], Path(folder), workers=workers)
                seconds = time.perf_counter() - start
                meter.stopped.set()
                meter.join()
            used = meter.total()
            cells = " | ".join(f"{used[name]:.1f}" for name in (PLAYS, WORKER, RAY, COMMAND))
            sys.stdout.write(f"| {kind} | {workers} | {seconds:.1f} | {cells} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
