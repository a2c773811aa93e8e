"""The comparison: all methods on the same scenes, nothing trained or played twice, one that fails costs its own rows alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from study_fakes import ENCODER, FakeExecutor, MadeUp, tiny, without_pictures, write_features

import srcli.studies.compare as stage
from srcli.artifacts.study import COMPARISON, load_study, study_problems
from srcli.errors import ArtifactError, ConfigError, MismatchError, SceneError, UnknownNameError
from srcli.methods.registry import Broken
from srcli.params import Params
from srcli.perception.encoders.interface import EncoderIdentity
from srcli.reporting.comparison import conditions, markdown
from srcli.reporting.compose import compose
from srcli.reporting.result_files import gather
from srcli.studies.compare.plan import plan_parts
from srcli.studies.compare.policies import given_files


@pytest.fixture(autouse=True)
def _encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    without_pictures(monkeypatch)
    monkeypatch.setattr(EncoderIdentity, "as_dict", lambda self: dict(ENCODER))
    monkeypatch.setattr("srcli.perception.encoders.load_encoder", lambda config, device="cpu": MadeUp())
    monkeypatch.setattr("srcli.studies.policy_store.encoder_identity", lambda params, device: dict(ENCODER))


def section(**changes: Any) -> Params:
    values = {"episodes": 4, "tasks": ["pick", "place"], "methods": ["sr", "a2", "random"], "timed": 0, "train": "all", **changes}
    a2 = {"network": {"width": 8, "heads": 2}, "train": {"updates": 4, "batch_size": 2, "validate_every": 2, "points": 0}}
    params = tiny(compare=values)
    data = params.model_dump(mode="json")
    data["methods"]["a2"] = {**data["methods"]["a2"], "network": {**data["methods"]["a2"]["network"], **a2["network"]}}
    data["methods"]["a2"]["train"] |= a2["train"]
    return Params.model_validate_json(json.dumps(data))


def run(folder: Path, params: Params | None = None, **options: Any) -> tuple[stage.Summary, FakeExecutor]:
    executor = options.pop("executor", FakeExecutor())
    features = folder / "features.h5"
    if not features.exists():
        write_features(features)
    summary = stage.run(params or section(), folder / "out", features=features, executor=executor, **options)
    return summary, executor


def test_every_method_plays_the_same_scenes_with_its_control(tmp_path: Path) -> None:
    summary, executor = run(tmp_path)
    assert summary.trained == ("sr", "a2") and not summary.left_out
    played: dict[str, list[str]] = {}
    for name, key in executor.played:
        played.setdefault(name, []).append(key)
    assert set(played) == {"sr", "a2", "random", *(f"untrained:{name}#{seed}" for name in ("sr", "a2") for seed in range(3))}
    assert len({tuple(sorted(keys)) for keys in played.values()}) == 1 and len(played["sr"]) == 2 * 2 * 4
    data = json.loads(summary.json.read_text())
    assert [part["part"] for part in data["parts"]] == ["wide/pick", "wide/place"]
    rows = {(row["method"], row["split"]): row for row in data["parts"][0]["rows"]}
    assert rows["untrained:sr", "seen"]["n"] == 12 and rows["sr", "seen"]["n"] == 4
    assert rows["a2", "unseen"]["to_reference"] and rows["a2", "unseen"]["to_control"] and not rows["sr", "seen"]["to_reference"]
    sr = data["methods"]["sr"]
    assert (sr["updates"], sr["passes"], sr["samples"]) == (4, 8, 3) and sr["parameters"] > 1000
    assert sr["data"] == data["methods"]["a2"]["data"] and sr["minutes"] is not None
    assert data["methods"]["random"]["actions"] == "candidates"
    text = summary.table.read_text()
    assert "| *SR, untrained* |" in text and "| A2 |" in text and "same demonstrations" in text
    assert summary.figure.stat().st_size > 5000
    loaded = load_study(summary.results, COMPARISON)
    assert len(loaded.rows["arm"]) == 2 * 2 * 5 and not study_problems(summary.results)


def test_again_nothing_is_trained_or_played_and_a_new_method_is_played_alone(tmp_path: Path) -> None:
    before = run(tmp_path)[0].table.read_text()
    summary, executor = run(tmp_path)
    assert not summary.trained and not executor.played and summary.table.read_text() == before
    more, executor = run(tmp_path, section(methods=["sr", "a2", "random", "quality"]))
    assert {name for name, _ in executor.played} == {"quality"} and not more.trained


def test_what_fails_in_training_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import srcli.stages.train as train

    real = train.run

    def fails(spec: Any, *args: Any, **options: Any) -> Any:
        if spec.name == "a2":
            raise SceneError("the training loss is nan at update 3", "lower the learning rate")
        return real(spec, *args, **options)

    monkeypatch.setattr(train, "run", fails)
    summary, executor = run(tmp_path, section(methods=["sr", "a2", "a2_quality", "random"]))
    assert set(summary.left_out) == {"a2", "a2_quality"} and "loss is nan" in summary.left_out["a2"]
    assert not any("a2" in name for name, _ in executor.played)
    assert "a2: could not be trained: the training loss is nan" in summary.table.read_text().replace("\\", "")


def test_without_features_only_what_needs_training_is_left_out(tmp_path: Path) -> None:
    summary = stage.run(section(methods=["random", "sr"], reference="random"), tmp_path / "out", executor=FakeExecutor())
    assert "no features to train it on" in summary.left_out["sr"]
    assert set(summary.parts["wide/pick"]) == {"seen random", "unseen random"}


def test_a_method_has_a_row_only_where_it_can_do_the_task() -> None:
    parts = plan_parts(section(methods=["sr", "thinkgrasp"], tasks=["pick", "place"]))
    assert [part.methods for part in parts] == [("sr", "thinkgrasp"), ("sr",)]
    with pytest.raises(ConfigError, match="none of the methods can do the task 'place'"):
        plan_parts(section(methods=["thinkgrasp"], reference="thinkgrasp", tasks=["place"]))


def test_mistakes_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="srr"):
        run(tmp_path, section(methods=["sr", "srr"]))
    with pytest.raises(ConfigError, match=r"compare\.reference"):
        run(tmp_path, section(reference="base"))
    with pytest.raises(UnknownNameError, match="base"):
        run(tmp_path, policies=[f"base={write_features(tmp_path / 'f.h5')}"])
    with pytest.raises((ArtifactError, MismatchError)):
        run(tmp_path, policies=[f"sr={tmp_path / 'features.h5'}"])
    assert not (tmp_path / "out" / "policies").exists()


def test_a_folder_of_case_files_is_a_part_of_its_own(tmp_path: Path) -> None:
    cases = tmp_path / "mine"
    cases.mkdir()
    (cases / "one.yaml").write_text(
        "cases:\n  - {name: one, instruction: give me the apple, objects: [apple, banana], targets: [apple]}\n"
    )
    parts = plan_parts(section(), [cases])
    assert [part.name for part in parts] == ["wide/pick", "wide/place", "cases/mine"]
    assert parts[2].episodes == 4 and parts[2].task == "pick"


def test_the_report_shows_it(tmp_path: Path) -> None:
    from srcli.reporting.blocks import Section

    run(tmp_path)
    report = compose(gather([tmp_path / "out"]), Section("cases", "Cases", ()))
    assert "comparison" in [part.anchor for part in report.sections]


def test_a_new_process_knows_its_own_file(tmp_path: Path) -> None:
    run(tmp_path)
    out = tmp_path / "out" / "compare.h5"
    code = "import sys, pathlib, srcli.studies.compare; from srcli.artifacts.core import check_replaceable as check; "
    code += "check(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(out)], check=True)


def test_without_any_method_left_the_reasons_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no method of the comparison can be played \(sr: .*no features"):
        stage.run(section(methods=["sr"]), tmp_path / "out", executor=FakeExecutor())


def test_a_broken_package_costs_its_own_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"foreign": Broken("foreign", "somebodys", "ImportError: no torch")}
    for place in ("plan", "policies"):
        monkeypatch.setattr(f"srcli.studies.compare.{place}.broken", lambda: bad)
    summary, executor = run(tmp_path, section(methods=["random", "foreign"], reference="random"))
    assert "ImportError" in summary.left_out["foreign"] and {name for name, _ in executor.played} == {"random"}


def test_a_policy_may_be_given_by_any_identifier_that_acts_with_it(tmp_path: Path) -> None:
    run(tmp_path)
    (file,) = (tmp_path / "out" / "policies").glob("a2-*.h5")
    given = given_files([f"a2_quality={file}"], ["a2", "a2_quality"])
    assert given == {"a2": file}
    with pytest.raises(UnknownNameError, match="sr"):
        given_files([f"sr={file}"], ["a2"])


def test_weights_of_another_encoder_are_not_taken_for_ours(tmp_path: Path) -> None:
    summary, _ = run(tmp_path, section(methods=["sr", "random"], train="missing"))
    assert summary.trained == ("sr",), "the shipped policy has learned from another encoder's features"


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    text = "cases:\n  - {name: one, instruction: give me the apple, objects: [apple, banana], targets: [apple]}\n"
    folders = [tmp_path / side / "pick" for side in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "one.yaml").write_text(text)
    with pytest.raises(ConfigError, match="several folders of cases are named 'pick'"):
        plan_parts(section(), folders)


def test_no_clock_and_no_executor_in_the_file_and_text_stays_text(tmp_path: Path) -> None:
    summary, _ = run(tmp_path)
    loaded = load_study(summary.results, COMPARISON)
    assert "executor" not in loaded.config["params"]["evaluate"]
    assert not any({"minutes", "seconds"} & facts.keys() for facts in loaded.summary["methods"].values())
    data = json.loads(summary.json.read_text())
    data["methods"]["sr"]["title"] = "<script>|x"
    assert "<script>" not in markdown(data) and "&lt;script>\\|x" in markdown(data)


def test_scenes_that_could_not_be_set_up_count_once(tmp_path: Path) -> None:
    part = json.loads(run(tmp_path)[0].json.read_text())["parts"][0]
    for row in part["rows"]:
        row["not_set_up"] = row["n"] // row["scenes"]
    part["rows"].append(part["rows"].pop(1))
    assert conditions(part).count("1 seen could not be set up") == 1


def test_the_evaluations_of_a_comparison_are_its_own(tmp_path: Path) -> None:
    run(tmp_path)
    assert gather([tmp_path / "out"]).evaluations == ()


def test_times_are_kept_for_the_same_scenes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    monkeypatch.setattr("srcli.studies.compare.timing._measure", lambda *given: measured.append(1) or {"random": 0.1})
    for points in (500, 500, 400):
        data = section(methods=["random"], reference="random", timed=2).model_dump(mode="json")
        data["cloud"]["count"] = points
        run(tmp_path, Params.model_validate_json(json.dumps(data)))
    assert len(measured) == 2
