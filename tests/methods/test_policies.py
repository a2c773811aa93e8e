"""The policy protocol: registry, choices, a method of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srcli.artifacts.policy import save_policy
from srcli.config.encoder import SEEN_ONLY, EncoderConfig
from srcli.config.evaluate import CombineConfig
from srcli.config.noise import NoiseConfig
from srcli.errors import ConfigError, MismatchError, MissingAssetError, SceneError, UnknownNameError
from srcli.methods import Choice, Decision, get_policy, policy_names, register
from srcli.methods.similarity import average_over_neighbours
from srcli.methods.sr.network import build_network
from srcli.methods.sr.policy import closing_mask, consistency, gather_mask, log_softmax, parse_method, shipped_policy
from srcli.methods.sr.policy_file import read_policy
from srcli.methods.sr.section import ModelConfig
from srcli.perception.encoders.loading import load_encoder
from srcli.types import Action, Bool, Candidates, Observation, Percept, SemanticCloud, TextEmbedding


def decision(
    xyz: list[list[float]], excluded: list[bool] | None = None, percept: Callable[[], Percept] | None = None, seed: int = 0
) -> Decision:
    count = len(xyz)
    poses = np.zeros((count, 7), dtype=np.float32)
    poses[:, :3] = xyz
    poses[:, 3] = 1.0
    quality = np.linspace(0.1, 0.9, count, dtype=np.float32)
    blocked: Bool = np.array(excluded if excluded is not None else [False] * count)

    def none() -> Percept:
        raise AssertionError("the percept was not to be looked at")

    image = np.zeros((1, 2, 2, 3), np.uint8)
    observation = Observation(image, np.ones((1, 2, 2), np.float32), np.eye(3)[None], np.eye(4)[None])
    return Decision(
        task="pick",
        phase="pick",
        instruction="give me the apple",
        observation=observation,
        candidates=Candidates(poses, np.full(count, 0.04, np.float32), quality),
        excluded=blocked,
        rng=np.random.default_rng(seed),
        percept=percept or none,
    )


def cloud(points: list[list[float]], similarity: list[float]) -> Callable[[], Percept]:
    xyz = np.array(points, np.float32)
    features = np.ones((len(xyz), 4), np.float32) / 2
    text = TextEmbedding(np.ones(4, np.float32) / 2, np.ones((2, 4), np.float32) / 2, np.ones(2, bool))
    return lambda: Percept(SemanticCloud(xyz, features, np.array(similarity, np.float32), np.ones(len(xyz), np.uint8)), text)


def test_registry_names_what_it_knows() -> None:
    assert {"random", "quality", "similarity", "beside", "expert", "learned"} <= set(policy_names())
    with pytest.raises(UnknownNameError, match="policy 'similarty'") as caught:
        get_policy("similarty")
    assert "did you mean 'similarity'" in caught.value.hint


def test_a_users_method_is_a_few_lines() -> None:
    @register("leftmost-test")
    class Leftmost:
        name = "leftmost-test"
        privileged = False

        def act(self, decision: Decision) -> Choice:
            scores = decision.candidates.poses[:, 1]
            return Choice(decision.take(decision.best(scores)), scores=scores)

    policy = get_policy("leftmost-test")
    assert "leftmost-test" in policy_names()
    assert policy.act(decision([[0, 0.1, 0], [0, 0.3, 0], [0, 0.2, 0]])).action.index == 1


def test_a_method_may_bring_its_own_pose() -> None:
    choice = Choice(Action("grasp", np.zeros(7, np.float32), 0.05))
    assert choice.action.index is None


def test_random_is_uniform_over_what_is_allowed_and_follows_its_generator() -> None:
    policy = get_policy("random")
    xyz = [[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]
    taken = [policy.act(decision(xyz, [False, True, False], seed=s)).action.index for s in range(60)]
    assert set(taken) == {0, 2} and 15 < taken.count(0) < 45
    assert taken == [policy.act(decision(xyz, [False, True, False], seed=s)).action.index for s in range(60)]


def test_quality_takes_the_best_that_is_allowed() -> None:
    policy = get_policy("quality")
    xyz = [[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert policy.act(decision(xyz)).action.index == 2
    assert policy.act(decision(xyz, [False, False, True])).action.index == 1


def test_similarity_goes_to_the_most_similar_point() -> None:
    rng = np.random.default_rng(0)
    here, there = rng.normal([0.4, 0, 0.03], 0.005, (40, 3)), rng.normal([0.6, 0, 0.03], 0.005, (40, 3))
    percept = cloud([*here.tolist(), *there.tolist()], [0.1] * 40 + [0.9] * 40)
    choice = get_policy("similarity").act(decision([[0.4, 0, 0.03], [0.61, 0, 0.03], [0.5, 0, 0.03]], percept=percept))
    assert choice.action.index == 1
    assert choice.mask is not None and choice.mask.min() >= 0 and choice.mask.max() <= 1


def test_similarity_is_random_when_nothing_is_near() -> None:
    percept = cloud([[0.6, 0, 0.03]] * 30, [0.9] * 30)
    xyz = [[0.3, 0, 0.03], [0.4, 0, 0.03]]
    taken = {get_policy("similarity").act(decision(xyz, percept=percept, seed=s)).action.index for s in range(30)}
    assert taken == {0, 1}


def placing(xyz: list[list[float]], percept: Callable[[], Percept] | None = None) -> Decision:
    made = decision(xyz, percept=percept)
    return replace(made, phase="place", candidates=replace(made.candidates, kind="place"))


def test_similarity_places_at_the_nearest_candidate_however_far() -> None:
    percept = cloud([[0.6, 0, 0.03]] * 30, [0.9] * 30)
    xyz = [[0.3, 0, 0.03], [0.4, 0, 0.03]]
    assert get_policy("similarity").act(placing(xyz, percept)).action.index == 1


def test_beside_places_on_the_table_next_to_what_is_nearest_to_the_middle() -> None:
    # One view from above: a block whose near side is 4 cm right of the middle, another far away.
    depth = np.full((1, 200, 200), 1.0, np.float32)
    K = np.array([[[400.0, 0, 100], [0, 400.0, 100], [0, 0, 1]]])
    down = np.array([[[0.0, -1, 0, 0.5], [-1, 0, 0, 0], [0, 0, -1, 1.0], [0, 0, 0, 1]]])
    depth[0, 90:110, 60:84] = 0.95
    depth[0, 20:40, 150:170] = 0.95
    xyz = [[0.5, 0.0, 0.004], [0.5, 0.07, 0.055], [0.3, -0.2, 0.004], [0.5, 0.2, 0.004]]
    shown = replace(placing(xyz), observation=Observation(np.zeros((1, 200, 200, 3), np.uint8), depth, K, down))
    choice = get_policy("beside").act(shown)
    assert choice.action.index == 0 and choice.action.kind == "place"
    blocked = replace(shown, excluded=np.array([True, False, False, False]))
    assert get_policy("beside").act(blocked).action.index == 3
    assert get_policy("beside").act(decision(xyz)).action.index == 3


def test_average_over_neighbours_is_the_mean_of_the_nearest() -> None:
    points = np.array([[0, 0, 0], [0.01, 0, 0], [1, 0, 0]], np.float32)
    averaged = average_over_neighbours(points, np.array([0, 1, 5], np.float32), 2)
    np.testing.assert_allclose(averaged, [0.5, 0.5, 3.0])


def test_expert_without_truth_is_refused() -> None:
    with pytest.raises(SceneError, match="simulator's truth"):
        get_policy("expert").act(decision([[0, 0, 0]]))


def test_an_excluded_candidate_cannot_be_taken() -> None:
    with pytest.raises(SceneError, match="excluded"):
        decision([[0, 0, 0], [1, 0, 0]], [True, False]).take(0)


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


def test_the_mask_between_the_fingers_decides_a_grasp_and_that_around_the_landing_point_a_placement(policy_file: Path) -> None:
    percept = cloud([[0.5, 0, 0.05], [0.6, 0, 0.05]] * 4, [0.9, 0.1] * 4)
    grasps = decision([[0.5, 0, 0.05], [0.6, 0, 0.05], [0.8, 0, 0.05]], percept=percept)
    places = replace(grasps, phase="place", candidates=replace(grasps.candidates, kind="place"))
    only = CombineConfig(align1=2.0, align1_place=3.0, align2=0.0, prior=0.0, prior_place=0.0, meant=1.0)
    policy = get_policy("learned", path=policy_file, combine=only)
    grasped, placed = policy.act(grasps), policy.act(places)
    assert grasped.scores is not None and placed.scores is not None and grasped.mask is not None
    masks = grasped.mask[:2].astype(float)
    np.testing.assert_allclose(grasped.scores, 2 * np.log([*masks / masks.max(), 0.01]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(placed.scores, 3 * np.array([*masks, 0.0]), rtol=1e-5)


def test_gather_mask_is_the_mean_around_a_landing_point() -> None:
    points = np.array([[0, 0, 0], [0.01, 0, 0], [0.5, 0, 0]], np.float32)
    poses = np.zeros((2, 7), np.float32)
    poses[1, 0] = 9.0
    np.testing.assert_allclose(gather_mask(points, np.array([1.0, 0.5, 0.1], np.float32), poses, 0.02), [0.75, 0.0])
    np.testing.assert_allclose(np.exp(log_softmax(np.array([1.0, 2.0, 3.0]))).sum(), 1.0)


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    """An untrained network for features of width 4, made for the encoder ``tiny``."""
    network = build_network(ModelConfig(width=16, heads=2), 4, 0)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    path = tmp_path / "tiny.h5"
    save_policy(path, weights, network.config.model_dump(mode="json"), {"name": "tiny"}, {}, {"feature_dim": 4})
    return path


def test_learned_policy_takes_its_highest_score(policy_file: Path) -> None:
    rng = np.random.default_rng(0)
    percept = cloud(rng.normal([0.5, 0, 0.05], 0.05, (30, 3)).tolist(), rng.random(30).tolist())
    xyz = rng.normal([0.5, 0, 0.05], 0.05, (6, 3)).tolist()
    policy = get_policy("learned", path=policy_file, encoder={"name": "tiny"}, combine=CombineConfig(align1=0.0, prior=0.0))
    choice = policy.act(decision(xyz, percept=percept))
    assert choice.scores is not None and choice.mask is not None and len(choice.mask) == 30
    assert choice.action.index == int(np.argmax(choice.scores))
    np.testing.assert_allclose(np.exp(choice.scores).sum(), 1.0, rtol=1e-5)
    blocked = [i == choice.action.index for i in range(6)]
    again = policy.act(decision(xyz, blocked, percept=percept))
    assert again.action.index == int(np.argsort(choice.scores)[-2])


def test_learned_policy_combines_with_the_prior(policy_file: Path) -> None:
    percept = cloud([[0.5, 0, 0.05]] * 8, [0.5] * 8)
    xyz = [[0.5, 0, 0.05]] * 5
    combine = CombineConfig(align1=0.0, align2=0.0, prior=2.0, prior_place=3.0)
    policy = get_policy("learned", path=policy_file, combine=combine)
    grasps = decision(xyz, percept=percept)
    choice = policy.act(grasps)
    np.testing.assert_allclose(choice.scores, 2 * np.log(np.linspace(0.1, 0.9, 5)), rtol=1e-5)
    assert choice.action.index == 4
    places = replace(grasps, phase="place", candidates=replace(grasps.candidates, kind="place"))
    np.testing.assert_allclose(policy.act(places).scores, 3 * np.linspace(0.1, 0.9, 5), rtol=1e-5)
    hopeless = replace(grasps, candidates=replace(grasps.candidates, quality=np.zeros(5, np.float32)))
    np.testing.assert_allclose(policy.act(hopeless).scores, np.full(5, 2 * np.log(0.01)), rtol=1e-5)


def test_noise_is_for_the_network_alone(policy_file: Path) -> None:
    rng = np.random.default_rng(0)
    xyz = rng.normal([0.5, 0, 0.05], 0.05, (40, 3)).tolist()
    percept = cloud(xyz, rng.random(40).tolist())
    only = CombineConfig(align1=1.0, align2=0.0, prior=0.0)
    grasps = decision(xyz[:8], percept=percept)
    choice = get_policy("learned", path=policy_file, combine=only, noise=NoiseConfig(sigma=20.0)).act(grasps)
    assert choice.mask is not None and choice.scores is not None
    # Between the fingers lie the points as they are, however far the network saw them.
    expected = np.log(consistency(closing_mask(percept().cloud, choice.mask, grasps.candidates), only.meant))
    np.testing.assert_allclose(choice.scores, expected, rtol=1e-5, atol=1e-6)
    assert closing_mask(percept().cloud, choice.mask, grasps.candidates).min() > 0


def test_encoder_mismatch_is_refused(policy_file: Path) -> None:
    with pytest.raises(MismatchError, match="trained with encoder 'tiny "):
        get_policy("learned", path=policy_file, encoder={"name": "other"})


def test_method_names() -> None:
    assert parse_method("random") == ("random", None)
    name, path = parse_method("mine=a/b.h5")
    assert name == "mine" and path is not None and path.name == "b.h5"
    with pytest.raises(ConfigError, match="not a method"):
        parse_method("mine=")
    with pytest.raises(MissingAssetError, match="no policy 'nothing-of-that-name'"):
        shipped_policy("nothing-of-that-name")


@pytest.mark.parametrize("pretrained", ["", SEEN_ONLY])
def test_the_policies_shipped_for_an_encoder_are_of_its_features(pretrained: str) -> None:
    config = EncoderConfig(pretrained=pretrained)
    identity = load_encoder(config).identity.as_dict()
    files = {name: shipped_policy(name, config) for name in ("base", "sr_a", "sr")}
    assert {name: read_policy(file, identity).network.config.variant for name, file in files.items()} == {n: n for n in files}
    # Those of the other weights are refused.
    with pytest.raises(MismatchError, match="trained with encoder"):
        read_policy(shipped_policy("sr", EncoderConfig(pretrained="" if pretrained else SEEN_ONLY)), identity)


def test_what_is_not_shipped_for_an_encoder_is_said() -> None:
    with pytest.raises(
        MissingAssetError, match="no policy 'sr_relu' is shipped with this package for encoder embedded/seen-only"
    ):
        shipped_policy("sr_relu", EncoderConfig(pretrained=SEEN_ONLY))
    assert shipped_policy("sr_relu", EncoderConfig(name="ViT-L-14-quickgelu", pretrained="openai")) == shipped_policy("sr_relu")
