"""Point-set operations of PointNet++ (Qi et al., 2017) and the cylinder query of GraspNet-baseline, in plain PyTorch.

Neighbours are taken in the order in which points are stored, at most ``count`` of them; missing places repeat the first one; with
no neighbour at all the point 0 fills the row. Indices are int64. No function here has a gradient except through ``gather``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

_PAIRS = 4_000_000
"""Pairs of points handled at a time: bounds memory to about 100 MB."""


def gather(values: Float[Tensor, "b n c"], index: Int[Tensor, "b ..."]) -> Float[Tensor, "b ... c"]:
    """Rows of each batch entry by index."""
    flat = index.flatten(1)
    taken = torch.gather(values, 1, flat[..., None].expand(-1, -1, values.shape[-1]))
    return taken.reshape(*index.shape, values.shape[-1])


@torch.no_grad()
def farthest_points(points: Float[Tensor, "b n 3"], count: int) -> Int[Tensor, "b count"]:
    """Farthest-point sampling, from point 0 on: each next one is farthest from those chosen (the first of equals)."""
    batch, number = points.shape[:2]
    chosen = torch.zeros(batch, count, dtype=torch.int64, device=points.device)
    nearest = torch.full((batch, number), torch.inf, dtype=points.dtype, device=points.device)
    row = torch.arange(batch, device=points.device)
    axes = points.transpose(1, 2).contiguous()
    for step in range(1, count):
        last = points[row, chosen[:, step - 1]][:, :, None]
        nearest = torch.minimum(nearest, (axes - last).square_().sum(dim=1))
        chosen[:, step] = nearest.argmax(dim=1)
    return chosen


def first_true(mask: Bool[Tensor, "q n"], count: int) -> Int[Tensor, "q count"]:
    """Columns of the first ``count`` true entries of each row, filled up as the module says."""
    row, column = mask.nonzero(as_tuple=True)
    per_row = mask.sum(dim=1)
    rank = torch.arange(len(row), device=mask.device) - (per_row.cumsum(0) - per_row)[row]
    kept = rank < count
    found = torch.zeros(len(mask), count, dtype=torch.int64, device=mask.device)
    found[row[kept], rank[kept]] = column[kept]
    empty = torch.arange(count, device=mask.device) >= per_row[:, None]
    return torch.where(empty, found[:, :1], found)


@torch.no_grad()
def ball_query(
    centres: Float[Tensor, "b q 3"], points: Float[Tensor, "b n 3"], radius: float, count: int
) -> Int[Tensor, "b q count"]:
    """The first ``count`` points nearer than ``radius`` (metres) to each centre."""
    chunk = max(1, _PAIRS // points.shape[1])
    found = []
    for centre, cloud in zip(centres, points, strict=True):
        x, y, z = cloud.T.contiguous()
        parts = []
        for part in centre.split(chunk):
            squared = (x - part[:, :1]).square_() + (y - part[:, 1:2]).square_() + (z - part[:, 2:]).square_()
            parts.append(first_true(squared < radius**2, count))
        found.append(torch.cat(parts))
    return torch.stack(found)


@torch.no_grad()
def cylinder_query(
    centres: Float[Tensor, "b q 3"],
    frames: Float[Tensor, "b q 3 3"],
    points: Float[Tensor, "b n 3"],
    radius: float,
    low: float,
    highs: tuple[float, ...],
    count: int,
) -> Int[Tensor, "b q h count"]:
    """The first ``count`` points inside the cylinder about the x-axis of each frame, for several heights.

    Args:
        frames: columns are the axes of the frame whose origin is the centre.
        low, highs: ends along x, exclusive, metres.
        radius: of the cylinder, exclusive, metres.
    """
    chunk = max(1, _PAIRS // (3 * points.shape[1]))
    found = []
    for centre, frame, cloud in zip(centres, frames, points, strict=True):
        parts = []
        for origin, axes in zip(centre.split(chunk), frame.split(chunk), strict=True):
            local = (cloud[None] - origin[:, None]) @ axes
            along = local[..., 0]
            inside = (local[..., 1].square() + local[..., 2].square() < radius**2) & (along > low)
            parts.append(torch.stack([first_true(inside & (along < high), count) for high in highs], dim=1))
        found.append(torch.cat(parts))
    return torch.stack(found)


@torch.no_grad()
def three_nearest(
    targets: Float[Tensor, "b q 3"], points: Float[Tensor, "b n 3"]
) -> tuple[Float[Tensor, "b q 3"], Int[Tensor, "b q 3"]]:
    """Squared distances (square metres) and indices of the three nearest points of each target, nearest first."""
    squared = (targets[:, :, None] - points[:, None]).square().sum(dim=-1)
    distance, index = squared.topk(3, dim=-1, largest=False)
    return distance, index


def interpolate(
    targets: Float[Tensor, "b q 3"], points: Float[Tensor, "b n 3"], values: Float[Tensor, "b c n"]
) -> Float[Tensor, "b c q"]:
    """Mean of the three nearest points' values, weighted by 1 / (distance + 1e-8) (PointNet++, eq. 2 with p = 1)."""
    squared, index = three_nearest(targets, points)
    weight = 1.0 / (squared.sqrt() + 1e-8)
    weight = weight / weight.sum(dim=-1, keepdim=True)
    return (gather(values.transpose(1, 2), index) * weight[..., None]).sum(dim=2).transpose(1, 2)
