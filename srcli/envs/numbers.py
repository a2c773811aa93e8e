"""Which episode a seed stands for: the same numbers as in the suites of ``srcli evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

from srcli.errors import ConfigError, unknown_name
from srcli.evaluation.casewords import FileCase
from srcli.evaluation.suites import COMPOSED, FREE, SUITES, SuiteEpisode, find_episode, suite_episodes
from srcli.seeding import SPLIT_STRIDE, Domain, episode_seed, task_offset

TRAIN = "train"
"""Scenes that `srcli collect` demonstrates on; no suite of an evaluation has them."""

SPLITS = ("seen", "unseen")


def check_suite(suite: str, split: str, task: str) -> None:
    """Refuse what has no episodes.

    Raises:
        UnknownNameError: no such suite or split.
        ConfigError: the suite has no episodes of the task.
    """
    if suite != TRAIN and suite not in SUITES:
        raise unknown_name("suite", suite, [TRAIN, *SUITES])
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if suite != TRAIN:
        suite_episodes(suite, 0, (split,), episodes=1, limit=1, task=task)


def numbered(suite: str, split: str, wording: str, root: int, task: str, number: int) -> SuiteEpisode:
    """The episode of a number, counted as a suite lists them; numbers beyond its end begin again.

    Generated suites have 1,000,000 episodes per task and split; those of fixed cases (`paper`, `free`) what an evaluation plays.

    Raises:
        As :func:`check_suite`.
    """
    check_suite(suite, split, task)
    place = number % SPLIT_STRIDE
    if suite == TRAIN:
        return SuiteEpisode(0, split, episode_seed(root, Domain.TRAIN, place), wording, None, task)
    if suite == "paper" or suite in FREE:
        listed = suite_episodes(suite, root, (split,), wording, task=task)
        return listed[number % len(listed)]
    index = COMPOSED.get(suite, 0) + task_offset(task) + SPLIT_STRIDE * (split == "unseen") + place
    return find_episode(f"{root}-{int(SUITES[suite])}-{index}-{wording}", 1, root)


def named(name: str, repeat: int, root: int, task: str, cases: Sequence[FileCase]) -> SuiteEpisode:
    """The episode of a case or of a key, as ``srcli evaluate --case`` finds it.

    Raises:
        UnknownNameError: no such case.
        ConfigError: it is of another task, several cases have this name, or the repeat is below 1.
    """
    episode = find_episode(name, repeat, root, cases, None if "-" in name and name[0].isdigit() else task)
    if episode.task != task:
        raise ConfigError(f"case '{name}' is of the task '{episode.task}', not '{task}'", "make the environment of that task")
    return episode
