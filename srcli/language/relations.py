"""Relations of placements: their words, the sentences made of them, and the way back from a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from srcli.errors import unknown_name

Region = Literal["in", "on", "around"]


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation word.

    Attributes:
        word: as it stands in sentences ("next to").
        region: "in" a hollow reference, "on" it (supported by it, which includes lying inside it), or "around" it.
        seen: whether demonstrations contain it.
    """

    word: str
    region: Region
    seen: bool


RELATIONS: Mapping[str, Relation] = MappingProxyType(
    {
        relation.word: relation
        for relation in (
            Relation("on", "on", True),
            Relation("in", "in", True),
            Relation("to", "on", True),
            Relation("near", "around", True),
            Relation("around", "around", True),
            Relation("next to", "around", True),
            Relation("upside", "on", False),
            Relation("on top of", "on", False),
            Relation("beside", "around", False),
            Relation("close to", "around", False),
            Relation("surrounding to", "around", False),
        )
    }
)
"""The relation words of the benchmark (A2): six occur in demonstrations, five more in tests on unseen objects."""

PLACE_TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("put it {} the {}", "place this {} the {}", "move the object {} the {}"),
        "heldout": ("set this down {} the {}", "could you lay it {} the {}", "leave the thing {} the {}"),
    }
)
"""Forms of a placement with relation and reference. ``train`` are those of A2; ``heldout`` never occurs in a demonstration."""


@dataclass(frozen=True, slots=True)
class PlacePhrase:
    """What a place half says: relation word of :data:`RELATIONS` and the words of the reference."""

    relation: str
    reference: str


_RELATION_WORDS = "|".join(re.escape(word) for word in sorted(RELATIONS, key=len, reverse=True))
_ARTICLE = r"(?:the|an|a|that|this|my)\s+"
_PHRASE = re.compile(rf"\b({_RELATION_WORDS})\s+(?:{_ARTICLE})?(\S.*)$")
# "to" and "on" also occur elsewhere ("something to eat"): without a verb of placing, a relation counts before an article only.
_BARE_PHRASE = re.compile(rf"\b({_RELATION_WORDS})\s+{_ARTICLE}(\S.*)$")
_PLACE_START = re.compile(
    r"(?:^|[\s,;.])(?:(?:and|then|please|now|could\s+you|can\s+you)[\s,]+)*"
    r"((?:put|place|move|set|lay|leave|drop|stick|position|deposit|release)\s+"
    r"(?:it|this|that|them|down|(?:the|that|this)\s+(?:object|thing|item))\b.*)$",
    re.IGNORECASE | re.DOTALL,
)
# A misspelt verb: any word before "it" or "this", a relation and a reference ("plase it near the pear").
_MISSPELT_START = re.compile(
    rf"(?:^|[\s,;.])(\w+\s+(?:it|this|that|(?:the|that|this)\s+(?:object|thing|item))\s+"
    rf"(?:{_RELATION_WORDS})\s+{_ARTICLE}.*)$",
    re.IGNORECASE | re.DOTALL,
)
_JOINT = re.compile(r"(?:[\s,;.]|\b(?:and|then|please|now|could\s+you|can\s+you))+$", re.IGNORECASE)


def place_instruction(rng: np.random.Generator, relation: str, reference_word: str, wording: str = "train") -> str:
    """A sentence that asks for a placement, e.g. "put it near the apple".

    Raises:
        UnknownNameError: no such relation or wording.
    """
    if relation not in RELATIONS:
        raise unknown_name("relation", relation, RELATIONS)
    if wording not in PLACE_TEMPLATES:
        raise unknown_name("wording", wording, PLACE_TEMPLATES)
    forms = PLACE_TEMPLATES[wording]
    return forms[int(rng.integers(len(forms)))].format(relation, reference_word)


def pick_place_instruction(rng: np.random.Generator, pick_half: str, place_half: str) -> str:
    """One sentence of both halves: "I want a strawberry, put it near the apple" or the same joined by "and"."""
    joint = (", ", " and ", ", and ")[int(rng.integers(3))]
    return f"{pick_half}{joint}{place_half}"


def split_instruction(text: str) -> tuple[str, str]:
    """(pick half, place half) of a sentence; either may be empty.

    The place half begins at the first verb of placing with its object ("put it", "place this", "move the object"), so that commas
    and joining words may be missing or many.
    """
    said = " ".join(text.split())
    found = _PLACE_START.search(said) or _MISSPELT_START.search(said)
    if found is None:
        return said, ""
    place = found.group(1).strip(" ,;.")
    return _JOINT.sub("", said[: found.start(1)]), place


def parse_place(text: str) -> PlacePhrase | None:
    """Relation and reference of a place half; the longest relation that fits first. None when it names none.

    Of a sentence with both halves only the place half is read.
    """
    whole, place = split_instruction(text)
    found = (_PHRASE if place else _BARE_PHRASE).search((place or whole).lower().strip(" ,;.!?"))
    if found is None:
        return None
    return PlacePhrase(found.group(1), found.group(2).strip(" ,;.!?"))


def reference_prompt(place_half: str) -> str:
    """What stands for the reference alone, in the form of a training sentence: "give me the apple".

    The whole text when no relation can be read from it.
    """
    phrase = parse_place(place_half)
    return place_half if phrase is None else f"give me the {phrase.reference}"
