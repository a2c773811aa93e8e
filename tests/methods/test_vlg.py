"""VLG: its attention against a slow reference, things, training that learns and goes on, and what it takes."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from method_inputs import decision, make_batch, padded, shaken
from test_keypose import table
from thing_scenes import DIM, THINGS, nothing_seen, write_things
from torch import Tensor

from srcli.artifacts.features import FeatureDataset
from srcli.config.regions import CellRegionConfig
from srcli.errors import ConfigError, SceneError
from srcli.learning.regions import regions_of_cells
from srcli.methods.base import Fitted, TrainingData, Weights
from srcli.methods.vlg.network import VlgNetwork, build_network
from srcli.methods.vlg.policy import build
from srcli.methods.vlg.section import VlgConfig, VlgNetworkConfig
from srcli.methods.vlg.training import fit, training_set
from srcli.perception.encoders.interface import DenseFeatures
from srcli.types import U8, TextEmbedding

STILL = {"yaw": 0.0, "mirror": False, "shift": 0.0, "feature_rotation": 0.0}
SMALL = {
    "network": {"width": 16, "heads": 2, "hidden": 16},
    "train": {"updates": 80, "batch_size": 8, "lr": 0.01, "warmup": 5, "validate_every": 20, "augment": STILL},
}
"""Nothing is turned or moved, so that a few updates are enough to find the four corners where things lie."""


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureDataset:
    return FeatureDataset(write_things(tmp_path_factory.mktemp("things") / "features.h5"))


def section(**train: Any) -> VlgConfig:
    return VlgConfig.model_validate({**SMALL, "train": {**SMALL["train"], **train}})


def network(dim: int = 24, width: int = 24) -> VlgNetwork:
    made = build_network(VlgNetworkConfig(width=width, heads=4, hidden=10), dim, 1).double()
    return shaken(made)  # type: ignore[no-any-return]


# --- Network -----------------------------------------------------------------------------------------------------------------


def layer_norm(x: Any, norm: torch.nn.LayerNorm) -> Any:
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return x * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def linear(x: Any, layer: Any) -> Any:
    return layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()


def slow_mlp(x: Any, layers: Any) -> Any:
    for number, layer in enumerate(m for m in layers if isinstance(m, torch.nn.Linear)):
        x = linear(x if number == 0 else np.maximum(x, 0), layer)
    return x


def gamma(point: Any) -> Any:
    waves = [2.0**i * point for i in range(5)]
    return np.concatenate([point, *(np.sin(w) for w in waves), *(np.cos(w) for w in waves)])


def slow_scores(net: VlgNetwork, batch: Any, row: int, heads: int) -> Any:
    """One decision, candidate by candidate, head by head, thing by thing."""
    middle = np.array([0.5, 0.0, 0.0])
    text, out = batch.text[row].numpy(), []
    keys, values = [], []
    for centre, token in zip(batch.points[row].numpy(), batch.features[row].numpy(), strict=True):
        key = layer_norm(token + slow_mlp(gamma((centre - middle) / 0.224), net.place), net.norm_k)
        keys.append(linear(key, net.attention.k))
        values.append(linear(24 * token * text, net.attention.v))
    for candidate in batch.candidates[row].numpy():
        state = slow_mlp(np.concatenate([(candidate[:3] - middle) / 0.224, candidate[3:]]), net.candidate)
        query = linear(layer_norm(state, net.norm_q), net.attention.q)
        size, read = len(query) // heads, []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            weight = np.exp([query[part] @ key[part] / np.sqrt(size) for key in keys])
            read.append(sum(w * value[part] for w, value in zip(weight / weight.sum(), values, strict=True)))
        state = state + linear(np.concatenate(read), net.attention.out)
        up = linear(layer_norm(state, net.norm_out), net.up)
        state = state + linear(up / (1 + np.exp(-1.702 * up)), net.down)
        out.append(slow_mlp(state, net.head)[0])
    return np.array(out)


def test_scores_are_those_of_the_slow_reference() -> None:
    net, batch = network(), make_batch(points=5)
    found = net(batch).logits.detach().numpy()
    for row in range(2):
        np.testing.assert_allclose(found[row], slow_scores(net, batch, row, 4), rtol=1e-9)


def test_its_scores_are_of_full_precision_though_autocast_computes_in_bf16() -> None:
    made = network().float()
    batch = make_batch(points=5)
    batch = replace(
        batch, **{f.name: v.float() for f in fields(batch) if (v := getattr(batch, f.name)) is not None and v.is_floating_point()}
    )
    with torch.autocast("cpu", torch.bfloat16):
        logits = made(batch).logits
    assert logits.dtype == torch.float32


def test_padding_changes_nothing_and_no_candidate_depends_on_another() -> None:
    net, batch = network(), make_batch(points=5)
    plain, grown = net(batch), net(padded(batch, 3, 2, 2))
    torch.testing.assert_close(grown.logits[:, :9], plain.logits)
    assert torch.isneginf(grown.logits[:, 9:]).all() and not grown.attention[..., 5:].any()
    torch.testing.assert_close(plain.attention.sum(dim=-1), torch.ones_like(plain.attention[..., 0]))
    fewer = replace(
        batch, candidates=batch.candidates[:, :4], candidate_mask=batch.candidate_mask[:, :4], quality=batch.quality[:, :4]
    )
    torch.testing.assert_close(net(fewer).logits, plain.logits[:, :4])


@pytest.mark.parametrize("width", [24, 32])
def test_gradients_reach_every_parameter(width: int) -> None:
    net = network(width=width)
    value: Tensor = net(make_batch(points=5)).logits.log_softmax(dim=1)[:, 0].sum()
    value.backward()
    still = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-12}
    # No softmax sees what is added to all of its logits.
    assert still <= {"norm_k.bias", "attention.k.bias", "head.4.bias"}


def test_published_sizes_by_configuration() -> None:
    made = build_network(VlgNetworkConfig(width=512, heads=8, hidden=256), 512, 0)
    count = {name: sum(p.numel() for p in module.parameters()) / 1e6 for name, module in made.named_children()}
    block = count["attention"] + count["up"] + count["down"]
    assert (round(block, 2), round(count["place"], 1), round(count["candidate"], 1), round(count["head"], 1)) == (
        3.15,
        0.4,
        0.4,
        0.2,
    )
    with pytest.raises(ConfigError, match="does not divide"):
        build_network(VlgNetworkConfig(width=10, heads=4), 8, 0)


# --- Things ------------------------------------------------------------------------------------------------------------------


def test_what_lies_on_the_table_is_no_thing() -> None:
    points = np.array([[0, 0, 0.001], [0.01, 0, 0.001], *[[x, 0, 0.03] for x in (0, 0.01, 0.02, 0.1, 0.11, 0.12)]], np.float32)
    features = np.eye(4, dtype=np.float32)[[3, 3, 0, 0, 0, 0, 0, 1]]
    found = regions_of_cells(points, features, CellRegionConfig(least=2))
    assert found.label.tolist() == [-1, -1, 0, 0, 0, 1, 1, -1], "apart in space, apart in looks, and too few"
    np.testing.assert_allclose(found.centres, [[0.01, 0, 0.03], [0.105, 0, 0.03]], atol=1e-6)
    flat = regions_of_cells(points[:2], features[:2], CellRegionConfig())
    assert len(flat) == 1 and flat.label.tolist() == [0, 0], "where nothing stands, all of it is one"


def test_a_training_set_has_the_things_of_picks(features: FeatureDataset) -> None:
    found = training_set(features, CellRegionConfig())
    assert (len(found.train), len(found.valid), found.feature_dim) == (20, 4, DIM)
    assert found.arrays["point_mask"].sum(axis=1).tolist() == [THINGS] * 24
    batch, labels = found.batch(found.train[:3])
    assert not labels.place.any()
    named = (batch.features @ batch.text[..., None])[..., 0].argmax(dim=1)
    for row in range(3):
        label = batch.candidates[row, labels.expert[row], :2]
        assert torch.linalg.norm(batch.points[row, named[row], :2] - label) < 0.01


# --- Training and acting -----------------------------------------------------------------------------------------------------


def trained(features: FeatureDataset, checkpoint: Path, **train: Any) -> Fitted:
    data = TrainingData(features=features)
    return fit(section(**train), data, seed=2, device="cpu", checkpoint=checkpoint, progress=None)


def test_training_learns_and_goes_on_to_the_same_end(features: FeatureDataset, tmp_path: Path) -> None:
    whole = trained(features, tmp_path / "whole")
    losses = whole.curves["train_loss"]
    assert losses[-1] < 0.75 * losses[0] and whole.metrics["valid_rate"] > 0.6, "chance is a quarter"
    assert whole.samples == 20 and whole.updates == 80

    class Stop(Exception):
        pass

    def stop(done: int, updates: int, text: str) -> None:
        if done == 60:
            raise Stop

    data = TrainingData(features=features)
    with pytest.raises(Stop):
        fit(section(), data, seed=2, device="cpu", checkpoint=tmp_path / "cut", progress=stop)
    made: list[int] = []
    again = fit(
        section(), data, seed=2, device="cpu", checkpoint=tmp_path / "cut", progress=lambda done, updates, text: made.append(done)
    )
    assert made[0] > 1, "it goes on, and does not begin anew"
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)


class Painted:
    """Dense features of :func:`test_keypose.table`: the block is one thing, the table another."""

    dim = DIM

    def dense(self, rgb: U8) -> DenseFeatures:
        red = rgb[:, 4::8, 4::8, 0] > 100
        return DenseFeatures(np.eye(DIM, dtype=np.float32)[red.astype(int)])

    def text(self, texts: Any) -> list[TextEmbedding]:
        return [
            TextEmbedding(np.eye(DIM, dtype=np.float32)[1], np.eye(DIM, dtype=np.float32)[:3], np.ones(3, bool)) for _ in texts
        ]


def test_the_best_candidate_is_taken_and_the_mask_shows_the_attention(features: FeatureDataset, tmp_path: Path) -> None:
    fitted = trained(features, tmp_path / "some", updates=20)
    encoder = Painted()
    weights = Weights(fitted.weights, section().model_dump(mode="json"), training=fitted.facts)
    text = encoder.text([""])[0]
    made = decision([[0.5, 0.0, 0.05], [0.4, 0.1, 0.05], [0.6, 0.1, 0.05]], percept=nothing_seen(text))
    made = replace(made, observation=table())
    choice = build(section(), weights, encoder, "cpu", 0).act(made)
    assert choice.scores is not None and choice.mask is not None and choice.percept is not None
    assert choice.action.index == int(np.argmax(choice.scores))
    standing = choice.percept.cloud.points[:, 2] > 0.008
    assert choice.mask[standing].max() == 1.0 and not choice.mask[~standing].any() and len(choice.mask) == len(standing)
    blocked = replace(made, excluded=np.arange(3) == choice.action.index)
    assert build(section(), weights, encoder, "cpu", 0).act(blocked).action.index != choice.action.index
    controls = [build(section(), None, encoder, "cpu", seed).act(made).scores for seed in (0, 0, 1)]
    np.testing.assert_array_equal(controls[0], controls[1])
    assert not np.allclose(controls[0], controls[2]) and not np.allclose(controls[0], choice.scores)
    with pytest.raises(ConfigError, match="encoder"):
        build(section(), weights, None, "cpu", 0).act(made)
    with pytest.raises(ConfigError, match="encoder"):
        build(section(), None, None, "cpu", 0)


def test_its_settings_are_those_that_do_something() -> None:
    train = VlgConfig().train
    made = train.of_scorers()
    assert made.augment.similarity_noise == 0.0
    told, shared = train.model_dump(), made.model_dump()
    rotations = {"pick_rotation", "pick_rotation_from", "comparison_rotation"}
    assert set(shared) - set(told) == {"place_share"}
    assert set(shared["augment"]) - set(told["augment"]) == {"similarity_noise", *rotations}
    assert not any(shared["augment"][name] for name in rotations)
    assert all(shared[key] == value for key, value in told.items() if key != "augment")
    assert told["augment"].items() <= shared["augment"].items()


def test_features_without_picks_are_refused(tmp_path: Path) -> None:
    only = FeatureDataset(write_things(tmp_path / "places.h5", picks=0, places=6, back=2))
    with pytest.raises(SceneError, match="no pick"):
        trained(only, tmp_path / "none")
    with pytest.raises(SceneError, match="trained on features"):
        fit(section(), TrainingData(), seed=0, device="cpu", checkpoint=tmp_path / "none", progress=None)
