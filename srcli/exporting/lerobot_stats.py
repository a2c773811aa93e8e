"""The statistics that LeRobot keeps of every feature: of an episode, and of all."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from srcli.types import F64, I64, U8

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_LEVELS = 256


def histogram(image: U8) -> I64:
    """How often each value stands in each channel, (3, 256), of an image (H, W, 3)."""
    return np.stack([np.bincount(image[..., channel].reshape(-1), minlength=_LEVELS) for channel in range(3)]).astype(np.int64)


def image_stats(counts: I64, frames: int) -> dict[str, Any]:
    """Statistics of images scaled to 0..1, as lists of shape (3, 1, 1), exactly from their histograms (3, 256)."""
    values: F64 = np.arange(_LEVELS) / (_LEVELS - 1)
    total = counts.sum(axis=1)
    mean: F64 = counts @ values / total
    spread: F64 = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0.0))
    below = np.cumsum(counts, axis=1)
    there = counts > 0
    found: dict[str, F64] = {
        "min": values[there.argmax(axis=1)],
        "max": values[_LEVELS - 1 - there[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": spread,
    }
    for name, share in QUANTILES.items():
        found[name] = values[(below >= np.ceil(share * total)[:, None]).argmax(axis=1)]
    return {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()} | {"count": [frames]}


def vector_stats(rows: npt.NDArray[Any]) -> dict[str, Any]:
    """Statistics of (N, C) numbers, as lists of C."""
    values = rows.astype(np.float64)
    found = {"min": values.min(axis=0), "max": values.max(axis=0), "mean": values.mean(axis=0), "std": values.std(axis=0)}
    for name, share in QUANTILES.items():
        found[name] = np.quantile(values, share, axis=0)
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(rows)]}
