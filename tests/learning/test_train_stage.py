"""The stage: features file in; policy, curves, figure and numbers out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from srcli.artifacts.features import create_features
from srcli.artifacts.policy import load_policy
from srcli.config.train import TrainConfig
from srcli.errors import ArtifactError
from srcli.methods.sr.section import ModelConfig
from srcli.methods.sr.trainer import Progress
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


def test_stage_writes_policy_curves_figure_and_numbers(tmp_path: Path) -> None:
    write_features(tmp_path / "features.h5")
    seen: list[Progress] = []
    config = TrainConfig(updates=4, batch_size=4, validate_every=2)
    summary = stage.run(
        ModelConfig(heads=4), config, tmp_path / "features.h5", tmp_path / "out" / "policy.h5", seed=1, progress=seen.append
    )
    assert [p.update for p in seen] == [1, 2, 3, 4] and {p.updates for p in seen} == {4}
    assert (summary.updates, summary.samples, summary.variant) == (4, 8, "sr")
    stored = load_policy(summary.path)
    assert stored.encoder == {"name": "made-up", "dim": 16}
    assert ModelConfig.model_validate(stored.config) == ModelConfig(heads=4)
    assert stored.training["metrics"]["loss"] == summary.valid_loss
    rows = list(csv.DictReader(summary.curves.open()))
    assert [int(r["update"]) for r in rows] == [2, 4]
    assert min(float(r["valid_loss"]) for r in rows) == pytest.approx(summary.valid_loss, rel=1e-4)
    assert summary.figure.read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "out" / "policy.metrics.json").read_text())
    assert numbers["samples"] == 8 and numbers["place_rate"] == summary.place_rate and 0 <= summary.pick_rate <= 1
    assert not list((tmp_path / "out").glob("*.checkpoint"))
    first = summary.path.read_bytes()
    stage.run(ModelConfig(heads=4), config, tmp_path / "features.h5", tmp_path / "out" / "policy.h5", seed=1)
    assert summary.path.read_bytes() == first


def test_missing_features_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"absent\.h5"):
        stage.run(ModelConfig(), TrainConfig(updates=1), tmp_path / "absent.h5", tmp_path / "policy.h5")
