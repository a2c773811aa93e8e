"""What a method makes of a stored attempt: its scores and where it looks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from srcli.artifacts.demos import DemoEpisode, DemoStep
from srcli.config.cloud import CloudConfig
from srcli.evaluation.attempt import LazyPercept
from srcli.evaluation.exclusion import exclude
from srcli.language.spelling import Reader
from srcli.methods.base import Choice, Decision, Policy
from srcli.perception.encoders.interface import Encoder
from srcli.seeding import DECIDE, generator
from srcli.types import Percept, Reason


@dataclass(frozen=True, slots=True)
class Seen:
    """A method's view of one attempt.

    Attributes:
        choice: None where all candidates had failed before.
        percept: the semantic cloud; None where the method does not look at it.
    """

    choice: Choice | None
    percept: Percept | None


def _failed(before: DemoStep, step: DemoStep) -> bool:
    """Whether an earlier attempt of the same phase failed. A grasp that held something, if the wrong thing, did not."""
    if before.phase != step.phase or before.outcome.success:
        return False
    return before.outcome.reason is not Reason.WRONG_OBJECT


@dataclass(frozen=True, slots=True)
class Viewer:
    """A method that is shown stored attempts; none that is privileged: what those need is not stored as it was."""

    policy: Policy
    encoder: Encoder
    cloud: CloudConfig
    reader: Reader

    def __call__(self, episode: DemoEpisode, number: int) -> Seen:
        """What the method would choose at the attempt of this number, with the chance that an evaluation gives it, and knowing
        what has failed before."""
        spec, step = episode.spec, episode.steps[number]
        failed = tuple(
            before.action.pose for before in episode.steps[:number] if _failed(before, step) and before.action is not None
        )
        percept = LazyPercept(step.observation, self.reader(spec.instruction).text, self.encoder, self.cloud, step.phase)
        if step.excluded.all():
            return Seen(None, None)
        decision = Decision(
            task=spec.task,
            phase=step.phase,
            instruction=spec.instruction,
            observation=step.observation,
            candidates=step.candidates,
            excluded=step.excluded,
            rng=generator(spec.seed, number, DECIDE),
            percept=percept,
            moved=percept.moved,
            held=step.held,
            failed=failed,
            repeats=partial(exclude, failed=failed),
        )
        choice = self.policy.act(decision)
        return Seen(choice, percept.value)
