"""3D Diffuser Actor as a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from srcli.learning.keyposes import KeyposeInput
from srcli.methods.base import Acting, Choice, Decision, Weights
from srcli.methods.diffuser_actor.inputs import scenes_of
from srcli.methods.diffuser_actor.network import POSE, DiffuserNetwork, build_network
from srcli.methods.diffuser_actor.noising import noising_of
from srcli.methods.diffuser_actor.sampling import denoised, densest, fresh, poses_of
from srcli.methods.diffuser_actor.section import DiffuserActConfig, DiffuserConfig, DiffuserNoiseConfig
from srcli.methods.keypose import Looking, look, nearest, own, tried
from srcli.methods.networks import restored
from srcli.types import F32, Bool


class DiffuserPolicy:
    """Poses drawn by denoising; the one taken lies where most of them lie, and repeats no failure.

    Args:
        network: in evaluation mode on ``device``.
        noise: that it was trained with.
        encoder: of what is looked at; None where nothing is.
    """

    def __init__(
        self,
        network: DiffuserNetwork,
        noise: DiffuserNoiseConfig,
        act: DiffuserActConfig,
        device: str,
        encoder: Looking | None = None,
    ) -> None:
        self._network, self._config, self._device, self._encoder = network, act, device, encoder
        self._noising = noising_of(noise, device)

    def act(self, decision: Decision) -> Choice:
        """The pose itself, or the candidate nearest to it."""
        pose = self.pose(look(decision, self._encoder), decision.rng, lambda poses: tried(decision, poses))
        return nearest(decision, pose) if self._config.snap else own(decision, pose)

    def pose(self, given: KeyposeInput, rng: np.random.Generator, failed: Callable[[F32], Bool] | None = None) -> F32:
        """The pose (7,) in the densest place among those drawn that do not repeat a failure (``failed``: which of (S, 7) do)."""
        drawings = self.drawings(given, rng)
        poses = next(drawings) if failed is None else fresh(drawings, rng, failed)
        taken: F32 = poses[densest(poses, self._config.radius)]
        return taken

    def drawings(self, given: KeyposeInput, rng: np.random.Generator) -> Iterator[F32]:
        """Poses (S, 7), anew in each round."""
        config = self._config
        with torch.inference_mode():
            encoded = self._network.encode(scenes_of([given], 0, rng).to(self._device))
        for _ in range(config.rounds):
            noise = torch.from_numpy(rng.standard_normal((1, config.samples, POSE), dtype=np.float32)).to(self._device)
            numbers = denoised(self._network, encoded, self._noising, noise, config.steps)[0]
            yield poses_of(numbers.cpu().numpy(), given.place)


def build(section: DiffuserConfig, weights: Weights | None, encoder: Looking | None, device: str, seed: int) -> Acting:
    """The policy; without weights an untrained one whose initial weights follow from ``seed``.

    Raises:
        ConfigError, ArtifactError: as :func:`srcli.methods.networks.restored`.
    """

    def make(made: DiffuserConfig, dim: int, seed: int) -> DiffuserNetwork:
        return build_network(made.network, dim, seed)

    made, network = restored(section, weights, encoder, make, seed=seed, device=device)
    return DiffuserPolicy(network, made.noise, section.act, device, encoder)
