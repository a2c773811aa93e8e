"""The stage: features file in; policy, curves, figure and numbers out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from srcli.artifacts.features import create_features
from srcli.artifacts.policy import load_policy
from srcli.errors import ArtifactError, ConfigError
from srcli.methods.policy_file import read_policy
from srcli.methods.registry import settings, spec_of
from srcli.methods.sr.section import SRConfig
from srcli.stages import train as stage


def write_features(path: Path, count: int = 10, dim: int = 16) -> None:
    rng = np.random.default_rng(0)
    with create_features(path, count, {"name": "made-up", "dim": dim}, {}) as writer:
        for i in range(count):
            k, n = 5 + i % 3, 12 + i % 4
            quaternions = rng.normal(size=(k, 4))
            writer.add(
                {
                    "points": rng.uniform(0.3, 0.6, (n, 3)),
                    "features": rng.normal(size=(n, dim)),
                    "similarity": rng.normal(size=n),
                    "point_mask": np.ones(n),
                    "text": rng.normal(size=dim),
                    "tokens": rng.normal(size=(4, dim)),
                    "token_mask": np.ones(4),
                    "candidates": np.concatenate(
                        [rng.uniform(0.3, 0.6, (k, 3)), quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)], 1
                    ),
                    "candidate_mask": np.ones(k),
                    "widths": np.full(k, 0.05),
                    "quality": np.full(k, 0.5),
                    "label": np.asarray(i % 5),
                    "valid": np.arange(k) == i % 5,
                    "seed": np.array([0, 1, i]),
                    "source": np.asarray(i),
                    "file": np.asarray(0),
                    "phase": np.asarray(i % 2),
                },
                "give me the thing",
            )
        writer.finish({"train": np.arange(8), "valid": np.arange(8, count)})


SPEC = spec_of("sr_plus")
SMALL = {"network.heads": 4, "train.updates": 4, "train.batch_size": 4, "train.validate_every": 2}
SECTION = settings(SPEC, SRConfig(), SMALL)


def test_stage_writes_policy_curves_figure_and_numbers(tmp_path: Path) -> None:
    features, out = tmp_path / "features.h5", tmp_path / "out" / "policy.h5"
    write_features(features)
    seen: list[tuple[int, int, str]] = []
    summary = stage.run(SPEC, SECTION, out, features=features, seed=1, progress=lambda *told: seen.append(told))
    assert [update for update, _, _ in seen] == [1, 2, 3, 4] and {updates for _, updates, _ in seen} == {4}
    assert (summary.updates, summary.samples, summary.method) == (4, 8, "sr_plus")
    stored = load_policy(summary.path)
    assert stored.encoder == {"name": "made-up", "dim": 16} and stored.method == "sr_plus"
    assert stored.config == SECTION.model_dump(mode="json")
    assert stored.training["metrics"]["loss"] == summary.metrics["loss"]
    assert summary.curves is not None and summary.figure is not None
    rows = list(csv.DictReader(summary.curves.open()))
    assert [int(r["update"]) for r in rows] == [2, 4]
    assert min(float(r["valid_loss"]) for r in rows) == pytest.approx(summary.metrics["loss"], rel=1e-4)
    assert summary.figure.read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "out" / "policy.metrics.json").read_text())
    assert numbers["samples"] == 8 and numbers["valid_place_rate"] == summary.metrics["place_rate"]
    assert not list((tmp_path / "out").glob("*.checkpoint"))
    first = summary.path.read_bytes()
    stage.run(SPEC, SECTION, out, features=features, seed=1)
    assert summary.path.read_bytes() == first
    arrays = read_policy(summary.path).weights.arrays
    assert summary.parameters == sum(a.size for a in arrays.values())


def test_missing_features_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"absent\.h5"):
        stage.run(SPEC, SECTION, tmp_path / "policy.h5", features=tmp_path / "absent.h5")


def test_what_learns_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'random' learns nothing"):
        stage.run(spec_of("random"), spec_of("random").section(), tmp_path / "policy.h5")
    with pytest.raises(ConfigError, match="is trained on features"):
        stage.run(SPEC, SECTION, tmp_path / "policy.h5")
