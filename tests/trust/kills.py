"""Each stage killed at random moments, with kill -9 and SIGTERM, and ended; its bytes have to be those of a run in peace.

A script for Linux that takes an hour of a busy machine; it prints the table of docs/trust.md and goes on from where it was:

    python tests/trust/kills.py --out runs/kills --kills 210

Each run is a process of its own with its workers, forked from one that has imported everything, so that no kill is spent on the
start of an interpreter. A moment is an amount of processor time of the run and its workers: the machine's load does not shift it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import pkgutil
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IN_A_ROW = 6
"""Kills of one run at most before it is left to end."""

_SMALL = ("scene.objects=4", "sim.camera_scale=0.25", "candidates.count=20", "cloud.count=100")
_SETTINGS = tuple(word for value in _SMALL for word in ("-S", value))
_SCENES = ("-j", "2", *_SETTINGS)
_SR = ("updates=6", "checkpoint_every=2", "validate_every=3", "batch_size=4")
_TRAIN = tuple(word for value in _SR for word in ("-S", f"methods.sr.train.{value}"))
_PLAY = (*_SCENES, "-S", "evaluate.bootstrap=100", "-S", "evaluate.attempts=2")
_STUDY = ("-m", "sr_plus", "--episodes", "1", "--policies-dir", "pol", "-S", "ablate.updates=6", *_TRAIN, *_PLAY)
_SIGNALS = (signal.SIGKILL, signal.SIGTERM)


@dataclass(frozen=True)
class Stage:
    """A command of the pipeline.

    Attributes:
        command: what follows ``srcli``.
        reads: files of the stages before it.
        writes: what has to have the same bytes.
    """

    command: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


STAGES = {
    "collect": Stage(("collect", "--episodes", "4", "--out", "demos.h5", *_SCENES), (), ("demos.h5",)),
    "featurize": Stage(("featurize", "demos.h5", "--out", "features.h5", *_SCENES), ("demos.h5",), ("features.h5",)),
    "train": Stage(
        ("train", "features.h5", "--method", "sr_plus", "--out", "policy.h5", *_TRAIN),
        ("features.h5",),
        ("policy.h5", "policy.metrics.json"),
    ),
    "evaluate": Stage(
        ("evaluate", "sr_plus=policy.h5", "-m", "random", "--episodes", "2", "--figures", "0", "--out", "ev", *_PLAY),
        ("policy.h5",),
        ("ev/results.h5",),
    ),
    "ablate": Stage(("ablate", "features.h5", "--out", "ab", *_STUDY), ("features.h5",), ("ab/ablation.h5",)),
    "noise-sweep": Stage(
        ("noise-sweep", "features.h5", "--out", "no", "--sigma", "0.1", *_STUDY), ("features.h5",), ("no/noise.h5",)
    ),
}


def warm() -> None:
    """Import all that a stage imports, and play an episode, which reads words, shapes and weights that are read once."""
    import srcli

    for module in pkgutil.walk_packages(srcli.__path__, "srcli."):
        if not module.name.endswith("__main__") and not module.name.startswith(("srcli.envs", "srcli.exporting")):
            importlib.import_module(module.name)
    from srcli.cli.running import parameters
    from srcli.parallel.serial import SerialExecutor
    from srcli.stages import evaluate

    params = parameters(
        None, (), [*_SMALL, "evaluate.episodes=1", "evaluate.methods=[untrained:sr_plus]", "evaluate.bootstrap=100"]
    )
    with tempfile.TemporaryDirectory() as folder:
        evaluate.run(params, (), Path(folder), executor=SerialExecutor())


def started(stage: Stage, folder: Path) -> int:
    """The command in ``folder`` as a process of its own, which leads a session; what it says is appended to ``log`` there."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        # Workers answer as those do that are started anew.
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["srcli", *stage.command]
        # Workers are copies of this process, too.
        fork = multiprocessing.get_context("fork")
        multiprocessing.get_context = lambda method=None: fork  # type: ignore[assignment]
        from srcli.cli import main as front_door

        front_door()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Its exit code; that of a signal is negative."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def spent(pid: int) -> float:
    """Seconds of processor time of a process, of those that it has started, and of those of them that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") + sum(spent(int(child)) for child in below)


def ended_before(pid: int, moment: float) -> bool:
    """Wait until a run has spent ``moment`` seconds; whether it ended before that."""
    while spent(pid) < moment:
        time.sleep(0.02)
        # It stays to be waited for.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
    return False


def digests(stage: Stage, folder: Path) -> list[str]:
    """Of what a stage writes; empty for what is not there."""
    files = [folder / name for name in stage.writes]
    return [hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "" for file in files]


def in_peace(name: str, out: Path) -> float:
    """Run a stage to its end once, for the stages after it as well; seconds of processor time that it took."""
    stage, whole = STAGES[name], out / "whole"
    whole.mkdir(parents=True, exist_ok=True)
    record = out / f"{name}.json"
    if record.exists():
        return float(json.loads(record.read_text("utf-8"))["seconds"])
    _, status, used = os.wait4(started(stage, whole), 0)
    if status or not all(digests(stage, whole)):
        raise SystemExit(f"{name}: ends with {os.waitstatus_to_exitcode(status)} in peace; see {whole / 'log'}")
    seconds = used.ru_utime + used.ru_stime
    record.write_text(json.dumps({"seconds": seconds}), "utf-8")
    return seconds


def trial(name: str, number: int, seed: int, out: Path, seconds: float) -> dict[str, Any]:
    """A stage from its beginning, killed at most :data:`IN_A_ROW` times, then left to end.

    Returns:
        the kills (signal, seconds, exit code), the exit code of the last run, and what is wrong with the whole: nothing at best.
    """
    stage, whole, broken = STAGES[name], out / "whole", out / f"killed-{name}"
    rng = random.Random(f"{seed}/{name}/{number}")
    shutil.rmtree(broken, ignore_errors=True)
    broken.mkdir()
    for file in stage.reads:
        shutil.copy(whole / file, broken / file)
    kills: list[tuple[str, float, int]] = []
    wrong = ""
    for _ in range(rng.randint(2, IN_A_ROW)):
        after, sign = rng.uniform(0.0, 1.0) * seconds, rng.choice(_SIGNALS)
        process = started(stage, broken)
        if ended_before(process, after):
            ended(process)
            break
        # Workers must follow the process that started them, which alone gets the signal.
        os.kill(process, sign)
        code = ended(process)
        kills.append((sign.name, round(after, 2), code))
        if sign == signal.SIGTERM and code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            wrong = f"SIGTERM ends with {code}"
    code = ended(started(stage, broken))
    log = (broken / "log").read_text("utf-8", "replace")
    if code:
        wrong = f"ends with {code}"
    elif digests(stage, broken) != digests(stage, whole):
        wrong = "other bytes"
    elif "unexpected:" in log or "Traceback" in log:
        wrong = "says unexpected"
    if wrong:
        shutil.copytree(broken, out / "wrong" / f"{name}-{number}", dirs_exist_ok=True)
    return {"stage": name, "trial": number, "kills": kills, "code": code, "wrong": wrong}


def rows_of(log: Path) -> list[dict[str, Any]]:
    """What earlier runs have found."""
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def trials(out: Path, names: list[str], kills: int, seed: int) -> Iterator[dict[str, Any]]:
    """Trials of each stage in turn until every one has had ``kills`` kills, those of earlier runs included."""
    log = out / "kills.jsonl"
    rows = rows_of(log)
    warm()
    for name in names:
        seconds = in_peace(name, out)
        while sum(len(row["kills"]) for row in rows if row["stage"] == name) < kills:
            number = 1 + max((row["trial"] for row in rows if row["stage"] == name), default=-1)
            rows.append(trial(name, number, seed, out, seconds))
            with log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
            yield rows[-1]


def table(rows: list[dict[str, Any]]) -> str:
    """The counts of docs/trust.md."""
    lines = ["| stage | kill -9 | SIGTERM | runs to the end | differences |", "|---|---:|---:|---:|---:|"]
    for name in STAGES:
        own = [row for row in rows if row["stage"] == name]
        signs = [kill[0] for row in own for kill in row["kills"]]
        wrong = sum(bool(row["wrong"]) for row in own)
        lines.append(f"| {name} | {signs.count('SIGKILL')} | {signs.count('SIGTERM')} | {len(own)} | {wrong} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the log; a later run goes on from it")
    parser.add_argument("--kills", type=int, default=204, help="of all stages together")
    parser.add_argument("--stage", action="append", choices=list(STAGES), help="stages to kill; default all, in their order")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for row in trials(out, given.stage or list(STAGES), -(-given.kills // len(STAGES)), given.seed):
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
    rows = rows_of(out / "kills.jsonl")
    sys.stdout.write(table(rows) + "\n")
    return 1 if any(row["wrong"] for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
