"""From coarse to fine: each level's best ghost point is where the next one looks (Act3D, figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from srcli.learning.keyposes import KeyposeInput
from srcli.methods.act3d.network import Act3DNetwork
from srcli.methods.act3d.scene import (
    MIDDLE,
    level_ghosts,
    level_tokens,
    stack_asked,
    stack_places,
    stack_tokens,
)
from srcli.methods.act3d.section import GhostsConfig
from srcli.types import F32, Bool


@dataclass(frozen=True, slots=True)
class Found:
    """Where a decision's keypose is.

    Attributes:
        ghosts: (S, 3) of each level, metres, world frame.
        logits: (S,) of each level.
        anchors: (3,) that each level looked around; of the first level the middle of the workspace.
        said: (R,) what the query says of the rotation.
    """

    ghosts: tuple[F32, ...]
    logits: tuple[F32, ...]
    anchors: tuple[F32, ...]
    said: F32

    @property
    def position(self) -> F32:
        """(3,) best ghost point of the last level."""
        best: F32 = self.ghosts[-1][int(np.argmax(self.logits[-1]))]
        return best


@torch.inference_mode()
def locate(
    network: Act3DNetwork,
    given: Sequence[KeyposeInput],
    config: GhostsConfig,
    count: int,
    rngs: Sequence[np.random.Generator],
    device: str = "cpu",
    barred: Callable[[int, F32], Bool] | None = None,
) -> list[Found]:
    """Keyposes of a batch of decisions.

    Args:
        count: ghost points a level.
        rngs: the only source of chance, one for each decision.
        barred: which ghost points (S, 3) of a decision, by its number in the batch, must not be taken, (S,) bool. Their logits
            are -inf, unless a level has no others.
    """
    asked, query = stack_asked(given).to(device), network.first_query(len(given))
    anchors: list[F32] = [MIDDLE] * len(given)
    kept: list[tuple[list[F32], F32, list[F32]]] = []
    for level in range(1 + len(config.balls)):
        tokens = [level_tokens(g, level, a, config, rng) for g, a, rng in zip(given, anchors, rngs, strict=True)]
        points = [level_ghosts(level, a, count, config, rng) for a, rng in zip(anchors, rngs, strict=True)]
        logits, query = network(
            level,
            stack_tokens(tokens).to(device),
            asked,
            stack_places(points).to(device),
            query,
            stack_places(anchors).to(device),
        )
        scores: F32 = logits.float().cpu().numpy()
        if barred is not None:
            scores = np.stack([_without(score, barred(row, points[row])) for row, score in enumerate(scores)])
        kept.append((points, scores, anchors))
        anchors = [each[int(np.argmax(score))] for each, score in zip(points, scores, strict=True)]
    said: F32 = network.rotate(query[:, 0]).float().cpu().numpy()
    return [
        Found(
            tuple(points[row] for points, _, _ in kept),
            tuple(scores[row] for _, scores, _ in kept),
            tuple(anchors[row] for _, _, anchors in kept),
            said[row],
        )
        for row in range(len(given))
    ]


def _without(scores: F32, barred: Bool) -> F32:
    return scores if barred.all() else np.where(barred, -np.inf, scores).astype(np.float32)
