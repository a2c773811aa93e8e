"""Everything that pre-training can say: concepts of the catalogue in every colour, the list of names, the words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from srcli.language.spelling import words_of
from srcli.objects import Attributes, ObjectEntry, Variation, catalogue, describe
from srcli.objects.palette import base_colors, color_words
from srcli.pretraining.encoder.captions import OTHER_WORDS, all_templates
from srcli.pretraining.encoder.concepts import Concept, Facts, concepts

_ENGLISH = "a an and for in into is it its me of on one or put some that the this to with you your move place near around next"


@dataclass(frozen=True)
class Lexicon:
    """What can be said.

    Attributes:
        concepts: all concepts, sorted.
        names: every entry's label without its colour word, as label concepts, sorted.
        words: every word of every sentence.
    """

    concepts: tuple[Concept, ...]
    names: tuple[Concept, ...]
    words: frozenset[str]

    @cached_property
    def concept_set(self) -> frozenset[Concept]:
        """The concepts, for membership tests."""
        return frozenset(self.concepts)


def facts_of(entry: ObjectEntry, attributes: Attributes) -> Facts:
    """The facts of an instance. A colour counts when it is an attribute: a small part's colour is not said of the object."""
    known = color_words()
    colors = tuple(a for a in attributes.attributes if a in known)
    labels = tuple(dict.fromkeys((attributes.label, *attributes.synonyms)))
    return Facts(entry.name, labels, colors, attributes.attributes, attributes.general, attributes.functions)


def _entries(hide_unseen: bool, taught: tuple[str, ...]) -> tuple[ObjectEntry, ...]:
    known = catalogue()
    names = known.seen if hide_unseen else known.names
    return tuple(known[name] for name in dict.fromkeys((*names, *taught)))


@lru_cache(maxsize=4)
def build_lexicon(hide_unseen: bool = False, taught: tuple[str, ...] = ()) -> Lexicon:
    """The lexicon of the catalogue's two splits.

    Args:
        hide_unseen: leave out the categories of the unseen split.
        taught: names of the user's objects that are taught; the others of the library have no say.
    """
    found: set[Concept] = set()
    names: set[Concept] = set()
    for entry in _entries(hide_unseen, taught):
        own = facts_of(entry, describe(entry))
        label = own.labels[0].split()
        plain = label[1:] if len(label) > 1 and label[0] in own.colors else label
        names.add(Concept("label", " ".join(plain)))
        variations: list[Variation | None] = [None]
        if entry.recolor:
            variations += [Variation(recolor=((entry.main_color, color),)) for color in base_colors()]
        for variation in variations:
            found |= concepts(facts_of(entry, describe(entry, variation)))
    others = [other for c in found for other in OTHER_WORDS.get(c.kind, {}).get(c.phrase, ())]
    texts = [c.phrase for c in found] + others + list(all_templates()) + [_ENGLISH]
    words = frozenset(w for t in texts for w in words_of(t))
    return Lexicon(tuple(sorted(found)), tuple(sorted(names)), words)


def widened(lexicon: Lexicon, vocabulary: frozenset[str]) -> Lexicon:
    """The lexicon with further words, which an encoder has read and goes on to read."""
    return Lexicon(lexicon.concepts, lexicon.names, lexicon.words | vocabulary)


def token_rows(lexicon: Lexicon, tokenizer: Any) -> tuple[int, ...]:
    """Ids of all tokens that the words may be cut into, ascending; the end-of-text mark is the largest.

    Words are tokenised alone: the tokeniser splits at spaces first, so a sentence gives the same pieces.
    """
    ids = tokenizer([*sorted(lexicon.words), *"abcdefghijklmnopqrstuvwxyz0123456789.,?!'-&_"])
    return tuple(sorted({int(i) for i in ids.reshape(-1).tolist()} | {0}))
