"""Relations of placements: their words, the sentences made of them, and the way back from a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from srcli.config.extensions import announced, load, refused
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


BUILT_IN: Mapping[str, Relation] = MappingProxyType(
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

ENTRY_POINTS = "srcli.relations"
"""Entry-point group of a user's own relations; each names a :class:`Relation`."""


@lru_cache(maxsize=1)
def own_relations() -> Mapping[str, Relation]:
    """The relations that installed packages announce, by word.

    Raises:
        ConfigError: one of them cannot be used; names the package.
    """
    found: dict[str, Relation] = {}
    for point in announced(ENTRY_POINTS):
        relation = load(point)
        if not isinstance(relation, Relation):
            raise refused(point, "it is no srcli.language.Relation")
        if not re.fullmatch(r"[a-z0-9]+( [a-z0-9]+)*", relation.word):
            raise refused(point, f"'{relation.word}' is not made of lower-case words")
        if relation.region not in get_args(Region):
            raise refused(point, f"region '{relation.region}' is none of {', '.join(get_args(Region))}")
        if relation.word in BUILT_IN or relation.word in found:
            raise refused(point, f"the relation '{relation.word}' exists already")
        found[relation.word] = relation
    return MappingProxyType(found)


def own_relation_records() -> dict[str, str]:
    """The user's relations as they are recorded: scenes and sentences are drawn from them, too."""
    return {word: f"{relation.region}, {'seen' if relation.seen else 'unseen'}" for word, relation in own_relations().items()}


class _Relations(Mapping[str, Relation]):
    """The built-in relations and then the user's, which are looked up when first asked for."""

    def __getitem__(self, word: str) -> Relation:
        return BUILT_IN[word] if word in BUILT_IN else own_relations()[word]

    def __iter__(self) -> Iterator[str]:
        return iter((*BUILT_IN, *own_relations()))

    def __len__(self) -> int:
        return len(BUILT_IN) + len(own_relations())


RELATIONS: Mapping[str, Relation] = _Relations()
"""All relations by word, the built-in ones first."""

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


_ARTICLE = r"(?:the|an|a|that|this|my)\s+"
_PLACE_START = re.compile(
    r"(?:^|[\s,;.])(?:(?:and|then|please|now|could\s+you|can\s+you)[\s,]+)*"
    r"((?:put|place|move|set|lay|leave|drop|stick|position|deposit|release)\s+"
    r"(?:it|this|that|them|down|(?:the|that|this)\s+(?:object|thing|item))\b.*)$",
    re.IGNORECASE | re.DOTALL,
)
_JOINT = re.compile(r"(?:[\s,;.]|\b(?:and|then|please|now|could\s+you|can\s+you))+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Patterns:
    """How relations stand in sentences.

    Attributes:
        phrase: relation and reference.
        bare: the same before an article only. "to" and "on" also occur elsewhere ("something to eat").
        misspelt: a misspelt verb, any word before "it" or "this", with relation and reference ("plase it near the pear").
    """

    phrase: re.Pattern[str]
    bare: re.Pattern[str]
    misspelt: re.Pattern[str]


@lru_cache(maxsize=4)
def _patterns(relations: tuple[str, ...]) -> _Patterns:
    words = "|".join(re.escape(word) for word in sorted(relations, key=len, reverse=True))
    return _Patterns(
        re.compile(rf"\b({words})\s+(?:{_ARTICLE})?(\S.*)$"),
        re.compile(rf"\b({words})\s+{_ARTICLE}(\S.*)$"),
        re.compile(
            rf"(?:^|[\s,;.])(\w+\s+(?:it|this|that|(?:the|that|this)\s+(?:object|thing|item))\s+"
            rf"(?:{words})\s+{_ARTICLE}.*)$",
            re.IGNORECASE | re.DOTALL,
        ),
    )


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
    found = _PLACE_START.search(said) or _patterns(tuple(RELATIONS)).misspelt.search(said)
    if found is None:
        return said, ""
    place = found.group(1).strip(" ,;.")
    return _JOINT.sub("", said[: found.start(1)]), place


def parse_place(text: str) -> PlacePhrase | None:
    """Relation and reference of a place half; the longest relation that fits first. None when it names none.

    Of a sentence with both halves only the place half is read.
    """
    whole, place = split_instruction(text)
    # Without a verb of placing, a relation counts before an article only.
    patterns = _patterns(tuple(RELATIONS))
    found = (patterns.phrase if place else patterns.bare).search((place or whole).lower().strip(" ,;.!?"))
    if found is None:
        return None
    return PlacePhrase(found.group(1), found.group(2).strip(" ,;.!?"))


def reference_prompt(place_half: str) -> str:
    """What stands for the reference alone, in the form of a training sentence: "give me the apple".

    The whole text when no relation can be read from it.
    """
    phrase = parse_place(place_half)
    return place_half if phrase is None else f"give me the {phrase.reference}"
