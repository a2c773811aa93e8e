"""VLP's two groundings: a reference phrase becomes weights of things, a relation phrase a distribution around each."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import normalize, softplus

from srcli.methods.networks import initial
from srcli.methods.vlp.polar import Polar, coordinates, log_density, log_map
from srcli.methods.vlp.section import VlpNetworkConfig

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


@dataclass(frozen=True)
class Scenes:
    """B decisions. What a mask marks False is padding and never changes a result.

    Attributes:
        things: (B, R, D) features of things, of unit length.
        centres: (B, R, 2) middle of their boxes, horizontal, metres.
        sizes: (B, R) mean of the half sides of their boxes, horizontal, metres.
        thing_mask: (B, R).
        reference: (B, P, D) text of each pair's reference, of unit length.
        tokens: (B, P, L, D) text features of each pair's words, relation and reference.
        token_mask: (B, P, L).
        pair_mask: (B, P).
        places: (B, K, 2) candidates, horizontal, metres.
        place_mask: (B, K).
        taken: (B, R, K) True where another thing than this one lies at a place.
        held: (B,) half size of what is to be placed, metres.
    """

    things: Float[Tensor, "b r d"]
    centres: Float[Tensor, "b r 2"]
    sizes: Float[Tensor, "b r"]
    thing_mask: Bool[Tensor, "b r"]
    reference: Float[Tensor, "b p d"]
    tokens: Float[Tensor, "b p l d"]
    token_mask: Bool[Tensor, "b p l"]
    pair_mask: Bool[Tensor, "b p"]
    places: Float[Tensor, "b k 2"]
    place_mask: Bool[Tensor, "b k"]
    taken: Bool[Tensor, "b r k"]
    held: Float[Tensor, " b"]

    def to(self, device: torch.device | str) -> Scenes:
        """The same on another device."""
        return Scenes(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


class VlpNetwork(nn.Module):
    """A placement map: log probability of each place.

    Args:
        config: section ``methods.vlp.network``.
        feature_dim: D of the encoder's joint space.
    """

    def __init__(self, config: VlpNetworkConfig, feature_dim: int) -> None:
        super().__init__()
        self.config = config
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))
        self.adapter = None
        if config.adapter:
            last = nn.Linear(config.adapter, feature_dim)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.adapter = nn.Sequential(nn.Linear(feature_dim, config.adapter), nn.ReLU(), last)
        self.attend = nn.Parameter(torch.randn(feature_dim) / math.sqrt(feature_dim))
        self.relation = nn.Sequential(nn.Linear(feature_dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 4))

    def references(self, scenes: Scenes) -> Float[Tensor, "b p r"]:
        """Log weight of each thing as the reference of each pair: softmax of cosines over a learned temperature."""
        things = scenes.things
        if self.adapter is not None:
            things = normalize(things + self.adapter(things), dim=-1)
        logits = scenes.reference @ things.transpose(1, 2) / self.log_temperature.exp()  # (b, p, r)
        return torch.log_softmax(logits.masked_fill(~scenes.thing_mask[:, None], -math.inf), dim=-1)

    def relations(self, scenes: Scenes) -> Polar:
        """The distribution of each pair's relation, (B, P): read from its words by one learned query."""
        logits = (scenes.tokens @ self.attend) * math.sqrt(scenes.tokens.shape[-1])  # (b, p, l)
        # Padding has no words at all: any weights do, they are finite.
        weights = torch.softmax(logits.masked_fill(~scenes.token_mask, -1e9), dim=-1)
        mean, width, angle, focus = self.relation(torch.einsum("bpl,bpld->bpd", weights, scenes.tokens)).unbind(-1)
        return Polar(
            distance=softplus(mean + 0.54),  # 1 at first, where two things just touch
            width=softplus(width) + self.config.least_width,
            angle=angle,
            focus=softplus(focus - 2.0),
        )

    def forward(self, scenes: Scenes) -> Float[Tensor, "b k"]:
        """Log probability of each place; -inf where padded."""
        distance, direction = coordinates(scenes.places, scenes.centres, scenes.sizes, scenes.held)
        density = log_density(self.relations(scenes), distance, direction)  # (b, p, r, k)
        density = density + math.log(self.config.taken) * scenes.taken[:, None].to(density.dtype)
        value = log_map(self.references(scenes), density, scenes.pair_mask, self.config.floor)
        return torch.log_softmax(value.masked_fill(~scenes.place_mask, -math.inf), dim=-1)


def build_network(config: VlpNetworkConfig, feature_dim: int, seed: int) -> VlpNetwork:
    """A network whose initial weights follow from the seed alone."""
    return initial(seed, lambda: VlpNetwork(config, feature_dim))
