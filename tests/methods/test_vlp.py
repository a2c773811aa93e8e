"""VLP: parser, polar map against slow references, training that learns and goes on, and what it takes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from method_inputs import placing, shaken
from test_keypose import table
from thing_scenes import DIM, HALF, HELD, nothing_seen, write_things
from torch.nn.functional import normalize

from srcli.artifacts.features import FeatureDataset
from srcli.errors import ConfigError, SceneError
from srcli.language.relations import PlacePhrase
from srcli.learning.regions import Regions
from srcli.methods.base import Decision, Fitted, TrainingData, Weights
from srcli.methods.vlp.network import Scenes, VlpNetwork, build_network
from srcli.methods.vlp.parser import pairs, spoken
from srcli.methods.vlp.polar import Polar, coordinates, log_density, log_map
from srcli.methods.vlp.policy import build
from srcli.methods.vlp.scenes import Scene, Words, collated, scene_of
from srcli.methods.vlp.section import VlpConfig, VlpNetworkConfig
from srcli.methods.vlp.training import examples_of, fit
from srcli.perception.encoders.interface import DenseFeatures
from srcli.types import U8, HeldExtent, TextEmbedding

SMALL = {"network": {"hidden": 16}, "train": {"updates": 150, "batch_size": 8, "lr": 0.02, "validate_every": 25}}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureDataset:
    return FeatureDataset(write_things(tmp_path_factory.mktemp("things") / "features.h5"))


def section(**train: Any) -> VlpConfig:
    return VlpConfig.model_validate({**SMALL, "train": {**SMALL["train"], **train}})


# --- Parser ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("put it near the apple", [("near", "apple")]),
        ("I want a plum, put it next to the red cup and near the plate", [("next to", "red cup"), ("near", "plate")]),
        ("place this on the box, beside the pen and close to a mug", [("on", "box"), ("beside", "pen"), ("close to", "mug")]),
        ("put it near the salt and pepper", [("near", "salt and pepper")]),
        ("give me the apple", []),
    ],
)
def test_pairs_of_a_sentence(said: str, found: list[tuple[str, str]]) -> None:
    assert list(pairs(said)) == [PlacePhrase(*pair) for pair in found]
    assert [pairs(spoken(phrase)) for phrase in pairs(said)] == [(phrase,) for phrase in pairs(said)]


# --- Map ---------------------------------------------------------------------------------------------------------------------


def bessel(x: float) -> float:
    """I_0 by its integral."""
    t = np.linspace(0, np.pi, 20001)
    return float(np.trapezoid(np.exp(x * np.cos(t)), t) / np.pi)


def slow_map(scene: dict[str, Any], polar: list[tuple[float, float, float, float]], weights: Any, floor: float) -> Any:
    """The product of mixtures, place by place."""
    out = []
    for place in scene["places"]:
        product = 1.0
        for number, (mean, width, angle, focus) in enumerate(polar):
            total = 0.0
            for centre, size, weight in zip(scene["centres"], scene["sizes"], weights[number], strict=True):
                dx, dy = place[0] - centre[0], place[1] - centre[1]
                r = math.hypot(dx, dy) / (size + scene["held"])
                normal = math.exp(-((r - mean) ** 2) / (2 * width**2)) / (width * math.sqrt(2 * math.pi))
                turned = math.exp(focus * math.cos(math.atan2(dy, dx) - angle)) / (2 * math.pi * bessel(focus))
                total += weight * normal * turned
            product *= floor + total
        out.append(math.log(product))
    return np.array(out)


def test_the_map_is_that_of_the_slow_reference() -> None:
    rng = np.random.default_rng(0)
    scene = {
        "places": rng.uniform(0.3, 0.7, (7, 2)),
        "centres": rng.uniform(0.3, 0.7, (3, 2)),
        "sizes": rng.uniform(0.01, 0.05, 3),
        "held": 0.03,
    }
    polar = [(1.2, 0.4, 0.7, 2.0), (0.2, 0.9, -2.0, 0.0)]
    weights = rng.dirichlet(np.ones(3), 2)
    tensors = {name: torch.tensor(value) for name, value in scene.items()}
    distance, direction = coordinates(tensors["places"], tensors["centres"], tensors["sizes"], tensors["held"])
    density = log_density(Polar(*torch.tensor(polar).double().T), distance, direction)
    found = log_map(torch.tensor(weights).log(), density, torch.ones(2, dtype=torch.bool), 1e-3)
    np.testing.assert_allclose(found.numpy(), slow_map(scene, polar, weights, 1e-3), rtol=1e-6)
    # A pair that is padding takes no part, and one alone needs no floor.
    alone = log_map(torch.tensor(weights).log(), density, torch.tensor([True, False]), 1e-3)
    np.testing.assert_allclose(alone.numpy(), slow_map(scene, polar[:1], weights, 0.0), rtol=1e-6)


def test_a_relation_that_rules_a_place_out_leaves_the_order_to_the_others() -> None:
    far = torch.tensor([[[-900.0, -900.0]], [[-2.0, -1.0]]])  # (pairs, things, places)
    found = log_map(torch.zeros(2, 1), far, torch.ones(2, dtype=torch.bool), 1e-4)
    assert torch.isfinite(found).all() and found[1] > found[0]


def test_distances_count_in_half_sizes_of_both() -> None:
    """What just touches a large thing is as far away as what just touches a small one."""
    centres = torch.tensor([[0.5, 0.0], [0.5, 0.0]])
    distance, direction = coordinates(
        torch.tensor([[0.5, 0.06], [0.5, 0.12]]), centres, torch.tensor([0.04, 0.10]), torch.tensor(0.02)
    )
    torch.testing.assert_close(distance, torch.tensor([[1.0, 2.0], [0.5, 1.0]]))
    torch.testing.assert_close(direction, torch.full((2, 2), math.pi / 2))


def test_a_large_concentration_stays_finite() -> None:
    polar = Polar(*torch.tensor([[1.0], [0.1], [0.3], [500.0]]))
    found = log_density(polar, torch.tensor([[1.0]]), torch.tensor([[0.3]]))
    expected = -math.log(0.1 * math.sqrt(2 * math.pi)) + 0.5 * math.log(500 / (2 * math.pi))
    assert float(found) == pytest.approx(expected, abs=1e-3)


# --- Network -----------------------------------------------------------------------------------------------------------------


def some(rng: np.random.Generator, things: int, places: int, count: int) -> Scene:
    def unit(*shape: int) -> Any:
        return normalize(torch.tensor(rng.normal(size=shape)), dim=-1).numpy()

    return Scene(
        things=unit(things, DIM),
        centres=rng.uniform(0.3, 0.7, (things, 2)),
        sizes=rng.uniform(0.01, 0.05, things),
        pairs=tuple(Words(unit(DIM), unit(5, DIM), np.arange(5) > 0) for _ in range(count)),
        places=rng.uniform(0.3, 0.7, (places, 2)),
        usable=np.arange(places) != 1,
        taken=rng.random((things, places)) < 0.3,
        held=0.03,
    )


def batch(*sizes: tuple[int, int, int]) -> Scenes:
    rng = np.random.default_rng(4)
    made = collated([some(rng, *size) for size in sizes])
    return replace(made, held=made.held.double())


def network(adapter: int = 0) -> VlpNetwork:
    made = build_network(VlpNetworkConfig(hidden=12, adapter=adapter), DIM, 1).double()
    return shaken(made)  # type: ignore[no-any-return]


def test_padding_changes_nothing() -> None:
    net = network()
    alone, both = net(batch((3, 6, 1))), net(batch((3, 6, 1), (5, 9, 2)))
    torch.testing.assert_close(both[0, :6], alone[0])
    assert torch.isneginf(both[0, 6:]).all() and torch.isneginf(alone[0, 1]), "what has failed before is no place"
    torch.testing.assert_close(both.exp().sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_a_place_on_another_thing_is_not_free() -> None:
    """Of two places at one distance the one where another thing lies is a hundredth as likely."""
    eye = np.eye(DIM, dtype=np.float32)
    boxes = Regions(
        np.zeros(1, np.int64),
        eye[:2],
        np.array([[0.48, -0.02, 0], [0.58, -0.02, 0]], np.float32),
        np.array([[0.52, 0.02, 0.05], [0.62, 0.02, 0.05]], np.float32),
    )
    words = Words(eye[0], eye[5:7], np.ones(2, bool))
    poses = np.zeros((3, 7), np.float32)
    poses[:, :2] = [[0.5, 0.0], [0.6, 0.0], [0.5, 0.1]]
    given = SimpleNamespace(held=np.full(3, HELD, np.float32))
    scene = scene_of(given, [words], poses, np.ones(3, bool), boxes)  # type: ignore[arg-type]
    assert scene.taken.tolist() == [[False, True, False], [True, False, False]]
    net = build_network(VlpNetworkConfig(temperature=0.001, taken=0.01, floor=1e-9), DIM, 0)
    with torch.no_grad():
        net.relation[-1].weight.zero_()
        net.relation[-1].bias[:] = torch.tensor([0.0, 0.0, 0.0, -60.0])
    found = net(collated([scene]))[0].detach()
    assert float(found[2] - found[1]) == pytest.approx(math.log(100), abs=1e-3)


@pytest.mark.parametrize("adapter", [0, 6])
def test_gradients_reach_every_parameter(adapter: int) -> None:
    net = network(adapter)
    net(batch((3, 6, 1), (5, 9, 2)))[:, 0].sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_published_size_by_configuration() -> None:
    made = build_network(VlpNetworkConfig(hidden=64, adapter=256), 512, 0)
    assert sum(p.numel() for p in made.parameters()) / 1e6 == pytest.approx(0.26, abs=0.04)


def test_a_turned_scene_keeps_what_has_no_direction() -> None:
    net, rng = network(), np.random.default_rng(5)
    with torch.no_grad():
        net.relation[-1].weight[3] = 0.0
        net.relation[-1].bias[3] = -60.0  # a concentration of 0
    scene = some(rng, 4, 6, 1)
    turned = scene.turned(1.1)
    assert not np.allclose(turned.places, scene.places)
    both = collated([scene, turned])
    found = net(replace(both, held=both.held.double()))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


# --- Training and acting -----------------------------------------------------------------------------------------------------


def trained(features: FeatureDataset, checkpoint: Path, **train: Any) -> Fitted:
    data = TrainingData(features=features)
    return fit(section(**train), data, seed=2, device="cpu", checkpoint=checkpoint, progress=None)


@pytest.fixture(scope="module")
def fitted(features: FeatureDataset, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return trained(features, tmp_path_factory.mktemp("fit") / "whole")


def test_examples_are_the_placements(features: FeatureDataset) -> None:
    examples, count, dim = examples_of(features, section())
    assert (len(examples), count, dim) == (24, 20, DIM)
    for example in examples:
        assert example.valid[example.label] and example.scene.held == pytest.approx(HELD)
        np.testing.assert_allclose(example.scene.sizes, HALF, atol=1e-6)


def test_training_learns_both_groundings(features: FeatureDataset, fitted: Fitted) -> None:
    losses = fitted.curves["train_loss"]
    assert losses[-1] < 0.6 * losses[0] and fitted.metrics["valid_rate"] >= 0.75, "chance is less than a fifth"
    assert fitted.samples == 20 and fitted.updates == 150


def test_training_goes_on_to_the_same_end(features: FeatureDataset, fitted: Fitted, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, updates: int, text: str) -> None:
        if done == 120:
            raise Stop

    data, made = TrainingData(features=features), list[int]()
    with pytest.raises(Stop):
        fit(section(), data, seed=2, device="cpu", checkpoint=tmp_path / "cut", progress=stop)
    again = fit(
        section(), data, seed=2, device="cpu", checkpoint=tmp_path / "cut", progress=lambda done, updates, text: made.append(done)
    )
    assert made[0] > 1, "it goes on, and does not begin anew"
    for name, value in fitted.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)


class Painted:
    """Dense features of :func:`test_keypose.table`: the block is one thing, the table another. Words are rows of an identity."""

    dim = DIM
    vocabulary = frozenset(["put", "it", "near", "on", "next", "to", "the", "block", "cup", "and"])
    asked: tuple[str, ...] = ()

    def dense(self, rgb: U8) -> DenseFeatures:
        red = rgb[:, 4::8, 4::8, 0] > 100
        return DenseFeatures(np.eye(DIM, dtype=np.float32)[red.astype(int)])

    def text(self, texts: Any) -> list[TextEmbedding]:
        self.asked = (*self.asked, *texts)
        eye = np.eye(DIM, dtype=np.float32)
        return [TextEmbedding(eye[1], eye[[7, 5 if "near" in text else 6]], np.ones(2, bool)) for text in texts]


def asked(encoder: Painted, said: str, spots: list[list[float]]) -> Decision:
    text = encoder.text([said])[0]
    made = replace(placing(spots, percept=nothing_seen(text)), observation=table(), instruction=said)
    return replace(made, held=HeldExtent(HELD, HELD, 0.05))


def test_the_best_place_is_taken(fitted: Fitted) -> None:
    encoder = Painted()
    weights = Weights(fitted.weights, section().model_dump(mode="json"), training=fitted.facts)
    policy = build(section(), weights, encoder, "cpu", 0)
    found = policy.act(asked(encoder, "put it on the block", [[0.5, 0.0, 0.0], [0.6, -0.1, 0.0]]))
    assert found.percept is not None and found.mask is not None
    standing = found.percept.cloud.points[:, 2] > 0.008
    assert (found.mask[standing] == 1.0).all() and not found.mask[~standing].any()
    box = found.percept.cloud.points[standing, :2]
    middle, half = (box.min(axis=0) + box.max(axis=0)) / 2, float((box.max(axis=0) - box.min(axis=0)).mean() / 2)
    spots = [[*middle, 0.05], [middle[0] + 1.3 * (half + HELD), middle[1], 0.0], [0.3, -0.2, 0.0]]
    for said, wanted in (("put it on the block", 0), ("put it near the block", 1)):
        made = asked(encoder, said, spots)
        choice = policy.act(made)
        assert choice.action.index == wanted and choice.scores is not None and np.isfinite(choice.scores).all()
        assert policy.act(replace(made, excluded=np.arange(3) == wanted)).action.index != wanted
    encoder.asked = ()
    policy.act(asked(encoder, "put it near the block and on the cup", spots))
    assert "put it near the block" in encoder.asked and "put it on the cup" in encoder.asked, "each pair by itself"
    encoder.asked = ()
    policy.act(asked(encoder, "put it naer the blocks and on the cpu", spots))
    assert "put it near the block" in encoder.asked and "put it on the cup" in encoder.asked, "as the reader reads them"
    made = asked(encoder, "put it on the block", spots)
    controls = [build(section(), None, encoder, "cpu", seed).act(made).scores for seed in (0, 0, 1)]
    np.testing.assert_array_equal(controls[0], controls[1])
    assert not np.allclose(controls[0], controls[2])
    with pytest.raises(ConfigError, match="encoder"):
        build(section(), weights, None, "cpu", 0).act(made)


def test_features_without_placements_are_refused(tmp_path: Path) -> None:
    only = FeatureDataset(write_things(tmp_path / "picks.h5", picks=6, places=0, back=2))
    with pytest.raises(SceneError, match="no placement"):
        trained(only, tmp_path / "none")
    with pytest.raises(SceneError, match="trained on features"):
        fit(section(), TrainingData(), seed=0, device="cpu", checkpoint=tmp_path / "none", progress=None)
