"""Attention with a 3-D rotary code, and layers that the time step modulates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from srcli.methods.networks import turn_pairs
from srcli.models.geometry import merge_heads, split_heads

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float
    from torch import Tensor


class Rotary(nn.Module):
    """Phases of the 3-D rotary code (3D Diffuser Actor, section 3.2; Su et al. 2021).

    Channels are turned in pairs by ``scale * x * base^(-i / n)``, i = 0 .. n - 1, n pairs per axis: the product of a query and a
    key then depends on the difference of their positions. Published: a third of all channels for each axis, so that a head may
    see one axis alone. Here (``heads``) each head's channels are shared among the axes; what does not fit is not turned.

    Args:
        width: channels of all heads.
        scale: fastest phase, radians per metre.
        base: the slowest is about so much slower.
    """

    def __init__(self, width: int, heads: int, spread: Literal["heads", "width"], scale: float, base: float) -> None:
        super().__init__()
        group = width // heads if spread == "heads" else width
        pairs = group // 6
        one = scale * base ** (-torch.arange(pairs, dtype=torch.float64) / max(1, pairs))
        rates = torch.zeros(group // 2, 3, dtype=torch.float64)
        for axis in range(3):
            rates[axis * pairs : (axis + 1) * pairs, axis] = one
        rates = torch.cat([rates] * (width // group))
        self.register_buffer("rates", rates.float(), persistent=False)
        self.rates: Tensor

    def forward(self, positions: Float[Tensor, "b n 3"]) -> Complex[Tensor, "b n p"]:
        """The turn of each pair of channels, as a complex number of length 1."""
        phases = positions @ self.rates.to(positions.dtype).T  # (b, n, p) radians
        return torch.polar(torch.ones_like(phases), phases)


class Keys(nn.Module):
    """What tokens offer to a layer's queries: keys, turned by the rotary code where there is one, and values.

    Args:
        relative: values are turned, too.
    """

    def __init__(self, width: int, heads: int, relative: bool = False) -> None:
        super().__init__()
        self.heads, self.relative = heads, relative
        self.norm = nn.LayerNorm(width)
        self.both = nn.Linear(width, 2 * width)

    def forward(
        self, tokens: Float[Tensor, "b n d"], turns: Complex[Tensor, "b n p"] | None
    ) -> tuple[Float[Tensor, "b h n e"], Float[Tensor, "b h n e"]]:
        """Keys and values of each head."""
        key, value = self.both(self.norm(tokens)).chunk(2, dim=-1)
        if turns is not None:
            key = turn_pairs(key, turns)
            value = turn_pairs(value, turns) if self.relative else value
        return split_heads(key, self.heads), split_heads(value, self.heads)


class Modulation(nn.Module):
    """Adaptive layer norm (Peebles and Xie 2023): scale and shift that a condition says; at first none."""

    def __init__(self, width: int, conditioned: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        said = nn.Linear(width, 2 * width) if conditioned else None
        if said is not None:
            nn.init.zeros_(said.weight)
            nn.init.zeros_(said.bias)
        self.say = nn.Sequential(nn.SiLU(), said) if said is not None else None

    def forward(self, x: Float[Tensor, "b n d"], condition: Float[Tensor, "b n d"] | None) -> Float[Tensor, "b n d"]:
        """(B, N, D) to the same shape."""
        normed: Tensor = self.norm(x)
        if self.say is None or condition is None:
            return normed
        scale, shift = self.say(condition).chunk(2, dim=-1)
        modulated: Tensor = normed * (1.0 + scale) + shift
        return modulated


class Layer(nn.Module):
    """Queries read tokens, then a feed-forward layer; both residual, with the norm before them.

    Args:
        own: a query also reads itself, and no other query: several noisy poses share one scene, as in Mini-Diffuser.
        conditioned: adaptive layer norm by a condition per query.
        relative: values are turned with their tokens' positions, and what was read is turned back by the query's: it then tells
            where tokens lie from the query.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        *,
        own: bool = False,
        conditioned: bool = False,
        relative: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.relative = heads, relative
        self.keys = Keys(width, heads, relative)
        self.own = Keys(width, heads, relative) if own else None
        self.read, self.think = Modulation(width, conditioned), Modulation(width, conditioned)
        self.q, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, feedforward * width), nn.Linear(feedforward * width, width)

    def forward(
        self,
        x: Float[Tensor, "b q d"],
        offered: tuple[Float[Tensor, "b h n e"], Float[Tensor, "b h n e"]],
        mask: Bool[Tensor, "b n"],
        turns: Complex[Tensor, "b q p"] | None = None,
        condition: Float[Tensor, "b q d"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """Queries after the layer.

        Args:
            offered: keys and values of the tokens, as ``keys`` makes them.
            mask: True where a token is real.
            turns: of the queries; None without a rotary code.
        """
        query = self.q(self.read(x, condition))
        if turns is not None:
            query = turn_pairs(query, turns)
        key, value = offered
        shown = mask[:, None, None, :]  # (b, 1, 1, n)
        if self.own is not None:
            own_key, own_value = self.own(x, turns)
            key, value = torch.cat([key, own_key], dim=2), torch.cat([value, own_value], dim=2)
            queries = x.shape[1]
            itself = torch.eye(queries, dtype=torch.bool, device=x.device).expand(len(x), 1, queries, queries)
            shown = torch.cat([shown.expand(-1, -1, queries, -1), itself], dim=-1)  # (b, 1, q, n + q)
        mixed = merge_heads(scaled_dot_product_attention(split_heads(query, self.heads), key, value, attn_mask=shown))
        if turns is not None and self.relative:
            mixed = turn_pairs(mixed, turns.conj())
        x = x + self.out(mixed)
        y: Tensor = x + self.down(torch.nn.functional.gelu(self.up(self.think(x, condition))))
        return y
