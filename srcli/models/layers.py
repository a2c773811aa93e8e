"""Small layers that several networks share."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

MASK_FLOOR = 1e-3
"""Least value of a semantic mask before its logarithm is taken."""


def mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between them, Xavier weights and zero biases (A2's initialisation)."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        linear = nn.Linear(a, b)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear] if i == len(sizes) - 2 else [linear, nn.ReLU()]
    return nn.Sequential(*layers)


class Adapter(nn.Module):
    """x + W_2 gelu(W_1 LayerNorm x), a quarter of the width in between: nothing at first (after A2's adaptation for placing)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.down, self.up = nn.LayerNorm(width), nn.Linear(width, width // 4), nn.Linear(width // 4, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        """(B, K, D) to the same shape."""
        return x + self.up(nn.functional.gelu(self.down(self.norm(x))))  # type: ignore[no-any-return]


def rescale(similarity: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """(s - min + eps) / (max - min + eps) over the real points, eps = 1e-4 (A2); 0 where padded."""
    low = similarity.masked_fill(~mask, float("inf")).amin(dim=1, keepdim=True)
    high = similarity.masked_fill(~mask, float("-inf")).amax(dim=1, keepdim=True)
    return ((similarity - low + 1e-4) / (high - low + 1e-4)).masked_fill(~mask, 0.0)
