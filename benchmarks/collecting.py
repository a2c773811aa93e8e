"""Seconds of a collected episode on one core, start of the command left out, against another checkout.

    python benchmarks/collecting.py --against ../parent --task pick --episodes 20 --rounds 3

Both checkouts run `srcli collect` with one worker in turn, each time with a few episodes and with ``--episodes`` more; the
difference is what those took. Every round has a root seed of its own. Where the simulation differs, so do the numbers of
attempts: they stand beside, and the ratio is that of the medians per episode.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
FEW = 2


def seconds(checkout: Path, task: str, episodes: int, seed: int) -> tuple[float, int]:
    """Wall-clock seconds of one collection, and its attempts."""
    place = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "srcli", "collect", "--task", task, "--episodes", str(episodes), "--seed", str(seed)]
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "--workers", "1", "--out", f"{folder}/{task}.h5", "--json"],
            env=place,
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return time.perf_counter() - start, int(json.loads(done.stdout)["attempts"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, default=None, help="another checkout; none: this one alone")
    parser.add_argument("--task", default="pick")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    checkouts = {"here": HERE, **({"there": args.against.resolve()} if args.against else {})}
    spent: dict[str, list[float]] = {name: [] for name in checkouts}
    attempts = dict.fromkeys(checkouts, 0)
    for number in range(args.rounds):
        for name, checkout in checkouts.items():
            few, _ = seconds(checkout, args.task, FEW, 1000 + number)
            many, tried = seconds(checkout, args.task, FEW + args.episodes, 1000 + number)
            spent[name].append((many - few) / args.episodes)
            attempts[name] += tried
    table: dict[str, object] = {
        name: {
            "seconds": round(statistics.median(values), 3),
            "range": [round(min(values), 3), round(max(values), 3)],
            "attempts an episode": round(attempts[name] / (args.rounds * (FEW + args.episodes)), 2),
        }
        for name, values in spent.items()
    }
    if args.against:
        table["ratio"] = round(statistics.median(spent["here"]) / statistics.median(spent["there"]), 2)
    sys.stdout.write(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
