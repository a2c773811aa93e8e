"""The scoring network: 1-Align, self-attention encoder, 2-Align, head. Variants are values of ``ModelConfig``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from srcli.errors import ConfigError
from srcli.methods.sr.align import MASK_FLOOR, OneAlign, TwoAlign, mlp
from srcli.methods.sr.dssa import EncoderBlock
from srcli.methods.sr.rings import Rings, Words
from srcli.methods.sr.section import ModelConfig, Switch
from srcli.models.batch import Batch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


@dataclass(frozen=True)
class Scores:
    """What the network says of a batch.

    Attributes:
        logits: (B, K) one per candidate, -inf where padded; float32 or wider.
        mask: (B, N) semantic mask m in [0, 1], 0 where padded (1 on every real point for variants without 1-Align).
        attention: (B, H, K, N) weights of 2-Align.
    """

    logits: Float[Tensor, "b k"]
    mask: Float[Tensor, "b n"]
    attention: Float[Tensor, "b h k n"]


class SRNetwork(nn.Module):
    """base: 2-Align on the global cloud, value = feature x similarity. sr_a: 1-Align, ordinary self-attention, 2-Align. sr:
    the same with DSSA. a2: the published A2 policy (value = feature x similarity, no self-attention, no locality).

    Args:
        config: section ``model``.
        feature_dim: D of the encoder's joint space.

    Raises:
        ConfigError: the heads do not divide the width.
    """

    def __init__(self, config: ModelConfig, feature_dim: int) -> None:
        super().__init__()
        width = config.width or feature_dim
        if width % config.heads:
            raise ConfigError(
                f"model.heads = {config.heads} does not divide the width {width}",
                "choose model.width as a multiple of model.heads, or 0 for the encoder's width",
            )
        published = config.variant == "a2"
        self.config, self.feature_dim, self.width = config, feature_dim, width
        self.staged = config.variant in ("sr", "sr_a")
        self.use_quality = _on(config.stage2.quality, not published)
        locality = _on(config.stage2.locality, not published)
        self.adapt = nn.Linear(feature_dim, width, bias=False) if width != feature_dim else None
        if self.adapt is not None:
            nn.init.orthogonal_(self.adapt.weight)
        self.stage1 = OneAlign(width, config.heads, config.stage1) if self.staged else None
        layers = config.encoder.layers if self.staged else 0
        sparse = config.variant == "sr"
        self.encoder = nn.ModuleList(
            EncoderBlock(width, config.heads, config.encoder.expansion, config.dssa, sparse) for _ in range(layers)
        )
        self.strength = nn.Linear(2, width, bias=False) if self.staged else None
        self.stage2 = TwoAlign(
            width,
            config.heads,
            published=published,
            locality=locality,
            radius=config.stage2.locality_scale,
            query_size=8 if self.use_quality else 7,
        )
        self.words: Words | None = None
        self.rings: Rings | None = None
        if _on(config.stage2.rings, not published):
            self.words = Words(feature_dim if self.staged and config.stage2.words == "on" else None)
            self.rings = Rings(width)
        self.adapter = Adapter(width) if config.stage2.place_head == "adapter" else None
        self.head = mlp((width, width // 2, width // 2, 1))
        self.readout: nn.Parameter | None = None
        if _on(config.stage2.readout, not published):
            # A direct reading of similarity and mask around each candidate: the network starts as a soft nearest-to-match rule.
            # Without 1-Align there is no mask, and its weights stay without effect.
            self.readout = nn.Parameter(torch.tensor([8.0, 2.0]).repeat(config.heads, 1) / config.heads)
            with torch.no_grad():
                self.head[-1].weight.mul_(0.2)  # type: ignore[operator]

    def forward(self, batch: Batch) -> Scores:
        """Scores of every candidate. A candidate's logit depends on no other candidate unless ``encoder.place = actions``."""
        kind = self.stage2.up.weight.dtype
        features, tokens, text = (x.to(kind) for x in (batch.features, batch.tokens, batch.text))
        if self.adapt is not None:
            features, tokens, text = self.adapt(features), self.adapt(tokens), self.adapt(text)
        similarity = rescale(batch.similarity, batch.point_mask)  # (b, n)
        mask = torch.ones_like(similarity)
        if self.stage1 is not None and self.strength is not None:
            tokens = torch.cat([text[:, None], tokens], dim=1)
            token_mask = torch.cat([torch.ones_like(batch.token_mask[:, :1]), batch.token_mask], dim=1)
            cloud, mask = self.stage1(features, similarity, batch.point_mask, tokens, token_mask)  # (b, n, d), (b, n)
            reach = mask if self.config.stage2.mask == "on" else None
            scalars = torch.stack([similarity, torch.zeros_like(mask) if reach is None else reach], dim=-1)  # (b, n, 2)
            # Before the encoder, so that self-attention can average the strength of language over neighbours.
            cloud = cloud + self.strength(scalars.to(kind))
            if self.config.encoder.place == "points":
                for block in self.encoder:
                    cloud = block(cloud, batch.points, batch.point_mask)  # (b, n, d)
            values = cloud
        else:
            values, reach = features * similarity[..., None].to(kind), None
            scalars = torch.stack([similarity, torch.zeros_like(similarity)], dim=-1)
        quality = batch.quality if self.use_quality else None
        place = torch.zeros_like(batch.candidate_mask[:, 0]) if batch.place is None else batch.place  # (b,)
        around, extra = None, None
        if self.rings is not None and self.words is not None:
            said = self.words((batch.tokens if batch.words is None else batch.words).to(kind), batch.token_mask, place)
            around, extra = self.rings(
                batch.candidates, quality, batch.points, values, batch.point_mask, similarity, reach, said
            )  # (b, k, d), (b, k)
        log_mask = None if reach is None else reach.clamp_min(MASK_FLOOR).log()
        states, weights = self.stage2(batch.candidates, quality, batch.points, values, batch.point_mask, log_mask, around)
        if self.config.encoder.place == "actions":
            for block in self.encoder:
                states = block(states, batch.candidates[..., :3], batch.candidate_mask)  # (b, k, d)
        if self.adapter is not None:
            states = torch.where(place[:, None, None], self.adapter(states), states)
        logits = self.head(states)[..., 0]  # (b, k)
        if extra is not None:
            logits = logits + extra
        if self.readout is not None:
            pooled = weights @ scalars.to(kind)[:, None]  # (b, h, k, 2)
            logits = logits + torch.einsum("bhkc,hc->bk", pooled, self.readout)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        logits = logits.masked_fill(~batch.candidate_mask, float("-inf"))
        return Scores(logits=logits, mask=mask * batch.point_mask, attention=weights)


class Adapter(nn.Module):
    """x + W_2 gelu(W_1 LayerNorm x), a quarter of the width in between: nothing at first (after A2's adaptation for placing)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.down, self.up = nn.LayerNorm(width), nn.Linear(width, width // 4), nn.Linear(width // 4, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        """(B, K, D) to the same shape."""
        return x + self.up(nn.functional.gelu(self.down(self.norm(x))))  # type: ignore[no-any-return]


def rescale(similarity: Float[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """(s - min + eps) / (max - min + eps) over the real points, eps = 1e-4 (A2); 0 where padded."""
    low = similarity.masked_fill(~mask, float("inf")).amin(dim=1, keepdim=True)
    high = similarity.masked_fill(~mask, float("-inf")).amax(dim=1, keepdim=True)
    return ((similarity - low + 1e-4) / (high - low + 1e-4)).masked_fill(~mask, 0.0)


def build_network(config: ModelConfig, feature_dim: int, seed: int) -> SRNetwork:
    """A network whose initial weights follow from the seed alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SRNetwork(config, feature_dim)


def _on(switch: Switch, auto: bool) -> bool:
    return auto if switch == "auto" else switch == "on"
