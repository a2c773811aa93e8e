"""Sentence forms for picking, in two disjoint groups.

The ``train`` group has the five forms of the A2 benchmark with their probabilities. The ``heldout`` group never occurs in a
demonstration: rows on unseen instructions are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KeywordKind = Literal["label", "general", "attribute", "function"]
Wording = Literal["train", "heldout"]

KINDS: tuple[KeywordKind, ...] = ("label", "general", "attribute", "function")
WORDINGS: tuple[Wording, ...] = ("train", "heldout")


@dataclass(frozen=True, slots=True)
class Template:
    """One sentence form.

    Attributes:
        text: the sentence with ``{}`` for the keyword and ``{a}`` for its indefinite article.
        kind: the kind of keyword it takes.
        probability: share within its group.
    """

    text: str
    kind: KeywordKind
    probability: float

    def fill(self, keyword: str) -> str:
        """The sentence for a keyword, with the right article."""
        return self.text.format(keyword, a=article(keyword))


TEMPLATES: dict[Wording, tuple[Template, ...]] = {
    "train": (
        Template("give me the {}", "label", 0.4),
        Template("I need {a} {}", "general", 0.2),
        Template("grasp {a} {} object", "attribute", 0.1),
        Template("I want {a} {} object", "attribute", 0.1),
        Template("get something to {}", "function", 0.2),
    ),
    "heldout": (
        Template("could you hand me the {}", "label", 0.14),
        Template("find the {} and lift it", "label", 0.13),
        Template("please fetch the {}", "label", 0.13),
        Template("pass me any {}", "general", 0.1),
        Template("take {a} {} from the table", "general", 0.1),
        Template("pick up something {}", "attribute", 0.1),
        Template("hand me the thing that looks {}", "attribute", 0.1),
        Template("find a thing that I can use to {}", "function", 0.1),
        Template("pass me whatever helps me to {}", "function", 0.1),
    ),
}

# Other words for keywords that are not labels; the synonyms of labels stand in the catalogue. No demonstration has them.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "fruit": ("piece of fruit",),
    "container": ("vessel", "receptacle"),
    "toy": ("plaything",),
    "sugar": ("sweetener",),
    "red": ("crimson", "scarlet"),
    "round": ("spherical",),
    "eat": ("snack on", "bite into"),
    "drink": ("sip",),
    "play": ("have fun", "play with"),
    "hold other things": ("store things", "keep things in"),
    "clean": ("wash", "do the washing"),
}


def article(word: str) -> str:
    """The indefinite article of a word, by its first letter."""
    return "an" if word[:1].lower() in "aeiou" else "a"
