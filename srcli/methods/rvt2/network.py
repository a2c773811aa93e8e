"""RVT-2's network: a multi-view transformer that looks at the whole cube, and another that looks again, closer, where it pointed.

Goyal et al., RSS 2024. Published sizes stand with the keys of the section ``methods.rvt2.network``. What differs:
the gripper's state is what is to be placed, if anything; nothing is predicted of opening and collision, which follow from the
phase; rotation is a bin of yaw and a class of tilt; only points inside a stage's cube are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import one_hot

from srcli.errors import ConfigError
from srcli.methods.networks import initial
from srcli.methods.rvt2.cube import VIEWS, draw, images
from srcli.methods.rvt2.layers import Block, ConvexUpsample, activation, linear, positions, sample
from srcli.methods.rvt2.rotation import TILTS
from srcli.methods.rvt2.section import Rvt2NetworkConfig

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

STATE = 4
"""Numbers of the gripper's state: 1 where something is to be placed, and its radius, half width and height."""
HELD_UNIT = 0.1
"""Metres that count as 1 in the state."""
WORDS = 77
"""Rows of a token embedding, at most: those that CLIP reads."""


@dataclass(frozen=True)
class Scenes:
    """B decisions as the network sees them; points of all of them one after the other. Coordinates are the cube's.

    Attributes:
        points: (P, 3); colors: (P, 3) in -1..1; rows: (P,) the decision of each.
        cells: (C, 3); features: (C, D) unit length; cosines: (C, 1) of features and sentence, each scene's from 0 to 1;
            cell_rows: (C,); None without dense features.
        tokens: (B, L, D); token_mask: (B, L) True where real; text: (B, D).
        state: (B, 4).
    """

    points: Float[Tensor, "p 3"]
    colors: Float[Tensor, "p 3"]
    rows: Int[Tensor, " p"]
    tokens: Float[Tensor, "b l d"]
    token_mask: Bool[Tensor, "b l"]
    text: Float[Tensor, "b d"]
    state: Float[Tensor, "b 4"]
    cells: Float[Tensor, "c 3"] | None = None
    features: Float[Tensor, "c d"] | None = None
    cosines: Float[Tensor, "c 1"] | None = None
    cell_rows: Int[Tensor, " c"] | None = None

    def about(self, centres: Float[Tensor, "b 3"], zoom: float) -> Scenes:
        """The same, seen in cubes of a ``zoom``-th of the side about other centres; points outside them are left out."""
        points, near = _zoomed(self.points, self.rows, centres, zoom)
        made = replace(self, points=points, colors=self.colors[near], rows=self.rows[near])
        if self.cells is None or self.features is None or self.cosines is None or self.cell_rows is None:
            return made
        cells, near = _zoomed(self.cells, self.cell_rows, centres, zoom)
        kept = {"features": self.features[near], "cosines": self.cosines[near], "cell_rows": self.cell_rows[near]}
        return replace(made, cells=cells, **kept)

    def to(self, device: torch.device | str) -> Scenes:
        """The same decisions on another device."""
        there = {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) is not None}
        return replace(self, **{name: value.to(device) for name, value in there.items()})


def _zoomed(
    points: Float[Tensor, "p 3"], rows: Int[Tensor, " p"], centres: Float[Tensor, "b 3"], zoom: float
) -> tuple[Float[Tensor, "q 3"], Int[Tensor, " q"]]:
    moved = (points - centres[rows]) * zoom
    near = torch.nonzero((moved.abs() < 1.0).all(dim=-1))[:, 0]
    return moved[near], near


@dataclass(frozen=True)
class Seen:
    """What one stage made of B decisions.

    Attributes:
        heat: (B, 3, R, R) logits of the heat maps.
        coarse: (B, 3, C, n, n) features that they were made from.
    """

    heat: Float[Tensor, "b 3 r r"]
    coarse: Float[Tensor, "b 3 c n n"]


class MultiViewTransformer(nn.Module):
    """One stage: views to tokens, tokens of a view attend to each other, then all of them and the words, then heat maps."""

    def __init__(self, config: Rvt2NetworkConfig, feature_dim: int) -> None:
        super().__init__()
        self.config, self.side = config, config.size // config.patch
        width, small = config.width, config.width // 4
        extra = config.feature_width + 1 if config.features else 0
        self.project = nn.Linear(feature_dim, config.feature_width, bias=False) if config.features else None
        self.pixel = nn.Sequential(nn.Conv2d(10 + extra, config.pixel_width, 1), activation())
        self.patch = nn.Sequential(nn.Conv2d(config.pixel_width, width - small, config.patch, config.patch), activation())
        self.state = nn.Sequential(nn.Linear(STATE, small), activation())
        self.join, self.words = nn.Linear(width, width), nn.Linear(feature_dim, width)
        self.said, self.place = positions(1 + WORDS, width), positions(len(VIEWS) * self.side**2, width)
        self.within = nn.ModuleList(Block(width, config.heads, config.expansion) for _ in range(config.within))
        self.joint = nn.ModuleList(Block(width, config.heads, config.expansion) for _ in range(config.joint))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.map_width))
        self.up = ConvexUpsample(config.map_width, config.patch)

    def look(self, scenes: Scenes, half: float) -> Float[Tensor, "b 3 c r r"]:
        """The views' channels.

        Args:
            half: of the cube's side that the scenes' coordinates are of, metres.
        """
        config, count = self.config, len(scenes.state)
        index = draw(scenes.points, scenes.rows, count, config.size, config.splat / half)
        seen = images(index, scenes.points, scenes.colors)
        if self.project is None or scenes.cells is None or scenes.features is None or scenes.cosines is None:
            return seen
        assert scenes.cell_rows is not None
        index = draw(scenes.cells, scenes.cell_rows, count, config.size, config.feature_splat / half)
        values = torch.cat([self.project(scenes.features), scenes.cosines], dim=-1)
        padded = torch.cat([values, values.new_zeros(1, values.shape[-1])])
        return torch.cat([seen, padded[index].permute(0, 1, 4, 2, 3)], dim=2)

    def forward(self, seen: Float[Tensor, "b 3 c r r"], scenes: Scenes) -> Seen:
        """Heat maps of the views."""
        b, views = seen.shape[:2]
        cells = self.side**2
        patches = self.patch(self.pixel(seen.flatten(0, 1)))  # (b 3, d', n, n)
        tokens = patches.flatten(2).transpose(1, 2).reshape(b, views * cells, -1)
        state = self.state(scenes.state)[:, None].expand(-1, views * cells, -1)
        tokens = self.join(torch.cat([tokens, state.to(tokens.dtype)], dim=-1))
        said = torch.cat([scenes.text[:, None], scenes.tokens[:, :WORDS]], dim=1)
        heard = torch.cat([torch.ones_like(scenes.token_mask[:, :1]), scenes.token_mask[:, :WORDS]], dim=1)
        spoken = said.shape[1]
        words = self.words(said) + self.said[:, :spoken]
        tokens = (tokens + self.place).reshape(b * views, cells, -1)
        for block in self.within:
            tokens = block(tokens)
        both = torch.cat([words, tokens.reshape(b, views * cells, -1)], dim=1)
        mask = torch.cat([heard, heard.new_ones(b, views * cells)], dim=1)
        for block in self.joint:
            both = block(both, mask)
        maps = self.out(both[:, spoken:]).reshape(b * views, self.side, self.side, -1).permute(0, 3, 1, 2)
        heat = self.up(maps).float()
        return Seen(heat.reshape(b, views, *heat.shape[1:]), maps.reshape(b, views, *maps.shape[1:]))


class Rvt2Network(nn.Module):
    """Both stages, which share no weights, and the heads of rotation, which read the second.

    Args:
        config: section ``methods.rvt2.network``.
        feature_dim: D of the encoder's joint space.
        half: half the side of the cube, metres.

    Raises:
        ConfigError: sizes that do not divide each other.
    """

    def __init__(self, config: Rvt2NetworkConfig, feature_dim: int, half: float) -> None:
        super().__init__()
        for key, value, of in (("heads", config.heads, config.width), ("patch", config.patch, config.size)):
            if of % value:
                name = "width" if key == "heads" else "size"
                raise ConfigError(
                    f"methods.rvt2.network.{key} = {value} does not divide the {name} {of}",
                    f"choose methods.rvt2.network.{name} as a multiple of it",
                )
        self.config, self.metres = config, half
        self.coarse = MultiViewTransformer(config, feature_dim)
        self.fine = MultiViewTransformer(config, feature_dim)
        both = 2 * len(VIEWS) * config.map_width
        self.yaw = linear((both, config.map_width, config.yaw_bins))
        self.tilt = linear((both + config.yaw_bins, config.map_width, TILTS))

    def first(self, scenes: Scenes) -> Seen:
        """The first stage: the whole cube."""
        return self.coarse(self.coarse.look(scenes, self.metres), scenes)  # type: ignore[no-any-return]

    def second(self, scenes: Scenes, centres: Float[Tensor, "b 3"]) -> Seen:
        """The second stage: a zoomed cube about points of the first."""
        near = scenes.about(centres, self.config.zoom)
        return self.fine(self.fine.look(near, self.metres / self.config.zoom), near)  # type: ignore[no-any-return]

    def closer(self, points: Float[Tensor, "b 3"], centres: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        """Points of the cube in the coordinates of the zoomed one."""
        return (points - centres) * self.config.zoom

    def back(self, points: Float[Tensor, "b 3"], centres: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
        """Points of the zoomed cube in the coordinates of the whole one."""
        return points / self.config.zoom + centres

    def turned(self, seen: Seen, points: Float[Tensor, "b 3"]) -> Float[Tensor, "b f"]:
        """What rotation is read from: the maps at points (coordinates of the zoomed cube) and their maxima over each view."""
        at = torch.stack([points[:, [view.first, view.second]] for view in VIEWS], dim=1)
        local = sample(seen.coarse, at)
        return torch.cat([local, seen.coarse.amax(dim=(3, 4)).to(local.dtype)], dim=2).flatten(1)

    def yaws(self, given: Float[Tensor, "b f"]) -> Float[Tensor, "b y"]:
        """Logits of the bins of yaw."""
        return self.yaw(given)  # type: ignore[no-any-return]

    def tilts(self, given: Float[Tensor, "b f"], bins: Int[Tensor, " b"]) -> Float[Tensor, "b t"]:
        """Logits of the classes of tilt, given a bin of yaw (published: each Euler angle given those before it)."""
        known = one_hot(bins, self.config.yaw_bins).to(given.dtype)
        return self.tilt(torch.cat([given, known], dim=-1))  # type: ignore[no-any-return]


def build_network(config: Rvt2NetworkConfig, feature_dim: int, half: float, seed: int) -> Rvt2Network:
    """A network whose initial weights follow from the seed alone."""
    return initial(seed, lambda: Rvt2Network(config, feature_dim, half))
