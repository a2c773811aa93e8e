"""Which episodes a suite is made of. Every suite has its own seed domain; all methods run the same episodes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import numpy as np
import yaml
from pydantic import Field, ValidationError

from srcli.config.base import Section
from srcli.config.scene import SceneConfig
from srcli.errors import ArtifactError, ConfigError, unknown_name
from srcli.evaluation.casefiles import FileCase, referred
from srcli.language import could_mean, keyword_table
from srcli.language.relations import RELATIONS
from srcli.language.templates import KeywordKind
from srcli.objects import catalogue
from srcli.seeding import Domain, episode_seed
from srcli.tasks.base import Case, Task
from srcli.types import EpisodeSpec

SUITES: dict[str, Domain] = {"development": Domain.DEVELOPMENT, "paper": Domain.PAPER, "wide": Domain.WIDE}

DEFAULT_EPISODES = {"development": 60, "paper": 15, "wide": 200}
"""Scenes per split, and for `paper` repeats per case."""

TASK_OFFSET = {"pick": 0, "place": 10_000_000, "pick_place": 20_000_000}
"""Where a task's indices begin in each domain. Those of picking stand first, as the oldest."""

_SPLIT_STRIDE = 1_000_000
_CASE_STRIDE = 10_000
_FILE_OFFSET = 10**12


@dataclass(frozen=True, slots=True)
class SuiteEpisode:
    """One episode of a suite, small enough to send to a worker: the spec follows from it.

    Attributes:
        index: position in the suite.
        seed: entropy of the episode.
        case: the fixed case it repeats, or None for a generated scene.
        content: digest of a case that was read from a user's file, or empty.
    """

    index: int
    split: str
    seed: tuple[int, ...]
    wording: str
    case: Case | None = None
    task: str = "pick"
    content: str = ""

    @property
    def key(self) -> str:
        """Names the episode; equal for all methods."""
        return "-".join(str(part) for part in (*self.seed, self.wording, self.content) if part != "")

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
    split: Literal["seen", "unseen"]
    instruction: str = Field(min_length=3)
    kind: KeywordKind | Literal[""] = ""
    keyword: str = ""
    objects: list[str] = Field(default_factory=list)
    relation: str = ""
    reference: str = ""
    place_objects: list[str] = Field(default_factory=list)
    held: str = ""


class _CaseFile(Section):
    cases: list[_CaseModel] = Field(min_length=1)


@lru_cache(maxsize=3)
def paper_cases(task: str = "pick") -> tuple[Case, ...]:
    """The cases of the `paper` suite: 10 seen and 5 unseen to pick, 20 and 10 to place, 8 and 4 to pick and place.

    Raises:
        UnknownNameError: no such task.
    """
    if task not in TASK_OFFSET:
        raise unknown_name("task", task, TASK_OFFSET)
    name = f"{task}_cases.yaml"
    return read_cases((files("srcli.evaluation") / "data" / name).read_text("utf-8"), name, task)


def read_cases(text: str, where: str, task: str = "pick") -> tuple[Case, ...]:
    """Cases from YAML text, checked against the catalogue.

    Raises:
        ArtifactError: not a case file, no target or reference in a case, or a distractor that could be meant by its keyword.
        UnknownNameError: an object or a relation that does not exist.
    """
    try:
        model = _CaseFile.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{where} is not a case file: {reason}", "see docs/protocol.md for the format") from error
    names = [entry.name for entry in model.cases]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArtifactError(f"{where}: two cases are named '{twice}'", "names must be unique")
    return tuple(_checked(entry, where, task) for entry in model.cases)


def _checked(entry: _CaseModel, where: str, task: str) -> Case:
    known = catalogue()
    for name in (*entry.objects, *entry.place_objects, *([entry.held] if entry.held else [])):
        known[name]
    if task != "place":
        _check_targets(entry, where)
    if task != "pick":
        _check_reference(entry, where)
    return Case(
        name=entry.name,
        split=entry.split,
        instruction=entry.instruction,
        keyword=entry.keyword,
        keyword_kind=entry.kind,
        objects=tuple(entry.objects),
        relation=entry.relation,
        reference=entry.reference,
        place_objects=tuple(entry.place_objects),
        held=entry.held,
    )


def _check_targets(entry: _CaseModel, where: str) -> None:
    if len(entry.objects) < 2 or not entry.kind:
        raise ArtifactError(f"{where}: case '{entry.name}' has no keyword or fewer than two objects", "add them")
    targets = keyword_table(entry.kind, entry.objects).get(entry.keyword, ())
    if not targets:
        raise ArtifactError(f"{where}: case '{entry.name}' has no object with the {entry.kind} '{entry.keyword}'")
    doubtful = [name for name in entry.objects if name not in targets and could_mean(name, entry.keyword)]
    if doubtful:
        raise ArtifactError(
            f"{where}: in case '{entry.name}' the distractor '{doubtful[0]}' could be meant by '{entry.keyword}'",
            "replace that object",
        )


def _check_reference(entry: _CaseModel, where: str) -> None:
    if entry.relation not in RELATIONS:
        raise unknown_name(f"relation of case '{entry.name}'", entry.relation, RELATIONS)
    if not referred(entry.reference, entry.place_objects):
        raise ArtifactError(
            f"{where}: case '{entry.name}': no object of the place zone is called '{entry.reference}'",
            "correct the reference or its place_objects",
        )


def suite_episodes(
    suite: str,
    root: int,
    splits: Sequence[str] = ("seen", "unseen"),
    wording: str = "train",
    episodes: int = 0,
    limit: int = 0,
    task: str = "pick",
) -> tuple[SuiteEpisode, ...]:
    """The episodes of a suite, splits one after the other.

    Args:
        root: root seed.
        wording: of generated sentences; cases have their own.
        episodes: scenes per split, or repeats per case; 0: the suite's own number.
        limit: at most so many episodes per split; 0: all. Repeats go round the cases, so that a limit keeps them balanced.
        task: each has its own range of seeds.

    Raises:
        UnknownNameError: no such suite or task.
    """
    if suite not in SUITES:
        raise unknown_name("suite", suite, SUITES)
    if task not in TASK_OFFSET:
        raise unknown_name("task", task, TASK_OFFSET)
    count = episodes or DEFAULT_EPISODES[suite]
    listed: list[SuiteEpisode] = []
    plan: list[tuple[int, Case | None]]
    for split in splits:
        start = TASK_OFFSET[task] + _SPLIT_STRIDE * (split == "unseen")
        if suite == "paper":
            cases = [case for case in paper_cases(task) if case.split == split]
            plan = [(start + _CASE_STRIDE * i + repeat, case) for repeat in range(count) for i, case in enumerate(cases)]
        else:
            plan = [(start + i, None) for i in range(count)]
        for index, case in plan[: limit or None]:
            seed = episode_seed(root, SUITES[suite], index)
            said = case.wording if case is not None else wording
            listed.append(SuiteEpisode(len(listed), split, seed, said, case, task))
    return tuple(listed)


def file_episodes(
    cases: Sequence[FileCase], root: int, splits: Sequence[str], repeats: int = 0, limit: int = 0
) -> tuple[SuiteEpisode, ...]:
    """The repeats of cases from a user's files. A case's seeds follow from its name, whatever files lie beside it.

    Poses are fixed, so repeats differ in sensor noise and candidates alone (in the held object, too, where the file names none).

    Args:
        repeats: per case; 0: 15, as in the `paper` suite.
        limit: at most so many episodes per task and split; 0: all. Repeats go round the cases.
    """
    count = repeats or DEFAULT_EPISODES["paper"]
    listed: list[SuiteEpisode] = []
    for task in dict.fromkeys(item.task for item in cases):
        for split in splits:
            own = [item.case for item in cases if item.task == task and item.case.split == split]
            plan = [(repeat, case) for repeat in range(count) for case in own]
            for repeat, case in plan[: limit or None]:
                number = int(hashlib.sha256(f"{task}/{case.name}".encode()).hexdigest()[:10], 16)
                seed = episode_seed(root, Domain.PAPER, _FILE_OFFSET + number * _CASE_STRIDE + repeat)
                listed.append(SuiteEpisode(len(listed), split, seed, case.wording, case, task, _content(case)))
    return tuple(listed)


def _content(case: Case) -> str:
    """Digest of what a case asks for, so that an edited file is played anew."""
    drops = b"" if case.drops is None else np.ascontiguousarray(case.drops).tobytes()
    said = "|".join(
        str(part)
        for part in (case.instruction, case.objects, case.place_objects, case.targets, case.relation, case.reference, case.split)
    )
    return hashlib.sha256(said.encode() + drops).hexdigest()[:8]


def find_episode(
    name: str, repeat: int, root: int, cases: Sequence[FileCase] = (), task: str | None = None, splits: Sequence[str] = ()
) -> SuiteEpisode:
    """The episode of a case by its name and repeat, or of a generated scene by its key ("0-4-1000007-train").

    Args:
        name: of a case of the `paper` suite or of ``cases``, also as ``TASK/NAME``; or the key of any episode.
        repeat: from 1.
        cases: cases read from files; they come first.
        task: look only among the cases of this task.
        splits: look only among these; empty: all.

    Raises:
        UnknownNameError: no such case or key.
        ConfigError: several cases have this name, or the repeat is below 1.
    """
    if repeat < 1:
        raise ConfigError(f"repeat {repeat}: repeats are counted from 1", "give --repeat 1 or more")
    generated = _by_key(name)
    if generated is not None:
        return generated
    known: dict[str, tuple[str, Case, FileCase | None]] = {}
    for item in cases:
        known[f"{item.task}/{item.case.name}"] = (item.task, item.case, item)
    for kind in () if cases else tuple(TASK_OFFSET):
        known.update({f"{kind}/{case.name}": (kind, case, None) for case in paper_cases(kind)})
    wanted = [
        full
        for full, (kind, case, _) in known.items()
        if name in (full, case.name, case.name.rsplit("/", 1)[-1])
        and task in (None, kind)
        and (not splits or case.split in splits)
    ]
    exact = [full for full in wanted if name in (full, known[full][1].name)]
    wanted = exact or wanted
    if not wanted:
        raise unknown_name("case", name, known)
    if len(wanted) > 1:
        raise ConfigError(f"several cases are named '{name}': {', '.join(wanted)}", "give one of these")
    kind, case, from_file = known[wanted[0]]
    if from_file is not None:
        listed = file_episodes([from_file], root, (case.split,), repeat)
    else:
        listed = suite_episodes("paper", root, (case.split,), episodes=repeat, task=kind)
    return next(e for e in reversed(listed) if e.case is not None and e.case.name == case.name)


_KEY = re.compile(r"(\d+)-(\d+)-(\d+)(?:-(train|heldout))?")


def _by_key(key: str) -> SuiteEpisode | None:
    """The episode of a suite whose key this is; None when it does not look like a key.

    Raises:
        UnknownNameError: it looks like a key, but no suite has this episode.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    root, domain, index = (int(part) for part in match.groups()[:3])
    suite = next((name for name, value in SUITES.items() if value == domain), None)
    task = next((name for name, start in TASK_OFFSET.items() if start <= index < start + 2 * _SPLIT_STRIDE), None)
    if suite is None or task is None:
        raise unknown_name("episode", key, [])
    split, number = ("seen", "unseen")[(index - TASK_OFFSET[task]) // _SPLIT_STRIDE], index % _SPLIT_STRIDE
    said = match.group(4) or "train"
    if suite != "paper":
        return SuiteEpisode(0, split, (root, domain, index), said, None, task)
    own = [case for case in paper_cases(task) if case.split == split]
    if number // _CASE_STRIDE >= len(own):
        raise unknown_name("episode", key, [])
    return SuiteEpisode(0, split, (root, domain, index), said, own[number // _CASE_STRIDE], task)
