"""Measures the grasp sampler with the score by shape in the simulator, and fits that score anew.

    python benchmarks/grasp_candidates.py measure --scenes 20 --attempts 4 --record attempts.npz
    python benchmarks/grasp_candidates.py fit attempts.npz --out srcli/actions/quality.json

Scenes are 15 random catalogue objects dropped into the workspace, from the probe seeds that nothing else uses. Attempts alternate
between the best candidate, a random one, and (with ``--explore``) any proposal, whatever its quality, which is what a fit needs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from srcli.actions.closing import SHAPE
from srcli.actions.features import FEATURES
from srcli.actions.grasps import ScoredGrasps, sample_grasps, scored_grasps, thin_out
from srcli.actions.poses import canonical_quaternions, rotation_matrices
from srcli.actions.quality import fit
from srcli.config.candidates import CandidateConfig
from srcli.config.sim import SimConfig
from srcli.objects import build, catalogue
from srcli.perception.geometry import unproject_view
from srcli.seeding import Domain, episode_seed, generator
from srcli.sim.world import World
from srcli.types import Action, Candidates, Observation, Reason, SceneTruth

OBJECTS = 15


def scene(world: World, index: int) -> np.random.Generator:
    """Random objects, dropped where the pick task drops them; returns the generator for what follows."""
    rng = generator(episode_seed(0, Domain.PROBE, index))
    names = rng.choice(catalogue().names, OBJECTS, replace=False)
    drops = np.zeros((OBJECTS, 7))
    drops[:, :2] = rng.uniform([0.376, -0.124], [0.624, 0.124], (OBJECTS, 2))
    quaternions = rng.normal(size=(OBJECTS, 4))
    drops[:, 3:] = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    world.reset([build(catalogue()[str(name)]) for name in names], drops)
    return rng


def covered(candidates: Candidates, observation: Observation, truth: SceneTruth) -> tuple[int, int, int]:
    """Objects seen in the workspace; those with a candidate around a part of them; those whose best has quality above a half."""
    points, labels = [], []
    for view in range(len(observation.depth)):
        depth = observation.depth[view]
        points.append(unproject_view(depth, observation.K[view], observation.T_world_cam[view]))
        labels.append(truth.segmentation[view][depth > 0].astype(int) - 1)
    cloud, slot = np.concatenate(points), np.concatenate(labels)
    cloud, slot = cloud[(slot >= 0) & (slot < OBJECTS)], slot[(slot >= 0) & (slot < OBJECTS)]
    best = np.full(OBJECTS, -1.0)
    for pose, quality, frame in zip(candidates.poses, candidates.quality, rotation_matrices(candidates.poses), strict=True):
        near = np.abs(cloud - pose[:3]).max(axis=1) < 0.07
        local = (cloud[near] - pose[:3]) @ frame
        inside = (np.abs(local[:, 0]) < 0.045) & (np.abs(local[:, 1]) < 0.011) & (local[:, 2] < 0.002) & (local[:, 2] > -0.06)
        share = np.bincount(slot[near][inside], weights=np.exp(-((local[inside, 0] / 0.02) ** 2)), minlength=OBJECTS)
        if share.max() > 0:
            best[share.argmax()] = max(best[share.argmax()], float(quality))
    seen = truth.present & (np.bincount(slot, minlength=OBJECTS) >= 50)
    return int(seen.sum()), int((best[seen] >= 0).sum()), int((best[seen] > 0.5).sum())


def pick_one(found: ScoredGrasps, config: CandidateConfig, kind: str, rng: np.random.Generator) -> int | None:
    """Index of the grasp to try: the best or a random candidate, or any proposal of a random place."""
    good = np.flatnonzero(found.quality >= config.min_quality)
    kept = good[thin_out(found.take(good), config)]
    if kind == "any":
        cells = np.floor(found.positions[:, :2] / 0.04).astype(int) @ np.array([1000, 1])
        kept = np.flatnonzero(cells == rng.choice(np.unique(cells))) if len(cells) else kept
    if len(kept) == 0:
        return None
    return int(kept[np.argmax(found.quality[kept])] if kind == "best" else rng.choice(kept))


def measure(args: argparse.Namespace) -> None:
    """Runs the scenes and prints the table."""
    config = CandidateConfig(quality=SHAPE)
    loose = config.model_copy(update={"min_quality": 0.0}) if args.explore else config
    counts, times, coverage = [], [], []
    rows: list[tuple[str, float, bool, str, np.ndarray]] = []
    kinds = ("best", "random", "any") if args.explore else ("best", "random")
    with World(SimConfig()) as world:
        for index in range(args.start, args.start + args.scenes):
            rng = scene(world, index)
            for attempt in range(args.attempts):
                observation, segmentation = world.observe(rng)
                if attempt == 0:
                    begin = time.process_time()
                    candidates = sample_grasps(observation, config)
                    times.append(time.process_time() - begin)
                    counts.append(len(candidates))
                    coverage.append(covered(candidates, observation, world.truth(segmentation)))
                kind = kinds[(attempt + index) % len(kinds)]
                found = scored_grasps(observation, loose)
                chosen = pick_one(found, config, kind, rng)
                if chosen is None:
                    break
                pose = np.concatenate([found.positions[chosen], canonical_quaternions(found.rotations[[chosen]])[0]])
                execution = world.execute(Action("grasp", pose.astype(np.float32), float(found.widths[chosen])))
                held = execution.reason is Reason.SUCCESS
                rows.append((kind, float(found.quality[chosen]), held, execution.reason.value, found.features[chosen]))
                world.discard()
            sys.stderr.write(f"scene {index}: {sum(row[2] for row in rows)}/{len(rows)} held\n")
            if args.record:
                save(args.record, rows)
    report(counts, times, coverage, rows)


def save(path: Path, rows: list[tuple[str, float, bool, str, np.ndarray]]) -> None:
    """Writes the attempts for :func:`refit`."""
    features = np.stack([row[4] for row in rows]) if rows else np.zeros((0, len(FEATURES)))
    np.savez(path, features=features, held=[row[2] for row in rows], reason=[row[3] for row in rows])


def report(
    counts: list[int],
    times: list[float],
    coverage: list[tuple[int, int, int]],
    rows: list[tuple[str, float, bool, str, np.ndarray]],
) -> None:
    """Prints the table."""
    seen, some, likely = np.array(coverage).sum(axis=0)
    out = sys.stdout.write
    out(f"scenes                          {len(counts)}\n")
    out(f"candidates per scene            {np.mean(counts):.1f}\n")
    out(f"CPU milliseconds per scene      {1000 * np.median(times):.0f} (median)\n")
    out(f"objects with a candidate        {some}/{seen} = {some / seen:.3f}\n")
    out(f"objects with one above 0.5      {likely}/{seen} = {likely / seen:.3f}\n")
    for kind in ("best", "random", "any"):
        held = [row[2] for row in rows if row[0] == kind]
        if held:
            reasons = Counter(row[3] for row in rows if row[0] == kind)
            out(f"{kind:<7} held                    {sum(held)}/{len(held)} = {np.mean(held):.3f}  {dict(reasons)}\n")
    for low in np.arange(0.0, 1.0, 0.1):
        held = [row[2] for row in rows if low <= row[1] < low + 0.1 + 1e-9 * (low > 0.89)]
        if held:
            out(f"quality {low:.1f}-{low + 0.1:.1f} held            {sum(held)}/{len(held)} = {np.mean(held):.3f}\n")


def refit(args: argparse.Namespace) -> None:
    """Fits the quality score to recorded attempts (motions that never started tell nothing and are left out)."""
    files = [np.load(path) for path in args.attempts]
    reason = np.concatenate([file["reason"] for file in files])
    features = np.concatenate([file["features"] for file in files])[reason != Reason.NO_IK.value]
    held = np.concatenate([file["held"] for file in files])[reason != Reason.NO_IK.value].astype(bool)
    model = fit(features.astype(np.float32), held, hidden=args.hidden, decay=args.decay)
    args.out.write_text(model.to_json(), encoding="utf-8")
    sys.stdout.write(f"fitted to {len(held)} attempts, {held.mean():.3f} held\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("measure", help="candidates, coverage and hold rates")
    run.add_argument("--scenes", type=int, default=20)
    run.add_argument("--start", type=int, default=0, help="index of the first scene")
    run.add_argument("--attempts", type=int, default=4, help="attempts per scene, one after another")
    run.add_argument("--explore", action="store_true", help="also try proposals of any quality")
    run.add_argument("--record", type=Path, help="write the attempts for a fit (.npz)")
    run.set_defaults(run=measure)
    again = commands.add_parser("fit", help="fit the quality score to recorded attempts")
    again.add_argument("attempts", type=Path, nargs="+")
    again.add_argument("--out", type=Path, required=True)
    again.add_argument("--hidden", type=int, default=8)
    again.add_argument("--decay", type=float, default=0.01)
    again.set_defaults(run=refit)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
