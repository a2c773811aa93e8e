"""Episodes in closed loop: observe, decide, act, judge. Shared by `collect` and `evaluate`.

Several methods can play an episode together. As long as they choose the same action they live in the same world: the scene is
built once, each image is taken, encoded and searched for candidates once, each action simulated once. Where choices differ, the
process is copied (:mod:`srcli.parallel.branching`) and each copy goes its way, so every record is what playing alone gives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar

from srcli.evaluation.attempt import (
    AttemptInput,
    AttemptRecord,
    EpisodeContext,
    EpisodeRecord,
    GraspSampler,
    PlacementSampler,
    SegmentJudge,
    aimed_at,
    default_placer,
    own_sampler,
    source_of,
)
from srcli.evaluation.exclusion import approaches, exclude
from srcli.evaluation.setup import SceneWorld, Segmentation, SetupError, instance, set_up
from srcli.methods.base import Choice, Policy
from srcli.parallel.branching import branch, can_branch, orphaned
from srcli.seeding import OBSERVE, generator
from srcli.tasks.base import Task
from srcli.types import F32, EpisodeSpec, HeldExtent, Reason

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from srcli.config.candidates import CandidateConfig
    from srcli.config.cloud import CloudConfig
    from srcli.config.evaluate import PerturbConfig
    from srcli.config.placements import PlacementConfig
    from srcli.language.spelling import Reader
    from srcli.perception.pipeline import JointEncoder

__all__ = [
    "NOT_SET_UP",
    "NO_TARGET",
    "AttemptRecord",
    "EpisodeRecord",
    "SceneWorld",
    "SegmentJudge",
    "Segmentation",
    "SetupError",
    "approaches",
    "exclude",
    "instance",
    "run_episode",
    "run_together",
    "set_up",
]

NO_TARGET, NOT_SET_UP = "no target left", "not set up"
"""Why an episode may end early."""

_log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Options(TypedDict, total=False):
    """How an episode is played, whatever the method.

    Attributes:
        encoder: needed by methods that look at ``decision.percept()``.
        max_attempts: attempts in the pick phase; None: the task's own number.
        record: keep observation, segmentation and percept of every attempt.
        sampler: source of grasps; by default the one that ``candidates_config`` names. What is to be held at the start of a
            placement is always grasped by the package's own sampler.
        placer: source of placements; by default the package's sampler with ``placements_config``.
        reader: how the sentence is read for the encoder; None: as it is. Methods get it as it was said, too.
        perturbation: disturbs what is executed, not what is recorded as chosen.
    """

    candidates_config: CandidateConfig | None
    placements_config: PlacementConfig | None
    cloud_config: CloudConfig | None
    encoder: JointEncoder | None
    max_attempts: int | None
    record: bool
    sampler: GraspSampler | None
    placer: PlacementSampler | None
    judge: SegmentJudge | None
    perturbation: PerturbConfig | None
    reader: Reader | None


def run_episode(world: SceneWorld, task: Task, spec: EpisodeSpec, policy: Policy, **options: Unpack[Options]) -> EpisodeRecord:
    """Run one episode until success, until nothing is left to gain, or until the attempts are used up.

    A method that is not privileged gets images, sentence and candidates, never truth or goal. What was taken by mistake is
    removed from the scene. Candidates whose pose has physically failed before are excluded for every method alike. Before a
    placement the arm shows what it holds to the cameras and measures it; what is lost until then counts as dropped.
    """
    return run_together(world, task, spec, [policy], lambda _, episode: episode, **options)[0]


def run_together(
    world: SceneWorld,
    task: Task,
    spec: EpisodeSpec,
    policies: Sequence[Policy],
    finish: Callable[[int, EpisodeRecord], Result],
    **options: Unpack[Options],
) -> list[Result]:
    """Several methods on one episode, each as :func:`run_episode` plays it alone, sharing what is equal for them.

    Where this process cannot be copied the methods play one after the other.

    Args:
        finish: what is wanted of the episode of a method, given by its index; called in the process that played it, so what it
            returns should be small.

    Returns:
        What ``finish`` made of each method's episode.
    """
    grasps, candidates = options.get("sampler"), options.get("candidates_config")
    groups = [list(range(len(policies)))] if can_branch() else [[index] for index in range(len(policies))]
    results: dict[int, Result] = {}
    for group in groups:
        context = EpisodeContext(
            world,
            task,
            grasps or source_of(candidates, spec),
            options.get("placer") or default_placer(options.get("placements_config")),
            options.get("cloud_config"),
            options.get("encoder"),
            options.get("record", False),
            options.get("judge"),
            options.get("perturbation"),
            options.get("reader"),
        )
        try:
            built = set_up(world, task, spec, grasps or own_sampler(candidates))
        except SetupError as error:
            _log.warning("%s (%s)", error.message, error.hint)
            results |= {i: finish(i, EpisodeRecord(spec, policies[i].name, (), False, NOT_SET_UP, error.message)) for i in group}
            continue
        results |= EpisodeTree(context, built, policies, finish, options.get("max_attempts")).follow(group, EpisodeState())
    return [results[index] for index in range(len(policies))]


@dataclass(slots=True)
class EpisodeState:
    """Where an episode stands, for all methods that have done the same so far.

    Attributes:
        phase: index of the phase; ``entered`` when its preparations are done.
        tries: attempts made in it.
        failed: poses that have physically failed in it.
        attempts: records so far, by method.
    """

    phase: int = 0
    entered: bool = False
    tries: int = 0
    number: int = 0
    failed: list[F32] = field(default_factory=list)
    held: HeldExtent | None = None
    attempts: dict[int, list[AttemptRecord]] = field(default_factory=dict)

    def next_phase(self) -> None:
        self.phase += 1
        self.entered, self.tries, self.failed, self.held = False, 0, [], None


@dataclass(frozen=True)
class EpisodeTree(Generic[Result]):
    """The course of an episode for several methods: one path while they choose alike, a branch for each choice."""

    context: EpisodeContext
    spec: EpisodeSpec
    policies: Sequence[Policy]
    finish: Callable[[int, EpisodeRecord], Result]
    max_attempts: int | None

    def follow(self, members: Sequence[int], state: EpisodeState) -> dict[int, Result]:
        """Go on from a state with some of the methods until each of them has ended."""
        results: dict[int, Result] = {}
        while True:
            given = self.next_input(members, state)
            if isinstance(given, End):
                return results | {i: self.end(i, state, given) for i in members}
            choices = {i: self.context.decide(self.spec, self.policies[i], given) for i in members}
            groups = _alike(choices)
            for others in groups[1:]:
                results |= branch(partial(self._after, others, state, given, choices))
            members = groups[0]
            ended = self.act(members, state, given, choices)
            if ended is not None:
                return results | {i: self.end(i, state, ended) for i in members}

    def _after(
        self, members: Sequence[int], state: EpisodeState, given: AttemptInput, choices: dict[int, Choice | None]
    ) -> dict[int, Result]:
        """In a copy of the process: act, then go on."""
        ended = self.act(members, state, given, choices)
        return {i: self.end(i, state, ended) for i in members} if ended is not None else self.follow(members, state)

    def next_input(self, members: Sequence[int], state: EpisodeState) -> AttemptInput | End:
        """The next attempt's candidates, or why the episode is over."""
        if orphaned():
            raise SystemExit
        world, task, spec = self.context.world, self.context.task, self.spec
        phase = task.phases[state.phase]
        if not state.entered:
            state.entered = True
            world.enter_zone(task.shift(phase))
            if phase == "place":
                state.held = self.context.measure(spec, state.number)
                if state.held is None:
                    lost = self.context.dropped(spec, state.number)
                    for i in members:
                        state.attempts.setdefault(i, []).append(lost)
                    return End(False)
        observation, segmentation = world.observe(generator(spec.seed, state.number, OBSERVE))
        truth = world.truth(segmentation)
        if not task.possible(spec, truth, phase):
            return End(False, NO_TARGET)
        return self.context.attempt_input(spec, phase, state.number, observation, truth, state.failed, state.held)

    def act(
        self, members: Sequence[int], state: EpisodeState, given: AttemptInput, choices: dict[int, Choice | None]
    ) -> End | None:
        """Carry out the choice that these methods have in common; how the episode ended, if it did."""
        world, task = self.context.world, self.context.task
        choice = choices[members[0]]
        aimed = None if choice is None else aimed_at(given.observation, given.truth.segmentation, choice.action)
        execution, outcome = self.context.act(self.spec, given, choice)
        for i in members:
            state.attempts.setdefault(i, []).append(self.context.recorded(given, choices[i], execution, outcome, aimed))
        state.number += 1
        state.tries += 1
        if outcome.success:
            state.next_phase()
            return End(True) if state.phase == len(task.phases) else None
        if given.phase == "pick" and execution.reason is Reason.SUCCESS:
            world.discard()
        elif choice is not None:
            state.failed.append(choice.action.pose)
        limit = self.max_attempts if self.max_attempts is not None and given.phase == "pick" else task.attempts(given.phase)
        return End(False) if state.tries >= limit else None

    def end(self, index: int, state: EpisodeState, end: End) -> Result:
        """What is wanted of the episode of a method that has ended."""
        attempts = tuple(state.attempts.get(index, ()))
        return self.finish(index, EpisodeRecord(self.spec, self.policies[index].name, attempts, end.success, end.why))


@dataclass(frozen=True, slots=True)
class End:
    """How an episode ended, and why if early."""

    success: bool
    why: str = ""


def _alike(choices: dict[int, Choice | None]) -> list[list[int]]:
    """Methods by what they chose to do, the largest group first."""
    groups: dict[object, list[int]] = {}
    for index, choice in choices.items():
        action = choice.action if choice is not None else None
        done = None if action is None else (action.kind, action.pose.tobytes(), action.width, action.index)
        groups.setdefault(done, []).append(index)
    return sorted(groups.values(), key=len, reverse=True)
