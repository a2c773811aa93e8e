"""Where a CLIP's weights are, and what has to be known of them: activation, mean and std. No file of weights says these itself.

A tag of open_clip and a hub repository's configuration say them. For a local file the user says the tag, or what all tags of the
model agree on is taken; nothing is guessed, because wrong ones give features that look right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srcli.config.encoder import EncoderConfig
from srcli.errors import ArtifactError, ConfigError, MissingAssetError, unknown_name
from srcli.perception.encoders.reachable import Unreachable, check_hub
from srcli.perception.encoders.vit import check_config

HUB = "hf-hub:"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
_SETTINGS = "open_clip_config.json"
_FORMATS = (".safetensors", ".pt", ".bin", ".pth")
_Tag = Mapping[str, Any]
_Colours = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Source:
    """A weights file on this disk and the (3,) mean and standard deviation of the colours that it was trained on."""

    file: Path
    mean: Sequence[float]
    std: Sequence[float]


def named_weights(open_clip: Any, config: EncoderConfig) -> Source:
    """The weights of a model that open_clip knows: by tag from the hub's cache, or a local safetensors file.

    Raises:
        ConfigError: no weights given, or activation, mean or std wrong or not known.
        UnknownNameError: no such tag.
        MissingAssetError: the file is not there.
    """
    name, pretrained = config.name, config.pretrained
    if not pretrained:
        raise ConfigError(
            f"encoder.pretrained: '{name}' needs weights",
            f"say --encoder {name}/TAG (e.g. TAG = openai) or --encoder {name}=FILE with a .safetensors file",
        )
    tag = _tag(open_clip, name, pretrained)
    if tag is None:
        if Path(pretrained).suffix not in _FORMATS and "/" not in pretrained:
            raise unknown_name(f"pretrained tag of '{name}'", pretrained, open_clip.list_pretrained_tags_by_model(name))
        return _local(open_clip, config)
    if config.tag and config.tag != pretrained:
        raise ConfigError(
            f"encoder.tag: '{config.tag}' beside the tag '{pretrained}' in encoder.pretrained",
            "leave it empty: it is for local files",
        )
    _check_activation(open_clip, config, f"weights '{pretrained}'", _quick(tag))
    repo = "/".join(str(tag.get("hf_hub", "")).split("/")[:2])
    way = f"--encoder {name}=FILE" + ("" if _settled(open_clip, name) else f" -S encoder.tag={pretrained}")
    if "/" not in repo:
        raise MissingAssetError(
            f"the weights '{pretrained}' of '{name}' are not on the hub", f"get them as .safetensors and say {way}"
        )
    file, reason = _cached(config, repo, _WEIGHTS)
    if file is None:
        raise _absent(config, reason, (_address(repo, _WEIGHTS[0]),), f"save that file and say {way}")
    return Source(file, *(_said_colours(config) or (tuple(tag["mean"]), tuple(tag["std"]))))


def hub_weights(config: EncoderConfig) -> Source:
    """Configuration and weights of a hub repository, side by side in the cache or in the folder ``encoder.pretrained``.

    Raises:
        ConfigError: no repository's name, no dense route, or no mean and std.
        MissingAssetError: a file is not there.
        ArtifactError: the configuration cannot be read.
    """
    repo = config.name[len(HUB) :]
    _check_repository(repo)
    folder = Path(config.pretrained) if config.pretrained else None
    settings, reason = _find(config, repo, folder, (_SETTINGS,))
    colours: _Tag = {}
    if settings is not None:
        try:
            content = json.loads(settings.read_text("utf-8"))
            model, colours = dict(content["model_cfg"]), dict(content.get("preprocess_cfg", {}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{settings} is no open_clip configuration: {error}", "fetch it again") from error
        check_config(model, config.name)
    # Without the one the other is of no use, and what did not answer is not waited for again.
    fetch = config.download and settings is not None
    file, weights_reason = _find(config.model_copy(update={"download": fetch}), repo, folder, _WEIGHTS)
    if settings is None or file is None:
        missing = [name for name, found in ((_SETTINGS, settings), (_WEIGHTS[0], file)) if found is None]
        way = f"put {_SETTINGS} and {_WEIGHTS[0]} in a FOLDER and say --encoder {config.name}=FOLDER"
        raise _absent(config, reason or weights_reason, [_address(repo, name) for name in missing], way)
    said = _said_colours(config) or _colours(colours)
    if said is None:
        raise ConfigError(
            f"encoder.mean: {settings} does not say mean and std of the colours",
            "set encoder.mean and encoder.std; wrong ones make the features quietly wrong",
        )
    return Source(file, *said)


def _local(open_clip: Any, config: EncoderConfig) -> Source:
    """A weights file of the user's, with what is said or beyond doubt about how it was trained."""
    path, name = Path(config.pretrained), config.name
    if path.suffix != ".safetensors":
        raise ConfigError(
            f"encoder.pretrained: {path} is no .safetensors file (other formats can run code when loaded)",
            "convert it, or take the .safetensors of the same weights from the hub",
        )
    if not path.is_file():
        raise MissingAssetError(f"encoder weights not found: {path}", "check encoder.pretrained")
    tag = None
    if config.tag and (tag := _tag(open_clip, name, config.tag)) is None:
        raise unknown_name(f"tag of '{name}' (encoder.tag)", config.tag, open_clip.list_pretrained_tags_by_model(name))
    tags = open_clip.list_pretrained_tags_by_model(name)
    one_of = f"set encoder.tag to what the file is ({', '.join(tags)}), or " if tags else "set "
    trained = config.quickgelu if tag is None else _quick(tag)
    if trained is None:
        trained = _agreed_activation(open_clip, name)
    if trained is None:
        raise ConfigError(
            f"encoder.quickgelu: not said whether {path.name} was trained with QuickGELU",
            f"{one_of}encoder.quickgelu to true (all OpenAI weights) or false; a wrong choice makes the features quietly wrong",
        )
    _check_activation(open_clip, config, f"weights of {path.name}", trained)
    colours = _said_colours(config) or (_colours(tag) if tag is not None else _agreed_colours(open_clip, name))
    if colours is None:
        why = f"the tags of '{name}' differ in it" if tags else f"'{name}' has no tag that would tell"
        raise ConfigError(
            f"encoder.mean: not said which mean and std of the colours {path.name} was trained with, and {why}",
            f"{one_of}encoder.mean and encoder.std; wrong ones make the features quietly wrong",
        )
    return Source(path, *colours)


def _tag(open_clip: Any, name: str, tag: str) -> _Tag | None:
    """A tag's entry; weights of a base model are also found by the name with the other activation, to say which is right."""
    base = name.removesuffix("-quickgelu")
    for model in (name, base, f"{base}-quickgelu"):
        if found := open_clip.get_pretrained_cfg(model, tag):
            return {**found, "quick_gelu": bool(found.get("quick_gelu", False)) or tag == "openai"}
    return None


def _tags(open_clip: Any, name: str) -> list[_Tag]:
    found = (_tag(open_clip, name, tag) for tag in open_clip.list_pretrained_tags_by_model(name))
    return [tag for tag in found if tag is not None]


def _quick(config: _Tag) -> bool:
    """Whether a tag was trained with QuickGELU, or a model's configuration computes it."""
    return bool(config.get("quick_gelu", False))


def _one(values: Iterable[Any]) -> Any:
    """The value that all are equal to; None if there is no such."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def _agreed_activation(open_clip: Any, name: str) -> bool | None:
    said: bool | None = True if name.endswith("-quickgelu") else _one(_quick(tag) for tag in _tags(open_clip, name))
    return said


def _colours(config: _Tag) -> _Colours | None:
    mean, std = config.get("mean"), config.get("std")
    return (tuple(mean), tuple(std)) if mean and std else None


def _said_colours(config: EncoderConfig) -> _Colours | None:
    return (config.mean, config.std) if config.mean and config.std else None


def _agreed_colours(open_clip: Any, name: str) -> _Colours | None:
    """Mean and std of all tags that have the model's activation; None where they differ or there are none."""
    quick = _quick(open_clip.get_model_config(name) or {})
    said: _Colours | None = _one(_colours(tag) for tag in _tags(open_clip, name) if _quick(tag) == quick)
    return said


def _settled(open_clip: Any, name: str) -> bool:
    """Whether a local file of this model needs no further words."""
    return _agreed_activation(open_clip, name) is not None and _agreed_colours(open_clip, name) is not None


def _activation(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"


def _check_activation(open_clip: Any, config: EncoderConfig, what: str, trained: bool) -> None:
    """Refuse a model that computes another activation than its weights were trained with, and words against a tag's."""
    name, computed = config.name, _quick(open_clip.get_model_config(config.name) or {})
    if trained != computed:
        base = name.removesuffix("-quickgelu")
        raise ConfigError(
            f"encoder.name: the {what} were trained with {_activation(trained)}, '{name}' computes {_activation(computed)}: "
            "its features would be quietly wrong",
            f"use encoder.name: {base}-quickgelu" if trained else f"use encoder.name: {base}",
        )
    if config.quickgelu is not None and config.quickgelu != trained:
        raise ConfigError(
            f"encoder.quickgelu: {str(config.quickgelu).lower()}, but the {what} were trained with {_activation(trained)}",
            "leave it null where a tag says it",
        )


def _check_repository(repo: str) -> None:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repo, re.ASCII):
        raise ConfigError(f"encoder.name: '{HUB}{repo}' names no repository", f"say {HUB}ORG/REPO, e.g. {HUB}timm/some-clip")


def _address(repo: str, name: str) -> str:
    return f"https://huggingface.co/{repo}/resolve/main/{name}"


def _absent(config: EncoderConfig, reason: str, addresses: Sequence[str], way: str) -> MissingAssetError:
    """What is missing, where it was looked for, and the ways to supply it that have not just failed."""
    from huggingface_hub.constants import HF_HUB_CACHE

    place = config.pretrained if config.name.startswith(HUB) and config.pretrained else config.cache_dir or HF_HUB_CACHE
    online = "check the network, its proxy and the access" if config.download else "with a network: -S encoder.download=true"
    return MissingAssetError(
        f"weights of '{config.name}' are not on this disk ({reason}; looked in {place}): {' and '.join(addresses)}",
        f"{online}; otherwise {way}",
    )


def _find(config: EncoderConfig, repo: str, folder: Path | None, names: Sequence[str]) -> tuple[Path | None, str]:
    """The first of some files in a folder of the user's, or as :func:`_cached`."""
    if folder is None:
        return _cached(config, repo, names)
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    return found, "" if found else f"no {names[0]} in that folder"


def _cached(config: EncoderConfig, repo: str, names: Sequence[str]) -> tuple[Path | None, str]:
    """The first of some files of a repository, from the cache, or from the hub when downloading is allowed; else why not."""
    from huggingface_hub import hf_hub_download

    reason = "downloading is off"
    for local in (True, False) if config.download else (True,):
        if not local:
            try:
                check_hub()
            except Unreachable as error:
                return None, str(error)
        for name in names:
            try:
                found = hf_hub_download(repo, name, cache_dir=config.cache_dir or None, local_files_only=local, etag_timeout=5)
                return Path(found), ""
            except Exception as error:  # offline, no such file, no permission: the hub has one class for each
                reason = f"the hub said: {type(error).__name__}" if not local else reason
    return None, reason
