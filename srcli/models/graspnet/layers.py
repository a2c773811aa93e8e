"""PointNet++ layers (Qi et al., 2017). Parameters are named as in VoteNet (``layer0.conv``, ``layer0.bn.bn``)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from srcli.models.graspnet.ops import ball_query, farthest_points, gather, interpolate

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class _Norm(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.add_module("bn", nn.BatchNorm2d(width))


class _Layer(nn.Sequential):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(inside, outside, 1, bias=False))
        self.add_module("bn", _Norm(outside))
        self.add_module("activation", nn.ReLU())


class SharedMLP(nn.Sequential):
    """1x1 convolution, batch normalisation and ReLU per layer, shared by all points; (B, C, Q, S) -> (B, C', Q, S)."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        for number, (inside, outside) in enumerate(pairwise(widths)):
            self.add_module(f"layer{number}", _Layer(inside, outside))


class SetAbstraction(nn.Module):
    """Farthest points, their balls, a shared MLP on (offset / radius, features), maximum over each ball.

    Args:
        points: number of centres.
        radius: of the balls, metres.
        samples: points of a ball.
        widths: of the MLP; the first is the number of input features, to which the three offsets are added.
    """

    def __init__(self, points: int, radius: float, samples: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.points, self.radius, self.samples = points, radius, samples
        self.mlp_module = SharedMLP(widths[0] + 3, *widths[1:])

    def forward(
        self, xyz: Float[Tensor, "b n 3"], features: Float[Tensor, "b c n"] | None
    ) -> tuple[Float[Tensor, "b q 3"], Float[Tensor, "b d q"], Int[Tensor, "b q"]]:
        """Centres, their features, and their indices among the input points."""
        chosen = farthest_points(xyz, self.points)
        centres = gather(xyz, chosen)
        index = ball_query(centres, xyz, self.radius, self.samples)
        grouped = (gather(xyz, index) - centres[:, :, None]) / self.radius
        if features is not None:
            grouped = torch.cat([grouped, gather(features.transpose(1, 2), index)], dim=-1)
        pooled: Tensor = self.mlp_module(grouped.permute(0, 3, 1, 2)).amax(dim=-1)
        return centres, pooled, chosen


class FeaturePropagation(nn.Module):
    """Features of coarse points interpolated at finer ones, joined with the finer ones' own, through a shared MLP."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.mlp = SharedMLP(*widths)

    def forward(
        self,
        fine: Float[Tensor, "b q 3"],
        coarse: Float[Tensor, "b n 3"],
        fine_features: Float[Tensor, "b c q"],
        coarse_features: Float[Tensor, "b d n"],
    ) -> Float[Tensor, "b e q"]:
        """Features at the fine points."""
        joined = torch.cat([interpolate(fine, coarse, coarse_features), fine_features], dim=1)
        out: Tensor = self.mlp(joined[..., None])[..., 0]
        return out
