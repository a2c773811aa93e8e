"""Sentences for concepts: plain phrases, captions and instructions in many wordings."""

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
_TEMPLATES = {"label": _THING, "general": _THING, "colored": _THING, "attribute": _ATTRIBUTE, "function": _FUNCTION}


def all_templates() -> tuple[str, ...]:
    """Every template once, sorted."""
    return tuple(sorted({t for group in _TEMPLATES.values() for t in group}))


def caption(concept: Concept, rng: np.random.Generator) -> str:
    """One sentence of which the concept is the keyword, lower case; "an" before a vowel half of the time."""
    templates = _TEMPLATES[concept.kind]
    text = templates[int(rng.integers(len(templates)))].format(concept.phrase)
    if concept.phrase[0] in "aeiou" and rng.random() < 0.5:
        text = text.replace(f"a {concept.phrase}", f"an {concept.phrase}")
    return text.lower()
