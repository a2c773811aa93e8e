"""Checkpoints: weights, Adam's moments, curves and position, as safetensors. Batches follow from the seed, so no generator is
stored."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from srcli.artifacts.core import atomic_write
from srcli.errors import ArtifactError

Tensors = dict[str, torch.Tensor]


@dataclass
class State:
    """Everything that changes during training but the weights.

    Attributes:
        update: updates made.
        moments: Adam's first and second moments by parameter.
        curves: recorded values by name.
        best: weights of the lowest validation loss, empty before the first validation.
        pending: training losses since the last record.
    """

    update: int
    moments: dict[str, tuple[torch.Tensor, torch.Tensor]]
    curves: dict[str, list[float]]
    best: Tensors
    best_loss: float
    pending: list[float] = field(default_factory=list)


def save_checkpoint(path: Path, identity: dict[str, Any], weights: Tensors, state: State) -> None:
    """Write a checkpoint atomically.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    from safetensors.torch import save

    tensors = {f"weight:{k}": v for k, v in weights.items()} | {f"best:{k}": v for k, v in state.best.items()}
    for name, (first, second) in state.moments.items():
        tensors |= {f"first:{name}": first, f"second:{name}": second}
    note = {
        "identity": identity,
        "update": state.update,
        "curves": state.curves,
        "pending": state.pending,
        "best_loss": state.best_loss if math.isfinite(state.best_loss) else None,
    }
    data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata={"state": json.dumps(note)})
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def load_checkpoint(path: Path, identity: dict[str, Any], device: str) -> tuple[Tensors, State] | None:
    """Weights and state, or None when there is no checkpoint of this very training.

    Raises:
        ArtifactError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt", device=device) as handle:
            note = json.loads(handle.metadata()["state"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: not a training checkpoint ({error})", "remove it; training then starts anew") from error
    if note["identity"] != json.loads(json.dumps(identity)):
        return None

    def part(prefix: str) -> Tensors:
        return {k.split(":", 1)[1]: v for k, v in tensors.items() if k.startswith(prefix + ":")}

    second = part("second")
    state = State(
        update=int(note["update"]),
        moments={k: (v, second[k]) for k, v in part("first").items()},
        curves=note["curves"],
        best=part("best"),
        best_loss=math.inf if note["best_loss"] is None else float(note["best_loss"]),
        pending=note["pending"],
    )
    return part("weight"), state
