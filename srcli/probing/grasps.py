"""The grasp candidates alone: which objects they cover, which hold, and whether their quality knows. Privileged.

Every grasp is executed in a copy of the same settled scene: a fork of the worker where that can be had, otherwise the scene is
built anew from its seed, which gives the same to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from srcli.evaluation.candidate_slots import candidate_slots
from srcli.evaluation.setup import set_up
from srcli.parallel.branching import branch, can_branch
from srcli.params import Params
from srcli.probing.antipodal_search import search
from srcli.probing.scenes import Scene, build_scene
from srcli.probing.surface import scene_points, surface
from srcli.seeding import generator
from srcli.types import I32, Action, Candidates, Execution, Reason

if TYPE_CHECKING:
    from srcli.actions.sources import GraspSource
    from srcli.sim import World

_DRAW = 3


@dataclass(frozen=True, slots=True)
class GraspJob:
    """One pile."""

    split: str
    number: int


class _Worker:
    def __init__(self, params: Params, device: str) -> None:
        from srcli.actions.sources import grasp_source, use_device
        from srcli.sim import World

        use_device(device)
        self.params, self.device = params, device
        self.world = World(params.sim)
        self.source: GraspSource = grasp_source(params.candidates.source, params.candidates)


_worker: _Worker | None = None


def start(params: Params, device: str = "cpu") -> None:
    """Prepare this process: a world and the source of candidates, a detector on ``device``."""
    global _worker
    _worker = _Worker(params, device)


def play(job: GraspJob) -> dict[str, Any]:
    """Measure one pile.

    Returns:
        Plain data: ``objects`` (for each: candidates, whether one holds it, the top one, a random one, and what the dense search
        found), ``sampled`` (quality, held) of candidates drawn uniformly, ``milliseconds`` of the candidates' call, and the
        outcomes of the top candidates in ``reasons``.
    """
    if _worker is None:
        raise RuntimeError("the worker has not been started")
    params, world = _worker.params, _worker.world
    record: dict[str, Any] = {"split": job.split, "number": job.number, "set_up": False}
    scene = build_scene(world, params, "pick", job.split, job.number)
    if scene is None:
        return record
    sampler = _worker.source.episode(scene.spec)
    # Of this process's core; on a GPU the clock says what a call takes.
    clock = time.process_time if _worker.device == "cpu" else time.perf_counter
    begin = clock()
    candidates = sampler(scene.observation)
    milliseconds = 1000.0 * (clock() - begin)
    return {**record, "set_up": True, "milliseconds": milliseconds, **measure(world, scene, candidates, params)}


def measure(world: World, scene: Scene, candidates: Candidates, params: Params) -> dict[str, Any]:
    """Execute what has to be executed to know the outcomes of a pile's candidates; the world is left as it was or built anew."""
    execute = executor(world, scene, params)
    slots = candidate_slots(scene.observation, scene.segmentation, candidates)
    rng = generator(scene.seed, _DRAW)
    known: dict[int, Execution] = {}

    def outcome(index: int) -> Execution:
        if index not in known:
            known[index] = execute(Action("grasp", candidates.poses[index], float(candidates.widths[index]), index))
        return known[index]

    points = scene_points(scene.spec.objects, scene.truth.poses, scene.truth.present)
    objects = []
    for slot in np.flatnonzero(scene.truth.present):
        row = _of_object(int(slot), slots, candidates, outcome, params.probe.dense_grasps, rng)
        pose = scene.truth.poses[slot]
        actions = search(surface(scene.spec.objects[slot]).moved(pose), pose[:3], points, params.probe.dense_grasps)
        tried, held = 0, False
        for action in actions:
            tried += 1
            if _holds(execute(action), int(slot)):
                held = True
                break
        objects.append(
            {"name": scene.spec.objects[slot], **row, "dense_found": len(actions), "dense_tried": tried, "dense": held}
        )
    count = len(candidates) if params.probe.sampled == 0 else min(params.probe.sampled, len(candidates))
    drawn = [int(index) for index in rng.permutation(len(candidates))[:count]]
    sampled = [(float(candidates.quality[index]), outcome(index).reason is Reason.SUCCESS) for index in drawn]
    return {"candidates": len(candidates), "objects": objects, "sampled": sampled}


def _of_object(
    slot: int, slots: I32, candidates: Candidates, outcome: Callable[[int], Execution], most: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The candidates on one object: the top one, a random one, and the others, best first, until one holds it."""
    own = np.flatnonzero(slots == slot)
    row: dict[str, Any] = {"candidates": len(own), "holds": False, "top": None, "random": None, "reason": "", "quality": None}
    if not len(own):
        return row
    order = own[np.argsort(-candidates.quality[own], kind="stable")]
    top = outcome(int(order[0]))
    drawn = outcome(int(own[rng.integers(len(own))]))
    wrong = top.reason is Reason.SUCCESS and top.slot != slot
    row.update(
        top=_holds(top, slot),
        random=_holds(drawn, slot),
        reason=Reason.WRONG_OBJECT.value if wrong else top.reason.value,
        quality=float(candidates.quality[order[0]]),
    )
    row["holds"] = row["top"] or row["random"] or any(_holds(outcome(int(index)), slot) for index in order[1:most])
    return row


def _holds(execution: Execution, slot: int) -> bool:
    return execution.reason is Reason.SUCCESS and execution.slot == slot


def executor(world: World, scene: Scene, params: Params) -> Callable[[Action], Execution]:
    """A function that says what a grasp would do in the scene as it is now, and leaves it so."""
    if can_branch():
        return lambda action: branch(lambda: world.execute(action))
    from srcli.tasks import get_task

    task = get_task("pick", params.language)

    def rebuilt(action: Action) -> Execution:
        set_up(world, task, scene.spec)
        return world.execute(action)

    return rebuilt


def jobs(splits: Sequence[str], scenes: int) -> list[GraspJob]:
    """The piles of all splits, taken in turns, so that an early look has both."""
    return [GraspJob(split, number) for number in range(scenes) for split in splits]
