"""Which episodes a suite is made of. Every suite has its own seed domain; all methods run the same episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import yaml
from pydantic import Field, ValidationError

from srcli.config.base import Section
from srcli.config.scene import SceneConfig
from srcli.errors import ArtifactError, unknown_name
from srcli.language import could_mean, keyword_table
from srcli.language.templates import KeywordKind
from srcli.objects import catalogue
from srcli.seeding import Domain, episode_seed
from srcli.tasks.base import Case, Task
from srcli.types import EpisodeSpec

SUITES: dict[str, Domain] = {"development": Domain.DEVELOPMENT, "paper": Domain.PAPER, "wide": Domain.WIDE}

DEFAULT_EPISODES = {"development": 60, "paper": 15, "wide": 200}
"""Scenes per split, and for `paper` repeats per case."""

_SPLIT_STRIDE = 1_000_000
_CASE_STRIDE = 10_000


@dataclass(frozen=True, slots=True)
class SuiteEpisode:
    """One episode of a suite, small enough to send to a worker: the spec follows from it.

    Attributes:
        index: position in the suite.
        seed: entropy of the episode.
        case: the fixed case it repeats, or None for a generated scene.
    """

    index: int
    split: str
    seed: tuple[int, ...]
    wording: str
    case: Case | None = None

    @property
    def key(self) -> str:
        """Names the episode; equal for all methods."""
        return "-".join(str(part) for part in (*self.seed, self.wording))

    @property
    def cluster(self) -> str:
        """What the statistics resample together."""
        return f"{self.split}/{self.case.name}" if self.case else self.key

    def spec(self, task: Task, scene: SceneConfig) -> EpisodeSpec:
        """The episode itself."""
        if self.case is not None:
            return task.from_case(self.case, self.seed, scene)
        return task.sample(self.seed, self.split, self.wording, scene)


class _CaseModel(Section):
    """One case of a case file."""

    name: str
    split: str = Field(pattern="^(seen|unseen)$")
    instruction: str = Field(min_length=3)
    kind: KeywordKind
    keyword: str
    objects: list[str] = Field(min_length=2)


class _CaseFile(Section):
    cases: list[_CaseModel] = Field(min_length=1)


@lru_cache(maxsize=1)
def paper_cases() -> tuple[Case, ...]:
    """The pick cases of the `paper` suite: 10 seen, 5 unseen."""
    return read_cases((files("srcli.evaluation") / "data" / "pick_cases.yaml").read_text("utf-8"), "pick_cases.yaml")


def read_cases(text: str, where: str) -> tuple[Case, ...]:
    """Cases from YAML text, checked against the catalogue.

    Raises:
        ArtifactError: not a case file, no target in a case, or a distractor that could be meant by its keyword.
        UnknownNameError: an object that the catalogue does not have.
    """
    try:
        model = _CaseFile.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{where} is not a case file: {reason}", "see docs/protocol.md for the format") from error
    return tuple(_checked(entry, where) for entry in model.cases)


def _checked(entry: _CaseModel, where: str) -> Case:
    known = catalogue()
    for name in entry.objects:
        known[name]
    targets = keyword_table(entry.kind, entry.objects).get(entry.keyword, ())
    if not targets:
        raise ArtifactError(f"{where}: case '{entry.name}' has no object with the {entry.kind} '{entry.keyword}'")
    doubtful = [name for name in entry.objects if name not in targets and could_mean(name, entry.keyword)]
    if doubtful:
        raise ArtifactError(
            f"{where}: in case '{entry.name}' the distractor '{doubtful[0]}' could be meant by '{entry.keyword}'",
            "replace that object",
        )
    return Case(entry.name, entry.split, entry.instruction, entry.keyword, entry.kind, tuple(entry.objects))


def suite_episodes(
    suite: str,
    root: int,
    splits: Sequence[str] = ("seen", "unseen"),
    wording: str = "train",
    episodes: int = 0,
    limit: int = 0,
) -> tuple[SuiteEpisode, ...]:
    """The episodes of a suite, splits one after the other.

    Args:
        root: root seed.
        wording: of generated sentences; cases have their own.
        episodes: scenes per split, or repeats per case; 0: the suite's own number.
        limit: at most so many episodes per split; 0: all. Repeats go round the cases, so that a limit keeps them balanced.

    Raises:
        UnknownNameError: no such suite.
    """
    if suite not in SUITES:
        raise unknown_name("suite", suite, SUITES)
    count = episodes or DEFAULT_EPISODES[suite]
    listed: list[SuiteEpisode] = []
    plan: list[tuple[int, Case | None]]
    for split in splits:
        start = _SPLIT_STRIDE * (split == "unseen")
        if suite == "paper":
            cases = [case for case in paper_cases() if case.split == split]
            plan = [(start + _CASE_STRIDE * i + repeat, case) for repeat in range(count) for i, case in enumerate(cases)]
        else:
            plan = [(start + i, None) for i in range(count)]
        for index, case in plan[: limit or None]:
            seed = episode_seed(root, SUITES[suite], index)
            said = case.wording if case is not None else wording
            listed.append(SuiteEpisode(len(listed), split, seed, said, case))
    return tuple(listed)
