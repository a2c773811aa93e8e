"""Sentences in which people ask for things without the words of a template: from statements, names and negations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from srcli.pretraining.encoder.captions import is_held_out
from srcli.pretraining.encoder.knowledge import Knowledge, Statement

FORMS: Mapping[str, tuple[str, ...]] = {
    "uses": (
        "{}",
        "I want to {}",
        "I need to {}",
        "we have to {}",
        "let me {}",
        "help me to {}",
        "I am going to {}",
        "something to {}",
        "something to {} with",
        "give me something to {}",
        "what do you take to {}",
        "anything that one can use to {}",
        "it is time to {}",
    ),
    "situations": ("{}", "{}", "{}", "{}, what would help", "{}, can you do something", "look, {}", "you see, {}"),
    "descriptions": (
        "{}",
        "{}",
        "I mean {}",
        "find {}",
        "give me {}",
        "get me {}",
        "I am thinking of {}",
        "hand over {}",
        "do you see {}",
    ),
    "materials": ("something made of {}", "the one made of {}", "give me the thing of {}", "it is made of {}", "{}"),
    "parts": ("the one with {}", "it has {}", "something with {}", "give me the thing that has {}", "{}"),
    "places": ("something from the {}", "it belongs in the {}", "one usually finds it in the {}", "the thing for the {}", "{}"),
    "names": (
        "{}",
        "{}",
        "the {}",
        "give me the {}",
        "I need the {}",
        "get the {}",
        "grasp the {}",
        "where is the {}",
        "pick up the {}",
    ),
    "kinds": ("{}", "some {}", "give me one of the {}", "any of the {}", "something that counts as {}", "I want {}", "get me {}"),
    "contrasts": ("{}", "the one that is {}", "I mean {}", "not the others, {}"),
}
"""How a statement of each kind becomes a sentence."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, the objects that it means, and those that it may mean."""

    text: str
    of: tuple[str, ...]
    maybe: tuple[str, ...] = ()


def say(statement: Statement, knowledge: Knowledge, rng: np.random.Generator, filled: float) -> Said:
    """A statement as a sentence, lower case; with the probability ``filled`` something stands before or after it."""
    while True:
        forms = FORMS[statement.kind]
        text = forms[int(rng.integers(len(forms)))].format(statement.say)
        if statement.kind in ("names", "kinds") and knowledge.requests and rng.random() < 0.3:
            text = _one(knowledge.requests, rng).format(statement.say)
        text = fill(text, knowledge, rng, filled)
        if not is_held_out(text):
            return Said(text, statement.of, statement.maybe)


def deny(groups: Mapping[str, Sequence[str]], labels: Mapping[str, str], knowledge: Knowledge, rng: np.random.Generator) -> Said:
    """A kind of thing without one of its members: "fruit but not the banana".

    Args:
        groups: objects of each kind word, at least two.
        labels: the word of each object.
    """
    while True:
        word = _one(tuple(groups), rng)
        left_out = _one(tuple(groups[word]), rng)
        form = _one(knowledge.negations, rng)
        text = form.replace("{not}", labels[left_out]).format(word).lower()
        # What bears the same word as the one that is left out is meant no more than that.
        meant = tuple(name for name in groups[word] if labels[name] != labels[left_out])
        if meant and not is_held_out(text):
            return Said(text, meant)


def fill(text: str, knowledge: Knowledge, rng: np.random.Generator, share: float) -> str:
    """The sentence, at times with something polite or idle before or after it; lower case."""
    if knowledge.fillers and rng.random() < share:
        filler = _one(knowledge.fillers, rng)
        text = f"{filler} {text}" if rng.random() < 0.7 else f"{text} {filler}"
    return text.lower()


def _one(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
