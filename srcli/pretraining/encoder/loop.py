"""What the encoder learns by: model and optimisers, the gradient of a batch shared among threads, weights at every checkpoint."""

from __future__ import annotations

import copy
import inspect
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from srcli.config.encoder import SEEN_ONLY
from srcli.config.pretrain import PretrainConfig
from srcli.errors import ConfigError
from srcli.learning.loop import Loop, Progress, Settings, Task
from srcli.learning.schedule import Schedule
from srcli.perception.encoders.embedded import create_model, dense_forward, file_sha256, load_embedded, weights_file
from srcli.perception.encoders.text import forward_text
from srcli.pretraining.encoder.batches import Batch, make_batch
from srcli.pretraining.encoder.captions import RELATIONS
from srcli.pretraining.encoder.lexicon import Lexicon, token_rows
from srcli.pretraining.encoder.loss import region_text_loss
from srcli.pretraining.encoder.muon import Muon

_COLORS = 3
_MAX_SCALE = 40.0
_CLIP_NORM = 2.0
_KNOWN = 20_000
PART = 4
"""Most crops that a thread computes, and that a batch norm sees, at a time."""

OnCheckpoint = Callable[[int, dict[str, float]], None]


@dataclass
class Learner:
    """Model, optimisers and the token table in use.

    Attributes:
        relation_head: from a sentence's mean token feature to the groups of relations; only for training.
        optimizers: of matrices and convolutions, and of all else.
        rows: token ids of the compact embedding table, ascending.
        lookup: (49408,) id to row; -1 where a token is not in use.
        known: sentences tokenised so far.
        towers: copies of the image tower, for threads.
        start_sha256: of the weights that it started from; empty when from nothing.
    """

    model: Any
    tokenizer: Any
    relation_head: torch.nn.Linear
    optimizers: tuple[Muon, torch.optim.AdamW]
    rows: tuple[int, ...]
    lookup: Tensor
    known: dict[str, Tensor] = field(default_factory=dict)
    towers: list[Any] = field(default_factory=list)
    start_sha256: str = ""

    def replicas(self, count: int) -> list[Any]:
        """Copies of the image tower that share its weights and have gradients and batch statistics of their own."""
        while len(self.towers) < count:
            visual = copy.deepcopy(self.model.visual)
            for own, shared in zip(visual.parameters(), self.model.visual.parameters(), strict=True):
                own.data = shared.data
            self.towers.append(SimpleNamespace(visual=visual))
        for tower in self.towers[:count]:
            tower.visual.train(self.model.visual.training)
            for own, shared in zip(tower.visual.buffers(), self.model.visual.buffers(), strict=True):
                own.copy_(shared)
        return self.towers[:count]

    @torch.no_grad()
    def merge_norms(self, towers: list[Any]) -> None:
        """Give the tower the mean of its copies' batch statistics."""
        for shared, *found in zip(self.model.visual.buffers(), *(tower.visual.buffers() for tower in towers), strict=True):
            if found:
                shared.copy_(torch.stack(found).mean(dim=0) if shared.is_floating_point() else found[0])

    def ids(self, texts: tuple[str, ...]) -> Tensor:
        """Compact token ids, cut to the longest sentence. Order is kept, so the end-of-text mark stays the largest."""
        new = [t for t in dict.fromkeys(texts) if t not in self.known]
        if new:
            if len(self.known) > _KNOWN:  # most sentences are said once
                self.known = {t: self.known[t] for t in texts if t in self.known}
            self.known.update(zip(new, self.tokenizer(new), strict=True))
        raw = torch.stack([self.known[t] for t in texts])
        ends = int(raw.argmax(dim=1).max()) + 1
        ids: Tensor = self.lookup[raw[:, :ends]]
        if int(ids.min()) < 0:
            raise ValueError("a training sentence holds a token outside the table in use")
        return ids


def make_learner(config: PretrainConfig, lexicon: Lexicon) -> Learner:
    """A learner at its first step: weights follow from the seed, or are those of ``config.start``.

    Raises:
        MissingAssetError, ArtifactError: the weights to start from are not there, or not those of an embedded encoder.
        ConfigError: they have learned what ``config.hide_unseen`` leaves out.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model, tokenizer = create_model()
        rows = token_rows(lexicon, tokenizer)
        table = torch.nn.Embedding(len(rows), model.token_embedding.weight.shape[1])
        torch.nn.init.normal_(table.weight, std=0.05)
        head = torch.nn.Linear(model.text_projection.shape[1], len(RELATIONS))
    lookup = torch.full((model.vocab_size,), -1, dtype=torch.long)
    lookup[torch.tensor(rows)] = torch.arange(len(rows))
    model.token_embedding = table
    model.visual.to(memory_format=torch.channels_last)
    started = take_over(model, rows, start_weights(config), config.hide_unseen) if config.start else ""
    return Learner(model, tokenizer, head, _optimizers(config, model, head), rows, lookup, start_sha256=started)


def _optimizers(config: PretrainConfig, model: Any, head: torch.nn.Linear) -> tuple[Muon, torch.optim.AdamW]:
    """Muon for the inner convolutions and the transformer's matrices; Adam for what meets pixels, tokens and the joint space."""
    inner = {
        name
        for name, p in model.named_parameters()
        if (p.ndim == 4 and p.shape[1] > _COLORS) or (p.ndim == 2 and name.startswith("transformer."))
    }
    others = [*(p for name, p in model.named_parameters() if name not in inner), *head.parameters()]
    groups = [
        {"params": [p for p in others if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
    ]
    return (
        Muon((p for name, p in model.named_parameters() if name in inner), config.learning_rate, config.weight_decay),
        torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98)),
    )


def start_weights(config: PretrainConfig) -> Path:
    """The file that ``config.start`` names."""
    return weights_file(config.start)


def take_over(model: Any, rows: tuple[int, ...], path: Path, hide_unseen: bool) -> str:
    """Give a model the weights of an embedded encoder, and return their sha256; tokens that it did not know keep their own start.

    Raises:
        ConfigError: ``hide_unseen``, and the weights have learned from the objects of the unseen split.
    """
    start = load_embedded(path)
    if hide_unseen and not start.hides_unseen:
        raise ConfigError(
            f"pretrain.start: {path.name} has learned from the unseen split, which pretrain.hide_unseen leaves out",
            f"start from nothing, or from weights made with pretrain.hide_unseen, such as '{SEEN_ONLY}'",
        )
    state = start.model.state_dict()
    known = state.pop("token_embedding.weight")[torch.tensor(rows)]
    fresh = (known == 0).all(dim=1, keepdim=True)
    with torch.no_grad():
        model.token_embedding.weight.copy_(torch.where(fresh, model.token_embedding.weight, known))
    model.load_state_dict({**state, "token_embedding.weight": model.token_embedding.weight.detach()})
    return start.sha256


def schedule(config: PretrainConfig) -> Schedule:
    """Linear warm-up, then a cosine down to 1% of the peak."""
    return Schedule(config.learning_rate, config.steps, config.warmup)


def backward(config: PretrainConfig, learner: Learner, batch: Batch, lexicon: Lexicon, pool: Executor) -> float:
    """The loss of one batch, whose gradient is left with the parameters: region-text contrast, and telling relations apart.

    Parts of the crops and the sentences are computed by the threads of ``pool``, each with one thread of torch: that scales,
    operations of this size do not. Batch norms see one part at a time. The result does not depend on the number of threads.
    """
    # Without a region every crop shows the bare table.
    parts = torch.tensor_split(batch.images, -(-len(batch.images) // PART)) if batch.region_cells else ()
    towers = learner.replicas(len(parts))
    seen = [pool.submit(dense_forward, tower, part) for tower, part in zip(towers, parts, strict=True)]
    said = pool.submit(_read, learner, batch, lexicon).result()
    outputs = [job.result() for job in seen]
    learner.merge_norms(towers)
    leaves = [value.detach().requires_grad_() for value in (*outputs, *said)]
    loss = _loss(config, learner, batch, leaves[: len(outputs)], *leaves[len(outputs) :])
    loss.backward()  # type: ignore[no-untyped-call]
    shares = [
        pool.submit(torch.autograd.grad, output, tuple(tower.visual.parameters()), leaf.grad)
        for output, tower, leaf in zip(outputs, towers, leaves, strict=False)
    ]
    spoken = [(value, leaf.grad) for value, leaf in zip(said, leaves[len(outputs) :], strict=True) if leaf.grad is not None]
    pool.submit(torch.autograd.backward, [v for v, _ in spoken], [g for _, g in spoken]).result()
    for share in shares:
        for parameter, gradient in zip(learner.model.visual.parameters(), share.result(), strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return float(loss.detach())


def _read(learner: Learner, batch: Batch, lexicon: Lexicon) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings (T, D) of the sentences and (C, D) of all names, and the mean token feature (S, D) of sentences for placing."""
    texts, _ = forward_text(learner.model, learner.ids(batch.texts))
    names, _ = forward_text(learner.model, learner.ids(tuple(c.phrase for c in lexicon.names)))
    ids = learner.ids(batch.relations)
    _, tokens = forward_text(learner.model, ids)
    real = torch.arange(ids.shape[1])[None] <= ids.argmax(dim=1, keepdim=True)
    real[:, 0] = False  # the start mark has read nothing
    return texts, names, (tokens * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)


def _loss(
    config: PretrainConfig, learner: Learner, batch: Batch, features: list[Tensor], texts: Tensor, names: Tensor, placed: Tensor
) -> Tensor:
    """From (b, D, h, w) features of the parts and what :func:`_read` gives."""
    # From the mean of a sentence's token features, so that words of like meaning come to lie together.
    relation = functional.cross_entropy(learner.relation_head(placed), torch.from_numpy(batch.relation_truth))
    if not features:
        return config.relation_weight * relation
    dense = functional.normalize(torch.cat(features), dim=1)
    cells = dense.permute(0, 2, 3, 1).reshape(-1, dense.shape[1])
    sizes = torch.tensor([len(c) for c in batch.region_cells])
    owner = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    members = cells[torch.cat([torch.from_numpy(c) for c in batch.region_cells])]
    regions = torch.zeros(len(sizes), cells.shape[1]).index_add(0, owner, members)
    return config.relation_weight * relation + region_text_loss(
        learner.model.logit_scale.exp().clamp(max=_MAX_SCALE),
        texts,
        names,
        functional.normalize(regions, dim=1),
        cells[torch.from_numpy(batch.patch_cells)],
        cells[torch.from_numpy(batch.table_cells)],
        torch.from_numpy(batch.text_truth),
        torch.from_numpy(batch.name_truth),
        torch.from_numpy(batch.patch_owner),
    )


def fingerprint_of(config: PretrainConfig, learner: Learner, lexicon: Lexicon) -> str:
    """What a checkpoint depends on: the settings that shape training, the sentences and the token table."""
    import hashlib

    from srcli.perception.encoders import tower
    from srcli.pretraining.encoder import batches, captions, loss, muon
    from srcli.pretraining.encoder import concepts as facts

    skip = {"threads", "checkpoint_every", "validate_every", "valid_scenes", "grasp", "teach", "language", "graspnet"}
    start = file_sha256(start_weights(config)) if config.start else ""
    # Half of a training by other code would be weights that no code gives.
    modules = (batches, captions, facts, loss, muon, tower, Loop, Schedule)
    code = [file_sha256(file) for file in (Path(__file__), *(Path(inspect.getfile(module)) for module in modules))]
    content = [config.model_dump(exclude=skip), start, lexicon.concepts, lexicon.names, learner.rows, PART, code]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def train(
    config: PretrainConfig,
    learner: Learner,
    lexicon: Lexicon,
    folder: Path,
    checkpoint: Path,
    on_checkpoint: OnCheckpoint,
    ready: Callable[[int], None],
) -> None:
    """Run the remaining steps.

    Args:
        folder: shards of training scenes.
        checkpoint: file to resume from and to write to.
        on_checkpoint: called with the steps done and the mean loss and seconds per step since the last call.
        ready: called before a step's batch is made, one step ahead and in another thread; blocks until its scenes are there.

    Raises:
        ArtifactError: the checkpoint is damaged.
        MismatchError: it was made with other settings, another catalogue or other code.
        SceneError: the loss is not finite.
    """

    def draw(step: int) -> list[Batch]:
        ready(step)
        return [make_batch(config, folder, lexicon, step)]

    def gradients(batches: Sequence[Batch], pool: Executor | None) -> float:
        assert pool is not None
        learner.optimizers[0].pool = pool
        loss = backward(config, learner, batches[0], lexicon, pool)
        torch.nn.utils.clip_grad_norm_(learner.model.parameters(), _CLIP_NORM)
        return loss

    started, steps = time.monotonic(), 0

    def told(now: Progress) -> None:
        nonlocal started, steps
        steps += 1
        if now.update % config.checkpoint_every == 0 or now.update == config.steps:
            on_checkpoint(now.update, {"loss": now.mean_loss, "step_seconds": (time.monotonic() - started) / steps})
            learner.model.train()
            started, steps = time.monotonic(), 0

    settings = Settings(
        updates=config.steps,
        rate=schedule(config),
        record_every=config.checkpoint_every,
        checkpoint_every=config.checkpoint_every,
        threads=config.threads,
        prefetch=True,
        advice=f"lower pretrain.learning_rate; {checkpoint} holds the last state",
        foreign="refuse",
    )
    # Sums over several threads of torch are rounded otherwise: the threads share crops, and weights.
    module = torch.nn.ModuleDict({"model": learner.model, "relation": learner.relation_head})
    task = Task(module, draw, backward=gradients)
    identity = {"fingerprint": fingerprint_of(config, learner, lexicon)}
    optimizers = learner.optimizers
    try:
        Loop(task, settings, identity=identity, seed=config.seed, optimizers=optimizers, checkpoint=checkpoint).run(told)
    finally:
        learner.optimizers[0].pool = None
