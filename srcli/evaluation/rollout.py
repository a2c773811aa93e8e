"""One episode in closed loop: observe, decide, act, judge. Shared by `collect` and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from srcli.errors import ConfigError
from srcli.evaluation.exclusion import approaches, exclude
from srcli.evaluation.perturb import perturb
from srcli.evaluation.setup import NO_IMAGE, SceneWorld, Segmentation, SetupError, instance, set_up
from srcli.language.relations import split_instruction
from srcli.policies.base import Choice, Decision, Policy
from srcli.seeding import generator
from srcli.tasks.base import Task
from srcli.types import (
    F32,
    Bool,
    Candidates,
    EpisodeSpec,
    Execution,
    HeldExtent,
    Observation,
    Outcome,
    Percept,
    Phase,
    Reason,
    SceneTruth,
)

if TYPE_CHECKING:
    from srcli.actions.sources import GraspSource
    from srcli.config.candidates import CandidateConfig
    from srcli.config.cloud import CloudConfig
    from srcli.config.evaluate import PerturbConfig
    from srcli.config.placements import PlacementConfig
    from srcli.perception.pipeline import JointEncoder

__all__ = [
    "NOT_SET_UP",
    "NO_TARGET",
    "OBSERVE",
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
    "set_up",
]

OBSERVE, DECIDE, PERTURB, PRESENT, PROPOSE = 1, 2, 3, 4, 5
"""Purposes of the generators of an attempt: ``seeding.generator(seed, attempt, purpose)``."""

NO_TARGET, NOT_SET_UP = "no target left", "not set up"
"""Why an episode may end early."""

GraspSampler = Callable[[Observation], Candidates]
PlacementSampler = Callable[[Observation, HeldExtent, np.random.Generator], Candidates]


class SegmentJudge(Protocol):
    """Scores what was taken against the sentence (the paper's similarity rule)."""

    def similarity(self, observation: Observation, segmentation: Segmentation, slot: int, instruction: str) -> float: ...


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt.

    Attributes:
        observation, percept: what was seen; None unless recording (the percept only if the method looked at it).
        segmentation: (M, H, W) uint16 as in ``SceneTruth``; None unless recording.
        truth: state at the decision.
        excluded: (K,) candidates that were not allowed.
        choice: None when there was nothing to choose from. A disturbance of what was executed is not in it.
        outcome: judged against the goal; ``detail["similarity"]`` where the similarity rule was asked.
        valid: (K,) placements that are right; None for grasps. Privileged.
        held: measured size of what is to be placed; None for grasps.
    """

    phase: Phase
    observation: Observation | None
    segmentation: Segmentation | None
    truth: SceneTruth
    candidates: Candidates
    excluded: Bool
    choice: Choice | None
    execution: Execution
    outcome: Outcome
    percept: Percept | None = None
    valid: Bool | None = None
    held: HeldExtent | None = None


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """All attempts of one episode.

    Attributes:
        policy: name of the method.
        success: the last phase succeeded.
        ended: empty, or why the episode ended early (``NO_TARGET``, ``NOT_SET_UP``).
    """

    spec: EpisodeSpec
    policy: str
    attempts: tuple[AttemptRecord, ...]
    success: bool
    ended: str = ""

    @property
    def demonstration(self) -> int:
        """Index of the decision step that completed the goal, or -1."""
        return len(self.attempts) - 1 if self.success else -1


def run_episode(
    world: SceneWorld,
    task: Task,
    spec: EpisodeSpec,
    policy: Policy,
    *,
    candidates_config: CandidateConfig | None = None,
    placements_config: PlacementConfig | None = None,
    cloud_config: CloudConfig | None = None,
    encoder: JointEncoder | None = None,
    max_attempts: int | None = None,
    record: bool = False,
    sampler: GraspSampler | None = None,
    placer: PlacementSampler | None = None,
    judge: SegmentJudge | None = None,
    perturbation: PerturbConfig | None = None,
) -> EpisodeRecord:
    """Run one episode until success, until nothing is left to gain, or until the attempts are used up.

    A method that is not privileged gets images, sentence and candidates, never truth or goal. What was taken by mistake is
    removed from the scene. Candidates whose pose has physically failed before are excluded for every method alike. Before a
    placement the arm shows what it holds to the cameras and measures it; what is lost until then counts as dropped.

    Args:
        encoder: needed by methods that look at ``decision.percept()``.
        max_attempts: attempts in the pick phase; None: the task's own number.
        record: keep observation, segmentation and percept of every attempt.
        sampler: source of grasps; by default the one that ``candidates_config`` names. What is to be held at the start of a
            placement is always grasped by the package's own sampler.
        placer: source of placements; by default the package's sampler with ``placements_config``.
        perturbation: disturbs what is executed, not what is recorded as chosen.
    """
    play = _Play(
        world,
        task,
        policy,
        sampler or _source(candidates_config, spec),
        placer or _default_placer(placements_config),
        cloud_config,
        encoder,
        record,
        judge,
        perturbation,
    )
    try:
        spec = set_up(world, task, spec, sampler or _own_sampler(candidates_config))
    except SetupError:
        return EpisodeRecord(spec, policy.name, (), False, NOT_SET_UP)
    attempts: list[AttemptRecord] = []
    done = False
    for phase in task.phases:
        world.look(task.shift(phase))
        limit = max_attempts if max_attempts is not None and phase == "pick" else task.attempts(phase)
        failed: list[F32] = []
        held: HeldExtent | None = None
        if phase == "place":
            held = _measure(world, spec, len(attempts))
            if held is None:
                attempts.append(play.dropped(spec, len(attempts)))
                return EpisodeRecord(spec, policy.name, tuple(attempts), False)
        done = False
        for _ in range(limit):
            observation, segmentation = world.observe(generator(spec.seed, len(attempts), OBSERVE))
            truth = world.truth(segmentation)
            if not task.possible(spec, truth, phase):
                return EpisodeRecord(spec, policy.name, tuple(attempts), False, NO_TARGET)
            attempt = play.attempt(spec, phase, len(attempts), observation, truth, failed, held)
            attempts.append(attempt)
            done = attempt.outcome.success
            if done:
                break
            if phase == "pick" and attempt.execution.reason is Reason.SUCCESS:
                world.discard()
            elif attempt.choice is not None:
                failed.append(attempt.choice.action.pose)
        if not done:
            break
    return EpisodeRecord(spec, policy.name, tuple(attempts), done)


@dataclass(frozen=True, slots=True)
class _Play:
    """What stays the same over the attempts of an episode."""

    world: SceneWorld
    task: Task
    policy: Policy
    sampler: GraspSampler
    placer: PlacementSampler
    cloud: CloudConfig | None
    encoder: JointEncoder | None
    record: bool
    judge: SegmentJudge | None
    perturbation: PerturbConfig | None

    def attempt(
        self,
        spec: EpisodeSpec,
        phase: Phase,
        number: int,
        observation: Observation,
        truth: SceneTruth,
        failed: list[F32],
        held: HeldExtent | None,
    ) -> AttemptRecord:
        """Decide, act and judge once."""
        valid: Bool | None = None
        if held is None:
            candidates = self.sampler(observation)
        else:
            candidates = self.placer(observation, held, generator(spec.seed, number, PROPOSE))
            valid = self.task.valid(spec, truth, candidates, phase, held=held)
        excluded = exclude(candidates, failed)
        percept = _LazyPercept(observation, spec.instruction, self.encoder, self.cloud, phase)
        choice: Choice | None = None
        execution = Execution(Reason.NO_CANDIDATE, None, 0)
        if not excluded.all():
            shown = self.policy.privileged
            choice = self.policy.act(
                Decision(
                    task=spec.task,
                    phase=phase,
                    instruction=spec.instruction,
                    observation=observation,
                    candidates=candidates,
                    excluded=excluded,
                    rng=generator(spec.seed, number, DECIDE),
                    percept=percept,
                    held=held,
                    truth=truth if shown else None,
                    spec=spec if shown else None,
                    valid=valid if shown else None,
                )
            )
            action = choice.action
            if self.perturbation is not None:
                action = perturb(action, self.perturbation, generator(spec.seed, number, PERTURB))
            execution = self.world.execute(action)
        outcome = self.task.judge(
            spec,
            phase,
            execution,
            truth,
            action=choice.action if choice is not None else None,
            after=self.world.truth(NO_IMAGE) if phase == "place" else None,
            held=held,
        )
        if self.judge is not None and phase == "pick" and execution.reason is Reason.SUCCESS and execution.slot is not None:
            asked = split_instruction(spec.instruction)[0] or spec.instruction
            similarity = self.judge.similarity(observation, truth.segmentation, execution.slot, asked)
            outcome = replace(outcome, detail={**outcome.detail, "similarity": similarity})
        return AttemptRecord(
            phase=phase,
            observation=observation if self.record else None,
            segmentation=truth.segmentation if self.record else None,
            truth=truth,
            candidates=candidates,
            excluded=excluded,
            choice=choice,
            execution=execution,
            outcome=outcome,
            percept=percept.value if self.record else None,
            valid=valid,
            held=held,
        )

    def dropped(self, spec: EpisodeSpec, number: int) -> AttemptRecord:
        """The attempt of a placement whose object was lost on the way to the cameras."""
        observation, segmentation = self.world.observe(generator(spec.seed, number, OBSERVE))
        nothing = np.zeros(0, dtype=np.float32)
        return AttemptRecord(
            phase="place",
            observation=observation if self.record else None,
            segmentation=segmentation if self.record else None,
            truth=self.world.truth(segmentation),
            candidates=Candidates(np.zeros((0, 7), dtype=np.float32), nothing, nothing, "place"),
            excluded=np.zeros(0, dtype=np.bool_),
            choice=None,
            execution=Execution(Reason.DROPPED, None, 0),
            outcome=Outcome(False, Reason.DROPPED, None),
            valid=np.zeros(0, dtype=np.bool_),
        )


def _measure(world: SceneWorld, spec: EpisodeSpec, number: int) -> HeldExtent | None:
    """Show what is held to the cameras; its measured size, or None when it was lost on the way."""
    from srcli.perception.held import measure_held

    if world.held is None:
        return None
    observation, tip = world.present_held(generator(spec.seed, number, PRESENT))
    return None if world.held is None else measure_held(observation, tip)


class _LazyPercept:
    """Computes the percept at the first call and keeps it."""

    def __init__(
        self, observation: Observation, instruction: str, encoder: JointEncoder | None, config: CloudConfig | None, phase: Phase
    ) -> None:
        self._observation, self._instruction, self._encoder = observation, instruction, encoder
        self._config, self._phase = config, phase
        self.value: Percept | None = None

    def __call__(self) -> Percept:
        if self.value is None:
            if self._encoder is None or self._config is None:
                raise ConfigError("this method looks at the semantic cloud, but no encoder was given", "pass an encoder")
            from srcli.perception.pipeline import perceive

            self.value = perceive(self._observation, self._instruction, self._encoder, self._config, self._phase)
        return self.value


def _own_sampler(config: CandidateConfig | None) -> GraspSampler:
    if config is None:
        raise ConfigError("an episode needs the section `candidates` or a sampler of its own")
    from srcli.actions.grasps import sample_grasps

    return lambda observation: sample_grasps(observation, config)


def _source(config: CandidateConfig | None, spec: EpisodeSpec) -> GraspSampler:
    if config is None or config.source == "sampler":
        return _own_sampler(config)
    return _named_source(config).episode(spec)


@lru_cache(maxsize=4)
def _named_source(config: CandidateConfig) -> GraspSource:
    """A source is made once per process: a detector has weights to load."""
    from srcli.actions.sources import grasp_source

    return grasp_source(config.source, config)


def _default_placer(config: PlacementConfig | None) -> PlacementSampler:
    def sample(observation: Observation, held: HeldExtent, rng: np.random.Generator) -> Candidates:
        if config is None:
            raise ConfigError("a placement needs the section `placements` or a sampler of its own")
        from srcli.actions.placements import sample_placements

        return sample_placements(observation, held, config, rng)

    return sample
