"""Distributions in polar coordinates around things, and the map that they make together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


@dataclass(frozen=True)
class Polar:
    """Where a relation is, one distribution for each of P relations.

    Attributes:
        distance, width: (..., P) mean and standard deviation of a normal distribution of the distance from a reference's centre,
            in units of the half sizes of the reference and of what is held together.
        angle, focus: (..., P) mean (radians) and concentration of a von Mises distribution of the direction; a concentration of
            0 is all around.
    """

    distance: Float[Tensor, "*b p"]
    width: Float[Tensor, "*b p"]
    angle: Float[Tensor, "*b p"]
    focus: Float[Tensor, "*b p"]


def coordinates(
    places: Float[Tensor, "*b k 2"], centres: Float[Tensor, "*b r 2"], sizes: Float[Tensor, "*b r"], held: Float[Tensor, "*b"]
) -> tuple[Float[Tensor, "*b r k"], Float[Tensor, "*b r k"]]:
    """Distances and directions of places from the centres of things.

    Distances in metres would put "next to" inside large things: they are divided by the sum of both half sizes, at which two
    things just touch.

    Args:
        places: metres, horizontal.
        sizes: half sizes of the things, metres.
        held: half size of what is held, metres.

    Returns:
        Distances without unit and directions in radians, world frame.
    """
    offset = places[..., None, :, :] - centres[..., :, None, :]  # (..., r, k, 2)
    scale = (sizes + held[..., None]).clamp_min(1e-3)
    return offset.norm(dim=-1) / scale[..., None], torch.atan2(offset[..., 1], offset[..., 0])


def log_density(polar: Polar, distance: Float[Tensor, "*b r k"], direction: Float[Tensor, "*b r k"]) -> Float[Tensor, "*b p r k"]:
    """log N(distance; mu, sigma) + log vM(direction; mu, kappa) of each relation around each thing."""
    mean, width, angle, focus = (
        value[..., None, None] for value in (polar.distance, polar.width, polar.angle, polar.focus)
    )  # (..., p, 1, 1)
    radial = -0.5 * ((distance[..., None, :, :] - mean) / width) ** 2 - width.log() - 0.5 * math.log(2 * math.pi)
    # i0e is exp(-kappa) I_0(kappa): large concentrations do not overflow.
    turning = focus * ((direction[..., None, :, :] - angle).cos() - 1) - torch.special.i0e(focus).log() - math.log(2 * math.pi)
    density: Tensor = radial + turning
    return density


def log_map(
    reference: Float[Tensor, "*b p r"],
    density: Float[Tensor, "*b p r k"],
    pair_mask: Bool[Tensor, "*b p"],
    floor: float,
) -> Float[Tensor, "*b k"]:
    """log prod_p (floor + sum_r w_pr density_prk): the product over the pairs of a sentence of mixtures over the things.

    Args:
        reference: log weight of each thing as the reference of each pair; -inf for padding.
        pair_mask: False for padding.
        floor: keeps a place that one relation rules out from being ruled out by it alone: the others still order what is left.
    """
    mixed = torch.logsumexp(reference[..., None] + density, dim=-2)  # (..., p, k)
    floored = torch.logaddexp(mixed, torch.full_like(mixed, math.log(floor)))
    # A pair alone has no other that would order what it rules out.
    several = pair_mask.sum(dim=-1)[..., None, None] > 1
    return torch.where(several, floored, mixed).masked_fill(~pair_mask[..., None], 0.0).sum(dim=-2)
