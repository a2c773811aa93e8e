"""Sentences for concepts: plain phrases, captions, and instructions for picking and placing in many wordings."""

from __future__ import annotations

import numpy as np

from srcli.stages.pretraining.facts import Concept

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
    "grasp a {}",
    "pick up the {}",
    "pick the {}",
    "get the {}",
    "get me a {}",
    "take the {}",
    "find the {}",
    "hand me the {}",
    "pass me the {}",
    "bring me the {}",
    "fetch the {}",
    "could you grab the {}",
    "can you give me the {}",
    "please give me the {}",
    "please pick up a {}",
    "I would like the {}",
    "I am looking for a {}",
    "a photo of a {}",
    "there is a {} on the table",
    "show me some {}",
)
_ATTRIBUTE = (
    "{}",
    "{}",
    "something {}",
    "a {} object",
    "a {} thing",
    "the {} object",
    "grasp a {} object",
    "grasp a {} object",
    "I want a {} object",
    "I want a {} object",
    "give me a {} object",
    "give me the {} thing",
    "give me something {}",
    "I need a {} object",
    "I need something {}",
    "pick up the {} object",
    "pick up a {} thing",
    "pick something {}",
    "get a {} object",
    "get me something {}",
    "take the {} thing",
    "find a {} item",
    "bring me a {} item",
    "hand me something {}",
    "please grasp something that is {}",
    "could you grab the {} one",
    "I would like something that is {}",
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
    "I need to {}",
    "grasp something to {}",
    "pick up something to {}",
    "find something to {}",
    "bring me something to {}",
    "hand me an object to {}",
    "an object to {} with",
    "something I can use to {}",
    "could you grab something to {}",
    "please get me something to {}",
    "I would like something to {}",
    "a thing for people who want to {}",
)
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
)
RELATIONS: tuple[tuple[str, ...], ...] = (
    ("near", "around", "next to", "beside", "close to", "surrounding to", "by", "alongside"),
    ("on", "on top of", "upside", "to", "onto", "over"),
    ("in", "into", "inside"),
)
"""Words of like meaning. A web-trained text tower knows such likeness; ours learns it from these groups."""
_TEMPLATES = {"label": _THING, "general": _THING, "colored": _THING, "attribute": _ATTRIBUTE, "function": _FUNCTION}

_THINGS = frozenset({"label", "general", "colored"})
_PLACE_SHARE = 0.15


def all_templates() -> tuple[str, ...]:
    """Every template once, sorted."""
    placing = {f"{verb} {relation} the {{}}" for verb in _PLACING for group in RELATIONS for relation in group}
    return tuple(sorted({t for group in _TEMPLATES.values() for t in group} | placing))


def place_caption(phrase: str, rng: np.random.Generator) -> tuple[str, int]:
    """A sentence for placing beside, on or in what ``phrase`` names, lower case, and the group of its relation."""
    group = int(rng.integers(len(RELATIONS)))
    relation = RELATIONS[group][int(rng.integers(len(RELATIONS[group])))]
    verb = _PLACING[int(rng.integers(len(_PLACING)))]
    return f"{verb} {relation} the {phrase}".lower(), group


def caption(concept: Concept, rng: np.random.Generator) -> str:
    """One sentence of which the concept is the keyword, lower case; "an" before a vowel half of the time.

    A thing may also be what something is placed beside or on: an encoder has to find the reference of such a sentence, too.
    """
    if concept.kind in _THINGS and rng.random() < _PLACE_SHARE:
        return place_caption(concept.phrase, rng)[0]
    templates = _TEMPLATES[concept.kind]
    text = templates[int(rng.integers(len(templates)))].format(concept.phrase)
    if concept.phrase[0] in "aeiou" and rng.random() < 0.5:
        text = text.replace(f"a {concept.phrase}", f"an {concept.phrase}")
    return text.lower()
