"""Checkpoints of a training, as safetensors: weights, optimiser state, the kept best, curves, and whose training it is.

Batches follow from the seed and the update's number, so no generator is stored. A digest over all of it tells damage: training
then starts anew, and that is said.
"""

from __future__ import annotations

import hashlib
import json
import logging
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
_DIGEST = "sha256"
_OWN, _HEAD = b'{"__metadata__":{"state":"{\\"format\\":', 64
"""How a checkpoint begins, and within how many bytes."""
_log = logging.getLogger(__name__)


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


_DAMAGED = Stored({}, {}, {}, State())


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
    stored = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    data = save(stored, metadata={"state": json.dumps({**note, _DIGEST: _digest(note, stored)})})
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def _digest(note: Mapping[str, Any], tensors: Tensors) -> str:
    """SHA-256 of all that a checkpoint holds."""
    digest = hashlib.sha256(json.dumps(note).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_checkpoint(path: Path) -> Stored | None:
    """What a checkpoint holds, on the processor; None where there is no file, one of another format, or a damaged one.

    Raises:
        ArtifactError: the file is no checkpoint.
    """
    found = _read(path)
    if found is _DAMAGED:
        _log.warning("%s: is damaged; training starts anew", path)
        return None
    return found


def _read(path: Path) -> Stored | None:
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as handle:
            note = json.loads(handle.metadata()["state"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  not a mapping
        # Those of earlier versions have no digest.
        recorded = note.pop(_DIGEST, None)
        if recorded is not None and recorded != _digest(note, tensors):
            return _DAMAGED
        if note.get("format") != FORMAT:
            return None
        parts: dict[str, Tensors] = {"weight": {}, "optimizer": {}, "best": {}}
        for key, value in tensors.items():
            part, _, name = key.partition(":")
            parts[part][name] = value
        best = note["best_value"]
        state = State(note["update"], note["curves"], note["pending"], parts["best"], math.inf if best is None else best)
        return Stored(note["identity"], parts["weight"], parts["optimizer"], state)
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, OSError) as error:
        if path.is_file() and _OWN in path.read_bytes()[:_HEAD]:
            return _DAMAGED
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
