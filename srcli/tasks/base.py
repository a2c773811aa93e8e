"""What a task is: scenes, phases, the expert and the check of success."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from srcli.config.scene import SceneConfig
from srcli.types import F64, I32, Action, Bool, Candidates, EpisodeSpec, Execution, HeldExtent, Outcome, Phase, SceneTruth


@dataclass(frozen=True, slots=True)
class Case:
    """A fixed test case: sentence and objects are given, drop poses come from the seed unless a file fixes them.

    Attributes:
        name: unique within its suite; episodes of one case form a cluster in the statistics.
        keyword, keyword_kind: what is to be picked, in the catalogue's words; empty when the task only places.
        objects: catalogue names in the pick zone; empty when the task only places.
        relation, reference: relation word and reference word of a placement; empty when the task only picks.
        place_objects: catalogue names in the place zone.
        held: catalogue name of the object that a place case starts with; empty: drawn from the seed.
        drops: (S, 7) fixed spawn poses of all slots in their zone frames, or None. Objects then keep their order.
        targets, references: slots, where a file names them; else they follow from keyword and reference. Without any slot (a
            task of one's own) the targets follow from the settled scene.
        modifier: in a compositional sentence (its kind is the keyword's), what tells the targets from others of the keyword;
            without explicit targets they follow from the settled scene.
    """

    name: str
    split: str
    instruction: str
    keyword: str
    keyword_kind: str
    objects: tuple[str, ...]
    wording: str = "train"
    relation: str = ""
    reference: str = ""
    place_objects: tuple[str, ...] = ()
    held: str = ""
    drops: F64 | None = None
    targets: tuple[int, ...] | None = None
    references: tuple[int, ...] | None = None
    modifier: str = ""


class Task(Protocol):
    """One kind of episode. Phases run in order; an episode succeeds when its last phase does."""

    @property
    def name(self) -> str: ...

    @property
    def phases(self) -> tuple[Phase, ...]: ...

    def attempts(self, phase: Phase) -> int:
        """How many attempts the protocol allows in a phase."""
        ...

    def sample(self, seed: tuple[int, ...], split: str, wording: str, config: SceneConfig) -> EpisodeSpec:
        """A generated episode; everything follows from the seed."""
        ...

    def from_case(self, case: Case, seed: tuple[int, ...], config: SceneConfig) -> EpisodeSpec:
        """An episode of a fixed case with drop poses from the seed."""
        ...

    def possible(self, spec: EpisodeSpec, truth: SceneTruth, phase: Phase) -> bool:
        """Whether the phase can still succeed; if not, the episode ends."""
        ...

    def shift(self, phase: Phase) -> float:
        """Shift in y of the zone that is looked at in a phase, metres."""
        ...

    def valid(
        self,
        spec: EpisodeSpec,
        truth: SceneTruth,
        candidates: Candidates,
        phase: Phase,
        slots: I32 | None = None,
        held: HeldExtent | None = None,
    ) -> Bool:
        """(K,) which candidates are right. Privileged.

        Args:
            slots: (K,) scene slot on which each grasp candidate lies (phase pick).
            held: measured size of what is to be placed (phase place).
        """
        ...

    def expert(
        self,
        spec: EpisodeSpec,
        truth: SceneTruth,
        candidates: Candidates,
        excluded: Bool,
        rng: np.random.Generator,
        phase: Phase,
        valid: Bool | None = None,
    ) -> int | None:
        """Index of the candidate that a demonstrator takes, or None. Privileged.

        Args:
            valid: (K,) the valid candidates of a placement; without it they are computed for an object of no size.
        """
        ...

    def judge(
        self,
        spec: EpisodeSpec,
        phase: Phase,
        execution: Execution,
        truth: SceneTruth,
        action: Action | None = None,
        after: SceneTruth | None = None,
        held: HeldExtent | None = None,
    ) -> Outcome:
        """One executed attempt against the goal. Privileged.

        Args:
            truth: state before the action.
            action: what was executed.
            after: state after settling; a placement cannot be judged without it.
            held: measured size of what was placed.
        """
        ...


@runtime_checkable
class Settles(Protocol):
    """A task whose targets may follow from the settled scene; any task may have this method beside those of :class:`Task`."""

    def settled(self, spec: EpisodeSpec, truth: SceneTruth) -> EpisodeSpec | None:
        """The specification with its targets, before anything is seen or done; None where the scene leaves them in doubt.

        What a sentence means is settled here once: it stays so, whatever the episode moves. Privileged.

        Args:
            truth: state of the zone of the first phase, without a segmentation.
        """
        ...
