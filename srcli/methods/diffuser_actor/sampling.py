"""Poses from noise, and the one in the densest place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from srcli.learning.keyposes import WORKSPACE
from srcli.methods.diffuser_actor.network import DiffuserNetwork, Encoded
from srcli.methods.diffuser_actor.noising import Noising
from srcli.methods.diffuser_actor.rotation import from_nine
from srcli.methods.keypose import DOWN, distances
from srcli.types import F32, Bool

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

PUSH = 0.02
"""Where all that is drawn repeats failures, poses are moved by chance: metres at first, twice as far each time."""
PUSHES = 6
"""Of such moves at most; the last goes across the whole workspace."""


@torch.inference_mode()
def denoised(
    network: DiffuserNetwork, scenes: Encoded, noising: Noising, noise: Float[Tensor, "b s 9"], steps: int
) -> Float[Tensor, "b s 9"]:
    """Poses within the workspace that noise leads to, S for each of B scenes."""
    poses = noise
    for now, to in noising.way(steps):
        when = torch.full(poses.shape[:2], now, device=poses.device)
        poses = noising.back(poses, network.denoise(scenes, poses, when), now, to)
    return poses.clamp(-1.0, 1.0)


def poses_of(numbers: F32, place: bool) -> F32:
    """(S, 7) poses of (S, 9) numbers; a placement's rotation is not drawn."""
    poses = from_nine(numbers)
    if place:
        poses[:, 3:] = DOWN
    return poses


def densest(poses: F32, radius: float) -> int:
    """Which of S poses (S, 7) has most of them around it: a sum of Gaussians of ``radius`` metres; the first of equals."""
    around = np.exp(-0.5 * (distances(poses, poses) / radius) ** 2).sum(axis=1)
    return int(np.argmax(np.round(around, 6)))


def fresh(drawings: Iterator[F32], rng: np.random.Generator, failed: Callable[[F32], Bool]) -> F32:
    """(n, 7) the poses of the first drawing that has some that do not repeat a failure.

    Where none of them has, those of the last are moved within the workspace, farther and farther; where even that repeats
    failures everywhere, as they are.
    """
    last = np.zeros((0, 7), np.float32)
    for poses in drawings:
        last = poses
        new: F32 = poses[~failed(poses)]
        if len(new):
            return new
    for number in range(PUSHES):
        moved = last.copy()
        moved[:, :3] += rng.normal(0.0, PUSH * 2.0**number, (len(last), 3)).astype(np.float32)
        moved[:, :3] = np.clip(moved[:, :3], *WORKSPACE)
        new = moved[~failed(moved)]
        if len(new):
            return new
    return last
