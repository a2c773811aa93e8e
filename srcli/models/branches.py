"""Softmax and ReLU branches over the same logits, without keeping any (N, N) matrix for the backward pass.

On a processor the plain formulation is bound by memory: 32 samples of 500 points and 8 heads give 256 MB per intermediate.
Here each (sample, head) pair is worked on in turn, in buffers that stay in cache, and the backward pass computes the logits
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from srcli.models.sparsity import branch_weights

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Branch = Literal["relu", "relu2"]


def plain_branches(
    q: Float[Tensor, "b h n c"], k: Float[Tensor, "b h n c"], v: Float[Tensor, "b h n e"], sparse: Branch | None
) -> tuple[Float[Tensor, "b h n e"], Float[Tensor, "b h n e"] | None]:
    """softmax(q k^T) v and phi(q k^T) v; the second is None without a sparse branch."""
    logits = q @ k.transpose(-1, -2)  # (b, h, n, n)
    dense = torch.softmax(logits, dim=-1) @ v  # (b, h, n, e)
    return dense, None if sparse is None else branch_weights(logits, sparse) @ v


def branches(
    q: Float[Tensor, "b h n c"], k: Float[Tensor, "b h n c"], v: Float[Tensor, "b h n e"], sparse: Branch | None
) -> tuple[Float[Tensor, "b h n e"], Float[Tensor, "b h n e"] | None]:
    """As :func:`plain_branches`; on a processor in the frugal form."""
    if q.device.type != "cpu":
        return plain_branches(q, k, v, sparse)
    b, h, n, _ = q.shape
    flat = [x.reshape(b * h, n, x.shape[-1]) for x in (q, k, v)]
    if torch.is_autocast_enabled("cpu"):
        # Once, here: autocast does not reach operations that write into given buffers.
        flat = [x.to(torch.get_autocast_dtype("cpu")) for x in flat]
    with torch.autocast("cpu", enabled=False):
        dense, out = _Branches.apply(*flat, sparse)  # type: ignore[no-untyped-call]
    return dense.view(b, h, n, -1), None if sparse is None else out.view(b, h, n, -1)


class _Branches(torch.autograd.Function):
    """(p, n, c), (p, n, c), (p, n, e) -> two of (p, n, e), p = pairs of sample and head."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, sparse: Branch | None) -> tuple[Tensor, Tensor]:
        dense, out = torch.empty_like(v), torch.zeros_like(v) if sparse is None else torch.empty_like(v)
        logits = q.new_empty(q.shape[1], k.shape[1])
        weights = torch.empty_like(logits)
        for i in range(q.shape[0]):
            torch.mm(q[i], k[i].T, out=logits)
            torch.softmax(logits, dim=-1, out=weights)
            torch.mm(weights, v[i], out=dense[i])
            if sparse is not None:
                logits.relu_()
                if sparse == "relu2":
                    logits.mul_(logits)
                torch.mm(logits, v[i], out=out[i])
        ctx.save_for_backward(q, k, v, dense)
        ctx.sparse = sparse
        return dense, out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, dense = ctx.saved_tensors
        sparse: Branch | None = ctx.sparse
        g_dense, g_sparse = (g.contiguous() for g in grads)
        gq, gk, gv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        # Row sums of dP * P, from the outputs alone.
        inner = (g_dense * dense).sum(dim=-1, keepdim=True)
        logits = q.new_empty(q.shape[1], k.shape[1])
        weights, slope, other = torch.empty_like(logits), torch.empty_like(logits), torch.empty_like(logits)
        for i in range(q.shape[0]):
            torch.mm(q[i], k[i].T, out=logits)
            torch.softmax(logits, dim=-1, out=weights)
            torch.mm(weights.T, g_dense[i], out=gv[i])
            torch.mm(g_dense[i], v[i].T, out=slope)
            slope.sub_(inner[i]).mul_(weights)
            if sparse is not None:
                torch.mm(g_sparse[i], v[i].T, out=other)
                logits.relu_()
                if sparse == "relu2":
                    slope.addcmul_(other, logits, value=2.0)
                    logits.mul_(logits)
                else:
                    slope.addcmul_(other, logits.sign())
                gv[i].addmm_(logits.T, g_sparse[i])
            torch.mm(slope, k[i], out=gq[i])
            torch.mm(slope.T, q[i], out=gk[i])
        return gq, gk, gv, None
