"""A made-up scene of an apple and a box, and an encoder that shows things by where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from method_inputs import decision, from_above

from srcli.methods.base import Decision
from srcli.perception.encoders.interface import DenseFeatures
from srcli.types import F32, U8, Percept, SemanticCloud, TextEmbedding

APPLE, BOX, OTHER = np.eye(6, dtype=np.float32)[:3]


@dataclass
class Paint:
    """An encoder that shows things by where they lie in the picture of ``from_above``: an apple left, a box right."""

    unread: tuple[str, ...] = ()
    empty: bool = False

    def dense(self, rgb: U8) -> DenseFeatures:
        values = np.broadcast_to(OTHER, (len(rgb), 40, 40, 6)).copy()
        values[:, 16:24, 10:18] = APPLE
        values[:, 3:9, 29:35] = BOX
        return DenseFeatures(values)

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]:
        vectors = [np.zeros(6, np.float32) if self.empty else OTHER for _ in texts]
        return [TextEmbedding(vector, vector[None], np.ones(1, bool)) for vector in vectors]

    def unknown_words(self, text: str) -> tuple[str, ...]:
        return tuple(word for word in text.split() if word in self.unread)


def block(x: float, y: float) -> F32:
    """The top of a block, 4 cm x 4 cm at a height of 5 cm."""
    grid = np.arange(-0.015, 0.016, 0.01)
    return np.array([[x + a, y + b, 0.05] for a in grid for b in grid], np.float32)


AT = {"apple": (0.5, 0.066), "box": (0.666, -0.142)}


def scene(query: F32, excluded: list[bool] | None = None, seed: int = 0) -> Decision:
    """An apple and a box, two grasps on each and one far from both; the percept keeps the apple, the rest is the box."""
    apple, box = block(*AT["apple"]), block(*AT["box"])
    text = TextEmbedding(query, query[None], np.ones(1, bool))
    cloud = SemanticCloud(
        apple, np.tile(APPLE, (len(apple), 1)), np.zeros(len(apple), np.float32), np.ones(len(apple), np.uint8), box
    )
    tips = [[x + shift, y, 0.045] for x, y in AT.values() for shift in (-0.01, 0.01)] + [[0.3, -0.2, 0.045]]
    made = decision(tips, excluded, lambda: Percept(cloud, text), seed)
    return replace(made, observation=from_above())
