"""How much more a feature has of a query than of other words, and dense features of larger surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srcli.types import F32


def relevancy(features: F32, query: F32, negatives: F32, temperature: float) -> F32:
    """Relevancy of LERF (Kerr et al. 2023, equation 2): the least probability of the query against each negative alone.

    r = min over n of exp(t c) / (exp(t c) + exp(t c_n)), with the cosines c of the query and c_n of negative n.

    Args:
        features: (N, D) of unit length.
        query: (D,) of unit length.
        negatives: (M, D) of unit length.
        temperature: t.

    Returns:
        (N,) float32 in 0..1.
    """
    # The probability falls with c_n: the least is that against the nearest negative.
    margin = features @ query - (features @ negatives.T).max(axis=1)
    found: F32 = (1.0 / (1.0 + np.exp(-temperature * margin.astype(np.float64)))).astype(np.float32)
    return found


def share(features: F32, query: F32, others: F32, temperature: float) -> F32:
    """Probability (N,) of the query in a softmax over it and all others, with cosines divided by the temperature (GraspSplats).

    Args:
        features: (N, D), query (D,), others (M, D): of unit length.
    """
    logits = (features @ np.concatenate([query[None], others]).T).astype(np.float64) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits)
    found: F32 = (weights[:, 0] / weights.sum(axis=1)).astype(np.float32)
    return found


@dataclass(frozen=True, slots=True)
class Pooled:
    """Dense features of larger surroundings.

    Attributes:
        values: (M, h, w, D) float32, of unit length.
    """

    values: F32


def pooled(values: F32, side: int) -> Pooled:
    """Mean over the square of ``side`` x ``side`` cells around each cell, as far as it lies in the image, at unit length.

    The encoder's stand-in for the image crops of several sizes that LERF embeds.

    Args:
        values: (M, h, w, D) of unit length.
        side: odd.
    """
    if side == 1:
        return Pooled(values)
    half = side // 2
    total = values.astype(np.float64)
    for axis in (1, 2):
        size = total.shape[axis]
        ends = np.arange(size)
        upto = np.concatenate([np.zeros_like(total.take([0], axis)), np.cumsum(total, axis=axis)], axis=axis)
        high, low = np.minimum(ends + half + 1, size), np.maximum(ends - half, 0)
        total = upto.take(high, axis) - upto.take(low, axis)
    # How many cells were added up does not matter: only the direction is kept.
    return Pooled((total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-9)).astype(np.float32))


def best_scale(maps: Sequence[F32]) -> int:
    """The scale whose largest relevancy is the largest, for the whole query as in LERF; the first of equals."""
    return int(np.argmax([float(each.max()) for each in maps]))
