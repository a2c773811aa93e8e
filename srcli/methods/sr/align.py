"""The two alignment stages (paper, section 3.3): language to points, then candidates to points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from srcli.methods.sr.section import AdditionsConfig, OneAlignConfig
from srcli.models.attention import CrossAttention
from srcli.models.geometry import (
    CENTRE,
    HALF_EXTENT,
    ToolWindow,
    fourier,
    inverse_root,
    merge_heads,
    quick_gelu,
    rotary,
    split_heads,
)
from srcli.models.layers import MASK_FLOOR, mlp
from srcli.models.sparsity import MASKED

if TYPE_CHECKING:
    from collections.abc import Collection

    from jaxtyping import Bool, Float
    from torch import Tensor


class OneAlign(nn.Module):
    """1-Align: language finds its points and is written back on them.

    Logits of token l and point j: q_l k_j / sqrt(d). m = max-normalised mean of their softmax A over heads and (weighted) tokens,
    in [0, 1]; the cloud becomes LayerNorm(f_j + m_j W_o V_j + sum_l A'_jl W_t t_l), A' the same logits over tokens. With
    ``direction = point_query`` the points ask the tokens (A2's language variant) and m is the similarity map itself. The paper
    states who asks and that a mask results; token weights and the write-back of the words are our reading.

    Additions: queries and keys start as the same map, so that the first attention is a cosine in the joint space
    (``cosine_start``); g s_j is added to the logits, s the similarity map, g learned per head (``similarity_bias``); the pooled
    sentence starts with more weight than the other tokens (``pooled_start``).
    """

    def __init__(self, width: int, heads: int, config: OneAlignConfig, additions: AdditionsConfig) -> None:
        super().__init__()
        self.heads, self.config = heads, config
        self.q, self.k, self.v, self.out, self.text = (nn.Linear(width, width, bias=False) for _ in range(5))
        with torch.no_grad():
            for layer in (self.q, self.k):
                if additions.cosine_start == "on":
                    # Unit features: a head sees width/heads channels of the cosine; this scale gives logits of about +-4.
                    nn.init.eye_(layer.weight).mul_((4.0 * heads**0.5 * (width / heads) ** 0.5) ** 0.5)
                else:
                    nn.init.xavier_uniform_(layer.weight)
            for layer in (self.v, self.out, self.text):
                nn.init.xavier_uniform_(layer.weight, gain=0.5)
        gain = additions.similarity_bias
        self.similarity_gain = nn.Parameter(torch.full((heads,), gain)) if gain else None
        self.token_weight = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.token_weight.weight)
        self.pooled_weight = nn.Parameter(torch.tensor(additions.pooled_start))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        features: Float[Tensor, "b n d"],
        similarity: Float[Tensor, "b n"],
        point_mask: Bool[Tensor, "b n"],
        tokens: Float[Tensor, "b l d"],
        token_mask: Bool[Tensor, "b l"],
        bypass: Collection[str] = (),
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
        """Aligned cloud and mask m.

        Args:
            features: (B, N, D); similarity: (B, N) in 0..1 over the real points; tokens: (B, L, D), the first one the pooled
            sentence.
        """
        if "one_align" in bypass:
            return self.norm(features), torch.ones_like(similarity)
        q = split_heads(self.q(tokens), self.heads) * inverse_root(tokens.shape[-1] // self.heads)  # (b, h, l, e)
        k = split_heads(self.k(features), self.heads)  # (b, h, n, e)
        logits = q @ k.transpose(-1, -2)  # (b, h, l, n)
        if self.similarity_gain is not None and "similarity_bias" not in bypass:
            logits = logits + self.similarity_gain[:, None, None] * similarity.to(features.dtype)[:, None, None, :]
        logits = logits.masked_fill(~point_mask[:, None, None, :], MASKED)
        over_tokens = torch.softmax(logits.masked_fill(~token_mask[:, None, :, None], MASKED), dim=2)  # A', (b, h, l, n)
        carried = merge_heads(over_tokens.transpose(-1, -2) @ split_heads(self.text(tokens), self.heads))  # (b, n, d)
        if self.config.direction == "point_query":
            return self.norm(features + carried), similarity.clamp_min(MASK_FLOOR)
        attention = torch.softmax(logits, dim=-1)  # A, (b, h, l, n)
        score = self.token_weight(tokens)[..., 0]  # (b, l)
        score = torch.cat([score[:, :1] + self.pooled_weight, score[:, 1:]], dim=1).masked_fill(~token_mask, MASKED)
        mean = torch.einsum("bl,bhln->bn", torch.softmax(score, dim=1), attention).to(similarity.dtype)  # (b, n)
        mask = mean / mean.amax(dim=1, keepdim=True).clamp_min(1e-12)  # in [0, 1]
        written = mask.to(features.dtype)[..., None] * self.out(self.v(features))  # (b, n, d)
        if self.config.write_back == "mask+text":
            written = written + carried
        return self.norm(features + written), mask


class TwoAlign(nn.Module):
    """2-Align: each candidate reads the cloud on its own (paper, section 3.3.2).

    Query: MLP of the candidate, positions scaled to the workspace; key: MLP of the point's visual features together with its
    Fourier features, with a 3-D rotary code; value: the aligned cloud; the mask enters as log m. Then a feed-forward of four
    times the width (QuickGELU), both residual on the query.

    Additions: keys from positions alone (``position_keys``); ``ToolWindow`` favours near points (``window``); attention to
    nothing (``sink``); quality as an eighth number of the candidate.
    """

    def __init__(self, width: int, heads: int, additions: AdditionsConfig) -> None:
        super().__init__()
        self.with_features = additions.position_keys == "off"
        near = additions.window == "on"
        self.candidate = mlp((8 if additions.quality == "on" else 7, width // 2, width, width))
        self.position = mlp((33 + width if self.with_features else 33, width // 2, width, width))
        self.norm_q, self.norm_k, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.window = ToolWindow(heads, additions.window_radius) if near else None
        self.attention = CrossAttention(width, heads, sink=additions.sink == "on", query_gain=0.2 if near else 1.0)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self,
        candidates: Float[Tensor, "b k 7"],
        quality: Float[Tensor, "b k"] | None,
        points: Float[Tensor, "b n 3"],
        features: Float[Tensor, "b n d"],
        values: Float[Tensor, "b n d"],
        point_mask: Bool[Tensor, "b n"],
        log_mask: Float[Tensor, "b n"] | None,
        around: Float[Tensor, "b k d"] | None = None,
        bypass: Collection[str] = (),
    ) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b h k n"]]:
        """Candidate states and attention weights (0 on padded points). Poses and points in metres, world frame.

        Args:
            features: of the points before any alignment, for the keys.
            around: what the candidates read in their rings, added before the feed-forward.
        """
        kind = values.dtype
        origin = torch.tensor(CENTRE, device=points.device, dtype=points.dtype)
        place, tip = (points - origin) / HALF_EXTENT, (candidates[..., :3] - origin) / HALF_EXTENT
        pose = [tip, candidates[..., 3:]]
        parts = pose if quality is None else [*pose, quality[..., None]]
        e = self.candidate(torch.cat(parts, dim=-1).to(kind))  # (b, k, d)
        where = fourier(place).to(kind)
        known = torch.cat([features, where], dim=-1) if self.with_features else where
        g = rotary(self.position(known), place)  # (b, n, d)
        bias = None
        if self.window is not None and "window" not in bypass:
            bias = self.window(candidates, points)  # (b, h, k, n)
        if log_mask is not None:
            bias = log_mask[:, None, None, :] if bias is None else bias + log_mask[:, None, None, :]
        read, weights = self.attention(self.norm_q(e), self.norm_k(g), values, point_mask, bias, sink="sink" not in bypass)
        h = e if "two_align" in bypass else e + read
        h = h if around is None else h + around
        return h + self.down(quick_gelu(self.up(self.norm_out(h)))), weights
