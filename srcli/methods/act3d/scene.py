"""From a decision to what the network reads: scene tokens by level, words, ghost points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from srcli.learning.keyposes import WORKSPACE, KeyposeInput
from srcli.methods.act3d import ghosts
from srcli.methods.act3d.network import Asked, Tokens
from srcli.methods.act3d.section import GhostsConfig
from srcli.types import F32, I64

if TYPE_CHECKING:
    from torch import Tensor

MIDDLE: F32 = np.array([*(WORKSPACE[0] + WORKSPACE[1])[:2] / 2, 0.0], np.float32)
"""Where the rotary code has its origin: on the table, in the middle of the workspace, metres in the world frame."""

Read = tuple[F32, F32, F32]
"""Places (n, 3) in the world frame, features (n, D), colours (n, 3) of some tokens."""


def coarse_tokens(given: KeyposeInput, count: int, rng: np.random.Generator) -> Read:
    """At most ``count`` cells, drawn from all."""
    drawn = rng.permutation(len(given.cells))[:count]
    return given.cells[drawn], given.features[drawn], np.zeros((len(drawn), 3), np.float32)


def fine_tokens(given: KeyposeInput, anchor: F32, count: int, surface: bool, reach: float, rng: np.random.Generator) -> Read:
    """At most ``count`` cells, or so many surface points with the features of the cell nearest to each: those drawn from within
    ``reach`` metres of ``anchor`` (3,), filled up with the nearest beyond; all of them the nearest where ``reach`` is 0."""
    if not surface or len(given.points) == 0 or len(given.cells) == 0:
        near = _around(given.cells, anchor, count, reach, rng)
        return given.cells[near], given.features[near], np.zeros((len(near), 3), np.float32)
    from scipy.spatial import cKDTree

    near = _around(given.points, anchor, count, reach, rng)
    places = given.points[near]
    _, cell = cKDTree(given.cells).query(places)
    return places, given.features[cell], given.colors[near].astype(np.float32) / 127.5 - 1.0


def box(config: GhostsConfig) -> tuple[F32, F32]:
    """Corners (3,) of the box of all ghost points: the workspace from the table to as high as keyposes lie."""
    (x, y, _), (far_x, far_y, _) = WORKSPACE
    return np.array([x, y, 0.0], np.float32), np.array([far_x, far_y, config.height], np.float32)


def level_tokens(given: KeyposeInput, level: int, anchor: F32, config: GhostsConfig, rng: np.random.Generator) -> Read:
    """Tokens of a level; ``anchor`` (3,) is where the finer ones look."""
    if level == 0:
        return coarse_tokens(given, config.coarse_tokens, rng)
    surface = config.surface and level == len(config.balls)
    return fine_tokens(given, anchor, config.fine_tokens, surface, config.reach[level - 1], rng)


def level_ghosts(level: int, anchor: F32, count: int, config: GhostsConfig, rng: np.random.Generator) -> F32:
    """(count, 3) ghost points of a level: from the whole workspace, or from a ball around ``anchor`` (3,)."""
    lower, upper = box(config)
    if level == 0:
        return ghosts.in_box(rng, lower, upper, count)
    return ghosts.in_ball(rng, anchor, config.balls[level - 1], lower, upper, count)


def temperature(level: int, count: int, config: GhostsConfig) -> float:
    """Of the soft labels of a level with so many ghost points, metres."""
    if config.temperature:
        return config.temperature
    lower, upper = box(config)
    volume = float(np.prod(upper - lower)) if level == 0 else ghosts.ball_volume(config.balls[level - 1])
    return config.sharpness * ghosts.spacing(volume, count)


def stack_tokens(read: Sequence[Read]) -> Tokens:
    """A batch, padded to the longest; a decision without any token has one that is masked."""
    count, width = max(1, *(len(places) for places, _, _ in read)), read[0][1].shape[1]
    places, colors = np.zeros((len(read), count, 3), np.float32), np.zeros((len(read), count, 3), np.float32)
    features, mask = np.zeros((len(read), count, width), np.float32), np.zeros((len(read), count), bool)
    for row, (where, what, color) in enumerate(read):
        n = len(where)
        places[row, :n], features[row, :n], colors[row, :n], mask[row, :n] = where - MIDDLE, what, color, True
    return Tokens(*(torch.from_numpy(value) for value in (places, features, colors, mask)))


def stack_asked(given: Sequence[KeyposeInput]) -> Asked:
    """The sentences of a batch, and what is held."""
    words = np.stack([np.concatenate([each.text[None], each.tokens]) for each in given]).astype(np.float32)
    mask = np.stack([np.concatenate([[True], each.token_mask]) for each in given])
    place = np.array([each.place for each in given], dtype=np.int64)
    held = np.stack([each.held for each in given]).astype(np.float32)
    return Asked(*(torch.from_numpy(value) for value in (words, mask, place, held)))


def stack_places(places: Sequence[F32]) -> Tensor:
    """(B, ..., 3) from arrays (..., 3) in the world frame, from the middle of the workspace."""
    return torch.from_numpy((np.stack(places) - MIDDLE).astype(np.float32))


def _around(points: F32, anchor: F32, count: int, reach: float, rng: np.random.Generator) -> I64:
    distance = ((points - anchor) ** 2).sum(axis=1)
    inside = np.flatnonzero(distance <= reach**2)
    if len(inside) > count:
        return np.sort(rng.permutation(inside)[:count]).astype(np.int64)
    near = np.arange(len(points)) if len(points) <= count else np.argpartition(distance, count - 1)[:count]
    # One order whatever the partition did: sums over tokens are then the same on every run.
    return np.sort(near).astype(np.int64)
