"""Real CLIP towers through the same loading code, with a tiny random ViT saved to a file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from srcli.cli.running import encoder_flags, parameters
from srcli.config.encoder import EncoderConfig
from srcli.errors import ArtifactError, ConfigError, MissingAssetError, UnknownNameError
from srcli.params.loading import load_params
from srcli.perception.encoders import weights
from srcli.perception.encoders.compat import import_open_clip
from srcli.perception.encoders.loading import choose_precision, has_bf16, load_encoder
from srcli.perception.encoders.vit import check_tower, is_readable, position_embedding, value_features
from srcli.perception.encoders.weights import Source, named_weights

TINY = "ViT-srcli-tiny-quickgelu"
PLAIN = "ViT-srcli-tiny"
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
ODD = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


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
    (folder / "model_cfg.txt").write_text(json.dumps({**config, "quick_gelu": True}))
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


@pytest.fixture
def tags(monkeypatch):
    """Gives a model tags: ``tags(name, tag=(colours, quickgelu))``."""
    known = import_open_clip().pretrained._PRETRAINED

    def give(name, **entries):
        hub = {"hf_hub": "someone/tiny-clip/", "url": ""}
        entry = {tag: {**hub, "mean": c[0], "std": c[1], "quick_gelu": q} for tag, (c, q) in entries.items()}
        monkeypatch.setitem(known, name, entry)

    return give


def config(path, **changes):
    said = {"mean": OPENAI[0], "std": OPENAI[1]} if "tag" not in changes and "mean" not in changes else {}
    values = {"name": TINY, "pretrained": str(path), "tiles": [[2, 3]], "precision": "fp32", **said, **changes}
    return EncoderConfig(**values)


def colours(encoder):
    """Mean and standard deviation by which an encoder's identity names its images."""
    numbers = re.search(r"mean (\S+), std (\S+)$", encoder.identity.image)
    return tuple(tuple(float(v) for v in part.split(",")) for part in numbers.groups())


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


def test_quickgelu_trap_is_refused(tiny, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="quietly wrong") as caught:
        load_encoder(EncoderConfig(name="ViT-L-14", pretrained="openai"))
    assert "ViT-L-14-quickgelu" in caught.value.hint
    with pytest.raises(ConfigError, match="quietly wrong") as caught:
        load_encoder(EncoderConfig(name="ViT-B-32-quickgelu", pretrained="laion2b_s34b_b79k"))
    assert caught.value.hint.endswith("ViT-B-32")
    with pytest.raises(ConfigError, match="not said"):
        load_encoder(config(tiny[0], name=PLAIN))
    with pytest.raises(ConfigError, match="computes GELU") as caught:
        load_encoder(config(tiny[0], name=PLAIN, quickgelu=True))
    assert caught.value.hint.endswith(TINY)
    with pytest.raises(ConfigError, match="computes QuickGELU") as caught:
        load_encoder(config(tiny[0], quickgelu=False))
    assert caught.value.hint.endswith(PLAIN)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tag": "half"}, HALF),
        ({"tag": "odd"}, ODD),
        ({"mean": ODD[0], "std": ODD[1]}, ODD),
        ({"mean": ODD[0], "std": ODD[1], "tag": "half"}, ODD),
    ],
)
def test_a_local_file_takes_the_colours_of_its_tag(tiny, tags, given, expected):
    tags(PLAIN, half=(HALF, False), odd=(ODD, False), quick=(OPENAI, True))
    said = {"quickgelu": False} if "tag" not in given else {}
    encoder = load_encoder(config(tiny[0], name=PLAIN, **said, **given))
    assert np.allclose(colours(encoder), expected)
    grey = np.full((1, 64, 96, 3), 128, np.uint8)
    other = load_encoder(config(tiny[0], name=PLAIN, quickgelu=False)).dense(grey).values
    assert not np.allclose(encoder.dense(grey).values, other, atol=1e-3), "colours reach the features"


def test_colours_that_tags_agree_on_need_no_words(tiny, tags):
    tags(TINY, own=(HALF, True), other=(HALF, True))
    assert colours(load_encoder(EncoderConfig(name=TINY, pretrained=str(tiny[0])))) == HALF
    tags(PLAIN, own=(ODD, False), other=(ODD, False))  # neither name nor setting says the activation: all tags do
    assert np.allclose(colours(load_encoder(EncoderConfig(name=PLAIN, pretrained=str(tiny[0])))), ODD)
    tags(PLAIN, own=(ODD, False), quick=(HALF, True))  # a tag of the other activation cannot be this model's
    assert np.allclose(colours(load_encoder(EncoderConfig(name=PLAIN, pretrained=str(tiny[0]), quickgelu=False))), ODD)


def test_colours_that_nothing_tells_are_refused(tiny, tags):
    tags(PLAIN, half=(HALF, False), odd=(ODD, False))
    with pytest.raises(ConfigError, match="tags of 'ViT-srcli-tiny' differ") as caught:
        load_encoder(EncoderConfig(name=PLAIN, pretrained=str(tiny[0])))
    assert "encoder.tag" in caught.value.hint and "half, odd" in caught.value.hint and "encoder.mean" in caught.value.hint
    with pytest.raises(ConfigError, match="has no tag that would tell"):
        load_encoder(EncoderConfig(name=TINY, pretrained=str(tiny[0])))
    with pytest.raises(UnknownNameError, match=r"'hlaf'") as caught:
        load_encoder(config(tiny[0], name=PLAIN, tag="hlaf"))
    assert "did you mean 'half'" in caught.value.hint
    with pytest.raises(ConfigError, match="were trained with GELU"):
        load_encoder(config(tiny[0], name=PLAIN, tag="half", quickgelu=True))
    with pytest.raises(ConfigError, match=r"beside the tag 'odd'"):
        load_encoder(EncoderConfig(name=PLAIN, pretrained="odd", tag="half"))
    with pytest.raises(ConfigError, match="together"):
        parameters(None, (), ["encoder.mean=[0.5, 0.5, 0.5]"])
    both = parameters(None, (), ["encoder.mean=[0.5, 0.5, 0.5]", "encoder.std=[0.25, 0.25, 0.25]"]).encoder
    assert both.mean == (0.5, 0.5, 0.5) and both.std == (0.25, 0.25, 0.25)


def test_files_of_the_models_of_open_clip(tmp_path):
    open_clip, file = import_open_clip(), tmp_path / "weights.safetensors"
    file.write_bytes(b"not read")
    for name, said, expected in (
        ("ViT-L-14-quickgelu", {}, OPENAI),
        ("ViT-B-16", {"quickgelu": False}, OPENAI),
        ("ViT-L-14", {"tag": "laion2b_s32b_b82k"}, HALF),
        ("ViT-L-14", {"tag": "laion400m_e32"}, OPENAI),
    ):
        source = named_weights(open_clip, EncoderConfig(name=name, pretrained=str(file), **said))
        assert source == Source(file, *expected), name
    with pytest.raises(ConfigError, match="tags of 'ViT-L-14' differ") as caught:
        named_weights(open_clip, EncoderConfig(name="ViT-L-14", pretrained=str(file), quickgelu=False))
    assert "laion2b_s32b_b82k" in caught.value.hint
    with pytest.raises(ConfigError, match="not said whether"):
        named_weights(open_clip, EncoderConfig(name="ViT-B-16", pretrained=str(file)))


def hub_folder(folder, tiny_path, preprocess):
    """The files of a hub repository with the tiny model."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"model_cfg": json.loads((tiny_path.parent / "model_cfg.txt").read_text()), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    (folder / "open_clip_model.safetensors").write_bytes(tiny_path.read_bytes())


def follow(hint, placeholder, path):
    """The parameters that a hint's flags give, with its placeholder replaced by a path."""
    told = re.search(rf"--encoder (\S+={placeholder})((?: -S \S+)*)", hint)
    assert told, hint
    encoder = told[1].replace(placeholder, str(path))
    assignments = [*re.findall(r"-S (\S+)", told[2]), "encoder.tiles=[[1, 1]]"]
    return parameters(None, encoder_flags(encoder), assignments).encoder


@pytest.mark.parametrize("name", [TINY, PLAIN])
def test_the_hint_for_absent_weights_of_a_tag_works(tiny, tags, tmp_path, name):
    tags(TINY, own=(HALF, True))
    tags(PLAIN, own=(HALF, False), other=(ODD, False))
    with pytest.raises(MissingAssetError, match=r"huggingface\.co/someone/tiny-clip/resolve/main/open_clip_model") as caught:
        load_encoder(EncoderConfig(name=name, pretrained="own", cache_dir=str(tmp_path)))
    assert str(tmp_path) in caught.value.message and "-S encoder.download=true" in caught.value.hint
    assert ("encoder.tag=own" in caught.value.hint) == (name == PLAIN), "only where the file needs more words"
    encoder = load_encoder(follow(caught.value.hint, "FILE", tiny[0]))
    assert colours(encoder) == HALF and encoder.identity.name == f"{name}/file"


def test_the_hint_for_an_absent_hub_repository_works(tiny, tmp_path):
    name, preprocess = "hf-hub:someone/some-clip", {"mean": ODD[0], "std": ODD[1]}
    with pytest.raises(MissingAssetError, match=r"open_clip_config\.json and \S+/open_clip_model\.safetensors") as caught:
        load_encoder(EncoderConfig(name=name, cache_dir=str(tmp_path)))
    hub_folder(tmp_path / "own", tiny[0], preprocess)
    encoder = load_encoder(follow(caught.value.hint, "FOLDER", tmp_path / "own"))
    assert np.allclose(colours(encoder), ODD) and encoder.identity.name == name, "a path is no part of the identity"
    (tmp_path / "own" / "open_clip_model.safetensors").unlink()
    with pytest.raises(MissingAssetError, match=r"looked in \S+own\): \S+/open_clip_model\.safetensors$"):
        load_encoder(EncoderConfig(name=name, pretrained=str(tmp_path / "own")))


def test_a_failed_download_is_not_recommended_again(tiny, tags, tmp_path, monkeypatch):
    import huggingface_hub

    def offline(*_, **__):
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    monkeypatch.setattr(weights, "check_hub", lambda: None)
    tags(TINY, own=(HALF, True))
    for name, pretrained in ((TINY, "own"), ("hf-hub:someone/some-clip", "")):
        with pytest.raises(MissingAssetError, match="ConnectionError") as caught:
            load_encoder(EncoderConfig(name=name, pretrained=pretrained, cache_dir=str(tmp_path), download=True))
        assert (
            "download" not in caught.value.hint and "network" in caught.value.hint and f"--encoder {name}=" in caught.value.hint
        )


def test_the_documents_encoder_is_fetched_and_looks(tiny, tmp_path, monkeypatch):
    """As it is printed; the hub is asked for the weights of the tag, and what it gives is a tower that tests can carry."""
    import huggingface_hub

    document = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
    printed = re.search(r"^## An encoder\n.*?```yaml\n(.*?)```", document, re.MULTILINE | re.DOTALL)
    (tmp_path / "params.yaml").write_text(printed.group(1))
    section = load_params(tmp_path / "params.yaml").encoder
    open_clip, asked = import_open_clip(), []

    def hub(repo, name, local_files_only, **_):
        if local_files_only:
            raise FileNotFoundError(name)
        asked.append(repo)
        return str(tiny[0])

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    monkeypatch.setattr(weights, "check_hub", lambda: None)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, section.name, open_clip.get_model_config(TINY))
    encoder = load_encoder(section)
    assert asked == ["timm/vit_base_patch16_clip_224.openai"] and encoder.identity.name == "ViT-B-16-quickgelu/openai"
    rgb = np.random.default_rng(0).integers(0, 256, (1, 48, 64, 3), dtype=np.uint8)
    (heard,) = encoder.text(["give me the apple"])
    assert encoder.dense(rgb).values.shape[-1] == encoder.dim == heard.pooled.shape[-1] == 16


def test_missing_weights_say_what_to_fetch(tiny, tmp_path):
    with pytest.raises(MissingAssetError, match=r"huggingface\.co/timm/vit_large_patch14_clip_224\.openai") as caught:
        load_encoder(EncoderConfig(name="ViT-L-14-quickgelu", pretrained="openai", cache_dir=str(tmp_path)))
    assert caught.value.hint.endswith("--encoder ViT-L-14-quickgelu=FILE") and "download" in caught.value.hint
    with pytest.raises(MissingAssetError, match="not on this disk"):
        load_encoder(EncoderConfig(name="hf-hub:someone/some-clip", cache_dir=str(tmp_path)))
    with pytest.raises(MissingAssetError, match="not found"):
        load_encoder(config(tmp_path / "absent.safetensors"))


def test_a_hub_repository_in_the_cache(tiny, tmp_path):
    path, model = tiny
    repository = tmp_path / "models--someone--some-clip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    hub_folder(snapshot, path, {"mean": ODD[0], "std": ODD[1]})
    given = EncoderConfig(name="hf-hub:someone/some-clip", cache_dir=str(tmp_path), tiles=((2, 3),), precision="fp32")
    encoder = load_encoder(given)
    assert np.allclose(colours(encoder), ODD) and encoder.identity.name == given.name
    rgb = np.random.default_rng(4).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ODD)
    tile = (torch.from_numpy(rgb[0, :32, :32]).permute(2, 0, 1).float() / 255 - mean) / std
    with torch.no_grad():
        expected = slow_reference(model.visual, tile).numpy()
    assert np.allclose(encoder.dense(rgb).values[0, :4, :4], expected, atol=1e-4)
    hub_folder(snapshot, path, {})
    with pytest.raises(ConfigError, match="does not say mean and std"):
        load_encoder(given)
    (snapshot / "open_clip_config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="no open_clip configuration"):
        load_encoder(given)
    settings = {"model_cfg": import_open_clip().get_model_config("RN50")}
    (snapshot / "open_clip_config.json").write_text(json.dumps(settings))
    (snapshot / "open_clip_model.safetensors").unlink()
    with pytest.raises(ConfigError, match="no MaskCLIP route"):
        load_encoder(given)


@pytest.mark.parametrize("name", ["hf-hub:", "hf-hub:a/b/c", "hf-hub:a b"])
def test_a_hub_name_has_to_be_one(name):
    with pytest.raises(ConfigError, match="names no repository"):
        load_encoder(EncoderConfig(name=name))


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
