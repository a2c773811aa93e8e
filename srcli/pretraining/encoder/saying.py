"""Sentences in which people ask for things without the words of a template: from statements, names and negations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from srcli.pretraining.encoder.concepts import Concept, ConceptKind
from srcli.pretraining.encoder.knowledge import Knowledge, Statement
from srcli.pretraining.encoder.reserved import Reserved

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
    "kinds": ("{}", "{}", "some {}", "any {}", "I want {}", "get me some {}", "is there {}"),
    "contrasts": ("{}", "{}", "look, {}"),
}
"""How a statement of each kind becomes a sentence."""


_WANTED: Mapping[str, str] = {"general": "{}", "attribute": "{} thing", "function": "thing to {}"}
"""How something that several objects are is wanted, by kind of concept."""

_ONE_OF_TWO = 0.3
"""Share of denials that want one name and not another."""
_DENIED = (0.4, 0.45, 0.15)
"""Shares of a name, a colour and a use among the others."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, the objects that it means, and those that it may mean."""

    text: str
    of: tuple[str, ...]
    maybe: tuple[str, ...] = ()


def say(statement: Statement, knowledge: Knowledge, rng: np.random.Generator, filled: float, reserved: Reserved) -> Said:
    """A statement as a sentence, lower case; with the probability ``filled`` something stands before or after it."""
    while True:
        forms = FORMS[statement.kind]
        text = forms[int(rng.integers(len(forms)))].format(statement.say)
        if statement.kind in ("names", "kinds") and knowledge.requests and rng.random() < 0.3:
            text = _one(knowledge.requests, rng).format(statement.say)
        text = fill(text, knowledge, rng, filled)
        if text not in reserved:
            return Said(text, statement.of, statement.maybe)


@dataclass(frozen=True, slots=True)
class Denial:
    """Something that is wanted, and something that it must not be.

    Attributes:
        wanted: noun phrase; ``unwanted``: noun phrase, colour or verb phrase that is true of some of what ``wanted`` names.
        of: objects that are meant; ``maybe``: of which the unwanted may be said.
    """

    wanted: str
    unwanted: str
    of: tuple[str, ...]
    maybe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Denials:
    """What can be denied: a name, a colour, a use."""

    names: tuple[Denial, ...]
    looks: tuple[Denial, ...]
    uses: tuple[Denial, ...]


def make_denials(
    facts: Mapping[str, frozenset[Concept]],
    labels: Mapping[str, str],
    colors: Mapping[str, frozenset[str]],
    statements: Sequence[Statement],
) -> Denials:
    """Every pair of something that several objects are, and something that some of these are and others are not.

    Args:
        facts: what is true of each object; ``labels``: its name.
        colors: objects that have a colour on any part, by its word.
        statements: what else may be said of objects: whatever may be called what is denied is not counted as meant.
    """
    true: dict[Concept, set[str]] = {}
    for name, concepts in facts.items():
        for concept in concepts:
            true.setdefault(concept, set()).add(name)
    wanted: dict[str, tuple[ConceptKind, set[str]]] = {}
    for concept, names in sorted(true.items()):
        form = _WANTED.get(concept.kind)
        if form is not None and len({labels[name] for name in names}) > 1:
            wanted[form.format(concept.phrase)] = (concept.kind, names)
    called = set(labels.values())
    unwanted: list[tuple[Concept, set[str], frozenset[str]]] = []
    for concept, others in sorted(true.items()):
        named = concept.kind == "label" and concept.phrase in called
        colored = concept.kind == "attribute" and concept.phrase in colors
        if named or colored or concept.kind == "function":
            doubt = _may_be_said(concept, statements) | colors.get(concept.phrase, frozenset())
            unwanted.append((concept, others, doubt))
    found: dict[str, list[Denial]] = {"label": [], "attribute": [], "function": []}
    for phrase, (kind, names) in wanted.items():
        for concept, others, doubt in unwanted:
            if concept.kind == kind == "attribute" or concept.phrase in phrase.split():
                continue
            # What bears the same name as one that is left out is meant no more than that.
            spoken = {labels[name] for name in names & others}
            rest = sorted(name for name in names - others if labels[name] not in spoken)
            meant = tuple(name for name in rest if name not in doubt)
            if spoken and meant:
                maybe = tuple(name for name in rest if name in doubt)
                found[concept.kind].append(Denial(phrase, concept.phrase, meant, maybe))
    return Denials(tuple(found["label"]), tuple(found["attribute"]), tuple(found["function"]))


def _may_be_said(concept: Concept, statements: Sequence[Statement]) -> frozenset[str]:
    """Objects of which statements say a name or a kind that ends like the concept, or a use that begins with it."""
    found: set[str] = set()
    for statement in statements:
        as_name = concept.kind == "label" and statement.kind in ("names", "kinds")
        as_use = concept.kind == "function" and statement.kind == "uses"
        if (as_name and f" {statement.say}".endswith(f" {concept.phrase}")) or (
            as_use and f"{statement.say} ".startswith(f"{concept.phrase} ")
        ):
            found |= {*statement.of, *statement.maybe}
    return frozenset(found)


def deny(denials: Denials, labels: Mapping[str, str], knowledge: Knowledge, rng: np.random.Generator, reserved: Reserved) -> Said:
    """Something wanted, but not all that bears its name ("fruit but not the banana"), or one name and not another."""
    names = tuple(labels)
    kinds = [
        (denials.names, (*knowledge.negations, *knowledge.exclusions)),
        (denials.looks, knowledge.negated_looks),
        (denials.uses, knowledge.negated_uses),
    ]
    shares = np.array([share if all(kind) else 0.0 for share, kind in zip(_DENIED, kinds, strict=True)])
    while True:
        if rng.random() < _ONE_OF_TWO:
            one, other = _one(names, rng), _one(names, rng)
            if labels[one] == labels[other]:
                continue
            meant = tuple(name for name in names if labels[name] == labels[one])
            denial, forms = Denial(labels[one], labels[other], meant), knowledge.negations
        else:
            all_of_kind, forms = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
            denial = all_of_kind[int(rng.integers(len(all_of_kind)))]
        text = _one(forms, rng).replace("{not}", denial.unwanted).format(denial.wanted).lower()
        text = re.sub(r"\ba (?=[aeio])", "an ", text)
        if text not in reserved:
            return Said(text, denial.of, denial.maybe)


def fill(text: str, knowledge: Knowledge, rng: np.random.Generator, share: float) -> str:
    """The sentence, at times with something polite or idle before or after it; lower case."""
    if knowledge.fillers and rng.random() < share:
        filler = _one(knowledge.fillers, rng)
        text = f"{filler} {text}" if rng.random() < 0.7 else f"{text} {filler}"
    return text.lower()


def _one(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]
