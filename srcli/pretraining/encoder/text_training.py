"""What the text tower learns of language while the picture side stays as it is.

A sentence is drawn to the names of what it means, as the weights before embed them: that is where the picture side has its
things. What it has no statement for it takes from a teacher, a sentence encoder trained on the language of the web, through a
linear map from the teacher's space into the joint one, which is learned from the same statements (distillation). Sentences that
the weights before know already are rehearsed, so that they stay where they are, and are said among words that mean nothing, so
that these come to mean nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from srcli.language.phrases import RELATIVE, SUPERLATIVES, Phrase, PhraseKind, phrase_instruction, phrase_texts
from srcli.language.spelling import words_of
from srcli.learning.loop import Loop, Progress, Settings, Task
from srcli.learning.schedule import Schedule
from srcli.perception.encoders.embedded import EmbeddedModel, create_model, file_sha256
from srcli.perception.encoders.text import forward_text
from srcli.pretraining.encoder import captions, concepts, saying, variety
from srcli.pretraining.encoder.captions import caption, place_caption
from srcli.pretraining.encoder.knowledge import Knowledge, Statement
from srcli.pretraining.encoder.lexicon import Lexicon, token_rows, widened
from srcli.pretraining.encoder.saying import FORMS, Denials, Said, deny, fill, make_denials, say
from srcli.pretraining.encoder.teacher import SentenceModel
from srcli.pretraining.encoder.variety import SimilarWords, common_words, wide_sentences
from srcli.seeding import generator

if TYPE_CHECKING:
    from srcli.config.pretrain import LanguageTrainingConfig

T = TypeVar("T")
NAME_FORMS = ("give me the {}", "I need a {}", "{}", "pick up the {}")
"""A name's direction is the mean of these sentences, as the weights before embed them."""

_STREAM = 50
_HELD_BACK = 10
# Finite: a share of nothing times infinity is no number.
_NEVER = -1e4
_EMBEDDING = "token_embedding.weight"
_PLACED = 0.2
"""Share of rehearsed sentences that are for placing, of those that name something."""
_TOGETHER = 64
"""Sentences that are read at once in training."""
_ONE_WORD = 2
"""Place of the end mark after a word of one token."""
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
    """

    knowledge: Knowledge
    train: tuple[Statement, ...]
    valid: tuple[Statement, ...]
    lexicon: Lexicon
    names: tuple[str, ...]
    directions: Tensor
    labels: dict[str, str]
    denials: Denials

    @property
    def vocabulary(self) -> frozenset[str]:
        """All words of captions, statements and what stands around them."""
        forms = [form.format("") for group in FORMS.values() for form in group]
        said = (*self.knowledge.texts(), *forms, *phrase_texts("train"))
        return self.lexicon.words | {word for text in said for word in words_of(text)}


def make_language(first: EmbeddedModel, lexicon: Lexicon, knowledge: Knowledge) -> Language:
    """Statements in two parts, and where the names of all objects lie."""
    from srcli.objects import catalogue, describe
    from srcli.objects.palette import color_words
    from srcli.pretraining.encoder.lexicon import facts_of

    entries = catalogue()
    names = tuple(entries.seen if first.hides_unseen else (*entries.seen, *entries.unseen))
    labels = {name: entries[name].label for name in names}
    pooled = embed_before(first, [form.format(labels[name]) for name in names for form in NAME_FORMS])
    directions = functional.normalize(pooled.reshape(len(names), len(NAME_FORMS), -1).mean(dim=1), dim=-1)
    facts = {name: concepts.concepts(facts_of(entries[name], describe(entries[name]))) for name in names}
    denials = make_denials(facts, labels, frozenset(color_words()))
    order = generator((0,), _STREAM).permutation(len(knowledge.statements))
    held_back = {int(i) for i in order[::_HELD_BACK]}
    train = tuple(s for i, s in enumerate(knowledge.statements) if i not in held_back)
    valid = tuple(s for i, s in enumerate(knowledge.statements) if i in held_back)
    return Language(knowledge, train, valid, lexicon, names, directions, labels, denials)


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
    rng = generator((config.seed,), _STREAM)
    said = [say(s, language.knowledge, rng, config.fillers) for s in language.train for _ in range(config.sayings)]
    if teacher is None:
        return Lessons(tuple(said))
    common = common_words(config.words)
    single = [word for word, ids in zip(common, first.tokenizer(list(common)), strict=True) if int(ids.argmax()) == _ONE_WORD]
    known = tuple(sorted({*single, *language.vocabulary, *first.vocabulary}))
    vectors = _asked(teacher, known, cache / "words.safetensors", told)
    texts = [say(s, language.knowledge, rng, config.fillers / 2).text for s in language.train for _ in range(config.sayings)]
    wide = wide_sentences(texts, SimilarWords(known, vectors), config.pairs, rng)
    heard = [caption(concept, rng) for concept in language.lexicon.concepts] + [c.phrase for c in language.lexicon.concepts]
    heard = [heard[i] for i in rng.permutation(len(heard))[: config.captions]]
    asked = _asked(teacher, [*(one.text for one in said), *wide, *heard], cache / "sentences.safetensors", told)
    mapped = fit_map(language, said, asked[: len(said)], asked[len(said) + len(wide) :], embed_before(first, heard), config)
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
    rng = generator((config.seed, 1), _STREAM)
    for _ in range(config.map_steps):
        i = torch.from_numpy(rng.integers(len(taught), size=_MAP_BATCH))
        j = torch.from_numpy(rng.integers(len(heard), size=_MAP_BATCH))
        one, other = functional.normalize(linear(taught[i]), dim=-1), functional.normalize(linear(heard[j]), dim=-1)
        logits = (one @ language.directions.T / config.temperature).masked_fill(doubtful[i], _NEVER)
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
    from safetensors.torch import load_file, save_file

    key = hashlib.sha256(json.dumps([teacher.sha256, *texts]).encode()).hexdigest()
    try:
        stored = load_file(kept)
        if set(stored) == {key} and stored[key].shape == (len(texts), teacher.dim):
            found: Tensor = stored[key]
            return found
    except (OSError, SafetensorError):
        pass  # nothing is kept, or nothing that can be read: the teacher is asked again
    parts = []
    for part in _parts(texts, 1024):
        parts.append(teacher.embed(part))
        told(sum(map(len, parts)), len(texts))
    vectors = torch.cat(parts)
    temporary = kept.with_name(f".{kept.name}")
    save_file({key: vectors}, temporary)
    temporary.replace(kept)
    return vectors


def _parts(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    return [texts[begin : begin + size] for begin in range(0, len(texts), size)]


@dataclass(frozen=True)
class TextBatch:
    """Sentences of a step.

    Attributes:
        said: sentences with what they mean; those of lessons first, then what is denied.
        wide: sentences whose meaning the teacher alone knows.
        taught: (K, D) where the teacher's map puts the first of ``said`` and all of ``wide``; None without a teacher.
        plain: sentences that are rehearsed; ``around``: others that mean the same object or place, with words before, behind or
            among them that mean nothing, or as one of several of a kind ("the leftmost cup").
    """

    said: tuple[Said, ...]
    wide: tuple[str, ...]
    taught: Tensor | None
    plain: tuple[str, ...]
    around: tuple[str, ...]


def make_text_batch(config: LanguageTrainingConfig, language: Language, lessons: Lessons, step: int) -> TextBatch:
    """The sentences of a step; they follow from the seed and the step."""
    rng = generator((config.seed, step), _STREAM)
    rehearsed = round(config.batch * config.rehearsal)
    wide = round(config.batch * config.wide) if lessons.wide else 0
    denied = round(config.batch * config.negations) if language.knowledge.negations else 0
    drawn = rng.integers(len(lessons.said), size=max(1, config.batch - rehearsed - wide - denied))
    others = rng.integers(max(1, len(lessons.wide)), size=wide)
    said = [lessons.said[i] for i in drawn]
    said += [deny(language.denials, language.labels, language.knowledge, rng) for _ in range(denied)]
    rows = np.concatenate([drawn, len(lessons.said) + others])
    pairs = [_rehearsed(config, language, rng) for _ in range(rehearsed)]
    taught = None if lessons.taught is None else lessons.taught[torch.from_numpy(rows)]
    return TextBatch(tuple(said), tuple(lessons.wide[i] for i in others), taught, *zip(*pairs, strict=True))


def _rehearsed(config: LanguageTrainingConfig, language: Language, rng: np.random.Generator) -> tuple[str, str]:
    """A sentence that is known, and another one that means the same: with words around it, or as one of several of a kind."""
    concept = _one(language.lexicon.concepts, rng)
    if rng.random() < config.composed:
        noun = _one(language.lexicon.names, rng).phrase if concept.kind in ("attribute", "function") else concept.phrase
        word = _one((*RELATIVE, *SUPERLATIVES), rng)
        kind: PhraseKind = "reference" if word in RELATIVE else "superlative"
        other = _one(language.lexicon.names, rng).phrase if word in RELATIVE else ""
        return f"give me the {noun}", phrase_instruction(rng, Phrase(kind, noun, word, other)).lower()
    placed = concept.kind in ("label", "general", "colored") and rng.random() < _PLACED
    plain = place_caption(concept.phrase, rng)[0] if placed else caption(concept, rng)
    return plain, _blanked(fill(plain, language.knowledge, rng, config.fillers), config.blanks, rng)


def _one(choices: Sequence[T], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]


BLANK = "\u2581"
"""Stands for a word that the encoder has never read."""


def _blanked(text: str, share: float, rng: np.random.Generator) -> str:
    """The sentence with up to four unread words at random places, with the probability ``share``."""
    if rng.random() >= share:
        return text
    words = text.split()
    for _ in range(int(rng.integers(1, 5))):
        words.insert(int(rng.integers(len(words) + 1)), BLANK)
    return " ".join(words)


class TextLearner:
    """The text tower in training, beside the one that it starts from. Its token table has the rows in use alone.

    Args:
        first: weights to go on from; its picture side is kept.
        vocabulary: words to be read.
        lessons: their words begin where the teacher's vectors say, as far as those that ``first`` knows tell how.
        seed: of the other tokens that ``first`` does not know.
    """

    def __init__(self, first: EmbeddedModel, lexicon: Lexicon, vocabulary: frozenset[str], lessons: Lessons, seed: int) -> None:
        self.first = first
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model, self.tokenizer = create_model()
            self.rows = token_rows(widened(lexicon, vocabulary), self.tokenizer)
            fresh = torch.randn(len(self.rows), self.model.token_embedding.embedding_dim) * 0.05
        self.model.load_state_dict(first.model.state_dict())
        whole = first.model.token_embedding.weight.detach()
        known = whole.ne(0).any(dim=1)
        rows = torch.tensor(self.rows)
        table = torch.where(known[rows, None], whole[rows], fresh)
        self._place = torch.full((len(whole),), len(rows) - 1)
        self._place[rows] = torch.arange(len(rows))
        if lessons.vectors is not None:
            self._begin(table, known, lessons.words, lessons.vectors)
        # An unread word is nothing, and stays so. The end mark has the largest id of all, which is how it is found.
        self._blank = len(rows) - 1
        self._place[rows[-1]] = len(rows)
        table = torch.cat([table[:-1], torch.zeros(1, table.shape[1]), table[-1:]])
        self.model.token_embedding = nn.Embedding(len(table), table.shape[1], _weight=table)
        self.model.requires_grad_(True)
        self.model.visual.requires_grad_(False)
        self.model.logit_scale.requires_grad_(False)
        used = torch.ones(len(table), 1)
        used[self._blank] = 0.0
        self.model.token_embedding.weight.register_hook(lambda gradient: gradient * used)
        self._mark = int(self.tokenizer(["~"])[0, 1])

    def _begin(self, table: Tensor, known: Tensor, words: Sequence[str], vectors: Tensor) -> None:
        """Rows of words that are one token, from the teacher's vectors by least squares on the rows that are known."""
        ids = self.tokenizer(list(words))
        single = ids.argmax(dim=1) == _ONE_WORD
        token = ids[:, 1]
        x = torch.cat([vectors, torch.ones(len(vectors), 1)], dim=1)
        old, new = single & known[token], single & ~known[token]
        if not old.any() or not new.any():
            return
        fitted = table[self._place[token[old]]]
        solution = torch.linalg.solve(x[old].T @ x[old] + torch.eye(x.shape[1]), x[old].T @ fitted)
        guess = x[new] @ solution
        # Half as long as known rows: the guess is a rough one.
        table[self._place[token[new]]] = guess * (0.5 * fitted.std() / guess.std())

    def pooled(self, texts: Sequence[str]) -> Tensor:
        """(T, D) pooled features; sentences of like length are read together, which changes nothing."""
        ids = self._ids(texts)
        ends = ids.argmax(dim=1)
        order = torch.argsort(ends, stable=True)
        parts = [forward_text(self.model, ids[rows, : int(ends[rows].max()) + 1])[0] for rows in torch.split(order, _TOGETHER)]
        return torch.cat(parts)[torch.argsort(order)]

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """(T, D) pooled and (T, L, D) token features, and (T, L) where a token is real."""
        ids = self._ids(texts)
        pooled, tokens = forward_text(self.model, ids)
        return pooled, tokens, torch.arange(ids.shape[1])[None] <= ids.argmax(dim=1, keepdim=True)

    @torch.no_grad()
    def before(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """What the weights before make of sentences."""
        ids = self.tokenizer(list(texts))
        return forward_text(self.first.model, ids[:, : int(ids.argmax(dim=1).max()) + 1])

    def state(self) -> dict[str, Tensor]:
        """Weights with the token rows in use, as :func:`save_embedded` takes them."""
        state = {name: value.detach() for name, value in self.model.state_dict().items()}
        table = state[_EMBEDDING]
        return {**state, _EMBEDDING: torch.cat([table[: self._blank], table[self._blank + 1 :]])}

    def _ids(self, texts: Sequence[str]) -> Tensor:
        """(T, L) rows of the table, cut to the longest sentence; tokens that are not in use, and :data:`BLANK`, are nothing."""
        plain = self.tokenizer([text.replace(BLANK, "~") for text in texts])
        ids = torch.where(plain == self._mark, self._blank, self._place[plain])
        return ids[:, : int(ids.argmax(dim=1).max()) + 1]


def loss_of(config: LanguageTrainingConfig, learner: TextLearner, language: Language, batch: TextBatch) -> Tensor:
    """Sentences to the names of what they mean, and away from all others; rehearsed ones to where they were."""
    read = learner.pooled([*(said.text for said in batch.said), *batch.wide])
    pooled = read[: len(batch.said)]
    truth, doubtful = targets(language, batch.said)
    closeness = pooled @ language.directions.T
    logits = (closeness / config.temperature).masked_fill(doubtful, _NEVER)
    contrast = functional.cross_entropy(logits, truth)
    middle = functional.normalize(truth @ language.directions, dim=-1)
    drawn = 1.0 - (pooled * middle).sum(dim=-1).mean()
    taken = read.new_zeros(())
    if batch.taught is not None:
        lessons = torch.cat([pooled[: len(batch.taught) - len(batch.wide)], read[len(batch.said) :]])
        taken = 1.0 - (lessons * batch.taught).sum(dim=-1).mean()
    plain, tokens, real = learner.read(batch.plain)
    before, before_tokens = learner.before(batch.plain)
    kept = 1.0 - (plain * before).sum(dim=-1).mean()
    kept_tokens = 1.0 - (tokens * before_tokens).sum(dim=-1)[real].mean()
    ignored = 1.0 - (learner.pooled(batch.around) * before).sum(dim=-1).mean()
    return contrast + drawn + config.distillation * taken + config.keep * (kept + kept_tokens + ignored)


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


@torch.no_grad()
def measure(learner: TextLearner, language: Language) -> dict[str, float]:
    """Of statements that are not learned from: share whose closest name is meant, and the same by kind; of names: the mean cosine
    to where they were.
    """
    said = [Said(statement.say, statement.of, statement.maybe) for statement in language.valid]
    found: dict[str, list[float]] = {}
    if said:
        pooled = learner.pooled([one.text for one in said])
        truth, doubtful = targets(language, said)
        closest = (pooled @ language.directions.T).masked_fill(doubtful, -2.0).argmax(dim=1)
        for row, statement in enumerate(language.valid):
            right = float(truth[row, closest[row]] > 0)
            found.setdefault("statements", []).append(right)
            found.setdefault(f"statements/{statement.kind}", []).append(right)
    plain = [f"give me the {language.labels[name]}" for name in language.names]
    after = learner.pooled(plain)
    before, _ = learner.before(plain)
    kept = float((after * before).sum(dim=-1).mean())
    return {**{name: sum(values) / len(values) for name, values in found.items()}, "names_kept": kept}


def train_text(
    config: LanguageTrainingConfig,
    learner: TextLearner,
    language: Language,
    lessons: Lessons,
    checkpoint: Path,
    told: Callable[[Progress], None],
) -> None:
    """Run the remaining steps; a killed run goes on from its checkpoint to the same result.

    Raises:
        ArtifactError: the checkpoint is damaged.
        MismatchError: it was made with other settings, statements or weights.
        SceneError: the loss is not finite.
    """
    identity = {
        "config": config.model_dump(mode="json"),
        "start": learner.first.sha256,
        "knowledge": [[s.kind, s.say, *s.of, "|", *s.maybe] for s in language.knowledge.statements],
        "around": [*language.knowledge.fillers, *language.knowledge.requests, *language.knowledge.denying()],
        "lessons": lessons.digest,
        "rows": len(learner.rows),
        # Half of a training by other code would be weights that no code gives.
        "code": [file_sha256(Path(module.__file__)) for module in (captions, concepts, saying, variety) if module.__file__]
        + [file_sha256(Path(__file__))],
    }
    settings = Settings(
        updates=config.steps,
        rate=Schedule(config.learning_rate, config.steps, min(50, config.steps)),
        clip=1.0,
        record_every=20,
        validate_every=200,
        checkpoint_every=100,
        parallel="operations",
        advice="lower pretrain.language.learning_rate",
        foreign="refuse",
    )
    task = Task(
        nn.ModuleDict({"text": learner.model}),
        draw=lambda step: [make_text_batch(config, language, lessons, step)],
        loss=lambda batch: loss_of(config, learner, language, batch),
        validate=lambda: measure(learner, language),
    )
    Loop(task, settings, identity=identity, seed=config.seed, checkpoint=checkpoint).run(told)
