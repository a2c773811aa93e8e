"""What a sentence says of a place: pairs of a relation and its reference."""

from __future__ import annotations

import re

from srcli.language.relations import RELATIONS, PlacePhrase, parse_place


def pairs(sentence: str) -> tuple[PlacePhrase, ...]:
    """Relations and references of the place half of a sentence, in their order; none where none can be read.

    "put it next to the cup and near the plate" has two: what follows a comma or an "and" is a pair of its own if it begins with
    a relation.
    """
    first = parse_place(sentence)
    if first is None:
        return ()
    words = "|".join(re.escape(word) for word in sorted(RELATIONS, key=len, reverse=True))
    parts = re.split(rf"(?:\s*,\s*(?:and\s+)?|\s+and\s+)(?=(?:{words})\s+\S)", first.reference)
    found = [PlacePhrase(first.relation, parts[0].strip())]
    for part in parts[1:]:
        phrase = parse_place(f"put it {part}")
        if phrase is not None:
            found.append(phrase)
    return tuple(found)


def spoken(phrase: PlacePhrase) -> str:
    """A pair as a place half of its own, in the form of a training sentence."""
    return f"put it {phrase.relation} the {phrase.reference}"
