"""Act3D as a policy."""

from __future__ import annotations

import numpy as np

from srcli.methods.act3d.decode import Found, locate
from srcli.methods.act3d.network import Act3DNetwork, build_network
from srcli.methods.act3d.section import Act3DActConfig, Act3DConfig, GhostsConfig
from srcli.methods.base import Acting, Choice, Decision, Weights
from srcli.methods.keypose import DOWN, Looking, look, nearest, own, tried
from srcli.methods.networks import restored
from srcli.types import F32, Bool


class Act3D:
    """The pose of the best ghost point with the best rotation; one that has failed is left out at every level."""

    def __init__(
        self, network: Act3DNetwork, ghosts: GhostsConfig, act: Act3DActConfig, encoder: Looking | None, device: str
    ) -> None:
        self._network, self._ghosts, self._act, self._encoder, self._device = network, ghosts, act, encoder, device

    def act(self, decision: Decision) -> Choice:
        """Look, locate, decide."""

        def barred(_: int, points: F32) -> Bool:
            return tried(decision, poses_at(points, DOWN[None]))

        given, rng = look(decision, self._encoder), decision.rng.spawn(1)[0]
        (found,) = locate(self._network, [given], self._ghosts, self._act.ghosts, [rng], self._device, barred)
        pose = self._pose(decision, found)
        return nearest(decision, pose) if self._act.snap else own(decision, pose)

    def _pose(self, decision: Decision, found: Found) -> F32:
        """(7,): of all ghost points and rotations the most likely one that repeats no failure; of an earlier level where the last
        has none."""
        if decision.phase == "place":
            rotations, likely = DOWN[None], np.zeros(1, np.float32)
        else:
            rotations, likely = self._network.rotation.meant(found.said)
        for points, logits in zip(reversed(found.ghosts), reversed(found.logits), strict=True):
            scores = (logits[:, None] + likely).ravel()
            poses = poses_at(points, rotations)
            scores = np.where(tried(decision, poses), -np.inf, scores)
            if np.isfinite(best := scores.max()):
                chosen: F32 = poses[int(np.flatnonzero(scores == best)[0])]
                return chosen
        last: F32 = poses_at(found.position[None], rotations[[int(np.argmax(likely))]])[0]
        return last


def poses_at(points: F32, rotations: F32) -> F32:
    """(S * R, 7): each of the points (S, 3) with each of the rotations (R, 4), point by point."""
    count, ways = len(points), len(rotations)
    return np.concatenate([np.repeat(points, ways, axis=0), np.tile(rotations, (count, 1))], axis=1).astype(np.float32)


def build(section: Act3DConfig, weights: Weights | None, encoder: Looking | None, device: str, seed: int) -> Acting:
    """The policy; without weights an untrained one whose initial weights follow from ``seed``.

    Raises:
        ConfigError, ArtifactError: as :func:`srcli.methods.networks.restored`.
    """

    def make(made: Act3DConfig, dim: int, seed: int) -> Act3DNetwork:
        return build_network(made.network, dim, 1 + len(made.ghosts.balls), seed)

    made, network = restored(section, weights, encoder, make, seed=seed, device=device)
    return Act3D(network, made.ghosts, section.act, encoder, device)
