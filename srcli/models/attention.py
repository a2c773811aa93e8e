"""Multi-head cross-attention with an additive bias, a mask, and an optional sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from srcli.models.geometry import inverse_root, merge_heads, split_heads
from srcli.models.sparsity import MASKED

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


class CrossAttention(nn.Module):
    """softmax(Q K^T / sqrt(d) + bias) V over H heads (paper, equation of section 3.3.1).

    Args:
        width: channels D of queries, keys and output.
        heads: H, a divisor of ``width``.
        sink: add one learned logit per head that takes attention and returns nothing; the output then also tells how much
            there was to attend to (the paper does not state this).
        query_gain: factor on the initial query projection; small values let the bias decide at first.
    """

    def __init__(self, width: int, heads: int, sink: bool = False, query_gain: float = 1.0) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.q, self.k, self.v, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.q.weight.mul_(query_gain)
        self.sink = nn.Parameter(torch.full((heads,), 1.0)) if sink else None

    def forward(
        self,
        query: Float[Tensor, "b q d"],
        key: Float[Tensor, "b n d"],
        value: Float[Tensor, "b n d"],
        key_mask: Bool[Tensor, "b n"],
        bias: Float[Tensor, "b *h q n"] | None = None,
        sink: bool = True,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b h q n"]]:
        """Output and attention weights; weights of a masked key are 0. A row without any real key gives the output bias.

        ``sink = False`` leaves the sink out, where there is one.
        """
        q = split_heads(self.q(query), self.heads) * inverse_root(query.shape[-1] // self.heads)  # (b, h, q, e)
        k = split_heads(self.k(key), self.heads)  # (b, h, n, e)
        v = split_heads(self.v(value), self.heads)  # (b, h, n, e)
        logits = q @ k.transpose(-1, -2)  # (b, h, q, n)
        if bias is not None:
            logits = logits + bias.to(logits.dtype)
        # Without padding the two maskings would only copy the largest tensors of the network.
        padded = not bool(key_mask.all())
        if padded:
            logits = logits.masked_fill(~key_mask[:, None, None, :], MASKED)
        if self.sink is not None and sink:
            column = self.sink.to(logits.dtype)[None, :, None, None].expand(*logits.shape[:3], 1)
            weights = torch.softmax(torch.cat([logits, column], dim=-1), dim=-1)[..., :-1]
        else:
            weights = torch.softmax(logits, dim=-1)
        if padded:
            weights = weights * key_mask[:, None, None, :]  # (b, h, q, n)
        mixed: Tensor = self.out(merge_heads(weights @ v))  # (b, q, d)
        return mixed, weights
