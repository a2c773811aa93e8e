"""Act3D's network (section 3.2): a scene that has read the sentence, ghost points and a query that read the scene, their match.

The image encoder and its feature pyramid are replaced by dense features that are frozen and computed once: cells of all views for
the coarse level, the nearest cells or surface points for the finer ones. One keypose is predicted for a decision, so the
gripper's history is one learned token a phase, to which the measured size of what is held is added. Beyond the paper a scene
token may say how similar it is to the sentence (an encoder with a joint space knows, and demonstrations are few), and where it
lies from the anchor (values of the published attention know no positions).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import nn

from srcli.errors import ConfigError
from srcli.methods.act3d.rotary import RelativeAttention, rotary_code
from srcli.methods.act3d.rotation import rotation_of
from srcli.methods.act3d.section import Act3DNetworkConfig
from srcli.methods.networks import initial
from srcli.models.geometry import inverse_root
from srcli.models.layers import mlp

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float
    from torch import Tensor

_HELD = 0.05
"""Size of what is held that counts as 1, metres."""
_NEAR = 0.05
"""Offset of a token from the anchor that counts as 1, metres."""
_COSINE = 4.0
"""Factor on cosines of features and sentence, which are small."""


@dataclass(frozen=True)
class Tokens:
    """Scene tokens of one level.

    Attributes:
        places: (B, N, 3) metres, from the middle of the workspace.
        features: (B, N, D) unit length.
        colors: (B, N, 3) in -1..1; 0 where a token has none.
        mask: (B, N) True where a token is real.
    """

    places: Float[Tensor, "b n 3"]
    features: Float[Tensor, "b n d"]
    colors: Float[Tensor, "b n 3"]
    mask: Bool[Tensor, "b n"]

    def to(self, device: str) -> Tokens:
        """The same on another device."""
        return Tokens(*(getattr(self, each.name).to(device) for each in fields(self)))


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        words: (B, L, D): the sentence, then its words.
        mask: (B, L) True where a word is real.
        place: (B,) int64: 1 for a placement, 0 for a pick.
        held: (B, 3) radius, half width and height of what is to be placed, metres; zeros for a pick.
    """

    words: Float[Tensor, "b l d"]
    mask: Bool[Tensor, "b l"]
    place: Tensor
    held: Float[Tensor, "b 3"]

    def to(self, device: str) -> Asked:
        """The same on another device."""
        return Asked(*(getattr(self, each.name).to(device) for each in fields(self)))


class _Level(nn.Module):
    """The attention of a level: the scene reads the sentence; ghost points and the query read both."""

    def __init__(self, config: Act3DNetworkConfig) -> None:
        super().__init__()

        def layers(count: int) -> nn.ModuleList:
            return nn.ModuleList(RelativeAttention(config.width, config.heads) for _ in range(count))

        self.text, self.ghosts, self.query = (
            layers(count) for count in (config.text_layers, config.ghost_layers, config.query_layers)
        )


class Act3DNetwork(nn.Module):
    """Ghost points and a query, matched level by level.

    Args:
        feature_dim: D of the encoder's joint space.
        levels: 1 + the number of finer ones.

    Raises:
        ConfigError: the heads do not divide the width into channels for three axes.
    """

    def __init__(self, config: Act3DNetworkConfig, feature_dim: int, levels: int) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        unit = 6 if config.rotary.over == "width" else 6 * heads
        if width % unit or width % heads:
            raise ConfigError(
                f"methods.act3d.network.width = {width} does not fit {heads} heads and three axes",
                f"choose a multiple of {unit if unit % heads == 0 else 6 * heads}",
            )
        self.config, self.rotation = config, rotation_of(config)
        self.token, self.word = nn.Linear(feature_dim, width), nn.Linear(feature_dim, width)
        # Features and words share a space: alike at first, so that what matches there matches here from the start.
        nn.init.orthogonal_(self.token.weight)
        with torch.no_grad():
            self.token.weight.mul_(feature_dim**0.5)
            self.word.weight.copy_(self.token.weight)
        self.color = nn.Linear(3, width, bias=False)
        self.likeness = nn.Linear(1, width, bias=False) if config.similarity else None
        self.offset = mlp((3, width, width)) if config.offsets else None
        self.gripper = nn.Embedding(2, width)
        self.held = mlp((3, width, width))
        self.ghost, self.query = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))
        self.levels = nn.ModuleList(_Level(config) for _ in range(1 if config.tied else levels))
        self.rotate = mlp((width, width, self.rotation.size))

    def first_query(self, count: int) -> Float[Tensor, "b 1 c"]:
        """The query before it has read anything."""
        return self.query.expand(count, 1, -1)

    def forward(
        self,
        level: int,
        tokens: Tokens,
        asked: Asked,
        ghosts: Float[Tensor, "b s 3"],
        query: Float[Tensor, "b 1 c"],
        anchor: Float[Tensor, "b 3"],
    ) -> tuple[Float[Tensor, "b s"], Float[Tensor, "b 1 c"]]:
        """Logits of a level's ghost points, and the query after it.

        Args:
            ghosts: metres, from the middle of the workspace, like ``anchor``, which is where the query stands: the position that
                the level before has found, or the middle.
        """
        attention = self.levels[0 if self.config.tied else level]
        assert isinstance(attention, _Level)
        words, count = self.word(asked.words), len(ghosts)
        scene = self.token(tokens.features) + self.color(tokens.colors)
        if self.likeness is not None:
            scene = scene + self.likeness(_COSINE * tokens.features @ asked.words[:, 0, :, None])
        if self.offset is not None and level:
            scene = scene + self.offset((tokens.places - anchor[:, None]) / _NEAR)
        gripper = self.gripper(asked.place)[:, None]
        gripper = gripper + asked.place[:, None, None] * self.held(asked.held / _HELD)[:, None]
        context = torch.cat([scene, gripper], dim=1)
        for layer in attention.text:
            context = layer(context, words, asked.mask)
        context = torch.cat([context, words], dim=1)
        mask = torch.cat([tokens.mask, torch.ones_like(asked.mask[:, :1]), asked.mask], dim=1)
        # The gripper and the words have no place: they stand in the middle of the workspace, as published.
        nowhere = ghosts.new_zeros(count, 1 + words.shape[1], 3)
        code = self._code(torch.cat([tokens.places, nowhere], dim=1))
        around, here = (self._code(ghosts), code), (self._code(anchor[:, None]), code)
        states = self.ghost.expand(count, ghosts.shape[1], -1)
        for layer in attention.ghosts:
            states = layer(states, context, mask, around)
        for layer in attention.query:
            query = layer(query, context, mask, here)
        return (states @ query.transpose(1, 2))[..., 0] * inverse_root(self.config.width), query

    def _code(self, places: Float[Tensor, "b n 3"]) -> Complex[Tensor, "b h n e"]:
        return rotary_code(places, self.config.width, self.config.heads, self.config.rotary)


def build_network(config: Act3DNetworkConfig, feature_dim: int, levels: int, seed: int) -> Act3DNetwork:
    """A network whose initial weights follow from the seed alone."""
    return initial(seed, lambda: Act3DNetwork(config, feature_dim, levels))
