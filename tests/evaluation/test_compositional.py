"""The compositional suites: seeds, shares, keys, setting up, what methods are shown, rows by kind."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pytest

from srcli.config.scene import SceneConfig
from srcli.errors import ConfigError
from srcli.evaluation.report import PlayedEpisode, metrics
from srcli.evaluation.rollout import NOT_SET_UP, EpisodeRecord, run_episode
from srcli.evaluation.setup import LAYOUTS, SetupError, instance, set_up
from srcli.evaluation.statistics import summarise_all, summarise_kinds
from srcli.evaluation.suites import COMPOSED, find_episode, suite_episodes
from srcli.evaluation.tables import to_json, to_markdown
from srcli.evaluation.worker import record_of
from srcli.language.phrases import PHRASE_KINDS
from srcli.methods import Choice, Decision
from srcli.params import Params
from srcli.seeding import COMPOSED_OFFSET, SPLIT_STRIDE, TASK_OFFSET, Domain, task_offset
from srcli.tasks import get_task
from srcli.tasks.composed import meaning, phrase_of
from srcli.tasks.outlines import body
from srcli.types import OWN_LOOK, Candidates, EpisodeSpec, Execution, Look, Observation, Reason, SceneTruth

TASK = get_task("pick")


def test_kinds_have_equal_shares_in_each_split() -> None:
    for split in ("seen", "unseen"):
        episodes = suite_episodes("compositional", 0, (split,))
        assert len(episodes) >= 200
        assert set(Counter(e.kind for e in episodes).values()) == {len(episodes) // 3}
        assert set(Counter(e.kind for e in suite_episodes("compositional", 0, (split,), limit=30)).values()) == {10}
        assert {e.seed[1] for e in episodes} == {int(Domain.COMPOSITIONAL)}


def test_scenes_for_building_have_seeds_of_their_own() -> None:
    built = [e.seed for e in suite_episodes("compositional-development", 0)]
    others = {e.seed for task in TASK_OFFSET for e in suite_episodes("development", 0, task=task)}
    assert built[0] == (0, int(Domain.DEVELOPMENT), COMPOSED_OFFSET) and not others & set(built)
    # No task of any name reaches into the range.
    assert all(not 0 <= COMPOSED_OFFSET - task_offset(task) < 2 * SPLIT_STRIDE for task in (*TASK_OFFSET, "mine", "other"))


@pytest.mark.parametrize("suite", COMPOSED)
def test_an_episode_is_found_by_its_key(suite: str) -> None:
    for episode in suite_episodes(suite, 3, ("unseen",), "heldout", 5):
        again = find_episode(episode.key, 1, 0)
        assert (again.seed, again.kind, again.split, again.wording) == (episode.seed, episode.kind, "unseen", "heldout")
        assert again.spec(TASK, SceneConfig()).instruction == episode.spec(TASK, SceneConfig()).instruction


@pytest.mark.parametrize("task", ["place", "pick_place"])
def test_placing_is_refused_in_one_line(task: str) -> None:
    with pytest.raises(ConfigError, match=f"sentences for picking only, none for the task '{task}'") as caught:
        suite_episodes("compositional", 0, task=task)
    assert "\n" not in caught.value.message and caught.value.hint == "run it with --task pick"


# Recorded before there were compositional sentences: an episode is what it was.
DIGESTS = {
    ("development", "pick", "train"): "6b8ea4ec16af2e4b",
    ("development", "pick", "heldout"): "28dcd6aee2c766aa",
    ("development", "place", "train"): "c64c9e5b87fe55c5",
    ("development", "place", "heldout"): "fed4ba18b4ae5cc9",
    ("development", "pick_place", "train"): "82d0d1fa9682ae19",
    ("development", "pick_place", "heldout"): "299cefb270ee6271",
    ("paper", "pick", "train"): "05fe390585b1412d",
    ("paper", "pick", "heldout"): "05fe390585b1412d",
    ("paper", "place", "train"): "08f65586c10028e3",
    ("paper", "place", "heldout"): "08f65586c10028e3",
    ("paper", "pick_place", "train"): "4b9f05097fa2d74d",
    ("paper", "pick_place", "heldout"): "4b9f05097fa2d74d",
    ("wide", "pick", "train"): "57fb259755672089",
    ("wide", "pick", "heldout"): "199b81b0951fcb2f",
    ("wide", "place", "train"): "0892dff68859e9a5",
    ("wide", "place", "heldout"): "eb7220d1ad80e185",
    ("wide", "pick_place", "train"): "929e17e187bb4642",
    ("wide", "pick_place", "heldout"): "22ae6176c7c719d2",
}


def _digest(suite: str, task: str, wording: str) -> str:
    total = hashlib.sha256()
    for episode in suite_episodes(suite, 0, wording=wording, episodes=1 if suite == "paper" else 12, task=task):
        spec = episode.spec(get_task(task), SceneConfig())
        goal = spec.goal
        said = (goal.keyword, goal.keyword_kind, goal.targets, goal.relation, goal.references, goal.reference)
        head = (episode.key, spec.task, spec.split, spec.seed, spec.instruction, *said)
        total.update(repr((*head, spec.objects, spec.wording, spec.case, spec.shifts, spec.held, spec.fixed)).encode())
        total.update(spec.drops.round(9).tobytes())
        assert spec.looks == () and spec.redraws == () and goal.modifier == ""
    return total.hexdigest()[:16]


@pytest.mark.parametrize(("suite", "task", "wording"), DIGESTS)
def test_no_episode_of_another_suite_has_changed(suite: str, task: str, wording: str) -> None:
    assert _digest(suite, task, wording) == DIGESTS[suite, task, wording]


# ----------------------------------------------------------------------------------------------------------- setting up


class Table:
    """A world in which objects come to rest where they are dropped, standing, but for some layouts."""

    def __init__(self, wrong: int = 0) -> None:
        self.held: int | None = None
        self.wrong = wrong
        self.resets: list[Any] = []
        self.models: list[Any] = []

    def reset(self, models: Any, drops: Any, *, shifts: Any = None) -> None:
        self.resets.append(drops.copy())
        self.models = list(models)
        self.poses = drops.copy()
        if len(self.resets) <= self.wrong:
            self.poses[:, 1] = 0.0
        for slot, model in enumerate(models):
            self.poses[slot, 2] = -float(model.low[2])
        self.poses[:, 3:] = 0.0, 0.0, 0.0, 1.0
        self.present = np.ones(len(models), dtype=np.bool_)

    def enter_zone(self, shift: float) -> None:
        assert shift == 0.0

    def truth(self, segmentation: Any = None) -> SceneTruth:
        contacts = tuple((-1, slot) for slot in range(len(self.poses)))
        return SceneTruth(self.poses.copy(), self.present.copy(), np.zeros((3, 4, 4), np.uint16), contacts)

    def observe(self, rng: Any) -> Any:
        K, T = np.repeat(np.eye(3)[None], 3, axis=0), np.repeat(np.eye(4)[None], 3, axis=0)
        rgb = np.zeros((3, 4, 4, 3), np.uint8)
        return Observation(rgb, np.ones((3, 4, 4), np.float32), K, T), np.zeros((3, 4, 4), np.uint16)

    def execute(self, action: Any) -> Execution:
        slot = int(np.argmin(np.linalg.norm(self.poses[:, :2] - action.pose[:2], axis=1)))
        self.held = slot
        return Execution(Reason.SUCCESS, slot, 1)

    def discard(self) -> None:
        assert self.held is not None
        self.present[self.held] = False
        self.held = None

    def present_held(self, rng: Any) -> Any:
        raise AssertionError


def _spec(kind: str = "superlative", number: int = 0) -> EpisodeSpec:
    episodes = [e for e in suite_episodes("compositional-development", 0, ("unseen",)) if e.kind == kind]
    return episodes[number].spec(TASK, SceneConfig())


def test_targets_are_resolved_after_settling() -> None:
    for kind in PHRASE_KINDS:
        for number in range(4):
            spec = _spec(kind, number)
            world = Table()
            built = set_up(world, TASK, spec)  # type: ignore[arg-type]
            phrase = phrase_of(spec.goal)
            assert phrase is not None and spec.goal.targets == ()
            found = meaning(phrase, spec.objects, spec.looks, world.truth())
            assert found is not None and built.goal.targets == found.targets and len(found.targets) == 1
            assert dataclasses.replace(built.goal, targets=(), references=()) == spec.goal


def test_a_scene_in_doubt_is_laid_out_again_by_its_own_drops() -> None:
    spec = next(s for s in (_spec("superlative", i) for i in range(20)) if s.goal.modifier in ("leftmost", "rightmost"))
    world = Table(wrong=2)
    built = set_up(world, TASK, spec)  # type: ignore[arg-type]
    assert len(world.resets) >= 3
    assert np.array_equal(world.resets[0], spec.drops)
    assert all(np.array_equal(used, redraw) for used, redraw in zip(world.resets[1:], spec.redraws, strict=False))
    assert np.array_equal(built.drops, world.resets[-1])
    again = Table(wrong=2)
    assert set_up(again, TASK, spec).goal == built.goal  # type: ignore[arg-type]
    hopeless = Table(wrong=LAYOUTS)
    with pytest.raises(SetupError, match="stays in doubt"):
        set_up(hopeless, TASK, spec)  # type: ignore[arg-type]
    assert len(hopeless.resets) == LAYOUTS


def test_fixed_poses_in_doubt_are_not_drawn_again() -> None:
    found = next(s for s in (_spec("superlative", i) for i in range(20)) if s.goal.modifier == "leftmost")
    world = Table(wrong=1)
    with pytest.raises(SetupError, match="stays in doubt") as caught:
        set_up(world, TASK, dataclasses.replace(found, fixed=True))  # type: ignore[arg-type]
    assert len(world.resets) == 1 and "fixed" in caught.value.hint


def test_objects_are_built_as_they_look() -> None:
    large, own = instance("yellow_cup", Look(1.2, "red")), instance("yellow_cup")
    assert np.allclose(large.extent, own.extent * 1.2) and large.mass == pytest.approx(own.mass * 1.2**3)
    assert large.visuals[0].rgba != own.visuals[0].rgba
    spec = next(s for s in (_spec("superlative", i) for i in range(20)) if s.goal.modifier in ("largest", "smallest"))
    world = Table()
    set_up(world, TASK, spec)  # type: ignore[arg-type]
    scales = [
        model.extent.max() / np.ptp(body(name).points, axis=0).max()
        for model, name in zip(world.models, spec.objects, strict=True)
    ]
    assert np.allclose(scales, [look.scale for look in spec.looks], rtol=0.02) and len(set(spec.looks)) > 1


class Watcher:
    """Takes the first candidate, and remembers what it was shown."""

    name = "watcher"

    def __init__(self, privileged: bool = False) -> None:
        self.privileged = privileged
        self.seen: list[Decision] = []

    def act(self, decision: Decision) -> Choice:
        self.seen.append(decision)
        return Choice(decision.take(int(np.flatnonzero(~decision.excluded)[0])))


def _play(spec: EpisodeSpec, policy: Any, **options: Any) -> EpisodeRecord:
    world = Table()

    def sampler(observation: Observation) -> Candidates:
        poses = np.tile(np.array([0, 0, 0.02, 1, 0, 0, 0], np.float32), (len(world.poses), 1))
        poses[:, :2] = world.poses[:, :2]
        kept = world.present
        return Candidates(poses[kept], np.full(int(kept.sum()), 0.04, np.float32), np.full(int(kept.sum()), 0.5, np.float32))

    return run_episode(world, TASK, spec, policy, sampler=sampler, **options)  # type: ignore[arg-type]


def test_no_method_is_shown_targets_or_truth() -> None:
    spec = _spec("reference", 0)
    plain, privileged = Watcher(), Watcher(True)
    _play(spec, plain, max_attempts=3)
    _play(spec, privileged, max_attempts=1)
    assert plain.seen and all(d.truth is None and d.spec is None and d.valid is None for d in plain.seen)
    assert plain.seen[0].instruction == spec.instruction
    assert privileged.seen[0].spec is not None and len(privileged.seen[0].spec.goal.targets) == 1


def test_the_meaning_stays_when_objects_go() -> None:
    """The second from the left does not become the leftmost because the leftmost was taken away: only targets count."""
    spec = next(s for s in (_spec("superlative", i) for i in range(20)) if s.goal.modifier == "leftmost")
    record = _play(spec, Watcher(), max_attempts=8)
    target = record.spec.goal.targets
    for tried in record.attempts:
        assert tried.outcome.success == (tried.outcome.slot in target)


# ------------------------------------------------------------------------------------------------------------ results


def _record(kind: str, success: bool, number: int) -> dict[str, Any]:
    tried = {"phase": "pick", "reason": "success" if success else "wrong_object", "similarity": None, "index_rule": None}
    return {
        "key": f"0-8-{number}-train", "task": "pick", "split": "unseen", "cluster": str(number), "case": "", "success": success,
        "instruction": "give me the leftmost bottle", "keyword_kind": kind, "ended": "", "attempts": [tried],
    }  # fmt: skip


def test_rows_by_kind_stand_beside_the_rows_of_all() -> None:
    played = [
        PlayedEpisode("sr", _record(kind, kind == "superlative", i)) for i, kind in enumerate([*PHRASE_KINDS, "superlative"])
    ]
    results = [item.result(None) for item in played]
    rows, kinds = summarise_all(results, "sr"), summarise_kinds(results, "sr")
    assert [(r.kind, r.successes, r.episodes) for r in rows] == [("", 2, 4)]
    assert [(r.kind, r.successes, r.episodes) for r in kinds] == [
        ("attribute_noun", 0, 1),
        ("reference", 0, 1),
        ("superlative", 2, 2),
    ]
    assert {row["kind"] for row in to_json(kinds)} == set(PHRASE_KINDS)
    table = to_markdown((*rows, *kinds))
    assert "| kind |" in table and "| superlative |" in table
    assert metrics((*rows, *kinds))["pick/unseen/superlative/sr"]["first_attempt"] == 1.0
    assert metrics((*rows, *kinds))["pick/unseen/sr"]["success"] == 0.5
    # Kinds of single words make no rows, and no column.
    plain = [PlayedEpisode("sr", _record("label", True, 0)).result(None)]
    assert summarise_kinds(plain, "sr") == () and "kind |" not in to_markdown(summarise_all(plain, "sr"))


def test_a_scene_that_cannot_be_set_up_is_counted_with_its_kind() -> None:
    episode = next(e for e in suite_episodes("compositional-development", 0, ("unseen",)) if e.kind == "reference")
    record = record_of(EpisodeRecord(episode.spec(TASK, SceneConfig()), "sr", (), False, NOT_SET_UP), episode)
    result = PlayedEpisode("sr", record).result(None)
    assert result.not_set_up and result.kind == "reference" and not result.success
    assert summarise_kinds([result], "sr")[0].not_set_up == 1


def test_a_physical_scene_settles_to_what_it_says() -> None:
    """Two cups in the simulator: the one that lies next to the box there is the target."""
    from srcli.sim import World

    world = World(Params().sim, robot=False)
    try:
        for kind in PHRASE_KINDS:
            spec = _spec(kind, 0)
            built = set_up(world, TASK, spec)
            assert len(built.goal.targets) == 1 and world.truth().present[built.goal.targets[0]]
            assert built.looks == spec.looks and OWN_LOOK in built.looks
    finally:
        world.close()
