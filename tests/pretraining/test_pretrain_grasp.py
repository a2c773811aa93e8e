"""Making the network that rates grasps: outcomes, fit, calibration, resuming, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srcli.actions.closing import ClosingNetwork, Regions, load_network
from srcli.actions.features import FEATURES
from srcli.config.pretrain import GraspConfig
from srcli.errors import MismatchError, SceneError
from srcli.parallel.serial import SerialExecutor
from srcli.params import Params
from srcli.pretraining.grasp_quality import fitting, outcomes
from srcli.pretraining.grasp_quality.outcomes import Outcomes, PileJob
from srcli.stages import pretrain_grasp

SMALL = GraspConfig(
    piles=2, valid_piles=1, grasps=6, objects_min=3, objects_max=3, points=32, width=4, steps=4, batch=8, explored=1.0
)


def _params(**changes: Any) -> Params:
    params = Params()
    config = SMALL.model_copy(update=changes)
    return params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"grasp": config})})


def made_up(total: int, seed: int) -> Outcomes:
    """A grasp holds when there is something between the fingers, told by points alone."""
    rng = np.random.default_rng(seed)
    points = rng.uniform([-0.07, -0.03, -0.07], [0.07, 0.03, 0.03], (total, outcomes.STORED_POINTS, 3)).astype(np.float32)
    held = rng.random(total) < 0.5
    aside = np.abs(points[..., 0]) < 0.03
    points[..., 0] = np.where(aside & ~held[:, None], 0.04 * np.sign(points[..., 0]), points[..., 0])
    count = rng.integers(20, outcomes.STORED_POINTS, total)
    points[np.arange(points.shape[1]) >= count[:, None]] = 0
    grasps = np.tile(np.array([0.06, 0.03, 1.0], np.float32), (total, 1))
    features = rng.normal(size=(total, len(FEATURES))).astype(np.float32)
    return Outcomes(
        Regions(points, count, grasps, features), held, np.full(total, 0.5, np.float32), held | True, np.arange(total)
    )


def test_the_fit_learns_what_holds_and_is_calibrated() -> None:
    config = SMALL.model_copy(update={"steps": 150, "batch": 64, "width": 8, "learning_rate": 5e-3})
    told: list[int] = []
    network = fitting.fit(config, made_up(400, 0), made_up(200, 1), lambda done, values: told.append(done))
    fresh = made_up(200, 2)
    score = fitting.scores(network, fresh)
    assert ((score > 0.5) == fresh.held).mean() > 0.95
    assert told[-1] == 150
    again = fitting.fit(config, made_up(400, 0), made_up(200, 1), lambda done, values: None)
    for name, value in network.weights.items():
        np.testing.assert_array_equal(value, again.weights[name])


def test_calibration_undoes_a_scale_and_a_shift() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 2, 20000)
    held = (rng.random(20000) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    network = ClosingNetwork({"logit.weight": np.ones((1, 3), np.float32), "logit.bias": np.zeros(1, np.float32)}, 8)
    found = fitting.calibrated(network, 4.0 * truth + 3.0, held)
    assert found.weights["logit.weight"][0, 0] == pytest.approx(0.25, rel=0.1)
    assert found.weights["logit.bias"][0] == pytest.approx(-0.75, abs=0.08)


def test_calibration_on_outcomes_that_are_told_apart_stays_finite() -> None:
    network = ClosingNetwork({"logit.weight": np.ones((1, 3), np.float32), "logit.bias": np.zeros(1, np.float32)}, 8)
    found = fitting.calibrated(network, np.array([-1e-6, 1e-6]), np.array([0.0, 1.0]))
    assert all((np.abs(value) <= 200).all() for value in found.weights.values())


def test_thinned_regions_hold_points_of_the_whole() -> None:
    regions = made_up(6, 3).regions
    for rng in (None, np.random.default_rng(0)):
        few = fitting.thinned(regions, 16, rng)
        assert (few.count == np.minimum(regions.count, 16)).all()
        for row in range(6):
            whole = {tuple(p) for p in regions.points[row, : regions.count[row]]}
            chosen = [tuple(p) for p in few.points[row, : few.count[row]]]
            assert set(chosen) <= whole
            assert len(set(chosen)) == len(chosen)


def test_outcomes_of_piles_to_a_network_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    params, out, cache = _params(), tmp_path / "grasp.safetensors", tmp_path / "cache"
    summary = pretrain_grasp.run(params, out, cache, executor=SerialExecutor())
    assert summary.grasps == len(outcomes.load(cache, [PileJob("train", n) for n in range(2)]))
    note = json.loads(out.with_suffix(".json").read_text())
    assert note["sha256"] == load_network(out).sha256 == summary.sha256
    for split in ("seen", "unseen"):
        for name in ("network", "shape"):
            row = note["metrics"][split][name]["all"]
            assert 0 <= row["held"] <= row["n"] <= params.pretrain.grasp.grasps
    first = out.read_bytes()

    # One pile is lost: it alone is played again, to the same bytes.
    lost = outcomes.pile_path(cache, PileJob("train", 1))
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npz") if path != lost}
    lost.unlink()
    pretrain_grasp.run(params, out, cache, executor=SerialExecutor())
    assert out.read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in kept} == kept

    with pytest.raises(MismatchError, match=r"pretrain\.grasp\.grasps"):
        pretrain_grasp.run(_params(grasps=5), out, cache, executor=SerialExecutor())
    # A damaged one as well, and that is said.
    whole = lost.read_bytes()
    for damaged in (whole[:200], b"no"):
        lost.write_bytes(damaged)
        pretrain_grasp.run(params, out, cache, executor=SerialExecutor())
        assert lost.read_bytes() == whole and out.read_bytes() == first
    assert caplog.text.count("it is made again") == 2

    def nothing(job: PileJob) -> dict[str, Any]:
        arrays = dict(np.load(outcomes.pile_path(cache, PileJob("train", 0))))
        return {**arrays, "held": np.zeros_like(arrays["held"])}

    monkeypatch.setattr(outcomes, "play", nothing)
    with pytest.raises(SceneError, match="teaches nothing"):
        pretrain_grasp.run(params, out, tmp_path / "other", executor=SerialExecutor())


def test_unseen_objects_are_never_learned_from() -> None:
    from srcli.objects import catalogue

    known = catalogue()
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert {model.name for model in outcomes._models("train", 15, rng)} <= set(known.seen)
        assert {model.name for model in outcomes._models("valid_unseen", 15, rng)} <= set(known.unseen)
