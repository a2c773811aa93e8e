"""Checkpoints of a training, as safetensors: weights, optimiser state, the kept best, curves, and whose training it is.

Batches follow from the seed and the update's number, so no generator is stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srcli.artifacts.core import atomic_write
from srcli.errors import ArtifactError

Tensors = dict[str, Tensor]
FORMAT = 2
"""Of the file; one of another format belongs to another training."""


@dataclass
class State:
    """Everything that changes during training but weights and optimisers.

    Attributes:
        update: updates made.
        curves: recorded values by name, all of one length; NaN where a record has no such value.
        pending: training losses since the last record.
        best: weights of the lowest validation value, empty before the first validation.
        best_value: that value.
    """

    update: int = 0
    curves: dict[str, list[float]] = field(default_factory=dict)
    pending: list[float] = field(default_factory=list)
    best: Tensors = field(default_factory=dict)
    best_value: float = math.inf


@dataclass(frozen=True)
class Stored:
    """What a checkpoint file holds; tensors by their own names.

    Attributes:
        identity: whose training it is.
        weights: parameters and buffers of the module.
        optimizers: state by number of the optimiser, number of the parameter and name of the value, joined by points.
    """

    identity: dict[str, Any]
    weights: Tensors
    optimizers: Tensors
    state: State


def weights_of(module: nn.Module) -> Tensors:
    """Parameters and buffers of a module by name, not copied; what two parts share stands once, under its first name."""
    seen: set[int] = set()
    found: Tensors = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            seen.add(id(value))
            found[name] = value.detach()
    return found


def optimizers_of(optimizers: Sequence[torch.optim.Optimizer]) -> Tensors:
    """State of optimisers, as :class:`Stored` has it; not copied."""
    return {
        f"{number}.{index}.{name}": torch.as_tensor(value)
        for number, optimizer in enumerate(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def save_checkpoint(
    path: Path, identity: Mapping[str, Any], module: nn.Module, optimizers: Sequence[torch.optim.Optimizer], state: State
) -> None:
    """Write a checkpoint atomically.

    Args:
        identity: what the training depends on, as JSON can hold it.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    from safetensors.torch import save

    parts = {"weight": weights_of(module), "optimizer": optimizers_of(optimizers), "best": state.best}
    tensors = {f"{part}:{name}": value for part, named in parts.items() for name, value in named.items()}
    note = {
        "format": FORMAT,
        "identity": identity,
        "update": state.update,
        "curves": state.curves,
        "pending": state.pending,
        "best_value": state.best_value if math.isfinite(state.best_value) else None,
    }
    data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata={"state": json.dumps(note)})
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def read_checkpoint(path: Path) -> Stored | None:
    """What a checkpoint holds, on the processor; None where there is no file, or one of another format.

    Raises:
        ArtifactError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as handle:
            note = json.loads(handle.metadata()["state"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  not a mapping
        if note.get("format") != FORMAT:
            return None
        parts: dict[str, Tensors] = {"weight": {}, "optimizer": {}, "best": {}}
        for key, value in tensors.items():
            part, _, name = key.partition(":")
            parts[part][name] = value
        best = note["best_value"]
        state = State(note["update"], note["curves"], note["pending"], parts["best"], math.inf if best is None else best)
        return Stored(note["identity"], parts["weight"], parts["optimizer"], state)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise ArtifactError(f"{path}: not a training checkpoint ({error})", "remove it; training then starts anew") from error


def restore(stored: Stored, module: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Give a module and its optimisers what a checkpoint of the same training holds; tensors keep their place in memory.

    Raises:
        ValueError: it has other weights.
    """
    own = weights_of(module)
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in stored.weights.items()}:
        raise ValueError("other weights than the module's")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(stored.weights[name])
    for number, optimizer in enumerate(optimizers):
        state: dict[int, Tensors] = {}
        for key, value in stored.optimizers.items():
            owner, index, name = key.split(".", 2)
            if int(owner) == number:
                state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
