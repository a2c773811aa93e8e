"""The closed loop with a world of numbers: exclusion, discards, no leak, lazy percept, early end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from srcli.config.scene import SceneConfig
from srcli.errors import ConfigError
from srcli.evaluation import attempt, rollout
from srcli.evaluation.rollout import NO_TARGET, EpisodeRecord, exclude, run_episode, run_together
from srcli.evaluation.suites import SuiteEpisode
from srcli.evaluation.worker import record_of
from srcli.methods import Choice, Decision
from srcli.methods.expert import Expert
from srcli.methods.quality import BestQuality
from srcli.methods.random import RandomCandidate
from srcli.methods.similarity import MostSimilarPoint
from srcli.seeding import Domain, episode_seed
from srcli.tasks import get_task
from srcli.types import Action, Candidates, EpisodeSpec, Execution, Observation, Reason, SceneTruth

TASK = get_task("pick")
DOWN = [1.0, 0.0, 0.0, 0.0]


class FakeWorld:
    """Objects stand in a row; a grasp takes the object within 2 cm of its tip, unless that object is slippery."""

    def __init__(self, slippery: Sequence[int] = ()) -> None:
        self.slippery = set(slippery)
        self.held: int | None = None
        self.removed: list[int] = []
        self.draws: list[float] = []

    def reset(self, models: Sequence[Any], drops: np.ndarray[Any, Any], *, shifts: Sequence[float] | None = None) -> None:
        count = len(models)
        self.held = None
        self.poses = np.zeros((count, 7))
        self.poses[:, 0] = 0.1 * np.arange(count)
        self.poses[:, 6] = 1.0
        self.present = np.ones(count, dtype=bool)

    def enter_zone(self, shift: float) -> None:
        self.shift = shift

    def present_held(self, rng: np.random.Generator) -> tuple[Observation, Any]:
        raise AssertionError("nothing is to be placed")

    def observe(self, rng: np.random.Generator) -> tuple[Observation, Any]:
        self.draws.append(float(rng.random()))
        rgb = np.zeros((3, 4, 4, 3), np.uint8)
        K, T = np.repeat(np.eye(3)[None], 3, axis=0), np.repeat(np.eye(4)[None], 3, axis=0)
        return Observation(rgb, np.ones((3, 4, 4), np.float32), K, T), np.zeros((3, 4, 4), np.uint16)

    def truth(self, segmentation: Any = None) -> SceneTruth:
        return SceneTruth(self.poses.copy(), self.present.copy(), segmentation)

    def execute(self, action: Action) -> Execution:
        distance = np.where(self.present, np.linalg.norm(self.poses[:, :3] - action.pose[:3], axis=1), np.inf)
        slot = int(np.argmin(distance))
        if distance[slot] > 0.02:
            return Execution(Reason.NOTHING_HELD, None, 5)
        if slot in self.slippery:
            return Execution(Reason.SLIPPED, None, 5)
        self.held = slot
        return Execution(Reason.SUCCESS, slot, 5)

    def discard(self) -> None:
        assert self.held is not None
        self.present[self.held] = False
        self.removed.append(self.held)
        self.held = None


def spec_of(index: int = 0) -> EpisodeSpec:
    return TASK.sample(episode_seed(0, Domain.PROBE, index), "seen", "train", SceneConfig())


def one_target() -> EpisodeSpec:
    return next(s for s in map(spec_of, range(60)) if len(s.goal.targets) == 1)


def above(world: FakeWorld) -> Callable[[Observation], Candidates]:
    """One candidate at every present object."""

    def sample(observation: Observation) -> Candidates:
        poses = np.array([[*p[:3], *DOWN] for p in world.poses[world.present]], np.float32)
        return Candidates(poses, np.full(len(poses), 0.05, np.float32), np.linspace(1, 0, len(poses), dtype=np.float32))

    return sample


class Spy:
    """Takes the given object positions one after the other, and keeps what it was shown."""

    name = "spy"

    def __init__(self, slots: Sequence[int], privileged: bool = False) -> None:
        self.privileged = privileged
        self.slots = list(slots)
        self.seen: list[Decision] = []

    def act(self, decision: Decision) -> Choice:
        self.seen.append(decision)
        pose = np.array([0.1 * self.slots[len(self.seen) - 1], 0, 0, *DOWN], np.float32)
        return Choice(Action("grasp", pose, 0.05))


def play(world: FakeWorld, spec: EpisodeSpec, policy: Any, **options: Any) -> EpisodeRecord:
    return run_episode(world, TASK, spec, policy, sampler=above(world), **options)


def test_expert_succeeds_at_once() -> None:
    record = play(FakeWorld(), spec_of(), Expert())
    assert record.success and len(record.attempts) == 1 and record.demonstration == 0
    assert record.attempts[0].outcome.slot in record.spec.goal.targets


def test_only_privileged_methods_see_truth_and_goal() -> None:
    spec = one_target()
    wrong = [s for s in range(15) if s not in spec.goal.targets]
    blind, shown = Spy(wrong), Spy(wrong, privileged=True)
    play(FakeWorld(), spec, blind)
    play(FakeWorld(), spec, shown)
    assert len(blind.seen) == 8
    for decision in blind.seen:
        assert decision.truth is None and decision.spec is None
        reachable = [getattr(decision, name) for name in decision.__slots__]
        assert not any(isinstance(value, (SceneTruth, EpisodeSpec)) for value in reachable)
    assert all(d.truth is not None and d.spec is not None and d.spec.goal == spec.goal for d in shown.seen)


def test_wrong_objects_are_removed_and_do_not_exclude() -> None:
    spec = one_target()
    wrong = [s for s in range(15) if s not in spec.goal.targets][:2]
    world = FakeWorld()
    record = play(world, spec, Spy([*wrong, spec.goal.targets[0]]))
    assert [a.outcome.reason for a in record.attempts] == [Reason.WRONG_OBJECT, Reason.WRONG_OBJECT, Reason.SUCCESS]
    assert world.removed == wrong and record.success and record.demonstration == 2
    assert not any(a.excluded.any() for a in record.attempts)


def test_a_failed_pose_is_excluded_for_the_rest_of_the_episode() -> None:
    spec = one_target()
    record = play(FakeWorld(slippery=range(15)), spec, BestQuality())
    taken = [a.choice.action.index for a in record.attempts if a.choice]
    assert taken == list(range(8))
    assert [int(a.excluded.sum()) for a in record.attempts] == list(range(8))
    assert not record.success and record.demonstration == -1


def test_exclusion_by_position_and_direction() -> None:
    tilted = [np.cos(0.25), 0.0, np.sin(0.25), 0.0]
    poses = np.array([[0, 0, 0, *DOWN], [0.014, 0, 0, *DOWN], [0.016, 0, 0, *DOWN], [0, 0, 0, *tilted]], np.float32)
    candidates = Candidates(poses, np.zeros(4, np.float32), np.zeros(4, np.float32))
    assert exclude(candidates.poses, []).tolist() == [False] * 4
    # Half an angle of 0.25 rad tilts the approach by 0.5 rad, 29 degrees.
    assert exclude(candidates.poses, [poses[0]]).tolist() == [True, True, False, False]


def test_a_region_that_failed_twice_is_left_unless_nothing_else_remains() -> None:
    poses = np.array([[x, 0, 0, *DOWN] for x in (0.0, 0.018, 0.036, 0.2)], np.float32)
    candidates = Candidates(poses, np.zeros(4, np.float32), np.zeros(4, np.float32))
    assert exclude(candidates.poses, [poses[0]]).tolist() == [True, False, False, False]
    assert exclude(candidates.poses, [poses[0], poses[1]]).tolist() == [True, True, True, False]
    near = Candidates(poses[:3], candidates.widths[:3], candidates.quality[:3])
    assert exclude(near.poses, [poses[0], poses[1]]).tolist() == [True, True, False]


def test_a_method_with_poses_of_its_own_is_told_which_repeat_a_failure() -> None:
    spec = one_target()
    policy = Spy(range(8))
    play(FakeWorld(slippery=range(15)), spec, policy)
    tried = np.array([[0.1 * slot, 0, 0, *DOWN] for slot in range(8)], np.float32)
    for number, decision in enumerate(policy.seen):
        assert np.array_equal(np.array(decision.failed).reshape(-1, 7), tried[:number])
        assert decision.repeats(tried).tolist() == [True] * number + [False] * (8 - number)


def test_nothing_to_choose_from_is_a_failed_attempt() -> None:
    empty = Candidates(np.zeros((0, 7), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))
    record = run_episode(FakeWorld(), TASK, spec_of(), RandomCandidate(), sampler=lambda o: empty, max_attempts=3)
    assert [a.outcome.reason for a in record.attempts] == [Reason.NO_CANDIDATE] * 3
    assert all(a.choice is None for a in record.attempts)


def test_episode_ends_when_no_target_is_left() -> None:
    spec = one_target()

    class Thief(FakeWorld):
        def execute(self, action: Action) -> Execution:
            self.present[list(spec.goal.targets)] = False
            return Execution(Reason.NOTHING_HELD, None, 1)

    record = play(Thief(), spec, RandomCandidate())
    assert not record.success and len(record.attempts) == 1 and record.ended == NO_TARGET


def test_a_target_that_rolls_off_gets_another_drop_pose() -> None:
    spec = one_target()
    target = spec.goal.targets[0]

    class Slope(FakeWorld):
        """Whatever is dropped at the pose that was first drawn for the target rolls away."""

        def reset(self, models: Sequence[Any], drops: np.ndarray[Any, Any], *, shifts: Sequence[float] | None = None) -> None:
            super().reset(models, drops)
            self.present &= ~(drops == spec.drops[target]).all(axis=1)

    records = [play(Slope(), spec, policy) for policy in (Expert(), RandomCandidate())]
    assert records[0].success
    drops = records[0].spec.drops
    np.testing.assert_array_equal(drops, records[1].spec.drops)
    assert not np.array_equal(drops[target], spec.drops[target])
    assert sorted(map(tuple, drops)) == sorted(map(tuple, spec.drops))


def test_same_seed_same_episode_and_fresh_noise_per_attempt() -> None:
    worlds = FakeWorld(slippery=range(15)), FakeWorld(slippery=range(15))
    records = [play(w, spec_of(2), RandomCandidate()) for w in worlds]
    picked = [[a.choice.action.index for a in r.attempts if a.choice] for r in records]
    assert picked[0] == picked[1] and worlds[0].draws == worlds[1].draws
    assert len(set(worlds[0].draws)) == len(worlds[0].draws)


def test_what_a_grasp_is_aimed_at_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = one_target()
    (target,) = spec.goal.targets
    wrong = next(s for s in range(15) if s != target)
    world = FakeWorld(slippery=[target])
    # What the cameras would say: the object in the row at whose place the tip is.
    monkeypatch.setattr(attempt, "candidate_slots", lambda o, s, c: np.round(c.poses[:, 0] / 0.1).astype(np.int32))
    record = play(world, spec, Spy([wrong, target]), max_attempts=2)
    assert [(a.outcome.reason, a.aimed) for a in record.attempts] == [(Reason.WRONG_OBJECT, wrong), (Reason.SLIPPED, target)]
    kept = record_of(record, SuiteEpisode(0, "seen", spec.seed, "train"))["attempts"]
    assert [(a["aimed"], a["aimed_right"]) for a in kept] == [(spec.objects[wrong], 0), (spec.objects[target], 1)]
    monkeypatch.setattr(attempt, "candidate_slots", lambda o, s, c: np.full(len(c), -1, np.int32))
    (nothing,) = record_of(play(world, spec, Spy([wrong]), max_attempts=1), SuiteEpisode(0, "seen", spec.seed, "train"))[
        "attempts"
    ]
    assert (nothing["aimed"], nothing["aimed_right"]) == ("", -1)


def test_images_are_kept_only_when_recording() -> None:
    assert play(FakeWorld(), spec_of(), Expert()).attempts[0].observation is None
    kept = play(FakeWorld(), spec_of(), Expert(), record=True).attempts[0]
    assert kept.observation is not None and kept.segmentation is not None and kept.percept is None


def test_the_percept_needs_an_encoder_only_when_it_is_looked_at() -> None:
    with pytest.raises(ConfigError, match="no encoder was given"):
        play(FakeWorld(), spec_of(), MostSimilarPoint())


def test_the_similarity_of_what_was_taken_is_recorded() -> None:
    class Judge:
        def similarity(self, observation: Observation, segmentation: Any, slot: int, instruction: str) -> float:
            return 0.1 * slot

    spec = one_target()
    wrong = next(s for s in range(1, 15) if s not in spec.goal.targets)
    record = play(FakeWorld(), spec, Spy([wrong, spec.goal.targets[0]]), judge=Judge())
    assert record.attempts[0].outcome.detail["similarity"] == pytest.approx(0.1 * wrong)
    assert record.success


def test_methods_that_differ_part_and_those_that_agree_share(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = one_target()
    (target,) = spec.goal.targets
    wrong = [slot for slot in range(15) if slot != target]
    paths = [
        [wrong[0], target],
        [wrong[0], wrong[1], target],
        [target],
        [wrong[0], wrong[1], wrong[2], target],
        [wrong[0], target],
    ]

    def told(index: int, record: EpisodeRecord) -> tuple[int, bool, list[int | None], list[int]]:
        return (
            index,
            record.success,
            [a.outcome.slot for a in record.attempts],
            [bool(a.truth.present.all()) for a in record.attempts],
        )

    def together(world: FakeWorld) -> list[Any]:
        return run_together(world, TASK, spec, [Spy(path) for path in paths], told, sampler=above(world))

    world = FakeWorld()
    alone = together(world)
    assert [result[2] for result in alone] == paths and len(world.draws) == sum(map(len, paths))
    monkeypatch.setattr(rollout, "can_branch", lambda: True)
    world = FakeWorld()
    assert together(world) == alone
    # This process goes with the largest group: wrong[0], then the two that take the target next.
    assert len(world.draws) == 2 and world.removed == [wrong[0]]
