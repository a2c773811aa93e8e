"""Measures the placement sampler and the measured size of held objects in the simulator.

    python benchmarks/placement_candidates.py --scenes 20

Scenes are 8 random catalogue objects, at least 0.1 m apart, in the place zone and one more that the arm picks in the other zone,
from the probe seeds that nothing else uses. An object counts as a possible reference when true geometry has room for what is held
on, in or around it; it is served when a candidate is truly good for that. One good candidate per scene and region is carried out.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import numpy as np
from scipy import ndimage

from srcli.actions.grasps import sample_grasps
from srcli.actions.placement_map import PlacementMap
from srcli.actions.placements import sample_placements
from srcli.config.candidates import CandidateConfig
from srcli.config.placements import PlacementConfig
from srcli.config.sim import SimConfig
from srcli.objects import ObjectModel, build, catalogue
from srcli.perception.held import measure_held
from srcli.seeding import Domain, episode_seed, generator
from srcli.sim.grasping import rotation
from srcli.sim.robot import HOME, forward
from srcli.sim.world import World
from srcli.types import PICK_SHIFT, PLACE_SHIFT, Action, Candidates, HeldExtent, Reason, SceneTruth

OBJECTS, SPACING, HALF_WIDTH = 8, 0.1, 0.15
REGIONS = ("on", "in", "around")
HOLLOW = ("bowl", "cup", "mug", "dish", "tape", "container")
FIRST = 20_000


def drop_points(rng: np.random.Generator) -> np.ndarray:
    """(8, 2) drop positions with the least spacing."""
    while True:
        points: list[np.ndarray] = []
        for _ in range(100):
            point = rng.uniform([0.5 - HALF_WIDTH, -HALF_WIDTH], [0.5 + HALF_WIDTH, HALF_WIDTH])
            if all(np.linalg.norm(point - other) >= SPACING for other in points):
                points.append(point)
            if len(points) == OBJECTS:
                return np.stack(points)


def scene(world: World, index: int) -> tuple[list[ObjectModel], np.random.Generator]:
    """Drops the objects, two of them hollow; the last one is to be held."""
    rng = generator(episode_seed(0, Domain.PROBE, FIRST + index))
    names = list(catalogue().names)
    hollow = [name for name in names if any(part in name for part in HOLLOW)]
    chosen = [str(name) for name in rng.choice(hollow, 2, replace=False)]
    chosen += [str(name) for name in rng.choice([n for n in names if n not in chosen], OBJECTS - 1, replace=False)]
    drops = np.zeros((OBJECTS + 1, 7))
    drops[:OBJECTS, :2], drops[OBJECTS, :2] = drop_points(rng), (0.5, 0.0)
    quaternions = rng.normal(size=(OBJECTS + 1, 4))
    # Hollow things stand upright, or nothing could be put in.
    quaternions[:2] = (0.0, 0.0, 0.0, 1.0)
    drops[:, 3:] = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    models = [build(catalogue()[name]) for name in chosen]
    world.reset(models, drops, shifts=[PLACE_SHIFT] * OBJECTS + [PICK_SHIFT])
    return models, rng


def pick(world: World, rng: np.random.Generator) -> bool:
    """Picks what lies in the pick zone, in at most six attempts."""
    world.enter_zone(PICK_SHIFT)
    for _ in range(6):
        found = sample_grasps(world.observe(rng)[0], CandidateConfig())
        if len(found) == 0:
            return False
        best = int(np.argmax(found.quality))
        if world.execute(Action("grasp", found.poses[best], float(found.widths[best]))).reason is Reason.SUCCESS:
            return True
    return False


def surface(model: ObjectModel, pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(P, 3) points all over an object's surface at a pose of 7 numbers, two per square millimetre of the smaller ones."""
    points = []
    for visual in model.visuals:
        corners = visual.vertices[visual.faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
        which = rng.choice(len(area), 6000, p=area / area.sum())
        a, b = np.sqrt(rng.random(6000)), rng.random(6000)
        points.append((np.stack([1 - a, a * (1 - b), a * b], axis=1)[:, :, None] * corners[which]).sum(axis=1))
    moved: np.ndarray = np.concatenate(points) @ rotation(pose[3:]).T + pose[:3]
    return moved


def true_terrain(models: list[ObjectModel], truth: SceneTruth, config: PlacementConfig, rng: np.random.Generator) -> PlacementMap:
    """The ground as it is; things are numbered slot + 1."""
    margin = 0.10
    origin = np.array(config.lower[:2]) - margin
    size = np.ceil((np.array(config.upper[:2]) + margin - origin) / config.cell).astype(int) + 1
    heights, things = np.zeros(tuple(size), dtype=np.float32), np.zeros(tuple(size), dtype=np.int32)
    for slot in np.flatnonzero(truth.present[:OBJECTS]):
        points = surface(models[slot], truth.poses[slot], rng)
        index = np.rint((points[:, :2] - origin) / config.cell).astype(int)
        index, points = index[((index >= 0) & (index < size)).all(axis=1)], points[((index >= 0) & (index < size)).all(axis=1)]
        own = np.zeros(tuple(size), dtype=np.float32)
        np.maximum.at(own, (index[:, 0], index[:, 1]), points[:, 2].astype(np.float32))
        filled = ndimage.binary_fill_holes(own > 0)
        things[(filled & (things == 0)) | (own > heights)] = slot + 1
        heights = np.maximum(heights, own)
    return PlacementMap(heights, things, OBJECTS, origin, config.cell)


def good_places(
    ground: PlacementMap, slot: int, cells: np.ndarray, held: HeldExtent, region: str
) -> tuple[np.ndarray, np.ndarray]:
    """Which true cells (P, 2) are right for a region of a reference, and the height (P,) of what lies under the object."""
    good, rest = np.zeros(len(cells), dtype=bool), np.zeros(len(cells), dtype=np.float32)
    own = ground.things == slot + 1
    if region == "around":
        reference, others = (ndimage.distance_transform_edt(~mask) * ground.cell for mask in (own, ground.things > 0))
        room, away = others[cells[:, 0], cells[:, 1]], reference[cells[:, 0], cells[:, 1]]
        return (room >= held.half_width) & (away <= 0.15), rest
    on = own[cells[:, 0], cells[:, 1]]
    under = ground.around(cells[on], ground.disc(max(held.half_width, 0.01)))
    rest[on] = under.max(axis=1, initial=0.0)
    deep = ground.rim(cells[on]) - rest[on] >= 0.015
    carried = (under > (rest[on] - 0.006)[:, None]).mean(axis=1) >= 0.4
    good[on] = deep if region == "in" else carried & ~deep
    return good, rest


def served(
    ground: PlacementMap, slot: int, region: str, held: HeldExtent, candidates: Candidates, config: PlacementConfig
) -> tuple[bool, np.ndarray]:
    """Whether true geometry has a place, and which candidates (K,) are truly good."""
    grid = np.argwhere(np.ones(ground.heights.shape, dtype=bool))
    xy = ground.positions(grid)
    inside = ((xy > np.array(config.lower[:2]) + 0.02) & (xy < np.array(config.upper[:2]) - 0.02)).all(axis=1)
    # The far corner of the zone is out of reach.
    inside &= np.hypot(xy[:, 0], xy[:, 1] + config.shift) < 0.78
    possible = bool(good_places(ground, slot, grid[inside], held, region)[0].sum() >= 4)
    cells = np.rint((candidates.poses[:, :2] - ground.origin) / ground.cell).astype(int)
    right, rest = good_places(ground, slot, cells, held, region)
    z = candidates.poses[:, 2]
    highest = ground.rim(cells) if region == "in" else rest + 0.025
    return possible, right & (z > rest - 0.008) & (z < highest + 0.008)


def true_extent(points: np.ndarray) -> tuple[float, float, float]:
    """Radius, half width, height of points (P, 3) by the definition of :class:`HeldExtent`, without noise."""
    xy = np.unique(np.floor(points[:, :2] / 0.002), axis=0) * 0.002
    angle = np.arange(180) * np.pi / 180
    along = xy @ np.stack([np.cos(angle), np.sin(angle)])
    width = np.ptp(along, axis=0)
    first = int(np.argmin(width))
    second = (first + 90) % 180
    u, v = (along[:, k] - (along[:, k].max() + along[:, k].min()) / 2 for k in (first, second))
    return float(np.quantile(np.hypot(u, v), 0.95)), float(np.quantile(np.abs(u), 0.95)), float(np.ptp(points[:, 2]))


def settled(region: str, slot: int, truth: SceneTruth) -> bool:
    """Whether the released object rests where it should, by contacts and height."""
    pairs = set(truth.contacts)
    touches, table = (slot, OBJECTS) in pairs, (-1, OBJECTS) in pairs
    if not bool(truth.present[OBJECTS]):
        return False
    return (touches and not table) if region != "around" else (table and not touches)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--start", type=int, default=0, help="index of the first scene")
    args = parser.parse_args()
    config = PlacementConfig()
    possible, good, tried, done = (Counter[str]() for _ in range(4))
    reasons = Counter[str]()
    counts: list[int] = []
    times: list[float] = []
    sizes = []
    with World(SimConfig()) as world:
        for index in range(args.start, args.start + args.scenes):
            models, rng = scene(world, index)
            if not pick(world, rng):
                reasons["not picked"] += 1
                continue
            world.enter_zone(PLACE_SHIFT)
            observation, tip = world.present_held(rng)
            if world.held is None:
                reasons["lost while presented"] += 1
                continue
            held = measure_held(observation, tip)
            before = world.truth()
            home = forward(HOME)
            turn = np.eye(4)
            turn[:3, :3] = tip[:3, :3] @ home[:3, :3].T
            points = surface(models[OBJECTS], before.poses[OBJECTS], rng) @ turn[:3, :3].T
            sizes.append(((held.radius, held.half_width, held.height), true_extent(points), models[OBJECTS].name))
            observation, _ = world.observe(rng)
            begin = time.process_time()
            candidates = sample_placements(observation, held, config, rng)
            times.append(time.process_time() - begin)
            counts.append(len(candidates))
            ground = true_terrain(models, before, config, rng)
            choices = []
            for slot in map(int, np.flatnonzero(before.present[:OBJECTS])):
                for region in REGIONS:
                    room, right = served(ground, slot, region, held, candidates, config)
                    possible[region] += room
                    good[region] += room and bool(right.any())
                    if room and not right.any():
                        sys.stderr.write(f"scene {index}: nothing {region} {models[slot].name}\n")
                    choices += [(region, slot, int(k)) for k in np.flatnonzero(right)]
            region = REGIONS[index % 3]
            fitting = [choice for choice in choices if choice[0] == region] or choices
            region, slot, k = fitting[int(rng.integers(len(fitting)))]
            execution = world.execute(Action("place", candidates.poses[k], 0.0, k))
            success = execution.reason is Reason.SUCCESS and settled(region, slot, world.truth())
            tried[region] += 1
            done[region] += success
            reasons[execution.reason.value] += 1
            sys.stderr.write(
                f"scene {index}: {models[OBJECTS].name} {region} {models[slot].name} quality {candidates.quality[k]:.2f} "
                f"{execution.reason.value} {'ok' if success else 'FAILED'}\n"
            )
    out = sys.stdout.write
    out(f"scenes                    {len(counts)}  {dict(reasons)}\n")
    out(f"candidates per scene      {np.mean(counts):.0f} ({np.min(counts)} to {np.max(counts)})\n")
    out(f"CPU milliseconds          {1000 * np.median(times):.0f} (median)\n")
    for region in REGIONS:
        out(f"{region:<7} references served  {good[region]}/{possible[region]}, carried out {done[region]}/{tried[region]}\n")
    error = np.array([np.subtract(*size[:2]) for size in sizes]) * 1000
    for k, name in enumerate(("radius", "half width", "height")):
        low, middle, high = np.quantile(error[:, k], [0.1, 0.5, 0.9])
        out(f"{name:<10} measured - true  median {middle:+.1f} mm, 80% within {low:+.1f} .. {high:+.1f} mm\n")
    for measured, true, name in sizes:
        sys.stderr.write(f"{name:<24} measured {np.round(np.array(measured) * 1000)} true {np.round(np.array(true) * 1000)} mm\n")


if __name__ == "__main__":
    main()
