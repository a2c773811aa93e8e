"""Policies: weights, configuration, encoder identity and training curves in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srcli.artifacts.core import (
    POLICY,
    array,
    atomic_write,
    check_target,
    create_artifact,
    open_artifact,
    put,
    read_config,
    read_json,
)
from srcli.artifacts.digests import to_json
from srcli.errors import ArtifactError

WEIGHTS, CURVES, ENCODER, TRAINING, METHOD = "weights", "curves", "encoder", "training", "method"
Array = npt.NDArray[Any]
_NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")
"""Types of weights: those that torch shares with numpy."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What a policy file holds.

    Attributes:
        weights: arrays by parameter name.
        config: the settings that it was fitted with.
        encoder: identity of the encoder it was trained with; nothing else may feed it. Empty where the method reads none.
        curves: training curves by name, one value per recorded step.
        training: how it was trained (seed, data, final numbers).
        method: identifier of the method; empty in files of the first version.
    """

    weights: dict[str, Array]
    config: dict[str, Any]
    encoder: dict[str, Any]
    curves: dict[str, Array]
    training: dict[str, Any]
    method: str = ""


def save_policy(
    path: Path | str,
    weights: Mapping[str, Array],
    config: Mapping[str, Any],
    encoder: Mapping[str, Any],
    curves: Mapping[str, Array] | None = None,
    training: Mapping[str, Any] | None = None,
    method: str = "",
) -> None:
    """Write a policy file atomically. Parameter names may contain dots, not slashes.

    Raises:
        DiskError: the disk is full or the place is not writable.
        ValueError: a name contains a slash.
    """
    with create_artifact(path, POLICY, config) as handle:
        handle.attrs[ENCODER] = to_json(dict(encoder))
        handle.attrs[TRAINING] = to_json(dict(training or {}))
        if method:
            handle.attrs[METHOD] = method
        for key, arrays in ((WEIGHTS, weights), (CURVES, curves or {})):
            group = handle.create_group(key)
            for name in sorted(arrays):
                if "/" in name:
                    raise ValueError(f"'{name}': a name must not contain a slash")
                put(group, name, np.ascontiguousarray(arrays[name]))


def load_policy(path: Path | str) -> PolicyFile:
    """Read a policy file and check its contract.

    Raises:
        ArtifactError: missing, damaged, foreign, of another version, incomplete, or it breaks its contract: no weights, weights
            that are no numbers or not finite, curves of different lengths.
    """
    with open_artifact(path, POLICY) as handle:
        method = handle.attrs.get(METHOD, "")
        if not isinstance(method, str):
            raise ValueError(f"attribute '{METHOD}' is no text")
        loaded = PolicyFile(
            weights={name: _weight(dataset) for name, dataset in handle[WEIGHTS].items()},
            config=read_config(handle),
            encoder=read_json(handle, ENCODER),
            curves={name: array(handle[CURVES], name, "fiu", 1) for name in handle[CURVES]},
            training=read_json(handle, TRAINING),
            method=method,
        )
    if found := _problems(loaded):
        raise ArtifactError(f"{path}: breaks its contract: {found[0]}", "train again with `srcli train`")
    return loaded


def _weight(dataset: Any) -> Array:
    value: Array = dataset[()]
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def _problems(loaded: PolicyFile) -> list[str]:
    found = [] if loaded.weights else ["holds no weights"]
    for name, value in loaded.weights.items():
        if value.dtype not in _NUMBERS:
            found.append(f"weight '{name}' holds no numbers")
        elif value.dtype.kind == "f" and not np.isfinite(value).all():
            found.append(f"weight '{name}' holds a value that is not finite")
    if len({len(curve) for curve in loaded.curves.values()}) > 1:
        found.append("the curves differ in length")
    return found


def export_safetensors(path: Path | str, output: Path | str) -> None:
    """Write a policy's weights as safetensors; configuration, encoder and training stand in its metadata as JSON.

    Raises:
        ArtifactError: the policy file cannot be used, or a file that is no export stands in the place of the output.
        DiskError: the disk is full or the place is not writable.
    """
    from safetensors.numpy import save

    policy = load_policy(path)
    metadata = {
        "config": to_json(policy.config),
        "encoder": to_json(policy.encoder),
        "training": to_json(policy.training),
        "method": policy.method,
    }
    data = save(policy.weights, metadata=metadata)
    _check_replaceable(Path(output))
    with atomic_write(output) as temporary:
        temporary.write_bytes(data)


def _check_replaceable(output: Path) -> None:
    """Refuse to replace what is no export of a policy."""
    from safetensors import SafetensorError, safe_open

    check_target(output)
    if not output.exists():
        return
    try:
        with safe_open(str(output), "np") as handle:
            own = {"config", "encoder", "training"} <= set(handle.metadata() or {})
    except (SafetensorError, OSError):
        own = output.stat().st_size == 0
    if not own:
        raise ArtifactError(f"{output}: is no export of srcli, so it is not replaced", "move it away, or give another output")
