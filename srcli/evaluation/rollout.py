"""One episode in closed loop: observe, decide, act, judge. Shared by `collect` and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from srcli.errors import ConfigError
from srcli.objects import build, catalogue
from srcli.policies.base import Choice, Decision, Policy
from srcli.seeding import generator
from srcli.tasks.base import SCENE_STREAM, Task
from srcli.types import (
    F32,
    F64,
    Action,
    Bool,
    Candidates,
    EpisodeSpec,
    Execution,
    Observation,
    Outcome,
    Percept,
    Phase,
    Reason,
    SceneTruth,
)

if TYPE_CHECKING:
    from srcli.config.candidates import CandidateConfig
    from srcli.config.cloud import CloudConfig
    from srcli.objects import ObjectModel
    from srcli.perception.pipeline import JointEncoder

OBSERVE, DECIDE = 1, 2
"""Purposes of the generators of an attempt: ``seeding.generator(seed, attempt, purpose)``."""

LAYOUTS = 10
"""How often a scene is laid out at most until a target stays on the table."""

NO_TARGET = "no target left"
"""Why an episode may end early."""

SAME_POSITION = 0.015
SAME_REGION = 0.04
SAME_DIRECTION = float(np.cos(np.deg2rad(20.0)))

Segmentation = npt.NDArray[np.uint16]


class SceneWorld(Protocol):
    """What a rollout needs of a world; :class:`srcli.sim.World` is one."""

    def reset(self, models: Sequence[ObjectModel], drops: F64) -> object: ...

    def observe(self, rng: np.random.Generator) -> tuple[Observation, Segmentation]: ...

    def truth(self, segmentation: Segmentation | None = None) -> SceneTruth: ...

    def execute(self, action: Action) -> Execution: ...

    def discard(self) -> None: ...


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
        choice: None when there was nothing to choose from.
        outcome: judged against the goal; ``detail["similarity"]`` where the similarity rule was asked.
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


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """All attempts of one episode.

    Attributes:
        policy: name of the method.
        success: the last phase succeeded.
        ended: empty, or why the episode ended early (``NO_TARGET``).
    """

    spec: EpisodeSpec
    policy: str
    attempts: tuple[AttemptRecord, ...]
    success: bool
    ended: str = ""

    @property
    def demonstration(self) -> int:
        """Index of the successful decision step, or -1."""
        return len(self.attempts) - 1 if self.success else -1


def run_episode(
    world: SceneWorld,
    task: Task,
    spec: EpisodeSpec,
    policy: Policy,
    *,
    candidates_config: CandidateConfig | None = None,
    cloud_config: CloudConfig | None = None,
    encoder: JointEncoder | None = None,
    max_attempts: int | None = None,
    record: bool = False,
    sampler: Callable[[Observation], Candidates] | None = None,
    judge: SegmentJudge | None = None,
) -> EpisodeRecord:
    """Run one episode until success, until nothing is left to gain, or until the attempts are used up.

    A method that is not privileged gets images, sentence and candidates, never truth or goal. What was taken by mistake is
    removed from the scene. Candidates whose pose has physically failed before are excluded for every method alike.

    Args:
        encoder: needed by methods that look at ``decision.percept()``.
        max_attempts: attempts in the pick phase; None: the task's own number.
        record: keep observation, segmentation and percept of every attempt.
        sampler: source of candidates; by default the package's grasp sampler with ``candidates_config``.
    """
    sample = sampler or _default_sampler(candidates_config)
    spec = set_up(world, task, spec)
    attempts: list[AttemptRecord] = []
    failed: list[F32] = []
    done = False
    for phase in task.phases:
        limit = max_attempts if max_attempts is not None and phase == "pick" else task.attempts(phase)
        done = False
        for _ in range(limit):
            observation, segmentation = world.observe(generator(spec.seed, len(attempts), OBSERVE))
            truth = world.truth(segmentation)
            if not task.possible(spec, truth, phase):
                return EpisodeRecord(spec, policy.name, tuple(attempts), False, NO_TARGET)
            candidates = sample(observation)
            excluded = exclude(candidates, failed)
            percept = _LazyPercept(observation, spec.instruction, encoder, cloud_config, phase)
            choice: Choice | None = None
            execution = Execution(Reason.NO_CANDIDATE, None, 0)
            if not excluded.all():
                decision = Decision(
                    task=spec.task,
                    phase=phase,
                    instruction=spec.instruction,
                    observation=observation,
                    candidates=candidates,
                    excluded=excluded,
                    rng=generator(spec.seed, len(attempts), DECIDE),
                    percept=percept,
                    truth=truth if policy.privileged else None,
                    spec=spec if policy.privileged else None,
                )
                choice = policy.act(decision)
                execution = world.execute(choice.action)
            outcome = task.judge(spec, phase, execution, truth)
            taken = execution.slot if execution.reason is Reason.SUCCESS else None
            if judge is not None and taken is not None:
                similarity = judge.similarity(observation, segmentation, taken, spec.instruction)
                outcome = replace(outcome, detail={**outcome.detail, "similarity": similarity})
            attempts.append(
                AttemptRecord(
                    phase=phase,
                    observation=observation if record else None,
                    segmentation=segmentation if record else None,
                    truth=truth,
                    candidates=candidates,
                    excluded=excluded,
                    choice=choice,
                    execution=execution,
                    outcome=outcome,
                    percept=percept.value if record else None,
                )
            )
            done = outcome.success
            if done:
                break
            if taken is not None:
                world.discard()
            elif choice is not None:
                failed.append(choice.action.pose)
        if not done:
            break
    return EpisodeRecord(spec, policy.name, tuple(attempts), done)


def set_up(world: SceneWorld, task: Task, spec: EpisodeSpec) -> EpisodeSpec:
    """Build the episode's scene. A round target may roll off the table: then the same drop poses go round among the objects.

    Returns:
        The spec with the drops that were used; they follow from the seed, whatever the method.
    """
    models = [instance(name) for name in spec.objects]
    unseen = np.zeros((0, 0, 0), dtype=np.uint16)
    drops = spec.drops
    for layout in range(LAYOUTS):
        if layout:
            drops = spec.drops[generator(spec.seed, SCENE_STREAM, layout).permutation(len(models))]
        world.reset(models, drops)
        if task.possible(spec, world.truth(unseen), task.phases[0]):
            break
    return replace(spec, drops=drops)


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


def exclude(candidates: Candidates, failed: Sequence[F32]) -> Bool:
    """(K,) True where a candidate repeats a failure: within 1.5 cm and 20 degrees in approach, or within 4 cm of two failures.

    The second rule keeps a deterministic method from spending all attempts on one object that cannot be grasped; it is lifted
    when nothing else would be left.
    """
    repeated: Bool = np.zeros(len(candidates), dtype=np.bool_)
    failures = np.zeros(len(candidates), dtype=np.int64)
    approach = approaches(candidates.poses)
    for pose in failed:
        distance = np.linalg.norm(candidates.poses[:, :3] - pose[:3], axis=1)
        repeated |= (distance <= SAME_POSITION) & (approach @ approaches(pose[None])[0] >= SAME_DIRECTION)
        failures += distance <= SAME_REGION
    tried: Bool = repeated | (failures >= 2)
    return repeated if tried.all() else tried


def approaches(poses: F32) -> F64:
    """(K, 3) unit approach directions (tool z) of poses (K, 7), world frame."""
    x, y, z, w = (poses[:, i].astype(np.float64) for i in (3, 4, 5, 6))
    direction: F64 = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)
    return direction


@lru_cache(maxsize=256)
def instance(name: str) -> ObjectModel:
    """The catalogue instance of an object, built once per process."""
    return build(catalogue()[name])


def _default_sampler(config: CandidateConfig | None) -> Callable[[Observation], Candidates]:
    if config is None:
        raise ConfigError("an episode needs the section `candidates` or a sampler of its own")
    from srcli.actions.grasps import sample_grasps

    return lambda observation: sample_grasps(observation, config)
