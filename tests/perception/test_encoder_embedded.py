"""The embedded encoder: weights file, convolutional route, shipped weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from srcli.config.encoder import EncoderConfig
from srcli.errors import ArtifactError, ConfigError, MissingAssetError, SceneError
from srcli.perception.encoders.conv import _within
from srcli.perception.encoders.embedded import SHIPPED, create_model, dense_forward, image_tensor, load_embedded, save_embedded
from srcli.perception.encoders.loading import load_encoder
from srcli.perception.encoders.text import forward_text

ROWS = (0, 320, 1781, 9722, 49406, 49407)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A random model's file, batch norms away from identity."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model, _ = create_model()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2.0)
                module.weight.data.uniform_(0.5, 1.5)
        state = {k: v.half().float() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    state["token_embedding.weight"] = state["token_embedding.weight"][list(ROWS)]
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    digest = save_embedded(state, ROWS, {"give", "mug"}, path, {"steps_done": 0})
    return path, digest, state


def test_weights_survive_the_file(weights):
    path, digest, state = weights
    loaded = load_embedded(path)
    assert loaded.sha256 == digest == json.loads(path.with_suffix(".json").read_text())["sha256"]
    assert loaded.vocabulary == {"give", "mug"}
    table = loaded.model.token_embedding.weight
    assert torch.equal(table[list(ROWS)], state["token_embedding.weight"])
    assert int((table.abs().sum(1) > 0).sum()) == len(ROWS)
    key = "visual.trunk.blocks.0.first.0.weight"
    assert torch.allclose(loaded.model.state_dict()[key], state[key], atol=1e-6)


def test_weights_of_the_format_before_read_as_they_did(weights, tmp_path):
    """Shorter sentences and two layers of text: a file of format 3."""
    path, _, _ = weights
    with safe_open(path, "pt") as stored:
        header = json.loads(stored.metadata()["srcli"])
        tensors = {key: stored.get_tensor(key) for key in stored.keys() if ".resblocks.2." not in key}  # noqa: SIM118
    tensors["positional_embedding"] = tensors["positional_embedding"][:24].clone()
    old = tmp_path / "old.safetensors"
    save_file(tensors, old, metadata={"srcli": json.dumps({**header, "format": 3})})
    short = load_embedded(path).model
    short.transformer.resblocks = short.transformer.resblocks[:2]
    ids = torch.zeros(1, 24, dtype=torch.long)
    ids[0, :4] = torch.tensor([49406, 320, 1781, 49407])
    expected, read = forward_text(short, ids), forward_text(load_embedded(old).model, ids)
    for one, other in zip(expected, read, strict=True):
        torch.testing.assert_close(one, other)


def test_dense_features_are_the_unfolded_tower(weights):
    path, _, _ = weights
    rgb = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    model = load_embedded(path).model
    with torch.no_grad():
        expected = torch.nn.functional.normalize(dense_forward(model, image_tensor(rgb)), dim=1).permute(0, 2, 3, 1).numpy()
        pooled = model.visual(image_tensor(rgb))
        mean = dense_forward(model, image_tensor(rgb)).mean((2, 3))
    values = load_encoder(EncoderConfig(pretrained=str(path))).dense(rgb).values
    assert values.shape == (2, 8, 12, 128) and values.dtype == np.float32
    assert np.allclose(values, expected, atol=1e-4)
    assert np.allclose(np.linalg.norm(values, axis=-1), 1.0, atol=1e-5)
    assert torch.allclose(pooled, mean, atol=1e-4), "the dense route is open_clip's image tower before pooling"


def test_cell_i_belongs_to_pixel_8i_plus_4():
    model, _ = create_model()
    trunk = model.visual.trunk.eval()
    for parameter in trunk.stem.parameters():
        parameter.data.abs_().add_(0.01)
    image = torch.ones(1, 3, 64, 64, requires_grad=True)
    trunk.stem_features(image)[0, :, 3, 5].sum().backward()
    rows, columns = np.nonzero(image.grad[0].abs().sum(0).numpy())
    assert (rows.min() + rows.max()) / 2 == 3 * 8 + 4 and (columns.min() + columns.max()) / 2 == 5 * 8 + 4


def test_sizes_that_are_no_multiple_of_8_are_padded(weights):
    encoder = load_encoder(EncoderConfig(pretrained=str(weights[0])))
    assert encoder.dense(np.zeros((1, 61, 90, 3), np.uint8)).values.shape == (1, 8, 12, 128)


@pytest.mark.parametrize("shape", [(64, 96, 3), (1, 64, 96, 4), (0, 64, 96, 3)])
def test_other_arrays_are_refused(weights, shape):
    encoder = load_encoder(EncoderConfig(pretrained=str(weights[0])))
    with pytest.raises(SceneError, match="views must be"):
        encoder.dense(np.zeros(shape, np.uint8))


def test_identity_and_unknown_words(weights):
    path, digest, _ = weights
    encoder = load_encoder(EncoderConfig(pretrained=str(path)))
    assert encoder.identity.sha256 == digest and encoder.identity.route == "conv" and encoder.dim == 128
    assert set(encoder.identity.as_dict()) == {"name", "sha256", "dim", "route", "image", "precision", "max_tokens"}
    assert encoder.unknown_words("give me a mug") == ("me", "a")


def test_damaged_and_foreign_files(weights, tmp_path):
    with pytest.raises(MissingAssetError, match="not found"):
        load_embedded(tmp_path / "absent.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights[0].read_bytes()[:5000])
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        load_embedded(cut)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, foreign)
    with pytest.raises(ArtifactError, match="not weights of the embedded encoder"):
        load_embedded(foreign)
    with pytest.raises(ConfigError, match="max_tokens"):
        load_encoder(EncoderConfig(pretrained=str(weights[0]), max_tokens=49))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format": 4', '"format": ' + "4" * 5_000, "not a safetensors file"),
        ('["give", "mug"]', "[" * 100_000, "not a safetensors file: .*nested too deeply"),
        ('["give", "mug"]', '["give", "mug"', "not a safetensors file"),
        ('"format": 4', '"format": [4]', r"has format \[4\]"),
        ('"format": 4', '"format": "4\\n5"', "has format 4 5"),
        ('"format": 4', '"format": "' + "x" * 5_000 + '"', "has format x+, this version reads"),
        ('["give", "mug"]', '"give"', "its header is damaged: vocabulary"),
        ('["give", "mug"]', "[1, 2]", r"its header is damaged: vocabulary\.0"),
        ('["give", "mug"]', '["mug"], "parents": 1', "its header is damaged: parents"),
        ('["give", "mug"]', '["mug"], "taught": [{}]', r"its header is damaged: taught\.0"),
        ('["give", "mug"]', '["mug"], "hides_unseen": "no"', "its header is damaged: hides_unseen"),
        (', "vocabulary": ["give", "mug"]', "", "its header is damaged: vocabulary"),
    ],
)
def test_a_damaged_header_is_told_in_one_line(weights, tmp_path, old, new, message):
    with safe_open(weights[0], "pt") as stored:
        header = stored.metadata()["srcli"]
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    assert header.count(old) == 1
    path = tmp_path / "damaged.safetensors"
    save_file(tensors, path, metadata={"srcli": header.replace(old, new)})
    with pytest.raises(ArtifactError, match=message) as caught:
        load_embedded(path)
    assert "\n" not in caught.value.message and len(caught.value.message) < 400 and caught.value.hint


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("token_embedding.weight", lambda value: value * float("nan"), "NaN or infinite"),
        ("token_rows", lambda value: value.to(torch.float8_e4m3fn), "does not fit the model"),
        ("token_embedding.weight", lambda value: value[0], "does not fit the model"),
        ("token_rows", lambda value: value[:0], "does not fit the model"),
        ("token_rows", lambda value: value[None], "does not fit the model"),
        ("token_rows", lambda value: value + 0.5, "does not fit the model"),
        ("token_embedding.weight", lambda value: value[:1], "does not fit the model"),
        ("token_rows", lambda value: value + 100_000, "does not fit the model"),
        ("ln_final.bias", lambda value: value[1:], "does not fit the model"),
    ],
)
def test_damaged_weights_are_told_in_one_line(weights, tmp_path, key, change, message):
    with safe_open(weights[0], "pt") as stored:
        metadata = stored.metadata()
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    path = tmp_path / "damaged.safetensors"
    save_file({**tensors, key: change(tensors[key]).contiguous()}, path, metadata=metadata)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_embedded(path)
    assert "\n" not in f"{caught.value.message}{caught.value.hint}" and caught.value.hint


def test_shipped_weights_ground_words():
    assert SHIPPED.stat().st_size < 8_000_000
    encoder = load_encoder(EncoderConfig())
    texts = ["give me the banana", "I want the banana", "grasp a red object", "get something to eat"]
    e = [t.pooled for t in encoder.text(texts)]
    assert e[0] @ e[1] > e[0] @ e[2], "two wordings of one wish are closer than two wishes"
    assert encoder.unknown_words("give me the banana") == ()
    assert encoder.unknown_words("give me the quokka") == ("quokka",)


@pytest.mark.parametrize(("height", "width"), [(252, 448), (249, 441), (256, 256)])
def test_cells_share_the_image_evenly_whatever_its_size(height: int, width: int) -> None:
    """Features that say where they are: a ramp in pixels, read at the centres of the cells."""
    rows, columns = -(-height // 8), -(-width // 8)
    y, x = torch.meshgrid(8 * torch.arange(rows) + 4.0, 8 * torch.arange(columns) + 4.0, indexing="ij")
    found = _within(torch.stack([y, x])[None], height, width)[0].numpy()
    wanted_y, wanted_x = (np.arange(rows) + 0.5) * height / rows, (np.arange(columns) + 0.5) * width / columns
    # The first cell's centre is nearer to the edge than that of the padded one, where there is nothing to read between.
    np.testing.assert_allclose(found[0, :, 0], np.maximum(wanted_y, 4.0), atol=1e-3)
    np.testing.assert_allclose(found[1, 0], np.maximum(wanted_x, 4.0), atol=1e-3)
