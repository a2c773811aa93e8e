"""The noise sweep: what noise does, which policies serve, and what is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_fakes import ENCODER, FakeExecutor, tiny, without_pictures, write_features

import srcli.studies.noise_sweep as stage
from srcli.artifacts.study import NOISE_SWEEP, load_study
from srcli.config.noise import NoiseConfig
from srcli.errors import ArtifactError, ConfigError, MismatchError, MissingAssetError
from srcli.evaluation.methods import Method
from srcli.evaluation.statistics import Result
from srcli.methods.base import Decision
from srcli.methods.registry import settings, spec_of
from srcli.methods.scoring import disturb
from srcli.params import Params, method_settings
from srcli.stages import train
from srcli.studies import figures, policy_store
from srcli.studies.figures import draw_noise
from srcli.studies.tables import Episode, study_rows
from srcli.types import Candidates, Observation, Percept, SemanticCloud, TextEmbedding

NAMES = ("sr_plus_softmax", "sr_plus_relu", "sr_plus")


@pytest.fixture(autouse=True)
def _encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_pictures(monkeypatch)
    monkeypatch.setattr(stage, "encoder_identity", lambda params, device: dict(ENCODER))
    monkeypatch.chdir(tmp_path)


def cloud(count: int = 4000) -> SemanticCloud:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(count, 8)).astype(np.float32)
    return SemanticCloud(
        points=rng.uniform(0.3, 0.6, (count, 3)).astype(np.float32),
        features=features / np.linalg.norm(features, axis=1, keepdims=True),
        similarity=rng.uniform(0, 1, count).astype(np.float32),
        views=np.ones(count, np.uint8),
    )


@pytest.mark.parametrize(("unit", "sigma", "metres"), [("normalized", 0.1, 0.0224), ("metre", 0.03, 0.03)])
def test_position_noise_has_the_stated_size(unit: Any, sigma: float, metres: float) -> None:
    calm = cloud()
    noisy = disturb(calm, NoiseConfig(sigma=sigma, unit=unit, where="network"), np.random.default_rng(0))
    assert float((noisy.points - calm.points).std()) == pytest.approx(metres, rel=0.03)
    assert np.array_equal(noisy.features, calm.features) and np.array_equal(noisy.similarity, calm.similarity)


def test_feature_noise_leaves_positions() -> None:
    calm = cloud()
    noisy = disturb(calm, NoiseConfig(sigma=0.5, unit="feature", where="network"), np.random.default_rng(0))
    assert float((noisy.features - calm.features).std()) == pytest.approx(0.5 * float(calm.features.std()), rel=0.03)
    assert np.array_equal(noisy.points, calm.points)


def test_stronger_noise_is_the_same_noise_scaled() -> None:
    calm = cloud(20)
    moved = [disturb(calm, NoiseConfig(sigma=s), np.random.default_rng(3)).points - calm.points for s in (0.1, 0.3)]
    assert np.allclose(3 * moved[0], moved[1], atol=1e-6)


@pytest.fixture(scope="module")
def branches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Policies of the three branches."""
    folder = tmp_path_factory.mktemp("branches")
    features = write_features(folder / "features.h5")
    for name in NAMES:
        spec, section = method_settings(tiny(), name)
        train.run(spec, section, folder / f"{name}.h5", features=features)
    return {name: folder / f"{name}.h5" for name in NAMES}


def policy(file: Path, **noise: Any) -> Any:
    """The policy of a file, with noise on what it sees."""
    section = settings(spec_of("sr_plus"), method_settings(tiny(), "sr_plus")[1], {f"noise.{k}": v for k, v in noise.items()})
    return Method("m", "sr_plus", section, str(file)).build(None, "cpu")


def decision(seed: int, seen: SemanticCloud) -> Decision:
    poses = np.tile(np.array([0.45, 0.45, 0.45, 0, 0, 0, 1], np.float32), (6, 1))
    poses[:, 0] += np.linspace(-0.1, 0.1, 6).astype(np.float32)
    blank = np.zeros((0, 0, 0))
    tokens = np.eye(3, 8, dtype=np.float32)
    return Decision(
        task="pick",
        phase="pick",
        instruction="give me the thing",
        observation=Observation(blank.astype(np.uint8), blank.astype(np.float32), blank, blank),
        candidates=Candidates(poses, np.full(6, 0.05, np.float32), np.full(6, 0.5, np.float32)),
        excluded=np.zeros(6, bool),
        rng=np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 1)))),
        percept=lambda: Percept(seen, TextEmbedding(tokens[0], tokens, np.ones(3, bool))),
    )


def test_noise_is_part_of_how_a_policy_acts(branches: dict[str, Path]) -> None:
    seen = cloud(40)
    plain, noisy = policy(branches["sr_plus"]), policy(branches["sr_plus"], sigma=0.3, where="network")
    scores = [one.act(decision(7, seen)).scores for one in (plain, noisy, noisy)]
    assert not np.allclose(scores[0], scores[1]) and np.array_equal(scores[1], scores[2])
    assert not np.allclose(scores[1], noisy.act(decision(8, seen)).scores)


def test_the_generator_of_the_decision_is_left_as_it_was(branches: dict[str, Path]) -> None:
    asked = decision(7, cloud(40))
    policy(branches["sr_plus"], sigma=0.3, where="network").act(asked)
    assert asked.rng.random() == decision(7, cloud(40)).rng.random()


def test_methods_by_strength(tmp_path: Path) -> None:
    features = write_features(tmp_path / "features.h5")
    executor = FakeExecutor()
    summary = stage.run(tiny(), tmp_path / "out", features, policies_dir=tmp_path / "p", executor=executor)
    assert (summary.trained, summary.played) == (3, 3 * 3 * 4) and len(executor.setups) == 1
    methods = {m.name: m for m in executor.setups[0].methods}
    noisy = methods["sr_plus_relu-0.3-seed0"]
    assert noisy.section.noise == NoiseConfig(sigma=0.3, unit="normalized", where="cloud")
    assert noisy.path == methods["sr_plus_relu-0-seed0"].path and Path(str(noisy.path)).name.startswith("sr_plus_relu-seed0")
    # The network alone chooses, so that neither mask nor quality covers what the branches do.
    choice = noisy.section.choice
    assert (choice.align1, choice.align1_place, choice.prior, choice.prior_place, choice.align2) == (0, 0, 0, 0, 1)
    assert "chosen by what was learned alone" in summary.markdown
    rows = {r.arm: r for r in summary.rows}
    relu, whole = (rows[f"{name}-0.3"] for name in ("sr_plus_relu", "sr_plus"))
    assert relu.drop == pytest.approx(relu.rate - rows["sr_plus_relu-0"].rate)
    assert relu.diff == pytest.approx(relu.rate - whole.rate)
    assert rows["sr_plus_relu-0"].drop != rows["sr_plus_relu-0"].drop
    loaded = load_study(summary.results, NOISE_SWEEP)
    assert loaded.summary["arms"][-1]["sigma"] == 0.3 and len(loaded.episodes["key"]) == 36
    data = json.loads(summary.json.read_text())
    assert data["metrics"]["pick/unseen/sr_plus-0"]["success"] == 1.0
    assert "| pick | unseen | SR+, σ 0.1 | 0 | 4/4" in summary.table.read_text()
    assert summary.figure.stat().st_size > 5000
    again = FakeExecutor()
    second = stage.run(
        tiny(noise={"sigma": [0.1, 0.2, 0.3]}), tmp_path / "out", features, policies_dir=tmp_path / "p", executor=again
    )
    assert second.trained == 0 and {name.split("-")[1] for name, _ in again.played} == {"0.2"}


def test_the_control_stands_under_noise_too(tmp_path: Path) -> None:
    features, executor = write_features(tmp_path / "features.h5"), FakeExecutor()
    params = tiny(noise={"sigma": [0.3], "methods": ["sr_plus", "untrained:sr_plus"]})
    summary = stage.run(params, tmp_path / "out", features, policies_dir=tmp_path / "p", executor=executor)
    assert summary.trained == 1
    rows = {r.arm: r for r in summary.rows}
    assert rows["untrained:sr_plus-0.3"].episodes == 3 * 4 and rows["untrained:sr_plus-0.3"].drop == pytest.approx(
        rows["untrained:sr_plus-0.3"].rate - rows["untrained:sr_plus-0"].rate
    )


def test_without_noise_means_without_that_of_the_methods_own_section() -> None:
    params = Params.model_validate(
        {"methods": {"sr": {"noise": {"sigma": 0.2}}}, "noise": {"sigma": [0.1], "methods": ["sr_plus"]}}
    )
    arms = {arm.name: method_settings(arm.params, "sr_plus", arm.acts)[1].noise.sigma for arm in stage.noise_arms(params)}
    assert arms == {"sr_plus-0": 0.0, "sr_plus-0.1": 0.1}


def test_a_control_alone_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    executor = FakeExecutor()
    with pytest.raises(ConfigError, match="alone is a control"):
        stage.run(tiny(noise={"methods": ["untrained:sr_plus"]}), tmp_path / "out", executor=executor)
    assert not executor.played


def test_a_method_that_takes_no_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'random' takes no noise"):
        stage.run(tiny(noise={"methods": ["random"]}), tmp_path / "out", executor=FakeExecutor())


def test_first_attempts_are_counted_with_intervals_and_compared(tmp_path: Path) -> None:
    def episodes(arm: str, attempts: Sequence[int]) -> list[Episode]:
        return [
            Episode(arm, 0, "pick", Result(arm, "unseen", f"k{i}", f"c{i}", True, n, reasons=("wrong_object",) * (n - 1)))
            for i, n in enumerate(attempts)
        ]

    played = [*episodes("calm", [1] * 9 + [2]), *episodes("noisy", [1] * 5 + [2] * 5)]
    calm, noisy = study_rows(played, {}, {"noisy": "calm"}, resamples=200)
    assert calm.rate == noisy.rate == 1.0 and noisy.drop == 0.0
    assert (calm.first, noisy.first) == (0.9, 0.5) and calm.first_low < 0.9 < calm.first_high
    assert noisy.first_drop == pytest.approx(-0.4) and noisy.first_drop_low < -0.4 < noisy.first_drop_high <= 0.0
    path = draw_noise(tmp_path / "noise.png", (calm, noisy), {"calm": ("relu2", 0.0), "noisy": ("relu2", 0.3)}, "metres")
    above, below = (np.asarray(half) for half in np.split(_pixels(path), [_pixels(path).shape[0] // 2]))
    # The line of all attempts stays at the top, that of first attempts falls.
    assert _slope(above) < 5 < _slope(below)
    arms = {"calm": ("relu2", 0.0), "noisy": ("relu2", 0.3)}
    once = draw_noise(tmp_path / "once.png", (calm, noisy), arms, "metres", attempts=1)
    assert _pixels(once).shape[0] < 0.7 * _pixels(path).shape[0]  # success and first attempt are the same: shown once


@pytest.mark.parametrize(("controls", "told"), [((0,), "n = 4"), ((0, 1, 2), "n = 4 to 12")])
def test_a_panel_says_how_many_episodes_its_rows_have(
    controls: tuple[int, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control of several initialisations is pooled: its episodes are not those of the trained rows beside it."""
    titles: list[str] = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: titles.extend(ax.get_title() for ax in figure.axes) or path)
    played = [
        Episode(arm, seed, "pick", Result(arm, "unseen", f"k{i}", f"c{i}", True, 1))
        for arm, seeds in (("sr", (0,)), ("untrained", controls))
        for seed in seeds
        for i in range(4)
    ]
    figures.draw_arms(tmp_path / "a.png", study_rows(played, {}, resamples=50), {"sr": "SR", "untrained": "SR, untrained"})
    assert titles == [f"pick, unseen: {told}"]


def _pixels(path: Path) -> np.ndarray[Any, Any]:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def _slope(half: np.ndarray[Any, Any]) -> float:
    """Height difference in pixels of the first branch's line, a third and two thirds of the way."""
    ink = np.abs(half - np.array([0x1B, 0x6C, 0xA8])).sum(2) < 40
    rows = [float(np.nonzero(ink[:, half.shape[1] * part // 10])[0].mean()) for part in (4, 7)]
    return rows[1] - rows[0]


def test_the_choice_can_be_that_of_the_whole_system(tmp_path: Path) -> None:
    features, executor = write_features(tmp_path / "features.h5"), FakeExecutor()
    params = tiny(noise={"choice": "combined"})
    summary = stage.run(params, tmp_path / "out", features, policies_dir=tmp_path / "p", executor=executor)
    choice = executor.setups[0].methods[0].section.choice
    assert choice == params.methods.sr.choice and "chosen as each method is used" in summary.markdown


def test_shipped_policies_serve_where_nothing_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, branches: dict[str, Path]
) -> None:
    monkeypatch.setattr(policy_store, "shipped_file", lambda name, encoder: branches[name])
    summary = stage.run(tiny(), tmp_path / "new", executor=FakeExecutor())
    assert (summary.given, summary.trained) == (3, 0)
    assert "shipped with the package" in summary.notes[0] and summary.notes[0] in summary.markdown


def test_with_nothing_at_all_it_says_what_to_run_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str, encoder: object) -> Path:
        raise MissingAssetError(f"no policy '{name}' is shipped")

    monkeypatch.setattr(policy_store, "shipped_file", none)
    with pytest.raises(ArtifactError, match="no features there") as caught:
        stage.run(tiny(), tmp_path / "out", executor=FakeExecutor())
    assert "srcli collect" in caught.value.hint and "srcli featurize" in caught.value.hint


def test_without_training_a_missing_branch_is_named(tmp_path: Path) -> None:
    features = write_features(tmp_path / "features.h5")
    with pytest.raises(MissingAssetError, match=r"'SR\+, softmax branch' was not trained"):
        stage.run(tiny(), tmp_path / "out", features, train=False, policies_dir=tmp_path / "p", executor=FakeExecutor())


def test_features_of_another_encoder_are_refused(tmp_path: Path) -> None:
    features = write_features(tmp_path / "features.h5", {"name": "another", "dim": 8})
    with pytest.raises(MismatchError, match="encoder 'another "):
        stage.run(tiny(), tmp_path / "out", features, policies_dir=tmp_path / "p", executor=FakeExecutor())
