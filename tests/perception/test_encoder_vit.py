"""Real CLIP towers through the same loading code, with a tiny random ViT saved to a file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_towers import OPENAI, TINY, colours, config, slow_reference

from srcli.config.encoder import EncoderConfig
from srcli.errors import ArtifactError, ConfigError, UnknownNameError
from srcli.perception.encoders.compat import import_open_clip
from srcli.perception.encoders.loading import choose_precision, has_bf16, load_encoder
from srcli.perception.encoders.vit import check_tower, is_readable, position_embedding, value_features


def test_value_route_against_a_slow_reference(tiny):
    _, model = tiny
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fast = value_features(model.visual, image)
        for i in range(2):
            assert torch.allclose(fast[i], slow_reference(model.visual, image[i]), atol=1e-5)


def test_loaded_encoder_cuts_tiles_in_place(tiny):
    path, model = tiny
    encoder = load_encoder(config(path))
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)  # 18 tiles of 32 x 32: no resampling, two batches
    values = encoder.dense(rgb).values
    assert values.shape == (3, 8, 12, 16) and np.allclose(np.linalg.norm(values, axis=-1), 1, atol=1e-5)
    clip = import_open_clip()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip.OPENAI_DATASET_MEAN, clip.OPENAI_DATASET_STD))
    images = (torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255 - mean) / std
    for view, row, column in np.ndindex(3, 2, 3):
        with torch.no_grad():
            tile = images[view, :, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
            expected = slow_reference(model.visual, tile).numpy()
        found = values[view, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert np.allclose(found, expected, atol=1e-4), (view, row, column)


def test_tiles_that_are_not_square_and_several_grids(tiny):
    path, model = tiny
    wide = load_encoder(config(path, tiles=[[1, 1]])).dense(np.zeros((1, 90, 160, 3), np.uint8)).values
    assert wide.shape == (1, 4, 7, 16)
    both = load_encoder(config(path, tiles=[[1, 1], [2, 2]])).dense(np.zeros((1, 90, 160, 3), np.uint8)).values
    assert both.shape == (1, 8, 14, 16) and np.allclose(np.linalg.norm(both, axis=-1), 1, atol=1e-5)
    same = position_embedding(model.visual, (4, 4))
    assert torch.equal(same, model.visual.positional_embedding)
    assert position_embedding(model.visual, (4, 7)).shape == (29, 32)


def test_text_and_bf16_and_identity(tiny):
    path, model = tiny
    encoder = load_encoder(config(path, precision="bf16"))
    exact = load_encoder(config(path))
    rgb = np.random.default_rng(1).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    assert (encoder.dense(rgb).values * exact.dense(rgb).values).sum(-1).min() > 0.99
    assert encoder.identity != exact.identity and encoder.identity.route == "maskclip" and encoder.dim == 16
    tokenizer = import_open_clip().get_tokenizer(TINY)
    with torch.no_grad():
        expected = model.encode_text(tokenizer(["a red mug"]), normalize=True)[0].numpy()
    (embedding,) = exact.text(["a red mug"])
    assert np.allclose(embedding.pooled, expected, atol=1e-5) and embedding.tokens.shape == (12, 16)
    assert exact.unknown_words("zzz") == ()


@pytest.mark.parametrize(
    ("name", "pretrained", "tower"),
    [
        ("RN50-quickgelu", "openai", "image tower"),
        ("ViT-B-16-SigLIP", "webli", "image tower"),
        ("coca_ViT-B-32", "laion2b_s13b_b90k", "image tower"),
        ("RN50", "", "image tower"),
        ("ViT-L-14-CLIPA", "datacomp1b", "text tower"),
        ("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", "text tower"),
    ],
)
def test_models_that_cannot_be_read_are_refused_before_weights(name, pretrained, tower, tmp_path):
    with pytest.raises(ConfigError, match=f"the {tower} of '{name}'"):
        load_encoder(EncoderConfig(name=name, pretrained=pretrained, cache_dir=str(tmp_path)))


def test_known_models_are_those_with_a_value_route():
    open_clip = import_open_clip()
    with pytest.raises(UnknownNameError) as caught:
        load_encoder(EncoderConfig(name="RN51", pretrained="openai"))
    assert "known: ViT-B-16, ViT-B-16-plus," in caught.value.hint
    assert not re.search(r"\bRN|SigLIP|coca|CLIPA|srcli-embedded", caught.value.hint.partition("known:")[2])
    for name in ("ViT-B-32", "ViT-L-14-336-quickgelu", "ViT-M-16-alt", "RN50", "coca_ViT-B-32"):
        values = open_clip.get_model_config(name)
        with torch.device("meta"):
            visual = open_clip.CLIP(values["embed_dim"], values["vision_cfg"], values["text_cfg"]).visual
        try:
            check_tower(visual, name)
            built = True
        except ConfigError:
            built = False
        assert built == is_readable(values), name


@pytest.mark.parametrize(
    ("asked", "device", "bf16", "expected"),
    [
        ("auto", "cpu", True, "bf16"),
        ("auto", "cpu", False, "fp32"),
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda:1", False, "fp16"),
        ("fp16", "cuda:0", True, "fp16"),
        ("bf16", "cpu", False, "bf16"),
        ("fp32", "cuda", True, "fp32"),
    ],
)
def test_precision(asked, device, bf16, expected):
    assert choose_precision(asked, device, bf16) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_that_only_emulates_bf16_takes_fp16(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert choose_precision("auto", "cuda", has_bf16("cuda")) == expected


def test_fp16_is_refused_on_a_cpu(tiny):
    with pytest.raises(ConfigError, match="fp16 is for GPUs") as caught:
        load_encoder(config(tiny[0], precision="fp16"))
    assert "bf16" in caught.value.hint


def slow_bicubic(length, target):
    """(target, length) weights of antialiased bicubic resampling (Keys, a = -1/2), sample by sample."""
    scale = length / target
    stretch = max(scale, 1.0)
    weights = np.zeros((target, length))
    for i in range(target):
        centre = (i + 0.5) * scale
        for j in range(length):
            t = abs((j + 0.5 - centre) / stretch)
            if t < 1:
                weights[i, j] = 1.5 * t**3 - 2.5 * t**2 + 1
            elif t < 2:
                weights[i, j] = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        weights[i] /= weights[i].sum()
    return weights


@pytest.mark.parametrize("grid", [(4, 7), (6, 4), (3, 2), (9, 13)])
def test_resampled_positions_against_a_slow_reference(tiny, grid):
    visual = tiny[1].visual
    with torch.no_grad():
        values = position_embedding(visual, grid).numpy()
    learnt = visual.positional_embedding.detach().numpy()
    assert np.array_equal(values[0], learnt[0]), "the class token has no place"
    square = learnt[1:].reshape(4, 4, -1).astype(np.float64)
    expected = np.einsum("ir,jc,rcd->ijd", slow_bicubic(4, grid[0]), slow_bicubic(4, grid[1]), square)
    assert np.allclose(values[1:].reshape(*grid, -1), expected, atol=1e-6)


@pytest.fixture
def large_file(tmp_path):
    """fp16 weights of ViT-L-14-quickgelu, seeded normals of the usual spread; some 850 MB, deleted afterwards."""
    open_clip = import_open_clip()
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in open_clip.CLIP(**open_clip.get_model_config("ViT-L-14-quickgelu")).state_dict().items()}
    # Every tensor is a stretch of one pool: no two rows of a matrix of the image tower are equal, and drawing takes no time.
    pool = torch.randn(1 << 23, generator=torch.Generator().manual_seed(8)).half()
    state, start = {}, 0
    for key, shape in shapes.items():
        count, start = shape.numel(), (start + 100_003) % 4_000_000
        long = pool if start + count <= len(pool) else pool.repeat(-(-(start + count) // len(pool)))
        values = long[start : start + count].reshape(shape)
        if len(shape) < 2:
            values = values * 0.1 + (1.0 if re.search(r"ln_\w+\.weight|logit_scale", key) else 0.0)
        else:
            values = values * shape[1:].numel() ** -0.5
        state[key] = values.contiguous()
    path = tmp_path / "ViT-L-14.safetensors"
    save_file(state, path)
    yield path
    path.unlink()


def test_the_real_architecture_against_a_slow_reference(large_file: Path):
    """ViT-L/14 as a user loads OpenAI's weights from a file; nothing but the model's name says how they were trained."""
    given = EncoderConfig(name="ViT-L-14-quickgelu", pretrained=str(large_file), tiles=((1, 2),), precision="fp32")
    encoder = load_encoder(given)
    assert encoder.dim == 768 and np.allclose(colours(encoder), OPENAI, atol=1e-5)
    visual = encoder._model.visual
    assert type(visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    with safe_open(large_file, "pt") as stored:
        for key, value in visual.state_dict().items():
            assert torch.equal(value, stored.get_tensor(f"visual.{key}").float()), key
    rgb = np.random.default_rng(2).integers(0, 256, (1, 224, 448, 3), dtype=np.uint8)  # two tiles, no resampling
    values = encoder.dense(rgb).values
    assert values.shape == (1, 16, 32, 768)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in OPENAI)
    tile = (torch.from_numpy(rgb[0, :, 224:]).permute(2, 0, 1).float() / 255 - mean) / std
    with torch.no_grad():
        expected = slow_reference(visual, tile).numpy()
    assert np.allclose(values[0, :, 16:], expected, atol=1e-4)
    assert (values[0, 0, 0] @ values[0, 5, 9]) < 0.999, "patches differ"
    (sentence,) = encoder.text(["a red mug"])
    assert sentence.pooled.shape == (768,) and np.isclose(np.linalg.norm(sentence.pooled), 1.0, atol=1e-4)


def test_unknown_and_unfit_names(tiny, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown encoder 'ViT-L-15'"):
        load_encoder(EncoderConfig(name="ViT-L-15", pretrained="openai"))
    with pytest.raises(UnknownNameError, match="opeani"):
        load_encoder(EncoderConfig(name="ViT-L-14-quickgelu", pretrained="opeani"))
    with pytest.raises(ConfigError, match="needs weights"):
        load_encoder(EncoderConfig(name="ViT-L-14-quickgelu"))
    pickled = tmp_path / "weights.pt"
    pickled.write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"no \.safetensors"):
        load_encoder(config(pickled))
    with safe_open(tiny[0], "pt") as stored:
        rest = {key: stored.get_tensor(key) for key in stored.keys() if key != "visual.proj"}  # noqa: SIM118  not a mapping
    save_file(rest, tmp_path / "incomplete.safetensors")
    with pytest.raises(ArtifactError, match="cannot be loaded"):  # what the file lacks would be left unset
        load_encoder(config(tmp_path / "incomplete.safetensors"))
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(tiny[0].read_bytes()[:3000])
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_encoder(config(damaged))
