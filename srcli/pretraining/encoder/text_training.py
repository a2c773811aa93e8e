"""What the text tower learns of language while the picture side stays as it is.

A sentence is drawn to the names of what it means, as the weights before embed them: that is where the picture side has its
things. What it has no statement for it takes from a teacher, a sentence encoder trained on the language of the web, through a
linear map from the teacher's space into the joint one, which is learned from the same statements (distillation). Sentences that
the weights before know already are rehearsed, so that they stay where they are, and are said among words that mean nothing, so
that these come to mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from srcli.language.instructions import reader
from srcli.language.phrases import RELATIVE, SUPERLATIVES, Phrase, PhraseKind, phrase_instruction
from srcli.learning.loop import Loop, Progress, Settings, Task
from srcli.learning.schedule import Schedule
from srcli.perception.encoders.embedded import EmbeddedModel, create_model, file_sha256
from srcli.perception.encoders.text import forward_text
from srcli.pretraining.encoder.captions import caption, place_caption
from srcli.pretraining.encoder.lessons import NEVER, ONE_WORD, STREAM, Language, Lessons, targets
from srcli.pretraining.encoder.lexicon import Lexicon, token_rows, widened
from srcli.pretraining.encoder.saying import Said, deny, fill
from srcli.seeding import generator

if TYPE_CHECKING:
    from srcli.config.pretrain import LanguageTrainingConfig

T = TypeVar("T")

_CODE = ("captions", "concepts", "lessons", "reserved", "saying", "text_training", "variety")
"""Modules that decide what is learned."""
_EMBEDDING = "token_embedding.weight"
_PLACED = 0.2
"""Share of rehearsed sentences that are for placing, of those that name something."""
_TOGETHER = 64
"""Sentences that are read at once in training."""


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
    rng = generator((config.seed, step), STREAM)
    rehearsed = max(1, round(config.batch * config.rehearsal))
    wide = round(config.batch * config.wide) if lessons.wide else 0
    denied = round(config.batch * config.negations) if language.knowledge.negations else 0
    drawn = rng.integers(len(lessons.said), size=max(1, config.batch - rehearsed - wide - denied))
    others = rng.integers(max(1, len(lessons.wide)), size=wide)
    said = [lessons.said[i] for i in drawn]
    said += [deny(language.denials, language.labels, language.knowledge, rng, language.reserved) for _ in range(denied)]
    rows = np.concatenate([drawn, len(lessons.said) + others])
    pairs = [_rehearsed(config, language, rng) for _ in range(rehearsed)]
    taught = None if lessons.taught is None else lessons.taught[torch.from_numpy(rows)]
    return TextBatch(tuple(said), tuple(lessons.wide[i] for i in others), taught, *zip(*pairs, strict=True))


def _rehearsed(config: LanguageTrainingConfig, language: Language, rng: np.random.Generator) -> tuple[str, str]:
    """A sentence that is known, and another one that means the same: with words around it, or as one of several of a kind."""
    while True:
        plain, around = _meaning_the_same(config, language, rng)
        if around not in language.reserved:
            return plain, around


def _meaning_the_same(config: LanguageTrainingConfig, language: Language, rng: np.random.Generator) -> tuple[str, str]:
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
        self.as_read = reader(vocabulary)
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
        single = ids.argmax(dim=1) == ONE_WORD
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
    logits = (closeness / config.temperature).masked_fill(doubtful, NEVER)
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


@torch.no_grad()
def measure(learner: TextLearner, language: Language) -> dict[str, float]:
    """Of statements that are not learned from: share whose closest name is meant, and the same by kind; of names: the mean cosine
    to where they were.
    """
    said = [Said(learner.as_read(statement.say).text, statement.of, statement.maybe) for statement in language.valid]
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
        "code": [file_sha256(Path(__file__).with_name(f"{name}.py")) for name in _CODE],
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
