"""Damage, in great numbers and from a seed: files of every kind are changed, read, and what came of it is counted.

The test suite makes the first rounds (``test_mutations.py``). As a script it goes on for as many as it is told, from where it
was, and prints the table of docs/trust.md:

    python tests/trust/mutate.py --out runs/trust --inputs 10000

Several such processes take less time when each has a folder and numbers of its own (``--first``); their logs, one behind the
other in a third folder, give one table.

A process of its own reads the damaged files; one that it hangs on, or dies of, is counted, and another goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import signal
import subprocess
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

from outcomes import NEVER, OUTCOMES, SLOW, Bench
from subjects import CHECKED

_MEMORY = 8 << 30
"""Bytes that a damaged file may make a process ask for."""


def rows_of(out: Path) -> list[dict[str, Any]]:
    """What is in the log: subject, number, outcome and words of each."""
    log = out / "mutations.jsonl"
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def _note(out: Path, **row: Any) -> None:
    with (out / "mutations.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def work(out: Path, inputs: int, first: int) -> None:
    """Read damaged files until the log has ``inputs`` lines; what is being read stands in ``begun``."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    # Ends the process even where a library does not come back.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    logging.disable(logging.WARNING)
    bench, begun = Bench(out / "work"), out / "begun"
    if not bench.canary.works:
        raise SystemExit(f"{out}: its file system keeps no times of access, which tell of reads outside")
    done: dict[str, set[int]] = {subject.name: set() for subject in bench.subjects}
    for row in rows_of(out):
        done[row["subject"]].add(row["number"])
    while sum(map(len, done.values())) < inputs:
        for subject in bench.subjects:
            number = next(n for n in count(first) if n not in done[subject.name])
            done[subject.name].add(number)
            begun.write_text(f"{subject.name}/{number}", "utf-8")
            signal.setitimer(signal.ITIMER_PROF, 2 * SLOW)
            result, words = bench.outcome(subject, number)
            signal.setitimer(signal.ITIMER_PROF, 0)
            _note(out, subject=subject.name, number=number, outcome=result, words=words)
    begun.unlink(missing_ok=True)


def run(out: Path, inputs: int, first: int = 0) -> list[dict[str, Any]]:
    """Have all that is missing read, process after process."""
    begun = out / "begun"
    while True:
        if begun.exists():
            # Of a run that was killed itself: it is read again.
            begun.unlink()
        command = [sys.executable, __file__, "--out", str(out), "--inputs", str(inputs), "--first", str(first), "--work"]
        code = subprocess.run(command).returncode
        if code == 0:
            return rows_of(out)
        if not begun.exists():
            raise SystemExit(f"ends with {code} before anything is read")
        subject, _, number = begun.read_text("utf-8").rpartition("/")
        outcome = "slow" if code == -signal.SIGPROF else "crash"
        _note(out, subject=subject, number=int(number), outcome=outcome, words=f"ends with {code}")


def forget(out: Path) -> None:
    """Take what is wrong out of the log, so that it is read again: something has been mended."""
    kept = [row for row in rows_of(out) if not is_wrong(row)]
    (out / "mutations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """The counts of docs/trust.md."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row["subject"], Counter())[row["outcome"]] += 1
    lines = ["| what | mutations | " + " | ".join(OUTCOMES) + " |", "|---|" + "---:|" * (len(OUTCOMES) + 1)]
    total = sum(counts.values(), Counter[str]())
    for name, own in [*sorted(counts.items()), ("**all**", total)]:
        lines.append(f"| {name} | {sum(own.values())} | " + " | ".join(str(own[column]) for column in OUTCOMES) + " |")
    return "\n".join(lines)


def is_wrong(row: dict[str, Any]) -> bool:
    """What must not be: see the outcomes; and content with a digest that is accepted changed."""
    return row["outcome"] in NEVER or (row["outcome"] == "changed" and row["subject"].endswith(CHECKED))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the log; a later run goes on from it")
    parser.add_argument("--inputs", type=int, default=10_000, help="damaged files, those of earlier runs included")
    parser.add_argument("--first", type=int, default=0, help="number of the first damage of each kind of file")
    parser.add_argument("--again", action="store_true", help="read again what was wrong, with what has been mended since")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if given.work:
        work(out, given.inputs, given.first)
        return 0
    if given.again:
        forget(out)
    rows = run(out, given.inputs, given.first)
    wrong = [row for row in rows if is_wrong(row)]
    sys.stdout.write(table(rows) + "\n" + "".join(json.dumps(row) + "\n" for row in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
