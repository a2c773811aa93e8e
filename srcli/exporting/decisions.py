"""What a method makes of a stored attempt: its scores and where it looks."""

from __future__ import annotations

from dataclasses import dataclass

from srcli.artifacts.demos import DemoStep
from srcli.config.cloud import CloudConfig
from srcli.evaluation.attempt import LazyPercept
from srcli.language.spelling import Reader
from srcli.methods.base import Choice, Decision, Policy
from srcli.perception.encoders.interface import Encoder
from srcli.seeding import DECIDE, generator
from srcli.types import EpisodeSpec, Percept


@dataclass(frozen=True, slots=True)
class Seen:
    """A method's view of one attempt.

    Attributes:
        choice: None where all candidates had failed before.
        percept: the semantic cloud; None where the method does not look at it.
    """

    choice: Choice | None
    percept: Percept | None


@dataclass(frozen=True, slots=True)
class Viewer:
    """A method that is shown stored attempts; none that is privileged: what those need is not stored as it was."""

    policy: Policy
    encoder: Encoder
    cloud: CloudConfig
    reader: Reader

    def __call__(self, spec: EpisodeSpec, step: DemoStep, number: int) -> Seen:
        """What the method would choose at the attempt of this number, with the chance that an evaluation gives it."""
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
        )
        choice = self.policy.act(decision)
        return Seen(choice, percept.value)
