"""Layers of RVT-2's network: attention blocks with gated feed-forward, and convex upsampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import gelu, leaky_relu, pad, unfold

from srcli.models.geometry import inverse_root, merge_heads, split_heads
from srcli.models.sparsity import MASKED

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

_SLOPE = 0.02
_MASK_SCALE = 0.1


class Block(nn.Module):
    """Self-attention, then a feed-forward layer gated by GELU; both behind a LayerNorm and residual (RVT, after Perceiver IO)."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * expansion * width), nn.Linear(expansion * width, width)

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"] | None = None) -> Float[Tensor, "b n d"]:
        """(B, N, D) to the same shape; nobody attends to what ``mask`` has False."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.norm(x)).chunk(3, dim=-1))  # (b, h, n, e)
        # Written out: on a processor torch's fused attention takes several times as long backwards.
        logits = (q * inverse_root(q.shape[-1])) @ k.transpose(-1, -2)  # (b, h, n, n)
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None, None, :], MASKED)
        x = x + self.out(merge_heads(torch.softmax(logits, dim=-1, dtype=logits.dtype) @ v))
        value, gate = self.up(self.norm_out(x)).chunk(2, dim=-1)
        return x + self.down(value * gelu(gate))  # type: ignore[no-any-return]


class ConvexUpsample(nn.Module):
    """A coarse map to ``ratio`` times its size: each fine pixel is a convex combination of the 3 x 3 coarse values around it.

    The combinations are predicted from the coarse features (RVT-2; the layer is RAFT's). Beyond the border the outermost values
    are repeated.
    """

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio
        self.inner, self.value = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)
        self.outer, self.weight = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, 9 * ratio * ratio, 1)

    def forward(self, x: Float[Tensor, "m c n n"]) -> Float[Tensor, "m r r"]:
        """(M, C, n, n) features to (M, ratio n, ratio n) logits."""
        coarse = self.value(leaky_relu(self.inner(x), _SLOPE))  # (m, 1, n, n)
        weights = _MASK_SCALE * self.weight(leaky_relu(self.outer(x), _SLOPE))  # (m, 9 ratio^2, n, n)
        return combine(coarse, weights, self.ratio)


def combine(coarse: Float[Tensor, "m 1 n n"], weights: Float[Tensor, "m k n n"], ratio: int) -> Float[Tensor, "m r r"]:
    """Convex combinations of the 3 x 3 values around each coarse pixel.

    Args:
        weights: (M, 9 ratio^2, n, n) logits: of neighbour 3 a + b (a, b = 0, 1, 2 for one before, itself, one behind) and of fine
            pixel (i, j) inside the coarse one they stand at (3 a + b) ratio^2 + ratio i + j.
    """
    m, _, rows, columns = coarse.shape
    share = weights.view(m, 9, ratio * ratio, rows * columns).softmax(dim=1)
    around = unfold(pad(coarse, (1, 1, 1, 1), mode="replicate"), 3).view(m, 9, 1, rows * columns)
    fine = (share * around).sum(dim=1).view(m, ratio, ratio, rows, columns)
    return fine.permute(0, 3, 1, 4, 2).reshape(m, rows * ratio, columns * ratio)


def sample(maps: Float[Tensor, "b 3 c n n"], at: Float[Tensor, "b 3 2"]) -> Float[Tensor, "b 3 c"]:
    """Bilinear values of maps at (first index, second index), each in -1 .. 1 from border to border; clamped to the border."""
    from torch.nn.functional import grid_sample

    b, views, c, n, _ = maps.shape
    # grid_sample wants the second index first.
    grid = at.flip(-1).reshape(b * views, 1, 1, 2).to(maps)
    taken = grid_sample(maps.reshape(b * views, c, n, n), grid, padding_mode="border", align_corners=False)
    return taken.reshape(b, views, c)


def linear(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with leaky ReLU between them."""
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*layers[:-1])


def activation() -> nn.Module:
    """The network's activation."""
    return nn.LeakyReLU(_SLOPE)


def positions(count: int, width: int) -> nn.Parameter:
    """Learned positions of ``count`` tokens, small at first."""
    return nn.Parameter(0.02 * torch.randn(1, count, width))
