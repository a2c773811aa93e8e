"""Policies: weights, configuration, encoder identity and training curves in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srcli.artifacts.core import POLICY, atomic_write, create_artifact, open_artifact, put, read_config, to_json

WEIGHTS, CURVES, ENCODER, TRAINING, METHOD = "weights", "curves", "encoder", "training", "method"
Array = npt.NDArray[Any]


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
    """Read a policy file.

    Raises:
        ArtifactError: missing, damaged, foreign, of another version or incomplete.
    """
    with open_artifact(path, POLICY) as handle:
        return PolicyFile(
            weights={name: dataset[()] for name, dataset in handle[WEIGHTS].items()},
            config=read_config(handle),
            encoder=json.loads(handle.attrs[ENCODER]),
            curves={name: dataset[()] for name, dataset in handle[CURVES].items()},
            training=json.loads(handle.attrs[TRAINING]),
            method=str(handle.attrs.get(METHOD, "")),
        )


def export_safetensors(path: Path | str, output: Path | str) -> None:
    """Write a policy's weights as safetensors; configuration, encoder and training stand in its metadata as JSON.

    Raises:
        ArtifactError: the policy file cannot be used.
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
    with atomic_write(output) as temporary:
        temporary.write_bytes(data)
