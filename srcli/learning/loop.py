"""The one training loop: of every method and of every pre-training.

Whoever trains something says what (:class:`Task`) and how (:class:`Settings`):

    task = Task(network, draw=lambda update: [batch_of(update)], loss=lambda batch: network.loss(batch), validate=measure)
    settings = Settings(updates=1000, rate=Schedule(1e-3, 1000, warmup=50), clip=1.0, best="valid_loss")
    fitted = Loop(task, settings, identity={"model": ...}, seed=3, checkpoint=path).run()

A killed run goes on from its checkpoint to the same result, to the bit on one machine: all that an update draws follows from the
seed and its own number, and torch's own generator (dropout) is seeded with both before each update.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from srcli.errors import MismatchError, SceneError
from srcli.learning.checkpoint import State, Tensors, read_checkpoint, restore, save_checkpoint, weights_of

Part = TypeVar("Part")
UPDATE, LOSS = "update", "train_loss"
"""Curves that every training has; the others are named by its validation."""


@dataclass(frozen=True)
class Task(Generic[Part]):
    """What is trained.

    Attributes:
        module: on its device already; its parameters are trained, and its buffers kept with them.
        draw: the batch of an update, counted from 0, in one or more parts, on the module's device. It must depend on nothing but
            the update's number and a seed. With ``Settings.prefetch`` it is called from another thread.
        loss: a part's share of the batch's loss, a scalar: a batch's loss, and its gradient, is the sum over its parts. It may be
            called from several threads at once, so it changes nothing; a module that does (batch norms), or that draws from
            torch's generator (dropout), draws one part.
        validate: values on what is kept back, by name. Called in evaluation mode and without gradients.
        backward: in place of ``loss``, for what needs more than a sum: gets the parts and the threads' pool (None where parts are
            not shared), leaves the gradient with the parameters (which have none), returns the loss.
    """

    module: nn.Module
    draw: Callable[[int], Sequence[Part]]
    loss: Callable[[Part], Tensor] | None = None
    validate: Callable[[], Mapping[str, float]] | None = None
    backward: Callable[[Sequence[Part], Executor | None], float] | None = None


@dataclass(frozen=True)
class Settings:
    """How it is trained.

    Attributes:
        updates: the budget.
        rate: learning rate of an update, counted from 0; :class:`srcli.learning.schedule.Schedule` is one.
        weight_decay, betas: of AdamW, unless optimisers are given.
        clip: largest norm of the gradient; None leaves it as it is.
        precision: arithmetic of forward and backward: torch's autocast; weights and optimisers stay in float32.
        best: the validated value whose lowest weights are kept; None keeps the last.
        record_every: updates between two records of the mean training loss.
        validate_every: updates between two validations; the last update has one too.
        checkpoint_every: updates between two checkpoints; the last update has one too.
        parallel: what the threads of a processor share: the ``parts`` of a batch, each computed by one (the result does not
            depend on their number; faster where a part fits the processor's cache), or single ``operations`` of torch.
        threads: of a processor; 0 takes as many as torch has.
        prefetch: draw the next batch beside the computing of this one.
        advice: what to do when the loss is not finite, for the error.
        foreign: whether the checkpoint of another training is overwritten or refused.
    """

    updates: int
    rate: Callable[[int], float]
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    best: str | None = None
    record_every: int = 10
    validate_every: int = 100
    checkpoint_every: int = 25
    parallel: Literal["parts", "operations"] = "parts"
    threads: int = 0
    prefetch: bool = False
    advice: str = "lower the learning rate"
    foreign: Literal["ignore", "refuse"] = "ignore"


@dataclass(frozen=True)
class Progress:
    """Where a training stands, after each update and its checkpoint.

    Attributes:
        update: updates made, of ``updates``.
        loss: of this update.
        mean_loss: of the last record; NaN before the first.
        values: of the last validation; empty before the first.
    """

    update: int
    updates: int
    loss: float
    mean_loss: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """What a training gave.

    Attributes:
        weights: of the module, those that were kept; the module itself has the last ones.
        curves: recorded values by name, ``update`` and ``train_loss`` among them; NaN where a record has no such value.
        updates: made in all, earlier runs included.
        kept: row of the curves that the weights belong to, -1 for the last.
    """

    weights: Tensors
    curves: dict[str, list[float]] = field(default_factory=dict)
    updates: int = 0
    kept: int = -1


class Loop(Generic[Part]):
    """Trains a task.

    Args:
        identity: everything that the result depends on, as JSON can hold it; training goes on from no checkpoint of another.
        seed: of torch's own generator; part of the identity.
        device: ``cpu`` or a CUDA device.
        optimizers: None for one AdamW on all parameters. Their learning rates are set to ``settings.rate``.
        checkpoint: file to go on from and to write; None keeps none.

    Attributes:
        state: updates made, curves, best.

    Raises:
        ArtifactError: the checkpoint is no checkpoint. A damaged one is told of, and training starts anew.
        MismatchError: it belongs to another training, and ``settings.foreign`` refuses such.
    """

    def __init__(
        self,
        task: Task[Part],
        settings: Settings,
        *,
        identity: Mapping[str, Any],
        seed: int = 0,
        device: str = "cpu",
        optimizers: Sequence[torch.optim.Optimizer] | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self.task, self.settings, self.seed, self.device, self.checkpoint = task, settings, seed, device, checkpoint
        self.identity: dict[str, Any] = json.loads(json.dumps({**identity, "drawn": seed}))
        self.state = State(curves={UPDATE: [], LOSS: []})
        self.parameters = [p for p in task.module.parameters() if p.requires_grad]
        self.optimizers = tuple(optimizers or (self._adamw(),))
        if checkpoint is not None:
            self._go_on_from(checkpoint)

    def run(self, progress: Callable[[Progress], None] | None = None, stop_after: int | None = None) -> Result:
        """Train to the end of the budget, or to update ``stop_after``.

        Raises:
            SceneError: the loss is not finite.
            DiskError: a checkpoint cannot be written.
        """
        state, settings = self.state, self.settings
        end = settings.updates if stop_after is None else min(stop_after, settings.updates)
        devices = [] if self.device == "cpu" else [self.device]
        self.task.module.train()
        with torch.random.fork_rng(devices), self._threads() as pool, closing(self._batches(end)) as batches:
            for parts in batches:
                loss = self._update(parts, pool)
                state.update += 1
                state.pending.append(loss)
                self._record()
                if self.checkpoint is not None and (state.update % settings.checkpoint_every == 0 or state.update == end):
                    save_checkpoint(self.checkpoint, self.identity, self.task.module, self.optimizers, state)
                if progress is not None:
                    mean = state.curves[LOSS][-1] if state.curves[LOSS] else math.nan
                    progress(Progress(state.update, settings.updates, loss, mean, self._last_values()))
        kept = int(np.nanargmin(state.curves[settings.best])) if state.best and settings.best else -1
        weights = state.best or weights_of(self.task.module)
        copied = {name: value.detach().clone() for name, value in weights.items()}
        return Result(copied, {name: list(curve) for name, curve in state.curves.items()}, state.update, kept)

    def _adamw(self) -> torch.optim.AdamW:
        rate, betas, decay = self.settings.rate(0), self.settings.betas, self.settings.weight_decay
        return torch.optim.AdamW(self.parameters, lr=rate, betas=betas, weight_decay=decay, fused=True)

    def _go_on_from(self, checkpoint: Path) -> None:
        stored = read_checkpoint(checkpoint)
        if stored is None:
            return
        if stored.identity == self.identity:
            restore(stored, self.task.module, self.optimizers)
            self.state = stored.state
        elif self.settings.foreign == "refuse":
            raise MismatchError(
                f"{checkpoint} belongs to a training with other settings", "delete it to start anew, or restore the settings"
            )

    @contextmanager
    def _threads(self) -> Iterator[Executor | None]:
        """Set torch's threads; the pool that computes parts, if they are shared."""
        if self.device != "cpu":
            yield None
            return
        before = torch.get_num_threads()
        threads = self.settings.threads or before
        shared = self.settings.parallel == "parts"
        torch.set_num_threads(1 if shared else threads)
        try:
            if shared:
                with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                    yield pool
            else:
                yield None
        finally:
            torch.set_num_threads(before)

    def _batches(self, end: int) -> Generator[Sequence[Part], None, None]:
        """The parts of each remaining update's batch."""
        updates, draw = range(self.state.update, end), self.task.draw
        if not self.settings.prefetch:
            yield from map(draw, updates)
            return
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as maker:
            coming = [maker.submit(draw, update) for update in updates[:1]]
            for update in updates:
                parts = coming.pop().result()
                coming += [maker.submit(draw, following) for following in range(update + 1, end)[:1]]
                yield parts

    def _update(self, parts: Sequence[Part], pool: Executor | None) -> float:
        """One update of the weights; returns the batch's loss."""
        update, settings = self.state.update, self.settings
        torch.manual_seed(int(np.random.SeedSequence((self.seed, update)).generate_state(1)[0]))
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(update)
        loss = (self.task.backward or self._backward)(parts, pool)
        _in_order(self.parameters)
        if not math.isfinite(loss):
            raise SceneError(f"the training loss is {loss} at update {update}", settings.advice)
        if settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def _backward(self, parts: Sequence[Part], pool: Executor | None) -> float:
        """The gradient, summed over parts in their order, whoever computes them."""
        loss_of = self.task.loss
        if loss_of is None:
            raise ValueError("a task has a loss or a backward")

        def of_part(part: Part) -> tuple[float, tuple[Tensor | None, ...]]:
            with self._arithmetic():
                loss = loss_of(part)
            return float(loss.detach()), torch.autograd.grad(loss, self.parameters, allow_unused=True)

        total = 0.0
        for loss, gradients in map(of_part, parts) if pool is None else pool.map(of_part, parts):
            total += loss
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                if gradient is not None:
                    # A copy: two parameters may have been given one and the same tensor.
                    parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad.add_(gradient)
        return total

    def _arithmetic(self) -> torch.autocast:
        # Without the cache of converted weights, which threads would share.
        bf16 = self.settings.precision == "bf16"
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=bf16, cache_enabled=False)

    def _record(self) -> None:
        state, settings, validate = self.state, self.settings, self.task.validate
        last = state.update == settings.updates
        due = validate is not None and (last or state.update % settings.validate_every == 0)
        if not (due or last or state.update % settings.record_every == 0):
            return
        row = {UPDATE: float(state.update), LOSS: float(np.mean(state.pending))}
        state.pending = []
        if due and validate is not None:
            row |= {name: _number(value) for name, value in self._validated(validate).items()}
            if settings.best is not None and row[settings.best] < state.best_value:
                state.best_value = row[settings.best]
                state.best = {name: value.clone() for name, value in weights_of(self.task.module).items()}
        records = len(state.curves[UPDATE])
        for name in {**state.curves, **row}:
            state.curves.setdefault(name, [math.nan] * records).append(row.get(name, math.nan))

    def _validated(self, validate: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
        self.task.module.eval()
        try:
            with torch.no_grad(), self._arithmetic():
                return validate()
        finally:
            self.task.module.train()

    def _last_values(self) -> dict[str, float]:
        """Each validated value as it was last known; absent before the first validation."""
        named = {name: curve for name, curve in self.state.curves.items() if name not in (UPDATE, LOSS)}
        known = {name: next((v for v in reversed(curve) if v == v), math.nan) for name, curve in named.items()}
        return {name: value for name, value in known.items() if value == value}


def _number(value: float) -> float:
    """A number without the sign that a NaN may have: a checkpoint does not keep it, and equal trainings give equal bytes."""
    return float(value) if value == value else math.nan


def _in_order(parameters: Sequence[nn.Parameter]) -> None:
    """Let each gradient lie in memory as its parameter does: a fused optimiser reads both as they lie, whatever their strides."""
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
