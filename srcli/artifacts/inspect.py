"""What any artifact is, holds, and violates: the work behind `srcli info`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from srcli.artifacts import demo_writing, demos, evaluation, features, policy, study
from srcli.artifacts.core import (
    DEMOS,
    EVALUATION,
    FEATURES,
    POLICY,
    SCHEMA,
    SCHEMA_VERSION,
    SCHEMAS,
    SRCLI_VERSION,
    open_artifact,
    read_config,
    read_json,
)
from srcli.errors import ArtifactError


def describe(path: Path | str) -> dict[str, Any]:
    """What a file is and holds, as plain data.

    Raises:
        ArtifactError: missing, truncated, foreign, of another version or incomplete.
    """
    with open_artifact(path) as handle:
        name = str(handle.attrs[SCHEMA])
        return {
            "path": str(path),
            "kind": SCHEMAS[name].noun,
            "schema": name,
            "schema_version": int(handle.attrs[SCHEMA_VERSION]),
            "srcli_version": str(handle.attrs[SRCLI_VERSION]),
            "bytes": Path(path).stat().st_size,
            "summary": _SUMMARIES[name](handle),
            "config": read_config(handle),
            "contents": _contents(handle),
        }


def problems(path: Path | str) -> list[str]:
    """What contradicts the contract of a file, one line each; reads and checks every byte of it.

    Raises:
        ArtifactError: the file cannot be opened as an artifact at all.
    """
    with open_artifact(path) as handle:
        name = str(handle.attrs[SCHEMA])
    found = []
    try:
        with open_artifact(path) as handle:
            handle.visititems(_read_through)
        found += _CHECKS[name](Path(path))
    except ArtifactError as error:
        found.append(error.message)
    return found


def _read_through(_: str, item: h5py.Group | h5py.Dataset) -> None:
    if not isinstance(item, h5py.Dataset) or item.ndim == 0:
        return
    # Chunk by chunk: a file may be larger than the memory. The filters check the sums.
    for row in range(item.shape[0]) if item.chunks else ():
        item[row]


def _contents(handle: h5py.File) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    first: list[str] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        parts = name.split("/")
        if len(parts) > 2 and parts[1].startswith("demo_"):
            # All episodes look alike: one stands for them.
            first[:] = first or [parts[1]]
            if parts[1] != first[0]:
                return
        rows.append({"name": name, "shape": list(item.shape), "dtype": str(item.dtype)})

    handle.visititems(visit)
    return rows


def _demos_summary(handle: h5py.File) -> dict[str, Any]:
    groups = [handle[demo_writing.DATA][name] for name in handle[demo_writing.DATA]]
    reasons: dict[str, int] = {}
    for group in groups:
        for reason in group["outcome/reason"][()] if "outcome" in group else ():
            reasons[reason.decode()] = reasons.get(reason.decode(), 0) + 1
    attempts = int(handle[demo_writing.DATA].attrs["total"])
    counts = [int(c) for g in groups if "candidates" in g for c in g["candidates/count"][()]]
    return {
        "episodes": len(groups),
        "demonstrations": sum(int(g.attrs["demonstration"]) >= 0 for g in groups),
        "phases": _phases([p.decode() for g in groups if "outcome" in g for p in g["outcome/phase"][()]]),
        "attempts": attempts,
        "attempts_per_episode": attempts / max(len(groups), 1),
        "candidates_per_attempt": float(np.mean(counts)) if counts else 0.0,
        "reasons": dict(sorted(reasons.items())),
        "splits": {key: len(handle[demo_writing.MASK][key]) for key in handle[demo_writing.MASK]},
    }


def _phases(names: list[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}


def _features_summary(handle: h5py.File) -> dict[str, Any]:
    data = handle[features.DATA]
    return {
        "samples": len(data["label"]),
        "phases": _phases([features.PHASES[int(p)] for p in data["phase"][()]] if "phase" in data else []),
        "points": int(data["points"].shape[1]),
        "dimensions": int(data["features"].shape[2]),
        "candidates": int(data["candidates"].shape[1]),
        "encoder": read_json(handle, features.ENCODER),
        "splits": {key: len(handle[features.MASK][key]) for key in handle[features.MASK]},
    }


def _policy_summary(handle: h5py.File) -> dict[str, Any]:
    weights = handle[policy.WEIGHTS]
    curves = handle[policy.CURVES]
    lengths = sorted({int(curves[name].size) for name in curves})
    return {
        "method": handle.attrs.get(policy.METHOD, "") or "of the first version",
        "tensors": len(weights),
        "parameters": int(sum(weights[name].size for name in weights)),
        "encoder": read_json(handle, policy.ENCODER),
        "training": read_json(handle, policy.TRAINING),
        "curves": {"names": list(curves), "records": lengths[-1] if lengths else 0},
    }


def _evaluation_summary(handle: h5py.File) -> dict[str, Any]:
    return evaluation.read_summary(handle)


def _check_demos(path: Path) -> list[str]:
    return demos.DemoDataset(path, check=False).problems()


def _check_features(path: Path) -> list[str]:
    features.FeatureDataset(path).check_views()
    return []


def _check_policy(path: Path) -> list[str]:
    policy.load_policy(path)
    return []


def _check_evaluation(path: Path) -> list[str]:
    evaluation.load_evaluation(path)
    return []


_SUMMARIES: dict[str, Callable[[h5py.File], dict[str, Any]]] = {
    DEMOS.name: _demos_summary,
    FEATURES.name: _features_summary,
    POLICY.name: _policy_summary,
    EVALUATION.name: _evaluation_summary,
    study.ABLATION.name: study.study_summary,
    study.NOISE_SWEEP.name: study.study_summary,
    study.COMPARISON.name: study.study_summary,
}
_CHECKS: dict[str, Callable[[Path], list[str]]] = {
    DEMOS.name: _check_demos,
    FEATURES.name: _check_features,
    POLICY.name: _check_policy,
    EVALUATION.name: _check_evaluation,
    study.ABLATION.name: study.study_problems,
    study.NOISE_SWEEP.name: study.study_problems,
    study.COMPARISON.name: study.study_problems,
}
