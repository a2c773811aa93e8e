"""Which episodes a suite is made of. Every suite has its own seed domain; all methods run the same episodes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files

import numpy as np

from srcli.config.scene import SceneConfig
from srcli.config.tasks import task_names
from srcli.errors import ConfigError, unknown_name
from srcli.evaluation.casewords import FileCase
from srcli.evaluation.freesentences import FREE_KINDS, HALVES, free_cases, sentence_number
from srcli.evaluation.yamlcases import read_cases
from srcli.language.phrases import PHRASE_KINDS, phrase_kind
from srcli.seeding import (
    CASE_STRIDE,
    COMPOSED_OFFSET,
    FILE_OFFSET,
    FREE_OFFSET,
    SPLIT_STRIDE,
    TASK_OFFSET,
    Domain,
    episode_seed,
    task_offset,
)
from srcli.tasks.base import Case, Task
from srcli.tasks.pick import PickTask
from srcli.types import EpisodeSpec

SUITES: dict[str, Domain] = {
    "development": Domain.DEVELOPMENT,
    "paper": Domain.PAPER,
    "wide": Domain.WIDE,
    "compositional": Domain.COMPOSITIONAL,
    "compositional-development": Domain.DEVELOPMENT,
    "free": Domain.FREE,
    "free-development": Domain.DEVELOPMENT,
}

COMPOSED: dict[str, int] = {"compositional": 0, "compositional-development": COMPOSED_OFFSET}
"""Suites of compositional sentences, kinds in equal shares, with the first index of their range."""

FREE: dict[str, int] = {"free": 0, "free-development": FREE_OFFSET}
"""Suites of free sentences, with the first index of their range."""

SENTENCE_KINDS: tuple[str, ...] = (*PHRASE_KINDS, *FREE_KINDS)
"""What the rows of these suites are told apart by."""

DEFAULT_EPISODES = {
    "development": 60,
    "paper": 15,
    "wide": 200,
    "compositional": 201,
    "compositional-development": 60,
    "free": 2,
    "free-development": 1,
}
"""Scenes per split; of the suites of fixed cases (`paper`, `free`) repeats per case."""


@dataclass(frozen=True, slots=True)
class SuiteEpisode:
    """One episode of a suite, small enough to send to a worker: the spec follows from it.

    Attributes:
        index: position in the suite.
        seed: entropy of the episode.
        case: the fixed case it repeats, or None for a generated scene.
        content: digest of a case that was read from a user's file, or empty.
        kind: of a compositional or free sentence, or empty.
    """

    index: int
    split: str
    seed: tuple[int, ...]
    wording: str
    case: Case | None = None
    task: str = "pick"
    content: str = ""
    kind: str = ""

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
        if self.kind:
            return _composer(task).compose(self.seed, self.split, self.wording, phrase_kind(self.kind), scene)
        return task.sample(self.seed, self.split, self.wording, scene)


def _composer(task: Task) -> PickTask:
    if not isinstance(task, PickTask):
        raise ConfigError(f"compositional sentences are for picking, not for the task '{task.name}'", "run the task pick")
    return task


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
        ConfigError: the suite has no episodes of the task.
    """
    if suite not in SUITES:
        raise unknown_name("suite", suite, SUITES)
    if task not in task_names():
        raise unknown_name("task", task, task_names())
    if suite in (*COMPOSED, *FREE) and task != "pick":
        raise ConfigError(
            f"suite '{suite}' has sentences for picking only, none for the task '{task}'", "run it with --task pick"
        )
    if suite == "paper" and task not in TASK_OFFSET:
        raise ConfigError(f"suite 'paper' has no cases of the task '{task}'", "run --suite wide, or cases of your own (--cases)")
    count = episodes or DEFAULT_EPISODES[suite]
    if suite in (*FREE, "paper"):
        _check_repeats(count)
    if suite in FREE:
        return _free_episodes(suite, root, splits, count, limit)
    listed: list[SuiteEpisode] = []
    plan: list[tuple[int, Case | None]]
    for split in dict.fromkeys(splits):
        start = COMPOSED.get(suite, 0) + task_offset(task) + SPLIT_STRIDE * (split == "unseen")
        if suite == "paper":
            cases = [case for case in paper_cases(task) if case.split == split]
            plan = [(start + CASE_STRIDE * i + repeat, case) for repeat in range(count) for i, case in enumerate(cases)]
        else:
            plan = [(start + i, None) for i in range(count)]
        for index, case in plan[: limit or None]:
            seed = episode_seed(root, SUITES[suite], index)
            said = case.wording if case is not None else wording
            kind = composed_kind(index) if suite in COMPOSED else ""
            listed.append(SuiteEpisode(len(listed), split, seed, said, case, task, kind=kind))
    return tuple(listed)


def _check_repeats(count: int) -> None:
    """Seeds of one case would be those of the next.

    Raises:
        ConfigError: there are more repeats than seeds of a case.
    """
    if count > CASE_STRIDE:
        raise ConfigError(f"{count} repeats of a case: there are seeds for {CASE_STRIDE}", "ask for fewer")


def _free_episodes(suite: str, root: int, splits: Sequence[str], repeats: int, limit: int) -> tuple[SuiteEpisode, ...]:
    """Repeats go round the sentences. Seeds follow from a sentence's words, whatever lines stand beside it."""
    listed: list[SuiteEpisode] = []
    for split in dict.fromkeys(splits):
        own = [case for case in free_cases(suite) if case.split == split]
        plan = [(repeat, case) for repeat in range(repeats) for case in own]
        for repeat, case in plan[: limit or None]:
            listed.append(_free_episode(suite, root, len(listed), case, repeat))
    return tuple(listed)


def _free_episode(suite: str, root: int, index: int, case: Case, repeat: int) -> SuiteEpisode:
    number = FREE[suite] + sentence_number(case.split, case.instruction) * CASE_STRIDE + repeat
    seed = episode_seed(root, SUITES[suite], number)
    return SuiteEpisode(index, case.split, seed, case.wording, case, "pick", _content(case), case.keyword_kind)


def composed_kind(index: int) -> str:
    """The kind of sentence of an episode of a compositional suite: they take turns within a split."""
    return PHRASE_KINDS[index % SPLIT_STRIDE % len(PHRASE_KINDS)]


def file_episodes(
    cases: Sequence[FileCase], root: int, splits: Sequence[str], repeats: int = 0, limit: int = 0
) -> tuple[SuiteEpisode, ...]:
    """The repeats of cases from a user's files. A case's seeds follow from its name, whatever files lie beside it.

    Poses are fixed, so repeats differ in sensor noise and candidates alone (in the held object, too, where the file names none).

    Args:
        repeats: per case; 0: 15, as in the `paper` suite.
        limit: at most so many episodes per task and split; 0: all. Repeats go round the cases.

    Raises:
        ConfigError: too many repeats.
    """
    count = repeats or DEFAULT_EPISODES["paper"]
    _check_repeats(count)
    listed: list[SuiteEpisode] = []
    for task in dict.fromkeys(item.task for item in cases):
        for split in dict.fromkeys(splits):
            own = [item.case for item in cases if item.task == task and item.case.split == split]
            plan = [(repeat, case) for repeat in range(count) for case in own]
            for repeat, case in plan[: limit or None]:
                seed = episode_seed(root, Domain.PAPER, _first_of(task, case) + repeat)
                listed.append(SuiteEpisode(len(listed), split, seed, case.wording, case, task, _content(case)))
    return tuple(listed)


def _first_of(task: str, case: Case) -> int:
    """The index of the first repeat of a case from a file."""
    number = int(hashlib.sha256(f"{task}/{case.name}".encode()).hexdigest()[:10], 16)
    return FILE_OFFSET + number * CASE_STRIDE


def _content(case: Case) -> str:
    """Digest of all that a case asks for but its name, so that an edited file is played anew."""
    drops = b"" if case.drops is None else np.ascontiguousarray(case.drops).tobytes()
    parts = {field.name: getattr(case, field.name) for field in fields(case) if field.name not in ("name", "drops")}
    return hashlib.sha256(repr(sorted(parts.items())).encode() + drops).hexdigest()[:8]


def find_episode(
    name: str, repeat: int, root: int, cases: Sequence[FileCase] = (), task: str | None = None, splits: Sequence[str] = ()
) -> SuiteEpisode:
    """The episode of a case by its name and repeat, or of a generated scene by its key ("0-4-1000007-train").

    Args:
        name: of a case of the `paper` suite or of ``cases``, also as ``TASK/NAME``; of a free sentence; or any episode's key.
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
    generated = _of_files(name, cases) or _by_key(name)
    if generated is not None:
        return generated
    free = {case.name: (suite, case) for suite in (() if cases else HALVES) for case in free_cases(suite)}
    if name in free:
        suite, sentence = free[name]
        return _free_episode(suite, root, 0, sentence, repeat - 1)
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
        # Free sentences are too long to be listed: only one that is spelt alike is named.
        raise unknown_name("case", name, [*get_close_matches(name, free, n=1), *known])
    if len(wanted) > 1:
        raise ConfigError(f"several cases are named '{name}': {', '.join(wanted)}", "give one of these")
    kind, case, from_file = known[wanted[0]]
    if from_file is not None:
        listed = file_episodes([from_file], root, (case.split,), repeat)
    else:
        listed = suite_episodes("paper", root, (case.split,), episodes=repeat, task=kind)
    return next(e for e in reversed(listed) if e.case is not None and e.case.name == case.name)


def _of_files(key: str, cases: Sequence[FileCase]) -> SuiteEpisode | None:
    """The episode of a case from a file whose key this is; None where it is no such key."""
    match = _KEY.fullmatch(key)
    root, domain, index = (int(part) for part in match.groups()[:3]) if match else (0, 0, 0)
    for item in cases if domain == Domain.PAPER else ():
        repeat = index - _first_of(item.task, item.case)
        if 0 <= repeat < CASE_STRIDE:
            return file_episodes([item], root, (item.case.split,), repeat + 1)[-1]
    return None


_KEY = re.compile(r"(\d+)-(\d+)-(\d+)(?:-(train|heldout)(?:-([0-9a-f]{8}))?)?")


def _by_key(key: str) -> SuiteEpisode | None:
    """The episode of a suite whose key this is; None when it does not look like a key.

    Raises:
        UnknownNameError: it looks like a key, but no suite has this episode.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    root, domain, index = (int(part) for part in match.groups()[:3])
    for suite in HALVES:
        for case in free_cases(suite) if SUITES[suite] == domain else ():
            repeat = index - FREE[suite] - sentence_number(case.split, case.instruction) * CASE_STRIDE
            if 0 <= repeat < CASE_STRIDE:
                episode = _free_episode(suite, root, 0, case, repeat)
                if match.group(5) not in (None, episode.content):
                    raise ConfigError(
                        f"episode '{key}': what this sentence asks for has changed since", f"play the present one: {episode.key}"
                    )
                return episode
    if match.group(5) is not None:
        raise unknown_name("episode", key, [])
    for suite, value in SUITES.items():
        if suite in FREE:
            continue
        for task in ("pick",) if suite in COMPOSED else task_names():
            start = COMPOSED.get(suite, 0) + task_offset(task)
            if value == domain and start <= index < start + 2 * SPLIT_STRIDE:
                return _numbered(suite, task, (root, domain, index), index - start, match.group(4) or "train")
    raise unknown_name("episode", key, [])


def _numbered(suite: str, task: str, seed: tuple[int, int, int], place: int, said: str) -> SuiteEpisode:
    split, number = ("seen", "unseen")[place // SPLIT_STRIDE], place % SPLIT_STRIDE
    if suite != "paper":
        kind = composed_kind(number) if suite in COMPOSED else ""
        return SuiteEpisode(0, split, seed, said, None, task, kind=kind)
    own = [case for case in paper_cases(task) if case.split == split]
    if number // CASE_STRIDE >= len(own):
        raise unknown_name("episode", "-".join(map(str, seed)), [])
    return SuiteEpisode(0, split, seed, said, own[number // CASE_STRIDE], task)
