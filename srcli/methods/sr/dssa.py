"""Deep sparse self-attention (paper, section 3.4) and the encoder block around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from srcli.methods.sr.section import DSSAConfig
from srcli.models.branches import branches
from srcli.models.geometry import RelativeWaves, inverse_root, merge_heads, split_heads
from srcli.models.sparsity import MASKED, branch_weights

if TYPE_CHECKING:
    from collections.abc import Collection

    from jaxtyping import Bool, Float
    from torch import Tensor


class SelfAttention(nn.Module):
    """Self-attention over points: DSSA, or ordinary attention when ``branch = dense``.

    S = Q K^T / sqrt(d) + B;  dense = softmax(S) V;  sparse = phi(S) V with phi = relu^2 (paper) | relu | softmax;
    output = W_o (w_1 dense + w_2 sparse), w_n = exp(a_n) / sum exp(a), a learned and initially (1, 1). ``branch = dense`` or
    ``sparse`` keeps one of the two with weight 1.
    The sparse branch has no normalisation over keys, so its size grows with the number of points; ``sparse_norm = rms`` (an
    addition) divides each head's output by its root mean square and gives it a learned gain (as rectified linear attention does).
    """

    def __init__(self, width: int, heads: int, config: DSSAConfig, sparse_norm: str) -> None:
        super().__init__()
        self.heads, self.config, self.sparse_norm = heads, config, sparse_norm
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.xavier_uniform_(self.out.weight, gain=0.3)
        nn.init.zeros_(self.out.bias)
        self.waves = RelativeWaves(heads, config.position_rank) if config.position_rank else None
        self.mix = nn.Parameter(torch.ones(2)) if config.branch == "both" else None
        normed = config.branch != "dense" and sparse_norm == "rms"
        self.gain = nn.Parameter(torch.ones(heads, 1, width // heads)) if normed else None
        self.conv: nn.Conv2d | None = None
        if config.branch != "sparse" and config.dense_conv == "dw3":
            self.conv = nn.Conv2d(heads, heads, 3, padding=1, groups=heads, bias=False)
            with torch.no_grad():
                self.conv.weight.zero_()[:, :, 1, 1] = 1.0

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        points: Float[Tensor, "b n 3"],
        mask: Bool[Tensor, "b n"],
        bypass: Collection[str] = (),
    ) -> Float[Tensor, "b n d"]:
        """Args: x features; points positions in metres; mask True where real. Padded rows of the result carry no meaning."""
        scale = inverse_root(x.shape[-1] // self.heads)
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))  # each (b, h, n, e)
        queries, keys = [q * scale], [k]
        if self.waves is not None and "offset" not in bypass:
            wave_q, wave_k = self.waves(points)  # (b, h, n, 2r), (b, 1, n, 2r)
            queries.append(wave_q.to(x.dtype))
            keys.append(wave_k.to(x.dtype).expand(-1, self.heads, -1, -1))
        # The padding mask is one more channel: MASKED on padded keys, so S is complete without any (b, h, n, n) addition.
        hidden = (~mask).to(x.dtype)[:, None, :, None].expand(-1, self.heads, -1, 1) * MASKED
        q, k = torch.cat([*queries, torch.ones_like(hidden)], dim=-1), torch.cat([*keys, hidden], dim=-1)  # (b, h, n, e + 2r + 1)
        kind = self.config.sparse
        if self.conv is None and (kind == "softmax" or self.config.branch == "dense"):
            dense, _ = branches(q, k, v, None)  # (b, h, n, e)
            return self._project(self._fuse(dense, dense, mask, bypass))
        if self.conv is None and kind != "softmax":
            dense, sparse = branches(q, k, v, kind)  # (b, h, n, e) each
            assert sparse is not None
            return self._project(self._fuse(dense, sparse, mask, bypass))
        logits = q @ k.transpose(-1, -2)  # (b, h, n, n), S with B and mask
        return self._project(self._fuse(self._convolved(logits, mask) @ v, branch_weights(logits, kind) @ v, mask, bypass))

    def _fuse(
        self,
        dense: Float[Tensor, "b h n e"],
        sparse: Float[Tensor, "b h n e"],
        mask: Bool[Tensor, "b n"],
        bypass: Collection[str],
    ) -> Float[Tensor, "b h n e"]:
        if self.mix is None:
            return dense if self.config.branch == "dense" else self._normalise(sparse, mask)
        w = torch.softmax(self.mix, dim=0)
        if "sparse" in bypass:
            return w[0] * dense
        if "dense" in bypass:
            return w[1] * self._normalise(sparse, mask)
        return w[0] * dense + w[1] * self._normalise(sparse, mask)

    def _convolved(self, logits: Float[Tensor, "b h n n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b h n n"]:
        """Softmax of the depth-wise convolution of S; padding is 0 to the convolution, as beyond the border."""
        assert self.conv is not None
        padded = ~(mask[:, None, None, :] & mask[:, None, :, None])
        return torch.softmax(self.conv(logits.masked_fill(padded, 0.0)).masked_fill(padded, MASKED), dim=-1)

    def _normalise(self, sparse: Float[Tensor, "b h n e"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b h n e"]:
        if self.sparse_norm == "count":
            return sparse / mask.sum(dim=1).clamp_min(1).to(sparse.dtype)[:, None, None, None]
        if self.gain is None:
            return sparse
        size = (
            sparse.float().square().mean(dim=-1, keepdim=True)
            if sparse.dtype == torch.bfloat16
            else sparse.square().mean(-1, True)
        )
        return sparse * torch.rsqrt(size + 1e-6).to(sparse.dtype) * self.gain

    def _project(self, heads: Float[Tensor, "b h n e"]) -> Float[Tensor, "b n d"]:
        mixed: Tensor = self.out(merge_heads(heads))
        return mixed


class EncoderBlock(nn.Module):
    """Pre-norm self-attention and feed-forward, both residual."""

    def __init__(self, width: int, heads: int, expansion: int, config: DSSAConfig, sparse_norm: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, config, sparse_norm)
        self.up, self.down = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)
        nn.init.xavier_uniform_(self.down.weight, gain=0.3)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        points: Float[Tensor, "b n 3"],
        mask: Bool[Tensor, "b n"],
        bypass: Collection[str] = (),
    ) -> Float[Tensor, "b n d"]:
        """(B, N, D) to the same shape."""
        if "self_attention" not in bypass:
            x = x + self.attention(self.norm1(x), points, mask, bypass)
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))  # type: ignore[no-any-return]
