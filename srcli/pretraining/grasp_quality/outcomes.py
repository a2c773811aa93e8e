"""Grasps in piles of varied objects, and whether each holds after lift and transfer. Privileged: only outcomes are learned from.

Every grasp of a pile is executed in a copy of the same settled scene, so that a pile is dropped once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from srcli.actions.closing import Regions, crop
from srcli.actions.grasps import ScoredGrasps, scored_grasps, thin_out
from srcli.actions.heightmaps import surface_points
from srcli.actions.poses import canonical_quaternions
from srcli.objects import ObjectModel, build, catalogue, sample_variation
from srcli.parallel.branching import branch, can_branch
from srcli.params import Params
from srcli.pretraining.cache import is_whole, load_arrays, store_arrays
from srcli.seeding import Domain, episode_seed, generator
from srcli.sim import World
from srcli.tasks.draws import pile_drops
from srcli.types import F32, F64, I64, Action, Bool, Observation, Reason

Kind = Literal["train", "calibration", "valid_seen", "valid_unseen"]
KINDS: tuple[Kind, ...] = ("train", "calibration", "valid_seen", "valid_unseen")
STORED_POINTS = 256
"""Points kept of a closing region, more than the network reads, so that it may read others each time."""

_STREAM: dict[Kind, int] = {"train": 20, "valid_seen": 21, "valid_unseen": 22, "calibration": 23}
_PLACE = 0.04
_ARRAYS = ("points", "count", "grasps", "features", "held", "heightmap_quality", "offered")


@dataclass(frozen=True, slots=True)
class PileJob:
    """One pile."""

    kind: Kind
    number: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """G executed grasps.

    Attributes:
        regions: what stood in and around the gripper.
        held: (G,) whether something was held after lift and transfer.
        heightmap_quality: (G,) the quality by the features of the height map, for comparison.
        offered: (G,) whether it was one of the sampler's candidates; the others were drawn from all proposals.
        pile: (G,) number of the pile.
    """

    regions: Regions
    held: Bool
    heightmap_quality: F32
    offered: Bool
    pile: I64

    def __len__(self) -> int:
        return len(self.held)


class _Worker:
    def __init__(self, params: Params) -> None:
        self.params = params
        self.world = World(params.sim)


_worker: _Worker | None = None


def start(params: Params) -> None:
    """Prepare this process: a world."""
    global _worker
    _worker = _Worker(params)


def play(job: PileJob) -> dict[str, Any]:
    """Drop one pile, look at it, and execute some of its grasps.

    Returns:
        Arrays by name as :func:`store` writes them. Grasps that the arm cannot reach tell nothing of the object and are left out.
    """
    if _worker is None:
        raise RuntimeError("the worker has not been started")
    params, world = _worker.params, _worker.world
    models, poses, observation, chosen, offered = drop_pile(world, params, job)
    quaternions = canonical_quaternions(chosen.rotations)
    held = np.zeros(len(chosen), dtype=bool)
    reached = np.zeros(len(chosen), dtype=bool)
    for row in range(len(chosen)):
        pose = np.concatenate([chosen.positions[row], quaternions[row]]).astype(np.float32)
        reached[row], held[row] = _outcome(world, models, poses, Action("grasp", pose, float(chosen.widths[row])))
    points = surface_points(observation, params.candidates)
    regions = crop(points, chosen.positions, chosen.rotations, chosen.widths, chosen.features, STORED_POINTS)
    return {
        "points": regions.points[reached].astype(np.float16),
        "count": regions.count[reached],
        "grasps": regions.grasps[reached],
        "features": regions.features[reached],
        "held": held[reached],
        "heightmap_quality": chosen.quality[reached],
        "offered": (np.arange(len(chosen)) < offered)[reached],
    }


def drop_pile(world: World, params: Params, job: PileJob) -> tuple[list[ObjectModel], F64, Observation, ScoredGrasps, int]:
    """Drop a pile and choose what is executed in it: models, their poses, views, grasps, and how many of these are candidates
    of the sampler (the first ones)."""
    config = params.pretrain.grasp
    seed = episode_seed(config.seed, Domain.PRETRAIN if job.kind == "train" else Domain.PRETRAIN_VALID, job.number)
    rng = generator(seed, _STREAM[job.kind])
    models = _models(job.kind, int(rng.integers(config.objects_min, config.objects_max + 1)), rng)
    poses = pile_drops(rng, len(models), params.scene)
    world.reset(models, poses)
    observation, _ = world.observe(rng)
    found = scored_grasps(observation, params.candidates.model_copy(update={"min_quality": 0.0}))
    offered, others = _drawn(found, params, rng)
    return models, poses, observation, found.take(np.concatenate([offered, others])), len(offered)


def _models(kind: Kind, count: int, rng: np.random.Generator) -> list[ObjectModel]:
    """Varied instances of the seen split; for validation on the unseen split its own instances, which nothing learns from."""
    known = catalogue()
    names = known.unseen if kind == "valid_unseen" else known.seen
    chosen = [known[str(name)] for name in rng.choice(names, min(count, len(names)), replace=False)]
    if kind == "valid_unseen":
        return [build(entry) for entry in chosen]
    return [build(entry, sample_variation(entry, rng)[0]) for entry in chosen]


def _drawn(found: ScoredGrasps, params: Params, rng: np.random.Generator) -> tuple[I64, I64]:
    """Which grasps are executed: some of the sampler's candidates, and proposals of any quality at random places."""
    config = params.pretrain.grasp
    explored = round(config.explored * config.grasps)
    good = np.flatnonzero(found.quality >= params.candidates.min_quality)
    kept = good[thin_out(found.take(good), params.candidates)]
    offered = rng.permutation(kept)[: config.grasps - explored]
    cells = np.floor(found.positions[:, :2] / _PLACE).astype(np.int64) @ np.array([1000, 1])
    others: list[int] = []
    for _ in range(explored if len(found) else 0):
        others.append(int(rng.choice(np.flatnonzero(cells == rng.choice(np.unique(cells))))))
    left = np.array(sorted(set(others) - set(offered.tolist())), dtype=np.int64)
    return offered, left


def _outcome(world: World, models: Sequence[ObjectModel], poses: F64, action: Action) -> tuple[bool, bool]:
    """Whether the arm reaches the grasp, and whether it holds; the world is afterwards as it was."""

    def tried() -> tuple[bool, bool]:
        execution = world.execute(action)
        holds = execution.reason is Reason.SUCCESS and world.carry_home()
        return execution.reason is not Reason.NO_IK, holds

    if can_branch():
        return branch(tried)
    try:
        return tried()
    finally:
        world.reset(models, poses)


def pile_path(folder: Path, job: PileJob) -> Path:
    """Where a pile's outcomes are kept."""
    return folder / job.kind / f"{job.number:06d}.npz"


def store(path: Path, arrays: dict[str, Any]) -> None:
    """Keep a pile's outcomes.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    store_arrays(path, arrays)


def load(folder: Path, jobs: Sequence[PileJob]) -> Outcomes:
    """All outcomes of some piles.

    Raises:
        ArtifactError: a file is damaged.
    """
    parts: dict[str, list[Any]] = {}
    for job in jobs:
        arrays = load_arrays(pile_path(folder, job), _ARRAYS, "outcomes of grasps", "srcli pretrain grasp")
        arrays["pile"] = np.full(len(arrays["held"]), job.number)
        for name, value in arrays.items():
            parts.setdefault(name, []).append(value)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    points, count = joined["points"].astype(np.float32), joined["count"].astype(np.int64)
    regions = Regions(points, count, joined["grasps"], joined["features"])
    return Outcomes(regions, joined["held"], joined["heightmap_quality"], joined["offered"], joined["pile"].astype(np.int64))


def missing(folder: Path, jobs: Sequence[PileJob]) -> list[PileJob]:
    """The piles that have not been played yet, or whose outcomes are damaged."""
    return [job for job in jobs if not is_whole(pile_path(folder, job))]
