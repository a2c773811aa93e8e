"""Which words stand for which objects, read from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from srcli.language.templates import SYNONYMS, KeywordKind


def keyword_table(kind: KeywordKind, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Keyword -> names of the given objects that carry it, in sorted order of keywords and names."""
    from srcli.objects import catalogue

    table: dict[str, list[str]] = {}
    entries = catalogue()
    for name in sorted(set(names)):
        for word in entries[name].keywords(kind):
            table.setdefault(word, []).append(name)
    return {word: tuple(table[word]) for word in sorted(table)}


@lru_cache(maxsize=4096)
def could_mean(name: str, keyword: str) -> bool:
    """Whether a person could take the keyword for this object, under any kind of word.

    Stricter than carrying the keyword: an object described as a mug and as red could be meant by "red mug". Such objects are
    neither targets nor distractors of the sentence.
    """
    from srcli.objects import catalogue

    entry = catalogue()[name]
    phrases = (entry.label, *entry.synonyms, *entry.general, *entry.attributes, *entry.functions)
    if keyword in phrases:
        return True
    described = set(" ".join((entry.label, *entry.synonyms, *entry.general, *entry.attributes)).split())
    return set(keyword.split()) <= described


def synonyms(keyword: str, kind: KeywordKind, targets: Iterable[str]) -> tuple[str, ...]:
    """Other words for a keyword that fit no object outside the targets.

    Args:
        targets: names of the objects that the keyword stands for.
    """
    if kind != "label":
        return SYNONYMS.get(keyword, ())
    from srcli.objects import catalogue

    entries = catalogue()
    meant = set(targets)
    first = [set(entries[name].synonyms) for name in sorted(meant)]
    shared = sorted(set.intersection(*first)) if first else []
    others = [name for name in entries.names if name not in meant]
    return tuple(word for word in shared if word != keyword and not any(could_mean(name, word) for name in others))
