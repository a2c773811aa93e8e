"""`srcli frames`, then `srcli decide`: from nothing to a grasp in two commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from srcli.cli.app import app


def test_two_commands_lead_to_a_grasp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    made = runner.invoke(app, ["frames", "example", "--format", "bop", "--json"])
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout[made.stdout.index("{") :])
    assert told["next"].startswith("srcli decide example ")
    found = runner.invoke(app, ["decide", "example", told["sentence"], "-m", "similarity", "--top", "2", "--json", "-o", "out"])
    assert found.exit_code == 0, found.output
    data = json.loads(found.stdout)
    assert data["found"] and len(data["best"]) == 2 and len(data["action"]["in_camera"]) == 3
    written = {path.name for path in Path("out").iterdir() if not path.name.startswith(".")}  # The lock is hidden.
    assert written == {"decision.json", "decision.png", "grasps.npy"}
    shown = runner.invoke(app, ["decide", "example", told["sentence"], "-m", "similarity", "--camera", "0"])
    assert shown.exit_code == 0 and "similarity  grasp at" in shown.stdout
    again = runner.invoke(app, ["frames", "example"])
    assert again.exit_code == 2 and "not empty" in again.stderr


@pytest.mark.parametrize("held", ["1,2", "a,b,c", "0.03,0.04,0.1", "0.03,0.03,-1", "nan,0.02,0.1"])
def test_the_size_of_what_is_held_is_checked(held: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["decide", str(tmp_path), "put it down", "--held", held])
    assert result.exit_code == 2 and "--held" in result.stderr
