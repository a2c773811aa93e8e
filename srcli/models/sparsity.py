"""Branch functions of DSSA: what turns attention logits into weights (paper, section 3.4 and Table 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

Sparse = Literal["softmax", "relu", "relu2"]

# Added to a masked logit: softmax gives exactly 0 and every ReLU branch gives exactly 0. Representable in bfloat16.
MASKED = -1e4


def branch_weights(logits: Float[Tensor, "*b q n"], kind: Sparse) -> Float[Tensor, "*b q n"]:
    """Weights of one branch.

    ``softmax`` normalises over keys; ``relu`` is phi(S) = max(S, 0) (rectified linear attention, paper reference 32);
    ``relu2`` is max(S, 0)^2, the paper's SSA. The ReLU branches are not normalised over keys. Masked logits (``MASKED``) give
    0 in all of them.
    """
    if kind == "softmax":
        return torch.softmax(logits, dim=-1)
    positive = torch.relu(logits)
    return positive if kind == "relu" else positive * positive
