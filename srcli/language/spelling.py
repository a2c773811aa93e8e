"""Reading what people type: typing errors, forms of words, words written apart or together, abbreviations.

An encoder with a declared vocabulary takes nothing from a word that it has never read. Such a word is read as the known one that
is meant: as another form of it ("lemons", "cutting", "color"), as two words that are written as one or one written as two
("tooth paste"), as what an abbreviation stands for ("plz"), or as the closest spelling ("suger"). A real English word is never
read as a different word, however close: it stays unknown, as does every word that is near nothing, in any script. The one
exception are words that hardly anybody writes and that are a usual one with two letters swapped ("appel").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from srcli.language.wordlists import ABBREVIATIONS, FUNCTION_WORDS, VARIANTS, VERBS

# Letters and digits of any script; an emoji is a word of its own.
_WORD = re.compile(r"[^\W_]+(?:['&][^\W_]+)*|[\u2190-\u2bff\U0001f000-\U0001faff]")
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "`": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"'})
_CHUNK = 2_000

_ENDINGS = (
    ("or", "our"),
    ("our", "or"),
    ("er", "re"),
    ("re", "er"),
    ("ise", "ize"),
    ("ize", "ise"),
    ("yse", "yze"),
    ("yze", "yse"),
)

JOINED = ""
"""Stands for a word that is read together with the one before."""

Option = tuple[float, tuple[str, ...]]
"""What a word may be read as, none where it stays unknown, with its cost in edits."""

_BEST = 5
"""Candidates kept for one word."""
_RARE = 50
"""The least count of the word list; two thirds of its words have it."""
_OTHER_INITIAL, _IN_CONTEXT, _UNUSUAL = 0.5, 0.6, 0.9
"""Cost of another first letter, which fingers rarely miss, what two words that go together are worth, and cost of a word that is
rarely said here, in edits."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A sentence as it is read.

    Attributes:
        text: what the encoder is given; the sentence itself where nothing had to be changed.
        corrected: (as typed, as read), each once, in order.
        unknown: words that say nothing to the encoder, each once, in order.
    """

    text: str
    corrected: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()

    def told(self) -> str:
        """What was changed and what says nothing, in words; empty when every word was read as it stands."""
        parts = [f'read "{typed}" as "{read}"' for typed, read in self.corrected]
        parts += [f"unknown: {', '.join(self.unknown)}"] if self.unknown else []
        return "; ".join(parts)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a sentence in any script, lower case, in order."""
    return tuple(_WORD.findall(text.lower()))


def normalised(text: str) -> str:
    """The text with plain quotes, composed characters, and spaces for control characters; plain text stays as it is."""
    plain = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in plain if unicodedata.category(c) != "Cf")


def blanked(text: str, known: frozenset[str], blank: str) -> str:
    """The text with ``blank`` for every word of letters that is not known: its pieces may be known, and mean something else."""
    return _WORD.sub(lambda word: blank if word.group().isalpha() and word.group().lower() not in known else word.group(), text)


class Reader:
    """Reads sentences for an encoder.

    Args:
        vocabulary: words that the encoder has read; None: it declares none, and every sentence is taken as it is.
        phrases: what is usually said with them. Other words are read as these, where they are forms of one, and of two close ones
            a usual one, and the one that goes with its neighbours, is meant.
        spelling: read unknown words as known ones; without it they are only named.
    """

    def __init__(self, vocabulary: Iterable[str] | None, phrases: Iterable[str] = (), spelling: bool = True) -> None:
        self._known = None if vocabulary is None else frozenset(vocabulary)
        said = [words_of(phrase) for phrase in phrases]
        self._usual = (self._known or frozenset()) & FUNCTION_WORDS.union(*said)
        self._names = frozenset(word for words in said for word in words) - self._usual
        self._pairs = frozenset(pair for words in said for pair in pairwise(words))
        self._spelling = spelling
        self._read = lru_cache(maxsize=256)(self._read_anew)

    def __call__(self, text: str) -> Reading:
        """How a sentence is read. Of a very long text the first 2,000 characters are read; what follows stays as it is."""
        return Reading(text) if self._known is None else self._read(text)

    def _read_anew(self, text: str) -> Reading:
        assert self._known is not None
        plain = normalised(text)
        head = plain if len(plain) <= _CHUNK else plain[:_CHUNK].rpartition(" ")[0] or plain[:_CHUNK]
        found = list(_WORD.finditer(head))
        words = [match.group().lower() for match in found]
        if not self._spelling:
            return Reading(text, unknown=tuple(dict.fromkeys(word for word in words if word not in self._known)))
        gaps = [head[one.end() : other.start()] for one, other in pairwise(found)]
        read = self._words(words, [re.fullmatch(r" +|-", gap) is not None for gap in gaps])
        pieces: list[str] = []
        corrected: dict[tuple[str, str], None] = {}
        unknown: dict[str, None] = {}
        position = number = 0
        while number < len(found):
            span = 2 if number + 1 < len(found) and read[number + 1] == (JOINED,) else 1
            meant, end = " ".join(read[number]), found[number + span - 1].end()
            typed = head[found[number].start() : end]
            pieces.append(head[position : found[number].start()])
            if not meant:
                unknown[typed.lower()] = None
            elif meant != typed.lower():
                corrected[typed, meant] = None
            pieces.append(meant if meant and meant != typed.lower() else typed)
            position = end
            number += span
        changed = "".join([*pieces, plain[position:]])
        return Reading(changed if changed != text else text, tuple(corrected), tuple(unknown))

    def _words(self, words: Sequence[str], beside: Sequence[bool]) -> list[tuple[str, ...]]:
        """What each word is read as: one or two words; none where it stays unknown; ``JOINED`` where the one before has it."""
        options: list[list[Option]] = []
        joined = False
        for number, word in enumerate(words):
            after = words[number + 1] if number < len(beside) and beside[number] else ""
            if joined:
                options.append([(0.0, (JOINED,))])
                joined = False
            elif whole := self._together(word, after):
                options.append([(0.0, (whole,))])
                joined = True
            else:
                options.append(self._options(word))
        return self._most_fitting(options)

    def _together(self, word: str, after: str) -> str:
        """The usual word that two are one of ("tooth paste"); empty where both are usual words, or the whole is none."""
        whole = word + after
        halves = word in self._usual and after in self._usual
        apart = after and not halves and len(whole) >= 6 and word not in FUNCTION_WORDS and after not in FUNCTION_WORDS
        return next((form for form in forms(whole) if form in self._usual), "") if apart else ""

    def _options(self, word: str) -> list[Option]:
        """What a word may be read as, each with its cost in edits; an empty reading where it stays unknown."""
        known = self._known
        assert known is not None
        if word in self._usual:
            return [(0.0, (word,))]
        if word in ABBREVIATIONS:
            meant = tuple(ABBREVIATIONS[word].split())
            return [(0.0, meant if known.issuperset(meant) else ())]
        form = next((form for words in (self._usual, known) for form in forms(word) if form in words), "")
        if form:
            return [(0.0, (form,))]
        turned: list[Option] = [(1.0, (other,)) for other in swapped(word) if other in self._usual] if is_rare(word) else []
        if turned:
            return turned
        # What the phrases say and the encoder has not read is a name of its own.
        if "'" in word or not word.isascii() or not word.isalpha() or is_real(word) or word in self._names:
            return [(0.0, ())]
        for cut in range(3, len(word) - 2):
            if word[:cut] in self._usual and word[cut:] in self._usual:
                return [(0.0, (word[:cut], word[cut:]))]
        near: list[Option] = [(cost, (other,)) for cost, other in closest(word, known, self._usual)]
        return near or [(0.0, ())]

    def _most_fitting(self, options: Sequence[Sequence[Option]]) -> list[tuple[str, ...]]:
        """One option for each word, so that edits are few and neighbours go together (the shortest path through the options)."""
        paths: list[tuple[float, list[tuple[str, ...]]]] = [(0.0, [])]
        for choices in options:
            paths = [
                min(
                    ((cost + own - self._bond(path, choice), [*path, choice]) for cost, path in paths), key=lambda found: found[0]
                )
                for own, choice in choices
            ]
        return min(paths, key=lambda found: found[0])[1]

    def _bond(self, path: Sequence[tuple[str, ...]], choice: tuple[str, ...]) -> float:
        before = path[-1] if path else ()
        return _IN_CONTEXT if before and choice and (before[-1], choice[0]) in self._pairs else 0.0


def forms(word: str) -> tuple[str, ...]:
    """A word and what it is a form of: singular, without possessive or "-ing", and in British or American spelling."""
    found = [word, VARIANTS.get(word, "")]
    if word.endswith("'s"):
        found.append(word[:-2])
    elif word.endswith("ies"):
        found.append(f"{word[:-3]}y")
    elif re.search(r"(?:s|x|z|ch|sh|o)es$", word):
        found += [word[:-2], word[:-1]]
    elif re.search(r"[^su\W]s$", word):
        found.append(word[:-1])
    if word.endswith("ing"):
        stem = word[:-3]
        found += [verb for verb in (stem, f"{stem}e", stem[:-1] if stem[-2:-1] == stem[-1:] else "") if verb in VERBS]
    found += [word[: -len(old)] + new for old, new in _ENDINGS if word.endswith(old) and len(word) > len(old) + 2]
    return tuple(dict.fromkeys(form for form in found if len(form) > 2 and (form == word or form not in FUNCTION_WORDS)))


def closest(word: str, known: Collection[str], usual: frozenset[str] | None = None) -> list[tuple[float, str]]:
    """The known words that a typing error may have turned into this one, with their costs in edits, the nearest first.

    One edit (a letter added, left out, changed, or two swapped; "f" for "ph") in words of up to five letters, two in longer ones,
    three from ten letters on, but one where the first letter is another, or the other word holds sentences together. In words of
    three letters they are only swapped, or the last one is left out. Words that are not ``usual`` are one edit away at most, and
    cost more (None: all are usual).
    """
    from rapidfuzz import process
    from rapidfuzz.distance import OSA

    if len(word) < 3:
        return []
    most = 1 if len(word) <= 5 else 2 if len(word) < 10 else 3
    found = []
    near = {other: edits for other, edits, _ in process.extract(word, known, scorer=OSA.distance, score_cutoff=most, limit=None)}
    near |= {heard: 1 for heard in (word.replace("f", "ph", 1),) if heard != word and heard in known}
    for other, edits in near.items():
        initial, common = word[0] == other[0], usual is None or other in usual
        short = min(len(word), len(other)) == 3 and sorted(word) != sorted(other) and other[:-1] != word
        far = edits > 1 and (not initial or not common or other in FUNCTION_WORDS)
        if len(other) < 3 or not other.isalpha() or short or far:
            continue
        found.append((edits + (0.0 if initial else _OTHER_INITIAL) + (0.0 if common else _UNUSUAL), other))
    return sorted(found)[:_BEST]


def swapped(word: str) -> tuple[str, ...]:
    """The word with each pair of neighbouring letters swapped, in order; none where it has fewer than three."""
    pairs = range(len(word) - 1) if len(word) > 2 else ()
    turned = (f"{word[:at]}{word[at + 1]}{word[at]}{word[at + 2 :]}" for at in pairs)
    return tuple(dict.fromkeys(other for other in turned if other != word))


def is_real(word: str) -> bool:
    """Whether this is an English word, known to the encoder or not."""
    return word in _english()


def is_rare(word: str) -> bool:
    """Whether this is an English word that hardly anybody writes: one of those that the list counts least often."""
    counts = _english()
    return word in counts and counts[word] <= _RARE


@lru_cache(maxsize=1)
def _english() -> dict[str, int]:
    """160,000 English words of the package `pyspellchecker`, and how often films say each."""
    from spellchecker import SpellChecker

    return dict(SpellChecker(language="en").word_frequency.dictionary)
