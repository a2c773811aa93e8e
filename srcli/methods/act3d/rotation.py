"""How a network says a grasp's rotation: classes of yaw and tilt, six numbers, or a quaternion; what is lost, what is meant.

A quaternion with its squared error is what Act3D publishes. q and -q are one rotation, and a half turn of the jaws makes the same
grasp: a regressed rotation is compared with the nearest of them, unless ``half_turn`` is off. Classes may differ in what they
favour where a regression has to average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.nn.functional import log_softmax, normalize

from srcli.actions.poses import approach_frames, canonical_quaternions, rotation_matrices
from srcli.methods.act3d.section import Act3DNetworkConfig
from srcli.methods.keypose import frames_of
from srcli.models.geometry import tool_axes
from srcli.types import F32, F64, I64

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_TILTS = 5
"""Straight down, and tilted both ways about both axes of the tool."""


class Rotation(Protocol):
    """One way to say a rotation.

    Attributes:
        size: numbers that the network gives.
    """

    size: int

    def loss(self, said: Float[Tensor, "b r"], quaternions: Float[Tensor, "b 4"], half_turn: bool) -> Float[Tensor, " b"]:
        """How far what was said is from the expert's rotations (xyzw)."""

    def meant(self, said: F32) -> tuple[F32, F32]:
        """Quaternions (R, 4) xyzw, canonical, and the logarithms (R,) of how likely each is; from what was said, (r,)."""


class Bins:
    """Classes: ``yaws`` closing directions in a half turn, times five tilts; the network scores both kinds for itself.

    Args:
        tilt: radians between a tilted class and the vertical.
    """

    def __init__(self, yaws: int, tilt: float) -> None:
        tilted = approach_frames(yaws, tilt).reshape(yaws, _TILTS - 1, 3, 3)
        self.frames = np.concatenate([approach_frames(yaws)[:, None], tilted], axis=1).reshape(-1, 3, 3)
        self.yaws, self.size = yaws, yaws + _TILTS

    def nearest(self, quaternions: F32) -> I64:
        """(B,) class of each rotation (B, 4): the one at the smallest angle, either way round."""
        wanted = rotation_matrices(np.concatenate([np.zeros((len(quaternions), 3), np.float32), quaternions], axis=1))
        columns = np.einsum("fxa,bxa->bfa", self.frames, wanted)
        # The trace of the relative rotation, and the same after a half turn about the approach.
        trace = columns[..., 2] + np.abs(columns[..., 0] + columns[..., 1])
        best: I64 = np.argmax(trace, axis=1).astype(np.int64)
        return best

    def log_probabilities(self, said: Float[Tensor, "b r"]) -> Float[Tensor, "b f"]:
        """Of the classes, yaw by yaw."""
        yaw, tilt = log_softmax(said[:, : self.yaws], dim=1), log_softmax(said[:, self.yaws :], dim=1)
        return (yaw[:, :, None] + tilt[:, None]).flatten(1)

    def loss(self, said: Float[Tensor, "b r"], quaternions: Float[Tensor, "b 4"], half_turn: bool) -> Float[Tensor, " b"]:
        """Cross-entropy, nats."""
        label = torch.from_numpy(self.nearest(quaternions.cpu().numpy())).to(said.device)
        return -self.log_probabilities(said).gather(1, label[:, None])[:, 0]

    def meant(self, said: F32) -> tuple[F32, F32]:
        """Every class."""
        scores: F32 = self.log_probabilities(torch.from_numpy(said)[None])[0].numpy()
        return canonical_quaternions(self.frames).astype(np.float32), scores


class SixNumbers:
    """The tool's x and y axes, made orthonormal (Zhou et al., On the continuity of rotation representations, CVPR 2019)."""

    size = 6

    def loss(self, said: Float[Tensor, "b r"], quaternions: Float[Tensor, "b 4"], half_turn: bool) -> Float[Tensor, " b"]:
        """Mean squared error; a half turn of the jaws changes the sign of both axes."""
        wanted = tool_axes(quaternions)[..., :2].transpose(1, 2).flatten(1)
        return _nearest(said, [wanted, -wanted] if half_turn else [wanted])

    def meant(self, said: F32) -> tuple[F32, F32]:
        """The one rotation."""
        frames = frames_of(said[None].astype(np.float64))
        return canonical_quaternions(frames).astype(np.float32), np.zeros(1, np.float32)


class Quaternion:
    """A quaternion xyzw, normalised when it is read."""

    size = 4

    def loss(self, said: Float[Tensor, "b r"], quaternions: Float[Tensor, "b 4"], half_turn: bool) -> Float[Tensor, " b"]:
        """Mean squared error of the normalised quaternion."""
        said = normalize(said, dim=1)
        if not half_turn:
            return _nearest(said, [quaternions])
        x, y, z, w = quaternions.unbind(1)
        # q times half a turn about z: (0, 0, 1, 0).
        other = torch.stack([y, -x, w, -z], dim=1)
        return _nearest(said, [quaternions, -quaternions, other, -other])

    def meant(self, said: F32) -> tuple[F32, F32]:
        """The one rotation."""
        frames = rotation_matrices(np.concatenate([np.zeros(3), _unit(said.astype(np.float64))]).astype(np.float32)[None])
        return canonical_quaternions(frames).astype(np.float32), np.zeros(1, np.float32)


def _nearest(said: Float[Tensor, "b r"], wanted: list[Float[Tensor, "b r"]]) -> Float[Tensor, " b"]:
    return torch.stack([((said - each) ** 2).mean(dim=1) for each in wanted]).amin(dim=0)


def _unit(vector: F64) -> F64:
    made: F64 = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return made


def rotation_of(config: Act3DNetworkConfig) -> Rotation:
    """The way that the settings ask for."""
    if config.rotation == "bins":
        return Bins(config.yaws, config.tilt)
    return SixNumbers() if config.rotation == "6d" else Quaternion()
