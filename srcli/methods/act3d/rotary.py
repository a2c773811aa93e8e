"""Relative attention in 3-D: queries and keys are turned by their positions, so that a logit depends on the offset of the two.

Act3D, section 3.2, with the rotary code of Su et al. (RoFormer) for three axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from srcli.methods.act3d.section import RotaryConfig
from srcli.methods.networks import turn_pairs
from srcli.models.geometry import merge_heads, split_heads

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float
    from torch import Tensor


def phases(places: Float[Tensor, "b n 3"], channels: int, config: RotaryConfig) -> Float[Tensor, "b n c/2"]:
    """Angles by which the pairs of ``channels`` (a multiple of 6) are turned: a third of the pairs for each axis.

    Pair i of an axis turns by scale * base^(-2i / (channels / 3)) radians per metre.
    """
    per_axis = channels // 3
    exponent = -torch.arange(0, per_axis, 2, device=places.device, dtype=places.dtype) / per_axis
    return (places[..., None] * (config.scale * config.base**exponent)).flatten(-2)


def rotary_code(places: Float[Tensor, "b n 3"], width: int, heads: int, config: RotaryConfig) -> Complex[Tensor, "b h n e/2"]:
    """Turns of the channels of each head; ``h`` is 1 where all heads turn alike."""
    if config.over == "head":
        angles = phases(places, width // heads, config)[:, None]
    else:
        angles = split_heads(phases(places, width, config), heads)
    return torch.polar(torch.ones_like(angles), angles)


class RelativeAttention(nn.Module):
    """Cross-attention and a feed-forward, each residual and normalised after.

    Args:
        width: C; hidden width of the feed-forward too, as published.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self,
        states: Float[Tensor, "b g c"],
        context: Float[Tensor, "b n c"],
        mask: Bool[Tensor, "b n"],
        codes: tuple[Complex[Tensor, "*b g e/2"], Complex[Tensor, "*b n e/2"]] | None = None,
    ) -> Float[Tensor, "b g c"]:
        """States after they have read the real tokens of the context.

        Args:
            codes: rotary code of the states' and of the context's positions; None: positions do not count.
        """
        q = split_heads(self.query(states), self.heads)  # (b, h, g, e)
        k = split_heads(self.key(context), self.heads)  # (b, h, n, e)
        v = split_heads(self.value(context), self.heads)
        if codes is not None:
            q, k = turn_pairs(q, codes[0]), turn_pairs(k, codes[1])
        read = merge_heads(scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None]))  # (b, g, c)
        states = self.norm(states + self.out(read))
        out: Tensor = self.norm_out(states + self.down(torch.relu(self.up(states))))
        return out
