"""Real CLIP towers through the same loading code, with a tiny random ViT saved to a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from srcli.config.encoder import EncoderConfig
from srcli.errors import ArtifactError, ConfigError, MissingAssetError, UnknownNameError
from srcli.perception.encoders.compat import import_open_clip
from srcli.perception.encoders.loading import load_encoder
from srcli.perception.encoders.vit import position_embedding, value_features

TINY = "ViT-srcli-tiny-quickgelu"
PLAIN = "ViT-srcli-tiny"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Path of random weights of a three-block ViT (patch 8, 32 px), known to open_clip with both activations."""
    open_clip = import_open_clip()
    folder = tmp_path_factory.mktemp("tiny")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "patch_size": 8, "head_width": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    for name, quick in ((TINY, True), (PLAIN, False)):
        (folder / f"{name}.json").write_text(json.dumps({**config, "quick_gelu": quick}))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = open_clip.CLIP(**open_clip.get_model_config(TINY))
        torch.nn.init.normal_(model.visual.transformer.resblocks[-1].attn.in_proj_bias, std=0.3)
    path = folder / "tiny.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    yield path, model.eval()
    for name in (TINY, PLAIN):
        open_clip.factory._MODEL_CONFIG_PATHS[:] = [p for p in open_clip.factory._MODEL_CONFIG_PATHS if p != folder]
        open_clip.factory._MODEL_CONFIGS.pop(name, None)


def config(path, **changes):
    return EncoderConfig(
        **{"name": TINY, "pretrained": str(path), "quickgelu": True, "tiles": [[2, 3]], "precision": "fp32", **changes}
    )


def slow_reference(visual, image):
    """MaskCLIP by loops: every patch through the blocks of one tile, then value and output projection of the last block."""
    patch, (rows, columns) = visual.patch_size[0], visual.grid_size
    tokens = [visual.class_embedding]
    for r in range(rows):
        for c in range(columns):
            cut = image[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
            tokens.append(torch.einsum("ocij,cij->o", visual.conv1.weight, cut))
    x = visual.ln_pre(torch.stack(tokens) + visual.positional_embedding)[None]
    for block in list(visual.transformer.resblocks)[:-1]:
        x = block(x)
    last, out = visual.transformer.resblocks[-1], []
    width = x.shape[-1]
    for token in x[0, 1:]:
        normed = last.ln_1(token)
        value = last.attn.in_proj_weight[2 * width : 3 * width] @ normed + last.attn.in_proj_bias[2 * width : 3 * width]
        projected = last.attn.out_proj.weight @ value + last.attn.out_proj.bias
        feature = visual.ln_post(projected) @ visual.proj
        out.append(feature / feature.norm())
    return torch.stack(out).reshape(rows, columns, -1)


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
    rgb = rng.integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)  # tiles of 32 x 32: no resampling
    values = encoder.dense(rgb).values
    assert values.shape == (2, 8, 12, 16) and np.allclose(np.linalg.norm(values, axis=-1), 1, atol=1e-5)
    clip = import_open_clip()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip.OPENAI_DATASET_MEAN, clip.OPENAI_DATASET_STD))
    tile = (torch.from_numpy(rgb[1, 32:64, 64:96]).permute(2, 0, 1).float() / 255 - mean) / std
    with torch.no_grad():
        expected = slow_reference(model.visual, tile).numpy()
    assert np.allclose(values[1, 4:, 8:], expected, atol=1e-4), "lower right tile of the second view"


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


def test_quickgelu_trap_is_refused(tiny, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="quietly wrong") as caught:
        load_encoder(EncoderConfig(name="ViT-L-14", pretrained="openai"))
    assert "ViT-L-14-quickgelu" in caught.value.hint
    with pytest.raises(ConfigError, match="quietly wrong") as caught:
        load_encoder(EncoderConfig(name="ViT-B-32-quickgelu", pretrained="laion2b_s34b_b79k"))
    assert caught.value.hint.endswith("ViT-B-32")
    with pytest.raises(ConfigError, match="not said"):
        load_encoder(config(tiny[0], quickgelu=None))
    with pytest.raises(ConfigError, match="computes GELU") as caught:
        load_encoder(config(tiny[0], name=PLAIN))
    assert caught.value.hint.endswith(TINY)


def test_missing_weights_say_what_to_fetch(tiny, tmp_path):
    with pytest.raises(MissingAssetError, match=r"huggingface\.co/timm/vit_large_patch14_clip_224\.openai") as caught:
        load_encoder(EncoderConfig(name="ViT-L-14-quickgelu", pretrained="openai", cache_dir=str(tmp_path)))
    assert "encoder.pretrained" in caught.value.hint and "download" in caught.value.hint
    with pytest.raises(MissingAssetError, match="not on this disk"):
        load_encoder(EncoderConfig(name="hf-hub:someone/some-clip", cache_dir=str(tmp_path)))
    with pytest.raises(MissingAssetError, match="not found"):
        load_encoder(config(tmp_path / "absent.safetensors"))


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
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(tiny[0].read_bytes()[:3000])
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_encoder(config(damaged))
