"""Measures grasping, carrying, presenting and placing in the simulator.

    python benchmarks/placing.py --scenes 40
    python benchmarks/placing.py --scenes 40 --onto bowl

In every scene (probe seeds, which nothing else uses) one random catalogue object lies alone in the pick zone and eight lie in the
place zone. The arm picks it by the best candidate of the package's own sampler (up to six attempts), presents it to the cameras
and places it where the place zone is most free, or on top of an object of that name. Error: horizontal distance from the asked
position to the object's centre of mass at rest. Swung: it hangs tilted by more than 15 degrees from how it lay. Upright: it comes
to rest within 15 degrees of the tilt that it hung with.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from srcli.actions.grasps import sample_grasps
from srcli.config.candidates import CandidateConfig
from srcli.config.sim import SimConfig
from srcli.objects import build, catalogue
from srcli.perception.geometry import unproject_view
from srcli.seeding import Domain, episode_seed, generator
from srcli.sim import PICK_SHIFT, PLACE_SHIFT, World
from srcli.types import F64, Action, Observation, Reason

OTHERS = 8
ATTEMPTS = 6
HALF_WIDTH = 0.15
SPOT_WIDTH = 0.18
SPACING = 0.1
CENTRE = np.array([0.5, 0.0])
RELEASE = 0.005
NEAR = 0.015
UPRIGHT = np.cos(np.deg2rad(15.0))


@dataclass
class Row:
    """One scene: what happened, and what it cost."""

    name: str
    attempts: int = 0
    held: bool = False
    presented: bool = False
    released: bool = False
    reason: str = ""
    swing: float = np.nan
    error: float = np.nan
    tilt: float = np.nan
    moved: float = np.nan
    touches: bool = False
    steps: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def vertical(pose: F64) -> F64:
    """The world's vertical (3,) in the frame of a body with this pose (7,)."""
    x, y, z, w = pose[3:]
    return np.array([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)])


def layout(rng: np.random.Generator, onto: str) -> tuple[list[str], F64]:
    """Names and drop poses (9, 7) of the eight objects in the place zone and, last, the one to be held."""
    names = [str(name) for name in rng.choice(catalogue().names, OTHERS + 1, replace=False)]
    if onto:
        names = [onto, *[name for name in names if name != onto][: OTHERS - 1], next(n for n in reversed(names) if n != onto)]
    drops = np.zeros((len(names), 7))
    places: list[F64] = []
    while len(places) < OTHERS:
        places = [np.zeros(2)] if onto else []
        for place in rng.uniform(-HALF_WIDTH, HALF_WIDTH, (200, 2)):
            if len(places) < OTHERS and all(np.linalg.norm(place - other) > SPACING for other in places):
                places.append(place)
    drops[:, :2] = np.array([*places, rng.uniform(-0.1, 0.1, 2)]) + CENTRE
    yaw = rng.uniform(-np.pi, np.pi, len(names))
    drops[:, 5], drops[:, 6] = np.sin(yaw / 2), np.cos(yaw / 2)
    if not onto:
        loose = rng.normal(size=(len(names), 4))
        drops[:, 3:] = loose / np.linalg.norm(loose, axis=1, keepdims=True)
    return names, drops


def pick(world: World, rng: np.random.Generator, row: Row) -> None:
    """Grasps what lies in the zone looked at."""
    for attempt in range(ATTEMPTS):
        observation, _ = world.observe(rng)
        candidates = sample_grasps(observation, CandidateConfig())
        if len(candidates) == 0:
            row.reason = "no_candidate"
            return
        best = np.argsort(-candidates.quality)[min(attempt, len(candidates) - 1)]
        row.attempts += 1
        execution = world.execute(Action("grasp", candidates.poses[best], float(candidates.widths[best])))
        row.reason = execution.reason.value
        if world.held == OTHERS:
            row.held = True
            return
        world.discard()


def surface(observation: Observation, spot: F64) -> float:
    """Median height in metres of what the top camera sees within 15 mm of a place (2,)."""
    points = unproject_view(observation.depth[0], observation.K[0], observation.T_world_cam[0])
    near = points[np.linalg.norm(points[:, :2] - spot, axis=1) < NEAR]
    return float(np.median(near[:, 2])) if len(near) else 0.0


def run(world: World, index: int, onto: str) -> Row:
    """One scene."""
    rng = generator(episode_seed(0, Domain.PROBE, index), 77)
    names, drops = layout(rng, onto)
    row = Row(names[-1])

    def clocked(what: str, begin: tuple[float, int]) -> tuple[float, int]:
        now = (time.process_time(), world.steps)
        row.seconds[what], row.steps[what] = now[0] - begin[0], now[1] - begin[1]
        return now

    clock = (time.process_time(), 0)
    world.reset([build(catalogue()[name]) for name in names], drops, shifts=[PLACE_SHIFT] * OTHERS + [PICK_SHIFT])
    clock = clocked("reset", clock)
    world.enter_zone(PICK_SHIFT)
    lying = world.truth().poses[-1]
    pick(world, rng, row)
    clock = clocked("grasp", clock)
    if not row.held:
        return row
    world.present_held(rng)
    row.presented = world.held is not None
    clock = clocked("present", clock)
    world.enter_zone(PLACE_SHIFT)
    if not row.presented:
        row.reason = "dropped"
        return row
    before = world.truth()
    row.swing = float(vertical(lying) @ vertical(before.poses[-1]))
    others = before.poses[:OTHERS, :2]
    spots = rng.uniform(-SPOT_WIDTH, SPOT_WIDTH, (200, 2)) + CENTRE
    spot = spots[np.argmax(np.linalg.norm(spots[:, None] - others[None], axis=2).min(axis=1))]
    yaw = 0.0 if onto else rng.uniform(-np.pi / 2, np.pi / 2)
    if onto:
        spot = before.poses[0, :2]
    height = RELEASE + surface(world.observe(rng)[0], spot)
    pose = np.array([*spot, height, np.cos(yaw / 2), np.sin(yaw / 2), 0.0, 0.0], dtype=np.float32)
    clock = (time.process_time(), world.steps)
    execution = world.execute(Action("place", pose, 0.0))
    clocked("place", clock)
    row.reason, row.released = execution.reason.value, execution.reason is Reason.SUCCESS
    after = world.truth()
    row.error = float(np.linalg.norm(after.poses[-1, :2] - spot))
    row.touches = any(pair[1] == OTHERS and pair[0] >= 0 for pair in after.contacts)
    row.tilt = float(vertical(before.poses[-1]) @ vertical(after.poses[-1]))
    row.moved = float(np.nanmax(np.linalg.norm(after.poses[:OTHERS, :3] - before.poses[:OTHERS, :3], axis=1)))
    return row


def report(rows: list[Row]) -> None:
    """Prints the table."""
    out = sys.stdout.write
    released = [row for row in rows if row.released]

    def rate(label: str, hits: int, of: int) -> None:
        out(f"{label:<32}{hits}/{of} = {hits / max(of, 1):.3f}\n")

    held, presented = [row for row in rows if row.held], [row for row in rows if row.presented]
    rate("held within six attempts", len(held), len(rows))
    rate("held at the first attempt", sum(row.attempts == 1 for row in held), len(rows))
    rate("kept while presented", len(presented), len(held))
    rate("kept until released", len(released), len(presented))
    rate("swung by more than 15 degrees", sum(row.swing < UPRIGHT for row in released), len(released))
    error = np.array([row.error for row in released])
    for limit in (0.01, 0.02, 0.05):
        rate(f"error below {100 * limit:.0f} cm", int((error < limit).sum()), len(error))
    out(f"error in mm                     median {1000 * np.median(error):.1f}, 90% {1000 * np.quantile(error, 0.9):.1f}\n")
    rate("touches another object", sum(row.touches for row in released), len(released))
    rate("upright as it hung", sum(row.tilt > UPRIGHT for row in released), len(released))
    rate("others moved less than 1 cm", sum(row.moved < 0.01 for row in released), len(released))
    for what in ("reset", "grasp", "present", "place"):
        some = [row for row in rows if what in row.seconds]
        seconds, steps = (
            np.median([values[what] for values in each]) for each in ([r.seconds for r in some], [r.steps for r in some])
        )
        out(f"{what:<8} median               {seconds:.2f} CPU s, {steps:.0f} steps\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--start", type=int, default=0, help="index of the first scene")
    parser.add_argument("--onto", default="", help="name of the object to place on top of; default: the free table")
    args = parser.parse_args()
    rows = []
    with World(SimConfig()) as world:
        for index in range(args.start, args.start + args.scenes):
            row = run(world, index, args.onto)
            rows.append(row)
            tilts = f"swing {row.swing:.2f}, tilt {row.tilt:.2f}"
            measured = (
                f"error {1000 * row.error:.0f} mm, {tilts}, others moved {1000 * row.moved:.0f} mm, touches {row.touches:d}"
            )
            sys.stderr.write(f"{index} {row.name}: {row.attempts} {row.reason}, {measured}\n")
    report(rows)


if __name__ == "__main__":
    main()
