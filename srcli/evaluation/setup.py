"""Building an episode's scene: objects that roll off are laid out again, and what is to be held is really grasped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from srcli.errors import SceneError
from srcli.evaluation.exclusion import exclude
from srcli.objects import build, catalogue, look_variation
from srcli.seeding import LAYOUT, generator
from srcli.tasks.base import Settles, Task
from srcli.types import (
    F32,
    F64,
    OWN_LOOK,
    PLACE_SHIFT,
    Action,
    Candidates,
    EpisodeSpec,
    Execution,
    Look,
    Observation,
    Reason,
    SceneTruth,
)

if TYPE_CHECKING:
    from srcli.objects import ObjectModel

LAYOUTS = 10
"""How often a scene is laid out at most until its episode can be played."""

GRIPS = 6
"""How often the object that is to be held is grasped for in one layout."""

Segmentation = npt.NDArray[np.uint16]
NO_IMAGE: Segmentation = np.zeros((0, 0, 0), dtype=np.uint16)
"""Stands for the segmentation where only poses are asked for; rendering it takes time."""


class SceneWorld(Protocol):
    """What a rollout needs of a world; :class:`srcli.sim.World` is one."""

    @property
    def held(self) -> int | None: ...

    def reset(self, models: Sequence[ObjectModel], drops: F64, *, shifts: Sequence[float] | None = None) -> object: ...

    def enter_zone(self, shift: float) -> None: ...

    def observe(self, rng: np.random.Generator) -> tuple[Observation, Segmentation]: ...

    def truth(self, segmentation: Segmentation | None = None) -> SceneTruth: ...

    def execute(self, action: Action) -> Execution: ...

    def present_held(self, rng: np.random.Generator) -> tuple[Observation, F64]: ...

    def discard(self) -> None: ...


class SetupError(SceneError):
    """No layout of the scene lets the episode be played."""


def set_up(
    world: SceneWorld, task: Task, spec: EpisodeSpec, sampler: Callable[[Observation], Candidates] | None = None
) -> EpisodeSpec:
    """Build the episode's scene and look at the zone of its first phase.

    A round target may roll off the table: then the same drop poses go round among the objects of each zone. Where the targets
    follow from the settled scene (:class:`~srcli.tasks.base.Settles`), they are resolved here; a scene that leaves them in doubt
    is laid out again, by the drop poses that the specification has for that. An object that is to
    be held is grasped by its best candidates; when that fails it is dropped in another orientation. All of it follows from the
    seed, whatever the method. Fixed drop poses stay as they are, but for that orientation.

    Args:
        sampler: grasp candidates for the object that is to be held; None leaves that object on the table.

    Returns:
        The spec with the drops that were used, and with its targets.

    Raises:
        SetupError: a phase is impossible, the targets are in doubt, or the object cannot be grasped, in every layout.
    """
    looks = spec.looks or (OWN_LOOK,) * len(spec.objects)
    models = [instance(name, look) for name, look in zip(spec.objects, looks, strict=True)]
    shifts = np.array(spec.shifts) if spec.shifts else np.zeros(len(models))
    drops, problem = spec.drops, ""
    for layout in range(LAYOUTS):
        rng = generator(spec.seed, *LAYOUT, layout)
        if problem in ("phase", "doubt"):
            drops = spec.redraws[(layout - 1) % len(spec.redraws)] if spec.redraws else _permute_drops(spec, shifts, rng)
        elif problem == "grip":
            drops = _turn_held(spec, drops, rng)
        world.reset(models, drops, shifts=spec.shifts or None)
        problem = ""
        meant = _settled(world, task, replace(spec, drops=drops))
        if meant is None:
            problem = "doubt"
        elif not _possible(world, task, meant):
            problem = "phase"
        elif spec.held >= 0 and sampler is not None and not _grip(world, spec, shifts[spec.held], layout, sampler):
            problem = "grip"
        if meant is not None and not problem:
            world.enter_zone(task.shift(task.phases[0]))
            return meant
        if spec.fixed and problem != "grip":
            break
    what = {
        "phase": "an object it needs does not stay on the table",
        "doubt": f"what '{spec.instruction}' means stays in doubt",
        "grip": f"'{spec.objects[spec.held]}' is not grasped",
    }[problem]
    tried = "its drop poses are fixed" if spec.fixed else f"{LAYOUTS} layouts were tried"
    raise SetupError(f"{spec.case or spec.seed}: cannot be set up: {what}", tried)


def _settled(world: SceneWorld, task: Task, spec: EpisodeSpec) -> EpisodeSpec | None:
    """The specification with the targets that follow from the settled scene; None when they are in doubt."""
    if not isinstance(task, Settles):
        return spec
    world.enter_zone(task.shift(task.phases[0]))
    return task.settled(spec, world.truth(NO_IMAGE))


def _possible(world: SceneWorld, task: Task, spec: EpisodeSpec) -> bool:
    """Whether every phase of the episode can succeed."""
    for phase in task.phases:
        world.enter_zone(task.shift(phase))
        if not task.possible(spec, world.truth(NO_IMAGE), phase):
            return False
    return True


def _permute_drops(spec: EpisodeSpec, shifts: F64, rng: np.random.Generator) -> F64:
    """The drop poses permuted among the slots of each zone; in the zone for placing, orientations stay: some stand upright."""
    drops: F64 = spec.drops.copy()
    for shift in np.unique(shifts):
        slots = np.flatnonzero(shifts == shift)
        columns = slice(None, 3) if shift == PLACE_SHIFT else slice(None)
        drops[slots, columns] = spec.drops[slots[rng.permutation(len(slots))], columns]
    return drops


def _turn_held(spec: EpisodeSpec, drops: F64, rng: np.random.Generator) -> F64:
    """The drop poses with another orientation, uniform over all rotations, of the object that is to be held."""
    quaternion = rng.normal(size=4)
    turned: F64 = drops.copy()
    turned[spec.held, 3:] = quaternion / np.linalg.norm(quaternion)
    return turned


def _grip(world: SceneWorld, spec: EpisodeSpec, shift: float, layout: int, sampler: Callable[[Observation], Candidates]) -> bool:
    """Grasp the object that is to be held by its best candidates; True when it is in the gripper."""
    world.enter_zone(shift)
    failed: list[F32] = []
    for attempt in range(GRIPS):
        if not world.truth(NO_IMAGE).present[spec.held]:
            return False
        observation, _ = world.observe(generator(spec.seed, *LAYOUT, layout, attempt))
        candidates = sampler(observation)
        excluded = exclude(candidates.poses, failed)
        if excluded.all():
            return False
        best = int(np.argmax(np.where(excluded, -np.inf, candidates.quality)))
        pose = candidates.poses[best]
        execution = world.execute(Action("grasp", pose, float(candidates.widths[best]), best))
        if execution.reason is Reason.SUCCESS:
            return execution.slot == spec.held
        failed.append(pose)
    return False


@lru_cache(maxsize=256)
def instance(name: str, look: Look = OWN_LOOK) -> ObjectModel:
    """An object as it looks, by default the catalogue's own instance; built once per process."""
    return build(catalogue()[name], look_variation(catalogue()[name], look))
