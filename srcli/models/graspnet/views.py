"""Directions from which grasps are approached, and the frames that belong to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def view_directions(
    count: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[Tensor, "count 3"]:
    """Unit vectors of a Fibonacci lattice: z_i = (2 i + 1) / n - 1, azimuth 2 pi i (sqrt(5) - 1) / 2.

    A view is the direction from the object to the camera; the approach is its opposite.
    """
    number = torch.arange(count, dtype=torch.float64)
    z = (2 * number + 1) / count - 1
    azimuth = 2 * math.pi * number * (math.sqrt(5) - 1) / 2
    radius = (1 - z * z).sqrt()
    return torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), z], dim=1).to(device=device, dtype=dtype)


def approach_frames(approach: Float[Tensor, "*b 3"], angle: Float[Tensor, "*b"] | None = None) -> Float[Tensor, "*b 3 3"]:
    """Rotations whose columns are approach (x), closing (y) and their cross product (z).

    At angle 0 the closing direction lies in the xy-plane: (-a_y, a_x, 0), or (0, 1, 0) for an approach along z; an ``angle``
    (radians) then turns the frame about the approach.
    """
    x = approach / approach.norm(dim=-1, keepdim=True)
    zero = torch.zeros_like(x[..., 0])
    flat = torch.stack([-x[..., 1], x[..., 0], zero], dim=-1)
    length = flat.norm(dim=-1, keepdim=True)
    upright = torch.stack([zero, zero + 1, zero], dim=-1)
    y = torch.where(length > 0, flat / length.clamp_min(torch.finfo(x.dtype).tiny), upright)
    z = torch.linalg.cross(x, y)
    if angle is not None:
        cos, sin = angle.cos()[..., None], angle.sin()[..., None]
        y, z = cos * y + sin * z, cos * z - sin * y
    return torch.stack([x, y, z], dim=-1)
