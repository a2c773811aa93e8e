"""The trainer: Adam on a budget of updates, deterministic in its seed, resumable to the same result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from srcli.config.train import TrainConfig
from srcli.errors import SceneError
from srcli.learning.checkpoint import State, load_checkpoint, save_checkpoint
from srcli.learning.dataset import Labels, TrainingSet
from srcli.methods.sr.network import SRNetwork, build_network
from srcli.methods.sr.section import ModelConfig
from srcli.models.batch import Batch
from srcli.seeding import generator
from srcli.types import I64

F32 = npt.NDArray[np.float32]
CHUNK = 8
"""Samples that a processor works on at once: the tensors of a whole batch do not fit any cache (measured: 1.7 times as fast)."""
LOSS_EVERY = 10
"""Updates between two records of the training loss; those without a validation have NaN in its columns."""
CURVES = ("update", "train_loss", "valid_loss", "valid_top1", "valid_rate", "pick_rate", "place_rate")


@dataclass(frozen=True)
class Progress:
    """Where training stands, for a progress bar. Losses are NaN before their first value."""

    update: int
    updates: int
    train_loss: float
    valid_loss: float
    valid_rate: float


@dataclass(frozen=True)
class Metrics:
    """Quality on the validation split.

    Attributes:
        loss: mean cross-entropy, nats.
        top1: share of samples whose best candidate is the one that the expert took.
        valid_rate: share of samples whose best candidate is right: on a target object, or in the region that is asked for.
        pick_rate, place_rate: the same of each phase; NaN without such samples.
    """

    loss: float
    top1: float
    valid_rate: float
    pick_rate: float = math.nan
    place_rate: float = math.nan


@dataclass(frozen=True)
class Trained:
    """The result: the kept weights, the curves by name, the final numbers."""

    weights: dict[str, F32]
    curves: dict[str, F32]
    metrics: Metrics
    updates: int
    seed: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


def loss_of(logits: torch.Tensor, labels: Labels, target: str) -> torch.Tensor:
    """Cross-entropy -sum_k y_k log P_k per sample, (B,).

    ``expert``: y is the expert's candidate (paper). ``valid``: y is uniform over the candidates that are right, ``quality``: in
    proportion to the prior's quality among them, but uniform for placements; a sample without any falls back to the expert's.
    Logits (B, K), -inf where padded.
    """
    log_p = torch.log_softmax(logits, dim=1)
    expert = -log_p.gather(1, labels.expert[:, None])[:, 0]
    if target == "expert":
        return expert
    valid = labels.valid & torch.isfinite(logits)
    weight = valid.to(log_p.dtype)
    if target == "quality":
        weight = weight * labels.quality.clamp_min(1e-3).masked_fill(labels.place[:, None], 1.0)
    total = weight.sum(dim=1)
    soft = -(weight * log_p.masked_fill(~valid, 0.0)).sum(dim=1) / total.clamp_min(1e-6)
    return torch.where(total > 0, soft, expert)


@torch.no_grad()
def validate(network: SRNetwork, data: TrainingSet, config: TrainConfig, device: str) -> Metrics:
    """Loss, top-1 and valid-rate over the validation split; NaN where the split is empty."""
    losses, top1, rate, place = [], [], [], []
    for start in range(0, len(data.valid), config.batch_size):
        batch, labels = data.batch(data.valid[start : start + config.batch_size])
        labels = labels.to(device)
        logits = network(batch.to(device)).logits
        losses.append(loss_of(logits, labels, config.target))
        best = logits.argmax(dim=1)
        top1.append((best == labels.expert).float())
        rate.append(labels.valid.gather(1, best[:, None])[:, 0].float())
        place.append(labels.place)
    if not losses:
        return Metrics(math.nan, math.nan, math.nan)
    right, placed = torch.cat(rate), torch.cat(place)
    values = (torch.cat(losses), torch.cat(top1), right, right[~placed], right[placed])
    return Metrics(*(float(value.mean()) for value in values))


def _parts(batch: Batch, labels: Labels, size: int) -> Iterator[tuple[Batch, Labels]]:
    """A batch in parts of ``size`` samples, each padded no further than its own samples need."""
    for start in range(0, len(batch), size):
        part = batch.part(start, start + size)
        yield part, labels.part(start, start + size, part.candidates.shape[1])


def budget(config: TrainConfig, samples: int) -> int:
    """Updates to make: ``train.updates``, or ``train.epochs`` times the batches of an epoch."""
    return config.updates or config.epochs * max(1, math.ceil(samples / config.batch_size))


def learning_rate(config: TrainConfig, update: int, updates: int) -> float:
    """Linear warm-up, then constant or a half cosine down to 2% of ``train.lr``."""
    warm = min(1.0, (update + 1) / max(1, config.warmup))
    if config.schedule == "constant":
        return config.lr * warm
    share = min(1.0, update / max(1, updates))
    return config.lr * warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * share)))


class Trainer:
    """Trains one network.

    Every update draws its samples and its augmentation from the seed and its own number, so what a killed run still had to do
    does not depend on where it was killed.

    Args:
        data: the training set.
        model, config: sections ``model`` and ``train``.
        seed: of the initial weights, the order of samples and the augmentation.
        device: ``cpu`` or a CUDA device.
        checkpoint: file to go on from and to write; None keeps none. One of another configuration is ignored.
    """

    def __init__(
        self,
        data: TrainingSet,
        model: ModelConfig,
        config: TrainConfig,
        *,
        seed: int = 0,
        device: str = "cpu",
        checkpoint: Path | None = None,
    ) -> None:
        self.data, self.config, self.seed, self.device = data, config, seed, device
        self.checkpoint = checkpoint
        self.updates = budget(config, len(data.train))
        self.network = build_network(model, data.feature_dim, seed).to(device)
        self.master = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        if config.precision == "bf16":
            self.network = self.network.bfloat16()
        self.identity = {
            "model": model.model_dump(mode="json"),
            "train": config.model_dump(mode="json"),
            "seed": seed,
            "encoder": data.encoder,
            "samples": [len(data.train), len(data.valid)],
        }
        self.state = State(update=0, moments={}, curves={name: [] for name in CURVES}, best={}, best_loss=math.inf)
        if checkpoint is not None and (loaded := load_checkpoint(checkpoint, self.identity, device)) is not None:
            self.master, self.state = loaded
        self._pool: ThreadPoolExecutor | None = None
        self._publish()

    def run(self, progress: Callable[[Progress], None] | None = None, stop_after: int | None = None) -> Trained:
        """Train to the end of the budget, or to update ``stop_after``.

        Raises:
            SceneError: the loss is not finite.
        """
        end = self.updates if stop_after is None else min(stop_after, self.updates)
        if self.device != "cpu":
            self._train(end, progress)
            return self._result()
        # On a processor parts of a batch are shared among threads: that scales, operations of this size do not.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as self._pool:
                self._train(end, progress)
        finally:
            self._pool = None
            torch.set_num_threads(threads)
        return self._result()

    def _train(self, end: int, progress: Callable[[Progress], None] | None) -> None:
        state, config = self.state, self.config
        losses = list(state.pending)
        while state.update < end:
            losses.append(self._step(state.update))
            state.update += 1
            due = state.update % config.validate_every == 0 or state.update == self.updates
            if due or state.update % LOSS_EVERY == 0:
                self._record(float(np.mean(losses)), due)
                losses = []
            state.pending = losses
            if self.checkpoint is not None and (state.update % config.checkpoint_every == 0 or state.update == end):
                save_checkpoint(self.checkpoint, self.identity, self.master, state)
            if progress is not None:
                curves = state.curves
                last = {name: next((v for v in reversed(curves[name]) if v == v), math.nan) for name in CURVES}
                shown = losses[-1] if losses else last["train_loss"]
                progress(Progress(state.update, self.updates, shown, last["valid_loss"], last["valid_rate"]))

    def _step(self, update: int) -> float:
        batch, labels = self._draw(update)
        value, gradients = self._gradients(batch, labels)
        if not math.isfinite(value):
            raise SceneError(
                f"the training loss is {value} at update {update}",
                "lower train.lr or train.clip; if it is so from the first update, check the features with `srcli info`",
            )
        self._adam(update, gradients)
        return value

    def _gradients(self, batch: Batch, labels: Labels) -> tuple[float, dict[str, torch.Tensor]]:
        """Mean loss of a batch and its gradient by parameter, summed over parts in their order, whoever computes them."""
        named = dict(self.network.named_parameters())

        def of_part(part: tuple[Batch, Labels]) -> tuple[float, tuple[torch.Tensor | None, ...]]:
            loss = loss_of(self.network(part[0]).logits, part[1], self.config.target).sum() / len(batch)
            return float(loss.detach()), torch.autograd.grad(loss, tuple(named.values()), allow_unused=True)

        parts = _parts(batch, labels, len(batch) if self._pool is None else CHUNK)
        value, total = 0.0, dict.fromkeys(named)
        for loss, gradients in map(of_part, parts) if self._pool is None else self._pool.map(of_part, parts):
            value += loss
            for name, gradient in zip(named, gradients, strict=True):
                if gradient is not None:
                    known = total[name]
                    total[name] = gradient.float() if known is None else known.add_(gradient.float())
        return value, {name: gradient for name, gradient in total.items() if gradient is not None}

    def _draw(self, update: int) -> tuple[Batch, Labels]:
        """The batch of an update; where both phases are there, placements are ``train.place_share`` of it."""
        size = self.config.batch_size
        picks, places = self.data.pools()
        if len(picks) and len(places):
            count = round(size * self.config.place_share)
            indices = np.concatenate([self._walk(picks, update, size - count), self._walk(places, update, count, 1)])
        else:
            indices = self._walk(self.data.train, update, size)
        batch, labels = self.data.training_batch(indices, self.config, generator((self.seed,), 2, update))
        return batch.to(self.device), labels.to(self.device)

    def _walk(self, pool: I64, update: int, size: int, *stream: int) -> I64:
        """The next ``size`` samples of a pool: epochs are permutations, walked through across epoch borders."""
        n = len(pool)
        wanted = np.arange(update * size, (update + 1) * size)
        orders = {e: generator((self.seed,), 1, int(e), *stream).permutation(n) for e in np.unique(wanted // n)}
        return pool[np.array([orders[int(i // n)][i % n] for i in wanted], dtype=np.int64)]

    @torch.no_grad()
    def _adam(self, update: int, grads: Mapping[str, torch.Tensor]) -> None:
        """Adam with decoupled weight decay on the float32 master weights."""
        config = self.config
        norm = torch.sqrt(sum((g.square().sum() for g in grads.values()), start=torch.zeros((), device=self.device)))
        scale = torch.clamp(config.clip / (norm + 1e-6), max=1.0)
        rate = learning_rate(config, update, self.updates)
        step = update + 1
        for name, grad in grads.items():
            weight = self.master[name]
            if name not in self.state.moments:
                self.state.moments[name] = (torch.zeros_like(weight), torch.zeros_like(weight))
            first, second = self.state.moments[name]
            grad = grad * scale
            first.mul_(config.beta1).add_(grad, alpha=1 - config.beta1)
            second.mul_(config.beta2).addcmul_(grad, grad, value=1 - config.beta2)
            root = (second / (1 - config.beta2**step)).sqrt_().add_(1e-8)
            weight.mul_(1 - rate * config.weight_decay).addcdiv_(first, root, value=-rate / (1 - config.beta1**step))
        self._publish()

    @torch.no_grad()
    def _publish(self) -> None:
        """Copy the master weights into the network, in its own precision."""
        for name, p in self.network.named_parameters():
            p.copy_(self.master[name])

    def _record(self, train_loss: float, validated: bool) -> None:
        if not validated:
            for name in CURVES:
                self.state.curves[name].append({"update": float(self.state.update), "train_loss": train_loss}.get(name, math.nan))
            return
        metrics = validate(self.network, self.data, self.config, self.device)
        row = (self.state.update, train_loss, *astuple(metrics))
        for name, value in zip(CURVES, row, strict=True):
            self.state.curves[name].append(float(value))
        if self.config.select == "best" and metrics.loss < self.state.best_loss:
            self.state.best_loss = metrics.loss
            self.state.best = {name: w.clone() for name, w in self.master.items()}

    def _result(self) -> Trained:
        weights = self.state.best or self.master
        curves = self.state.curves
        losses = np.array(curves["valid_loss"])
        kept = -1
        if self.state.best:
            kept = int(np.nanargmin(losses))
        values = [curves[name][kept] if curves[name] else math.nan for name in CURVES[2:]]
        return Trained(
            weights={name: w.float().cpu().numpy() for name, w in weights.items()},
            curves={name: np.array(values_, dtype=np.float32) for name, values_ in curves.items()},
            metrics=Metrics(*values),
            updates=self.state.update,
            seed=self.seed,
        )
