"""Policy files of the first version: read by what they hold, with the scores that the first version gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srcli.artifacts.policy import PolicyFile, load_policy, save_policy
from srcli.errors import ArtifactError
from srcli.methods.a2.network import A2Network
from srcli.methods.a2.section import A2Config
from srcli.methods.policy_file import read_policy
from srcli.methods.registry import builder, shipped_folder, spec_of
from srcli.methods.scoring import ScoringPolicy, fitted_settings
from srcli.methods.sr.network import build_network
from srcli.methods.sr.section import SRConfig
from srcli.models.batch import Batch
from srcli.models.state import load_arrays

# Logits of the batch below (a pick, a placement), and the sum of the mask, as the first version's own code computed them.
KNOWN: dict[str, tuple[list[list[float]], float]] = {
    "base_plus": ([[6.1448, 3.23907, 3.54936], [2.01285, -1.08485, -1.99584]], 100.0),
    "sr_a_plus": ([[3.94681, 2.23036, 2.21136], [4.47916, 4.68609, -0.66613]], 23.1956),
    "sr_plus": ([[4.7287, 2.65074, 3.63256], [4.92047, 5.55128, 0.79264]], 23.1709),
    "sr_plus_relu": ([[4.74632, 2.2737, 2.81749], [4.90129, 5.55782, -0.22768]], 23.1778),
    "sr_plus_softmax": ([[4.54745, 1.54191, 2.39328], [4.76583, 5.22636, -1.11628]], 23.1786),
    "seen-only/base_plus": ([[5.24934, 3.56293, 3.91978], [1.06352, 0.36856, -0.52912]], 100.0),
    "seen-only/sr_a_plus": ([[2.90794, 0.15557, 2.43876], [3.65746, 5.81628, -2.53936]], 23.0685),
    "seen-only/sr_plus": ([[3.83716, 0.88186, 2.93977], [4.19096, 6.67283, -2.27523]], 23.0882),
}
A2_KNOWN = [[0.82768, 0.86222, 0.9659], [0.2386, 0.83974, 0.80758]]


def batch_of(dim: int) -> Batch:
    """A pick and a placement, from a seed."""
    rng = np.random.default_rng(17)

    def unit(*shape: int) -> Any:
        x = rng.normal(size=shape)
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    b, n, k, length = 2, 50, 3, 4
    features, text = unit(b, n, dim), unit(b, dim)
    middle = np.array([0.5, 0.0, 0.03])
    points = middle + rng.normal(0, 0.03, (b, n, 3))
    tokens = unit(b, length, dim)
    poses = np.concatenate([middle + rng.normal(0, 0.03, (b, k, 3)), unit(b, k, 4)], -1)
    arrays = {
        "points": points,
        "features": features,
        "similarity": np.einsum("bnd,bd->bn", features, text),
        "text": text,
        "tokens": tokens,
        "candidates": poses,
        "quality": rng.random((b, k)),
    }
    return Batch(
        **{name: torch.from_numpy(value.astype(np.float32)) for name, value in arrays.items()},
        point_mask=torch.ones(b, n, dtype=torch.bool),
        token_mask=torch.tensor([[True] * 4, [True] * 3 + [False]]),
        candidate_mask=torch.ones(b, k, dtype=torch.bool),
        place=torch.tensor([False, True]),
    )


def shipped_files() -> dict[str, Path]:
    folder = shipped_folder(spec_of("sr"))
    assert folder is not None
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.h5"))}


# Weights of this version name their method; those of the first have to give what they gave.
FIRST = {name: file for name, file in shipped_files().items() if not load_policy(file).method}


@pytest.mark.parametrize("name", FIRST)
def test_a_shipped_file_of_the_first_version_scores_as_it_did(name: str) -> None:
    stored = read_policy(FIRST[name])
    assert stored.method == Path(name).name
    section, dim = fitted_settings(SRConfig, stored.weights)
    network = build_network(section, dim, 0)
    load_arrays(network, stored.weights.arrays, name)
    with torch.inference_mode():
        scores = network.eval()(batch_of(dim))
    logits, mask = KNOWN[name]
    np.testing.assert_allclose(scores.logits.numpy(), logits, atol=1e-4)
    assert float(scores.mask.sum()) == pytest.approx(mask, abs=1e-3)


@pytest.mark.parametrize("name", FIRST)
def test_a_shipped_file_of_the_first_version_is_built_as_a_policy(name: str) -> None:
    stored, spec = read_policy(FIRST[name]), spec_of(Path(name).name)
    assert isinstance(builder(spec)(spec.section(), stored.weights, None, "cpu", 0), ScoringPolicy)


OLD_MODEL: dict[str, Any] = {
    "width": 24,
    "heads": 4,
    "stage1": {"direction": "text_query", "write_back": "mask+text", "similarity_gain": 3.0},
    "dssa": {"branch": "both", "sparse": "relu2", "sparse_norm": "rms", "dense_conv": "none", "position_rank": 8},
    "encoder": {"place": "points", "layers": 1, "expansion": 2},
    "stage2": {
        "locality": "auto",
        "locality_scale": 0.025,
        "quality": "auto",
        "readout": "auto",
        "mask": "on",
        "rings": "auto",
        "words": "on",
        "place_head": "shared",
    },
}
OLD_TRAINING = {"seed": 0, "updates": 3, "feature_dim": 16, "features": "", "metrics": {}, "train": {"updates": 3}}


def old_file(path: Path, weights: dict[str, Any], **changes: Any) -> Path:
    # A file without any weight is refused before it is asked what it is.
    weights = weights or {"head.4.bias": np.zeros(1, np.float32)}
    save_policy(path, weights, {**OLD_MODEL, **changes}, {"name": "x"}, {}, OLD_TRAINING)
    return path


def a2_weights() -> dict[str, Any]:
    """Values from a seed for the parameters that A2 has."""
    network = A2Network(A2Config.model_validate({"network": {"width": 24, "heads": 4}}).network, 16)
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    rng = np.random.default_rng(5)
    return {name: rng.normal(0, 0.3, shapes[name]).astype(np.float32) for name in sorted(shapes)}


def test_an_a2_of_the_first_version_stays_a2_with_positions_in_metres(tmp_path: Path) -> None:
    stored = read_policy(old_file(tmp_path / "a2.h5", a2_weights(), variant="a2"))
    assert stored.method == "a2"
    section, dim = fitted_settings(A2Config, stored.weights)
    assert section.network.positions == "metres" and section.train.updates == 3
    network = A2Network(section.network, dim)
    load_arrays(network, stored.weights.arrays, "a2.h5")
    with torch.inference_mode():
        logits = network.eval()(batch_of(dim)).logits
    np.testing.assert_allclose(logits.numpy(), A2_KNOWN, atol=1e-4)


SETTINGS = [
    ({"variant": "sr"}, "sr_plus"),
    ({"variant": "sr_a"}, "sr_a_plus"),
    ({"variant": "base"}, "base_plus"),
    ({"variant": "sr", "dssa": {"sparse": "relu", "sparse_norm": "none"}}, "sr_plus_relu"),
    ({"variant": "sr", "dssa": {"sparse": "softmax"}}, "sr_plus_softmax"),
    ({"variant": "sr", "stage2": {"words": "off", "rings": "off", "locality": "off", "quality": "off"}}, "sr_plus"),
]


@pytest.mark.parametrize(("changes", "method"), SETTINGS, ids=[str(s[0]) for s in SETTINGS])
def test_settings_of_the_first_version_are_found_again(changes: dict[str, Any], method: str, tmp_path: Path) -> None:
    stored = read_policy(old_file(tmp_path / "old.h5", {}, **changes))
    assert stored.method == method
    section, _ = fitted_settings(SRConfig, stored.weights)
    assert (section.network.width, section.network.heads) == (24, 4)
    stage2, additions = changes.get("stage2", {}), section.additions
    assert additions.rings == stage2.get("rings", "on")
    assert additions.quality == stage2.get("quality", "on")
    assert (additions.window, additions.sink) == (stage2.get("locality", "on"),) * 2
    assert additions.words == ("off" if method == "base_plus" else stage2.get("words", "on"))
    assert additions.sparse_norm == changes.get("dssa", {}).get("sparse_norm", "rms")
    assert section.network.stage1.use == ("off" if method == "base_plus" else "on")
    assert section.network.dssa.branch == ("dense" if method == "sr_a_plus" else "both")
    # What the first version did and the paper does not.
    assert (additions.cosine_start, additions.plain_points, additions.position_keys) == ("on",) * 3


@pytest.mark.parametrize("changes", [{"variant": "sr_b"}, {"variant": "sr", "dssa": {"sparse": "cubic"}}, {}])
def test_a_file_of_the_first_version_of_unknown_kind_is_refused_in_one_line(changes: dict[str, Any], tmp_path: Path) -> None:
    path = old_file(tmp_path / "old.h5", {}, **changes)
    with pytest.raises(ArtifactError, match=r"old\.h5: a policy of the first version that no method here knows$") as caught:
        read_policy(path)
    assert "\n" not in caught.value.message and "srcli train" in caught.value.hint


def test_weights_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    weights = a2_weights()
    del weights["head.0.weight"]
    stored = read_policy(old_file(tmp_path / "a2.h5", weights, variant="a2"))
    spec = spec_of("a2")
    with pytest.raises(ArtifactError, match=r"a2\.h5: weights and settings do not fit") as caught:
        builder(spec)(spec.section(), stored.weights, None, "cpu", 0)
    assert "\n" not in caught.value.message


def test_only_files_without_a_method_are_adopted(tmp_path: Path) -> None:
    path = tmp_path / "named.h5"
    weights = {"head.4.bias": np.zeros(1, np.float32)}
    save_policy(path, weights, SRConfig().model_dump(mode="json"), {}, {}, {"feature_dim": 8}, method="sr")
    assert read_policy(path).method == "sr"
    assert isinstance(load_policy(path), PolicyFile) and load_policy(path).method == "sr"
