"""The ablation: nothing is trained twice, all arms play the same episodes, differences are paired, a kill costs little."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from study_fakes import ENCODER, FakeExecutor, tiny, without_pictures, write_features

import srcli.studies.ablate as stage
from srcli.artifacts.policy import load_policy
from srcli.artifacts.study import ABLATION, load_study, study_problems
from srcli.errors import ArtifactError, ConfigError, MismatchError, MissingAssetError, SrcliError, UnknownNameError
from srcli.evaluation.statistics import Result
from srcli.methods.sr.studies import STUDIES
from srcli.params import Params, method_settings
from srcli.params.loading import override
from srcli.studies import policy_store
from srcli.studies.policy_store import effective
from srcli.studies.tables import NOTES, POOLED, Episode, at_once, markdown, study_rows


@pytest.fixture(autouse=True)
def _encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    without_pictures(monkeypatch)
    monkeypatch.setattr(stage, "encoder_identity", lambda params, device: dict(ENCODER))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, FakeExecutor]:
    """A folder with a finished ablation, its summary and what was played."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        patch.setattr(stage, "encoder_identity", lambda params, device: dict(ENCODER))
        return folder, *run(folder)


@pytest.fixture
def done(finished: tuple[Path, Any, FakeExecutor], tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(finished[0], tmp_path / "copy"))


def run(folder: Path, **options: Any) -> tuple[Any, FakeExecutor]:
    executor = options.pop("executor", FakeExecutor())
    params = options.pop("params", tiny())
    features = folder / "features.h5"
    if not features.exists():
        write_features(features)
    policies = options.pop("policies_dir", folder / "policies")
    summary = stage.run(params, folder / "out", features, policies_dir=policies, executor=executor, **options)
    return summary, executor


def test_variants_by_training_seed_and_pooled(finished: tuple[Path, Any, FakeExecutor]) -> None:
    folder, summary, executor = finished
    assert (summary.trained, summary.reused, summary.played) == (6, 0, 6 * 8)
    keys = {name: [k for n, k in executor.played if n == name] for name, _ in executor.played}
    assert len(keys) == 6 and len({tuple(k) for k in keys.values()}) == 1
    assert len(summary.rows) == 2 * 3 * 3
    pooled = {r.arm: r for r in summary.rows if r.split == "unseen" and r.seed == POOLED}
    assert (pooled["sr_plus"].episodes, pooled["sr_plus"].cases, pooled["sr_plus"].rate) == (8, 4, 1.0)
    base = pooled["base_plus"]
    assert base.diff == pytest.approx(base.rate - 1.0) and base.diff_low <= base.diff <= base.diff_high
    assert base.steps_diff == pytest.approx(base.steps - 2.0)
    assert pooled["sr_plus"].diff != pooled["sr_plus"].diff
    loaded = load_study(summary.results, ABLATION)
    assert len(loaded.episodes["key"]) == 48 and len(loaded.rows["arm"]) == 18 and not study_problems(summary.results)
    data = json.loads(summary.json.read_text())
    assert {p["origin"] for p in data["policies"]} == {"trained"} and len(data["policies"]) == 6
    assert data["scale"]["seeds"] == [0, 1] and data["rows"][0]["drop"] is None
    assert "| pick | unseen | SR-A+ | pooled |" in summary.table.read_text()
    assert summary.figure.stat().st_size > 5000
    trained = {load_policy(p).training["seed"] for p in (folder / "policies").glob("base_plus-*.h5")}
    assert trained == {0, 1}


def test_again_nothing_is_trained_or_played_and_the_bytes_are_the_same(done: Path) -> None:
    before = (done / "out" / "ablation.h5").read_bytes()
    summary, executor = run(done)
    assert (summary.trained, summary.reused, summary.played, summary.kept) == (0, 6, 0, 48) and not executor.played
    assert summary.results.read_bytes() == before


def test_goes_on_after_a_breakdown_in_the_evaluation(done: Path) -> None:
    whole = (done / "out" / "ablation.h5").read_bytes()
    shutil.rmtree(done / "out")
    with pytest.raises(SrcliError, match="died"):
        run(done, executor=FakeExecutor(breaks_after=5))
    summary, executor = run(done)
    assert summary.results.read_bytes() == whole
    assert summary.trained == 0 and 0 < len(executor.played) <= 48 - 12


def test_goes_on_after_a_breakdown_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import srcli.stages.train as train

    real, calls = train.run, []

    def dies(*args: Any, progress: Any, **kwargs: Any) -> Any:
        def told(update: int, updates: int, message: str) -> None:
            calls.append(update)
            if len(calls) == 7:
                raise KeyboardInterrupt
            progress(update, updates, message)

        return real(*args, progress=told, **kwargs)

    monkeypatch.setattr(train, "run", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert calls == [1, 2, 3, 4, 1, 2, 3]
    del calls[:]
    calls.extend([0] * 100)
    run(tmp_path)
    # The first policy is there; the second goes on after its checkpoint at update 2.
    assert calls[100:102] == [3, 4] and len(calls) == 100 + 2 + 4 * 4


def test_a_given_policy_is_not_trained(done: Path) -> None:
    one = tiny(ablate={"seeds": [1], "methods": ["base_plus", "sr_plus"]})
    file = next((done / "policies").glob("sr_plus-seed1-*.h5"))
    summary, _ = run(done, policies=[f"sr_plus={file}"], params=one, policies_dir=done / "elsewhere")
    assert (summary.given, summary.trained) == (1, 1) and not summary.notes
    longer = override(one, {"methods.sr.train.updates": 5})
    summary, _ = run(done, policies=[f"sr_plus={file}"], params=longer, policies_dir=done / "elsewhere")
    assert "train.updates (4 -> 5)" in summary.notes[0] and summary.notes[0] in summary.table.read_text()


def test_a_policy_that_does_not_fit_is_refused(done: Path) -> None:
    base = next((done / "policies").glob("base_plus-seed1-*.h5"))
    with pytest.raises(MismatchError, match="is a policy of 'base_plus'"):
        run(done, policies=[f"sr_plus={base}"])
    with pytest.raises(MismatchError, match="seed 1"):
        run(done, policies=[f"base_plus={base}"], params=tiny(ablate={"seeds": [0]}))
    with pytest.raises(UnknownNameError, match="bse"):
        run(done, policies=[f"bse={base}"])


def test_missing_and_foreign_features(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no features there") as caught:
        stage.run(tiny(), tmp_path, tmp_path / "none.h5", executor=FakeExecutor())
    assert "srcli featurize" in caught.value.hint
    write_features(tmp_path / "other.h5", {"name": "another", "dim": 8})
    with pytest.raises(MismatchError, match="encoder 'another "):
        stage.run(tiny(), tmp_path, tmp_path / "other.h5", executor=FakeExecutor())
    write_features(tmp_path / "count.h5", cloud={"count": 7})
    with pytest.raises(MismatchError, match=r"cloud\.count"):
        stage.run(tiny(), tmp_path, tmp_path / "count.h5", executor=FakeExecutor())


def test_without_training_a_missing_variant_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match=r"'BASE\+' was not trained with seed 0"):
        run(tmp_path, train=False)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_changes_what_it_says(name: str) -> None:
    _, arms, reference = stage.plan(tiny(), name)
    assert reference == arms[0].name and len(arms) >= 2
    assert len({(arm.params.model_dump_json(), arm.acts_with().model_dump_json()) for arm in arms}) == len(arms)
    assert len({arm.name for arm in arms}) == len(arms)
    # The reference is the default, so that a policy trained for anything else serves here, too.
    assert arms[0].params == stage.at_scale(tiny(), tiny().ablate.study)
    assert arms[0].trained_with() == method_settings(tiny(), "sr_plus")[1]
    needs = STUDIES[name].needs
    assert (len({arm.params.cloud for arm in arms}) == 1) == (needs != "features")
    assert (len({arm.trained_with().model_dump_json() for arm in arms}) == 1) == (needs != "training")


def test_combining_needs_one_policy_and_as_many_ways_of_choosing(tmp_path: Path) -> None:
    summary, executor = run(tmp_path, study="combine")
    assert summary.trained == 1 and summary.results.name == "study-combine.h5"
    methods = {m.name: m for m in executor.setups[0].methods}
    assert len(methods) == len(STUDIES["combine"].values) and len({m.path for m in methods.values()}) == 1
    choice = methods["1align-seed0"].section.choice
    assert (choice.align1, choice.align2, choice.prior, choice.meant) == (1, 0, 0, 1)


def test_a_control_is_one_row_of_the_mean_and_needs_no_training(tmp_path: Path) -> None:
    params = tiny(ablate={"methods": ["sr_plus", "untrained:sr_plus"], "seeds": [0]})
    summary, executor = run(tmp_path, params=params)
    assert summary.trained == 1
    controls = [m for m in executor.setups[0].methods if m.control]
    assert [m.seed for m in controls] == [0, 1, 2] and {m.method for m in controls} == {"sr_plus"}
    rows = {r.arm: r for r in summary.rows if r.split == "unseen"}
    control = rows["untrained:sr_plus"]
    assert (control.seed, control.episodes, control.cases) == (POOLED, 12, 4)
    # Paired with the one training seed of the reference, episode by episode.
    assert control.diff == pytest.approx(control.rate - rows["sr_plus"].rate)
    assert 0 < control.wilson_high - control.wilson_low < 1
    assert "SR+, untrained" in summary.table.read_text()


def test_attribution_leaves_out_each_part(tmp_path: Path) -> None:
    summary, executor = run(tmp_path, study="attribution", params=tiny(ablate={"seeds": [0]}))
    assert (summary.trained, summary.results.name) == (1, "study-attribution.h5")
    methods = {m.name: m for m in executor.setups[0].methods}
    assert len({m.path for m in methods.values() if not m.control}) == 1
    assert methods["without_rings-seed0"].section.bypass == ("rings",)
    assert methods["without_choice_quality-seed0"].section.choice.prior == 0.0
    assert "without_cosine_start-seed0" not in methods, "a start is gone after training"
    rows = {r.arm: r for r in summary.rows}
    assert set(rows) == {name.rpartition("-seed")[0] for name in methods}
    assert rows["without_rings"].diff == pytest.approx(rows["without_rings"].rate - rows["full"].rate)


def test_attribution_with_training_compares_what_was_trained_alike(tmp_path: Path) -> None:
    params = tiny(ablate={"seeds": [0], "attribution": {**tiny().ablate.attribution.model_dump(mode="json"), "retrain": True}})
    _, arms, _ = stage.plan(params, "attribution")
    trained = {arm.name: arm for arm in arms if arm.name.startswith("anew")}
    assert {arm.against for arm in trained.values()} == {"anew"}
    assert {"anew_rings", "anew_cosine_start", "anew_one_align"} <= set(trained) and "anew_choice_rule" not in trained
    assert len({json.dumps(effective(a.spec, a.trained_with()), sort_keys=True) for a in trained.values()}) == len(trained)


def test_parts_that_an_identifier_does_not_have_are_not_left_out() -> None:
    params = tiny()
    parts = {name: {arm.facts["part"] for arm in stage.plan(params, "attribution", name)[1]} for name in ("base_plus", "sr")}
    assert "rings" in parts["base_plus"] and not {"one_align", "words", "dssa"} & parts["base_plus"]
    assert {"one_align", "dssa", "sparse"} <= parts["sr"] and not {"rings", "window", "choice_rule"} & parts["sr"]
    with pytest.raises(ConfigError, match="declares no parts"):
        stage.plan(params, "attribution", "random")


def test_a_study_of_the_network_reuses_the_reference(done: Path) -> None:
    summary, _ = run(done, study="mask")
    assert (summary.trained, summary.reused) == (1, 1)


def test_other_points_are_featurized_and_evaluated_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import srcli.stages.featurize as featurize

    made: list[tuple[str, tuple[Path, ...]]] = []

    def fake(params: Any, demos: Any, out: Path, **options: Any) -> None:
        made.append((params.cloud.norm, tuple(demos)))
        write_features(out)

    monkeypatch.setattr(featurize, "run", fake)
    demos = (tmp_path / "pick.h5",)
    with pytest.raises(ArtifactError, match="no demonstrations"):
        run(tmp_path, study="fusion_norm", demos=demos)
    demos[0].write_bytes(b"demonstrations")
    summary, executor = run(tmp_path, study="fusion_norm", demos=demos)
    assert made == [("count", demos)]
    assert [setup.cloud.norm for setup in executor.setups] == ["weight", "count"]
    assert {r.arm: r.diff == r.diff for r in summary.rows} == {"weight": False, "count": True}


def test_pairs_are_of_one_training_seed_and_cases_stay_together() -> None:
    def episode(arm: str, seed: int, index: int, wins: bool) -> Episode:
        return Episode(arm, seed, "pick", Result(arm, "seen", f"k{index}", f"case{index % 2}", wins, 1 if wins else 3))

    # b wins exactly where a loses, but in the other training seed: unpaired seeds would cancel out.
    episodes = [episode("a", s, i, s == 0) for s in (0, 1) for i in range(4)]
    episodes += [episode("b", s, i, s == 1) for s in (0, 1) for i in range(4)]
    rows = {(r.arm, r.seed): r for r in study_rows(episodes, {"a": "b", "b": "b"}, resamples=200)}
    assert (rows["a", 0].diff, rows["a", 1].diff, rows["a", POOLED].diff) == (1.0, -1.0, 0.0)
    assert (rows["a", POOLED].only_arm, rows["a", POOLED].only_reference) == (4, 4)
    assert rows["a", POOLED].cases == 2 and rows["a", 0].steps_diff == -2.0
    # All cases agree within a training, and the trainings contradict each other: the pooled interval says so.
    for name in ("diff", "first_diff"):
        assert [getattr(rows["a", POOLED], f"{name}_{end}") for end in ("low", "high")] == [-1.0, 1.0]
    assert (rows["a", POOLED].steps_diff_low, rows["a", POOLED].steps_diff_high) == (-2.0, 2.0)
    assert (rows["a", POOLED].low, rows["a", POOLED].high) == (0.0, 1.0)


def test_a_table_of_single_attempts_has_no_columns_of_first_ones() -> None:
    results = [Result(arm, "seen", f"k{i}", f"k{i}", i > 1, 1) for arm in ("a", "b") for i in range(4)]
    rows = study_rows([Episode(r.method, 0, "pick", r) for r in results], {"a": "b"}, resamples=20)
    one, more = markdown(rows, {}, attempts=1), markdown(rows, {}, attempts=8)
    assert one.splitlines()[0] == "| task | split |  | training seed | success | diff |"
    assert more.splitlines()[0].count("first") == 2 and "| steps |" in more
    for text in (one, more):
        heads = text.splitlines()[0]
        assert all((f"| {name} |" in heads) == (f"`{name}`:" in text) for name in NOTES)
    assert markdown((), {}, attempts=8).startswith("| task |")


def test_a_control_beside_trainings_that_differ_is_no_certain_difference() -> None:
    """One training solves everything, the other nothing: what another would do, nobody knows."""
    episodes = [Episode("sr", s, "pick", Result("sr", "seen", f"k{i}", f"k{i}", s == 1, 1)) for s in (1, 2) for i in range(9)]
    episodes += [
        Episode("raw", s, "pick", Result("raw", "seen", f"k{i}", f"k{i}", False, 1)) for s in (0, 1, 2) for i in range(9)
    ]
    rows = study_rows(episodes, {"raw": "sr"}, resamples=50, untaught=["raw"])
    (control,) = (r for r in rows if r.arm == "raw")
    assert (control.diff, control.diff_low, control.diff_high) == (-0.5, -1.0, 0.0) and control.episodes == 27
    assert (control.only_arm, control.only_reference) == (0, 9)


def test_what_learns_nothing_is_paired_with_all_training_seeds() -> None:
    def episode(arm: str, seed: int, index: int, wins: bool) -> Episode:
        return Episode(arm, seed, "pick", Result(arm, "seen", f"k{index}", f"k{index}", wins, 1))

    episodes = [episode("sr", s, i, s == 1) for s in (1, 2) for i in range(4)]
    episodes += [episode("random", 0, i, False) for i in range(4)]
    (random,) = (r for r in study_rows(episodes, {"random": "sr"}, resamples=50, untaught=["random"]) if r.arm == "random")
    assert (random.seed, random.diff) == (POOLED, -0.5)
    learned = {r.seed: r.diff for r in study_rows(episodes, {"sr": "random"}, resamples=50, untaught=["random"]) if r.arm == "sr"}
    assert learned == {1: 1.0, 2: 0.0, POOLED: 0.5}
    # What a row is compared with changes nothing of its own.
    alone, beside = (
        next(r for r in study_rows(episodes, references, resamples=50, untaught=["random"]) if (r.arm, r.seed) == ("sr", POOLED))
        for references in ({}, {"sr": "random"})
    )
    assert (alone.wilson_low, alone.wilson_high, alone.first_low) == (beside.wilson_low, beside.wilson_high, beside.first_low)


def test_steps_are_of_the_scenes_that_were_set_up() -> None:
    def episode(arm: str, index: int, steps: int) -> Episode:
        return Episode(arm, 0, "pick", Result(arm, "seen", f"k{index}", f"k{index}", steps > 0, steps, not_set_up=steps == 0))

    episodes = [episode(arm, i, steps) for arm, steps in (("a", 4), ("b", 2)) for i in range(3)]
    episodes += [episode(arm, 3, 0) for arm in "ab"]
    rows = {r.arm: r for r in study_rows(episodes, {"a": "b"}, resamples=50)}
    assert (rows["a"].steps, rows["b"].steps, rows["a"].steps_diff, rows["a"].episodes) == (4.0, 2.0, 2.0, 4)


def test_a_first_attempt_in_a_task_of_another_package_is_one_of_each_phase() -> None:
    results = [Result("a", "seen", "k", "k", True, n, task="sort", phases=("pick", "place")) for n in (2, 3)]
    assert [r.success for r in at_once(results)] == [True, False]


def test_a_study_plays_its_own_scale_whatever_limits_an_evaluation() -> None:
    limited = override(Params(), {"evaluate.limit": 5})
    assert stage.at_scale(limited, limited.ablate).evaluate.limit == 0


@pytest.mark.parametrize("name", ["vlg", "vlp"])
def test_regions_that_a_policy_was_trained_with_make_it_another(name: str, tmp_path: Path) -> None:
    store = policy_store.PolicyStore(tmp_path, {})
    paths = {
        store.path(policy_store.Arm(name, name, Params(), name, changes), 0, None)
        for changes in ({}, {"regions.alike": 0.5}, {"regions.alike": 0.6})
    }
    assert len(paths) == 3


def test_shipped_policies_are_compared_where_nothing_is_there(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_store, "shipped_file", lambda name, encoder=None: next(done.glob(f"policies/{name}-seed0-*.h5")))
    monkeypatch.chdir(done)
    summary = stage.run(tiny(), done / "shipped", executor=FakeExecutor())
    assert (summary.given, summary.trained) == (3, 0) and len(summary.rows) == 2 * 3
    assert "shipped with the package" in summary.markdown
    # With features there they have to be asked for; one attempt is a scale of its own.
    params = tiny(ablate={"attempts": 1})
    executor = FakeExecutor()
    summary = stage.run(params, done / "asked", policies_dir=done / "policies", packaged=True, executor=executor)
    assert (summary.given, summary.trained, summary.reused) == (3, 0, 0)
    assert summary.notes[0].startswith("'base_plus': policy of the package, trained with ")
    assert {setup.attempts for setup in executor.setups} == {1} and ", 1 attempt, " in summary.markdown
    assert "| first |" not in summary.markdown and "`Δsteps`" in summary.markdown, "the made-up episodes take more steps"


def test_of_the_package_what_belongs_to_another_encoder_is_left_out(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_store, "shipped_file", lambda name, encoder=None: next(done.glob(f"policies/{name}-seed0-*.h5")))
    monkeypatch.setattr(stage, "encoder_identity", lambda params, device: {**ENCODER, "name": "another"})
    params = tiny(ablate={"methods": ["base_plus", "random"], "reference": "base_plus"})
    summary = stage.run(params, done / "other", packaged=True, executor=FakeExecutor())
    assert {row.arm for row in summary.rows} == {"random"} and "'base_plus' is left out" in summary.markdown


def test_shipped_policies_stand_for_no_other_network_and_no_other_points(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Params()
    arms = stage.plan(plain, "attribution", "sr_plus")[1]
    assert {kept.origin for kept in policy_store.shipped_policies(arms, plain).values()} == {"shipped"}
    deeper = override(plain, {"methods.sr.network.encoder.layers": 2})
    assert policy_store.shipped_policies(stage.plan(deeper, "attribution", "sr_plus")[1], deeper) == {}
    assert policy_store.shipped_policies(stage.plan(plain, "points", "sr_plus")[1], plain) == {}
    (kept,) = {k.note for k in policy_store.shipped_policies(stage.plan(plain, "", "sr_plus")[1], plain).values()}
    assert "trained otherwise than the parameters say" in kept and "updates (250 -> 600)" in kept


def test_the_package_has_no_policy_for_other_points(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Params()
    for study in ("points", "fusion_norm"):
        with pytest.raises(MissingAssetError, match="a form of SR"):
            policy_store.packaged_policies(stage.plan(plain, study, "sr_plus")[1], plain, lambda: dict(ENCODER))


def test_where_the_package_has_nothing_for_an_encoder_no_empty_table_is_written(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_store, "shipped_file", lambda name, encoder=None: next(done.glob(f"policies/{name}-seed0-*.h5")))
    monkeypatch.setattr(stage, "encoder_identity", lambda params, device: {**ENCODER, "name": "another"})
    params = tiny(ablate={"methods": ["base_plus"], "reference": "base_plus"})
    with pytest.raises(MissingAssetError, match="'base_plus' is left out"):
        stage.run(params, done / "other", packaged=True, executor=FakeExecutor())
    assert not (done / "other" / "ablation.h5").exists()


def test_features_of_other_demonstrations_are_not_compared(tmp_path: Path) -> None:
    demos = (tmp_path / "pick.h5",)
    demos[0].write_bytes(b"demonstrations")
    arms = stage.plan(tiny(), "fusion_norm", "sr_plus")[1]
    told = {
        "other demonstrations": {"sources": [{"sha256": "0" * 64}]},
        "featurize.relabel = 4, not 0": {"asked": {"relabel": 4}},
    }
    for message, config in told.items():
        features = write_features(tmp_path / f"{len(message)}.h5", config=config)
        with pytest.raises(MismatchError, match=message):
            policy_store.features_of(arms, tiny(), features, demos, tmp_path, 1, "cpu", None)


def test_a_given_policy_serves_the_reference_of_a_study(done: Path) -> None:
    file = next((done / "policies").glob("sr_plus-seed0-*.h5"))
    params = tiny(ablate={"seeds": [0]})
    summary, executor = run(done, study="mask", method="sr_plus", params=params, policies=[f"sr_plus={file}"])
    assert summary.given == 1 and summary.trained == 1
    assert {m.name: m.path == str(file) for m in executor.setups[0].methods} == {"on-seed0": True, "off-seed0": False}


def test_a_task_that_is_done_is_told_while_others_are_played(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_store, "shipped_file", lambda name, encoder=None: next(done.glob(f"policies/{name}-seed0-*.h5")))
    told: list[str] = []
    both = {"tasks": ["pick", "place"]}
    stage.run(tiny(ablate=both), done / "both", packaged=True, executor=FakeExecutor(), tell=told.append)
    (table,) = told
    rows = [line for line in table.splitlines() if line.startswith("| pick |")]
    assert len(rows) == 2 * 3 and all("/4  " in row for row in rows), "the four scenes of the first task alone"
    # One task alone has its table at the end, and so has what was there before.
    stage.run(tiny(), done / "one", packaged=True, executor=FakeExecutor(), tell=told.append)
    stage.run(tiny(ablate=both), done / "both", packaged=True, executor=FakeExecutor(), tell=told.append)
    assert told == [table]
