"""The adapter of a CLIP vision transformer: MaskCLIP's dense features on image tiles.

MaskCLIP (Zhou et al. 2022, "Extract Free Dense Labels from CLIP") keeps, in the last block, only the value and the output
projection: each patch then carries its own content into the joint space instead of the attention-weighted mean of all patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srcli.errors import ConfigError
from srcli.perception.encoders.conv import check_images
from srcli.perception.encoders.interface import DenseFeatures, EncoderIdentity
from srcli.perception.encoders.text import SentenceReader
from srcli.types import U8, TextEmbedding

#: Tiles at once on a CPU: on one core the number does not matter, on several a batch shares their waiting for each other. More
#: than a view of 3 x 4 tiles only takes memory (some 100 MB per batch of ViT-L/14). A GPU takes all tiles of all views.
_BATCH = 12
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PLAIN = "take a plain CLIP ViT, e.g. 'ViT-L-14-quickgelu' with pretrained 'openai', or 'embedded'"


def _refusal(config: Mapping[str, Any]) -> str:
    """Why a model of this open_clip configuration cannot be read; empty if it can."""
    vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    plain = "timm_model_name" not in vision and isinstance(vision.get("layers", 12), int) and not vision.get("attentional_pool")
    if not plain:
        return "image tower of '{}' has no MaskCLIP route"
    # Sentences are read at the end mark of a causal transformer, which is the largest token id: argmax pooling.
    foreign = "hf_model_name" in text or "multimodal_cfg" in config or text.get("no_causal_mask", False)
    if foreign or text.get("pool_type", "argmax") != "argmax":
        return "text tower of '{}' is not CLIP's causal one, its sentences would be read at the wrong token"
    return ""


def is_readable(config: Mapping[str, Any]) -> bool:
    """Whether both towers of an open_clip model configuration can be read."""
    return not _refusal(config)


def check_config(config: Mapping[str, Any], name: str) -> None:
    """Refuse a model by its open_clip configuration, before any weights are asked for.

    Raises:
        ConfigError: no plain vision transformer, or no causal text transformer pooled at the end mark.
    """
    if reason := _refusal(config):
        raise ConfigError(f"encoder.name: the {reason.format(name)}", _PLAIN)


def check_tower(visual: Any, name: str) -> None:
    """Refuse towers in which the value route is not defined.

    Raises:
        ConfigError: no open_clip vision transformer with plain attention and a projection.
    """
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", None)
    plain = blocks is not None and len(blocks) > 0 and isinstance(getattr(blocks[-1], "attn", None), torch.nn.MultiheadAttention)
    if not plain or getattr(visual, "attn_pool", None) is not None or getattr(visual, "proj", None) is None:
        raise ConfigError(f"encoder.name: the image tower of '{name}' has no MaskCLIP route", _PLAIN)


def position_embedding(visual: Any, grid: tuple[int, int]) -> Tensor:
    """(1 + h w, width): the learnt positions, the patches' part resampled (bicubic) to another grid."""
    learnt: Tensor = visual.positional_embedding
    if grid == tuple(visual.grid_size):
        return learnt
    first, rest = learnt[:1], learnt[1:]
    square = rest.float().reshape(1, *visual.grid_size, -1).permute(0, 3, 1, 2)
    resized = functional.interpolate(square, grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([first, resized.permute(0, 2, 3, 1).reshape(grid[0] * grid[1], -1).to(learnt.dtype)])


def value_features(visual: Any, images: Tensor) -> Tensor:
    """MaskCLIP features of a batch of tiles.

    Args:
        visual: an open_clip ``VisionTransformer``.
        images: (B, 3, h p, w p), normalised, a whole number of patches of side p.

    Returns:
        (B, h, w, D) float32, unit length.
    """
    x = visual.conv1(images)
    grid = (int(x.shape[2]), int(x.shape[3]))
    x = x.flatten(2).transpose(1, 2)
    start = visual.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
    x = visual.ln_pre(torch.cat([start, x], 1) + position_embedding(visual, grid).to(x.dtype))
    blocks = visual.transformer.resblocks
    batch_first = getattr(visual.transformer, "batch_first", True)
    x = x if batch_first else x.transpose(0, 1)
    for block in blocks[:-1]:
        x = block(x)
    x = (x if batch_first else x.transpose(0, 1))[:, 1:]
    last = blocks[-1]
    width = x.shape[-1]
    value = functional.linear(last.ln_1(x), last.attn.in_proj_weight[2 * width :], last.attn.in_proj_bias[2 * width :])
    out = visual.ln_post(last.attn.out_proj(value)) @ visual.proj
    return functional.normalize(out.float(), dim=-1).reshape(x.shape[0], *grid, -1)


def cut_tiles(images: Tensor, grid: tuple[int, int], size: int, patch: int) -> Tensor:
    """(M, 3, H, W) to (M rows columns, 3, h, w), view by view and row by row.

    Args:
        images: views.
        grid: rows and columns of tiles.
        size: length in pixels to which a tile's short side is brought.
        patch: side of a patch in pixels; h and w are whole numbers of it.
    """
    (rows, columns), (views, _, height, width) = grid, images.shape
    sides = height / rows, width / columns
    h, w = (max(patch, round(side * size / min(sides) / patch) * patch) for side in sides)
    # Resizing the whole view at once keeps the tiles' seams consistent.
    whole = functional.interpolate(images, (h * rows, w * columns), mode="bicubic", align_corners=False, antialias=True)
    return whole.reshape(views, 3, rows, h, columns, w).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, h, w)


def join_tiles(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """(M rows columns, h, w, D) to (M, rows h, columns w, D): the inverse order of :func:`cut_tiles`."""
    (rows, columns), (h, w) = grid, features.shape[1:3]
    parts = features.reshape(-1, rows, columns, h, w, features.shape[-1]).permute(0, 1, 3, 2, 4, 5)
    return parts.reshape(-1, rows * h, columns * w, features.shape[-1])


class VitEncoder:
    """Reads views in tiles with a CLIP vision transformer.

    Args:
        model, tokenizer: from open_clip; the image tower is moved to the precision of ``identity``.
        tiles: grids (rows, columns); features of several grids are averaged on the finest one.
        size: length in pixels to which a tile's short side is brought.
        mean, std: (3,) colour normalisation.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        identity: EncoderIdentity,
        tiles: Sequence[tuple[int, int]],
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        device: str,
    ) -> None:
        self.identity = identity
        self._dtype = _DTYPES[identity.precision]
        self._model = model.eval().requires_grad_(False).to(device)
        self._model.visual.to(self._dtype)
        self._read = SentenceReader(self._model, tokenizer, identity.max_tokens, device)
        self._tiles, self._size, self._device = tuple(tiles), size, device
        self._mean = torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1)

    @property
    def dim(self) -> int:
        """D, width of the joint space."""
        return self.identity.dim

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """None: web text has no declared vocabulary."""
        return None

    def dense(self, rgb: U8) -> DenseFeatures:
        """(M, H, W, 3) uint8 to (M, rows h, columns w, D), where (h, w) are the patches of a tile of the finest grid.

        Raises:
            SceneError: not an array of colour images.
        """
        check_images(rgb)
        images = torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float().div_(255.0)
        images = (images - self._mean) / self._std
        with torch.inference_mode():
            maps = [self._grid(images, grid) for grid in self._tiles]
            target = max((m.shape[1:3] for m in maps), key=lambda s: s[0] * s[1])
            resized = [functional.interpolate(m.permute(0, 3, 1, 2), target, mode="bilinear", align_corners=False) for m in maps]
            mean = functional.normalize(torch.stack(resized).mean(0), dim=1)
        return DenseFeatures(np.ascontiguousarray(mean.permute(0, 2, 3, 1).numpy(), np.float32))

    def _grid(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """(M, rows h, columns w, D) of one tile grid."""
        visual = self._model.visual
        tiles = cut_tiles(images, grid, self._size, int(visual.patch_size[0]))
        step = _BATCH if self._device == "cpu" else len(tiles)
        batches = [tiles[i : i + step].to(self._device, self._dtype) for i in range(0, len(tiles), step)]
        return join_tiles(torch.cat([value_features(visual, batch).cpu() for batch in batches]), grid)

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]:
        """Each sentence's pooled and token features."""
        return self._read(texts)

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """None: web text has no declared vocabulary."""
        return ()
