"""What the text tower learns of language while the picture side stays as it is.

A sentence is drawn to the names of what it means, as the weights before embed them: that is where the picture side has its
things. Sentences that these weights know already are rehearsed, so that they stay where they are, and are said among words that
mean nothing, so that these come to mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from srcli.language.spelling import words_of
from srcli.learning.loop import Loop, Progress, Settings, Task
from srcli.learning.schedule import Schedule
from srcli.perception.encoders.embedded import EmbeddedModel, create_model, file_sha256
from srcli.perception.encoders.text import forward_text
from srcli.pretraining.encoder import captions, concepts, saying
from srcli.pretraining.encoder.captions import caption, place_caption
from srcli.pretraining.encoder.knowledge import Knowledge, Statement
from srcli.pretraining.encoder.lexicon import Lexicon, token_rows
from srcli.pretraining.encoder.saying import FORMS, Said, deny, fill, say
from srcli.seeding import generator

if TYPE_CHECKING:
    from srcli.config.pretrain import LanguageTrainingConfig

NAME_FORMS = ("give me the {}", "I need a {}", "{}", "pick up the {}")
"""A name's direction is the mean of these sentences, as the weights before embed them."""

_STREAM = 50
_HELD_BACK = 10
# Finite: a share of nothing times infinity is no number.
_NEVER = -1e4
_EMBEDDING = "token_embedding.weight"


@dataclass(frozen=True)
class Language:
    """What is learned from.

    Attributes:
        knowledge: all statements; ``train`` and ``valid`` are disjoint parts of them.
        lexicon: concepts of the captions that are rehearsed.
        names: objects whose names the weights before know, in the order of ``directions``.
        directions: (N, D) unit length.
        groups: objects of each kind word that has several; ``labels``: word of each object.
    """

    knowledge: Knowledge
    train: tuple[Statement, ...]
    valid: tuple[Statement, ...]
    lexicon: Lexicon
    names: tuple[str, ...]
    directions: Tensor
    groups: dict[str, tuple[str, ...]]
    labels: dict[str, str]

    @property
    def vocabulary(self) -> frozenset[str]:
        """All words that are read."""
        forms = [form.format("") for group in FORMS.values() for form in group]
        return self.lexicon.words | {word for text in (*self.knowledge.texts(), *forms) for word in words_of(text)}


def make_language(first: EmbeddedModel, lexicon: Lexicon, knowledge: Knowledge) -> Language:
    """Statements in two parts, and where the names of all objects lie."""
    from srcli.objects import catalogue

    entries = catalogue()
    names = tuple(entries.seen if first.hides_unseen else (*entries.seen, *entries.unseen))
    with torch.no_grad():
        texts = [form.format(entries[name].label) for name in names for form in NAME_FORMS]
        pooled, _ = forward_text(first.model, first.tokenizer(texts))
    directions = functional.normalize(pooled.reshape(len(names), len(NAME_FORMS), -1).mean(dim=1), dim=-1)
    words = {word for name in names for word in entries[name].general}
    groups = {word: tuple(name for name in names if word in entries[name].general) for word in sorted(words)}
    labels = {name: entries[name].label for name in names}
    groups = {word: members for word, members in groups.items() if len({labels[name] for name in members}) > 2}
    order = generator((0,), _STREAM).permutation(len(knowledge.statements))
    held_back = {int(i) for i in order[::_HELD_BACK]}
    train = tuple(s for i, s in enumerate(knowledge.statements) if i not in held_back)
    valid = tuple(s for i, s in enumerate(knowledge.statements) if i in held_back)
    return Language(knowledge, train, valid, lexicon, names, directions, groups, labels)


@dataclass(frozen=True)
class TextBatch:
    """Sentences of a step.

    Attributes:
        said: sentences with what they mean.
        plain: sentences that are rehearsed; ``around``: the same with words before, behind or among them that mean nothing.
    """

    said: tuple[Said, ...]
    plain: tuple[str, ...]
    around: tuple[str, ...]


def make_text_batch(config: LanguageTrainingConfig, language: Language, step: int) -> TextBatch:
    """The sentences of a step; they follow from the seed and the step."""
    rng = generator((config.seed, step), _STREAM)
    rehearsed = round(config.batch * config.rehearsal)
    said = []
    for _ in range(config.batch - rehearsed):
        if language.groups and language.knowledge.negations and rng.random() < config.negations:
            said.append(deny(language.groups, language.labels, language.knowledge, rng))
        else:
            statement = language.train[int(rng.integers(len(language.train)))]
            said.append(say(statement, language.knowledge, rng, config.fillers))
    plain = []
    for _ in range(rehearsed):
        concept = language.lexicon.concepts[int(rng.integers(len(language.lexicon.concepts)))]
        place = concept.kind in ("label", "general", "colored") and rng.random() < 0.2
        plain.append(place_caption(concept.phrase, rng)[0] if place else caption(concept, rng))
    around = tuple(_blanked(fill(text, language.knowledge, rng, config.fillers), config.blanks, rng) for text in plain)
    return TextBatch(tuple(said), tuple(plain), around)


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
    """The text tower in training, beside the one that it starts from.

    Args:
        first: weights to go on from; its picture side is kept.
        vocabulary: words to be read.
        seed: of the tokens that ``first`` does not know.
    """

    def __init__(self, first: EmbeddedModel, lexicon: Lexicon, vocabulary: frozenset[str], seed: int) -> None:
        self.first = first
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model, self.tokenizer = create_model()
            fresh = torch.randn_like(self.model.token_embedding.weight) * 0.05
        wide = Lexicon(lexicon.concepts, lexicon.names, vocabulary)
        self.rows = token_rows(wide, self.tokenizer)
        before = first.model.token_embedding.weight.detach()
        known = before.ne(0).any(dim=1, keepdim=True)
        self.model.load_state_dict(first.model.state_dict())
        table = torch.zeros_like(before)
        rows = torch.tensor(self.rows)
        table[rows] = torch.where(known, before, fresh)[rows]
        with torch.no_grad():
            self.model.token_embedding.weight.copy_(table)
        self.model.requires_grad_(True)
        self.model.visual.requires_grad_(False)
        self.model.logit_scale.requires_grad_(False)
        # Tokens outside of the vocabulary stay at nothing: that is what an unread word is.
        used = torch.zeros(len(table), 1)
        used[rows] = 1.0
        self.model.token_embedding.weight.register_hook(lambda gradient: gradient * used)
        # The end mark has the largest id of all.
        self._ids = partial(_ids, self.tokenizer, max(set(range(len(table) - 1)) - set(self.rows)))

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """(T, D) pooled and (T, L, D) token features, and (T, L) where a token is real."""
        ids = self._ids(texts)
        pooled, tokens = forward_text(self.model, ids)
        return pooled, tokens, torch.arange(ids.shape[1])[None] <= ids.argmax(dim=1, keepdim=True)

    @torch.no_grad()
    def before(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """What the weights before make of sentences."""
        return forward_text(self.first.model, self._ids(texts))

    def state(self) -> dict[str, Tensor]:
        """Weights with the token rows in use, as :func:`save_embedded` takes them."""
        state = {name: value.detach() for name, value in self.model.state_dict().items()}
        return {**state, _EMBEDDING: state[_EMBEDDING][torch.tensor(self.rows)]}


def _ids(tokenizer: Any, blank: int, texts: Sequence[str]) -> Tensor:
    """(T, L) token ids, cut to the longest sentence; :data:`BLANK` is a token that is not in use."""
    plain = tokenizer([text.replace(BLANK, "~") for text in texts])
    mark = int(tokenizer(["~"])[0, 1])
    ids = torch.where(plain == mark, torch.full_like(plain, blank), plain)
    return ids[:, : int(ids.argmax(dim=1).max()) + 1]


def loss_of(config: LanguageTrainingConfig, learner: TextLearner, language: Language, batch: TextBatch) -> Tensor:
    """Sentences to the names of what they mean, and away from all others; rehearsed ones to where they were."""
    pooled, _, _ = learner.read([said.text for said in batch.said])
    truth, doubtful = targets(language, batch.said)
    closeness = pooled @ language.directions.T
    logits = (closeness / config.temperature).masked_fill(doubtful, _NEVER)
    contrast = functional.cross_entropy(logits, truth)
    middle = functional.normalize(truth @ language.directions, dim=-1)
    drawn = 1.0 - (pooled * middle).sum(dim=-1).mean()
    plain, tokens, real = learner.read(batch.plain)
    before, before_tokens = learner.before(batch.plain)
    kept = 1.0 - (plain * before).sum(dim=-1).mean()
    kept_tokens = 1.0 - (tokens * before_tokens).sum(dim=-1)[real].mean()
    around, _, _ = learner.read(batch.around)
    ignored = 1.0 - (around * before).sum(dim=-1).mean()
    return contrast + drawn + config.keep * (kept + kept_tokens + ignored)


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
        pooled, _, _ = learner.read([one.text for one in said])
        truth, doubtful = targets(language, said)
        closest = (pooled @ language.directions.T).masked_fill(doubtful, -2.0).argmax(dim=1)
        for row, statement in enumerate(language.valid):
            right = float(truth[row, closest[row]] > 0)
            found.setdefault("statements", []).append(right)
            found.setdefault(f"statements/{statement.kind}", []).append(right)
    plain = [f"give me the {language.labels[name]}" for name in language.names]
    after, _, _ = learner.read(plain)
    before, _ = learner.before(plain)
    kept = float((after * before).sum(dim=-1).mean())
    return {**{name: sum(values) / len(values) for name, values in found.items()}, "names_kept": kept}


def train_text(
    config: LanguageTrainingConfig,
    learner: TextLearner,
    language: Language,
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
        "around": [*language.knowledge.fillers, *language.knowledge.requests, *language.knowledge.negations],
        "rows": len(learner.rows),
        # Half of a training by other code would be weights that no code gives.
        "code": [file_sha256(Path(module.__file__)) for module in (captions, concepts, saying) if module.__file__]
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
        draw=lambda step: [make_text_batch(config, language, step)],
        loss=lambda batch: loss_of(config, learner, language, batch),
        validate=lambda: measure(learner, language),
    )
    Loop(task, settings, identity=identity, seed=config.seed, checkpoint=checkpoint).run(told)
