"""Features and results: padding, contract, round trip."""

import numpy as np
import pytest

from srcli.artifacts.evaluation import load_evaluation, save_evaluation
from srcli.artifacts.features import LAYOUT, VIEWS, FeatureDataset, create_features
from srcli.artifacts.inspect import problems
from srcli.artifacts.seal import seal
from srcli.errors import ArtifactError


def rows(n=5, k=3, label=1):
    rng = np.random.default_rng(n)
    sizes = {"N": n, "D": 4, "L": 6, "K": k, "3": 3, "7": 7}
    out = {}
    for name, (dtype, axes) in LAYOUT.items():
        shape = tuple(sizes[a] for a in axes)
        out[name] = np.ones(shape, bool) if dtype is np.bool_ else rng.normal(size=shape).astype(dtype)
    out["label"], out["phase"] = np.asarray(label), np.asarray(n % 2)
    return out


def test_padding_and_round_trip(tmp_path):
    path = tmp_path / "features.h5"
    samples = [rows(5, 3), rows(9, 2), rows(7, 6, label=5)]
    with create_features(path, 3, {"name": "e"}, {"x": 1}) as writer:
        for i, sample in enumerate(samples):
            writer.add(sample, f"sentence {i}")
        writer.finish({"train": np.array([0, 2]), "valid": np.array([1])})
    data = FeatureDataset(path)
    assert len(data) == 3 and data.encoder == {"name": "e"} and data.config == {"x": 1}
    assert data.arrays["points"].shape == (3, 9, 3) and data.arrays["candidates"].shape == (3, 6, 7)
    assert data.arrays["point_mask"].sum(axis=1).tolist() == [5, 9, 7]
    assert data.arrays["candidate_mask"].sum(axis=1).tolist() == [3, 2, 6]
    assert data.split("train").tolist() == [0, 2] and data.instructions[1] == "sentence 1"
    for i, sample in enumerate(samples):
        for name, value in sample.items():
            stored = data.arrays[name][i]
            np.testing.assert_array_equal(stored[tuple(slice(0, s) for s in value.shape)], value)
            if stored.ndim and value.shape != stored.shape:
                assert not stored[value.shape[0] :].any()
    assert {name: str(a.dtype) for name, a in data.arrays.items()} == {n: str(np.dtype(d)) for n, (d, _) in LAYOUT.items()}
    with pytest.raises(ArtifactError, match="no split 'test'"):
        data.split("test")


def test_too_few_or_malformed_samples_leave_no_file(tmp_path):
    path = tmp_path / "features.h5"
    with pytest.raises(ArtifactError, match="1 samples where 2"), create_features(path, 2, {}, {}) as writer:
        writer.add(rows(), "a")
        writer.finish({})
    bad = rows()
    bad["text"] = np.zeros((2, 4), np.float32)
    with pytest.raises(ArtifactError, match="'text' has 2 axes"), create_features(path, 1, {}, {}) as writer:
        writer.add(bad, "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"label": 7}, "a label names no candidate"),
        ({"phase": 2}, "'phase' names no phase"),
        ({"similarity": np.full(5, np.nan)}, "'similarity' holds a value that is not finite"),
        ({"candidate_mask": np.array([True, False, True])}, "a label names no candidate"),
        ({"candidate_mask": np.array([False, True, True])}, "'valid' marks a padded candidate"),
        ({"tokens": np.zeros((5, 4))}, "'token_mask' has 6 where other arrays have 5"),
    ],
)
def test_contradictions_are_named(tmp_path, change, text):
    path = tmp_path / "features.h5"
    with create_features(path, 1, {}, {}) as writer:
        writer.add(rows() | change, "a")
        writer.finish({"train": np.array([0])})
    with pytest.raises(ArtifactError, match=text):
        FeatureDataset(path)


def test_files_of_an_earlier_version_hold_picks_of_one_file(tmp_path):
    import h5py

    path = tmp_path / "features.h5"
    with create_features(path, 2, {}, {}) as writer:
        writer.add(rows(5), "a")
        writer.add(rows(7), "b")
        writer.finish({"train": np.array([0, 1])})
    assert FeatureDataset(path).arrays["phase"].tolist() == [1, 1]
    with h5py.File(path, "r+") as handle:
        del handle["data/phase"], handle["data/file"]
    seal(path)
    data = FeatureDataset(path)
    assert data.arrays["phase"].tolist() == [0, 0] and data.arrays["file"].tolist() == [0, 0]


def test_split_outside(tmp_path):
    path = tmp_path / "features.h5"
    with create_features(path, 1, {}, {}) as writer:
        writer.add(rows(), "a")
        writer.finish({"train": np.array([3])})
    with pytest.raises(ArtifactError, match="split 'train' points outside"):
        FeatureDataset(path)


def test_evaluation_round_trip(tmp_path):
    path = tmp_path / "result.h5"
    episodes = {"policy": ["sr", "a2"], "success": [True, False], "attempts": np.array([1, 8]), "text": ["", "über"]}
    attempts = {"reason": [], "slot": []}
    summary = {"rows": [{"k": 1, "n": 2, "share": np.float64(0.5)}], "long": "x" * 100_000}
    save_evaluation(path, episodes, attempts, summary, {"suite": "wide"})
    found = load_evaluation(path)
    assert list(found.episodes) == list(episodes)
    assert found.episodes["policy"].tolist() == ["sr", "a2"] and found.episodes["text"].tolist() == ["", "über"]
    assert found.episodes["success"].tolist() == [True, False] and found.episodes["attempts"].tolist() == [1, 8]
    assert len(found.attempts["reason"]) == 0
    assert found.summary["rows"][0]["share"] == 0.5 and len(found.summary["long"]) == 100_000
    assert found.config == {"suite": "wide"}
    with pytest.raises(ValueError, match="differ in length"):
        save_evaluation(path, {"a": [1], "b": [1, 2]}, {}, {}, {})


def views(n=4, p=6):
    rng = np.random.default_rng(n)
    sizes = {"C": n, "D": 4, "P": p, "3": 3}
    return {
        name: np.ones([sizes[a] for a in axes], bool)
        if dtype is np.bool_
        else rng.uniform(0, 1, [sizes[a] for a in axes]).astype(dtype)
        for name, (dtype, axes) in VIEWS.items()
    }


def viewed(path, *changes):
    """A features file with whole views, one sample for each change of them."""
    with create_features(path, len(changes), {}, {}) as writer:
        for change in changes:
            writer.add(rows() | views() | change, "a")
        writer.finish({"train": np.arange(len(changes))})


@pytest.mark.parametrize("block", [1, 1 << 26])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cell_points": np.full((4, 3), np.nan)}, "'cell_points' holds a value that is not finite"),
        ({"surface_mask": np.zeros(6, bool)}, "'surface_mask' leaves a sample empty"),
        ({"cell_mask": np.ones(9, bool)}, "'cell_mask' has 9 where other arrays have 4"),
    ],
)
def test_whole_views_are_checked_with_the_rest(tmp_path, monkeypatch, change, text, block):
    monkeypatch.setattr("srcli.artifacts.features.BLOCK_BYTES", block)
    viewed(tmp_path / "good.h5", {}, {}, {})
    assert problems(tmp_path / "good.h5") == []
    viewed(tmp_path / "bad.h5", {}, {}, change)
    (found,) = problems(tmp_path / "bad.h5")
    assert text in found
    with pytest.raises(ArtifactError, match=text):
        FeatureDataset(tmp_path / "bad.h5").views()


@pytest.mark.parametrize("name", VIEWS)
def test_a_part_of_the_whole_views_is_refused(tmp_path, name):
    import h5py

    path = tmp_path / "features.h5"
    viewed(path, {})
    with h5py.File(path, "r+") as handle:
        del handle["data"][name]
    seal(path)
    assert [f"no '{name}'" in found for found in problems(path)] == [True]
    with pytest.raises(ArtifactError, match="holds only a part of the whole views"):
        FeatureDataset(path)
