"""Act3D as a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from srcli.errors import ArtifactError
from srcli.methods.act3d.decode import Found, locate
from srcli.methods.act3d.network import Act3DNetwork, build_network
from srcli.methods.act3d.section import Act3DActConfig, Act3DConfig, GhostsConfig
from srcli.methods.base import Acting, Choice, Decision, Weights
from srcli.methods.keypose import look, nearest, own, tried
from srcli.methods.scoring import fitted_settings
from srcli.models.state import load_arrays
from srcli.types import F32, Bool

if TYPE_CHECKING:
    from srcli.perception.encoders.interface import Encoder

DOWN = np.array([[1.0, 0.0, 0.0, 0.0]], np.float32)
"""Tool straight down at yaw 0: a placement keeps the yaw that its object was grasped with."""


class Act3D:
    """The pose of the best ghost point with the best rotation; one that has failed is left out at every level."""

    def __init__(
        self, network: Act3DNetwork, ghosts: GhostsConfig, act: Act3DActConfig, encoder: Encoder | None, device: str
    ) -> None:
        self._network, self._ghosts, self._act, self._encoder, self._device = network, ghosts, act, encoder, device

    def act(self, decision: Decision) -> Choice:
        """Look, locate, decide."""

        def barred(_: int, points: F32) -> Bool:
            return tried(decision, poses_at(points, DOWN))

        given, rng = look(decision, self._encoder), decision.rng.spawn(1)[0]
        (found,) = locate(self._network, [given], self._ghosts, self._act.ghosts, [rng], self._device, barred)
        pose = self._pose(decision, found)
        return nearest(decision, pose) if self._act.snap else own(decision, pose)

    def _pose(self, decision: Decision, found: Found) -> F32:
        """(7,): of all ghost points and rotations the most likely one that repeats no failure; of an earlier level where the last
        has none."""
        if decision.phase == "place":
            rotations, likely = DOWN, np.zeros(1, np.float32)
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


def build(section: Act3DConfig, weights: Weights | None, encoder: Encoder | None, device: str, seed: int) -> Acting:
    """The policy; without weights an untrained one whose initial weights follow from ``seed``.

    Raises:
        ArtifactError: weights and settings do not fit, or there are neither weights nor an encoder.
        ConfigError: the settings contradict each other.
    """
    if weights is not None:
        made, dim = fitted_settings(Act3DConfig, weights)
    elif encoder is not None:
        made, dim = section, encoder.dim
    else:
        raise ArtifactError("an untrained network needs an encoder: its width follows from it")
    network = build_network(made.network, dim, 1 + len(made.ghosts.balls), seed)
    if weights is not None:
        load_arrays(network, weights.arrays, weights.source)
    return Act3D(network.to(device).eval(), made.ghosts, section.act, encoder, device)
