"""From the ``encoder`` section to an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from srcli.config.encoder import EncoderConfig
from srcli.errors import ArtifactError, ConfigError, unknown_name
from srcli.perception.encoders.compat import import_open_clip
from srcli.perception.encoders.conv import ConvEncoder
from srcli.perception.encoders.embedded import MODEL_NAME, file_sha256, load_embedded, weights_file
from srcli.perception.encoders.interface import Encoder, EncoderIdentity
from srcli.perception.encoders.vit import VitEncoder, check_config, check_tower, is_readable
from srcli.perception.encoders.weights import HUB, hub_weights, named_weights


class _NoInitialisation(TorchFunctionMode):
    """Leaves new parameters unset: every one is then read from the file (strictly), and drawing them takes longer than that."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


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
    precision = choose_precision(config.precision, device, has_bf16(device))
    if config.name.startswith(HUB):
        source = hub_weights(config)
        model, tokenizer = _create(open_clip, config, f"local-dir:{source.file.parent}", source.file, None)
    else:
        name = config.name
        if name not in open_clip.list_models() or name == MODEL_NAME:
            readable = [m for m in open_clip.list_models() if is_readable(open_clip.get_model_config(m))]
            raise unknown_name("encoder", name, ["embedded", *readable])
        check_config(open_clip.get_model_config(name), name)
        source = named_weights(open_clip, config)
        model, tokenizer = _create(open_clip, config, name, source.file, str(source.file))
    check_tower(model.visual, config.name)
    size = config.image_size or int(model.visual.image_size[0])
    tiles = " + ".join(f"{r}x{c}" for r, c in config.tiles)
    image = f"tiles {tiles}, short side {size} px, mean {_plain(source.mean)}, std {_plain(source.std)}"
    max_tokens = min(config.max_tokens, int(getattr(model, "context_length", config.max_tokens)))
    dim = int(model.visual.proj.shape[1])
    identity = EncoderIdentity(_label(config), file_sha256(source.file), dim, "maskclip", image, precision, max_tokens)
    return VitEncoder(model, tokenizer, identity, config.tiles, size, source.mean, source.std, device)


def _label(config: EncoderConfig) -> str:
    # A path says nothing about its content and differs between machines; the file's sha256 stands beside the name.
    if not config.pretrained or config.name.startswith(HUB):
        return config.name
    return f"{config.name}/{'file' if Path(config.pretrained).suffix == '.safetensors' else config.pretrained}"


def _plain(values: Sequence[float]) -> str:
    return ",".join(f"{v:.6g}" for v in values)


def choose_precision(asked: str, device: str, bf16: bool) -> str:
    """The arithmetic of the image tower: "fp32", "bf16" or "fp16".

    Args:
        asked: ``encoder.precision``.
        device: torch device.
        bf16: whether it has bf16 instructions.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    on_cpu = device.startswith("cpu")
    if asked == "fp16" and on_cpu:
        raise ConfigError(
            "encoder.precision: fp16 is for GPUs, a CPU has no fast arithmetic for it", "take auto, fp32 or bf16 on a CPU"
        )
    if asked != "auto":
        return asked
    return "bf16" if bf16 else "fp32" if on_cpu else "fp16"


def has_bf16(device: str) -> bool:
    """Whether a device computes bf16 itself; PyTorch can also emulate it, slowly."""
    if device.startswith("cuda"):
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return device.startswith("cpu") and supported is not None and bool(supported())


def _create(open_clip: Any, config: EncoderConfig, name: str, file: Path, pretrained: str | None) -> tuple[Any, Any]:
    """Model with weights, and tokenizer."""
    try:
        with _NoInitialisation():
            model = open_clip.create_model(
                name, pretrained=pretrained, cache_dir=config.cache_dir or None, require_pretrained=True
            )
        tokenizer = open_clip.get_tokenizer(name, cache_dir=config.cache_dir or None)
    except Exception as error:  # open_clip raises whatever its many loaders raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ArtifactError(
            f"{file} cannot be loaded as '{config.name}': {reason}", "check that the weights belong to this model"
        ) from error
    return model, tokenizer
