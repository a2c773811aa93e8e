"""What surrounds a candidate, ring by ring, weighed by the words: how a relation ("near", "on") reaches a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from srcli.models.geometry import exactly
from srcli.models.sparsity import MASKED

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

RING_STEP = 0.025
"""Distance between two rings, metres: half of the inner radius from which a placement counts as beside its reference."""
RINGS = 9
"""Rings at 0, 2.5 ... 20 cm: beyond the 15 cm within which a placement counts as near."""
HEIGHT_UNIT = 0.05
"""Metres: heights are read in this unit, about one object."""
STANDS_OUT = 0.01
"""Metres above the table from which a point counts as part of an object."""
GAIN = 4.0
"""Factor behind the map from tokens to that summary: Adam's steps are of fixed size, so it learns words that much faster."""
WORDS = 32
"""Channels of the sentence's summary: few, so that it says which relation is meant rather than which object."""


class KeywordPooling(nn.Module):
    """Summary of a sentence by keyword spotting: g_c = sum_l softmax_l(u_lc) u_lc with u = W t, a soft maximum over tokens.

    A relation stands in one token of many; a maximum finds it wherever it stands, an average would dilute it. The kind of the
    decision (pick or place) is added. The paper does not state this.

    Args:
        width: D of the tokens, or None for a network whose tokens do not reach stage 2: it only knows the kind.
    """

    def __init__(self, width: int | None) -> None:
        super().__init__()
        self.spot = None if width is None else nn.Linear(width, WORDS, bias=False)
        if self.spot is not None:
            nn.init.normal_(self.spot.weight, std=1.5 / GAIN)  # Unit tokens: u has a standard deviation of 1.5.
        self.kind = nn.Embedding(2, WORDS)
        nn.init.normal_(self.kind.weight, std=0.5)

    def forward(
        self,
        tokens: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        place: Bool[Tensor, " b"],
        listen: bool = True,
    ) -> Float[Tensor, "b g"]:
        """Args: tokens of unit length; token_mask True where real; place True for placements; listen: use the tokens at all."""
        said: Tensor = self.kind(place.long())  # (b, g)
        if self.spot is None or not listen:
            return said
        u = GAIN * self.spot(tokens)  # (b, l, g)
        weights = torch.softmax(u.masked_fill(~token_mask[..., None], MASKED), dim=1) * token_mask[..., None]
        heard: Tensor = said + (weights * u).sum(dim=1)
        return heard


class RadialPooling(nn.Module):
    """Reads, for each candidate on its own, the cloud in rings about the vertical through its position.

    With b_r(rho) a triangle of half-width ``RING_STEP`` about the radius of ring r, rho_kj the horizontal distance of point j
    from candidate k and c_j the channels of a point, A_krc = sum_j b_r(rho_kj) c_j. Two kinds of numbers follow from A:

    * means over the points of the ring: share that stands out of the table, height above the candidate, similarity, peak,
      mask, and ``learned`` channels of the aligned cloud;
    * shares of the whole cloud's peak and mask that lie in the ring, and how high above the candidate they lie.

    ``peak`` is exp(t (s_j - 1)) with a learned t. Then x = W_1 [those], x = gelu(x (1 + W_c g) + W_d g) with the sentence's
    summary g, and once more; so "near" may favour what "on" forbids. The triangles are fixed: the profile over radii is what
    W_1 learns, and no (K, N) tensor has a gradient. The paper does not state this; its 2-Align reads the cloud by attention.
    """

    def __init__(self, width: int, learned: int = 8, hidden: int = 64) -> None:
        super().__init__()
        self.project = nn.Linear(width, learned, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(8.0))
        self.up = nn.Linear(RINGS * (9 + learned) + 2, hidden)
        self.mix = nn.Linear(hidden, hidden)
        turns = [nn.Linear(WORDS, 2 * hidden) for _ in range(2)]
        self.modulate = nn.ModuleList(turns)
        self.out, self.score = nn.Linear(hidden, width), nn.Linear(hidden, 1)
        for layer in (self.up, self.mix):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for turn in turns:
            nn.init.normal_(turn.weight, std=0.3 / WORDS**0.5)
            nn.init.zeros_(turn.bias)
        for layer in (self.out, self.score):
            nn.init.xavier_uniform_(layer.weight, gain=0.3)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        candidates: Float[Tensor, "b k 7"],
        quality: Float[Tensor, "b k"] | None,
        points: Float[Tensor, "b n 3"],
        values: Float[Tensor, "b n d"],
        point_mask: Bool[Tensor, "b n"],
        similarity: Float[Tensor, "b n"],
        mask: Float[Tensor, "b n"] | None,
        words: Float[Tensor, "b g"],
    ) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k"]]:
        """What to add to the candidates' states and to their scores. Poses and points in metres; similarity and mask in 0..1."""
        kind = values.dtype
        x = self.read(candidates, points, self.project(values), point_mask, similarity, mask)
        zeros = torch.zeros_like(candidates[..., 0])
        x = torch.cat([x, candidates[..., 2:3] / HEIGHT_UNIT, (zeros if quality is None else quality)[..., None]], dim=-1)
        for layer, modulate in zip((self.up, self.mix), self.modulate, strict=True):
            scale, shift = modulate(words)[:, None].chunk(2, dim=-1)  # each (b, 1, hidden)
            x = F.gelu(layer(x.to(kind)) * (1.0 + scale) + shift, approximate="tanh")
        return self.out(x), self.score(x)[..., 0]

    def read(
        self,
        candidates: Float[Tensor, "b k 7"],
        points: Float[Tensor, "b n 3"],
        learned: Float[Tensor, "b n c"],
        point_mask: Bool[Tensor, "b n"],
        similarity: Float[Tensor, "b n"],
        mask: Float[Tensor, "b n"] | None,
    ) -> Float[Tensor, "b k f"]:
        """The numbers of all rings, (B, K, RINGS * (9 + learned)), in the positions' precision."""
        wide = points.dtype
        real = point_mask.to(wide)
        peak = torch.exp(self.sharpness.to(wide) * (similarity.to(wide) - 1.0))
        found = peak if mask is None else mask.to(wide)
        height = points[..., 2] / HEIGHT_UNIT
        solid = (points[..., 2] / STANDS_OUT - 0.5).clamp(0.0, 1.0)
        scalars = [torch.ones_like(peak), solid, height, similarity.to(wide), peak, found, peak * height, found * height]
        channels = torch.cat([torch.stack(scalars, dim=-1), learned.to(wide)], dim=-1) * real[..., None]  # (b, n, 8 + c)
        offset = candidates[:, :, None, :2].to(wide) - points[:, None, :, :2]  # (b, k, n, 2)
        rho = offset.norm(dim=-1)[:, :, None] / RING_STEP  # (b, k, 1, n)
        radii = torch.arange(RINGS, device=points.device, dtype=wide)[:, None]
        # In place: this is the largest tensor of the network, and nothing in it has a gradient.
        rings = (rho - radii).abs_().neg_().add_(1.0).clamp_min_(0.0)  # (b, k, r, n)
        b, k, r, n = rings.shape
        with exactly(points):
            sums = torch.bmm(rings.view(b, k * r, n), channels).view(b, k, r, -1)  # (b, k, r, 8 + c)
        # One point more than there are, so that an empty ring reads 0 and a thin one little.
        mean = sums[..., 1:] / (sums[..., :1] + 1.0)
        total = channels[..., 4:8].sum(dim=1)[:, None, None]  # (b, 1, 1, 4)
        # In units of an even spread over the rings.
        share = sums[..., 4:6] / total[..., :2].clamp_min(1e-6) * RINGS
        raised = sums[..., 6:8] / total[..., :2].clamp_min(1e-6) * RINGS
        own = candidates[..., 2].to(wide)[:, :, None, None] / HEIGHT_UNIT
        above = mean[..., 1:2] - own * sums[..., :1] / (sums[..., :1] + 1.0)
        parts = [mean[..., :1], above, mean[..., 2:5], share, raised - own * share, mean[..., 7:]]
        return torch.cat(parts, dim=-1).flatten(2)
