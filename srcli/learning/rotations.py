"""Rotations of the joint space: cosines stay, directions of known objects do not.

:class:`Comparison` turns what 1-Align compares and nothing else, :func:`about` turns a whole decision and keeps some directions.

A rotation R leaves the cosine of every word and point as it is. With queries W_q R t and keys W_k R f, a new R for each sample,
what helps in all samples is W_q^T W_k near a multiple of the identity. Nothing else is turned: values, keys of 2-Align and the
words that are written on the points keep their meaning, and at test time nothing is turned at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np
import torch

from srcli.learning.augment import random_rotation, rotations_from
from srcli.types import F32, F64

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

COMPARED = ("stage1.q", "stage1.k")
"""The linear maps of 1-Align that make queries of words and keys of points, by their names in a network."""
# Parts of a batch are computed by several threads on one network: each has its own rotations.
_TURNS: ContextVar[Tensor | None] = ContextVar("_TURNS", default=None)


def basis_from(directions: Sequence[F64]) -> F64:
    """(D, D) orthonormal columns, of which the first span the given (D,) directions, linearly independent ones."""
    basis, _ = np.linalg.qr(np.concatenate([np.stack(directions, axis=1), np.eye(len(directions[0]))], axis=1))
    out: F64 = basis
    return out


def about(basis: F64, kept: int, rng: np.random.Generator) -> F32:
    """(D, D) rotation that leaves the first ``kept`` columns of an orthonormal basis as they are; row vectors are turned by
    ``x @ R``."""
    inner = np.eye(len(basis))
    inner[kept:, kept:] = random_rotation(len(basis) - kept, rng)
    turn: F32 = (basis @ inner @ basis.T).astype(np.float32)
    return turn


class Comparison:
    """Turns what 1-Align compares, within :meth:`under`.

    Args:
        network: gets a hook on each map of ``COMPARED``; without them nothing is ever turned.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        maps = [module for name, module in network.named_modules() if name in COMPARED]
        self.width = next((int(module.weight.shape[1]) for module in maps if isinstance(module, torch.nn.Linear)), 0)
        """D, channels that are turned; 0 where nothing is compared."""
        for module in maps:
            module.register_forward_pre_hook(_turn)

    def draw(self, count: int, share: float, rng: np.random.Generator) -> Float[Tensor, "b d d"] | None:
        """A rotation for each of ``count`` samples, the identity for those beyond ``share``; None: nothing to turn."""
        if not self.width or share <= 0:
            return None
        turns = np.tile(np.eye(self.width, dtype=np.float32), (count, 1, 1))
        drawn = {i: rng.normal(size=(self.width, self.width)) for i in range(count) if rng.random() < share}
        if drawn:
            turns[list(drawn)] = rotations_from(np.stack(list(drawn.values())))
        return torch.from_numpy(turns)

    @staticmethod
    @contextmanager
    def under(turns: Float[Tensor, "b d d"] | None) -> Iterator[None]:
        """In this thread, words and points of sample i are compared under ``turns[i]``."""
        token = _TURNS.set(turns)
        try:
            yield
        finally:
            _TURNS.reset(token)


def _turn(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    turns = _TURNS.get()
    return None if turns is None else (inputs[0] @ turns.to(inputs[0].dtype), *inputs[1:])
