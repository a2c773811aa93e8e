"""Methods that learn nothing, and what a decision and a choice are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from method_inputs import cloud, decision, from_above, placing

from srcli.errors import SceneError
from srcli.methods import Choice, spec_of
from srcli.methods.base import Decision
from srcli.methods.registry import builder
from srcli.methods.similarity import average_over_neighbours
from srcli.perception.geometry import unproject_view
from srcli.types import Action, EpisodeSpec, Goal, SceneTruth


def simple(name: str) -> Any:
    spec = spec_of(name)
    return builder(spec)(spec.section(), None, None, "cpu", 0)


def test_a_method_may_bring_its_own_pose() -> None:
    choice = Choice(Action("grasp", np.zeros(7, np.float32), 0.05))
    assert choice.action.index is None


def test_an_excluded_candidate_cannot_be_taken() -> None:
    with pytest.raises(SceneError, match="excluded"):
        decision([[0, 0, 0], [1, 0, 0]], [True, False]).take(0)


def test_the_first_of_equal_scores_is_best() -> None:
    made = decision([[0.0, 0, 0]] * 4, [True, False, False, False])
    assert made.best(np.array([9.0, 1.0, 5.0, 5.0], np.float32)) == 2


def test_random_is_uniform_over_what_is_allowed_and_follows_its_generator() -> None:
    policy = simple("random")
    xyz = [[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]
    taken = [policy.act(decision(xyz, [False, True, False], seed=s)).action.index for s in range(60)]
    assert set(taken) == {0, 2} and 15 < taken.count(0) < 45
    assert taken == [policy.act(decision(xyz, [False, True, False], seed=s)).action.index for s in range(60)]


def test_quality_takes_the_best_that_is_allowed() -> None:
    policy = simple("quality")
    xyz = [[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert policy.act(decision(xyz)).action.index == 2
    assert policy.act(decision(xyz, [False, False, True])).action.index == 1


def test_similarity_goes_to_the_most_similar_point() -> None:
    rng = np.random.default_rng(0)
    here, there = rng.normal([0.4, 0, 0.03], 0.005, (40, 3)), rng.normal([0.6, 0, 0.03], 0.005, (40, 3))
    percept = cloud([*here.tolist(), *there.tolist()], [0.1] * 40 + [0.9] * 40)
    choice = simple("similarity").act(decision([[0.4, 0, 0.03], [0.61, 0, 0.03], [0.5, 0, 0.03]], percept=percept))
    assert choice.action.index == 1
    assert choice.mask is not None and choice.mask.min() >= 0 and choice.mask.max() <= 1


def test_similarity_is_random_when_nothing_is_near() -> None:
    percept = cloud([[0.6, 0, 0.03]] * 30, [0.9] * 30)
    xyz = [[0.3, 0, 0.03], [0.4, 0, 0.03]]
    taken = {simple("similarity").act(decision(xyz, percept=percept, seed=s)).action.index for s in range(30)}
    assert taken == {0, 1}


def test_similarity_places_at_the_nearest_candidate_however_far() -> None:
    percept = cloud([[0.6, 0, 0.03]] * 30, [0.9] * 30)
    xyz = [[0.3, 0, 0.03], [0.4, 0, 0.03]]
    assert simple("similarity").act(placing(xyz, percept)).action.index == 1


def test_beside_places_on_the_table_next_to_what_is_nearest_to_the_middle() -> None:
    xyz = [[0.5, 0.0, 0.004], [0.5, 0.07, 0.055], [0.3, -0.2, 0.004], [0.5, 0.2, 0.004]]
    shown = replace(placing(xyz), observation=from_above())
    choice = simple("beside").act(shown)
    assert choice.action.index == 0 and choice.action.kind == "place"
    blocked = replace(shown, excluded=np.array([True, False, False, False]))
    assert simple("beside").act(blocked).action.index == 3
    assert simple("beside").act(decision(xyz)).action.index == 3
    seen = from_above()
    bare = replace(shown, observation=replace(seen, depth=np.ones_like(seen.depth)))
    assert simple("beside").act(bare).action.index == 0, "the middle, where nothing stands"


def test_average_over_neighbours_is_the_mean_of_the_nearest() -> None:
    points = np.array([[0, 0, 0], [0.01, 0, 0], [1, 0, 0]], np.float32)
    averaged = average_over_neighbours(points, np.array([0, 1, 5], np.float32), 2)
    np.testing.assert_allclose(averaged, [0.5, 0.5, 3.0])


def told(shown: Decision, targets: tuple[int, ...]) -> Decision:
    """The decision with the truth about two blocks: slot 0 near the middle, slot 1 far away."""
    seen = from_above()
    labels = np.zeros(seen.depth.shape, np.uint16)
    labels[0, 90:110, 60:84], labels[0, 20:40, 150:170] = 1, 2
    truth = SceneTruth(np.zeros((2, 7)), np.ones(2, bool), labels)
    goal = Goal("block", "label", targets)
    spec = EpisodeSpec(shown.task, "seen", (0, 0, 0), shown.instruction, goal, ("block", "block"), np.zeros((2, 7)))
    return replace(shown, observation=seen, truth=truth, spec=spec)


def block(slot: int) -> list[float]:
    """Where the tip of a grasp of a block goes, world frame."""
    seen = from_above()
    rows, columns = ((90, 110), (60, 84)) if slot == 0 else ((20, 40), (150, 170))
    top = np.zeros(seen.depth.shape[1:], np.float32)
    top[slice(*rows), slice(*columns)] = 0.95
    x, y, _ = unproject_view(top, seen.K[0], seen.T_world_cam[0]).mean(axis=0)
    return [float(x), float(y), 0.04]


def test_oracle_takes_the_best_candidate_on_a_target() -> None:
    """Qualities rise from the first to the last candidate, and the best one closes on nothing that is meant."""
    near, far = block(0), block(1)
    shown = told(decision([near, near, far, far]), (0,))
    assert simple("oracle").act(shown).action.index == 1
    assert simple("oracle").act(replace(shown, excluded=np.array([False, True, False, False]))).action.index == 0
    # Nothing is left on the target: the best of all clears the way.
    assert simple("oracle").act(replace(shown, excluded=np.array([True, True, False, False]))).action.index == 3
    assert simple("oracle").act(told(decision([near, near, far, far]), (1,))).action.index == 3


def test_oracle_places_at_the_best_place_that_is_right() -> None:
    shown = told(replace(placing([[0.4, 0, 0.01], [0.5, 0, 0.01], [0.6, 0, 0.01]]), valid=np.array([True, True, False])), ())
    assert simple("oracle").act(shown).action.index == 1


@pytest.mark.parametrize("name", ["expert", "oracle"])
def test_what_needs_the_truth_is_refused_without(name: str) -> None:
    with pytest.raises(SceneError, match="simulator's truth"):
        simple(name).act(decision([[0, 0, 0]]))
