"""The two streams (CLIPort sections 3.2 and 3.3): where, from colours and heights; what, from features gated by the sentence.

As published: an hourglass over the map (spatial), a decoder over features with skips from their finer sizes (semantic), lateral
connections from the first into the second at every size, elementwise products of channels with a projection of the sentence at
the three deepest sizes, and a module of its own for picking and for placing. Different here: the semantic stream begins with our
encoder's fused features, drawn into a map, instead of an image tower; a grasp has bins of yaw (output channels, no turned
inputs); placing has the size of what is held as inputs instead of a crop that is matched, because nothing is seen of it here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from srcli.methods.cliport.section import CliportNetworkConfig
from srcli.methods.networks import initial

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

SURFACE, HELD = 4, 3
"""Channels of the height map, and numbers of what is held."""
_MEAN, _STD = (0.35, 0.35, 0.35, 0.02), (0.2, 0.2, 0.2, 0.03)
"""Colours and heights (metres) of our scenes: published are those of flat blocks, 15 of whose spreads a pile is high."""
_HELD_SCALE = 0.05


@dataclass(frozen=True, slots=True)
class Maps:
    """What the network sees of B decisions of one phase, N pixels along a side.

    Attributes:
        surface: (B, 4, N, N) red, green, blue in 0..1, height in metres.
        features: (B, D, N/2, N/2) fused features.
        text: (B, 2 D) the sentence: what is meant by it as a whole, and the mean of its tokens.
        held: (B, 3) radius, half width and height of what is to be placed, metres.
        place: these are placements.
    """

    surface: Tensor
    features: Tensor
    text: Tensor
    held: Tensor
    place: bool


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a way around them, on ``width`` channels; halves the map first where asked."""

    def __init__(self, inputs: int, width: int, norm: str, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, stride, 1)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        self.norm_first, self.norm_second = _norm(norm, width), _norm(norm, width)
        # Pooled, then projected: torch's own 1 x 1 convolution with a stride has crashed on channels-last maps of few channels.
        pool = nn.Identity() if stride == 1 else nn.AvgPool2d(stride)
        self.around = nn.Sequential(pool, nn.Identity() if inputs == width else nn.Conv2d(inputs, width, 1))

    def forward(self, x: Float[Tensor, "b c n n"]) -> Float[Tensor, "b d m m"]:
        h = functional.relu(self.norm_first(self.first(x)))
        return functional.relu(self.around(x) + self.norm_second(self.second(h)))


def _norm(kind: str, width: int) -> nn.Module:
    groups = next(g for g in (8, 4, 2, 1) if width % g == 0)
    return nn.GroupNorm(groups, width) if kind == "group" else nn.Identity()


def _larger(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Spatial(nn.Module):
    """The hourglass: S sizes down and up again; gives a heat map and what it knows at every size, the smallest first."""

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, ...], blocks: int, norm: str) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(inputs, widths[0], 3, 1, 1), _norm(norm, widths[0]), nn.ReLU())
        self.down = nn.ModuleList(_stage(a, b, blocks, norm, 2) for a, b in pairwise(widths))
        self.across = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_stage(a, a, blocks, norm, 1) for a in widths[:-1])
        self.head = nn.Conv2d(widths[0], outputs, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c n n"]) -> tuple[Float[Tensor, "b y n n"], list[Tensor]]:
        x = self.stem(x)
        sizes = [x]
        for stage in self.down:
            x = stage(x)
            sizes.append(x)
        laterals = [x]
        for skip, across, stage in zip(reversed(sizes[:-1]), reversed(self.across), reversed(self.up), strict=True):
            x = stage(_larger(across(x)) + skip)
            laterals.append(x)
        return self.head(x), laterals


def _stage(inputs: int, width: int, blocks: int, norm: str, stride: int) -> nn.Sequential:
    rest = (Block(width, width, norm) for _ in range(blocks - 1))
    return nn.Sequential(Block(inputs, width, norm, stride), *rest)


class Gate(nn.Module):
    """Channels times a linear projection of the sentence, the same at every pixel."""

    def __init__(self, text: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(text, width)

    def forward(self, x: Float[Tensor, "b c n n"], text: Float[Tensor, "b d"]) -> Float[Tensor, "b c n n"]:
        gated: Tensor = x * self.project(text)[:, :, None, None]
        return gated


class Semantic(nn.Module):
    """The decoder over features: from their coarsest size to the finest, with finer features and the spatial stream's laterals.

    Sizes larger than that of the features have none of their own.

    Args:
        halvings: how often features are halved before they are as large as the finest size; -1: that is twice as large.
    """

    def __init__(
        self,
        feature_dim: int,
        outputs: int,
        widths: tuple[int, ...],
        laterals: tuple[int, ...],
        gates: int,
        halvings: int,
    ) -> None:
        super().__init__()
        self.halvings = halvings
        deep, beside = tuple(reversed(widths)), tuple(reversed(laterals))
        self.first = nn.Conv2d(feature_dim, deep[0], 3, 1, 1)
        self.gates = nn.ModuleList(Gate(2 * feature_dim, width) for width in deep[:gates])
        skipped = deep[1:] if halvings >= 0 else deep[1:-1]
        self.skips = nn.ModuleList(nn.Conv2d(feature_dim, width, 1) for width in skipped)
        joined = [a + b for a, b in zip(deep, (*skipped, 0), strict=False)]
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1) for a, b in zip(joined, deep[1:], strict=False))
        self.merge = nn.ModuleList(nn.Conv2d(a + b, a, 1) for a, b in zip(deep, beside, strict=True))
        self.head = nn.Conv2d(deep[-1], outputs, 1, bias=False)
        for gate in self.gates[:1]:
            assert isinstance(gate, Gate)
            _agree(self.first, gate.project, feature_dim)

    def forward(
        self, features: Float[Tensor, "b d m m"], text: Float[Tensor, "b t"], laterals: list[Tensor]
    ) -> Float[Tensor, "b y n n"]:
        for _ in range(self.halvings):
            features = functional.avg_pool2d(features, 2)
        sizes = [features]
        for _ in self.skips:
            sizes.append(functional.avg_pool2d(sizes[-1], 2))
        x = functional.relu(self.first(sizes.pop()))
        if self.gates:
            x = self.gates[0](x, text)
        x = functional.relu(self.merge[0](torch.cat([x, laterals[0]], dim=1)))
        for level, up in enumerate(self.up, start=1):
            x = _larger(x)
            if sizes:
                x = torch.cat([x, self.skips[level - 1](sizes.pop())], dim=1)
            x = functional.relu(up(x))
            x = functional.relu(self.merge[level](torch.cat([x, laterals[level]], dim=1)))
            if level < len(self.gates):
                x = self.gates[level](x, text)
        heat: Tensor = self.head(x)
        return heat


def _agree(first: nn.Conv2d, project: nn.Linear, dim: int) -> None:
    """Let features and sentence begin with the same random directions, so that the sum over gated channels begins as half of
    their cosine (ours: the published network has the time to find that out)."""
    width = first.out_channels
    directions = torch.randn(width, dim) / dim**0.5
    middle = first.kernel_size[0] // 2
    with torch.no_grad():
        first.weight.mul_(0.3)
        first.weight[:, :, middle, middle] = directions
        project.weight[:, :dim] = directions
        project.bias.zero_()


class TwoStreams(nn.Module):
    """One module: the sum of both streams' heat maps."""

    def __init__(self, config: CliportNetworkConfig, feature_dim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fold, folded = config.fold, config.fold**2
        self.spatial = Spatial(inputs * folded, outputs * folded, config.spatial, config.blocks, config.norm)
        self.semantic = Semantic(
            feature_dim, outputs * folded, config.semantic, config.spatial, config.gates, int(math.log2(config.fold)) - 1
        )

    def forward(self, surface: Tensor, features: Tensor, text: Tensor) -> Float[Tensor, "b y n n"]:
        where, laterals = self.spatial(functional.pixel_unshuffle(surface, self.fold))
        return functional.pixel_shuffle(where + self.semantic(features, text, laterals), self.fold)


class CliportNetwork(nn.Module):
    """Logits over yaws and pixels; picking and placing have a module each.

    Args:
        config: section ``methods.cliport.network``.
        feature_dim: D of the encoder's joint space.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: CliportNetworkConfig, feature_dim: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)
        self.pick = TwoStreams(config, feature_dim, SURFACE, config.yaws)
        self.place = TwoStreams(config, feature_dim, SURFACE + HELD, 1)

    def forward(self, maps: Maps) -> Float[Tensor, "b y n n"]:
        """Logits (B, Y, N, N); Y is 1 for placements, which keep the yaw of what is held."""
        surface = (maps.surface - self.mean) / self.std
        # Unit vectors of D dimensions have entries of 1 / sqrt(D).
        scale = maps.features.shape[1] ** 0.5
        features, text = maps.features * scale, maps.text * scale
        if maps.place:
            held = (maps.held / _HELD_SCALE)[:, :, None, None].expand(-1, -1, *surface.shape[2:])
            surface = torch.cat([surface, held], dim=1)
        module = self.place if maps.place else self.pick
        heat: Tensor = module(surface, features, text)
        return heat


def heat_loss(logits: Float[Tensor, "b y n n"], label: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Cross-entropy (B,) in nats over all yaws and pixels of a sample, with one of them right (CLIPort section 3.4).

    It is a sum over the row of a sample: the published code takes the mean over all its entries, which scales gradients down to
    where Adam's epsilon matters.
    """
    return functional.cross_entropy(logits.float().flatten(1), label, reduction="none")


def build_network(config: CliportNetworkConfig, feature_dim: int, seed: int) -> CliportNetwork:
    """A network whose initial weights follow from the seed alone."""
    return initial(seed, lambda: CliportNetwork(config, feature_dim))
