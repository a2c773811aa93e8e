"""Decisions as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from srcli.methods.diffuser_actor.network import Scenes

if TYPE_CHECKING:
    from srcli.learning.keyposes import KeyposeInput


def scenes_of(given: Sequence[KeyposeInput], cells: int, rng: np.random.Generator) -> Scenes:
    """Decisions side by side, shorter ones padded.

    Args:
        given: B decisions, at least one.
        cells: of a scene at most; 0 takes all.
        rng: puts the cells in random order, since the network takes the first as a sample, and draws those that are kept.
    """
    orders = [rng.permutation(len(one.cells)) for one in given]
    if cells:
        orders = [order[:cells] for order in orders]
    most, words = max(1, *map(len, orders)), max(1, *(len(one.tokens) for one in given))
    size, dim = len(given), len(given[0].text)
    points, features = np.zeros((size, most, 3), np.float32), np.zeros((size, most, dim), np.float32)
    tokens, token_mask = np.zeros((size, words, dim), np.float32), np.zeros((size, words), np.bool_)
    for row, (one, order) in enumerate(zip(given, orders, strict=True)):
        points[row, : len(order)], features[row, : len(order)] = one.cells[order], one.features[order]
        tokens[row, : len(one.tokens)], token_mask[row, : len(one.tokens)] = one.tokens, one.token_mask
    tokens[~token_mask] = 0.0
    real = np.arange(most) < np.array([len(order) for order in orders])[:, None]
    return Scenes(
        cells=torch.from_numpy(points),
        features=torch.from_numpy(features),
        cell_mask=torch.from_numpy(real),
        text=torch.from_numpy(np.stack([one.text for one in given]).astype(np.float32)),
        tokens=torch.from_numpy(tokens),
        token_mask=torch.from_numpy(token_mask),
        place=torch.tensor([bool(one.place) for one in given]),
        held=torch.from_numpy(np.stack([one.held for one in given]).astype(np.float32)),
    )
