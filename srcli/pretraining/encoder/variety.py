"""Sentences far beyond what is known of the catalogue's objects, so that a text tower learns of a teacher what words mean:
common English words alone, in short sentences and in pairs, and statements with words exchanged for similar ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from srcli.language.wordlists import ABBREVIATIONS, FUNCTION_WORDS
from srcli.pretraining.encoder.reserved import Reserved

_AROUND = (
    "give me the {}",
    "I need a {}",
    "the {} one",
    "something {}",
    "something to {}",
    "something for the {}",
    "I want to {}",
    "a thing with {}",
)
_BETWEEN = ("", "of", "for", "with", "in the", "and")
_SIMILAR = 15
_MOST_SWAPPED = 2


def common_words(count: int) -> tuple[str, ...]:
    """The most frequent English words of three and more plain letters, the most frequent first (package `pyspellchecker`)."""
    from spellchecker import SpellChecker

    frequency = SpellChecker(language="en").word_frequency
    words = [w for w in frequency.words() if len(w) > 2 and w.isascii() and w.isalpha() and w not in ABBREVIATIONS]
    return tuple(sorted(words, key=lambda word: (-frequency[word], word))[:count])


class SimilarWords:
    """Words with those that are near them in a teacher's eyes.

    Args:
        words: each once.
        vectors: (W, D) unit vectors of them.
    """

    def __init__(self, words: Sequence[str], vectors: Tensor) -> None:
        self.words = tuple(words)
        self._place = {word: row for row, word in enumerate(words)}
        near = min(_SIMILAR + 1, len(words))
        # In parts: all pairs at once would be a gigabyte.
        self._near = [row for part in torch.split(vectors, 1024) for row in (part @ vectors.T).topk(near).indices.tolist()]

    def similar(self, word: str, rng: np.random.Generator) -> str:
        """One of the words nearest to this one, which is at times itself."""
        near = self._near[self._place[word]]
        return self.words[int(near[int(rng.integers(len(near)))])]

    def swapped(self, text: str, rng: np.random.Generator) -> str:
        """The sentence with one or two words exchanged for similar ones."""
        words = text.split()
        places = [i for i, word in enumerate(words) if len(word) > 2 and word in self._place and word not in FUNCTION_WORDS]
        for i in rng.permutation(len(places))[: int(rng.integers(1, _MOST_SWAPPED + 1))]:
            words[places[i]] = self.similar(words[places[i]], rng)
        return " ".join(words)


def wide_sentences(
    texts: Sequence[str], words: SimilarWords, pairs: int, rng: np.random.Generator, reserved: Reserved
) -> list[str]:
    """Sentences of everything: ``texts`` with words exchanged, each word alone and in a short sentence, pairs of similar words.

    None of them is reserved.
    """
    found = [words.swapped(text, rng) for text in texts]
    content = [word for word in words.words if word not in FUNCTION_WORDS]
    for word in content:
        found += [word, _one(_AROUND, rng).format(word)]
    for _ in range(pairs):
        word = _one(content, rng)
        found.append(" ".join(f"{word} {_one(_BETWEEN, rng)} {words.similar(word, rng)}".split()))
    return [text for text in dict.fromkeys(text.lower() for text in found) if text not in reserved]


def _one(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
