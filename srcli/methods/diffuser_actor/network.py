"""The denoiser of 3D Diffuser Actor (Ke et al. 2024, section 3): noisy poses read the scene's cells and the sentence.

What differs from the paper: features are the frozen encoder's, of one scale, without a trained pyramid; the gripper has no
history, so its token is learned, tells the phase, and has the extent of what is held as a token beside it; scene tokens do not
read poses, so that many noisy poses share one encoded scene (Mini-Diffuser, 2025); the gripper's opening follows from the phase
and is not predicted; norms stand before the layers. Position and similarity as features of cells, and values that turn with the
rotary code, are not in the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn

from srcli.errors import ConfigError
from srcli.learning.keyposes import WORKSPACE
from srcli.methods.diffuser_actor.attention import Layer, Rotary
from srcli.methods.diffuser_actor.section import DiffuserNetworkConfig
from srcli.methods.networks import initial

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float, Int
    from torch import Tensor

POSE = 9
"""Numbers of a pose: position in -1..1, two columns of the rotation."""
HELD_UNIT = 0.1
"""Metres that count as 1 in the extent of what is held."""
PERIODS = 10_000.0
"""Slowest over fastest period of the code of the time step."""
WAVES = 5
"""Octaves of a position as a feature, the first with half a period across the workspace."""


@dataclass(frozen=True)
class Scenes:
    """B decisions as tensors.

    Attributes:
        cells: (B, C, 3) metres.
        features: (B, C, D) unit length.
        cell_mask: (B, C) True where a cell is real; real ones come first.
        text: (B, D) the sentence, unit length.
        tokens, token_mask: (B, L, D) its words, and which are real.
        place: (B,) True for placements.
        held: (B, 3) radius, half width and height of what is held, metres; zeros for picks.
    """

    cells: Float[Tensor, "b c 3"]
    features: Float[Tensor, "b c d"]
    cell_mask: Bool[Tensor, "b c"]
    text: Float[Tensor, "b d"]
    tokens: Float[Tensor, "b l d"]
    token_mask: Bool[Tensor, "b l"]
    place: Bool[Tensor, " b"]
    held: Float[Tensor, "b 3"]

    def __len__(self) -> int:
        return len(self.cells)

    def to(self, device: str) -> Scenes:
        """The same on another device."""
        return Scenes(*(getattr(self, one.name).to(device) for one in fields(self)))


Offered = tuple["Tensor", "Tensor", "Tensor"]
"""Keys (B, H, N, E), values (B, H, N, E) and mask (B, N) of the tokens that a layer reads."""


@dataclass(frozen=True)
class Encoded:
    """Scenes as noisy poses read them: computed once for all poses and all steps.

    Attributes:
        text: what the layer that reads the sentence is offered.
        scene: for each layer that reads the whole scene.
        sampled: for each layer among the sampled cells: the shared ones, those of the position, those of the rotation.
        gripper: (B, 1, W) what the gripper's token made of the scene.
    """

    text: Offered
    scene: tuple[Offered, ...]
    sampled: tuple[Offered, ...]
    gripper: Float[Tensor, "b 1 w"]


class DiffuserNetwork(nn.Module):
    """Scenes and noisy poses to what their noising asks for: the noise, or a velocity.

    Args:
        config: section ``methods.diffuser_actor.network``.
        feature_dim: D of the encoder's joint space.

    Raises:
        ConfigError: width, heads and rotary code do not fit.
    """

    def __init__(self, config: DiffuserNetworkConfig, feature_dim: int) -> None:
        super().__init__()
        _check(config)
        width = config.width

        def layers(count: int, **kind: bool) -> nn.ModuleList:
            made = (Layer(width, config.heads, config.feedforward, relative=config.relative, **kind) for _ in range(count))
            return nn.ModuleList(made)

        self.config = config
        for name, bound in zip(("lower", "upper"), WORKSPACE, strict=True):
            self.register_buffer(name, torch.tensor(np.asarray(bound, np.float32)), persistent=False)
        self.lower: Tensor
        self.upper: Tensor
        self.rotary = Rotary(width, config.heads, config.rotary, config.rotary_scale, config.rotary_base)
        # Cells and words are of one joint space: what brings them to the width is shared.
        self.feature = nn.Linear(feature_dim, width)
        self.similar = nn.Linear(1, width) if config.similarity else None
        self.where = _two(3 + 6 * WAVES, width) if config.positions else None
        self.language = layers(config.language_layers)
        self.gripper = nn.Embedding(2, width)
        self.held = _two(3, width)
        self.gripping = layers(config.gripper_layers)
        self.pose = nn.Linear(POSE, width)
        self.time = _two(width, width)
        self.instruct = Layer(width, config.heads, config.feedforward)
        self.cross = layers(config.cross_layers, conditioned=True)
        self.among, self.of_position, self.of_rotation = (
            layers(count, own=True, conditioned=True) for count in (config.self_layers, config.head_layers, config.head_layers)
        )
        # Layers in which sampled cells read each other, one before each of the noisy pose's but the first.
        self.mixing = layers(config.self_layers + config.head_layers - 1)
        self.say_position, self.say_rotation = (nn.Sequential(nn.LayerNorm(width), _two(width, width, n)) for n in (3, 6))

    def forward(self, scenes: Scenes, poses: Float[Tensor, "b s 9"], when: Float[Tensor, "b s"]) -> Float[Tensor, "b s 9"]:
        """What each noisy pose of each scene is told, at its own time step; poses of a scene do not see each other."""
        return self.denoise(self.encode(scenes), poses, when)

    def encode(self, scenes: Scenes) -> Encoded:
        """All that does not depend on the noisy poses."""
        mask, token_mask = _some(scenes.cell_mask), _some(scenes.token_mask)
        turns = self.rotary(self._centred(scenes.cells))
        # Of unit length: times sqrt(D), its channels are about 1.
        loud = math.sqrt(scenes.features.shape[-1])
        cells, words = self.feature(scenes.features * loud), self.feature(scenes.tokens * loud)  # (b, c, w), (b, l, w)
        if self.similar is not None:
            cells = cells + self.similar(_standard(scenes.features @ scenes.text[:, :, None], mask))
        if self.where is not None:
            cells = cells + self.where(_waves(self._scaled(scenes.cells)))
        for layer in _layers(self.language):
            cells = layer(cells, layer.keys(words, None), token_mask)
        # The gripper waits above the middle of the workspace, with what it holds.
        home = torch.stack([(self.lower[0] + self.upper[0]) / 2, (self.lower[1] + self.upper[1]) / 2, self.upper[2]])
        home_turns = self.rotary(self._centred(home.expand(len(scenes), 1, 3)))
        gripper = self.gripper(scenes.place.long())[:, None]
        held = self.held(scenes.held / HELD_UNIT)[:, None]
        gripper = torch.where(scenes.place[:, None, None], gripper + held, gripper)
        for layer in _layers(self.gripping):
            gripper = layer(gripper, layer.keys(cells, turns), mask, home_turns)
        tokens = torch.cat([cells, gripper, held], dim=1)
        token_turns = torch.cat([turns, home_turns, home_turns], dim=1)
        shown = torch.cat([mask, torch.ones_like(mask[:, :1]), scenes.place[:, None]], dim=1)
        scene = tuple((*layer.keys(tokens, token_turns), shown) for layer in _layers(self.cross))
        some, some_turns, some_mask = self._sample(cells, turns, mask)
        readers = [_layers(self.among), _layers(self.of_position), _layers(self.of_rotation)]
        # One after another: the shared layers, then those of position and rotation side by side.
        together = [[layer] for layer in readers[0]] + [list(pair) for pair in zip(*readers[1:], strict=True)]
        sampled: dict[Layer, Offered] = {}
        for number, reading in enumerate(together):
            if number:
                mixing = _layers(self.mixing)[number - 1]
                some = mixing(some, mixing.keys(some, some_turns), some_mask, some_turns)
            sampled |= {layer: (*layer.keys(some, some_turns), some_mask) for layer in reading}
        text = (*self.instruct.keys(words, None), token_mask)
        return Encoded(text, scene, tuple(sampled[layer] for layers in readers for layer in layers), gripper)

    def denoise(self, scenes: Encoded, poses: Float[Tensor, "b s 9"], when: Float[Tensor, "b s"]) -> Float[Tensor, "b s 9"]:
        """As :meth:`forward`, of encoded scenes."""
        turns = self.rotary(self._centred(self.lower + (poses[..., :3] + 1.0) / 2.0 * (self.upper - self.lower)))
        condition = self.time(_time_code(when, self.config.width)) + scenes.gripper  # (b, s, w)
        x = self.pose(poses)
        key, value, mask = scenes.text
        x = self.instruct(x, (key, value), mask)
        for layer, (key, value, mask) in zip(self.cross, scenes.scene, strict=True):
            x = layer(x, (key, value), mask, turns, condition)
        layers, heads = len(self.among), len(self.of_position)

        def through(y: Tensor, readers: nn.ModuleList, first: int) -> Tensor:
            for reader, (key, value, mask) in zip(readers, scenes.sampled[first : first + len(readers)], strict=True):
                y = reader(y, (key, value), mask, turns, condition)
            return y

        x = through(x, self.among, 0)
        position, rotation = through(x, self.of_position, layers), through(x, self.of_rotation, layers + heads)
        return torch.cat([self.say_position(position), self.say_rotation(rotation)], dim=-1)

    def _sample(
        self, cells: Float[Tensor, "b c w"], turns: Complex[Tensor, "b c p"], mask: Bool[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b m w"], Complex[Tensor, "b m p"], Bool[Tensor, "b m"]]:
        """A share of the cells. Whoever makes :class:`Scenes` brings them in random order, so that the first are any."""
        wanted = (mask.sum(dim=1) * self.config.sampled).ceil().long().clamp_min(1)  # (b,)
        most = int(wanted.max())
        kept = torch.arange(most, device=mask.device) < wanted[:, None]  # (b, m)
        if self.config.sampling == "random":
            return cells[:, :most], turns[:, :most], kept & mask[:, :most]
        rows = torch.arange(len(cells), device=mask.device)[:, None]
        chosen = farthest(cells.detach(), mask, most)
        return cells[rows, chosen], turns[rows, chosen], kept

    def _scaled(self, positions: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """Metres to -1..1."""
        return 2.0 * (positions - self.lower) / (self.upper - self.lower) - 1.0

    def _centred(self, positions: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n 3"]:
        """Metres from the middle of the workspace: turns depend on differences, and small ones are computed best."""
        return positions - (self.lower + self.upper) / 2.0


def farthest(values: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"], count: int) -> Int[Tensor, "b m"]:
    """Farthest-point sampling among real rows, from the first on: each is the one farthest from all that were taken before it.

    Where fewer are real than are asked for, the first comes again.
    """
    rows = torch.arange(len(values), device=values.device)
    away = torch.where(mask, torch.inf, -torch.inf)
    chosen = [mask.to(torch.uint8).argmax(dim=1)]
    for _ in range(1, count):
        away = torch.minimum(away, (values - values[rows, chosen[-1]][:, None]).square().sum(dim=2))
        last = away.argmax(dim=1)
        chosen.append(torch.where(away[rows, last] > 0, last, chosen[0]))
    return torch.stack(chosen, dim=1)


def build_network(config: DiffuserNetworkConfig, feature_dim: int, seed: int) -> DiffuserNetwork:
    """A network whose initial weights follow from the seed alone."""
    return initial(seed, lambda: DiffuserNetwork(config, feature_dim))


def _check(config: DiffuserNetworkConfig) -> None:
    width, heads = config.width, config.heads
    where = "methods.diffuser_actor.network"
    if width % heads:
        raise ConfigError(f"{where}.heads = {heads} does not divide the width {width}", "choose the width as a multiple of it")
    if config.rotary == "width" and width % 6:
        raise ConfigError(f"{where}.width = {width} is no multiple of 6", "the rotary code has pairs of channels for three axes")
    if config.rotary == "heads" and (width // heads < 6 or (width // heads) % 2):
        raise ConfigError(
            f"{where}: heads of {width // heads} channels have no room for a rotary code of three axes",
            "give each head an even number of channels, 6 at least",
        )
    if width % 2:
        raise ConfigError(f"{where}.width = {width} is odd", "choose an even one")


def _layers(modules: nn.ModuleList) -> list[Layer]:
    """The layers of a list, which torch types as any modules."""
    return cast("list[Layer]", list(modules))


def _two(inside: int, width: int, outside: int | None = None) -> nn.Sequential:
    """Two linear layers with a GELU between them."""
    return nn.Sequential(nn.Linear(inside, width), nn.GELU(), nn.Linear(width, outside or width))


def _some(mask: Bool[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    """The mask; where nothing is real, the first row stands for nothing (a softmax needs something)."""
    first = torch.arange(mask.shape[1], device=mask.device) == 0
    return mask | (first & ~mask.any(dim=1, keepdim=True))


def _standard(values: Float[Tensor, "b n 1"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n 1"]:
    """Values with mean 0 and deviation 1 over the real rows of each scene."""
    real = mask[..., None].to(values.dtype)
    count = real.sum(dim=1, keepdim=True)
    rest = (values - (values * real).sum(dim=1, keepdim=True) / count) * real
    return rest / ((rest.square().sum(dim=1, keepdim=True) / count).sqrt() + 1e-4)


def _waves(scaled: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n f"]:
    """Positions in -1..1 with sines and cosines of growing octaves."""
    phases = (scaled[..., None] * (math.pi / 2.0 * 2.0 ** torch.arange(WAVES, device=scaled.device))).flatten(-2)
    return torch.cat([scaled, phases.sin(), phases.cos()], dim=-1)


def _time_code(when: Float[Tensor, "b s"], width: int) -> Float[Tensor, "b s w"]:
    """Sines and cosines of a time step (Vaswani et al. 2017)."""
    half = width // 2
    rates = torch.exp(-math.log(PERIODS) * torch.arange(half, device=when.device) / half)
    phases = when[..., None] * rates
    return torch.cat([phases.sin(), phases.cos()], dim=-1)
