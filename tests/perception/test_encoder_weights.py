"""Where the weights of CLIP towers come from: files, tags and the hub, their colours, and hints that work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_towers import HALF, ODD, OPENAI, PLAIN, TINY, colours, config, slow_reference

from srcli.cli.running import encoder_flags, parameters
from srcli.config.encoder import EncoderConfig
from srcli.errors import ArtifactError, ConfigError, MissingAssetError, UnknownNameError
from srcli.params.loading import load_params
from srcli.perception.encoders import weights
from srcli.perception.encoders.compat import import_open_clip
from srcli.perception.encoders.loading import load_encoder
from srcli.perception.encoders.weights import Source, named_weights


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
