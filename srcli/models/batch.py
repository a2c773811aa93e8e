"""What the network reads: padded tensors with masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from srcli.types import F32, Bool, Candidates, Percept

if TYPE_CHECKING:
    from jaxtyping import Bool as BoolTensor
    from jaxtyping import Float
    from torch import Tensor


_PER_POINT = ("points", "features", "similarity", "point_mask")
_PER_CANDIDATE = ("candidates", "candidate_mask", "quality")


@dataclass(frozen=True)
class Batch:
    """B decisions. What a mask marks False is padding and never changes a result.

    Attributes:
        points: (B, N, 3) metres, world frame.
        features: (B, N, D) fused features in the joint space.
        similarity: (B, N) cosine with the pooled instruction.
        point_mask: (B, N) True where a point is real.
        text: (B, D) pooled instruction, unit length.
        tokens: (B, L, D) token features.
        token_mask: (B, L).
        candidates: (B, K, 7) tip position in metres and quaternion xyzw of the tool, world frame.
        candidate_mask: (B, K).
        quality: (B, K) of the action prior, 0..1.
        place: (B,) True where the candidates are placements; None: all are grasps.
        words: (B, L, D) the tokens in the encoder's own axes, where augmentation has turned ``tokens`` together with the features
            (a turned word cannot be recognised, only compared); None: ``tokens`` are in the encoder's own axes.
    """

    points: Float[Tensor, "b n 3"]
    features: Float[Tensor, "b n d"]
    similarity: Float[Tensor, "b n"]
    point_mask: BoolTensor[Tensor, "b n"]
    text: Float[Tensor, "b d"]
    tokens: Float[Tensor, "b l d"]
    token_mask: BoolTensor[Tensor, "b l"]
    candidates: Float[Tensor, "b k 7"]
    candidate_mask: BoolTensor[Tensor, "b k"]
    quality: Float[Tensor, "b k"]
    place: BoolTensor[Tensor, " b"] | None = None
    words: Float[Tensor, "b l d"] | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return self._changed(lambda x: x.to(device))

    def double(self) -> Batch:
        """All floating tensors in float64 (gradient checks)."""
        return self._changed(lambda x: x.double() if x.is_floating_point() else x)

    def part(self, start: int, stop: int) -> Batch:
        """Decisions ``start`` to ``stop``, without the points and candidates that are padding in all of them."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        cut = {name: value[start:stop] for name, value in values.items() if value is not None}
        for mask, names in (("point_mask", _PER_POINT), ("candidate_mask", _PER_CANDIDATE)):
            used = cut[mask].any(dim=0).nonzero()
            end = int(used[-1]) + 1 if len(used) else 0
            cut |= {name: cut[name][:, :end] for name in names}
        return replace(self, **cut)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if value is not None})

    def __len__(self) -> int:
        return int(self.points.shape[0])


@dataclass(frozen=True)
class Scores:
    """What a network says of a batch.

    Attributes:
        logits: (B, K) one per candidate, -inf where padded; float32 or wider.
        mask: (B, N) semantic mask m in [0, 1], 0 where padded (1 on every real point for networks without one).
        attention: (B, H, K, N) weights with which the candidates read the points.
    """

    logits: Float[Tensor, "b k"]
    mask: Float[Tensor, "b n"]
    attention: Float[Tensor, "b h k n"]


def batch_of_one(percept: Percept, candidates: Candidates, usable: Bool | None = None, points: F32 | None = None) -> Batch:
    """The batch of a single decision: (1, N, ...), (1, K, ...), nothing padded but the tokens.

    Args:
        percept: semantic cloud and sentence.
        candidates: the action prior.
        usable: (K,) False for candidates that are not to be scored (their logit is -inf); None scores all.
        points: (N, 3) metres, positions to score with instead of the cloud's own (the noise study).
    """
    cloud, text = percept.cloud, percept.text

    def one(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(x))[None]

    return Batch(
        points=one((cloud.points if points is None else points).astype(np.float32)),
        features=one(cloud.features.astype(np.float32)),
        similarity=one(cloud.similarity.astype(np.float32)),
        point_mask=torch.ones(1, len(cloud.points), dtype=torch.bool),
        text=one(text.pooled.astype(np.float32)),
        tokens=one(text.tokens.astype(np.float32)),
        token_mask=one(text.mask.astype(bool)),
        candidates=one(candidates.poses.astype(np.float32)),
        candidate_mask=one(np.ones(len(candidates), bool) if usable is None else usable.astype(bool)),
        quality=one(candidates.quality.astype(np.float32)),
        place=torch.tensor([candidates.kind == "place"]),
    )
