"""``srcli ablate`` and ``srcli noise-sweep`` at the door: several values after one option, lists, plans, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.cli.noise_sweep import spread

runner = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_STAGE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("line", "values", "rest"),
    [
        ("--sigma 0.1 0.2 0.3", ["0.1", "0.2", "0.3"], []),
        ("--sigma 0.1 --sigma 0.2", ["0.1", "0.2"], []),
        ("--sigma=0.1", ["0.1"], []),
        ("--sigma=0.1 0.2", ["0.1", "0.2"], []),
        ("--sigma=0.1 f.h5", ["0.1"], ["f.h5"]),
        ("f.h5 --sigma 0.1 0.2 --json -j 2", ["0.1", "0.2"], ["f.h5", "--json", "-j", "2"]),
        ("--sigma 0.1 0.2 --out here f.h5", ["0.1", "0.2"], ["--out", "here", "f.h5"]),
        ("--sigma 0.1 -0.2 -1e-3", ["0.1", "-0.2", "-1e-3"], []),
        ("--sigma 0.1 f.h5", ["0.1", "f.h5"], []),
        ("--sigma 0.1 -- 0.2", ["0.1"], ["--", "0.2"]),
        ("--out 0.1 0.2", [], ["--out", "0.1", "0.2"]),
    ],
)
def test_values_are_spread_over_the_option(line: str, values: list[str], rest: list[str]) -> None:
    words = spread(line.split())
    assert [w.partition("=")[2] for w in words if w.startswith("--sigma=")] == values
    assert [w for w in words if not w.startswith("--sigma")] == rest


@pytest.mark.parametrize("line", ["--sigma 0.1 0.2 0.3", "--sigma 0.1 --sigma 0.2 --sigma=0.3", "--sigma 0.3 0.2 --sigma 0.1"])
def test_the_line_of_the_issue_reaches_the_parameters(line: str) -> None:
    result = runner.invoke(app, ["noise-sweep", *line.split(), "--dry-run", "--json", "--episodes", "7"])
    assert result.exit_code == 0, result.output
    noise = json.loads(result.stdout)["settings"]["noise"]
    assert sorted(noise["sigma"]) == [0.1, 0.2, 0.3] and noise["episodes"] == 7


def test_without_the_option_the_parameters_count() -> None:
    Path("params.yaml").write_text("noise:\n  sigma: [0.5]\n")
    result = runner.invoke(app, ["noise-sweep", "--dry-run", "--json", "--unit", "metre"])
    assert (
        json.loads(result.stdout)["settings"]["noise"] | {"sigma": [0.5], "unit": "metre"}
        == json.loads(result.stdout)["settings"]["noise"]
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sigma", "0.1", "-0.2"], "--sigma -0.2: must not be negative"),
        (["--sigma=-1"], "--sigma -1: must not be negative"),
        (["--sigma", "O.1"], "--sigma O.1: not a number"),
        (["--sigma", "0.1", "f.h5"], "--sigma f.h5: not a number"),
        (["--sigma", "nan"], "--sigma nan: not a finite number"),
        (["--sigma", "inf"], "--sigma inf: not a finite number"),
        (["--sigma", "1e9"], "noise.sigma"),
    ],
)
def test_a_bad_sigma_is_one_line(words: list[str], said: str) -> None:
    result = runner.invoke(app, ["noise-sweep", *words])
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith("error: ") and said in lines[0] and lines[1].startswith("hint: ") and len(lines) == 2


def test_sigma_without_a_value_is_a_usage_error() -> None:
    result = runner.invoke(app, ["noise-sweep", "--sigma", "--json"])
    assert result.exit_code == 2


def test_studies_are_listed() -> None:
    data = json.loads(runner.invoke(app, ["ablate", "--list", "--json"]).stdout)
    assert set(data) == {
        *("layers", "encoder_place", "points", "fusion_norm", "stage1_direction"),
        *("write_back", "branches", "mask", "combine", "attribution"),
    }
    assert data["branches"]["values"] == ["both", "dense", "sparse"]
    assert "1align" in runner.invoke(app, ["ablate", "--list"]).stdout


def test_a_dry_run_names_variants_and_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srcli.studies.policy_store.shipped_policies", lambda arms, base: {})
    result = runner.invoke(app, ["ablate", "--dry-run", "-S", "ablate.seeds=[3, 4]"])
    assert result.exit_code == 0, result.output
    assert "BASE+; SR-A+; SR+; with seeds 3, 4" in result.stdout and "pick, place, pick_place" in result.stdout
    assert "run 4 arms" in result.stdout and "BASE+; SR-A+; SR+; SR+, untrained" in result.stdout
    result = runner.invoke(app, ["ablate", "--study", "mask", "--dry-run", "--json", "--episodes", "9"])
    assert json.loads(result.stdout)["settings"]["ablate.study"]["episodes"] == 9
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_which_policies_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = json.loads(runner.invoke(app, ["ablate", "--dry-run", "--json"]).stdout)
    assert told["does"][0] == "take the policies shipped with the package" and told["reads"] == []
    told = json.loads(runner.invoke(app, ["noise-sweep", "--dry-run", "--json"]).stdout)
    assert told["does"][0] == "take the policies shipped with the package" and told["reads"] == []
    told = json.loads(runner.invoke(app, ["noise-sweep", "f.h5", "--no-train", "--dry-run", "--json"]).stdout)
    assert told["does"][0] == "take the policies that are trained already" and told["reads"] == ["f.h5"]
    words = ["compare", "-m", "rvt2", "-m", "sr", "--episodes", "1", "--dry-run", "--json", "-S", "compare.tasks=[pick]"]
    lines = json.loads(runner.invoke(app, words).stdout)["does"]
    assert lines[0].startswith("no row for rvt2") and lines[1].startswith("wide/pick: 2 episodes of sr, each that learns beside")


def test_the_policies_of_the_package_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "features.h5").write_bytes(b"")
    words = ["ablate", "--shipped", "-m", "base", "-m", "sr_a", "-m", "sr", "-m", "random", "--dry-run", "--json"]
    told = json.loads(runner.invoke(app, words).stdout)
    assert told["does"][0] == "take the policies shipped with the package" and told["reads"] == []
    chance = json.loads(runner.invoke(app, ["ablate", "--shipped", "-m", "random", "--dry-run", "--json"]).stdout)
    assert len(chance["does"]) == 2 and chance["reads"] == [] and "results/policies" not in chance["writes"]
    # Its weights say how it is built, whatever the parameters do.
    for change in ("methods.sr.network.encoder.layers=2", "ablate.updates=500"):
        assert runner.invoke(app, [*words, "-S", change]).exit_code == 0
    other = json.loads(runner.invoke(app, [*words, "-S", "encoder.pretrained=seen-only"]).stdout)["does"]
    assert other[1].startswith("'base' is left out: no policy of it is shipped for encoder 'embedded") and "random" in other[-1]
    for more, exit_code, told in (
        (["-m", "sr_relu"], 4, "no policy 'sr_relu' is shipped"),
        (["-S", "ablate.seeds=[0, 1]"], 2, "not seeds 0, 1"),
        (["data/features.h5"], 2, "--shipped: features or policies"),
        (["--policy", "sr=sr.h5"], 2, "--shipped: features or policies"),
    ):
        result = runner.invoke(app, [*words, *more])
        assert result.exit_code == exit_code and told in result.stderr and len(result.stderr.splitlines()) == 2
    study = runner.invoke(app, ["ablate", "--shipped", "--study", "layers", "--dry-run"])
    assert study.exit_code == 4 and "no policy of 'layers: 0', a form of SR+, is shipped" in study.stderr


def test_errors_at_the_door() -> None:
    result = runner.invoke(app, ["ablate", "--study", "msk", "--dry-run"])
    assert result.exit_code == 8 and "did you mean 'mask'" in result.stderr
    result = runner.invoke(app, ["ablate", "none.h5"])
    assert result.exit_code == 3 and "srcli featurize" in result.stderr
    for wrong in (["-m", "sr_plus", "-m", "base_plus"], ["-m", "rndom"]):
        result = runner.invoke(app, ["ablate", "--study", "attribution", *wrong, "--dry-run"])
        assert result.exit_code in (2, 8) and len(result.stderr.splitlines()) == 2
    strict = runner.invoke(app, ["ablate", "-m", "base", "-m", "sr_a", "-m", "sr", "-m", "untrained:sr", "--dry-run"])
    assert strict.exit_code == 0 and "reference sr," in strict.stdout
    control = runner.invoke(app, ["ablate", "--dry-run", "-S", "ablate.reference=untrained:sr_plus"])
    assert control.exit_code == 2 and "a control cannot be the reference" in control.stderr
    result = runner.invoke(app, ["ablate", "--policy", "sr"])
    assert result.exit_code == 2 and "NAME=FILE" in result.stderr
