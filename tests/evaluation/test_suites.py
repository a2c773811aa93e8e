"""Suites: seeds that never meet, cases from data, balance under a limit."""

from __future__ import annotations

import pytest

from srcli.config.scene import SceneConfig
from srcli.errors import ArtifactError, ConfigError, UnknownNameError
from srcli.evaluation.suites import COMPOSED, FREE, SUITES, TASK_OFFSET, find_episode, paper_cases, read_cases, suite_episodes
from srcli.seeding import Domain
from srcli.tasks import get_task

TASK = get_task("pick")

CASE = """
cases:
  - name: one
    split: seen
    instruction: give me the apple
    kind: label
    keyword: apple
    objects: [apple, {other}]
"""


def test_paper_suite_is_ten_seen_and_five_unseen_fifteen_times() -> None:
    cases = paper_cases()
    assert [sum(c.split == s for c in cases) for s in ("seen", "unseen")] == [10, 5]
    assert all(len(c.objects) == 15 for c in cases)
    assert len({c.name for c in cases}) == 15
    episodes = suite_episodes("paper", 0)
    assert [sum(e.split == s for e in episodes) for s in ("seen", "unseen")] == [150, 75]


def test_wide_is_two_hundred_different_scenes_per_split() -> None:
    episodes = suite_episodes("wide", 0, ("unseen",))
    assert len(episodes) == 200 == len({e.cluster for e in episodes})


def test_no_seed_occurs_twice_or_in_training() -> None:
    seeds = [e.seed for suite in SUITES for e in suite_episodes(suite, 0)]
    assert len(set(seeds)) == len(seeds)
    learned = {Domain.TRAIN, Domain.PRETRAIN, Domain.PRETRAIN_VALID}
    assert not {seed[1] for seed in seeds} & {int(d) for d in learned}


def test_every_task_has_its_cases_and_its_own_seeds() -> None:
    counts = {task: [sum(c.split == s for c in paper_cases(task)) for s in ("seen", "unseen")] for task in TASK_OFFSET}
    assert counts == {"pick": [10, 5], "place": [20, 10], "pick_place": [8, 4]}
    suites = [(suite, task) for suite in SUITES for task in TASK_OFFSET if suite not in (*COMPOSED, *FREE) or task == "pick"]
    episodes = [e for suite, task in suites for e in suite_episodes(suite, 0, task=task)]
    assert len({e.key for e in episodes}) == len(episodes)
    assert sum(e.case is not None and e.kind == "" for e in episodes) == 57 * 15


@pytest.mark.parametrize("task", ["place", "pick_place"])
def test_every_case_makes_an_episode(task: str) -> None:
    for episode in suite_episodes("paper", 0, task=task, episodes=1):
        spec = episode.spec(get_task(task), SceneConfig())
        assert spec.task == task and spec.goal.references and len(spec.drops) == len(spec.objects)


def test_an_episode_is_found_by_case_or_key() -> None:
    listed = suite_episodes("paper", 7, ("unseen",), task="place")
    for episode in (listed[0], listed[-1]):
        repeat = episode.seed[2] % 10_000 + 1
        assert episode.case is not None
        assert find_episode(f"place/{episode.case.name}", repeat, 7).seed == episode.seed
        assert find_episode(episode.key, 1, 0).seed == episode.seed
    scene = suite_episodes("wide", 2, ("unseen",), "heldout", 3, task="pick_place")[2]
    again = find_episode(scene.key, 1, 0)
    assert (again.seed, again.split, again.task, again.wording) == (scene.seed, "unseen", "pick_place", "heldout")
    with pytest.raises(ConfigError, match="repeats are counted from 1"):
        find_episode("pear", 0, 0)


PLACE_CASE = """
cases:
  - {{name: a, split: seen, instruction: put it near the apple, relation: {relation}, reference: {reference},
     place_objects: [apple, lemon, pear]}}
"""


def test_place_cases_are_checked() -> None:
    assert read_cases(PLACE_CASE.format(relation="near", reference="apple"), "x.yaml", "place")[0].relation == "near"
    with pytest.raises(UnknownNameError, match="case 'a': unknown relation 'over'"):
        read_cases(PLACE_CASE.format(relation="over", reference="apple"), "x.yaml", "place")
    with pytest.raises(ArtifactError, match="no object of the place zone is called 'cup'"):
        read_cases(PLACE_CASE.format(relation="near", reference="cup"), "x.yaml", "place")


def test_a_repeat_draws_new_drops_for_the_same_sentence() -> None:
    repeats = [e for e in suite_episodes("paper", 0, ("seen",)) if e.case is not None and e.case.name == "pear"][:2]
    a, b = (e.spec(TASK, SceneConfig()) for e in repeats)
    assert a.instruction == b.instruction and sorted(a.objects) == sorted(b.objects)
    assert not (a.drops == b.drops).all()
    assert repeats[0].cluster == repeats[1].cluster and repeats[0].key != repeats[1].key


def test_a_limit_keeps_cases_balanced_and_a_longer_suite_contains_the_shorter() -> None:
    limited = suite_episodes("paper", 0, ("seen",), limit=20)
    counts = [sum(e.cluster == c for e in limited) for c in {e.cluster for e in limited}]
    assert counts == [2] * 10
    assert suite_episodes("wide", 0, episodes=5)[:5] == suite_episodes("wide", 0, episodes=9)[:5]


def test_wording_changes_the_key_but_not_that_of_cases() -> None:
    train, heldout = (suite_episodes("wide", 0, ("seen",), wording, episodes=1)[0] for wording in ("train", "heldout"))
    assert train.seed == heldout.seed and train.key != heldout.key
    assert suite_episodes("paper", 0, wording="heldout") == suite_episodes("paper", 0)


def test_case_files_are_checked() -> None:
    assert read_cases(CASE.format(other="power_drill"), "x.yaml")[0].objects == ("apple", "power_drill")
    with pytest.raises(UnknownNameError, match="object 'melon'"):
        read_cases(CASE.format(other="melon"), "x.yaml")
    with pytest.raises(ArtifactError, match="not a case file"):
        read_cases("cases: 3", "x.yaml")
    round_case = CASE.replace("label", "attribute").replace("keyword: apple", "keyword: round")
    assert read_cases(round_case.format(other="plum"), "x.yaml")
    doubtful = CASE.replace("label", "attribute").replace("keyword: apple", "keyword: red").replace("apple, ", "strawberry, ")
    assert read_cases(doubtful.format(other="lemon"), "x.yaml")
    with pytest.raises(ArtifactError, match="has no object with the label"):
        read_cases(CASE.replace("keyword: apple", "keyword: pear").format(other="lemon"), "x.yaml")


def test_a_distractor_that_could_be_meant_is_refused() -> None:
    text = CASE.replace("keyword: apple", "keyword: orange").replace("[apple,", "[orange,").format(other="peach")
    with pytest.raises(ArtifactError, match="'peach' could be meant by 'orange'"):
        read_cases(text, "x.yaml")


def test_unknown_suite() -> None:
    with pytest.raises(UnknownNameError, match="suite 'widest'"):
        suite_episodes("widest", 0)
