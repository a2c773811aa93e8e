"""RVT-2 as a policy: the best point of the cube, the best one of a smaller cube about it, the most likely rotation there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from srcli.methods.base import Acting, Choice, Decision, Weights
from srcli.methods.keypose import DOWN, look, nearest, own, tried
from srcli.methods.networks import restored
from srcli.methods.rvt2.cube import best_point, pixel_centres
from srcli.methods.rvt2.network import Rvt2Network, Scenes, build_network
from srcli.methods.rvt2.rotation import bin_yaw, decode
from srcli.methods.rvt2.scenes import HALF, scenes_of, to_cube, to_world
from srcli.methods.rvt2.section import Rvt2ActConfig, Rvt2Config
from srcli.types import F32

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from srcli.methods.keypose import Looking

_TRIES = 32
"""Points that are looked at, at most, for one that repeats no failure."""


class Rvt2Policy:
    """The network's own pose, or the nearest candidate.

    Args:
        network: in evaluation mode on ``device``.
        encoder: of words, and of dense features where the network draws them.
    """

    def __init__(self, network: Rvt2Network, encoder: Looking | None, act: Rvt2ActConfig, device: str) -> None:
        self._network, self._encoder, self._act, self._device = network, encoder, act, device

    def act(self, decision: Decision) -> Choice:
        given = look(decision, self._encoder)
        scenes = scenes_of([given], self._network.config.features).to(self._device)
        with torch.inference_mode():
            pose = self._pose(decision, scenes, given.place)
        return nearest(decision, pose) if self._act.snap else own(decision, pose)

    def _pose(self, decision: Decision, scenes: Scenes, place: bool) -> F32:
        """The best pose: what repeats a failure is left out of the grid before. Where nothing else is found, the last one."""
        network, zoom = self._network, self._network.config.zoom
        heat = network.first(scenes).heat
        left: list[F32] = [pose[:3] for pose in decision.failed]
        pose = np.concatenate([to_world(best_point(heat)[0][0].cpu().numpy()), DOWN])
        for _ in range(_TRIES):
            centre, score = best_point(heat, self._left_out(decision, torch.zeros(3), 1.0, left))
            if torch.isneginf(score[0]):
                break
            seen = network.second(scenes, centre)
            there, score = best_point(seen.heat, self._left_out(decision, centre[0].cpu(), zoom, left))
            if torch.isneginf(score[0]):
                left.append(to_world(centre[0].cpu().numpy()))
                continue
            read = network.turned(seen, there)
            yaw = network.yaws(read).argmax(dim=-1)
            tilt = int(network.tilts(read, yaw).argmax(dim=-1)[0])
            turn = DOWN if place else decode(bin_yaw(int(yaw[0]), network.config.yaw_bins), tilt, network.config.tilt)
            pose = np.concatenate([to_world(network.back(there, centre)[0].cpu().numpy()), turn])
            if not tried(decision, pose[None])[0]:
                return pose
            left.append(pose[:3])
        return pose

    def _left_out(self, decision: Decision, centre: Float[Tensor, " 3"], zoom: float, left: list[F32]) -> Bool[Tensor, "1 r r r"]:
        """Points of a cube's grid that lie below the table, near to what is left out, or where a failure would be repeated."""
        size = self._network.config.size
        axes = [at + pixel_centres(size) / zoom for at in centre]
        table = float(to_cube(np.zeros(3, np.float32))[2])
        blocked = torch.zeros(size, size, size, dtype=torch.bool)
        blocked |= (axes[2] < table)[None, None, :]
        for position in left:
            x, y, z = ((axis - at).square() for axis, at in zip(axes, to_cube(position).tolist(), strict=True))
            blocked |= x[:, None, None] + y[None, :, None] + z[None, None, :] <= (self._act.avoid / HALF) ** 2
        if decision.failed:
            poses = np.empty((size**3, 7), np.float32)
            poses[:, :3] = to_world(torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3).numpy())
            poses[:, 3:] = DOWN
            blocked |= torch.from_numpy(tried(decision, poses)).view(size, size, size)
        return blocked[None].to(self._device)


def build(section: Rvt2Config, weights: Weights | None, encoder: Looking | None, device: str, seed: int) -> Acting:
    """The policy; without weights an untrained one whose initial weights follow from ``seed``.

    Raises:
        ConfigError, ArtifactError: as :func:`srcli.methods.networks.restored`.
    """

    def make(made: Rvt2Config, dim: int, seed: int) -> Rvt2Network:
        return build_network(made.network, dim, HALF, seed)

    _, network = restored(section, weights, encoder, make, seed=seed, device=device)
    return Rvt2Policy(network, encoder, section.act, device)
