"""Sentences for concepts: plain phrases, captions, and instructions for picking and placing in many wordings.

Half of the sentences have a form of a fixed list, the others are put together from parts. The held-out forms of
:mod:`srcli.language` are never said, so that a row on unseen wordings is about sentences that neither encoder nor policy has
read. The words in them do occur: a text tower that has read only our sentences knows no others.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from srcli.language.relations import PLACE_TEMPLATES
from srcli.language.templates import SYNONYMS, TEMPLATES
from srcli.pretraining.encoder.concepts import Concept

_THING = (
    "{}",
    "{}",
    "a {}",
    "the {}",
    "give me the {}",
    "give me the {}",
    "give me a {}",
    "I need a {}",
    "I need a {}",
    "I need the {}",
    "I want a {}",
    "I want the {}",
    "grasp the {}",
    "pick up the {}",
    "get me a {}",
    "take the {}",
    "find the {}",
    "a photo of a {}",
    "there is a {} on the table",
)
_ATTRIBUTE = (
    "{}",
    "{}",
    "something {}",
    "a {} object",
    "the {} object",
    "grasp a {} object",
    "grasp a {} object",
    "I want a {} object",
    "I want a {} object",
    "give me a {} object",
    "give me something {}",
    "I need something {}",
    "pick up the {} object",
    "get me something {}",
    "please grasp something that is {}",
    "could you grab the {} one",
    "a photo of a {} object",
)
_FUNCTION = (
    "{}",
    "to {}",
    "something to {}",
    "get something to {}",
    "get something to {}",
    "get something to {}",
    "give me something to {}",
    "I need something to {}",
    "I want something to {}",
    "I want to {}",
    "grasp something to {}",
    "an object to {} with",
    "something I can use to {}",
)
_TEMPLATES = {"label": _THING, "general": _THING, "colored": _THING, "attribute": _ATTRIBUTE, "function": _FUNCTION}

_POLITE = (
    "",
    "",
    "",
    "",
    "please",
    "could you",
    "can you",
    "would you",
    "now",
    "next",
    "kindly",
    "go and",
    "I want you to",
    "robot",
)
_TAKING = (
    "give me",
    "get",
    "get me",
    "take",
    "grab",
    "grasp",
    "pick",
    "pick up",
    "find",
    "find me",
    "fetch",
    "bring",
    "bring me",
    "hand me",
    "hand over",
    "pass me",
    "pass",
    "lift",
    "reach for",
    "look for",
    "show me",
    "choose",
)
_WISHING = (
    "I need",
    "I want",
    "I would like",
    "I am looking for",
    "we need",
    "I could use",
    "there is",
    "do you see",
    "where is",
)
_ENDS = (
    "",
    "",
    "",
    "",
    "please",
    "for me",
    "now",
    "from the table",
    "on the table",
    "off the table",
    "and lift it",
    "and bring it",
    "and hold it up",
    "if you can",
    "over there",
    "in front of you",
)
_NOUNS = {
    "thing": ("the {}", "the {}", "the {}", "a {}", "a {}", "any {}", "some {}", "that {}", "one {}", "this {}"),
    "attribute": (
        "something {}",
        "something {}",
        "anything {}",
        "something that is {}",
        "something that looks {}",
        "the {} thing",
        "the {} one",
        "a {} object",
        "a {} thing",
        "any {} object",
        "any {} item",
        "the {} item",
        "the object that is {}",
        "the thing that is {}",
        "an item that looks {}",
        "whatever is {}",
        "whatever looks {}",
        "one that is {}",
    ),
    "function": (
        "something to {}",
        "something to {}",
        "anything to {}",
        "a thing to {}",
        "an object to {}",
        "an item to {} with",
        "something that I can use to {}",
        "an object that I can use to {}",
        "whatever I can use to {}",
        "a thing that helps me to {}",
        "something that helps me {}",
        "anything that helps to {}",
        "whatever lets me {}",
        "a thing for people who want to {}",
        "the thing with which I can {}",
        "the object I use when I {}",
        "something because I want to {}",
    ),
}
_SHAPE_OF_NOUN = {"label": "thing", "general": "thing", "colored": "thing", "attribute": "attribute", "function": "function"}
_PLACING = (
    "put it",
    "place this",
    "move the object",
    "set it",
    "place it",
    "put this",
    "lay it",
    "bring it",
    "put the thing",
    "drop it",
    "set this",
    "leave it",
    "put it down",
    "place the thing",
)
RELATIONS: tuple[tuple[str, ...], ...] = (
    ("near", "around", "next to", "beside", "close to", "surrounding to", "by", "alongside"),
    ("on", "on top of", "upside", "to", "onto", "over"),
    ("in", "into", "inside"),
)
"""Words of like meaning. A web-trained text tower knows such likeness; ours learns it from these groups."""
OTHER_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "general": {
        **{word: SYNONYMS[word] for word in ("fruit", "container", "toy", "sugar")},
        "tool": ("instrument", "piece of equipment"),
        "bottle": ("flask",),
        "box": ("package",),
        "animal": ("beast", "creature"),
    },
    "attribute": {
        **{word: SYNONYMS[word] for word in ("red", "round")},
        "blue": ("azure",),
        "green": ("emerald",),
        "yellow": ("golden",),
        "purple": ("violet",),
        "pink": ("rosy",),
        "grey": ("gray",),
        "cuboid": ("boxy", "box shaped"),
    },
    "function": {
        **{word: SYNONYMS[word] for word in ("eat", "play", "hold other things", "clean")},
        "drink": (*SYNONYMS["drink"], "quench my thirst"),
        "cut": ("slice",),
        "write": ("draw", "take notes"),
    },
}
"""Other words of a keyword that is no label (labels have theirs in the catalogue), by kind: "drink" is a use and ends a name."""

_PLACE_SHARE = 0.15
_PLAIN_SHARE = 0.5
_OTHER_WORD_SHARE = 0.3


@lru_cache(maxsize=1)
def _held_out() -> re.Pattern[str]:
    forms = [t.text.format("{}", a=a) for t in TEMPLATES["heldout"] for a in ("a", "an")] + list(PLACE_TEMPLATES["heldout"])
    return re.compile("|".join(rf"\b{re.escape(form.lower())}".replace(r"\{\}", r"\S.*") for form in forms))


def is_held_out(text: str) -> bool:
    """Whether a sentence, in lower case, has in it a form that is kept for rows on unseen wordings."""
    return _held_out().search(text) is not None


def all_templates() -> tuple[str, ...]:
    """Every template and part of a sentence once, sorted."""
    placing = {f"{verb} {relation} the {{}}" for verb in _PLACING for group in RELATIONS for relation in group}
    parts = {*_POLITE, *_TAKING, *_WISHING, *_ENDS, *(noun for group in _NOUNS.values() for noun in group)}
    return tuple(sorted(({t for group in _TEMPLATES.values() for t in group} | placing | parts) - {""}))


def _one(words: tuple[str, ...], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def place_caption(phrase: str, rng: np.random.Generator) -> tuple[str, int]:
    """A sentence for placing beside, on or in what ``phrase`` names, lower case, and the group of its relation."""
    group = int(rng.integers(len(RELATIONS)))
    while True:
        polite = _one(_POLITE, rng) if rng.random() < 0.4 else ""
        text = " ".join(f"{polite} {_one(_PLACING, rng)} {_one(RELATIONS[group], rng)} the {phrase}".lower().split())
        if not is_held_out(text):
            return text, group


def other_words(concept: Concept, rng: np.random.Generator) -> str:
    """The concept's phrase, or, at times, the same in other words; of "red mug" the colour may be said differently."""
    if rng.random() >= _OTHER_WORD_SHARE:
        return concept.phrase
    if concept.kind == "colored":
        color, _, rest = concept.phrase.partition(" ")
        others = OTHER_WORDS["attribute"].get(color)
        return f"{_one(others, rng)} {rest}" if others else concept.phrase
    others = OTHER_WORDS.get(concept.kind, {}).get(concept.phrase)
    return _one(others, rng) if others else concept.phrase


def _composed(kind: str, phrase: str, rng: np.random.Generator) -> str:
    noun = _one(_NOUNS[_SHAPE_OF_NOUN[kind]], rng).format(phrase)
    begin = f"{_one(_POLITE, rng)} {_one(_TAKING, rng)}" if rng.random() < 0.75 else _one(_WISHING, rng)
    return " ".join(f"{begin} {noun} {_one(_ENDS, rng)}".split())


def caption(concept: Concept, rng: np.random.Generator) -> str:
    """One sentence of which the concept is the keyword, lower case; "an" before a vowel half of the time.

    A thing may also be what something is placed beside or on: an encoder has to find the reference of such a sentence, too.
    """
    phrase = other_words(concept, rng)
    if _SHAPE_OF_NOUN[concept.kind] == "thing" and rng.random() < _PLACE_SHARE:
        return place_caption(phrase, rng)[0]
    while True:
        if rng.random() < _PLAIN_SHARE:
            text = _one(_TEMPLATES[concept.kind], rng).format(phrase)
        else:
            text = _composed(concept.kind, phrase, rng)
        if phrase[0] in "aeiou" and rng.random() < 0.5:
            text = text.replace(f"a {phrase}", f"an {phrase}")
        if not is_held_out(text.lower()):
            return text.lower()
