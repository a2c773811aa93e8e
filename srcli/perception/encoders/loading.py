"""From the ``encoder`` section to an encoder; every way in which weights can be missing or wrong is said here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from srcli.config.encoder import EncoderConfig
from srcli.errors import ArtifactError, ConfigError, MissingAssetError, unknown_name
from srcli.perception.encoders.compat import import_open_clip
from srcli.perception.encoders.conv import ConvEncoder
from srcli.perception.encoders.embedded import MODEL_NAME, file_sha256, load_embedded, weights_file
from srcli.perception.encoders.interface import Encoder, EncoderIdentity
from srcli.perception.encoders.vit import VitEncoder, check_tower

_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
_HUB = "hf-hub:"


@dataclass(frozen=True)
class _Source:
    """A weights file on this disk and how its images are normalised (None: as the model's configuration says)."""

    file: Path
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None


def load_encoder(config: EncoderConfig, device: str = "cpu") -> Encoder:
    """The encoder that the configuration names. Nothing is downloaded unless ``encoder.download`` is set.

    Raises:
        ConfigError: name, tag and activation do not fit together, or the tower has no dense route.
        UnknownNameError: no such model or tag.
        MissingAssetError: weights are not on this disk; says what to fetch and where to put it.
        ArtifactError: the weights file is damaged or belongs to another model.
    """
    if config.name == "embedded":
        loaded = load_embedded(weights_file(config.pretrained))
        context = int(loaded.model.context_length)
        if config.max_tokens > context:
            raise ConfigError(
                f"encoder.max_tokens: {config.max_tokens} is more than the embedded encoder's {context}", f"at most {context}"
            )
        return ConvEncoder(loaded, config.name, config.max_tokens, device)
    return _load_vit(config, device)


def _load_vit(config: EncoderConfig, device: str) -> VitEncoder:
    open_clip = import_open_clip()
    if config.name.startswith(_HUB):
        source, model_name = _hub(config, config.name[len(_HUB) :]), config.name
        model, tokenizer = _create(open_clip, config, f"local-dir:{source.file.parent}", source.file, None)
    else:
        model_name = config.name
        if model_name not in open_clip.list_models() or model_name == MODEL_NAME:
            known = ["embedded", *(m for m in open_clip.list_models() if m.startswith("ViT") and m != MODEL_NAME)]
            raise unknown_name("encoder", model_name, known)
        source = _named(open_clip, config)
        model, tokenizer = _create(open_clip, config, model_name, source.file, str(source.file))
    check_tower(model.visual, model_name)
    preprocess = getattr(model.visual, "preprocess_cfg", {})
    mean = tuple(source.mean or preprocess.get("mean") or open_clip.OPENAI_DATASET_MEAN)
    std = tuple(source.std or preprocess.get("std") or open_clip.OPENAI_DATASET_STD)
    size = config.image_size or int(model.visual.image_size[0])
    precision = _precision(config, device)
    tiles = " + ".join(f"{r}x{c}" for r, c in config.tiles)
    image = f"tiles {tiles}, short side {size} px, mean {_plain(mean)}, std {_plain(std)}"
    max_tokens = min(config.max_tokens, int(getattr(model, "context_length", config.max_tokens)))
    dim = int(model.visual.proj.shape[1])
    identity = EncoderIdentity(_label(config), file_sha256(source.file), dim, "maskclip", image, precision, max_tokens)
    return VitEncoder(model, tokenizer, identity, config.tiles, size, mean, std, device)


def _label(config: EncoderConfig) -> str:
    # A file's path says nothing about its content and differs between machines; its sha256 stands beside the name.
    tag = "file" if Path(config.pretrained).suffix == ".safetensors" else config.pretrained
    return f"{config.name}/{tag}" if tag else config.name


def _activation(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"


def _plain(values: Sequence[float]) -> str:
    return ",".join(f"{v:.6g}" for v in values)


def _precision(config: EncoderConfig, device: str) -> str:
    if config.precision != "auto":
        return config.precision
    if device != "cpu":
        return "bf16"
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return "bf16" if supported is not None and bool(supported()) else "fp32"


def _create(open_clip: Any, config: EncoderConfig, name: str, file: Path, pretrained: str | None) -> tuple[Any, Any]:
    """Model with weights, and tokenizer."""
    try:
        model = open_clip.create_model(name, pretrained=pretrained, cache_dir=config.cache_dir or None)
        tokenizer = open_clip.get_tokenizer(name, cache_dir=config.cache_dir or None)
    except Exception as error:  # open_clip raises whatever its many loaders raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ArtifactError(
            f"{file} cannot be loaded as '{config.name}': {reason}", "check that the weights belong to this model"
        ) from error
    return model, tokenizer


def _named(open_clip: Any, config: EncoderConfig) -> _Source:
    """The weights of a built-in model: a tag or a local safetensors file."""
    name, pretrained = config.name, config.pretrained
    if not pretrained:
        raise ConfigError(
            f"encoder.pretrained: '{name}' needs weights", "give a tag (e.g. 'openai') or the path of a .safetensors file"
        )
    quick = bool((open_clip.get_model_config(name) or {}).get("quick_gelu", False))
    tags = open_clip.list_pretrained_tags_by_model(name)
    base = name.removesuffix("-quickgelu")
    tag = open_clip.get_pretrained_cfg(name, pretrained) or open_clip.get_pretrained_cfg(base, pretrained)
    if not tag and Path(pretrained).suffix not in (".safetensors", ".pt", ".bin", ".pth") and "/" not in pretrained:
        raise unknown_name(f"pretrained tag of '{name}'", pretrained, tags)
    if not tag:
        return _local(config, quick)
    trained_quick = bool(tag.get("quick_gelu", False)) or pretrained == "openai"
    if trained_quick != quick:
        right = f"{base}-quickgelu" if trained_quick else base
        raise ConfigError(
            f"encoder.name: the weights '{pretrained}' were trained with {_activation(trained_quick)}, '{name}' computes "
            f"{_activation(quick)}: its features would be quietly wrong",
            f"use encoder.name: {right}",
        )
    repo = str(tag.get("hf_hub", "")).split("/")
    if len(repo) < 2:
        raise MissingAssetError(
            f"the weights '{pretrained}' of '{name}' are not on the hub", "get them as .safetensors, encoder.pretrained: PATH"
        )
    return _Source(_hub_file(config, "/".join(repo[:2]), _WEIGHTS), tag.get("mean"), tag.get("std"))


def _local(config: EncoderConfig, quick: bool) -> _Source:
    """A weights file of the user's. Nothing in it tells which activation it was trained with: the user has to say it."""
    path = Path(config.pretrained)
    if path.suffix != ".safetensors":
        raise ConfigError(
            f"encoder.pretrained: {path} is no .safetensors file (other formats can run code when loaded)",
            "convert it, or take the .safetensors of the same weights from the hub",
        )
    if not path.is_file():
        raise MissingAssetError(f"encoder weights not found: {path}", "check encoder.pretrained")
    if config.quickgelu is None:
        raise ConfigError(
            f"encoder.quickgelu: not said whether {path.name} was trained with QuickGELU",
            "set it to true (all OpenAI weights) or false; a wrong choice makes the features quietly wrong",
        )
    if config.quickgelu != quick:
        base = config.name.removesuffix("-quickgelu")
        right = f"{base}-quickgelu" if config.quickgelu else base
        raise ConfigError(
            f"encoder.name: '{config.name}' computes {_activation(quick)}, encoder.quickgelu is {str(config.quickgelu).lower()}",
            f"use encoder.name: {right}",
        )
    return _Source(path)


def _hub(config: EncoderConfig, repo: str) -> _Source:
    """Configuration and weights of a hub repository, side by side in the cache."""
    _hub_file(config, repo, ("open_clip_config.json",))
    return _Source(_hub_file(config, repo, _WEIGHTS))


def _hub_file(config: EncoderConfig, repo: str, names: Sequence[str]) -> Path:
    """The first of some files of a repository, from the cache, or from the hub when downloading is allowed."""
    from huggingface_hub import hf_hub_download

    reason = "downloading is off"
    for local in (True, False) if config.download else (True,):
        for name in names:
            try:
                found = hf_hub_download(repo, name, cache_dir=config.cache_dir or None, local_files_only=local, etag_timeout=5)
                return Path(found)
            except Exception as error:  # offline, no such file, no permission: the hub has one class for each
                reason = f"the hub said: {type(error).__name__}" if not local else reason
    raise MissingAssetError(
        f"weights of '{config.name}' are not on this disk ({reason}): https://huggingface.co/{repo}/resolve/main/{names[0]}",
        "set encoder.download: true with a network, or fetch the file elsewhere and set encoder.pretrained to its path",
    )
