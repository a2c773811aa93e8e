"""Where what is understood of a sentence is a guess, for people."""

from __future__ import annotations

from dataclasses import replace

from srcli.language.instructions import vocabulary
from srcli.language.spelling import words_of
from srcli.language.wordlists import FUNCTION_WORDS
from srcli.perception.understanding import Half, Understood


def without_false_doubt(found: Understood) -> Understood:
    """The same, and no guess where a half has a word that objects are called or described by.

    Names are measured by their closeness; of "a red object" or "something to eat" no single one is close, and nothing is guessed.
    """
    return replace(found, pick=_of_half(found.pick), place=_of_half(found.place))


def is_guess(found: Understood) -> bool:
    """Whether what is taken, or where it is put, is a guess."""
    return any(half is not None and half.guess for half in (found.pick, found.place))


def _of_half(half: Half | None) -> Half | None:
    if half is None or not half.guess or not (vocabulary() - FUNCTION_WORDS).intersection(words_of(half.text)):
        return half
    return replace(half, guess=False)
