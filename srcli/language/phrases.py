"""Compositional sentences for picking: which words, in which forms, and which objects a noun stands for.

Three kinds. ``attribute_noun``: "the red cup" among red things and other cups. ``reference``: two of a kind told apart by where
they lie, "the cup next to the box", "the marker in the bowl". ``superlative``: "the largest box", "the leftmost bottle".

Directions are those of a person who stands at the table's front, where the arm is mounted, and looks along it: left is +y, right
-y, front -x, back +x of the world frame. The top camera's image shows the table so, its upper edge at the back.

Truth does not follow from these words alone: :mod:`srcli.tasks.composed` reads it from the settled scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import numpy as np

from srcli.errors import unknown_name
from srcli.language.templates import Wording
from srcli.objects import Attributes, catalogue, describe, look_variation
from srcli.objects.palette import color_words
from srcli.types import OWN_LOOK, Look

PhraseKind = Literal["attribute_noun", "reference", "superlative"]
PHRASE_KINDS: tuple[PhraseKind, ...] = ("attribute_noun", "reference", "superlative")

RELATIVE: tuple[str, ...] = ("next to", "in")
"""What tells two of a kind apart, in the words of :data:`srcli.language.relations.RELATIONS`."""

SUPERLATIVES: tuple[str, ...] = ("largest", "smallest", "leftmost", "rightmost", "frontmost", "rearmost")

DIRECTIONS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"leftmost": (1, 1), "rightmost": (1, -1), "frontmost": (0, -1), "rearmost": (0, 1)}
)
"""World axis (0: x, 1: y) and sign of a direction, seen from the table's front."""

FRAMES: Mapping[Wording, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("give me the {}", "grasp the {}", "I want the {}", "I need the {}"),
        "heldout": ("could you hand me the {}", "find the {} and lift it", "please fetch the {}"),
    }
)
"""Sentences around a phrase. The held-out ones begin as held-out sentences for labels do, and occur in no demonstration."""

FORMS: Mapping[Wording, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "train": {
            "attribute_noun": ("{word} {noun}",),
            "next to": ("{noun} next to the {reference}", "{noun} near the {reference}"),
            "in": ("{noun} in the {reference}",),
            "largest": ("largest {noun}",),
            "smallest": ("smallest {noun}",),
            "leftmost": ("leftmost {noun}", "{noun} on the left"),
            "rightmost": ("rightmost {noun}", "{noun} on the right"),
            "frontmost": ("frontmost {noun}", "{noun} at the front"),
            "rearmost": ("rearmost {noun}", "{noun} at the back"),
        },
        "heldout": {
            "attribute_noun": ("{noun} that is {word}",),
            "next to": ("{noun} beside the {reference}", "{noun} close to the {reference}"),
            "in": ("{noun} inside the {reference}",),
            "largest": ("biggest {noun}",),
            "smallest": ("littlest {noun}",),
            "leftmost": ("{noun} furthest to the left",),
            "rightmost": ("{noun} furthest to the right",),
            "frontmost": ("{noun} closest to the front edge",),
            "rearmost": ("{noun} closest to the back edge",),
        },
    }
)
"""Forms of a phrase by wording and by kind, relation or superlative. No form occurs in both groups."""

LOOKALIKES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "bottle": frozenset({"standing_tube", "pump_bottle", "thera_bottle", "aerosol_can", "drink_bag", "can"}),
        "box": frozenset({"sugar_bag", "soap"}),
        "cup": frozenset({"mug", "cream_jar"}),
        "mug": frozenset({"cup"}),
        "bowl": frozenset({"dish", "lid"}),
        "container": frozenset({"ice_mould", "cream_jar", "tea_box", "gelatin_box", "sugar_box", "small_box", "lid", "can"}),
        "ball": frozenset({"apple", "orange", "peach", "plum"}),
        "can": frozenset({"aerosol_can", "cream_jar"}),
        "tool": frozenset({"padlock", "peeler_cover", "tape", "marker"}),
        "toy": frozenset({"ball"}),
        "toothpaste": frozenset({"pump_bottle", "thera_bottle", "standing_tube", "long_box"}),
        "marker": frozenset({"screwdriver"}),
    }
)
"""Categories that a person may call by a noun although their words do not say so; they never lie in a scene of that noun."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """What a compositional sentence says.

    Attributes:
        noun: label without its colour ("cup"), or kind ("bottle").
        word: an attribute, one of :data:`RELATIVE`, or one of :data:`SUPERLATIVES`.
        reference: what the relation refers to, by label or kind; empty in the other kinds.
    """

    kind: PhraseKind
    noun: str
    word: str
    reference: str = ""


def phrase_kind(name: str) -> PhraseKind:
    """The kind of that name; an unknown one is an :class:`~srcli.errors.UnknownNameError`."""
    for kind in PHRASE_KINDS:
        if kind == name:
            return kind
    raise unknown_name("kind of compositional sentence", name, PHRASE_KINDS)


def phrases(phrase: Phrase, wording: str = "train") -> tuple[str, ...]:
    """The phrase in every form of a wording, e.g. "leftmost bottle" and "bottle on the left".

    Raises:
        UnknownNameError: no such wording, relation or superlative.
    """
    forms = next((forms for name, forms in FORMS.items() if name == wording), None)
    if forms is None:
        raise unknown_name("wording", wording, FORMS)
    key = phrase.kind if phrase.kind == "attribute_noun" else phrase.word
    allowed = {"reference": RELATIVE, "superlative": SUPERLATIVES, "attribute_noun": (key,)}[phrase.kind]
    if key not in allowed:
        raise unknown_name("relation" if phrase.kind == "reference" else phrase.kind, key, allowed)
    return tuple(form.format(noun=phrase.noun, word=phrase.word, reference=phrase.reference) for form in forms[key])


def phrase_sentences(phrase: Phrase, wording: str = "train") -> tuple[str, ...]:
    """Every sentence that a wording makes of a phrase."""
    said = phrases(phrase, wording)
    return tuple(frame.format(text) for name, frames in FRAMES.items() if name == wording for frame in frames for text in said)


def phrase_instruction(rng: np.random.Generator, phrase: Phrase, wording: str = "train") -> str:
    """A sentence that asks for what the phrase says, uniform over :func:`phrase_sentences`."""
    every = phrase_sentences(phrase, wording)
    return every[int(rng.integers(len(every)))]


@lru_cache(maxsize=4096)
def shown_words(name: str, look: Look = OWN_LOOK) -> Attributes:
    """The words that are true of an object as it looks in a scene."""
    entry = catalogue()[name]
    return describe(entry, look_variation(entry, look))


def plain_label(name: str, look: Look = OWN_LOOK) -> str:
    """An object's label without the colour before it that describes it: a "red mug" is a "mug", but "blue moon" is a brand."""
    words = shown_words(name, look)
    first, _, rest = words.label.partition(" ")
    colored = catalogue()[name].names_color and first in color_words() and first in words.attributes
    return rest if rest and colored else words.label


def is_called(name: str, noun: str, look: Look = OWN_LOOK) -> bool:
    """Whether a noun is the word for this object: its label, the same without its colour, or one of its kinds."""
    words = shown_words(name, look)
    return noun in (words.label, plain_label(name, look), *words.general)


@lru_cache(maxsize=65536)
def may_be_called(name: str, noun: str, look: Look = OWN_LOOK) -> bool:
    """Whether a person could use a noun for this object, by any of its words or by what it looks like.

    What may be called by a sentence's noun without being so is kept out of its scene.
    """
    if is_called(name, noun, look):
        return True
    words = shown_words(name, look)
    described = set(" ".join((words.label, *words.synonyms, *words.general, *words.attributes)).split())
    return set(noun.split()) <= described or catalogue()[name].category in LOOKALIKES.get(noun, frozenset())


def phrase_texts(*wordings: str) -> tuple[str, ...]:
    """All forms and frames without their nouns; of some wordings, by default of all."""
    empty = {"noun": "", "word": "", "reference": ""}
    used = [name for name in FORMS if not wordings or name in wordings]
    forms = [form for name in used for texts in FORMS[name].values() for form in texts]
    return (*(form.format(**empty) for form in forms), *(frame.format("") for name in used for frame in FRAMES[name]))
