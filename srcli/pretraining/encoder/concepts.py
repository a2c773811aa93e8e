"""What is true of a rendered instance, as concepts that a sentence can name.

A concept is a keyword kind and a phrase; it decides which regions of a batch are positives of a sentence. Two instances that
share a phrase share the concept, so a sentence is never contrasted with a region of which it is true.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

ConceptKind = Literal["label", "general", "attribute", "function", "colored"]


class Concept(NamedTuple):
    """One thing that can be said of an object: ("label", "mug"), ("function", "drink"), ("colored", "red mug")."""

    kind: ConceptKind
    phrase: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The words of one rendered instance.

    Attributes:
        name: catalogue name of the category's entry.
        labels: its label and synonyms as rendered.
        colors: colour words that are true of it.
        attributes: all attribute words (colours and shapes).
        general, functions: category words and uses.
    """

    name: str
    labels: tuple[str, ...]
    colors: tuple[str, ...]
    attributes: tuple[str, ...]
    general: tuple[str, ...]
    functions: tuple[str, ...]


_LINKS = frozenset({"of", "with", "a", "an", "the", "to", "for"})


def name_phrases(labels: Iterable[str], colors: Iterable[str]) -> tuple[str, ...]:
    """All noun phrases that name the object: labels and their endings ("pink tea box", "tea box", "box"), sorted.

    A label with a link word ("box of tea") has its head ("box") instead of endings; an ending that is a colour alone is no name.
    """
    color_words = set(colors)
    found: set[str] = set()
    for label in labels:
        words = label.lower().split()
        found.add(" ".join(words))
        link = next((i for i, w in enumerate(words) if w in _LINKS), len(words))
        endings = [words[i:link] for i in range(link)] if link == len(words) else [words[:link]]
        found.update(" ".join(e) for e in endings if e and not (len(e) == 1 and e[0] in color_words))
    return tuple(sorted(found))


@lru_cache(maxsize=65536)
def concepts(facts: Facts) -> frozenset[Concept]:
    """Every concept that is true of the instance."""
    names = name_phrases(facts.labels, facts.colors)
    out = {Concept("label", n) for n in names}
    out |= {Concept("general", g.lower()) for g in facts.general}
    out |= {Concept("attribute", a.lower()) for a in (*facts.attributes, *facts.colors)}
    out |= {Concept("function", f.lower()) for f in facts.functions}
    nouns = [n for n in names if n.split()[0] not in facts.colors] + [g.lower() for g in facts.general]
    out |= {Concept("colored", f"{c.lower()} {n}") for c in facts.colors for n in nouns}
    # A name and a category word may be the same phrase ("cup"): whoever carries one carries the other.
    out |= {Concept("general", n) for n in names} | {Concept("label", g.lower()) for g in facts.general}
    return frozenset(out)
