"""Set-up with a held object, the place phase and disturbed actions, with a world and a task of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from srcli.evaluation.perturb import compose, perturb
from srcli.evaluation.rollout import NO_TARGET, NOT_SET_UP, EpisodeRecord, SetupError, run_episode, set_up
from srcli.evaluation.setup import GRIPS, LAYOUTS
from srcli.methods import Choice, Decision
from srcli.methods.quality import BestQuality
from srcli.types import (
    PICK_SHIFT,
    PLACE_SHIFT,
    Action,
    Candidates,
    EpisodeSpec,
    Execution,
    Goal,
    HeldExtent,
    Observation,
    Outcome,
    Reason,
    SceneTruth,
)

DOWN = [1.0, 0.0, 0.0, 0.0]
EXTENT = HeldExtent(0.03, 0.02, 0.05)
COUNT = 4


def spec_of(task: str) -> EpisodeSpec:
    """Slots 0 to 2 in the place zone, slot 3 in the pick zone."""
    drops = np.zeros((COUNT, 7))
    drops[:, 0], drops[:, 6] = 0.1 * np.arange(COUNT), 1.0
    return EpisodeSpec(
        task=task,
        split="seen",
        seed=(0, 7, 0),
        instruction="give me the pear and put it near the apple",
        goal=Goal("pear", "label", (3,), "near", (0,), "apple"),
        objects=("apple", "plum", "cup", "pear"),
        drops=drops,
        shifts=(PLACE_SHIFT,) * 3 + (PICK_SHIFT,),
        held=3 if task == "place" else -1,
    )


class TwoZones:
    """Objects stand where they were dropped; ``slips`` grasps fail before one holds."""

    def __init__(self, slips: int = 0, lost: bool = False, away: Sequence[int] = ()) -> None:
        self.slips, self.lost, self.away = slips, lost, set(away)
        self.held: int | None = None
        self.grasps, self.resets = 0, 0
        self.placed: list[Action] = []
        self.drops: list[Any] = []

    def reset(self, models: Sequence[Any], drops: Any, *, shifts: Sequence[float] | None = None) -> None:
        assert shifts is not None
        self.held, self.shifts, self.shift = None, np.array(shifts), 0.0
        self.poses = drops.copy()
        self.resets += 1
        self.drops.append(drops)

    def enter_zone(self, shift: float) -> None:
        self.shift = shift

    def observe(self, rng: np.random.Generator) -> tuple[Observation, Any]:
        images = np.zeros((1, 2, 2, 3), np.uint8), np.ones((1, 2, 2), np.float32)
        return Observation(*images, np.eye(3)[None], np.eye(4)[None]), np.zeros((1, 2, 2), np.uint16)

    def truth(self, segmentation: Any = None) -> SceneTruth:
        present = (self.shifts == self.shift) & ~np.isin(np.arange(COUNT), [self.held, *self.away])
        return SceneTruth(self.poses.copy(), present, segmentation, ((-1, 0),))

    def execute(self, action: Action) -> Execution:
        if action.kind == "place":
            slot, self.held = self.held, None
            assert slot is not None and self.shift == PLACE_SHIFT
            self.poses[slot, :3] = action.pose[:3]
            self.shifts[slot] = PLACE_SHIFT
            self.placed.append(action)
            return Execution(Reason.SUCCESS, slot, 7)
        assert self.shift == PICK_SHIFT
        self.grasps += 1
        if self.grasps <= self.slips:
            return Execution(Reason.SLIPPED, None, 5)
        self.held = 3
        return Execution(Reason.SUCCESS, 3, 5)

    def present_held(self, rng: np.random.Generator) -> tuple[Observation, Any]:
        assert self.held == 3 and self.shift == PLACE_SHIFT
        if self.lost:
            self.held = None
        return self.observe(rng)[0], np.eye(4)

    def discard(self) -> None:
        self.held = None


@dataclass
class Near:
    """Placing within 5 cm of the reference is right."""

    name: str = "place"

    @property
    def phases(self) -> tuple[Any, ...]:
        return ("place",) if self.name == "place" else ("pick", "place")

    def attempts(self, phase: str) -> int:
        return 8 if phase == "pick" else 1

    def shift(self, phase: str) -> float:
        return PICK_SHIFT if phase == "pick" else PLACE_SHIFT

    def possible(self, spec: EpisodeSpec, truth: SceneTruth, phase: str) -> bool:
        wanted = spec.goal.targets if phase == "pick" else spec.goal.references
        return bool(truth.present[list(wanted)].any())

    def valid(self, spec: EpisodeSpec, truth: SceneTruth, candidates: Candidates, phase: str, **options: Any) -> Any:
        assert phase == "place" and options["held"] == EXTENT
        return np.linalg.norm(candidates.poses[:, :3] - truth.poses[spec.goal.references[0], :3], axis=1) < 0.05

    def judge(self, spec: EpisodeSpec, phase: str, execution: Execution, truth: SceneTruth, **given: Any) -> Outcome:
        if phase == "pick" or execution.reason is not Reason.SUCCESS:
            return Outcome(execution.reason is Reason.SUCCESS, execution.reason, execution.slot)
        after, held = given["after"], given["held"]
        assert held == EXTENT and after.contacts == ((-1, 0),) and after.present[3] and not truth.present[3]
        good = bool(np.linalg.norm(after.poses[3, :3] - after.poses[spec.goal.references[0], :3]) < 0.05)
        return Outcome(good, Reason.SUCCESS if good else Reason.WRONG_REGION, execution.slot)


def grasps(observation: Observation) -> Candidates:
    poses = np.array([[0.05 * i, 0, 0, *DOWN] for i in range(8)], np.float32)
    return Candidates(poses, np.full(8, 0.05, np.float32), np.linspace(1, 0, 8, dtype=np.float32))


def places(observation: Observation, held: HeldExtent, rng: np.random.Generator) -> Candidates:
    assert held == EXTENT
    poses = np.array([[0.4, 0, 0, *DOWN], [0.3, 0, 0, *DOWN], [0.02, 0, 0, *DOWN]], np.float32)
    return Candidates(poses, np.zeros(3, np.float32), np.array([0.9, 0.5, 0.1], np.float32), "place")


class Chooser:
    """Takes the last valid placement when it may see which are valid, else the last candidate that is left."""

    name = "chooser"

    def __init__(self, privileged: bool = False) -> None:
        self.privileged = privileged
        self.seen: list[Decision] = []

    def act(self, decision: Decision) -> Choice:
        self.seen.append(decision)
        wanted = ~decision.excluded if decision.valid is None else decision.valid
        return Choice(decision.take(int(np.flatnonzero(wanted)[-1])))


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    import srcli.perception.held as held

    monkeypatch.setattr(held, "measure_held", lambda observation, tip: EXTENT)


def play(world: TwoZones, policy: Any, task: str = "place", **options: Any) -> EpisodeRecord:
    return run_episode(world, Near(task), spec_of(task), policy, sampler=grasps, placer=places, **options)  # type: ignore[arg-type]


def test_place_begins_with_the_object_really_grasped() -> None:
    world, policy = TwoZones(slips=2), Chooser()
    record = play(world, policy, record=True)
    assert world.grasps == 3 and world.resets == 1
    assert record.success and record.demonstration == 0 and len(record.attempts) == 1
    attempt = record.attempts[0]
    assert attempt.phase == "place" and attempt.held == EXTENT and attempt.observation is not None
    assert attempt.aimed is None, "a placement is not aimed at an object"
    assert attempt.valid is not None and attempt.valid.tolist() == [False, False, True]
    (decision,) = policy.seen
    assert decision.held == EXTENT and decision.candidates.kind == "place" and decision.phase == "place"
    assert decision.valid is None and decision.truth is None and decision.spec is None


def test_privileged_methods_see_what_is_valid() -> None:
    policy = Chooser(privileged=True)
    assert play(TwoZones(), policy).attempts[0].choice.action.index == 2  # type: ignore[union-attr]
    assert policy.seen[0].valid is not None and policy.seen[0].spec is not None
    wrong = play(TwoZones(), BestQuality())
    assert not wrong.success and wrong.attempts[0].outcome.reason is Reason.WRONG_REGION


def test_an_object_that_is_not_grasped_is_dropped_in_another_orientation() -> None:
    world = TwoZones(slips=GRIPS + 1)
    record = play(world, Chooser())
    assert record.success and world.resets == 2 and world.grasps == GRIPS + 2
    first, second = world.drops
    np.testing.assert_array_equal(first[:3], second[:3])
    np.testing.assert_array_equal(first[3, :3], second[3, :3])
    assert not np.allclose(first[3, 3:], second[3, 3:])
    np.testing.assert_array_equal(record.spec.drops, second)


def test_what_cannot_be_set_up_is_an_episode_of_its_own() -> None:
    world = TwoZones(slips=10_000)
    record = play(world, Chooser())
    assert not record.success and record.ended == NOT_SET_UP and record.attempts == ()
    assert "cannot be set up" in record.detail
    assert world.resets == LAYOUTS
    with pytest.raises(SetupError, match="'pear' is not grasped"):
        set_up(TwoZones(slips=10_000), Near(), spec_of("place"), grasps)  # type: ignore[arg-type]
    absent = TwoZones(away=[0])
    with pytest.raises(SetupError, match="does not stay on the table"):
        set_up(absent, Near("pick_place"), spec_of("pick_place"), grasps)  # type: ignore[arg-type]
    # Drop poses go round within their zone only.
    assert all(np.array_equal(drops[3], absent.drops[0][3]) for drops in absent.drops)
    assert any(not np.array_equal(drops[:3], absent.drops[0][:3]) for drops in absent.drops)


def test_without_a_sampler_the_object_stays_on_the_table() -> None:
    world = TwoZones()
    set_up(world, Near(), spec_of("place"))  # type: ignore[arg-type]
    assert world.grasps == 0 and world.shift == PLACE_SHIFT


def test_an_object_lost_before_the_placement_counts_as_dropped() -> None:
    record = play(TwoZones(lost=True), Chooser(), record=True)
    (attempt,) = record.attempts
    assert attempt.outcome == Outcome(False, Reason.DROPPED, None) and attempt.choice is None
    assert attempt.observation is not None and len(attempt.candidates) == 0 and not record.ended


def test_pick_and_place_in_two_zones() -> None:
    world = TwoZones(slips=1)
    record = play(world, Chooser(), "pick_place")
    assert [(a.phase, a.outcome.success) for a in record.attempts] == [("pick", False), ("pick", True), ("place", True)]
    assert record.success and record.demonstration == 2
    assert [a.held for a in record.attempts] == [None, None, EXTENT]
    failing = play(TwoZones(slips=99), Chooser(), "pick_place", max_attempts=3)
    assert [a.phase for a in failing.attempts] == ["pick"] * 3 and not failing.success


def test_a_reference_that_is_gone_ends_the_episode() -> None:
    class Thief(TwoZones):
        def execute(self, action: Action) -> Execution:
            self.away.add(0)
            return super().execute(action)

    record = play(Thief(), Chooser(), "pick_place")
    assert not record.success and record.ended == NO_TARGET and len(record.attempts) == 1


def test_the_similarity_rule_is_asked_once_something_is_held() -> None:
    asked: list[str] = []

    class Judge:
        def similarity(self, observation: Observation, segmentation: Any, slot: int, instruction: str) -> float:
            asked.append(instruction)
            return 0.5

    play(TwoZones(), Chooser(), "pick_place", judge=Judge())
    assert asked == ["give me the pear and put it near the apple"]


def test_a_disturbance_changes_what_is_executed_not_what_is_recorded() -> None:
    strong: Any = SimpleNamespace(translation=0.02, rotation=0.3)
    worlds = [TwoZones(), TwoZones(), TwoZones()]
    records = [play(w, Chooser(), perturbation=p) for w, p in zip(worlds, (strong, strong, None), strict=True)]
    chosen = [r.attempts[0].choice.action.pose for r in records]  # type: ignore[union-attr]
    done = [w.placed[0].pose for w in worlds]
    assert all(np.array_equal(c, chosen[0]) for c in chosen) and np.array_equal(done[2], chosen[0])
    assert np.array_equal(done[0], done[1]) and 0.001 < np.linalg.norm(done[0][:3] - chosen[0][:3]) < 0.1


@pytest.mark.parametrize("kind", ["grasp", "place"])
def test_disturbances_have_the_strength_asked_for(kind: Any) -> None:
    from scipy.spatial.transform import Rotation

    action = Action(kind, np.array([0.5, 0, 0.1, *DOWN], np.float32), 0.05, 3)
    config: Any = SimpleNamespace(translation=0.01, rotation=0.2)
    moved = [perturb(action, config, np.random.default_rng(i)) for i in range(400)]
    offsets = np.array([m.pose[:3] - action.pose[:3] for m in moved])
    assert offsets.std(axis=0) == pytest.approx([0.01] * 3, rel=0.15) and np.abs(offsets.mean(axis=0)).max() < 0.002
    turns = Rotation.from_quat([m.pose[3:] for m in moved]) * Rotation.from_quat(DOWN).inv()
    assert np.sqrt((turns.magnitude() ** 2).mean()) == pytest.approx(0.2, rel=0.15)
    vertical = np.abs(turns.as_rotvec()[:, :2]).max() < 1e-6
    assert vertical == (kind == "place") and all(m.index == 3 and m.width == 0.05 for m in moved)
    still = perturb(action, SimpleNamespace(translation=0.0, rotation=0.0), np.random.default_rng(0))  # type: ignore[arg-type]
    np.testing.assert_allclose(still.pose, action.pose, atol=1e-7)


def test_compose_is_the_product_of_rotations() -> None:
    from scipy.spatial.transform import Rotation

    a, b = Rotation.random(2, random_state=1)
    made = Rotation.from_quat(compose(a.as_quat(), b.as_quat())).as_matrix()
    np.testing.assert_allclose(made, (a * b).as_matrix(), atol=1e-9)
