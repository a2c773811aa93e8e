"""From the network's raw output to rows of grasps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from srcli.actions.graspnet import GraspGroup, make_group
from srcli.models.graspnet.network import ANGLES, DEPTHS, Prediction
from srcli.models.graspnet.views import approach_frames
from srcli.types import F64

if TYPE_CHECKING:
    from torch import Tensor

MAX_WIDTH, WIDTH_MARGIN, MAX_TOLERANCE = 0.1, 1.2, 0.05
"""Largest opening (metres), factor on the predicted one, and the tolerance (metres) that counts as one."""


@torch.no_grad()
def decode(prediction: Prediction) -> list[GraspGroup]:
    """One group per cloud, in the cloud's frame: of each seed on an object the grasp at the best angle and then the best depth.

    The angle is that of the highest class logit at each depth (bin * pi / 12), the depth that of the highest score. The written
    score is score * tolerance / 5 cm, the width 1.2 * width within 0 to 10 cm.
    """
    groups = []
    for item in range(len(prediction.seeds)):
        bins = prediction.angle[item].argmax(dim=0)  # (S, D)
        score, width, tolerance = (
            _take(values[item], bins) for values in (prediction.score, prediction.width, prediction.tolerance)
        )
        depth = score.argmax(dim=1, keepdim=True)
        angle, score, width, tolerance = (values.gather(1, depth)[:, 0] for values in (bins, score, width, tolerance))
        kept = prediction.objectness[item].argmax(dim=0) == 1
        rotations = approach_frames(prediction.approach[item].double(), angle * (math.pi / ANGLES))
        depths = torch.tensor(DEPTHS, dtype=torch.float64, device=depth.device)[depth[:, 0]]
        groups.append(
            make_group(
                _array(score * tolerance / MAX_TOLERANCE, kept),
                _array((WIDTH_MARGIN * width).clamp(0.0, MAX_WIDTH), kept),
                _array(depths, kept),
                _array(rotations, kept),
                _array(prediction.seeds[item], kept),
            )
        )
    return groups


def _take(values: Tensor, bins: Tensor) -> Tensor:
    """(A, S, D) at (S, D) angles."""
    return values.gather(0, bins[None])[0]


def _array(values: Tensor, kept: Tensor) -> F64:
    """The kept rows, float64."""
    array: F64 = values[kept].double().cpu().numpy()
    return array
