"""A scoring network as a policy: how three scores become a choice, and what noise reaches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from method_inputs import cloud, decision, placing, sr_section

from srcli.config.choice import ChoiceConfig
from srcli.config.noise import NoiseConfig
from srcli.errors import ArtifactError, SceneError
from srcli.methods.a2.network import build_network as build_a2
from srcli.methods.a2.section import A2Config
from srcli.methods.base import Weights
from srcli.methods.registry import settings, spec_of
from srcli.methods.scoring import (
    ScoringPolicy,
    closing_mask,
    consistency,
    disturb,
    fitted_settings,
    gather_mask,
    log_softmax,
)
from srcli.methods.sr.network import SRNetwork, build_network
from srcli.methods.sr.section import SRConfig
from srcli.models.batch import batch_of_one
from srcli.types import Candidates, Percept, SemanticCloud

LEARNED_ONLY = ChoiceConfig(align1=0.0, prior=0.0)


@pytest.fixture
def network() -> SRNetwork:
    """An untrained network for features of width 4."""
    return build_network(sr_section(network__width=16, network__heads=2), 4, 0).eval()


def test_closing_mask_counts_all_that_stands_between_the_fingers() -> None:
    kept = np.array([[0, 0, 0], [0.01, 0, 0.004], [0.5, 0, 0]], np.float32)
    rest = np.array([[-0.01, 0.005, 0], [0.01, 0.02, 0], [0.03, 0, 0], [0, 0, 0.02]], np.float32)
    semantic = SemanticCloud(kept, np.ones((3, 4), np.float32), np.ones(3, np.float32), np.ones(3, np.uint8), rest)
    poses = np.zeros((3, 7), np.float32)
    poses[:, 3] = 1.0  # half a turn about x: tool z is down
    poses[1, 0], poses[2, 0] = 9.0, 0.5
    found = Candidates(poses, np.full(3, 0.04, np.float32), np.ones(3, np.float32))
    mask = np.array([1.0, 0.5, 0.2], np.float32)
    # Beside two kept points one of the rest is between the fingers of the first, and one 2 cm above its tip.
    np.testing.assert_allclose(closing_mask(semantic, mask, found), [1.5 / 4, 0.0, 0.2], rtol=1e-6)
    alone = replace(semantic, rest=np.zeros((0, 3), np.float32))
    np.testing.assert_allclose(closing_mask(alone, mask, found), [0.75, 0.0, 0.2], rtol=1e-6)


def test_consistency_grows_up_to_what_counts_as_meant() -> None:
    np.testing.assert_allclose(consistency(np.array([0.0, 0.1, 0.4, 0.8, 0.2]), 0.5), [0.01, 0.25, 1.0, 1.0, 0.5])
    np.testing.assert_allclose(consistency(np.zeros(3), 0.5), 1.0)
    assert consistency(np.zeros(0), 0.5).shape == (0,)


def test_gather_mask_is_the_mean_around_a_landing_point() -> None:
    points = np.array([[0, 0, 0], [0.01, 0, 0], [0.5, 0, 0]], np.float32)
    poses = np.zeros((2, 7), np.float32)
    poses[1, 0] = 9.0
    np.testing.assert_allclose(gather_mask(points, np.array([1.0, 0.5, 0.1], np.float32), poses, 0.02), [0.75, 0.0])
    np.testing.assert_allclose(np.exp(log_softmax(np.array([1.0, 2.0, 3.0]))).sum(), 1.0)


def test_the_mask_between_the_fingers_decides_a_grasp_and_that_around_the_landing_point_a_placement(network: SRNetwork) -> None:
    percept = cloud([[0.5, 0, 0.05], [0.6, 0, 0.05]] * 4, [0.9, 0.1] * 4)
    grasps = decision([[0.5, 0, 0.05], [0.6, 0, 0.05], [0.8, 0, 0.05]], percept=percept)
    places = replace(grasps, phase="place", candidates=replace(grasps.candidates, kind="place"))
    only = ChoiceConfig(align1=2.0, align1_place=3.0, align2=0.0, prior=0.0, prior_place=0.0, meant=1.0)
    policy = ScoringPolicy(network, only)
    grasped, placed = policy.act(grasps), policy.act(places)
    assert grasped.scores is not None and placed.scores is not None and grasped.mask is not None
    masks = grasped.mask[:2].astype(float)
    np.testing.assert_allclose(grasped.scores, 2 * np.log([*masks / masks.max(), 0.01]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(placed.scores, 3 * np.array([*masks, 0.0]), rtol=1e-5)


def test_the_highest_score_is_taken_and_a_failed_one_left_out(network: SRNetwork) -> None:
    rng = np.random.default_rng(0)
    percept = cloud(rng.normal([0.5, 0, 0.05], 0.05, (30, 3)).tolist(), rng.random(30).tolist())
    xyz = rng.normal([0.5, 0, 0.05], 0.05, (6, 3)).tolist()
    policy = ScoringPolicy(network, LEARNED_ONLY)
    choice = policy.act(decision(xyz, percept=percept))
    assert choice.scores is not None and choice.mask is not None and len(choice.mask) == 30
    assert choice.action.index == int(np.argmax(choice.scores))
    np.testing.assert_allclose(np.exp(choice.scores).sum(), 1.0, rtol=1e-5)
    blocked = [i == choice.action.index for i in range(6)]
    again = policy.act(decision(xyz, blocked, percept=percept))
    assert again.action.index == int(np.argsort(choice.scores)[-2])


def test_the_prior_counts_as_its_logarithm_for_grasps_and_as_itself_for_placements(network: SRNetwork) -> None:
    percept = cloud([[0.5, 0, 0.05]] * 8, [0.5] * 8)
    policy = ScoringPolicy(network, ChoiceConfig(align1=0.0, align2=0.0, prior=2.0, prior_place=3.0))
    grasps = decision([[0.5, 0, 0.05]] * 5, percept=percept)
    choice = policy.act(grasps)
    np.testing.assert_allclose(choice.scores, 2 * np.log(np.linspace(0.1, 0.9, 5)), rtol=1e-5)
    assert choice.action.index == 4
    places = replace(grasps, phase="place", candidates=replace(grasps.candidates, kind="place"))
    np.testing.assert_allclose(policy.act(places).scores, 3 * np.linspace(0.1, 0.9, 5), rtol=1e-5)
    hopeless = replace(grasps, candidates=replace(grasps.candidates, quality=np.zeros(5, np.float32)))
    np.testing.assert_allclose(policy.act(hopeless).scores, np.full(5, 2 * np.log(0.01)), rtol=1e-5)


def test_noise_is_for_the_network_alone(network: SRNetwork) -> None:
    rng = np.random.default_rng(0)
    xyz = rng.normal([0.5, 0, 0.05], 0.05, (40, 3)).tolist()
    percept = cloud(xyz, rng.random(40).tolist())
    only = ChoiceConfig(align1=1.0, align2=0.0, prior=0.0)
    grasps = decision(xyz[:8], percept=percept)
    choice = ScoringPolicy(network, only, NoiseConfig(sigma=20.0, where="network")).act(grasps)
    assert choice.mask is not None and choice.scores is not None
    # Between the fingers lie the points as they are, however far the network saw them.
    expected = np.log(consistency(closing_mask(percept().cloud, choice.mask, grasps.candidates), only.meant))
    np.testing.assert_allclose(choice.scores, expected, rtol=1e-5, atol=1e-6)
    assert closing_mask(percept().cloud, choice.mask, grasps.candidates).min() > 0


def test_noise_leaves_the_place_of_the_mask_around_a_landing_point(network: SRNetwork) -> None:
    rng = np.random.default_rng(0)
    xyz = rng.normal([0.5, 0, 0.05], 0.05, (40, 3)).tolist()
    percept = cloud(xyz, rng.random(40).tolist())
    only = ChoiceConfig(align1_place=1.0, align2=0.0, prior_place=0.0)
    choice = ScoringPolicy(network, only, NoiseConfig(sigma=20.0, where="network")).act(placing(xyz[:8], percept))
    assert choice.mask is not None and choice.scores is not None
    poses = placing(xyz[:8]).candidates.poses
    expected = gather_mask(percept().cloud.points, choice.mask, poses, only.radius)
    np.testing.assert_allclose(choice.scores, expected, rtol=1e-5, atol=1e-6)
    assert expected.min() > 0


def test_the_mask_around_a_grasp_of_a_network_without_one_is_the_share_of_kept_points() -> None:
    """Every kept point counts 1, what the cloud left out 0: a weight on it is not without effect."""
    section = settings(spec_of("a2"), A2Config(), {"network.heads": 2})
    assert isinstance(section, A2Config) and section.choice.align1 == 0
    net = build_a2(section.network, 4, 0).eval()
    made = cloud([[0.5, 0, 0.05], [0.6, 0, 0.05]] * 4, [0.5] * 8)()
    rest = np.array([[0.6, 0.004, 0.05]] * 12, np.float32)
    percept = replace(made, cloud=replace(made.cloud, rest=rest))
    only = section.choice.model_copy(update={"align1": 1.0, "align2": 0.0, "meant": 1.0})
    choice = ScoringPolicy(net, only).act(decision([[0.5, 0, 0.05], [0.6, 0, 0.05]], percept=lambda: percept))
    np.testing.assert_allclose(choice.scores, np.log([1.0, 0.25]), rtol=1e-5, atol=1e-6)


def test_noise_changes_the_scores_and_follows_from_the_decision(network: SRNetwork) -> None:
    rng = np.random.default_rng(0)
    xyz = rng.normal([0.5, 0, 0.05], 0.05, (40, 3)).tolist()
    percept = cloud(xyz, rng.random(40).tolist())

    def scores(sigma: float, seed: int) -> np.ndarray:
        made = ScoringPolicy(network, LEARNED_ONLY, NoiseConfig(sigma=sigma, where="network")).act(
            decision(xyz[:8], percept=percept, seed=seed)
        )
        assert made.scores is not None
        return made.scores

    np.testing.assert_array_equal(scores(0.3, 1), scores(0.3, 1))
    assert np.abs(scores(0.3, 1) - scores(0.3, 2)).max() > 1e-3 < np.abs(scores(0.3, 1) - scores(0.0, 1)).max()


def test_noise_of_positions_and_of_features_grows_with_sigma_in_the_same_directions() -> None:
    clean = cloud([[0.5, 0, 0.05], [0.6, 0.1, 0.02]] * 100, [0.5] * 200)().cloud
    rng = np.random.default_rng(1)
    clean = replace(clean, features=rng.normal(size=(200, 4)).astype(np.float32))
    once, twice = (disturb(clean, NoiseConfig(sigma=s), np.random.default_rng(0)) for s in (0.1, 0.2))
    np.testing.assert_allclose(twice.points - clean.points, 2 * (once.points - clean.points), atol=1e-5)
    assert float((once.points - clean.points).std()) == pytest.approx(0.1 * 0.224, rel=0.1)
    moved = disturb(clean, NoiseConfig(sigma=0.5, unit="feature", where="network"), np.random.default_rng(0))
    np.testing.assert_array_equal(moved.points, clean.points)
    assert float((moved.features - clean.features).std()) == pytest.approx(0.5 * float(clean.features.std()), rel=0.1)
    for other in (once, moved):
        np.testing.assert_array_equal(other.similarity, clean.similarity)


def test_noise_before_fusion_is_perceived_anew_in_the_same_directions(network: SRNetwork) -> None:
    """What the network is shown, and where the mask is read, is the moved cloud; the clean one is not looked at."""
    xyz = np.random.default_rng(0).normal([0.5, 0, 0.05], 0.05, (40, 3)).tolist()
    asked: list[tuple[float, float]] = []

    def moved(metres: float, rng: np.random.Generator) -> Percept:
        drawn = rng.standard_normal((40, 3), dtype=np.float32)
        asked.append((metres, float(drawn[0, 0])))
        return cloud((np.array(xyz) + metres * drawn).tolist(), np.linspace(0, 1, 40).tolist())()

    for sigma in (0.1, 0.2):
        made = replace(decision(xyz[:8]), moved=moved)
        choice = ScoringPolicy(network, LEARNED_ONLY, NoiseConfig(sigma=sigma)).act(made)
        again = moved(sigma * 0.224, decision(xyz[:8]).rng.spawn(1)[0])
        with torch.inference_mode():
            expected = network(batch_of_one(again, made.candidates)).logits[0].double().numpy()
        np.testing.assert_allclose(choice.scores, log_softmax(expected), atol=1e-5)
        assert choice.percept is not None and len(choice.mask) == len(choice.percept.cloud.points)
        np.testing.assert_array_equal(choice.percept.cloud.points, again.cloud.points)
    assert [metres for metres, _ in asked] == pytest.approx([0.0224, 0.0224, 0.0448, 0.0448])
    assert len({first for _, first in asked}) == 1
    with pytest.raises(SceneError, match="cannot be moved before fusion"):
        ScoringPolicy(network, LEARNED_ONLY, NoiseConfig(sigma=0.1)).act(decision(xyz[:8]))


def test_features_are_not_disturbed_before_there_are_any() -> None:
    with pytest.raises(ValueError, match="where has to be 'network'"):
        NoiseConfig(sigma=0.1, unit="feature")


def test_acting_leaves_the_network_and_its_gradients_alone(network: SRNetwork) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    percept = cloud([[0.5, 0, 0.05]] * 8, [0.5] * 8)
    ScoringPolicy(network, LEARNED_ONLY).act(decision([[0.5, 0, 0.05]] * 3, percept=percept))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_stored_settings_that_this_version_does_not_have_are_refused_in_one_line() -> None:
    section = SRConfig().model_dump(mode="json")
    made, dim = fitted_settings(SRConfig, Weights({}, section, training={"feature_dim": 7}), {"bypass": ["rings"]})
    assert (made.bypass, dim) == (("rings",), 7)
    for stored in (
        Weights({}, {**section, "later": 1}, training={"feature_dim": 7}, source="some.h5"),
        Weights({}, section, training={}, source="some.h5"),
    ):
        with pytest.raises(ArtifactError, match=r"^some\.h5: (its settings cannot be read|does not say how wide)") as caught:
            fitted_settings(SRConfig, stored)
        assert "\n" not in caught.value.message
