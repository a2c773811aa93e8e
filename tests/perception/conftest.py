"""A cache of painted scenes for the tests of pre-training, and a tiny tower of CLIP."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from tiny_towers import PLAIN, TINY

from srcli.perception.encoders.compat import import_open_clip


@pytest.fixture(scope="session")
def painted(tmp_path_factory):
    from pretraining_toys import painted_shard

    folder = tmp_path_factory.mktemp("cache")
    painted_shard(folder / "train", 20)
    for split in ("seen", "unseen"):
        painted_shard(folder / f"valid_{split}", 4, seed=1)
    return folder


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
