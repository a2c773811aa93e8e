"""Seconds on the clock from three views and a sentence to an action, as `srcli decide` makes it, against another checkout.

    python benchmarks/decision.py --against ../parent --rounds 5

Both checkouts decide in turn, each in a process of its own with the threads it takes by itself, started as the command is; they
print the median and the range of their rounds' medians, and the ratio of the medians. Checks of the frames are timed apart: they
are made once a recording.
Needs two idle cores: what is gained lies in doing two things at once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
ONE = """
import json, statistics, sys, time
from srcli.cli import main
sys.argv = ["srcli", "--version"]
try:
    main()
except SystemExit:
    print()
from srcli.evaluation.deciding import Decider
from srcli.frames.observation import of_views
from srcli.frames.placing import placed
from srcli.params import Params
from srcli.stages.decide import chosen_method, scene_of
params = Params()
decider = Decider(params, chosen_method(params, "sr_plus"))
checks, seconds = [], []
for index in range(4):
    with scene_of(params, "pick", index) as scene:
        start = time.perf_counter()
        seen = placed(of_views(scene.observe()))
        checks.append(time.perf_counter() - start)
        for _ in range(4):
            start = time.perf_counter()
            decider(seen, scene.sentence)
            seconds.append(time.perf_counter() - start)
json.dump({"decision": statistics.median(seconds[1:]), "checks": statistics.median(checks)}, sys.stdout)
"""


def measured(checkout: Path) -> dict[str, float]:
    """Medians of one process with the package of a checkout."""
    place = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    place |= {"PYTHONPATH": str(checkout)}
    done = subprocess.run([sys.executable, "-c", ONE], env=place, cwd=checkout, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, default=None, help="another checkout; none: this one alone")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    checkouts = {"here": HERE, **({"there": args.against.resolve()} if args.against else {})}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(args.rounds):
        for name, checkout in checkouts.items():
            rounds[name].append(measured(checkout))
    table: dict[str, dict[str, object]] = {}
    for name, runs in rounds.items():
        values = [run["decision"] for run in runs]
        table[name] = {
            "decision": round(statistics.median(values), 3),
            "range": [round(min(values), 3), round(max(values), 3)],
            "checks": round(statistics.median(run["checks"] for run in runs), 3),
        }
    if args.against:
        here, there = (statistics.median(run["decision"] for run in rounds[name]) for name in ("here", "there"))
        table["ratio"] = {"decision": round(here / there, 2)}
    sys.stdout.write(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
