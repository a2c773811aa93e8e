"""A2's scoring network: candidates read the cloud by one cross-attention layer (its appendix)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from srcli.errors import ConfigError
from srcli.methods.a2.section import A2NetworkConfig
from srcli.models.attention import CrossAttention
from srcli.models.batch import Batch, Scores
from srcli.models.geometry import CENTRE, HALF_EXTENT, fourier, quick_gelu, rotary
from srcli.models.layers import Adapter, mlp, rescale

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


class Read(nn.Module):
    """A2's block: one LayerNorm shared by query, key and value, rotary code on keys and values, then a feed-forward of four times
    the width (QuickGELU), both residual on the query.

    Query: MLP of the candidate (7 numbers); key: MLP of the point's Fourier features.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.candidate = mlp((7, width // 2, width, width))
        self.position = mlp((33, width // 2, width, width))
        self.norm_q, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CrossAttention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self,
        tips: Float[Tensor, "b k 3"],
        rotations: Float[Tensor, "b k 4"],
        place: Float[Tensor, "b n 3"],
        values: Float[Tensor, "b n d"],
        point_mask: Bool[Tensor, "b n"],
    ) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b h k n"]]:
        """Candidate states and attention weights (0 on padded points); positions in the unit of the network."""
        kind = values.dtype
        e = self.candidate(torch.cat([tips, rotations], dim=-1).to(kind))  # (b, k, d)
        g = rotary(self.position(fourier(place).to(kind)), place)  # (b, n, d)
        values = self.norm_q(rotary(values, place))  # (b, n, d)
        read, weights = self.attention(self.norm_q(e), self.norm_q(g), values, point_mask)
        h = e + read
        return h + self.down(quick_gelu(self.up(self.norm_out(h)))), weights


class A2Network(nn.Module):
    """Value = feature x similarity, one cross-attention layer, three-layer head.

    Args:
        config: section ``methods.a2.network``.
        feature_dim: D of the encoder's joint space.

    Raises:
        ConfigError: the heads do not divide the width.
    """

    def __init__(self, config: A2NetworkConfig, feature_dim: int) -> None:
        super().__init__()
        width = config.width or feature_dim
        if width % config.heads:
            raise ConfigError(
                f"methods.a2.network.heads = {config.heads} does not divide the width {width}",
                "choose methods.a2.network.width as a multiple of the heads, or 0 for the encoder's width",
            )
        self.config = config
        self.adapt = nn.Linear(feature_dim, width, bias=False) if width != feature_dim else None
        if self.adapt is not None:
            nn.init.orthogonal_(self.adapt.weight)
        self.stage2 = Read(width, config.heads)
        self.adapter = Adapter(width) if config.place_head == "adapter" else None
        self.head = mlp((width, width // 2, width // 2, 1))

    def forward(self, batch: Batch) -> Scores:
        """Scores of every candidate; each depends on no other."""
        features = batch.features.to(self.stage2.up.weight.dtype)
        if self.adapt is not None:
            features = self.adapt(features)
        similarity = rescale(batch.similarity, batch.point_mask)  # (b, n)
        points, tips = batch.points, batch.candidates[..., :3]
        if self.config.positions == "workspace":
            origin = torch.tensor(CENTRE, device=points.device, dtype=points.dtype)
            points, tips = (points - origin) / HALF_EXTENT, (tips - origin) / HALF_EXTENT
        values = features * similarity[..., None].to(features.dtype)
        states, weights = self.stage2(tips, batch.candidates[..., 3:], points, values, batch.point_mask)
        if self.adapter is not None and batch.place is not None:
            states = torch.where(batch.place[:, None, None], self.adapter(states), states)
        logits = self.head(states)[..., 0]  # (b, k)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        logits = logits.masked_fill(~batch.candidate_mask, float("-inf"))
        return Scores(logits=logits, mask=batch.point_mask.to(similarity.dtype), attention=weights)


def build_network(config: A2NetworkConfig, feature_dim: int, seed: int) -> A2Network:
    """A network whose initial weights follow from the seed alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return A2Network(config, feature_dim)
