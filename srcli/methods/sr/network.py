"""The scoring network: 1-Align, self-attention encoder, 2-Align, head, and what the plus forms add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from srcli.errors import ConfigError
from srcli.methods.sr.align import OneAlign, TwoAlign
from srcli.methods.sr.dssa import EncoderBlock
from srcli.methods.sr.radial_pooling import KeywordPooling, RadialPooling
from srcli.methods.sr.section import AdditionsConfig, NetworkConfig, SRConfig
from srcli.models.batch import Batch, Scores
from srcli.models.geometry import CENTRE, HALF_EXTENT, fourier
from srcli.models.layers import MASK_FLOOR, Adapter, mlp, rescale

if TYPE_CHECKING:
    from collections.abc import Collection

    from jaxtyping import Float
    from torch import Tensor


class SRNetwork(nn.Module):
    """BASE: 2-Align on the global cloud, value = feature x similarity. SR-A: 1-Align, ordinary self-attention, 2-Align. SR: the
    same with DSSA. The plus forms add what ``additions`` says.

    Args:
        config: section ``methods.sr.network``.
        additions: section ``methods.sr.additions``.
        feature_dim: D of the encoder's joint space.
        bypass: parts whose output is replaced by nothing; their weights are there all the same.

    Raises:
        ConfigError: the heads do not divide the width.
    """

    def __init__(self, config: NetworkConfig, additions: AdditionsConfig, feature_dim: int, bypass: Collection[str] = ()) -> None:
        super().__init__()
        width = config.width or feature_dim
        if width % config.heads:
            raise ConfigError(
                f"methods.sr.network.heads = {config.heads} does not divide the width {width}",
                "choose methods.sr.network.width as a multiple of the heads, or 0 for the encoder's width",
            )
        self.config, self.feature_dim, self.width, self.bypass = config, feature_dim, width, frozenset(bypass)
        self.staged = config.stage1.use == "on"
        self.use_quality = additions.quality == "on"
        self.adapt = nn.Linear(feature_dim, width, bias=False) if width != feature_dim else None
        if self.adapt is not None:
            nn.init.orthogonal_(self.adapt.weight)
        self.stage1 = OneAlign(width, config.heads, config.stage1, additions) if self.staged else None
        layers = config.encoder.layers if self.staged else 0
        self.encoder = nn.ModuleList(
            EncoderBlock(width, config.heads, config.encoder.expansion, config.dssa, additions.sparse_norm) for _ in range(layers)
        )
        located = layers > 0 and config.encoder.place == "points" and additions.plain_points == "off"
        self.locate = nn.Linear(33, width) if located else None
        self.strength = nn.Linear(2, width, bias=False) if self.staged and additions.strength == "on" else None
        self.stage2 = TwoAlign(width, config.heads, additions)
        self.words: KeywordPooling | None = None
        self.rings: RadialPooling | None = None
        if additions.rings == "on":
            self.words = KeywordPooling(feature_dim if additions.words == "on" else None)
            self.rings = RadialPooling(width)
        self.adapter = Adapter(width) if config.stage2.place_head == "adapter" else None
        self.head = mlp((width, width // 2, width // 2, 1))
        self.readout: nn.Parameter | None = None
        if additions.readout == "on":
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
        if self.stage1 is not None:
            values, mask = self._aligned(self.stage1, batch, features, similarity, tokens, text)  # (b, n, d), (b, n)
            reach = mask if self.config.stage2.mask == "on" and not {"mask", "one_align"} & self.bypass else None
        else:
            values, reach = features * similarity[..., None].to(kind), None
        quality = batch.quality if self.use_quality else None
        if quality is not None and "quality" in self.bypass:
            quality = torch.full_like(quality, 0.5)
        place = torch.zeros_like(batch.candidate_mask[:, 0]) if batch.place is None else batch.place  # (b,)
        around, extra = None, None
        if self.rings is not None and self.words is not None and "rings" not in self.bypass:
            heard = batch.tokens if batch.words is None else batch.words
            said = self.words(heard.to(kind), batch.token_mask, place, listen="words" not in self.bypass)
            around, extra = self.rings(
                batch.candidates, quality, batch.points, values, batch.point_mask, similarity, reach, said
            )  # (b, k, d), (b, k)
        log_mask = None if reach is None else reach.clamp_min(MASK_FLOOR).log()
        states, weights = self.stage2(
            batch.candidates, quality, batch.points, features, values, batch.point_mask, log_mask, around, self.bypass
        )
        if self.config.encoder.place == "actions" and "encoder" not in self.bypass:
            for block in self.encoder:
                states = block(states, batch.candidates[..., :3], batch.candidate_mask, self.bypass)  # (b, k, d)
        if self.adapter is not None:
            states = torch.where(place[:, None, None], self.adapter(states), states)
        logits = self.head(states)[..., 0]  # (b, k)
        if extra is not None:
            logits = logits + extra
        if self.readout is not None and "readout" not in self.bypass:
            pooled = weights @ self._scalars(similarity, reach).to(kind)[:, None]  # (b, h, k, 2)
            logits = logits + torch.einsum("bhkc,hc->bk", pooled, self.readout)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        logits = logits.masked_fill(~batch.candidate_mask, float("-inf"))
        return Scores(logits=logits, mask=mask * batch.point_mask, attention=weights)

    def _aligned(
        self,
        stage1: OneAlign,
        batch: Batch,
        features: Float[Tensor, "b n d"],
        similarity: Float[Tensor, "b n"],
        tokens: Float[Tensor, "b l d"],
        text: Float[Tensor, "b d"],
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
        """1-Align and the encoder behind it: aligned cloud and mask."""
        tokens = torch.cat([text[:, None], tokens], dim=1)
        token_mask = torch.cat([torch.ones_like(batch.token_mask[:, :1]), batch.token_mask], dim=1)
        cloud, mask = stage1(features, similarity, batch.point_mask, tokens, token_mask, self.bypass)  # (b, n, d), (b, n)
        if "mask" in self.bypass:
            # Nor does the choice read it.
            mask = torch.ones_like(mask)
        reach = mask if self.config.stage2.mask == "on" and not {"mask", "one_align"} & self.bypass else None
        if self.strength is not None and "strength" not in self.bypass:
            # Before the encoder, so that self-attention can average the strength of language over neighbours.
            cloud = cloud + self.strength(self._scalars(similarity, reach).to(cloud.dtype))
        if self.config.encoder.place == "points" and "encoder" not in self.bypass:
            if self.locate is not None:
                origin = torch.tensor(CENTRE, device=batch.points.device, dtype=batch.points.dtype)
                cloud = cloud + self.locate(fourier((batch.points - origin) / HALF_EXTENT).to(cloud.dtype))
            for block in self.encoder:
                cloud = block(cloud, batch.points, batch.point_mask, self.bypass)  # (b, n, d)
        return cloud, mask

    @staticmethod
    def _scalars(similarity: Float[Tensor, "b n"], mask: Float[Tensor, "b n"] | None) -> Float[Tensor, "b n 2"]:
        return torch.stack([similarity, torch.zeros_like(similarity) if mask is None else mask], dim=-1)


def build_network(section: SRConfig, feature_dim: int, seed: int) -> SRNetwork:
    """A network whose initial weights follow from the seed alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SRNetwork(section.network, section.additions, feature_dim, section.bypass)
