"""Decisions as tensors in the coordinates of the cube."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from srcli.learning.keyposes import WORKSPACE, KeyposeInput
from srcli.methods.rvt2.network import HELD_UNIT, Scenes
from srcli.types import F32, U8

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

CENTRE: F32 = ((WORKSPACE[0] + WORKSPACE[1]) / 2).astype(np.float32)
"""Of the cube: the middle of the workspace of keyposes, metres."""
HALF = float((WORKSPACE[1] - WORKSPACE[0]).max() / 2)
"""Half the side of the cube, metres: the workspace's longest side, as published."""


def to_cube(points: F32) -> F32:
    """(..., 3) metres to coordinates in the cube."""
    made: F32 = ((points - CENTRE) / HALF).astype(np.float32)
    return made


def to_world(points: F32) -> F32:
    """(..., 3) coordinates in the cube to metres."""
    made: F32 = (points * HALF + CENTRE).astype(np.float32)
    return made


def scenes_of(given: Sequence[KeyposeInput], features: bool) -> Scenes:
    """A batch of decisions.

    Args:
        features: whether dense features are to be drawn.
    """

    def rows(parts: Sequence[F32]) -> Tensor:
        return torch.from_numpy(np.repeat(np.arange(len(parts)), [len(part) for part in parts]))

    def joined(parts: Sequence[F32 | U8]) -> Float[Tensor, "p c"]:
        return torch.from_numpy(np.concatenate(parts).astype(np.float32, copy=False))

    points = [to_cube(each.points) for each in given]
    cells = [to_cube(each.cells) for each in given] if features else []
    state = [[float(each.place), *(each.held / HELD_UNIT).tolist()] for each in given]
    return Scenes(
        points=joined(points),
        colors=joined([each.colors for each in given]) / 127.5 - 1.0,
        rows=rows(points),
        tokens=torch.from_numpy(np.stack([each.tokens for each in given])),
        token_mask=torch.from_numpy(np.stack([each.token_mask for each in given])),
        text=torch.from_numpy(np.stack([each.text for each in given])),
        state=torch.tensor(state, dtype=torch.float32),
        cells=joined(cells) if features else None,
        features=joined([each.features for each in given]) if features else None,
        cosines=joined([_cosines(each) for each in given]) if features else None,
        cell_rows=rows(cells) if features else None,
    )


def _cosines(given: KeyposeInput) -> F32:
    """(C, 1) cosines of the cells' features and the sentence: 0 is the least of the scene, 1 the greatest (A2's scaling)."""
    if not len(given.features):
        return np.zeros((0, 1), np.float32)
    cosines = given.features @ given.text
    low, high = float(cosines.min()), float(cosines.max())
    scaled: F32 = ((cosines - low) / max(high - low, 1e-4)).astype(np.float32)
    return scaled[:, None]
