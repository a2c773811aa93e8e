"""VLG's network: candidates read things, each a token times the sentence, by one cross-attention block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from srcli.errors import ConfigError
from srcli.methods.networks import initial
from srcli.methods.vlg.section import VlgNetworkConfig
from srcli.models.attention import CrossAttention
from srcli.models.batch import Batch, Scores
from srcli.models.geometry import CENTRE, HALF_EXTENT, fourier, quick_gelu
from srcli.models.layers import mlp

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class VlgNetwork(nn.Module):
    """Scores of candidates from the things of a scene.

    value_i = token_i * text (element by element), key_i = token_i + MLP(gamma(centre_i)), query_k = MLP(candidate_k); one
    cross-attention block with LayerNorm before it, a feed-forward of four times the width, and a three-layer head. Values have no
    LayerNorm: it would take away the mean over channels, which is the cosine of thing and sentence.

    Args:
        config: section ``methods.vlg.network``.
        feature_dim: D of the encoder's joint space. Another width than this puts one linear layer, shared by tokens and text,
            before the product.

    Raises:
        ConfigError: the heads do not divide the width.
    """

    def __init__(self, config: VlgNetworkConfig, feature_dim: int) -> None:
        super().__init__()
        width, hidden = config.width or feature_dim, config.hidden
        if width % config.heads:
            raise ConfigError(
                f"methods.vlg.network.heads = {config.heads} does not divide the width {width}",
                "choose methods.vlg.network.width as a multiple of the heads",
            )
        self.adapt = nn.Linear(feature_dim, width, bias=False) if width != feature_dim else None
        if self.adapt is not None:
            nn.init.orthogonal_(self.adapt.weight)
        self.place = mlp((33, hidden, width, width))
        self.candidate = mlp((7, hidden, width, width))
        self.norm_q, self.norm_k, self.norm_out = (nn.LayerNorm(width) for _ in range(3))
        self.attention = CrossAttention(width, config.heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.head = mlp((width, hidden, hidden, 1))

    def forward(self, batch: Batch) -> Scores:
        """Scores of every candidate, each of which depends on no other. The points of the batch are the centres of things."""
        tokens, text = batch.features.to(self.up.weight.dtype), batch.text.to(self.up.weight.dtype)
        if self.adapt is not None:
            tokens, text = self.adapt(tokens), self.adapt(text)
        query = self.candidate(torch.cat([scaled(batch.candidates[..., :3]), batch.candidates[..., 3:]], dim=-1))  # (b, k, d)
        key = tokens + self.place(fourier(scaled(batch.points)))  # (b, n, d)
        # Unit vectors: the mean over channels is then the cosine.
        value = tokens * text[:, None] * tokens.shape[-1]  # (b, n, d)
        read, weights = self.attention(self.norm_q(query), self.norm_k(key), value, batch.point_mask)
        state = query + read
        state = state + self.down(quick_gelu(self.up(self.norm_out(state))))
        logits = self.head(state)[..., 0]  # (b, k)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        logits = logits.masked_fill(~batch.candidate_mask, float("-inf"))
        return Scores(logits=logits, mask=batch.point_mask.to(logits.dtype), attention=weights)


def scaled(positions: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """Metres to about -1..1 over the workspace."""
    origin = torch.tensor(CENTRE, device=positions.device, dtype=positions.dtype)
    return (positions - origin) / HALF_EXTENT


def build_network(config: VlgNetworkConfig, feature_dim: int, seed: int) -> VlgNetwork:
    """A network whose initial weights follow from the seed alone."""
    return initial(seed, lambda: VlgNetwork(config, feature_dim))
