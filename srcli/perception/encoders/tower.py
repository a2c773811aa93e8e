"""The convolutional image tower of the embedded encoder, registered with timm so that open_clip can name it.

Three stride-2 convolutions to one feature per 8 x 8 pixels; a residual block there, because an object is only some 40 pixels wide
and its shape is in the details; a wider one at half that resolution, whose receptive field covers an object and what lies around
it; then back to 8 x 8 pixels, where the fine features are added again (a feature pyramid of two levels, Lin et al. 2017). The
whole image is read at once, without tiles.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8


def _conv(inputs: int, outputs: int, stride: int = 1, padding: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a skip connection (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = _conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(x + self.second(torch.relu_(self.first(x))))


class ConvTower(nn.Module):
    """(B, 3, H, W) to (B, widths[-1], H / 8, W / 8); H and W are multiples of 8.

    The interface (``forward_features``, ``forward_head``, ``reset_classifier``, ``num_features``, ``default_cfg``) is timm's.

    Args:
        widths: of the three reductions; the last is also that of the features.
        fine: residual blocks at one feature per 8 x 8 pixels.
        deep: width at half that resolution.
        blocks: residual blocks there.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (24, 48, 96),
        fine: int = 1,
        deep: int = 192,
        blocks: int = 1,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        self.num_features = widths[-1]
        self.default_cfg: dict[str, Any] = {"pool_size": (45, 80), "input_size": (3, 360, 640)}
        self.global_pool = global_pool
        # An unpadded left and top edge in the last reduction puts the centre of cell i at pixel 8 i + 4.
        self.stem = nn.ModuleList(
            [_conv(3, widths[0], 2), _conv(widths[0], widths[1], 2), _conv(widths[1], widths[2], 2, padding=0)]
        )
        self.edge = nn.ZeroPad2d((0, 1, 0, 1))
        self.fine = nn.Sequential(*[ResidualBlock(widths[-1]) for _ in range(fine)])
        self.down = _conv(widths[-1], deep)
        self.blocks = nn.Sequential(*[ResidualBlock(deep) for _ in range(blocks)])
        self.lateral = nn.Conv2d(deep, widths[-1], 1, bias=False)
        self.merge = _conv(widths[-1], widths[-1])

    def reset_classifier(self, num_classes: int = 0, global_pool: str | None = None) -> None:
        """There is no classifier: only the pooling can be set."""
        if global_pool is not None:
            self.global_pool = global_pool

    def stem_features(self, x: Tensor) -> Tensor:
        """The three reductions: cell (i, j) reads 15 x 15 pixels around (8 i + 4, 8 j + 4)."""
        first, second, third = self.stem
        x = torch.relu_(second(torch.relu_(first(x))))
        return torch.relu_(third(self.edge(x)))

    def forward_features(self, x: Tensor) -> Tensor:
        """One feature per cell of 8 x 8 pixels, before projection."""
        fine = self.fine(self.stem_features(x))
        coarse = functional.avg_pool2d(fine, 2, ceil_mode=True, count_include_pad=False)
        coarse = self.lateral(self.blocks(torch.relu_(self.down(coarse))))
        # Bilinear doubling is the inverse of pooling pairs: cell centres stay where they were; an odd edge is cut off.
        coarse = functional.interpolate(coarse, scale_factor=2, mode="bilinear")[..., : fine.shape[2], : fine.shape[3]]
        mixed = torch.relu_(fine + coarse)
        return torch.relu_(mixed + self.merge(mixed))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Average over the cells: (B, num_features)."""
        return x.mean((2, 3)) if self.global_pool else x

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def srcli_conv8(pretrained: bool = False, **kwargs: Any) -> ConvTower:
    """The entry point by which timm, and so open_clip's JSON configuration, finds the tower."""
    return ConvTower()


@lru_cache(maxsize=1)
def register() -> None:
    """Make the tower known to timm. Imported late: timm needs torchvision, see :mod:`compat`."""
    from timm.models import register_model

    register_model(srcli_conv8)
