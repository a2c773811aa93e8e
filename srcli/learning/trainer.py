"""Training of the scoring network: what it learns from and how it is judged; the loop is that of all methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from srcli.config.train import TrainConfig
from srcli.learning import loop
from srcli.learning.dataset import Labels, TrainingSet
from srcli.learning.loop import Loop, Settings, Task
from srcli.learning.rotations import Comparison
from srcli.learning.schedule import Schedule, walk
from srcli.models.batch import Batch
from srcli.seeding import generator

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

    Of picks, ``expert``: y is the expert's candidate (paper); ``valid``: uniform over the candidates that are right; ``quality``:
    in proportion to the prior's quality among them. Of placements y is uniform over all that are right, the region that the
    paper supervises. A sample without any falls back to the expert's. Logits (B, K), -inf where padded.
    """
    log_p = torch.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=1)
    expert = -log_p.gather(1, labels.expert[:, None])[:, 0]
    valid = labels.valid & torch.isfinite(logits)
    weight = valid.to(log_p.dtype)
    if target == "quality":
        weight = weight * labels.quality.clamp_min(1e-3).masked_fill(labels.place[:, None], 1.0)
    total = weight.sum(dim=1)
    soft = -(weight * log_p.masked_fill(~valid, 0.0)).sum(dim=1) / total.clamp_min(1e-6)
    spread = (total > 0) & (labels.place if target == "expert" else torch.ones_like(labels.place))
    return torch.where(spread, soft, expert)


@torch.no_grad()
def validate(network: torch.nn.Module, data: TrainingSet, config: TrainConfig, device: str) -> Metrics:
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


def budget(config: TrainConfig, samples: int) -> int:
    """Updates to make: ``train.updates``, or ``train.epochs`` times the batches of an epoch."""
    return config.updates or config.epochs * max(1, math.ceil(samples / config.batch_size))


def learning_rate(config: TrainConfig, update: int, updates: int) -> float:
    """Linear warm-up, then constant or a half cosine down to 2% of ``train.lr``."""
    return Schedule(config.lr, updates, config.warmup, config.schedule, floor=0.02, cosine_from="start")(update)


@dataclass(frozen=True)
class _Part:
    """Some samples of a batch of ``size``, padded no further than they need."""

    batch: Batch
    labels: Labels
    size: int
    turns: torch.Tensor | None


class Trainer:
    """Trains one network with :class:`srcli.learning.loop.Loop`.

    Args:
        data: the training set.
        network: with its initial weights.
        config: budget, optimiser, target and augmentation.
        identity: settings that make another training, beside ``config``.
        seed: of the order of samples and the augmentation.
        device: ``cpu`` or a CUDA device.
        checkpoint: file to go on from and to write; None keeps none. One of another configuration is ignored.
    """

    def __init__(
        self,
        data: TrainingSet,
        network: torch.nn.Module,
        config: TrainConfig,
        identity: Mapping[str, Any],
        *,
        seed: int = 0,
        device: str = "cpu",
        checkpoint: Path | None = None,
    ) -> None:
        self.data, self.config, self.seed, self.device = data, config, seed, device
        self.updates = budget(config, len(data.train))
        self.network = network.to(device)
        self.comparison = Comparison(self.network)
        depends_on = {
            "settings": dict(identity),
            "train": config.model_dump(mode="json"),
            "encoder": data.encoder,
            "samples": [len(data.train), len(data.valid)],
        }
        settings = Settings(
            updates=self.updates,
            rate=lambda update: learning_rate(config, update, self.updates),
            weight_decay=config.weight_decay,
            betas=(config.beta1, config.beta2),
            clip=config.clip,
            precision=config.precision,
            best="valid_loss" if config.select == "best" else None,
            record_every=LOSS_EVERY,
            validate_every=config.validate_every,
            checkpoint_every=config.checkpoint_every,
            prefetch=device != "cpu",
            advice="lower the learning rate or the clip; if it is so from the first update, check the features with `srcli info`",
        )
        task = Task(self.network, self._parts, self._loss, self._validate)
        self.loop = Loop(task, settings, identity=depends_on, seed=seed, device=device, checkpoint=checkpoint)

    def run(self, progress: Callable[[Progress], None] | None = None, stop_after: int | None = None) -> Trained:
        """Train to the end of the budget, or to update ``stop_after``.

        Raises:
            SceneError: the loss is not finite.
        """

        def told(now: loop.Progress) -> None:
            if progress is not None:
                valid_loss, valid_rate = (now.values.get(name, math.nan) for name in ("valid_loss", "valid_rate"))
                progress(Progress(now.update, now.updates, now.loss, valid_loss, valid_rate))

        result = self.loop.run(told, stop_after)
        curves = {name: result.curves.get(name, [math.nan] * len(result.curves["update"])) for name in CURVES}
        values = [curves[name][result.kept] if curves[name] else math.nan for name in CURVES[2:]]
        # Buffers follow from the configuration.
        trained = {name for name, _ in self.network.named_parameters()}
        return Trained(
            weights={name: w.float().cpu().numpy() for name, w in result.weights.items() if name in trained},
            curves={name: np.array(curve, dtype=np.float32) for name, curve in curves.items()},
            metrics=Metrics(*values),
            updates=result.updates,
            seed=self.seed,
        )

    def _parts(self, update: int) -> list[_Part]:
        batch, labels = self._draw(update)
        size = CHUNK if self.device == "cpu" else len(batch)
        share = self.config.augment.comparison_rotation
        turns = self.comparison.draw(len(batch), share, generator((self.seed,), 3, update))
        parts = []
        for start in range(0, len(batch), size):
            part = batch.part(start, start + size)
            named = labels.part(start, start + size, part.candidates.shape[1])
            own = None if turns is None else turns[start : start + size].to(self.device)
            parts.append(_Part(part, named, len(batch), own))
        return parts

    def _loss(self, part: _Part) -> torch.Tensor:
        """A part's share of the batch's mean."""
        with self.comparison.under(part.turns):
            logits = self.network(part.batch).logits
        return loss_of(logits, part.labels, self.config.target).sum() / part.size

    def _validate(self) -> dict[str, float]:
        return dict(zip(CURVES[2:], astuple(validate(self.network, self.data, self.config, self.device)), strict=True))

    def _draw(self, update: int) -> tuple[Batch, Labels]:
        """The batch of an update; where both phases are there, placements are ``train.place_share`` of it."""
        size = self.config.batch_size
        picks, places = self.data.pools()
        if len(picks) and len(places):
            count = round(size * self.config.place_share)
            indices = np.concatenate([walk(picks, update, size - count, self.seed), walk(places, update, count, self.seed, 1)])
        else:
            indices = walk(self.data.train, update, size, self.seed)
        augment = self.config.augment
        if update < augment.pick_rotation_from * self.updates:
            augment = augment.model_copy(update={"pick_rotation": 0.0})
        config = self.config.model_copy(update={"augment": augment})
        batch, labels = self.data.training_batch(indices, config, generator((self.seed,), 2, update))
        return batch.to(self.device), labels.to(self.device)
