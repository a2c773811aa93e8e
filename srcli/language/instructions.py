"""Sentences for picking and the vocabulary of all sentences."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from srcli.config.language import LanguageConfig
from srcli.errors import unknown_name
from srcli.language.keywords import keyword_table, synonyms
from srcli.language.phrases import phrase_texts
from srcli.language.relations import PLACE_TEMPLATES, RELATIONS
from srcli.language.spelling import Reader, words_of
from srcli.language.templates import KINDS, SYNONYMS, TEMPLATES, KeywordKind, Template, Wording
from srcli.language.wordlists import FUNCTION_WORDS


def templates(wording: str) -> tuple[Template, ...]:
    """The sentence forms of one group; an unknown group is an :class:`~srcli.errors.UnknownNameError`."""
    for group, forms in TEMPLATES.items():
        if group == wording:
            return forms
    raise unknown_name("wording", wording, TEMPLATES)


def draw_keyword(rng: np.random.Generator, names: Iterable[str], wording: str) -> tuple[KeywordKind, str, tuple[str, ...]]:
    """Draw what a sentence asks for.

    The kind follows the probabilities of the templates (protocol of A2), the keyword is uniform among those of the objects.

    Args:
        names: the objects of the split.

    Returns:
        Kind, keyword, and the names of all objects of the split that carry it.
    """
    pool = tuple(names)
    tables = {kind: keyword_table(kind, pool) for kind in KINDS}
    weights = np.array([sum(t.probability for t in templates(wording) if t.kind == k) * bool(tables[k]) for k in KINDS])
    kind = KINDS[int(rng.choice(len(KINDS), p=weights / weights.sum()))]
    words = list(tables[kind])
    keyword = words[int(rng.integers(len(words)))]
    return kind, keyword, tables[kind][keyword]


def pick_instruction(
    rng: np.random.Generator,
    kind: KeywordKind,
    keyword: str,
    targets: Iterable[str],
    wording: str = "train",
    config: LanguageConfig | None = None,
) -> str:
    """A sentence that asks for the keyword.

    Args:
        kind: kind of the keyword; only templates of that kind are used.
        targets: all objects that the keyword stands for, so that a synonym is used only where it fits them all.
        wording: ``train`` or ``heldout``; synonyms occur in held-out wording only.
    """
    share = (config or LanguageConfig()).synonym_share
    forms = [form for form in templates(wording) if form.kind == kind]
    weights = np.array([form.probability for form in forms])
    form = forms[int(rng.choice(len(forms), p=weights / weights.sum()))]
    word = keyword
    if wording == "heldout":
        others = synonyms(keyword, kind, targets)
        replace = rng.random() < share
        if others and replace:
            word = others[int(rng.integers(len(others)))]
    return form.fill(word)


def sentences(kind: KeywordKind, keyword: str, wording: Wording = "train") -> tuple[str, ...]:
    """Every sentence that one group of templates makes of a keyword."""
    return tuple(form.fill(keyword) for form in templates(wording) if form.kind == kind)


@lru_cache(maxsize=1)
def phrases() -> tuple[str, ...]:
    """The pieces of all sentences: templates of both groups, synonyms, relations, and the words of the catalogue's objects."""
    from srcli.objects import catalogue

    texts = [form.text.replace("{a}", "a").replace("{}", "") for forms in TEMPLATES.values() for form in forms]
    texts += [form.format("", "") for forms in PLACE_TEMPLATES.values() for form in forms]
    texts += [*RELATIONS, "and", *phrase_texts()]
    texts += ["an", *SYNONYMS, *(other for others in SYNONYMS.values() for other in others)]
    entries = catalogue()
    for name in entries.names:
        entry = entries[name]
        texts += [entry.label or "", *entry.synonyms, *entry.general, *entry.attributes, *entry.functions]
    return tuple(texts)


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """All words that the templates of both groups, the synonyms and the catalogue can produce."""
    return frozenset(word for text in phrases() for word in words_of(text))


def names_something(text: str, known: frozenset[str] | None) -> bool:
    """Whether any word of a sentence that an encoder knows names an object, a kind, a look or a use.

    Args:
        known: the words that the encoder declares; None for one that declares none: any word counts.
    """
    said = set(words_of(text)) - FUNCTION_WORDS
    return bool(said if known is None else said & known)


def make_reader(known: frozenset[str] | None, config: LanguageConfig) -> Reader:
    """What reads sentences for an encoder.

    Args:
        known: the words that the encoder declares; None for one that declares none.
    """
    return reader(known, config.spelling == "on")


def reader(known: frozenset[str] | None, spelling: bool = True) -> Reader:
    """What reads sentences for an encoder that knows these words: relation words are always known."""
    relations = frozenset(word for relation in RELATIONS for word in words_of(relation))
    return Reader(None if known is None else known | relations, phrases(), spelling)


def unknown_words(text: str) -> tuple[str, ...]:
    """Words of a sentence outside :func:`vocabulary`, each once, in order."""
    known = vocabulary()
    return tuple(dict.fromkeys(word for word in words_of(text) if word not in known))
