"""Muon: momentum whose update is made orthogonal (Jordan et al. 2024), for weights that are matrices or convolutions.

The encoder learns from fewer steps with it than with Adam alone. torch and timm have it too, but only in bf16, which processors
without such instructions compute many times slower than fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any

import torch
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_LIKE_ADAM = 0.4
"""Root mean square of an update in units of the learning rate: twice that of Adam's usual update (Liu et al. 2025)."""


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest (R, C) matrix with equal singular values, roughly: five Newton-Schulz steps give values of 0.7 to 1.2.

    The steps are polynomials in the smaller Gram matrix, so they are taken there and applied once.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=1e-7)
    a, b, c = _QUINTIC
    gram = wide @ wide.T
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor = identity
    for _ in range(_ITERATIONS):
        step = a * identity + b * gram + c * (gram @ gram)
        factor = step @ factor
        gram = step @ gram @ step
    out: Tensor = factor @ wide
    return out if matrix.shape[0] <= matrix.shape[1] else out.T


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    Args:
        params: weights of two or more dimensions; (O, I, h, w) counts as (O, I h w).
        lr: learning rate, of the size that Adam takes.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 2e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.pool: Executor | None = None
        """Whose threads share the weights, if any; the result does not depend on it."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of all weights that have a gradient."""
        jobs = [(p, p.grad, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        for p, _, _ in jobs:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        for _ in (map if self.pool is None else self.pool.map)(self._one, *zip(*jobs, strict=True)) if jobs else ():
            pass

    @torch.no_grad()
    def _one(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        momentum = self.state[p]["momentum"]
        momentum.lerp_(gradient, 1.0 - group["momentum"])
        update = orthogonal(gradient.lerp(momentum, group["momentum"]).flatten(1))
        rate = group["lr"] * _LIKE_ADAM * max(update.shape) ** 0.5
        p.mul_(1.0 - group["lr"] * group["weight_decay"]).sub_(update.reshape(p.shape), alpha=rate)
