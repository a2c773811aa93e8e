"""One attempt in closed loop: what is offered, what a method decides, what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from srcli.errors import ConfigError
from srcli.evaluation.candidate_slots import candidate_slots
from srcli.evaluation.exclusion import exclude
from srcli.evaluation.perturb import perturb
from srcli.evaluation.setup import NO_IMAGE, SceneWorld, Segmentation
from srcli.methods.base import Choice, Decision, Policy
from srcli.seeding import DECIDE, OBSERVE, PERTURB, PRESENT, PROPOSE, generator
from srcli.tasks.base import Task
from srcli.types import (
    F32,
    Action,
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
    from srcli.language.spelling import Reader
    from srcli.perception.pipeline import Encoded, JointEncoder

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
        aimed: slot that the chosen grasp had between its fingers, or else nearest within 3 cm; None for placements and where no
            object was near. Privileged: it tells a wrong choice from a failed grasp.
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
    aimed: int | None = None


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """All attempts of one episode.

    Attributes:
        policy: name of the method.
        success: the last phase succeeded.
        ended: empty, or why the episode ended early (``NO_TARGET``, ``NOT_SET_UP``).
        detail: of a scene that could not be set up: what stood in the way.
    """

    spec: EpisodeSpec
    policy: str
    attempts: tuple[AttemptRecord, ...]
    success: bool
    ended: str = ""
    detail: str = ""

    @property
    def demonstration(self) -> int:
        """Index of the decision step that completed the goal, or -1."""
        return len(self.attempts) - 1 if self.success else -1


@dataclass(frozen=True, slots=True)
class AttemptInput:
    """What every method is shown alike before one attempt, and what only privileged ones and judges may see.

    Attributes:
        number: of the attempt within the episode.
        failed: poses that have physically failed before.
        percept: computed at the first call, then kept for whoever asks next.
    """

    phase: Phase
    number: int
    observation: Observation
    truth: SceneTruth
    candidates: Candidates
    excluded: Bool
    valid: Bool | None
    held: HeldExtent | None
    percept: LazyPercept
    failed: tuple[F32, ...] = ()


@dataclass(frozen=True, slots=True)
class EpisodeContext:
    """What stays the same over all attempts and methods of an episode.

    Attributes:
        reader: how sentences are read for the encoder; None: as they are.
    """

    world: SceneWorld
    task: Task
    sampler: GraspSampler
    placer: PlacementSampler
    cloud: CloudConfig | None
    encoder: JointEncoder | None
    record: bool
    judge: SegmentJudge | None
    perturbation: PerturbConfig | None
    reader: Reader | None = None

    def read(self, instruction: str) -> str:
        """The sentence as the encoder is given it."""
        return instruction if self.reader is None else self.reader(instruction).text

    def attempt_input(
        self,
        spec: EpisodeSpec,
        phase: Phase,
        number: int,
        observation: Observation,
        truth: SceneTruth,
        failed: list[F32],
        held: HeldExtent | None,
    ) -> AttemptInput:
        """Propose candidates for what is seen now."""
        valid: Bool | None = None
        if held is None:
            candidates = self.sampler(observation)
        else:
            candidates = self.placer(observation, held, generator(spec.seed, number, PROPOSE))
            valid = self.task.valid(spec, truth, candidates, phase, held=held)
        percept = LazyPercept(observation, self.read(spec.instruction), self.encoder, self.cloud, phase)
        excluded = exclude(candidates.poses, failed)
        return AttemptInput(phase, number, observation, truth, candidates, excluded, valid, held, percept, tuple(failed))

    def decide(self, spec: EpisodeSpec, policy: Policy, given: AttemptInput) -> Choice | None:
        """What a method chooses; None when there is nothing to choose from."""
        if given.excluded.all():
            return None
        shown = policy.privileged
        return policy.act(
            Decision(
                task=spec.task,
                phase=given.phase,
                instruction=spec.instruction,
                observation=given.observation,
                candidates=given.candidates,
                excluded=given.excluded,
                rng=generator(spec.seed, given.number, DECIDE),
                percept=given.percept,
                moved=given.percept.moved,
                held=given.held,
                truth=given.truth if shown else None,
                spec=spec if shown else None,
                valid=given.valid if shown else None,
                failed=given.failed,
                repeats=partial(exclude, failed=given.failed),
            )
        )

    def act(self, spec: EpisodeSpec, given: AttemptInput, choice: Choice | None) -> tuple[Execution, Outcome]:
        """Carry out what was chosen and judge it."""
        execution = Execution(Reason.NO_CANDIDATE, None, 0)
        if choice is not None:
            action = choice.action
            if self.perturbation is not None:
                action = perturb(action, self.perturbation, generator(spec.seed, given.number, PERTURB))
            execution = self.world.execute(action)
        outcome = self.task.judge(
            spec,
            given.phase,
            execution,
            given.truth,
            action=choice.action if choice is not None else None,
            after=self.world.truth(NO_IMAGE) if given.phase == "place" else None,
            held=given.held,
        )
        if self.judge is not None and given.phase == "pick" and execution.reason is Reason.SUCCESS and execution.slot is not None:
            similarity = self.judge.similarity(given.observation, given.truth.segmentation, execution.slot, spec.instruction)
            outcome = replace(outcome, detail={**outcome.detail, "similarity": similarity})
        return execution, outcome

    def recorded(
        self, given: AttemptInput, choice: Choice | None, execution: Execution, outcome: Outcome, aimed: int | None
    ) -> AttemptRecord:
        """The attempt as it is kept, with the percept that the choice was made on."""
        percept = given.percept.value if choice is None or choice.percept is None else choice.percept
        return AttemptRecord(
            phase=given.phase,
            observation=given.observation if self.record else None,
            segmentation=given.truth.segmentation if self.record else None,
            truth=given.truth,
            candidates=given.candidates,
            excluded=given.excluded,
            choice=choice,
            execution=execution,
            outcome=outcome,
            percept=percept if self.record else None,
            valid=given.valid,
            held=given.held,
            aimed=aimed,
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

    def measure(self, spec: EpisodeSpec, number: int) -> HeldExtent | None:
        """Show what is held to the cameras; its measured size, or None when it was lost on the way."""
        from srcli.perception.held import measure_held

        if self.world.held is None:
            return None
        observation, tip = self.world.present_held(generator(spec.seed, number, PRESENT))
        return None if self.world.held is None else measure_held(observation, tip)


def aimed_at(observation: Observation, segmentation: Segmentation, action: Action) -> int | None:
    """The slot that a grasp closes on, as the cameras saw it; None for a placement, or where nothing is near."""
    # A method of the user's own may bring any pose.
    if action.kind != "grasp" or not np.isfinite(action.pose).all() or not action.pose[3:].any():
        return None
    width, quality = np.array([action.width], dtype=np.float32), np.zeros(1, dtype=np.float32)
    slots = candidate_slots(observation, segmentation, Candidates(action.pose[None], width, quality, action.kind))
    return int(slots[0]) if slots[0] >= 0 else None


class LazyPercept:
    """Computes the percept at the first call and keeps it. Views are encoded once."""

    def __init__(
        self, observation: Observation, instruction: str, encoder: JointEncoder | None, config: CloudConfig | None, phase: Phase
    ) -> None:
        self._observation, self._instruction, self._encoder = observation, instruction, encoder
        self._config, self._phase = config, phase
        self._encoded: Encoded | None = None
        self._moved: dict[float, Percept] = {}
        self.value: Percept | None = None

    def __call__(self) -> Percept:
        if self.value is None:
            self.value = self._perceive(None)
        return self.value

    def moved(self, metres: float, rng: np.random.Generator) -> Percept:
        """The percept of a cloud whose points were moved before fusion by a Gaussian of ``metres`` along each axis.

        Args:
            rng: the same for all who ask at this decision, so that the same points go the same ways at every strength.
        """
        if metres not in self._moved:

            def move(points: F32) -> F32:
                drawn = rng.standard_normal(points.shape, dtype=np.float32)
                return (points + metres * drawn).astype(np.float32)

            self._moved[metres] = self._perceive(move)
        return self._moved[metres]

    def _perceive(self, move: Callable[[F32], F32] | None) -> Percept:
        from srcli.perception.pipeline import Encoded, perceive

        if self._encoder is None or self._config is None:
            raise ConfigError("this method looks at the semantic cloud, but no encoder was given", "pass an encoder")
        if self._encoded is None:
            self._encoded = Encoded(self._encoder, self._encoder.dense(self._observation.rgb))
        return perceive(self._observation, self._instruction, self._encoded, self._config, self._phase, move)


def own_sampler(config: CandidateConfig | None) -> GraspSampler:
    if config is None:
        raise ConfigError("an episode needs the section `candidates` or a sampler of its own")
    from srcli.actions.grasps import sample_grasps

    return lambda observation: sample_grasps(observation, config)


def source_of(config: CandidateConfig | None, spec: EpisodeSpec) -> GraspSampler:
    if config is None or config.source == "sampler":
        return own_sampler(config)
    return _named_source(config).episode(spec)


@lru_cache(maxsize=4)
def _named_source(config: CandidateConfig) -> GraspSource:
    """A source is made once per process: a detector has weights to load."""
    from srcli.actions.sources import grasp_source

    return grasp_source(config.source, config)


def default_placer(config: PlacementConfig | None) -> PlacementSampler:
    def sample(observation: Observation, held: HeldExtent, rng: np.random.Generator) -> Candidates:
        if config is None:
            raise ConfigError("a placement needs the section `placements` or a sampler of its own")
        from srcli.actions.placements import sample_placements

        return sample_placements(observation, held, config, rng)

    return sample
