"""The pick task: scenes from seeds, targets and distractors, the expert, the judge."""

from __future__ import annotations

import numpy as np
import pytest

from srcli.config.scene import SceneConfig
from srcli.errors import ConfigError, UnknownNameError
from srcli.language import could_mean, keyword_table
from srcli.objects import catalogue
from srcli.seeding import Domain, episode_seed
from srcli.tasks import Case, get_task
from srcli.types import Candidates, EpisodeSpec, Execution, Reason, SceneTruth

CONFIG = SceneConfig()
TASK = get_task("pick")


def spec_of(index: int, split: str = "seen", wording: str = "train") -> EpisodeSpec:
    return TASK.sample(episode_seed(0, Domain.PROBE, index), split, wording, CONFIG)


def truth_of(spec: EpisodeSpec) -> SceneTruth:
    poses = np.zeros((len(spec.objects), 7))
    poses[:, 0] = np.arange(len(spec.objects)) * 0.05
    poses[:, 6] = 1.0
    return SceneTruth(poses, np.ones(len(spec.objects), dtype=bool), np.zeros((3, 2, 2), dtype=np.uint16))


def candidates_at(xyz: list[list[float]]) -> Candidates:
    poses = np.zeros((len(xyz), 7), dtype=np.float32)
    poses[:, :3] = xyz
    poses[:, 3] = 1.0
    return Candidates(poses, np.full(len(xyz), 0.05, np.float32), np.ones(len(xyz), np.float32))


@pytest.mark.parametrize("split", ["seen", "unseen"])
@pytest.mark.parametrize("wording", ["train", "heldout"])
def test_targets_and_distractors(split: str, wording: str) -> None:
    pool = set(catalogue().seen if split == "seen" else catalogue().unseen)
    for index in range(60):
        spec = spec_of(index, split, wording)
        goal = spec.goal
        assert len(spec.objects) == CONFIG.objects
        assert set(spec.objects) <= pool
        table = keyword_table(goal.keyword_kind, pool)[goal.keyword]  # type: ignore[arg-type]
        assert {spec.objects[slot] for slot in goal.targets} <= set(table)
        expected = len(table) if len(table) <= 3 else (2 if split == "seen" else 3)
        assert len(goal.targets) == expected
        for slot, name in enumerate(spec.objects):
            assert (slot in goal.targets) or not could_mean(name, goal.keyword)


def test_seen_distractors_are_all_different() -> None:
    for index in range(30):
        spec = spec_of(index)
        assert len(set(spec.objects)) == len(spec.objects)


def test_targets_lie_anywhere_in_the_drop_order() -> None:
    first = [slot for index in range(80) for slot in spec_of(index).goal.targets]
    assert 4 < np.mean(first) < 10


def test_everything_follows_from_the_seed() -> None:
    a, b, other = spec_of(3), spec_of(3), spec_of(4)
    assert (a.instruction, a.objects, a.goal) == (b.instruction, b.objects, b.goal)
    np.testing.assert_array_equal(a.drops, b.drops)
    assert not np.array_equal(a.drops, other.drops)


def test_drops_are_inside_and_orientations_are_rotations() -> None:
    drops = np.concatenate([spec_of(i).drops for i in range(30)])
    assert np.abs(drops[:, 0] - CONFIG.center_x).max() <= CONFIG.half_width
    assert np.abs(drops[:, 1] - CONFIG.center_y).max() <= CONFIG.half_width
    np.testing.assert_allclose(np.linalg.norm(drops[:, 3:], axis=1), 1.0)
    assert (drops[:, 6] >= 0).all()


def test_case_keeps_objects_and_sentence_and_moves_the_drops() -> None:
    fruit = ("apple", "lemon")
    others = tuple(n for n in catalogue().seen if not could_mean(n, "fruit"))[:5]
    case = Case("fruit", "seen", "pass a fruit please", "fruit", "general", (*fruit, *others))
    a = TASK.from_case(case, (0, 3, 0), CONFIG)
    b = TASK.from_case(case, (0, 3, 1), CONFIG)
    assert sorted(a.objects) == sorted(case.objects) == sorted(b.objects)
    assert a.instruction == case.instruction and a.case == "fruit"
    assert {a.objects[t] for t in a.goal.targets} == set(fruit) == {b.objects[t] for t in b.goal.targets}
    assert not np.array_equal(a.drops, b.drops)


def test_case_without_target_is_refused() -> None:
    case = Case("bad", "seen", "give me the apple", "apple", "label", ("lemon",))
    with pytest.raises(ConfigError, match="no object carries the label 'apple'"):
        TASK.from_case(case, (0, 3, 0), CONFIG)


def test_expert_takes_the_nearest_candidate_that_is_allowed() -> None:
    spec = spec_of(0)
    truth = truth_of(spec)
    for slot in range(len(spec.objects)):
        truth.present[slot] = slot == spec.goal.targets[0]
    goal = truth.poses[spec.goal.targets[0], :3]
    candidates = candidates_at([(goal + d).tolist() for d in ([0.3, 0, 0], [0.01, 0, 0], [0, 0.02, 0])])
    rng = np.random.default_rng(0)
    free = np.zeros(3, dtype=bool)
    assert TASK.expert(spec, truth, candidates, free, rng, "pick") == 1
    assert TASK.expert(spec, truth, candidates, np.array([False, True, False]), rng, "pick") == 2
    assert TASK.expert(spec, truth, candidates, np.ones(3, dtype=bool), rng, "pick") is None


def test_expert_goes_to_every_present_target_and_stops_without_one() -> None:
    index = next(i for i in range(50) if len(spec_of(i).goal.targets) == 2)
    spec = spec_of(index)
    truth = truth_of(spec)
    candidates = candidates_at(truth.poses[:, :3].tolist())
    free = np.zeros(len(spec.objects), dtype=bool)
    rng = np.random.default_rng(0)
    taken = {TASK.expert(spec, truth, candidates, free, rng, "pick") for _ in range(40)}
    assert taken == set(spec.goal.targets)
    truth.present[list(spec.goal.targets)] = False
    assert TASK.expert(spec, truth, candidates, free, rng, "pick") is None
    assert not TASK.possible(spec, truth, "pick")


def test_judge() -> None:
    spec = spec_of(0)
    truth = truth_of(spec)
    target = spec.goal.targets[0]
    wrong = next(s for s in range(len(spec.objects)) if s not in spec.goal.targets)
    held = TASK.judge(spec, "pick", Execution(Reason.SUCCESS, target, 10), truth)
    assert held.success and held.reason is Reason.SUCCESS and held.slot == target
    mistaken = TASK.judge(spec, "pick", Execution(Reason.SUCCESS, wrong, 10), truth)
    assert not mistaken.success and mistaken.reason is Reason.WRONG_OBJECT and mistaken.slot == wrong
    slipped = TASK.judge(spec, "pick", Execution(Reason.SLIPPED, None, 10), truth)
    assert not slipped.success and slipped.reason is Reason.SLIPPED


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="task 'push'"):
        get_task("push")
    with pytest.raises(UnknownNameError, match="split 'hidden'"):
        TASK.sample((0, 7, 0), "hidden", "train", CONFIG)


def test_no_more_targets_are_drawn_than_fit_the_sentence() -> None:
    config = SceneConfig(targets_seen=6, targets_unseen=6, all_targets=1)
    for index in range(30):
        spec = TASK.sample(episode_seed(0, Domain.PROBE, index), ("seen", "unseen")[index % 2], "train", config)
        assert 1 <= len(spec.goal.targets) <= 6 and len(spec.objects) == config.objects
