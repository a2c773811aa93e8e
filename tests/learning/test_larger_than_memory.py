"""Features that do not fit: a bounded share in memory, the rest read when a batch needs it; the same batches to the bit."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from srcli.artifacts.features import LATER, FeatureDataset, create_features
from srcli.artifacts.seal import seal
from srcli.config.train import TrainConfig
from srcli.errors import ArtifactError
from srcli.learning.dataset import TrainingSet
from srcli.learning.trainer import Trainer
from srcli.methods.registry import settings, spec_of
from srcli.methods.sr.network import build_network
from srcli.methods.sr.section import SRConfig

COUNT, POINTS, DIM = 24, 200, 64
SAMPLE_BYTES = POINTS * DIM * 2
"""Of the largest array of a sample, and nearly all of it."""


def trained(data: TrainingSet) -> Any:
    """SR+ trained for a moment."""
    section = settings(spec_of("sr_plus"), SRConfig(), {"network.heads": 4})
    return Trainer(data, build_network(section, data.feature_dim, 2), CONFIG, {}, seed=2).run()


CONFIG = TrainConfig(updates=4, batch_size=6, points=32, validate_every=2)


def write(path: Path, count: int = COUNT, bad: int = -1) -> Path:
    """Samples of different sizes, picks and placements; ``bad`` breaks the contract of one."""
    rng = np.random.default_rng(0)
    with create_features(path, count, {"name": "made-up", "dim": DIM}, {}) as writer:
        for i in range(count):
            k, n = 5 + i % 3, POINTS - i % 4
            turn = rng.normal(size=(k, 4))
            writer.add(
                {
                    "points": rng.uniform(0.3, 0.6, (n, 3)),
                    "features": rng.normal(size=(n, DIM)),
                    "similarity": np.full(n, np.nan) if i == bad else rng.normal(size=n),
                    "point_mask": np.ones(n),
                    "text": rng.normal(size=DIM),
                    "tokens": rng.normal(size=(4, DIM)),
                    "token_mask": np.ones(4),
                    "candidates": np.hstack([rng.uniform(0.3, 0.6, (k, 3)), turn / np.linalg.norm(turn, axis=1, keepdims=True)]),
                    "candidate_mask": np.ones(k),
                    "widths": np.full(k, 0.05),
                    "quality": rng.uniform(size=k),
                    "label": np.asarray(i % 5),
                    "valid": np.arange(k) == i % 5,
                    "seed": np.array([0, 1, i]),
                    "source": np.asarray(i),
                    "file": np.asarray(0),
                    "phase": np.asarray(i % 2),
                },
                f"give me thing {i}",
            )
        writer.finish({"train": np.arange(count)[: count * 3 // 4], "valid": np.arange(count)[count * 3 // 4 :]})
    return path


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("features") / "features.h5")


def tensors(pair: tuple[object, object]) -> dict[str, torch.Tensor]:
    return {f"{type(part).__name__}.{f.name}": getattr(part, f.name) for part in pair for f in fields(part)}  # type: ignore[arg-type]


def assert_same(one: tuple[object, object], other: tuple[object, object]) -> None:
    first, second = tensors(one), tensors(other)
    for name, value in first.items():
        assert (value is None) == (second[name] is None), name
        assert value is None or torch.equal(value, second[name]), name


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_batches_are_those_of_the_whole_in_memory(features: Path, share: float) -> None:
    whole = FeatureDataset(features)
    memory = TrainingSet(whole.arrays, whole.split("train"), whole.split("valid"), whole.encoder)
    partly = TrainingSet.load(features, cache_bytes=int(share * COUNT * SAMPLE_BYTES))
    assert whole.held == COUNT
    assert 0.3 * share * COUNT <= partly.samples.held <= share * COUNT  # type: ignore[attr-defined]
    assert partly.feature_dim == memory.feature_dim == DIM
    for one, other in zip(partly.pools(), memory.pools(), strict=True):
        np.testing.assert_array_equal(one, other)
    indices = np.array([3, 17, 0, 16, 9, 1])
    assert_same(partly.batch(indices), memory.batch(indices))
    for seed in range(3):
        drawn = [data.training_batch(indices, CONFIG, np.random.default_rng(seed)) for data in (partly, memory)]
        assert_same(*drawn)


def test_a_file_larger_than_its_cache_trains_to_the_same_weights(features: Path) -> None:
    results = [trained(TrainingSet.load(features, cache_bytes=size)) for size in (4 * SAMPLE_BYTES, 1 << 30)]
    for name, value in results[1].weights.items():
        np.testing.assert_array_equal(results[0].weights[name], value)
    assert results[0].metrics == results[1].metrics


def test_memory_is_bounded_by_the_cache_and_not_by_the_file(tmp_path: Path) -> None:
    count = 160
    path = write(tmp_path / "features.h5", count)
    tracemalloc.start()
    try:
        data = TrainingSet.load(path, cache_bytes=8 * SAMPLE_BYTES)
        for start in range(0, count, 2):
            data.batch(np.array([start, start + 1]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # What is held, a block that is checked, a batch in float32, and the interpreter's own.
    assert 8 * SAMPLE_BYTES * 0.8 < peak < 40 * SAMPLE_BYTES


def test_threads_may_read_at_once(features: Path) -> None:
    data, whole = FeatureDataset(features, cache_bytes=3 * SAMPLE_BYTES), FeatureDataset(features).arrays
    order = np.random.default_rng(0).integers(COUNT, size=120)
    with ThreadPoolExecutor(4) as pool:
        for i, found in zip(order, pool.map(lambda i: data.sample(int(i), ("features", "label")), order), strict=True):
            np.testing.assert_array_equal(found["features"], whole["features"][i])
            assert found["label"] == whole["label"][i]


def test_every_array_can_be_had_whole(features: Path) -> None:
    partly, whole = FeatureDataset(features, cache_bytes=0), FeatureDataset(features)
    assert (partly.held, len(partly)) == (0, COUNT)
    assert partly.instructions == whole.instructions
    for name, value in whole.arrays.items():
        np.testing.assert_array_equal(partly.arrays[name], value)
        np.testing.assert_array_equal(partly.column(name), value)


def test_the_part_that_is_not_held_keeps_its_contract_too(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.h5", bad=COUNT - 2)
    with pytest.raises(ArtifactError, match=r"bad\.h5: breaks its contract: 'similarity' holds a value that is not finite"):
        FeatureDataset(path, cache_bytes=2 * SAMPLE_BYTES)
    with h5py.File(path, "r+") as handle:
        del handle["data/similarity"]
        handle["data/similarity"] = np.zeros((COUNT + 1, POINTS), np.float32)
    seal(path)
    with pytest.raises(ArtifactError, match="'similarity' has shape"):
        FeatureDataset(path)


def test_a_file_of_an_earlier_version_is_read_in_part(tmp_path: Path) -> None:
    path = write(tmp_path / "old.h5")
    with h5py.File(path, "r+") as handle:
        for name in LATER:
            del handle[f"data/{name}"]
    seal(path)
    data = TrainingSet.load(path, cache_bytes=2 * SAMPLE_BYTES)
    assert not data.pools()[1].size
    assert not data.batch(np.array([0, 15]))[1].place.any()


def test_a_file_that_is_replaced_meanwhile_is_still_the_one_that_was_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "features.h5")
    data = FeatureDataset(path, cache_bytes=0)
    before = data.sample(20, ("features",))["features"]
    write(path, COUNT // 2)
    np.testing.assert_array_equal(data.sample(20, ("features",))["features"], before)


def test_damage_beyond_what_is_held_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "damaged.h5")
    size = path.stat().st_size
    with path.open("rb+") as stream:
        stream.seek(size // 2)
        stream.write(bytes(size // 3))
    with pytest.raises(ArtifactError, match=r"damaged\.h5: is damaged"):
        FeatureDataset(path, cache_bytes=2 * SAMPLE_BYTES)
