"""The paper's second rule of success: the taken segment resembles the sentence.

The paper states a threshold on the similarity between the visual segment of the grasped object and the instruction, but neither
its value nor how the segment is embedded. Here: dense features of one fixed encoder, averaged over the object's pixels in all
views, cosine with the pooled sentence; the threshold is calibrated on validation scenes. It is recorded beside identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from srcli.language.relations import split_instruction
from srcli.language.spelling import Reading
from srcli.types import F32, F64, Bool, Observation

if TYPE_CHECKING:
    from srcli.evaluation.rollout import Segmentation
    from srcli.perception.pipeline import JointEncoder


@dataclass(frozen=True, slots=True)
class Threshold:
    """A calibrated threshold.

    Attributes:
        value: similarity from which on a segment counts as what was asked for.
        balanced_accuracy: mean of the true-positive and the true-negative rate on the calibration scenes.
        positives, negatives: number of segments it was calibrated on.
    """

    value: float
    balanced_accuracy: float
    positives: int
    negatives: int


class SimilarityRule:
    """Similarity of an object's image segment and the pick half of a sentence. Needs the segmentation, so it may only judge.

    Args:
        reader: how sentences are read for this encoder.
    """

    def __init__(self, encoder: JointEncoder, reader: Callable[[str], Reading] = Reading) -> None:
        self._encoder, self._reader = encoder, reader

    def similarity(self, observation: Observation, segmentation: Segmentation, slot: int, instruction: str) -> float:
        """Cosine in -1..1; NaN when no camera sees the object."""
        return float(self.similarities(observation, segmentation, (slot,), instruction)[0])

    def similarities(self, observation: Observation, segmentation: Segmentation, slots: Sequence[int], instruction: str) -> F64:
        """The same for several slots (S,) of one scene."""
        features = self._encoder.dense(observation.rgb).values.astype(np.float32)
        said = self._reader(instruction).text
        text = self._encoder.text([split_instruction(said)[0] or said])[0].pooled
        out = np.full(len(slots), np.nan)
        for i, slot in enumerate(slots):
            share = coverage(segmentation == slot + 1, features.shape[1], features.shape[2])
            if share.sum() <= 0:
                continue
            pooled = np.einsum("mhw,mhwd->d", share, features)
            out[i] = float(pooled @ text / max(float(np.linalg.norm(pooled) * np.linalg.norm(text)), 1e-9))
        return out


def coverage(mask: Bool, rows: int, columns: int) -> F32:
    """Share of each grid cell (M, rows, columns) that a pixel mask (M, H, W) covers, 0..1."""
    views, height, width = mask.shape
    row = np.minimum(np.arange(height) * rows // height, rows - 1)
    column = np.minimum(np.arange(width) * columns // width, columns - 1)
    cell = row[:, None] * columns + column[None, :]
    size = np.bincount(cell.ravel(), minlength=rows * columns).astype(np.float32)
    counts = np.stack([np.bincount(cell.ravel(), weights=view.ravel(), minlength=rows * columns) for view in mask])
    share: F32 = (counts / np.maximum(size, 1.0)).reshape(views, rows, columns).astype(np.float32)
    return share


def best_threshold(positive: F64, negative: F64) -> Threshold:
    """The threshold with the highest balanced accuracy: halfway between the two neighbouring similarities.

    Args:
        positive, negative: similarities of segments that were and were not asked for; NaN is dropped.
    """
    positive = np.sort(positive[np.isfinite(positive)])
    negative = np.sort(negative[np.isfinite(negative)])
    values = np.unique(np.concatenate([positive, negative]))
    if len(values) == 0:
        return Threshold(float("nan"), float("nan"), 0, 0)
    cuts = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    hits = 1.0 - np.searchsorted(positive, cuts) / max(len(positive), 1)
    rejections = np.searchsorted(negative, cuts) / max(len(negative), 1)
    balanced = (hits + rejections) / 2
    best = int(np.argmax(balanced))
    return Threshold(float(cuts[best]), float(balanced[best]), len(positive), len(negative))
