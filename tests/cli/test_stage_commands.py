"""The stage commands: what reaches the stage, dry runs, parameters and their precedence."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.errors import ArtifactError, ConfigError, MismatchError, UnknownNameError
from srcli.methods.registry import shipped

runner = CliRunner()
STAGES = (
    "collect",
    "featurize",
    "train",
    "evaluate",
    "pretrain encoder",
    "pretrain grasp",
    "pretrain teach",
    "pretrain graspnet",
)
MODULES = {
    "pretrain encoder": "pretrain",
    "pretrain grasp": "pretrain_grasp",
    "pretrain teach": "teach",
    "pretrain graspnet": "pretrain_graspnet",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_STAGE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


def _replace(monkeypatch: pytest.MonkeyPatch, stage: str, result: Any) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Put a stand-in where the command imports its stage from, and note how it is called."""
    import sys

    import srcli.stages

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def run(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        if isinstance(result, Exception):
            raise result
        return result

    fake = SimpleNamespace(run=run, checked=lambda names: ("whisk",), check=lambda *settings: None)
    monkeypatch.setitem(sys.modules, f"srcli.stages.{stage}", fake)
    monkeypatch.setattr(srcli.stages, stage, fake, raising=False)
    return calls


@pytest.mark.parametrize("stage", STAGES)
def test_dry_run_says_what_and_does_nothing(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, MODULES.get(stage, stage), None)
    told = runner.invoke(app, [*stage.split(), "--dry-run"])
    assert told.exit_code == 0, told.output
    for title in ("would read", "would do", "would write"):
        assert title in told.stdout
    data = json.loads(runner.invoke(app, [*stage.split(), "--dry-run", "--json"]).stdout)
    assert data["dry_run"] is True
    assert data["command"] == stage
    assert data["writes"]
    assert calls == []
    assert list(tmp_path.iterdir()) == []


def test_dry_run_refuses_cases_that_the_run_refuses(tmp_path: Path) -> None:
    told = runner.invoke(app, ["evaluate", "--case", "typing/give-me-teh-aple", "--dry-run"])
    assert told.exit_code == UnknownNameError.exit_code and "did you mean 'typing/give-me-the-aple'" in told.output
    (tmp_path / "cut.yaml").write_text("name: a\nobjects: [")
    told = runner.invoke(app, ["evaluate", "--cases", str(tmp_path), "--dry-run"])
    assert told.exit_code == ArtifactError.exit_code and "cut.yaml is not a case file" in told.output
    told = runner.invoke(app, ["evaluate", "--assets", str(tmp_path), "--dry-run"])
    assert told.exit_code == ConfigError.exit_code and "give the case files with --cases" in told.output
    assert runner.invoke(app, ["evaluate", "--case", "sugar-1", "--dry-run"]).exit_code == 0


def test_a_dry_run_names_the_rows_files_and_episodes_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.h5"
    file.write_bytes(shipped("sr_plus").read_bytes())
    words = ["evaluate", str(file), "-m", "random", "-m", "similarity", "--suite", "development", "--episodes", "3"]
    told = runner.invoke(app, [*words, "--dry-run", "--json", "-S", "evaluate.reference=random"])
    data = json.loads(told.stdout)
    assert data["reads"] == [str(file)]
    assert data["does"][0].startswith("run sr_plus, random, similarity on suite 'development' (pick), 6 episode(s)")
    assert json.loads(runner.invoke(app, ["evaluate", "-m", "random", "--dry-run", "--json"]).stdout)["reads"] == []


def test_a_repeat_is_of_a_case() -> None:
    told = runner.invoke(app, ["evaluate", "--repeat", "3", "--dry-run"])
    assert told.exit_code == 2 and "--repeats" in told.stderr


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        (
            "evaluate.splits=seen",
            "should be a list\nhint: evaluate.splits: which splits to run (allowed: a list of seen | unseen",
        ),
        ("evaluate.tasks=[foo]", "unknown task 'foo'; known: pick, place, pick_place\n"),
    ],
)
def test_lists_are_explained(assignment: str, said: str) -> None:
    told = runner.invoke(app, ["evaluate", "-S", assignment, "--dry-run"])
    assert told.exit_code == 2 and said in told.stderr


def test_all_parameters_are_in_json_too() -> None:
    data = json.loads(runner.invoke(app, ["params", "--json"]).stdout)
    assert data["scene"]["library"] == "none"


def test_collect_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "collect", {"path": Path("data/pick.h5"), "episodes": 3})
    result = runner.invoke(app, ["collect", "--task", "pick"])
    assert result.exit_code == 0
    assert "data/pick.h5" in result.stdout
    ((params, task, out), options), *_ = calls
    assert (task, out) == ("pick", Path("data/pick.h5"))
    assert params.collect.episodes > 0
    assert options["workers"] >= 1


def test_flag_beats_set_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "train", {"path": "x"})
    section = "methods:\n  sr:\n    train:\n      updates: 11\n      lr: 0.01\n      warmup: 3\n"
    (tmp_path / "params.yaml").write_text(f"seed: 1\n{section}")
    given = ["-S", "methods.sr.train.lr=2e-2", "-S", "methods.sr.train.updates=12", "--updates", "13"]
    assert runner.invoke(app, ["train", *given]).exit_code == 0
    (_, section, *_), options = calls[0]
    train = section.train
    assert (options["seed"], train.updates, train.lr, train.warmup) == (1, 13, 0.02, 3)
    assert train.clip == type(train)().clip


def test_params_option_replaces_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "train", {"path": "x"})
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    (tmp_path / "other.yaml").write_text("evaluate:\n  reference: base_plus\n")
    assert runner.invoke(app, ["train", "--params", "other.yaml"]).exit_code == 0
    (spec, *_), options = calls[0]
    assert (options["seed"], spec.name) == (0, "base_plus")


def test_what_is_trained_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "train", {"path": "x"})
    assert runner.invoke(app, ["train", "--method", "a2_metres", "--updates", "7"]).exit_code == 0
    (spec, section, out), options = calls[0]
    assert (spec.name, section.network.positions, section.train.updates) == ("a2_metres", "metres", 7)
    assert (out, options["features"]) == (Path("results/train/policy.h5"), Path("data/features.h5"))
    assert runner.invoke(app, ["train", "-S", "evaluate.reference=base_plus"]).exit_code == 0
    assert calls[1][0][0].name == "base_plus"
    for wrong, code, message in (
        ("untrained:sr_plus", 2, "a control is not trained"),
        ("rndom", 8, "did you mean 'random'"),
        ("random", 2, "learns nothing"),
    ):
        result = runner.invoke(app, ["train", "--method", wrong])
        assert result.exit_code == code and message in result.stderr and len(result.stderr.splitlines()) <= 2


def test_epochs_flag_switches_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "train", {"path": "x"})
    assert runner.invoke(app, ["train", "--epochs", "4"]).exit_code == 0
    train = calls[0][0][1].train
    assert (train.updates, train.epochs) == (0, 4)


def test_json_summary_is_all_that_stdout_has(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, "featurize", {"path": Path("f.h5"), "samples": 2})
    result = runner.invoke(app, ["featurize", "demos.h5", "--json"])
    assert json.loads(result.stdout) == {"path": "f.h5", "samples": 2}


def test_evaluate_prints_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = SimpleNamespace(markdown="| method |", results=Path("r.h5"), table=Path("t.md"), json=Path("r.json"))
    calls = _replace(monkeypatch, "evaluate", summary)
    call = ["evaluate", "sr=p.h5", "-m", "random", "-m", "expert", "--suite", "paper", "--workers", "3", "--reuse", "parts"]
    result = runner.invoke(app, call)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("| method |\n")
    (params, policies, out), options = calls[0]
    assert policies == ["sr=p.h5"]
    assert (params.evaluate.methods, params.evaluate.suite) == (("random", "expert"), "paper")
    assert (out, options["workers"], options["reuse"]) == (Path("results/evaluation"), 3, [Path("parts")])


def test_a_policy_may_be_named_among_the_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "evaluate", SimpleNamespace(markdown="", results="r", table="t", json="j"))
    assert runner.invoke(app, ["evaluate", "b.h5", "-m", "mine=p.h5", "-m", "random"]).exit_code == 0
    (params, given, _), _ = calls[0]
    assert params.evaluate.methods == ("mine", "random")
    assert given == ["b.h5", "mine=p.h5"]


def test_evaluate_of_tasks_and_case_files(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = SimpleNamespace(markdown="| method |", results=Path("r.h5"), table=Path("t.md"), json=Path("r.json"))
    calls = _replace(monkeypatch, "evaluate", summary)
    arguments = ["--task", "place", "--task", "pick_place", "--perturb-translation", "0.02", "--perturb-rotation", "0.1"]
    assert runner.invoke(app, ["evaluate", *arguments, "--cases", "c", "--assets", "a", "--repeats", "4"]).exit_code == 0
    (params, _, out), options = calls[0]
    section = params.evaluate
    assert section.tasks == ("place", "pick_place") and section.episodes == 4
    assert (section.perturb.translation, section.perturb.rotation) == (0.02, 0.1)
    assert (out, options["cases"], options["assets"]) == (Path("results/cases"), Path("c"), Path("a"))
    wrong = runner.invoke(app, ["evaluate", "--task", "push"])
    assert wrong.exit_code == 2 and "evaluate.tasks" in wrong.stderr and len(wrong.stderr.splitlines()) <= 2
    assert runner.invoke(app, ["evaluate", "--perturb-translation", "-1"]).exit_code == 2
    refused = runner.invoke(app, ["evaluate", "--suite", "compositional", "--task", "place", "--dry-run"])
    assert refused.exit_code == 2 and len(refused.stderr.splitlines()) <= 2


def test_evaluate_of_one_case_replays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "replay", SimpleNamespace(text="1. pick: success", json=Path("r.json"), figures=()))
    result = runner.invoke(app, ["evaluate", "--case", "pear", "--case", "cup-1", "--repeat", "3", "--task", "pick"])
    assert result.exit_code == 0 and result.stdout.startswith("1. pick: success\n")
    (_, policies, out, names, repeat), options = calls[0]
    assert (policies, out, names, repeat, options["task"]) == ([], Path("results/replay"), ["pear", "cup-1"], 3, "pick")


def test_error_of_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, "collect", MismatchError("data/pick.h5: other seed", "use --force"))
    result = runner.invoke(app, ["collect", "--task", "pick"])
    assert result.exit_code == 5
    assert result.stderr == "error: data/pick.h5: other seed\nhint: use --force\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-S", "methods.sr.train.updaets=1"], "unknown key 'methods.sr.train.updaets'"),
        (["-S", "methods.sr.train.updates"], "not of the form section.key=value"),
        (["-S", "methods.sr.train.updates=[1"], "not valid YAML"),
        (["--lr", "7"], "train.lr = 7.0"),
        (["--params", "absent.yaml"], "absent.yaml: no such file"),
    ],
)
def test_bad_parameters_are_2(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "train", None)
    result = runner.invoke(app, ["train", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 2
    assert calls == []


@pytest.mark.parametrize("variable", ["DVC_STAGE", "DVC_ROOT"])
def test_overrides_are_refused_inside_dvc(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "train", {"path": "x"})
    monkeypatch.setenv(variable, "train")
    result = runner.invoke(app, ["train", "--updates", "3", "-S", "methods.sr.network.heads=4"])
    assert result.exit_code == 2
    assert (
        "--updates (methods.sr.train.updates), --set methods.sr.network.heads would override a parameter that DVC tracks"
        in result.stderr
    )
    assert calls == []
    assert runner.invoke(app, ["train", "--device", "cpu"]).exit_code == 0
    assert runner.invoke(app, ["train", "--method", "sr_a_plus", "--seed", "3"]).exit_code == 0


def test_params_command_prints_a_file_that_reads_back(tmp_path: Path) -> None:
    text = runner.invoke(app, ["params", "--seed", "9"]).stdout
    (tmp_path / "params.yaml").write_text(text)
    assert runner.invoke(app, ["params"]).stdout == text
    assert json.loads(runner.invoke(app, ["params", "--json"]).stdout)["seed"] == 9


def test_objects_list(tmp_path: Path) -> None:
    rows = json.loads(runner.invoke(app, ["objects", "list", "--json"]).stdout)
    unseen = json.loads(runner.invoke(app, ["objects", "list", "--split", "unseen", "--json"]).stdout)
    assert len(rows) > len(unseen) > 0
    assert {row["split"] for row in unseen} == {"unseen"}
    text = runner.invoke(app, ["objects", "list", rows[0]["name"]]).stdout
    assert text.startswith(rows[0]["name"])
    assert len(text.splitlines()) == 1
    wrong = runner.invoke(app, ["objects", "list", rows[0]["name"] + "x"])
    assert wrong.exit_code == 8
    assert f"did you mean '{rows[0]['name']}'" in wrong.stderr


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:99"])
def test_unknown_device_is_2(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "train", {"path": "x"})
    result = runner.invoke(app, ["train", "--device", device])
    assert result.exit_code == 2
    assert f"--device {device}" in result.stderr
    assert calls == []


def test_auto_device(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _replace(monkeypatch, "train", {"path": "x"})
    assert runner.invoke(app, ["train", "--device", "auto"]).exit_code == 0
    assert calls[0][1]["device"] in ("cpu", "cuda")


@pytest.mark.parametrize(("problems", "code"), [([], 0), (["demo_0: actions are missing"], 3)])
def test_info_tells_what_is_wrong(problems: list[str], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, "info", {"kind": "demonstrations", "problems": problems})
    result = runner.invoke(app, ["info", "data/pick.h5"])
    assert result.exit_code == code
    assert all(problem in result.stdout for problem in problems)


@pytest.mark.parametrize("command", ["featurize", "evaluate", "probe"])
@pytest.mark.parametrize(
    ("given", "name", "pretrained"),
    [
        ("embedded/seen-only", "embedded", "seen-only"),
        ("embedded=mine.safetensors", "embedded", "mine.safetensors"),
        ("embedded", "embedded", ""),
        ("ViT-L-14-quickgelu/openai", "ViT-L-14-quickgelu", "openai"),
    ],
)
def test_encoder_option_sets_name_and_weights(command: str, given: str, name: str, pretrained: str) -> None:
    result = runner.invoke(app, [command, "--encoder", given, "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["settings"]["encoder"]
    assert (told["name"], told["pretrained"]) == (name, pretrained)


@pytest.mark.parametrize("arguments", ["export .", "export / --to lerobot", "export / --to ply --dry-run", "featurize /"])
def test_a_folder_without_a_name_is_no_file(arguments: str) -> None:
    told = runner.invoke(app, arguments.split())
    assert told.exit_code == ArtifactError.exit_code
    assert told.stderr.endswith(": is a folder\nhint: name a file\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("probe --device cuda:99", 2, "--device cuda:99"),
        ("pretrain graspnet --device cuda:99", 2, "--device cuda:99"),
        ("export nofile.h5 --to ply --device cuda:99", 2, "--device cuda:99"),
        ("export nofile.h5 --out mine.safetensors", 2, "mine.safetensors: is there already"),
        ("export nofile.h5 --to ply --out mine.safetensors --force", 3, "is no export of srcli"),
        ("export mine.safetensors --to ply --out new.ply", 3, "mine.safetensors"),
        ("pretrain encoder --start nofile.safetensors", 4, "nofile.safetensors"),
        ("pretrain encoder --out x.json", 2, "x.json: a .json file"),
        ("pretrain grasp --out x.json", 2, "x.json: a .json file"),
        ("pretrain graspnet --out mine.safetensors", 3, "was not made by srcli"),
        ("evaluate --reuse nofolder", 3, "nofolder: no such folder"),
        ("noise-sweep --method similarity", 2, "similarity"),
        ("noise-sweep --policy foo", 2, "--policy foo: no file"),
        ("noise-sweep --policy nothing=mine.safetensors", 8, "unknown arm 'nothing'"),
        ("ablate --policy foo", 2, "--policy foo: no file"),
        ("ablate --policy sr_plus=mine.safetensors", 3, "mine.safetensors"),
        ("export nofile.h5 --encoder embedded/seen-only", 2, "--encoder"),
    ],
)
def test_dry_runs_refuse_what_the_run_refuses(arguments: str, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_text("years of work")
    told = runner.invoke(app, [*arguments.split(), "--dry-run"])
    assert told.exit_code == code and said in told.stderr, told.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]
