"""What VLP sees of a decision: things on the table, pairs of the sentence, free places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from srcli.learning.keyposes import KeyposeInput
from srcli.learning.regions import Regions
from srcli.methods.vlp.network import Scenes
from srcli.types import F32, Bool


@dataclass(frozen=True, slots=True)
class Words:
    """One pair of a sentence.

    Attributes:
        reference: (D,) text of the reference, of unit length.
        tokens: (L, D) text features of the pair's words.
        mask: (L,) True where a token is real.
    """

    reference: F32
    tokens: F32
    mask: Bool


@dataclass(frozen=True, slots=True)
class Scene:
    """One decision, unpadded; metres.

    Attributes:
        things: (R, D) features of things, of unit length.
        centres: (R, 2) middle of their boxes, horizontal.
        sizes: (R,) mean of the half sides of their boxes, horizontal.
        pairs: of the sentence, at least one.
        places: (K, 2) candidates, horizontal.
        usable: (K,) False for places that have failed before.
        taken: (R, K) True where a place lies inside the box of another thing than this one: it is not free beside this one.
        held: half size of what is to be placed.
    """

    things: F32
    centres: F32
    sizes: F32
    pairs: tuple[Words, ...]
    places: F32
    usable: Bool
    taken: Bool
    held: float

    def turned(self, angle: float) -> Scene:
        """Turned about the vertical by so many radians; a thing keeps its half size."""
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, s], [-s, c]], dtype=np.float32)
        return replace(self, centres=self.centres @ turn, places=self.places @ turn)


def scene_of(given: KeyposeInput, pairs: Sequence[Words], poses: F32, usable: Bool, found: Regions) -> Scene:
    """The scene of a decision.

    Args:
        given: what was seen.
        pairs: of the sentence; none: the sentence as it was encoded is one pair.
        poses: (K, 7) candidates.
        found: the regions of its cells.
    """
    half = (found.upper - found.lower)[:, :2] / 2
    places = poses[:, :2].astype(np.float32)
    inside = (np.abs(places[None] - found.centres[:, None, :2]) <= half[:, None]).all(axis=2)  # (R, K)
    return Scene(
        things=found.features,
        centres=found.centres[:, :2],
        sizes=half.mean(axis=1).astype(np.float32),
        pairs=tuple(pairs) or (Words(given.text, given.tokens, given.token_mask),),
        places=places,
        usable=usable,
        taken=inside.sum(axis=0) > inside,
        held=float(given.held[0]),
    )


def collated(scenes: Sequence[Scene]) -> Scenes:
    """Scenes as one padded batch."""

    def padded(rows: Sequence[npt.NDArray[Any]], axes: int = 1) -> torch.Tensor:
        shape = tuple(max(row.shape[axis] for row in rows) for axis in range(axes))
        out = np.zeros((len(rows), *shape, *rows[0].shape[axes:]), dtype=rows[0].dtype)
        for target, row in zip(out, rows, strict=True):
            target[tuple(slice(size) for size in row.shape[:axes])] = row
        return torch.from_numpy(out)

    def real(count: Callable[[Scene], int]) -> torch.Tensor:
        return padded([np.ones(count(scene), dtype=np.bool_) for scene in scenes])

    return Scenes(
        things=padded([scene.things for scene in scenes]),
        centres=padded([scene.centres for scene in scenes]),
        sizes=padded([scene.sizes for scene in scenes]),
        thing_mask=real(lambda scene: len(scene.things)),
        reference=padded([np.stack([pair.reference for pair in scene.pairs]) for scene in scenes]),
        tokens=padded([np.stack([pair.tokens for pair in scene.pairs]) for scene in scenes]),
        token_mask=padded([np.stack([pair.mask for pair in scene.pairs]) for scene in scenes]),
        pair_mask=real(lambda scene: len(scene.pairs)),
        places=padded([scene.places for scene in scenes]),
        place_mask=padded([scene.usable for scene in scenes]),
        taken=padded([scene.taken for scene in scenes], axes=2),
        held=torch.tensor([scene.held for scene in scenes], dtype=torch.float32),
    )
