"""What noise does to a pose, and the way back: DDPM's schedules, DDIM's step, and straight paths.

Denoising diffusion (Ho et al. 2020, equation 4): x_k = sqrt(abar_k) x_0 + sqrt(1 - abar_k) eps, where abar_k is the product of
(1 - beta_i) up to step k. Positions and rotations have schedules of their own (3D Diffuser Actor, section 3.2). The way back is
DDIM without chance (Song et al. 2021, equation 12 with sigma = 0). With flow matching (Lipman et al. 2023; Liu et al. 2023) the
pose at time u is (1 - u) x_0 + u eps, the network says the velocity eps - x_0, and Euler's steps lead from u = 1 to 0.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from srcli.types import F64, I64

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from srcli.methods.diffuser_actor.section import DiffuserNoiseConfig

FIRST_BETA = 1e-4
"""Of the positions' schedule (Ho et al.)."""
LARGEST_BETA = 0.999
"""Of the rotations' schedule (Nichol and Dhariwal)."""
COSINE_OFFSET = 0.008
"""s in the rotations' schedule: the first steps are not too small."""
POSITION = 3
"""So many of a pose's 9 numbers are its position; the rest is the rotation's 6."""


def scaled_linear(steps: int, last: float) -> F64:
    """Betas (steps,) whose square roots rise evenly from that of ``FIRST_BETA`` to that of ``last`` ("scaled_linear")."""
    betas: F64 = np.linspace(math.sqrt(FIRST_BETA), math.sqrt(last), steps, dtype=np.float64) ** 2
    return betas


def squared_cosine(steps: int) -> F64:
    """Betas (steps,) for which abar falls as cos^2 ("squaredcos_cap_v2"; Nichol and Dhariwal 2021, equation 17)."""
    time = np.arange(steps + 1, dtype=np.float64) / steps
    share = np.cos((time + COSINE_OFFSET) / (1.0 + COSINE_OFFSET) * math.pi / 2.0) ** 2
    betas: F64 = np.minimum(1.0 - share[1:] / share[:-1], LARGEST_BETA)
    return betas


class Diffusion:
    """Noise on poses of 9 numbers and DDIM's way back.

    Args:
        config: section ``methods.diffuser_actor.noise``.

    Attributes:
        kept: (steps, 9) abar of each step: the share of the signal's power that is left.
    """

    def __init__(self, config: DiffuserNoiseConfig, device: str = "cpu") -> None:
        self.steps = config.steps
        position = np.cumprod(1.0 - scaled_linear(config.steps, config.position_end))
        rotation = np.cumprod(1.0 - squared_cosine(config.steps))
        kept = np.stack([position] * POSITION + [rotation] * 6, axis=1)
        self.kept = torch.from_numpy(kept).float().to(device)

    def noised(
        self, clean: Float[Tensor, "*b 9"], noise: Float[Tensor, "*b 9"], when: Float[Tensor, "*b"]
    ) -> Float[Tensor, "*b 9"]:
        """Poses after the steps ``when``, counted from 0."""
        kept = self.kept[when.long()]
        return kept.sqrt() * clean + (1.0 - kept).sqrt() * noise

    def target(self, clean: Float[Tensor, "*b 9"], noise: Float[Tensor, "*b 9"]) -> Float[Tensor, "*b 9"]:
        """What the network is to say: the noise."""
        return noise

    def times(self, uniform: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Steps from numbers uniform in 0..1 (1 left out)."""
        return (uniform * self.steps).floor().clamp_max(self.steps - 1)

    def way(self, steps: int) -> list[tuple[float, float]]:
        """The steps to take and where each leads, from the last one down; -1 is the clean pose."""
        at: I64 = np.round(np.linspace(self.steps - 1, 0, min(steps, self.steps))).astype(np.int64)
        return [(float(a), float(b)) for a, b in zip(at, [*at[1:], -1], strict=True)]

    def back(self, noisy: Float[Tensor, "*b 9"], said: Float[Tensor, "*b 9"], now: float, to: float) -> Float[Tensor, "*b 9"]:
        """One step of DDIM; the clean pose that it believes in is kept within -1..1, where all poses lie."""
        kept = self.kept[int(now)]
        after = self.kept[int(to)] if to >= 0 else torch.ones_like(kept)
        clean = ((noisy - (1.0 - kept).sqrt() * said) / kept.sqrt()).clamp(-1.0, 1.0)
        # The noise that belongs to the pose as it was kept.
        noise = (noisy - kept.sqrt() * clean) / (1.0 - kept).sqrt()
        return after.sqrt() * clean + (1.0 - after).sqrt() * noise


class Flow:
    """Straight paths between poses (time 0) and noise (time 1), and Euler's way back.

    The network is told times as steps of the diffusion, so that its code of time has the same range.
    """

    def __init__(self, config: DiffuserNoiseConfig) -> None:
        self.steps = config.steps

    def noised(
        self, clean: Float[Tensor, "*b 9"], noise: Float[Tensor, "*b 9"], when: Float[Tensor, "*b"]
    ) -> Float[Tensor, "*b 9"]:
        """Poses on their paths at times ``when``, in steps."""
        share = (when / self.steps)[..., None]
        return (1.0 - share) * clean + share * noise

    def target(self, clean: Float[Tensor, "*b 9"], noise: Float[Tensor, "*b 9"]) -> Float[Tensor, "*b 9"]:
        """What the network is to say: the velocity."""
        return noise - clean

    def times(self, uniform: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Times, in steps, from numbers uniform in 0..1."""
        return uniform * self.steps

    def way(self, steps: int) -> list[tuple[float, float]]:
        """Times to go through and where each leads, from all noise to none."""
        at = np.linspace(self.steps, 0.0, steps + 1)
        return [(float(a), float(b)) for a, b in pairwise(at)]

    def back(self, noisy: Float[Tensor, "*b 9"], said: Float[Tensor, "*b 9"], now: float, to: float) -> Float[Tensor, "*b 9"]:
        """One step of Euler."""
        return noisy - (now - to) / self.steps * said


Noising = Diffusion | Flow


def noising_of(config: DiffuserNoiseConfig, device: str = "cpu") -> Noising:
    """What the section asks for."""
    return Flow(config) if config.flow else Diffusion(config, device)
