"""The similarity rule against slow references."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from srcli.config.language import LanguageConfig
from srcli.evaluation.similarity_rule import SimilarityRule, best_threshold, coverage
from srcli.language import make_reader, vocabulary
from srcli.types import Observation, TextEmbedding


def test_coverage_is_the_share_of_pixels() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((2, 12, 20)) < 0.4
    share = coverage(mask, 3, 5)
    for m in range(2):
        for i in range(3):
            for j in range(5):
                assert share[m, i, j] == pytest.approx(mask[m, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean())


def test_threshold_separates_what_can_be_separated() -> None:
    found = best_threshold(np.array([0.6, 0.7, 0.8]), np.array([0.1, 0.2, 0.4]))
    assert found.value == pytest.approx(0.5) and found.balanced_accuracy == 1.0
    assert (found.positives, found.negatives) == (3, 3)


def test_threshold_maximises_balanced_accuracy() -> None:
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(0.5, 0.2, 30), rng.normal(0.2, 0.2, 300)
    found = best_threshold(positive, negative)
    best = max(((positive >= t).mean() + (negative < t).mean()) / 2 for t in np.linspace(-1, 1.5, 4001))
    assert found.balanced_accuracy == pytest.approx(best, abs=1e-6)
    assert ((positive >= found.value).mean() + (negative < found.value).mean()) / 2 == pytest.approx(found.balanced_accuracy)


def test_unseen_segments_do_not_count() -> None:
    found = best_threshold(np.array([0.6, np.nan]), np.array([0.1]))
    assert (found.positives, found.negatives) == (1, 1)


class HalfEncoder:
    """Left half of each view points along the first axis, right half along the second."""

    def dense(self, rgb: Any) -> Any:
        values = np.zeros((len(rgb), 4, 8, 2), np.float32)
        values[:, :, :4, 0] = 1
        values[:, :, 4:, 1] = 1
        return SimpleNamespace(values=values)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def text(self, sentences: Any) -> list[TextEmbedding]:
        self.asked += sentences
        pooled = np.array([1, 0], np.float32)
        return [TextEmbedding(pooled, pooled[None], np.ones(1, bool)) for _ in sentences]


def test_similarity_of_a_segment() -> None:
    segmentation = np.zeros((2, 8, 16), np.uint16)
    segmentation[0, 2:6, 0:4] = 1
    segmentation[1, 2:6, 10:14] = 2
    segmentation[0, 0:2, 6:10] = 3
    observation = Observation(
        np.zeros((2, 8, 16, 3), np.uint8), np.zeros((2, 8, 16), np.float32), np.eye(3)[None], np.eye(4)[None]
    )
    rule = SimilarityRule(HalfEncoder())
    found = rule.similarities(observation, segmentation, range(4), "the left one")
    np.testing.assert_allclose(found[:3], [1.0, 0.0, np.sqrt(0.5)], atol=1e-6)
    assert np.isnan(found[3])
    assert rule.similarity(observation, segmentation, 0, "the left one") == pytest.approx(1.0)


def test_it_hears_the_pick_half_as_it_is_read_for_its_own_encoder() -> None:
    segmentation = np.ones((1, 8, 16), np.uint16)
    observation = Observation(
        np.zeros((1, 8, 16, 3), np.uint8), np.zeros((1, 8, 16), np.float32), np.eye(3)[None], np.eye(4)[None]
    )
    encoder = HalfEncoder()
    rule = SimilarityRule(encoder, make_reader(vocabulary(), LanguageConfig()))
    rule.similarity(observation, segmentation, 0, "give me the aple and put it near the red bowl")
    rule.similarity(observation, segmentation, 0, "give me the lemon")
    SimilarityRule(encoder).similarity(observation, segmentation, 0, "give me the aple and put it near the red bowl")
    assert encoder.asked == ["give me the apple", "give me the lemon", "give me the aple"]
