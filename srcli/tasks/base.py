"""What a task is: scenes, phases, the expert and the check of success."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from srcli.config.scene import SceneConfig
from srcli.types import Bool, Candidates, EpisodeSpec, Execution, Outcome, Phase, SceneTruth

SCENE_STREAM = 0
"""Purpose of the generator that a scene is drawn from (``seeding.generator(seed, SCENE_STREAM)``)."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fixed test case: sentence and objects are given, drop poses come from the seed.

    Attributes:
        name: unique within its suite; episodes of one case form a cluster in the statistics.
        keyword, keyword_kind: what the sentence asks for, in the catalogue's words.
        objects: catalogue names.
    """

    name: str
    split: str
    instruction: str
    keyword: str
    keyword_kind: str
    objects: tuple[str, ...]
    wording: str = "train"


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

    def expert(
        self,
        spec: EpisodeSpec,
        truth: SceneTruth,
        candidates: Candidates,
        excluded: Bool,
        rng: np.random.Generator,
        phase: Phase,
    ) -> int | None:
        """Index of the candidate that a demonstrator takes, or None. Privileged."""
        ...

    def judge(self, spec: EpisodeSpec, phase: Phase, execution: Execution, truth: SceneTruth) -> Outcome:
        """One executed attempt against the goal. Privileged."""
        ...
