"""What a text tower learns language from: statements, where names of objects lie, and what a teacher makes of many sentences."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from srcli.artifacts.core import atomic_write
from srcli.artifacts.seal import LENGTH, seal, vouch
from srcli.errors import ArtifactError
from srcli.language.instructions import reader
from srcli.language.phrases import phrase_texts
from srcli.language.spelling import words_of
from srcli.language.wordlists import FUNCTION_WORDS
from srcli.perception.encoders.embedded import EmbeddedModel
from srcli.perception.encoders.text import forward_text
from srcli.pretraining.encoder.captions import caption
from srcli.pretraining.encoder.concepts import concepts
from srcli.pretraining.encoder.knowledge import Knowledge, Statement
from srcli.pretraining.encoder.lexicon import Lexicon
from srcli.pretraining.encoder.reserved import Reserved
from srcli.pretraining.encoder.saying import FORMS, Denials, Said, make_denials, say
from srcli.pretraining.encoder.teacher import SentenceModel
from srcli.pretraining.encoder.variety import SimilarWords, common_words, wide_sentences
from srcli.seeding import generator

if TYPE_CHECKING:
    from srcli.config.pretrain import LanguageTrainingConfig

_log = logging.getLogger(__name__)
NAME_FORMS = ("give me the {}", "I need a {}", "{}", "pick up the {}")
"""A name's direction is the mean of these sentences, as the weights before embed them."""

NEVER = -1e4
"""Score of what does not count. Finite: a share of nothing times infinity is no number."""
ONE_WORD = 2
"""Place of the end mark after a word of one token."""
STREAM, _MAP_STREAM = 50, 51
"""Streams of random numbers: of the sentences, and of fitting the teacher's map."""
_HELD_BACK = 10
_MAP_BATCH, _MAP_RATE = 256, 2e-3


@dataclass(frozen=True)
class Language:
    """What is learned from.

    Attributes:
        knowledge: all statements; ``train`` and ``valid`` are disjoint parts of them.
        lexicon: concepts of the captions that are rehearsed.
        names: objects whose names the weights before know, in the order of ``directions``.
        directions: (N, D) unit length.
        labels: the name of each object in words.
        denials: what can be wanted of several objects, and denied of some of them.
        reserved: what is never said.
    """

    knowledge: Knowledge
    train: tuple[Statement, ...]
    valid: tuple[Statement, ...]
    lexicon: Lexicon
    names: tuple[str, ...]
    directions: Tensor
    labels: dict[str, str]
    denials: Denials
    reserved: Reserved

    @property
    def vocabulary(self) -> frozenset[str]:
        """All words of captions, statements and what stands around them."""
        forms = [form.format("") for group in FORMS.values() for form in group]
        said = (*self.knowledge.texts(), *forms, *phrase_texts("train"))
        return self.lexicon.words | {word for text in said for word in words_of(text)}


def make_language(first: EmbeddedModel, lexicon: Lexicon, knowledge: Knowledge, reserved: Reserved) -> Language:
    """Statements in two parts, and where the names of all objects lie."""
    from srcli.objects import catalogue, describe
    from srcli.objects.palette import color_words, palette
    from srcli.pretraining.encoder.lexicon import facts_of

    entries = catalogue()
    names = tuple(entries.seen if first.hides_unseen else (*entries.seen, *entries.unseen))
    labels = {name: entries[name].label for name in names}
    pooled = embed_before(first, [form.format(labels[name]) for name in names for form in NAME_FORMS])
    directions = functional.normalize(pooled.reshape(len(names), len(NAME_FORMS), -1).mean(dim=1), dim=-1)
    facts = {name: concepts(facts_of(entries[name], describe(entries[name]))) for name in names}
    parts = {name: [color for part in entries[name].parts for color in (part.color, part.inner_color)] for name in names}
    seen = {name: {palette()[color].word for color in colors} for name, colors in parts.items()}
    bearing = {word: frozenset(name for name in names if word in seen[name]) for word in sorted(color_words())}
    denials = make_denials(facts, labels, bearing, knowledge.statements)
    order = generator((0,), STREAM).permutation(len(knowledge.statements))
    held_back = {int(i) for i in order[::_HELD_BACK]}
    train = tuple(s for i, s in enumerate(knowledge.statements) if i not in held_back)
    valid = tuple(s for i, s in enumerate(knowledge.statements) if i in held_back)
    return Language(knowledge, train, valid, lexicon, names, directions, labels, denials, reserved)


@torch.no_grad()
def embed_before(first: EmbeddedModel, texts: Sequence[str]) -> Tensor:
    """(T, D) what the weights before make of sentences."""
    return torch.cat([forward_text(first.model, first.tokenizer(list(part)))[0] for part in _parts(texts, 256)])


@dataclass(frozen=True)
class Lessons:
    """The sentences of a training, made before it begins.

    Attributes:
        said: statements in several forms each.
        wide: sentences whose meaning the teacher alone knows; empty without one.
        taught: (S + W, D) unit vectors: where ``said`` and ``wide`` belong in the joint space by the teacher; None without one.
        words: common words that the teacher adds to the vocabulary, with (W, E) its vectors of them.
    """

    said: tuple[Said, ...]
    wide: tuple[str, ...] = ()
    taught: Tensor | None = None
    words: tuple[str, ...] = ()
    vectors: Tensor | None = None

    @property
    def digest(self) -> str:
        """Of everything in it."""
        found = hashlib.sha256(json.dumps([[one.text, *one.of] for one in self.said] + [list(self.wide)]).encode())
        if self.taught is not None:
            found.update(self.taught.numpy().tobytes())
        return found.hexdigest()


def make_lessons(
    config: LanguageTrainingConfig,
    language: Language,
    first: EmbeddedModel,
    teacher: SentenceModel | None,
    cache: Path,
    told: Callable[[int, int], None],
) -> Lessons:
    """Say every statement, and ask the teacher about these sentences and many more.

    Args:
        cache: folder where the teacher's answers are kept.
        told: receives sentences done and in all, while the teacher reads.
    """
    rng = generator((config.seed,), STREAM)
    told_of = [s for s in language.train for _ in range(config.sayings)]
    said = [say(s, language.knowledge, rng, config.fillers, language.reserved) for s in told_of]
    if teacher is None:
        read = reader(language.vocabulary | first.vocabulary)
        return Lessons(tuple(replace(one, text=read(one.text).text) for one in said))
    common = common_words(config.words)
    single = [word for word, ids in zip(common, first.tokenizer(list(common)), strict=True) if int(ids.argmax()) == ONE_WORD]
    known = tuple(sorted({*single, *FUNCTION_WORDS, *language.vocabulary, *first.vocabulary}))
    vectors = _asked(teacher, known, cache / "words.safetensors", told)
    texts = [say(s, language.knowledge, rng, config.fillers / 2, language.reserved).text for s in told_of]
    wide = wide_sentences(texts, SimilarWords(known, vectors), config.pairs, rng, language.reserved)
    heard = [caption(concept, rng) for concept in language.lexicon.concepts] + [c.phrase for c in language.lexicon.concepts]
    heard = [heard[i] for i in rng.permutation(len(heard))[: config.captions]]
    asked = _asked(teacher, [*(one.text for one in said), *wide, *heard], cache / "sentences.safetensors", told)
    mapped = fit_map(language, said, asked[: len(said)], asked[len(said) + len(wide) :], embed_before(first, heard), config)
    # The teacher knows every word; the text tower learns from sentences as they will be read for it.
    read = reader(frozenset(known))
    said = [replace(one, text=read(one.text).text) for one in said]
    wide = [read(text).text for text in wide]
    return Lessons(tuple(said), tuple(wide), mapped(asked[: len(said) + len(wide)]), known, vectors)


def fit_map(
    language: Language, said: Sequence[Said], taught: Tensor, heard: Tensor, before: Tensor, config: LanguageTrainingConfig
) -> Callable[[Tensor], Tensor]:
    """A linear map from a teacher's space into the joint one.

    Args:
        said: sentences with what they mean; ``taught``: (S, E) the teacher's vectors of them.
        heard: (C, E) the teacher's vectors of captions; ``before``: (C, D) where they lie in the joint space.

    Returns:
        What takes (T, E) to (T, D) of unit length.
    """
    truth, doubtful = targets(language, said)
    middle = functional.normalize(truth @ language.directions, dim=-1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        linear = nn.Linear(taught.shape[1], before.shape[1])
    optimizer = torch.optim.AdamW(linear.parameters(), _MAP_RATE, weight_decay=1e-3)
    rng = generator((config.seed,), _MAP_STREAM)
    for _ in range(config.map_steps):
        i = torch.from_numpy(rng.integers(len(taught), size=_MAP_BATCH))
        j = torch.from_numpy(rng.integers(len(heard), size=_MAP_BATCH))
        one, other = functional.normalize(linear(taught[i]), dim=-1), functional.normalize(linear(heard[j]), dim=-1)
        logits = (one @ language.directions.T / config.temperature).masked_fill(doubtful[i], NEVER)
        away = 0.5 * (1.0 - (one * middle[i]).sum(dim=-1).mean()) + 1.0 - (other * before[j]).sum(dim=-1).mean()
        loss = functional.cross_entropy(logits, truth[i]) + away
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.no_grad()
    def mapped(vectors: Tensor) -> Tensor:
        return functional.normalize(linear(vectors), dim=-1)

    return mapped


def _asked(teacher: SentenceModel, texts: Sequence[str], kept: Path, told: Callable[[int, int], None]) -> Tensor:
    """(T, E) the teacher's vectors, kept in a file for another run that asks the same."""
    from safetensors import SafetensorError
    from safetensors.torch import load, save

    key = hashlib.sha256(json.dumps([teacher.sha256, *texts]).encode()).hexdigest()
    try:
        sealed = vouch(kept).state == "sealed"
        stored = load(kept.read_bytes()[: -LENGTH if sealed else None])
        if set(stored) == {key} and stored[key].shape == (len(texts), teacher.dim):
            found: Tensor = stored[key]
            return found
    except FileNotFoundError:
        pass  # nothing is kept
    except (OSError, SafetensorError, ArtifactError):
        _log.warning("%s: is damaged; the teacher is asked again", kept)
    parts = []
    for part in _parts(texts, 1024):
        parts.append(teacher.embed(part))
        told(sum(map(len, parts)), len(texts))
    vectors = torch.cat(parts)
    with atomic_write(kept) as temporary:
        temporary.write_bytes(save({key: vectors}))
        seal(temporary)
    return vectors


def _parts(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    return [texts[begin : begin + size] for begin in range(0, len(texts), size)]


def targets(language: Language, said: Sequence[Said]) -> tuple[Tensor, Tensor]:
    """(T, N) shares of the names that each sentence means, and where it may mean one as well. Those of one label count alike."""
    place: dict[str, list[int]] = {}
    for number, name in enumerate(language.names):
        place.setdefault(language.labels[name], []).append(number)
    truth = torch.zeros(len(said), len(language.names))
    doubtful = torch.zeros(len(said), len(language.names), dtype=torch.bool)
    for row, one in enumerate(said):
        for name in one.of:
            truth[row, place[language.labels[name]]] = 1.0
        for name in one.maybe:
            doubtful[row, place[language.labels[name]]] = True
    doubtful &= truth == 0
    return truth / truth.sum(dim=1, keepdim=True), doubtful
