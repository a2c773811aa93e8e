"""The embedded encoder's model file: an open_clip model with our own JSON configuration and a sparse token table.

Only the token rows that occur in pre-training are stored; the other rows are zero. A JSON sidecar holds the recipe, the declared
vocabulary, the metrics and the weights' sha256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from srcli.artifacts.core import atomic_write, parse_json, sidecar_path
from srcli.config.encoder import SEEN_ONLY
from srcli.errors import ArtifactError, MissingAssetError
from srcli.perception.encoders import tower
from srcli.perception.encoders.compat import import_open_clip
from srcli.types import U8

MODEL_NAME = "srcli-embedded"
FORMAT = 4
_READ = (3, FORMAT)
"""Files of format 3 know sentences of 24 tokens and two layers of text; they read as before."""
_HERE = Path(__file__).parent
SHIPPED = _HERE.parent / "weights" / "embedded.safetensors"
PACKAGED = {"embedded": SHIPPED, SEEN_ONLY: SHIPPED.with_name(f"embedded-{SEEN_ONLY}.safetensors")}
"""The weights in the package by name: of the whole catalogue, and of its seen objects alone."""
_MEAN, _STD = 0.45, 0.25
BLACK = -_MEAN / _STD
"""What black is in a scaled image."""
IMAGE_RECIPE = f"whole view, cells of 8 px, mean {_MEAN}, std {_STD}"
_EMBEDDING = "token_embedding.weight"
_POSITIONS = "positional_embedding"
_SECOND_LAYER, _THIRD_LAYER = "transformer.resblocks.1.", "transformer.resblocks.2."
_OLD_CONTEXT = 24
_ROWS = "token_rows"
_HEADER = "srcli"
_KEEP_FP32 = ("running_mean", "running_var", "logit_scale")


class _Header(BaseModel):
    """What is known of weights, stored in their file; the names are those of :func:`save_embedded`."""

    model_config = ConfigDict(strict=True)

    vocabulary: list[str]
    parents: list[str] = []
    taught: list[str] = []
    hides_unseen: bool = False


@dataclass(frozen=True)
class EmbeddedModel:
    """A loaded embedded encoder.

    Attributes:
        model: open_clip model in evaluation mode, fp32.
        tokenizer: texts to (B, context) ids.
        vocabulary: words that occur in pre-training.
        sha256: of the weights file.
        parents: of the weights that these were taught from, nearest last.
        taught: names of the user's objects that they were taught.
        hides_unseen: whether neither they nor their parents have learned from the objects of the unseen split.
    """

    model: Any
    tokenizer: Any
    vocabulary: frozenset[str]
    sha256: str
    parents: tuple[str, ...] = ()
    taught: tuple[str, ...] = ()
    hides_unseen: bool = False


def weights_file(name: str) -> Path:
    """The file of weights that a setting names: one of the package (nothing: of all categories), or a path."""
    return PACKAGED.get(name or "embedded") or Path(name)


def require_weights(path: Path) -> None:
    """Refuse a file that is not there (:class:`MissingAssetError`)."""
    if not path.is_file():
        raise MissingAssetError(
            f"encoder weights not found: {path}",
            f"the package has {' and '.join(repr(name) for name in PACKAGED)}; 'srcli pretrain encoder' makes others",
        )


def create_model() -> tuple[Any, Any]:
    """The untrained model and its tokenizer; parameters follow torch's generator state."""
    open_clip = import_open_clip()
    tower.register()
    open_clip.add_model_config(_HERE / f"{MODEL_NAME}.json")
    config = open_clip.get_model_config(MODEL_NAME)
    return open_clip.CLIP(**config), open_clip.get_tokenizer(MODEL_NAME)


def image_tensor(rgb: U8) -> Tensor:
    """(M, H, W, 3) uint8 to (M, 3, H, W) float32, centred and scaled, channels last in memory."""
    x = torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float()
    return x.div_(255.0).sub_(_MEAN).div_(_STD)


def dense_forward(model: Any, images: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, D, H / 8, W / 8): trunk features, projected cell by cell; not normalised."""
    features = model.visual.trunk.forward_features(images)
    weight = model.visual.head.proj.weight
    return torch.nn.functional.conv2d(features, weight[:, :, None, None])


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def save_embedded(
    state: dict[str, Tensor],
    rows: Sequence[int],
    vocabulary: Iterable[str],
    path: Path,
    sidecar: dict[str, Any],
    parents: Sequence[str] = (),
    taught: Sequence[str] = (),
    hides_unseen: bool = False,
) -> str:
    """Write weights (fp16, token rows sparse) with their vocabulary, and the JSON sidecar, each atomically.

    Args:
        state: state dict whose token table holds only the rows in use, in the order of ``rows``.
        rows: token ids of those rows, ascending.
        vocabulary: words that occurred in pre-training.
        path: ``*.safetensors``; the sidecar gets the suffix ``.json``.
        sidecar: recipe and metrics, for people; the format and the weights' sha256 are added.
        parents: sha256 of the weights that these were taught from, nearest last.
        taught: names of the user's objects that they were taught.
        hides_unseen: whether the objects of the unseen split were never shown or named.

    Returns:
        The sha256 of the weights file.
    """
    from safetensors.torch import save

    tensors = {}
    for key, value in state.items():
        wide = key.endswith(_KEEP_FP32) or not value.is_floating_point()
        tensors[key] = value.detach().cpu().contiguous().to(value.dtype if wide else torch.float16)
    tensors[_ROWS] = torch.tensor(list(rows), dtype=torch.int32)
    # One metadata entry: safetensors writes several in no fixed order, and equal weights have to be equal bytes.
    header: dict[str, Any] = {"format": FORMAT, "model": MODEL_NAME, "vocabulary": sorted(vocabulary)}
    if parents:
        header |= {"parents": list(parents), "taught": list(taught)}
    if hides_unseen:
        header["hides_unseen"] = True
    data = save(tensors, metadata={_HEADER: json.dumps(header, sort_keys=True)})
    digest = hashlib.sha256(data).hexdigest()
    text = json.dumps({"format": FORMAT, "model": MODEL_NAME, "sha256": digest, **sidecar}, indent=1, sort_keys=True) + "\n"
    for target, content in ((path, data), (sidecar_path(path), text.encode())):
        with atomic_write(target) as temporary:
            temporary.write_bytes(content)
    return digest


def expand_state(state: dict[str, Tensor], rows: Tensor, vocab_size: int) -> dict[str, Tensor]:
    """A state dict in fp32 with the full token table: the rows in use in their place, zeros elsewhere."""
    out = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    compact = out[_EMBEDDING]
    full = torch.zeros(vocab_size, compact.shape[1])
    full[rows.long()] = compact
    out[_EMBEDDING] = full
    return out


def _from_format_3(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """What such a file lacks, so that it reads as it did: a third layer of text that adds nothing, positions never reached."""
    out = dict(state)
    wanted = model.state_dict()
    stored = out[_POSITIONS]
    if len(stored) != _OLD_CONTEXT:
        raise KeyError(f"{len(stored)} positions, format 3 has {_OLD_CONTEXT}")
    out[_POSITIONS] = torch.zeros(len(wanted[_POSITIONS]), stored.shape[1], dtype=stored.dtype)
    out[_POSITIONS][:_OLD_CONTEXT] = stored
    for name in (name for name in wanted if name.startswith(_THIRD_LAYER)):
        before = out[name.replace(_THIRD_LAYER, _SECOND_LAYER)]
        adds = name.endswith(("out_proj.weight", "out_proj.bias", "c_proj.weight", "c_proj.bias"))
        out[name] = torch.zeros_like(before) if adds else before.clone()
    return out


def load_embedded(path: Path = SHIPPED) -> EmbeddedModel:
    """Read the weights.

    Raises:
        MissingAssetError: no such file.
        ArtifactError: the file is damaged, of another format, or not an embedded encoder.
    """
    from safetensors import SafetensorError, safe_open

    require_weights(path)
    hint = "make it anew with 'srcli pretrain encoder'"
    try:
        with safe_open(path, "pt") as stored:
            header = parse_json((stored.metadata() or {}).get(_HEADER, "{}"))
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118  not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"not a safetensors file: {path} ({_reason(error)})", hint) from error
    if not isinstance(header, dict) or header.get("model") != MODEL_NAME or not {_ROWS, _EMBEDDING} <= tensors.keys():
        raise ArtifactError(f"not weights of the embedded encoder: {path}", hint)
    if header.get("format") not in _READ:
        found = " ".join(str(header.get("format")).split())[:40]
        raise ArtifactError(f"{path} has format {found}, this version reads {' and '.join(map(str, _READ))}", hint)
    try:
        told = _Header.model_validate(header)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{path}: its header is damaged: {field}: {first['msg']}", hint) from error
    model, tokenizer = create_model()
    rows = tensors.pop(_ROWS)
    try:
        if header["format"] != FORMAT:
            tensors = _from_format_3(tensors, model)
            tokenizer = partial(tokenizer, context_length=_OLD_CONTEXT)
        if rows.ndim != 1 or rows.is_floating_point() or len(rows) != len(tensors[_EMBEDDING]) or int(rows.min()) < 0:
            raise IndexError("the numbers of its tokens are none, or not as many as its tokens")
        model.load_state_dict(expand_state(tensors, rows, model.vocab_size))
    except (RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} does not fit the model '{MODEL_NAME}'", _reason(error)) from error
    if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
        raise ArtifactError(f"{path} holds weights that are NaN or infinite", hint)
    model.eval().requires_grad_(False)
    model.visual.to(memory_format=torch.channels_last)
    parents, taught = tuple(told.parents), tuple(told.taught)
    return EmbeddedModel(model, tokenizer, frozenset(told.vocabulary), file_sha256(path), parents, taught, told.hides_unseen)


def _reason(error: Exception) -> str:
    """What an error says, as one short line."""
    lines = str(error).splitlines()
    return " ".join(lines[0].split())[:200] if lines else type(error).__name__
