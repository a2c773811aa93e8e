"""CLIPort as a policy: the highest place of a heat map that has not failed, as a pose of its own or as the nearest candidate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from srcli.learning.keyposes import KeyposeInput
from srcli.methods.base import Acting, Choice, Decision, Weights
from srcli.methods.cliport.decode import grasps, labels, releases, smoothed
from srcli.methods.cliport.maps import grid_of, maps_of
from srcli.methods.cliport.network import CliportNetwork, build_network
from srcli.methods.cliport.section import CliportActConfig, CliportConfig
from srcli.methods.keypose import Looking, look, nearest, own, tried
from srcli.methods.networks import restored
from srcli.types import F32, I64

_BLOCK = 2048
"""Entries of a heat map that are asked about at once, the highest first."""


class CliportPolicy:
    """Acts by a network on ``device``, in evaluation mode.

    Places near poses that have failed in this episode are masked, so that eight attempts are not one.
    """

    def __init__(self, network: CliportNetwork, act: CliportActConfig, encoder: Looking | None, device: str = "cpu") -> None:
        self._network, self._act, self._encoder, self._device = network, act, encoder, device
        self._grid = grid_of(network.config)

    def act(self, decision: Decision) -> Choice:
        heat, pose = self._decide(decision)
        if self._act.snap:
            return nearest(decision, pose)
        return replace(own(decision, pose), scores=self._under(heat, decision.candidates.poses))

    def _decide(self, decision: Decision) -> tuple[F32, F32]:
        """Heat map (Y, N, N), and its highest pose (7,) that has not failed; the highest of all where every one has."""
        given = look(decision, self._encoder)
        maps = maps_of([given], self._grid, self._device)
        with torch.inference_mode():
            heat: F32 = self._network(maps)[0].float().cpu().numpy()
        heights = smoothed(maps.surface[0, 3].cpu().numpy())
        order: I64 = np.argsort(-heat.reshape(-1), kind="stable")
        best = self._poses(order[:1], heat, heights, given)[0]
        for start in range(0, len(order), _BLOCK):
            poses = self._poses(order[start : start + _BLOCK], heat, heights, given)
            left = np.flatnonzero(~tried(decision, poses))
            if len(left):
                best = poses[left[0]]
                break
        return heat, best

    def _poses(self, flat: I64, heat: F32, heights: F32, given: KeyposeInput) -> F32:
        if given.place:
            return releases(flat, heights, self._grid, float(given.held[1]), self._act)
        return grasps(flat, heights, self._grid, heat.shape[0], self._act)

    def _under(self, heat: F32, poses: F32) -> F32:
        """Log probabilities (K,) of the entries that poses (K, 7) fall into, for pictures; outside of the map the lowest."""
        values = heat.reshape(-1).astype(np.float64)
        values -= values.max()
        values -= np.log(np.exp(values).sum())
        flat, inside = labels(poses, self._grid, heat.shape[0])
        scores: F32 = np.where(inside, values[flat], values.min()).astype(np.float32)
        return scores


def build(section: CliportConfig, weights: Weights | None, encoder: Looking | None, device: str, seed: int) -> Acting:
    """The policy; without weights an untrained one whose initial weights follow from ``seed``.

    Raises:
        ConfigError, ArtifactError: as :func:`srcli.methods.networks.restored`.
    """

    def make(made: CliportConfig, dim: int, seed: int) -> CliportNetwork:
        return build_network(made.network, dim, seed)

    _, network = restored(section, weights, encoder, make, seed=seed, device=device)
    return CliportPolicy(network, section.act, encoder, device)
