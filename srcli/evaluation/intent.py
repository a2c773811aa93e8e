"""Which objects of a scene the words of a sentence stand for, by the catalogue. Privileged: for judging, never for a method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from srcli.language.denial import split_denied
from srcli.language.phrases import plain_label
from srcli.language.relations import RELATIONS
from srcli.objects import catalogue


def stands_for(text: str, names: Sequence[str]) -> tuple[int, ...]:
    """Positions of the objects that carry most of the words that are said: names, kinds, looks, uses.

    What a sentence denies is left out, and so is what follows a relation: "the cup next to the box" asks for a cup. Directions
    and sizes ("the leftmost cup") are not read: all cups are told.

    Args:
        text: the half of a sentence that says what to take, or the reference of a placement.
        names: of the catalogue, one per object.

    Returns:
        In order; empty where no object carries any of the words.
    """
    wish = split_denied(" ".join(text.split()))
    wanted = _words(_before_relation(wish.wanted))
    denied = [_words(thing) for thing in wish.denied]
    refused = [any(_covered(words, name) == len(words) for words in denied) for name in names]
    scores = [0 if no else _covered(wanted, name) for no, name in zip(refused, names, strict=True)]
    most = max(scores, default=0)
    return tuple(i for i, score in enumerate(scores) if score == most) if most else ()


def _before_relation(text: str) -> str:
    relations = "|".join(re.escape(word) for word in sorted(RELATIONS, key=len, reverse=True) if word != "to")
    return re.split(rf"\s(?:{relations})\s+(?:the|a|an|my)\s", text, maxsplit=1, flags=re.IGNORECASE)[0]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def _covered(said: Sequence[str], name: str) -> int:
    """How many of the words said belong to what the object is called or described by."""
    entry = catalogue()[name]
    phrases = (entry.label, plain_label(name), *entry.synonyms, *entry.general, *entry.attributes, *entry.functions)
    return len(set(_places(said, phrases)))


def _places(said: Sequence[str], phrases: Iterable[str]) -> Iterable[int]:
    for phrase in phrases:
        words = _words(phrase)
        for start in range(len(said) - len(words) + 1):
            if words and said[start : start + len(words)] == words:
                yield from range(start, start + len(words))
