"""A package of the user's: the example of docs/extending.md word for word, and packages that are broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from method_inputs import ENCODER, decision, placing, random_percept, write_features
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))

import study_fakes

from srcli.artifacts.policy import load_policy
from srcli.cli.app import app
from srcli.errors import ConfigError, MissingAssetError
from srcli.evaluation.methods import resolve_methods
from srcli.methods import registry
from srcli.methods.policy_file import read_policy
from srcli.params import Params, method_settings
from srcli.perception.encoders.interface import EncoderIdentity
from srcli.stages import evaluate, report
from srcli.stages import train as stage
from srcli.studies import compare

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").partition("## A method\n")[2].partition("\n## ")[0]


def blocks(kind: str) -> list[str]:
    found: list[str] = re.findall(rf"```{kind}\n(.*?)```", SECTION, flags=re.DOTALL)
    return found


def install(folder: Path, name: str, modules: Mapping[str, str], points: str) -> None:
    """What pip leaves behind: modules and a dist-info folder."""
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[srcli.methods]\n{points}\n", encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages in front of the path; what was imported from it goes afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(folder))
        before = set(sys.modules)
        registry.forget()
        yield folder
        for module in set(sys.modules) - before:
            if (getattr(sys.modules[module], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[module]
    registry.forget()


@pytest.fixture
def near_match(site: Path) -> Path:
    """The example, installed."""
    (code,), (project,) = blocks("python"), blocks("toml")
    (name,) = re.findall(r'^name = "(.+)"$', project, flags=re.MULTILINE)
    (point,) = re.findall(r'\[project\.entry-points\."srcli\.methods"\]\n(\w+) = "([\w.:]+)"', project)
    install(site, name, {"near_match": code}, f"{point[0]} = {point[1]}")
    registry.forget()
    return site


def test_the_example_is_short() -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) < 40


def test_the_example_is_listed_like_our_own(near_match: Path) -> None:
    listed = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["methods", "--json"]).stdout)}
    assert {"near_match", "sr", "random"} <= set(listed)
    assert listed["near_match"] | {"code": ""} == {
        "name": "near_match",
        "title": "near match",
        "tasks": ["pick", "pick_place", "place"],
        "reads": "features",
        "learns": True,
        "fidelity": "reimplemented",
        "source": "",
        "privileged": False,
        "shipped": False,
        "section": "methods.near_match",
        "code": "",
    }
    shown = CliRunner().invoke(app, ["methods", "show", "near_match"])
    assert shown.exit_code == 0 and "metres around a tip in which points count" in shown.stdout


def test_the_example_is_trained_stored_and_resolved_like_our_own(near_match: Path, tmp_path: Path) -> None:
    spec, section = method_settings(Params(), "near_match", {"reach": 0.1})
    features, out = write_features(tmp_path / "features.h5", 60), tmp_path / "near_match.h5"
    summary = stage.run(spec, section, out, features=features, seed=2)
    assert (summary.method, summary.updates, summary.samples, summary.parameters) == ("near_match", 1, 58, 2)
    assert summary.curves is None and (tmp_path / "near_match.metrics.json").is_file()
    assert load_policy(out).encoder == ENCODER
    stored = read_policy(out)
    assert stored.method == "near_match" and dict(stored.weights.section) == {"reach": 0.1}

    percept = random_percept()
    xyz = np.random.default_rng(1).normal([0.5, 0, 0.05], 0.04, (6, 3)).tolist()
    names = ["near_match", "untrained:near_match"]
    methods = resolve_methods(names, [f"near_match={out}"], {"near_match": section}, initialisations=2)
    assert [m.label for m in methods] == ["near_match", "untrained:near_match", "untrained:near_match"]
    for made in (decision(xyz, percept=lambda: percept), placing(xyz, percept=lambda: percept)):
        scores = [method.build(None, "cpu").act(made).scores for method in methods]
        assert len({tuple(s.tolist()) for s in scores if s is not None}) == 3
        again = resolve_methods(["near_match"], [out], {"near_match": section})[0].build(None, "cpu").act(made)
        np.testing.assert_array_equal(again.scores, scores[0])
    with pytest.raises(MissingAssetError, match="no policy 'near_match' is shipped"):
        resolve_methods(["near_match"], [], {})


def test_its_episodes_depend_on_its_own_file_and_on_no_other(near_match: Path) -> None:
    before, ours = registry.code_digest("near_match"), registry.code_digest("sr")
    assert registry.code_digest("near_match") == before != ours
    (near_match / "beside_it.py").write_text("X = 1\n")
    registry.forget()
    assert registry.code_digest("near_match") == before
    file = near_match / "near_match.py"
    code = file.read_text(encoding="utf-8")
    for changed, same in ((code + "\n# another thought\n", True), (code.replace("+ 1e-6", "+ 1e-5"), False)):
        assert changed != code
        file.write_text(changed, encoding="utf-8")
        registry.forget()
        assert (registry.code_digest("near_match") == before) is same
    assert registry.code_digest("sr") == ours
    assert registry.folder_of("near_match") == "" and registry.folder_of("sr") == "methods/sr"


def in_a_fresh_process(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(site)])
    return subprocess.run(
        [sys.executable, "-m", "srcli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        cwd=site,
        timeout=120,
        check=False,
    )


def test_its_section_stands_among_the_parameters_of_a_fresh_process(near_match: Path) -> None:
    done = in_a_fresh_process(near_match, "params", "--json", "-S", "methods.near_match.reach=0.25")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["methods"]["near_match"] == {"reach": 0.25}
    refused = in_a_fresh_process(near_match, "params", "-S", "methods.near_match.reach=9")
    assert refused.returncode == ConfigError.exit_code
    assert "methods.near_match.reach" in refused.stderr and "metres around a tip" in refused.stderr


def test_a_fresh_process_trains_it_by_command(near_match: Path, tmp_path: Path) -> None:
    features, out = write_features(tmp_path / "features.h5"), tmp_path / "near_match.h5"
    done = in_a_fresh_process(near_match, "train", str(features), "--method", "near_match", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["method"] == "near_match" == read_policy(out).method


def test_it_has_its_rows_in_a_comparison_and_in_the_report(
    near_match: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its control, as in an evaluation: trained by the comparison itself, on made-up episodes."""
    study_fakes.without_pictures(monkeypatch)
    monkeypatch.setattr(EncoderIdentity, "as_dict", lambda self: dict(study_fakes.ENCODER))
    monkeypatch.setattr("srcli.perception.encoders.load_encoder", lambda config, device="cpu": study_fakes.MadeUp())
    monkeypatch.setattr("srcli.studies.policy_store.encoder_identity", lambda params, device: dict(study_fakes.ENCODER))
    section = {"episodes": 4, "tasks": ["pick"], "methods": ["near_match", "random"], "reference": "near_match", "timed": 0}
    played = {"tasks": ["pick"], "episodes": 4, "reference": "near_match", "suite": "wide", "similarity_rule": False}
    params, features = study_fakes.tiny(compare=section, evaluate=played), study_fakes.write_features(tmp_path / "features.h5")
    made = compare.run(params, tmp_path / "out", features=features, executor=study_fakes.FakeExecutor())
    assert made.trained == ("near_match",) and not made.left_out
    data = json.loads(made.json.read_text())
    for name, count in {"near_match": 4, "untrained:near_match": 12, "random": 4}.items():
        assert [row["n"] for row in data["parts"][0]["rows"] if row["method"] == name] == [count, count]
    assert data["methods"]["near_match"]["code"] == registry.code_digest("near_match")
    table = made.table.read_text()
    assert "| near match |" in table and "| *near match, untrained* |" in table
    (policy,) = (tmp_path / "out" / "policies").glob("near_match-*.h5")
    names, section = ["near_match", "untrained:near_match", "random"], method_settings(Params(), "near_match", {})[1]
    methods = resolve_methods(names, [f"near_match={policy}"], {"near_match": section}, initialisations=3)
    evaluate.run(params, methods, tmp_path / "alone", "wide", executor=study_fakes.FakeExecutor())
    without_films = params.report.model_copy(update={"replay": False})
    for folder, heading in (("out", "## Table 1 in one harness"), ("alone", "## Table 1: all tasks")):
        page = report.run(params, [tmp_path / folder], tmp_path / "report", without_films).markdown.read_text(encoding="utf-8")
        table = page.partition(heading)[2].partition("\n## ")[0]
        assert "| near match |" in table and "near match, untrained" in table and "| random candidate |" in table


BROKEN = """
from srcli.config.base import Section
from srcli.methods.base import EVERY_TASK, MethodSpec

class NoDefault(Section):
    size: int

class Other(Section):
    size: int = 1

WRONG = "a word"
RANDOM = MethodSpec("random", "mine", EVERY_TASK, build="broken:build")
RENAMED = MethodSpec("something_else", "mine", EVERY_TASK, build="broken:build")
CAPITAL = MethodSpec("Capital", "mine", EVERY_TASK, build="broken:build")
NO_DEFAULT = MethodSpec("no_default", "mine", EVERY_TASK, build="broken:build", section=NoDefault)
OTHER_SECTION = MethodSpec("other_section", "mine", EVERY_TASK, build="broken:build", section=Other, group="sr")
NOWHERE = MethodSpec("nowhere", "mine", EVERY_TASK, build="no.such.module:build", fit="broken:no_such_fit")
FINE = MethodSpec("fine", "mine", EVERY_TASK, build="broken:build")
GARBLED = MethodSpec("garbled", "mine", EVERY_TASK, build="garbled:build")
"""
POINTS = """absent = no_such_module:SPEC
fails = failing:SPEC
wrong = broken:WRONG
random = broken:RANDOM
renamed = broken:RENAMED
Capital = broken:CAPITAL
no_default = broken:NO_DEFAULT
other_section = broken:OTHER_SECTION
nowhere = broken:NOWHERE
fine = broken:FINE
garbled = broken:GARBLED"""
REASONS = {
    "absent": "ModuleNotFoundError: No module named 'no_such_module'",
    "fails": "ValueError: two lines of it",
    "wrong": "broken:WRONG is not a MethodSpec",
    "random": "there is a method 'random' already",
    "renamed": "its specification is named 'something_else'",
    "Capital": "lower-case letters",
    "no_default": "size Field required",
    "other_section": "there is another section 'methods.sr' already",
}


@pytest.fixture
def broken(site: Path) -> Path:
    modules = {"broken": BROKEN, "failing": 'raise ValueError("two lines\\nof it")\n', "garbled": "def (:\n"}
    install(site, "broken", modules, POINTS)
    registry.forget()
    return site


def test_each_broken_announcement_is_told_in_one_line_and_stops_no_other(broken: Path) -> None:
    result = CliRunner().invoke(app, ["methods"])
    assert result.exit_code == 0
    warned = result.stderr.splitlines()
    assert len(warned) == len(REASONS)
    for name, reason in REASONS.items():
        (line,) = [line for line in warned if f"method '{name}' of package broken " in line]
        assert "cannot be used" in line and reason in line
    names = {line.split()[0] for line in result.stdout.splitlines()}
    assert {"sr", "random", "fine", "nowhere", "garbled"} <= names and not names & (set(REASONS) - {"random"})
    assert json.loads(CliRunner().invoke(app, ["methods", "--json"]).stdout)[0]["name"]


def test_a_broken_method_is_refused_with_its_reason_and_ours_of_that_name_stays_ours(broken: Path) -> None:
    for name in set(REASONS) - {"random"}:
        with pytest.raises(ConfigError) as caught:
            resolve_methods([name], [], {})
        assert f"method '{name}' of package broken cannot be used: " in caught.value.message
        assert REASONS[name] in caught.value.message and "\n" not in caught.value.message
    assert registry.spec_of("random").build == "srcli.methods.random:build"
    assert resolve_methods(["random"], [], {})[0].build(None, "cpu").name == "random"


def test_functions_that_are_not_there_are_said_when_they_are_needed(broken: Path) -> None:
    spec = registry.spec_of("nowhere")
    with pytest.raises(ConfigError, match=r"no\.such\.module:build of a method cannot be loaded"):
        registry.builder(spec)
    with pytest.raises(ConfigError, match=r"broken:no_such_fit of a method cannot be loaded"):
        registry.fitter(spec)
    with pytest.raises(ConfigError, match=r"garbled:build of a method cannot be loaded: SyntaxError") as caught:
        registry.builder(registry.spec_of("garbled"))
    assert "\n" not in caught.value.message
    with pytest.raises(ConfigError, match="learns nothing, so there is nothing to train"):
        registry.fitter(registry.spec_of("fine"))


def test_parameters_and_help_of_a_fresh_process_survive_a_broken_package(broken: Path) -> None:
    done = in_a_fresh_process(broken, "params", "--json")
    assert done.returncode == 0, done.stderr
    sections = json.loads(done.stdout)["methods"]
    assert {"sr", "a2"} <= set(sections) and not set(sections) & set(REASONS)
