"""The adapter of a convolutional image tower: the embedded encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from srcli.errors import SceneError
from srcli.language.spelling import blanked
from srcli.perception.encoders.embedded import IMAGE_RECIPE, EmbeddedModel, dense_forward, image_tensor
from srcli.perception.encoders.interface import DenseFeatures, EncoderIdentity
from srcli.perception.encoders.text import UNREAD, SentenceReader, unknown_words
from srcli.perception.encoders.tower import STRIDE
from srcli.types import U8, TextEmbedding

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def check_images(rgb: U8) -> None:
    """Refuse anything but (M, H, W, 3) uint8.

    Raises:
        SceneError: with the shape that was given.
    """
    if rgb.ndim != 4 or rgb.shape[-1] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise SceneError(f"views must be (M, H, W, 3) uint8, not {rgb.shape} {rgb.dtype}", "check the recording's colour images")


def fold_batch_norms(module: Any) -> None:
    """Merge every (convolution, batch norm) pair of a tower in evaluation mode: the same function, fewer passes over memory."""
    for child in module.children():
        if isinstance(child, torch.nn.Sequential) and len(child) == 2 and isinstance(child[1], torch.nn.BatchNorm2d):
            conv = child[0]
            assert isinstance(conv, torch.nn.Conv2d)
            child[0] = fuse_conv_bn_eval(conv, child[1])
            child[1] = torch.nn.Identity()
        else:
            fold_batch_norms(child)


class ConvEncoder:
    """Reads whole views with the embedded model.

    Args:
        loaded: from :func:`embedded.load_embedded`; its image tower is changed (batch norms are folded).
        name: as in the configuration.
        max_tokens: rows kept per sentence, at most the model's context length.
        device: torch device.
    """

    def __init__(self, loaded: EmbeddedModel, name: str, max_tokens: int, device: str) -> None:
        fold_batch_norms(loaded.model.visual.trunk)
        self._model = loaded.model.to(device)
        self._vocabulary = loaded.vocabulary
        self._device = device
        dim = int(self._model.visual.head.proj.weight.shape[0])
        self.identity = EncoderIdentity(name, loaded.sha256, dim, "conv", IMAGE_RECIPE, "fp32", max_tokens, loaded.parents)
        self._read = SentenceReader(self._model, loaded.tokenizer, max_tokens, device)

    @property
    def dim(self) -> int:
        """D, width of the joint space."""
        return self.identity.dim

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """The words of pre-training."""
        return self._vocabulary

    def dense(self, rgb: U8) -> DenseFeatures:
        """(M, H, W, 3) uint8 to (M, ceil(H / 8), ceil(W / 8), D) of cells that share the image evenly.

        An image whose size is no multiple of 8 is padded with its edge; its cells, then a little smaller than 8 pixels, are read
        bilinearly between those of the padded one.

        Raises:
            SceneError: not an array of colour images.
        """
        check_images(rgb)
        height, width = rgb.shape[1:3]
        down, right = -height % STRIDE, -width % STRIDE
        padded = np.pad(rgb, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge") if down or right else rgb
        values = []
        with torch.inference_mode():
            for view in padded:  # one view at a time stays in the processor's cache
                features = dense_forward(self._model, image_tensor(view[None]).to(self._device))  # (1, d, h, w)
                if down or right:
                    features = _within(features, height, width)
                values.append(functional.normalize(features, dim=1)[0].permute(1, 2, 0).cpu().numpy())
        return DenseFeatures(np.ascontiguousarray(np.stack(values), np.float32))

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]:
        """Each sentence's pooled and token features. Words that it has never read are nothing, not what their pieces are."""
        return self._read([blanked(text, self._vocabulary, UNREAD) for text in texts])

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """Words that never occurred in pre-training."""
        return unknown_words(text, self._vocabulary)


def _within(features: Float[Tensor, "1 d h w"], height: int, width: int) -> Float[Tensor, "1 d h w"]:
    """Features of cells of ``STRIDE`` pixels at the centres of as many cells that share height by width pixels."""
    rows, columns = features.shape[2:]
    y = (2 * torch.arange(rows, device=features.device) + 1) * height / (rows * rows * STRIDE) - 1
    x = (2 * torch.arange(columns, device=features.device) + 1) * width / (columns * columns * STRIDE) - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None].to(features.dtype)
    return functional.grid_sample(features, grid, mode="bilinear", padding_mode="border", align_corners=False)
