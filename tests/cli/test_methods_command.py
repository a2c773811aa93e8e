"""``srcli methods``: the list, one method, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.cli.methods import COLUMNS, listed
from srcli.errors import UnknownNameError
from srcli.methods.registry import is_shipped, specs

runner = CliRunner()


def test_one_line_for_each_method_within_its_columns() -> None:
    result = runner.invoke(app, ["methods"], env={"COLUMNS": "40"})
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["name", "title", "learns", "from", "fidelity"]
    assert [row.split()[0] for row in rows] == list(specs())
    assert max(map(len, rows)) <= COLUMNS == 120
    by_name = dict(zip(specs(), rows, strict=True))
    for name, row in by_name.items():
        spec = specs()[name]
        assert spec.title in row and spec.fidelity in row
        assert ("features" in row) == (spec.fit is not None)
        assert ("weights shipped" in row) == (spec.fit is not None and is_shipped(name))
        assert ("no weights" in row) == (spec.fit is not None and not is_shipped(name))
        assert ("sees the truth" in row) == spec.privileged
    starts = {row.index(specs()[name].fidelity) for name, row in by_name.items()}
    assert len(starts) == 1, "columns are aligned"


def test_a_long_title_is_shortened_and_a_task_that_is_missing_is_said() -> None:
    row = {"name": "n" * 20, "title": "word " * 30, "tasks": ["pick"], "reads": "demos", "learns": True, "fidelity": "full"}
    lines = listed([{**row, "privileged": True, "shipped": False}])
    assert max(map(len, lines)) <= COLUMNS
    assert "..." in lines[1] and lines[1].endswith("sees the truth, pick only, no weights")


def test_json_is_a_list_of_objects_with_names() -> None:
    result = runner.invoke(app, ["methods", "--json"])
    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == list(specs())
    keys = {"name", "title", "tasks", "reads", "learns", "fidelity", "source", "privileged", "shipped", "section", "code"}
    assert all(set(row) == keys and len(row["code"]) in (12, 64) for row in rows)
    by_name = {row["name"]: row for row in rows}
    assert by_name["expert"]["privileged"] and not by_name["sr"]["privileged"]
    assert by_name["sr"]["section"] == by_name["base_plus"]["section"] == "methods.sr"


@pytest.mark.parametrize("name", ["sr_plus", "a2", "random"])
def test_show_tells_source_preset_parts_studies_and_every_parameter(name: str) -> None:
    told = json.loads(runner.invoke(app, ["methods", "show", name, "--json"]).stdout)
    assert told["name"] == name and told["source"] == specs()[name].source
    assert told["preset"] == dict(specs()[name].preset)
    assert all(told["parameters"].values())
    if name == "sr_plus":
        assert {"network.heads", "additions.rings", "train.lr", "train.augment.yaw", "choice.prior"} <= set(told["parameters"])
        assert {"rings", "dssa", "choice_rule"} <= set(told["parts"]) and "combine" in told["studies"]
    people = runner.invoke(app, ["methods", "show", name])
    assert people.exit_code == 0 and specs()[name].title in people.stdout


def test_an_unknown_method_is_met_with_the_closest() -> None:
    result = runner.invoke(app, ["methods", "show", "sr_pluss"])
    assert result.exit_code == UnknownNameError.exit_code
    assert "unknown method 'sr_pluss'" in result.stderr and "did you mean 'sr_plus'" in result.stderr


def test_show_tells_the_last_measured_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "not yet" in runner.invoke(app, ["methods", "show", "similarity"]).stdout
    kept = tmp_path / "results" / "compare" / "compare.json"
    kept.parent.mkdir(parents=True)
    row = {"method": "similarity", "split": "seen", "k": 9, "n": 12, "first": {"k": 7}}
    data = {"parts": [{"part": "wide/pick", "rows": [row]}], "methods": {"similarity": {"code": "another"}}}
    kept.write_text(json.dumps(data))
    shown = runner.invoke(app, ["methods", "show", "similarity"]).stdout
    assert "9/12, at the first attempt 7/12" in shown and "run `srcli compare` again" in shown
    kept.write_text("{")
    broken = runner.invoke(app, ["methods", "show", "similarity"])
    assert broken.exit_code == 3 and "no record of a comparison" in broken.stderr
    absent = runner.invoke(app, ["methods", "show", "similarity", "--compared", "nothing.json"])
    assert absent.exit_code == 3 and "nothing.json: no such file" in absent.stderr
