"""What a method is: it gets a decision and returns a choice.

A new method is one class with a ``name``, ``privileged = False`` and ``act``; ``@register("name")`` makes it known. A package
of the user's own announces its methods through the entry-point group ``srcli.methods``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from srcli.errors import SceneError
from srcli.types import F32, Action, Bool, Candidates, EpisodeSpec, HeldExtent, Observation, Percept, Phase, SceneTruth


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that a method may look at before one attempt.

    Attributes:
        task: name of the task.
        candidates: K poses of the action prior, from the noisy views.
        excluded: (K,) True where the same pose has already failed in this episode.
        rng: the only source of chance a method may use.
        percept: semantic cloud and sentence, computed at the first call.
        held: measured size of what is to be placed; None in a pick phase.
        truth, spec: simulator state and goal; None unless the method declares itself privileged.
        valid: (K,) placements that are right; None in a pick phase, and unless the method declares itself privileged.
    """

    task: str
    phase: Phase
    instruction: str
    observation: Observation
    candidates: Candidates
    excluded: Bool
    rng: np.random.Generator
    percept: Callable[[], Percept]
    truth: SceneTruth | None = None
    spec: EpisodeSpec | None = None
    held: HeldExtent | None = None
    valid: Bool | None = None

    def take(self, index: int) -> Action:
        """The action that executes candidate ``index``."""
        if self.excluded[index]:
            raise SceneError(f"candidate {index} is excluded: it has failed before", "choose among those not excluded")
        return Action(self.candidates.kind, self.candidates.poses[index], float(self.candidates.widths[index]), int(index))

    def best(self, scores: F32) -> int:
        """Index of the highest score (K,) among the candidates that are not excluded; the first of equals."""
        return int(np.argmax(np.where(self.excluded, -np.inf, scores)))


@dataclass(frozen=True, slots=True)
class Choice:
    """What a method decided.

    Attributes:
        action: a candidate taken, or a pose of the method's own (``index`` None).
        scores: (K,) score of each candidate, for pictures and analysis.
        mask: (N,) semantic weight of each point of the percept's cloud, 0..1.
    """

    action: Action
    scores: F32 | None = None
    mask: F32 | None = None


class Policy(Protocol):
    """A method. ``privileged`` methods are shown the simulator's truth, and their result rows say so."""

    @property
    def name(self) -> str: ...

    @property
    def privileged(self) -> bool: ...

    def act(self, decision: Decision) -> Choice: ...


@runtime_checkable
class Fittable(Protocol):
    """A method that is fitted on demonstrations before it acts."""

    def fit(self, features: Path, out: Path) -> None:
        """Fit on a feature file and write what was learned to ``out``."""
        ...


Factory = Callable[[], Policy]
F = TypeVar("F", bound=Callable[..., Policy])
_REGISTRY: dict[str, Callable[..., Policy]] = {}


def register(name: str) -> Callable[[F], F]:
    """Make a policy class (or a factory without required arguments) known under a name."""

    def add(factory: F) -> F:
        _REGISTRY[name] = factory
        return factory

    return add


def registered() -> dict[str, Callable[..., Policy]]:
    """What has been registered so far in this process."""
    return _REGISTRY
