"""What training never says: held-out wordings, and three words in a row of sentences that are only reported."""

from __future__ import annotations

from collections.abc import Iterable

from srcli.language.spelling import words_of
from srcli.pretraining.encoder.captions import is_held_out


class Reserved:
    """Texts that are not to be said; ask with ``text in reserved``.

    Args:
        sentences: of which no three words in a row may be said.
    """

    def __init__(self, sentences: Iterable[str] = ()) -> None:
        self._threes = frozenset(three for sentence in sentences for three in threes(sentence))

    def __contains__(self, text: str) -> bool:
        return is_held_out(text.lower()) or not self._threes.isdisjoint(threes(text))


def threes(text: str) -> set[tuple[str, ...]]:
    """Every three words in a row."""
    words = words_of(text)
    return {words[i : i + 3] for i in range(len(words) - 2)}
