"""How fast an update learns and which samples it draws: both follow from its number, so a killed run goes on to the same end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from srcli.seeding import generator
from srcli.types import I64


@dataclass(frozen=True)
class Schedule:
    """A learning rate that rises linearly, then stays or falls by half a cosine.

    Attributes:
        peak: the highest rate.
        updates: of the whole training.
        warmup: updates over which it rises.
        shape: after the warm-up.
        floor: share of the peak that the cosine ends at.
        cosine_from: ``warmup``: the cosine begins where the warm-up ends; ``start``: it begins with the first update, and the
            warm-up is a factor on it.
    """

    peak: float
    updates: int
    warmup: int = 0
    shape: Literal["constant", "cosine"] = "cosine"
    floor: float = 0.01
    cosine_from: Literal["start", "warmup"] = "warmup"

    def __call__(self, update: int) -> float:
        """The rate of an update, counted from 0."""
        rate = self.peak * min(1.0, (update + 1) / max(1, self.warmup))
        if self.shape == "constant":
            return rate
        first = self.warmup if self.cosine_from == "warmup" else 0
        done = min(1.0, max(0, update - first) / max(1, self.updates - first))
        return rate * (self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * done)))


def walk(pool: I64, update: int, size: int, seed: int, *stream: int) -> I64:
    """The ``size`` samples of an update: epochs are permutations of a pool, walked through across their borders.

    Args:
        pool: (n,) numbers of samples, at least one.
        stream: which walk, of several with one seed.
    """
    n = len(pool)
    wanted = np.arange(update * size, (update + 1) * size)
    orders = {e: generator((seed,), 1, int(e), *stream).permutation(n) for e in np.unique(wanted // n)}
    return pool[np.array([orders[int(i // n)][i % n] for i in wanted], dtype=np.int64)]
