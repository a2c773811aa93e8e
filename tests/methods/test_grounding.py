"""Methods that look for what a sentence names: their rules against slow references, and what they take in made-up scenes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from grounded_scene import APPLE, AT, BOX, Paint, block, scene

from srcli.errors import ConfigError, SceneError
from srcli.learning.regions import regions
from srcli.methods.grounding import (
    CLIP_GROUNDING,
    GRASPSPLATS,
    LERF_TOGO,
    RAW_IMAGE,
    RAW_IMAGE_GRID,
    THINKGRASP,
    graspsplats,
    lerf_togo,
    relevancy,
    thinkgrasp,
)
from srcli.methods.grounding.clusters import dbscan, flood
from srcli.methods.grounding.field import on_points
from srcli.methods.grounding.raw_image import cell_of, cell_similarity
from srcli.methods.registry import builder, settings
from srcli.types import F32, Candidates

EVERY = (CLIP_GROUNDING, RAW_IMAGE, RAW_IMAGE_GRID, LERF_TOGO, GRASPSPLATS, THINKGRASP)
RNG = np.random.default_rng(5)


def unit(values: Any) -> F32:
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def same_partition(first: Any, second: Any) -> bool:
    return bool((np.equal.outer(first, first) == np.equal.outer(second, second)).all())


# --- Rules against slow references -------------------------------------------------------------------------------------------


def slow_regions(points: F32, features: F32, reach: float, alike: float) -> list[int]:
    """Members are kept as sets, and means are taken anew at every pair."""
    owner = [{i} for i in range(len(points))]
    pairs = [
        (-round(float(features[i] @ features[j]), 5), i, j)
        for i in range(len(points))
        for j in range(i + 1, len(points))
        if np.linalg.norm(points[i].astype(float) - points[j]) <= reach
    ]
    for _, i, j in sorted(pairs):
        if owner[i] is owner[j]:
            continue
        means = [np.mean([features[k] for k in sorted(group)], axis=0, dtype=np.float64) for group in (owner[i], owner[j])]
        if means[0] @ means[1] >= alike * np.linalg.norm(means[0]) * np.linalg.norm(means[1]):
            joined = owner[i] | owner[j]
            for k in joined:
                owner[k] = joined
    return [min(group) for group in owner]


@pytest.mark.parametrize("alike", [-1.0, 0.3, 0.8])
def test_regions_are_those_of_the_slow_reference(alike: float) -> None:
    points = RNG.uniform(0, 0.06, (60, 3)).astype(np.float32)
    kinds = unit(RNG.normal(size=(3, 6)))
    features = unit(kinds[RNG.integers(0, 3, 60)] + 0.3 * RNG.normal(size=(60, 6)))
    found = regions(points, features, 0.015, alike)
    assert same_partition(found, slow_regions(points, features, 0.015, alike))
    assert 1 < len(set(found.tolist())) < 60
    firsts = [int(np.argmax(found == number)) for number in range(found.max() + 1)]
    assert firsts == sorted(firsts), "numbered by their first points"


def test_a_chain_of_blends_does_not_join_two_things() -> None:
    """Neighbours are always alike, the ends are not: means tell them apart, single points would not."""
    turn = np.linspace(0, np.pi / 2, 40)
    features = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    points = np.stack([0.01 * np.arange(40), np.zeros(40), np.zeros(40)], axis=1).astype(np.float32)
    assert (np.einsum("nd,nd->n", features[1:], features[:-1]) > 0.99).all()
    found = regions(points, features, 0.0105, 0.9)
    assert found[0] != found[-1]


def test_regions_of_nothing_and_of_one() -> None:
    assert regions(np.zeros((0, 3), np.float32), np.zeros((0, 4), np.float32), 0.01, 0.5).shape == (0,)
    assert regions(np.zeros((1, 3), np.float32), np.ones((1, 4), np.float32), 0.01, 0.5).tolist() == [0]


def test_a_flood_is_that_of_the_slow_reference() -> None:
    points = RNG.uniform(0, 0.08, (80, 3)).astype(np.float32)
    features = unit(unit(RNG.normal(size=(2, 6)))[RNG.integers(0, 2, 80)] + 0.2 * RNG.normal(size=(80, 6)))
    seed, reached, border = 7, {7}, [7]
    while border:
        here = border.pop()
        for k in range(80):
            near = np.linalg.norm(points[here].astype(float) - points[k]) <= 0.02
            if k not in reached and near and features[k] @ features[seed] >= 0.6:
                reached.add(k)
                border.append(k)
    found = flood(points, features, seed, 0.02, 0.6)
    assert set(np.flatnonzero(found).tolist()) == reached and 3 < len(reached) < 80


def slow_dbscan(points: F32, radius: float, least: int) -> tuple[list[set[int]], set[int]]:
    """Clusters of core points, and noise, by the definition."""
    near = [
        [j for j in range(len(points)) if np.linalg.norm(points[i].astype(float) - points[j]) <= radius]
        for i in range(len(points))
    ]
    core = {i for i, those in enumerate(near) if len(those) >= least}
    clusters: list[set[int]] = []
    left = set(core)
    while left:
        border = [left.pop()]
        cluster = set(border)
        while border:
            for j in near[border.pop()]:
                if j in left:
                    left.remove(j)
                    cluster.add(j)
                    border.append(j)
        clusters.append(cluster)
    return clusters, {i for i, those in enumerate(near) if not core & set(those)}


@pytest.mark.parametrize(("radius", "least"), [(0.01, 3), (0.012, 5), (0.02, 5), (0.001, 2)])
def test_dbscan_is_that_of_the_definition(radius: float, least: int) -> None:
    points = np.concatenate([RNG.normal(c, 0.006, (30, 3)) for c in (0.0, 0.05)] + [RNG.uniform(-0.1, 0.15, (20, 3))])
    points = points.astype(np.float32)
    clusters, noise = slow_dbscan(points, radius, least)
    found = dbscan(points, radius, least)
    assert set(np.flatnonzero(found < 0).tolist()) == noise
    assert {frozenset(c) for c in clusters} == {
        frozenset(i for i in np.flatnonzero(found == n).tolist() if any(i in c for c in clusters)) for n in range(found.max() + 1)
    }
    for i in np.flatnonzero(found >= 0):
        cores = [j for c in clusters for j in c]
        nearest = min(cores, key=lambda j: float(np.linalg.norm(points[i].astype(float) - points[j])))
        assert found[i] == found[nearest]


def test_relevancy_is_the_least_over_negatives() -> None:
    features, query, negatives = unit(RNG.normal(size=(20, 6))), unit(RNG.normal(size=6)), unit(RNG.normal(size=(4, 6)))
    slow = []
    for f in features.astype(float):
        pairs = [np.exp(10 * f @ query) / (np.exp(10 * f @ query) + np.exp(10 * f @ n)) for n in negatives]
        slow.append(min(pairs))
    np.testing.assert_allclose(relevancy.relevancy(features, query, negatives, 10.0), slow, atol=1e-6)
    # With cosines alone, without negatives, a point as like every word as the query would be relevant.
    assert relevancy.relevancy(negatives[:1], query, negatives, 10.0)[0] < 0.5


def test_share_is_a_softmax_over_all_words() -> None:
    features, query, others = unit(RNG.normal(size=(20, 6))), unit(RNG.normal(size=6)), unit(RNG.normal(size=(3, 6)))
    slow = [
        np.exp(f @ query / 0.05) / sum(np.exp(f @ word / 0.05) for word in (query, *others)) for f in features.astype(np.float64)
    ]
    np.testing.assert_allclose(relevancy.share(features, query, others, 0.05), slow, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("side", [1, 3, 5, 9])
def test_pooling_is_the_mean_over_a_square_inside_the_image(side: int) -> None:
    values = unit(RNG.normal(size=(2, 6, 7, 4)))
    slow, half = np.zeros_like(values), side // 2
    for view, i, j in np.ndindex(2, 6, 7):
        square = values[view, max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1].reshape(-1, 4)
        slow[view, i, j] = unit(square.mean(axis=0))
    np.testing.assert_allclose(relevancy.pooled(values, side).values, slow, atol=1e-5)


def test_one_scale_serves_the_whole_query() -> None:
    maps = [np.array([0.9, 0.1], np.float32), np.array([0.2, 0.95], np.float32), np.array([0.95, 0.95], np.float32)]
    assert relevancy.best_scale(maps) == 1


def test_a_grasp_is_worth_its_median_relevancy_and_a_little_of_its_quality() -> None:
    part = np.array([0.8, 0.4, 0.0, 0.2], np.float32)
    inside = np.array([True, True, False, True])
    closed = [np.array([0, 1, 2]), np.array([2]), np.zeros(0, np.int64), np.array([0])]
    scores = lerf_togo.grasp_scores(part, inside, closed, np.array([0.5, 1.0, 1.0, 0.4], np.float32), 0.95)
    np.testing.assert_allclose(scores, [0.95 * 0.5 + 0.05 * 0.5, 0.0, 0.0, 0.95 + 0.05 * 0.4], atol=1e-6)


def test_cells_are_means_of_their_points() -> None:
    lower, upper = np.zeros(2, np.float32), np.ones(2, np.float32)
    points = np.array([[0.1, 0.1, 0], [0.2, 0.3, 0], [0.9, 0.1, 0], [2.0, 5.0, 0]], np.float32)
    cell = cell_of(points, lower, upper, 2)
    assert cell.tolist() == [0, 0, 2, 3]
    features = np.stack([APPLE, BOX, APPLE, BOX])
    found = cell_similarity(features, cell, 2, APPLE)
    np.testing.assert_allclose(found, [np.sqrt(0.5), -1, 1, 0], atol=1e-6)


# --- What they take ----------------------------------------------------------------------------------------------------------


def taken(spec: Any, query: F32, changes: dict[str, Any] | None = None, encoder: Any = None, **given: Any) -> int:
    policy = builder(spec)(settings(spec, spec.section(), changes), None, encoder or Paint(), "cpu", 0)
    choice = policy.act(scene(query, **given))
    assert choice.action.index is not None and choice.mask is not None and choice.mask.shape == (16,)
    assert 0 <= choice.mask.min() <= choice.mask.max() <= 1
    return choice.action.index


@pytest.mark.parametrize("spec", [s for s in EVERY if s is not RAW_IMAGE], ids=lambda s: s.name)
def test_what_the_sentence_names_is_taken(spec: Any) -> None:
    assert {taken(spec, APPLE, seed=seed) for seed in range(6)} <= {0, 1}
    assert {taken(spec, BOX, seed=seed) for seed in range(6)} <= {2, 3}, "what the percept leaves out is looked at, too"
    assert taken(spec, BOX, excluded=[False, False, True, False, False]) == 3


@pytest.mark.parametrize("spec", EVERY, ids=lambda s: s.name)
def test_where_nothing_of_it_is_left_something_else_is_taken(spec: Any) -> None:
    assert taken(spec, BOX, excluded=[False, False, True, True, True]) in (0, 1)


def test_the_whole_image_tells_nothing_about_where() -> None:
    assert {taken(RAW_IMAGE, APPLE, seed=seed) for seed in range(30)} == {0, 1, 2, 3, 4}


def test_clip_grounding_draws_among_the_grasps_of_the_box() -> None:
    assert {taken(CLIP_GROUNDING, APPLE, seed=seed) for seed in range(30)} == {0, 1}


def test_the_largest_cluster_may_win_over_the_most_similar() -> None:
    points = np.concatenate([block(0.4, 0.0), block(0.6, 0.0)[:6]])
    similarity = np.concatenate([np.full(16, 0.95), np.full(6, 1.0)]).astype(np.float32)
    assert graspsplats.selected(points, similarity, 0.9, 0.015, 3, largest=True).tolist() == list(range(16))
    assert graspsplats.selected(points, similarity, 0.9, 0.015, 3, largest=False).tolist() == list(range(16, 22))
    assert graspsplats.selected(points, similarity, 0.9, 0.015, 30, largest=True).tolist() == list(range(22)), "all noise"
    assert graspsplats.selected(points, similarity, 0.99, 0.015, 3, largest=True).tolist() == list(range(16, 22))


def test_graspsplats_leaves_out_what_is_far_from_what_was_selected() -> None:
    made = scene(BOX, [True, True, False, False, False])
    policy = builder(GRASPSPLATS)(GRASPSPLATS.section(), None, Paint(), "cpu", 0)
    scores = policy.act(made).scores
    assert scores is not None and (scores[[0, 1, 4]] == -1).all() and (scores[[2, 3]] > 0).all()


@pytest.mark.parametrize("spec", [LERF_TOGO, GRASPSPLATS], ids=lambda s: s.name)
def test_words_that_mean_nothing_to_the_encoder_are_refused(spec: Any) -> None:
    for encoder, told in ((Paint(unread=("object",)), "never read 'object'"), (Paint(empty=True), "means nothing")):
        with pytest.raises(ConfigError, match=told):
            builder(spec)(spec.section(), None, encoder, "cpu", 0)
    with pytest.raises(ConfigError, match=r"part: the encoder has never read 'hndle'"):
        builder(spec)(settings(spec, spec.section(), {"part": "hndle"}), None, Paint(unread=("hndle",)), "cpu", 0)


@pytest.mark.parametrize("spec", EVERY, ids=lambda s: s.name)
def test_they_need_an_encoder(spec: Any) -> None:
    with pytest.raises(ConfigError, match="no encoder"):
        builder(spec)(settings(spec, spec.section()), None, None, "cpu", 0)


def test_graspsplats_needs_a_word_to_compare_with_and_lerf_odd_squares() -> None:
    with pytest.raises(ConfigError, match="no word"):
        builder(GRASPSPLATS)(settings(GRASPSPLATS, GRASPSPLATS.section(), {"canonical": []}), None, Paint(), "cpu", 0)
    for scales in ([2], [0], [-1], []):
        with pytest.raises(ConfigError, match="scales"):
            settings(LERF_TOGO, LERF_TOGO.section(), {"scales": scales})


def test_a_point_that_no_camera_sees_looks_like_its_neighbour() -> None:
    points = np.concatenate([block(*AT["apple"]), [[0.5, 0.066, -0.1]], block(*AT["box"]), [[0.67, -0.14, -0.1]]]).astype(
        np.float32
    )
    made = scene(APPLE)
    features = on_points(points, Paint().dense(made.observation.rgb), made)
    assert features[16] @ APPLE > 0.99 and features[-1] @ BOX > 0.99


def test_points_that_no_camera_sees_are_refused() -> None:
    made = scene(APPLE)
    turned = made.observation.T_world_cam.copy()
    turned[:, :3, :3] *= -1  # The camera looks away.
    policy = builder(CLIP_GROUNDING)(CLIP_GROUNDING.section(), None, Paint(), "cpu", 0)
    with pytest.raises(SceneError, match="no camera sees"):
        policy.act(replace(made, observation=replace(made.observation, T_world_cam=turned)))


def test_they_are_for_picking_and_say_what_they_are() -> None:
    for spec in EVERY:
        assert spec.tasks == {"pick"} and spec.fidelity == "adapter" and spec.fit is None and spec.paper_row and spec.source


def test_candidates_are_cropped_by_the_box_from_above() -> None:
    tips = np.array([[0.5, 0, 0.3], [0.55, 0, 0], [0.4, 0, 0]], np.float32)
    low, high = np.array([0.48, -0.02, 0], np.float32), np.array([0.52, 0.02, 0.1], np.float32)
    assert thinkgrasp.cropped(tips, low, high, 0.04).tolist() == [True, True, False]


def test_a_single_candidate_is_enough() -> None:
    for spec in EVERY:
        made = scene(APPLE)
        found = made.candidates
        one = Candidates(found.poses[:1], found.widths[:1], found.quality[:1])
        policy = builder(spec)(settings(spec, spec.section()), None, Paint(), "cpu", 0)
        assert policy.act(replace(made, candidates=one, excluded=made.excluded[:1])).action.index == 0
