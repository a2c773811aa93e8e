"""`srcli results` with played-out episodes: what is run, what is recorded, the pages, and numbers that have grown old."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from study_fakes import FakeExecutor
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.errors import ArtifactError, ConfigError, SrcliError, UnknownNameError
from srcli.evaluation.worker import Job
from srcli.methods.registry import shipped, spec_of
from srcli.params import Params
from srcli.params.loading import override
from srcli.studies import results as stage
from srcli.studies.results import age, facts, page
from srcli.studies.results.parts import plan_parts
from srcli.studies.results.verdicts import verdict, verdicts

README = f"# A project\n\n{page.BEGIN}\nold\n{page.END}\n\nThe rest.\n"
KINDS = ("attribute_noun", "superlative")


class Played(FakeExecutor):
    """SR+ wins at once, its control in half of the scenes, the rest by chance of seed and name; placements have one attempt."""

    def play(self, job: Job, name: str) -> dict[str, Any]:
        record = super().play(job, name)
        miss, hit = record["attempts"][0], record["attempts"][-1]
        chance = zlib.crc32(f"{name}{job.episode.key}".encode())
        wins = name == "sr_plus" or chance % 2 == 0
        record |= {"task": job.episode.task, "keyword_kind": KINDS[job.episode.index % 2], "success": wins}
        phase = {"phase": job.episode.task, "index_rule": 1.0 if job.episode.task == "place" else None, "valid": 3}
        miss, hit = {**miss, "reason": "wrong_object", **phase}, {**hit, "reason": "success", **phase}
        if job.episode.task == "place":
            attempts = [hit] if wins else [miss]
        else:
            attempts = [hit] if name == "sr_plus" else [miss, hit] if wins else [miss] * 4
        return {**record, "attempts": attempts}


def quick(patch: pytest.MonkeyPatch) -> None:
    """No pictures, and a commit whatever the state of the work tree."""
    for name in ("draw_failures", "draw_success"):
        patch.setattr(f"srcli.evaluation.figures.{name}", lambda results, path, *rest: path)
    patch.setattr(facts, "commit", lambda outputs, allow_dirty=False: "v1-2-gabc")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    for name in ("DVC_STAGE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


def small(**section: Any) -> Params:
    own = {
        "episodes": 6,
        "parts": ["wide/pick", "wide/place"],
        "seen_only": ["wide/pick"],
        "strict": [],
        "methods": ["sr_plus", "random", "expert"],
        **section,
    }
    data = {"results": own, "evaluate": {"bootstrap": 100, "attempts": 4, "initialisations": 2}}
    return Params.model_validate_json(json.dumps(data))


def measure(folder: Path, params: Params | None = None, executor: Played | None = None, **more: Any) -> stage.Summary:
    (folder / "README.md").write_text(README)
    return stage.run(
        params or small(), folder / "out", folder / "docs", folder / "README.md", executor=executor or Played(), **more
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        measure(folder)
    return folder


@pytest.fixture
def data(measured: Path) -> dict[str, Any]:
    return copy.deepcopy(stage.load(measured / "docs" / "results.json"))


def test_every_learned_method_is_followed_by_its_control() -> None:
    parts = {part.name: part for part in plan_parts(small())}
    assert list(parts) == ["wide/pick", "wide/place", "wide/pick@seen-only"]
    assert parts["wide/pick"].methods == ("sr_plus", "untrained:sr_plus", "random", "expert")
    hidden = parts["wide/pick@seen-only"].params
    assert (hidden.encoder.pretrained, hidden.evaluate.splits, hidden.seed) == ("seen-only", ("unseen",), 3)
    # What has learned nothing from this encoder's features is left out, and said to be.
    weaker = plan_parts(small(methods=["sr_plus", "sr_plus_relu"]))[-1]
    assert weaker.left_out == ("sr_plus_relu",) and weaker.methods == ("sr_plus", "untrained:sr_plus")


def test_what_cannot_be_planned_is_said() -> None:
    with pytest.raises(UnknownNameError, match="suite 'nowhere'"):
        plan_parts(small(parts=["nowhere/pick"]))
    with pytest.raises(UnknownNameError, match="part of the results 'wide/pik'"):
        plan_parts(small(), ("wide/pik",))
    with pytest.raises(ConfigError, match=r"results\.reference = sr_plus: not among"):
        plan_parts(small(methods=["random"]))
    with pytest.raises(ConfigError, match=r"results\.parts"):
        override(Params(), {"results.parts": ["wide"]})


def test_a_record_holds_what_its_numbers_stand_on(data: dict[str, Any]) -> None:
    pick, place, hidden = data["parts"]
    assert [part["part"] for part in data["parts"]] == ["wide/pick", "wide/place", "wide/pick@seen-only"]
    assert (pick["commit"], pick["seed"], pick["attempts"], pick["reference"]) == ("v1-2-gabc", 3, 4, "sr_plus")
    assert pick["parameters"]["differ"] == {"evaluate.attempts": 4, "evaluate.initialisations": 2, "evaluate.bootstrap": 100}
    assert {"encoder", "grasp quality network", "catalogue of objects"} == set(pick["weights"])
    assert (
        hidden["weights"]["encoder"] != pick["weights"]["encoder"]
        and hidden["parameters"]["digest"] != pick["parameters"]["digest"]
    )
    learned, control = pick["methods"]["sr_plus"], pick["methods"]["untrained:sr_plus"]
    assert learned["policy"] == facts.file_digest(shipped("sr_plus")) and learned["budget"]["updates"] == 250
    assert (control["policy"], control["budget"], control["control"]) == (None, None, True)
    assert hidden["methods"]["sr_plus"]["policy"] not in (None, learned["policy"])
    assert learned["fidelity"] == spec_of("sr_plus").fidelity and learned["title"] == spec_of("sr_plus").title
    text = json.dumps(data)
    assert "/tmp" not in text and "unseen" in text
    assert {row["split"] for row in place["rows"]} == {"seen", "unseen"} == {row["split"] for row in pick["rows"]}


def test_rows_count_attempts_and_are_paired_with_reference_and_control(data: dict[str, Any]) -> None:
    rows = {(part["part"], row["split"], row["method"]): row for part in data["parts"] for row in part["rows"]}
    best = rows["wide/pick", "unseen", "sr_plus"]
    assert (best["k"], best["n"], best["first"]["k"], best["steps"]) == (6, 6, 6, 1.0)
    assert best["to_reference"] is None
    control = rows["wide/pick", "unseen", "untrained:sr_plus"]
    # Two initialisations play each scene; its interval is that of so many scenes as there are.
    assert (control["n"], control["scenes"], control["cases"], control["first"]["k"]) == (12, 6, 6, 0)
    assert best["to_control"]["first"]["difference"] == 1.0 and best["to_control"]["first"]["interval"] == [1.0, 1.0]
    assert best["to_control"]["all"]["difference"] == pytest.approx(1 - control["k"] / control["n"], abs=1e-6)
    assert control["to_reference"]["all"]["difference"] == pytest.approx(control["k"] / control["n"] - 1, abs=1e-6)
    assert sum(kind["n"] for kind in best["kinds"].values()) == 6 and set(best["kinds"]) == set(KINDS)
    assert rows["wide/place", "seen", "random"]["to_control"] is None
    assert rows["wide/place", "seen", "random"]["first"]["k"] == rows["wide/place", "seen", "random"]["k"]


def test_pages_follow_from_the_record_alone(measured: Path, data: dict[str, Any], tmp_path: Path) -> None:
    text = (measured / "docs" / "results.md").read_text()
    assert text == page.page(data)
    lines = text.splitlines()
    assert any(
        line.startswith("| SR+ | 6/6 100.0% [61.0, 100.0] | 100.0% [61.0, 100.0] | 1.00 / 1.00 |  | +100.0") for line in lines
    )
    for number, line in enumerate(lines):
        if line.startswith("| SR+ | 6/6"):
            assert lines[number + 1].startswith("| *SR+, untrained* |")
    assert any(line.startswith("| expert* |") for line in lines) and any(
        line.startswith("| random candidate |") for line in lines
    )
    assert "## Placing, suite `wide`" in lines and "## Picking, suite `wide`, objects that no part has seen" in lines
    assert (
        "6 seen and 6 unseen scenes, root seed 3, up to 4 attempts." in lines
        and "6 unseen scenes, root seed 3, up to 4 attempts." in lines
    )
    readme = (measured / "README.md").read_text()
    assert readme.startswith("# A project\n") and readme.endswith("\n\nThe rest.\n") and "\nold\n" not in readme
    assert page.readme_table(data) in readme
    # The control stands in brackets, not in a row of its own.
    own = [line for line in readme.splitlines() if line.startswith("| SR+")]
    assert len(own) == 1 and "| 100.0% [61, 100] (0.0%) |" in own[0] and "untrained |" not in readme
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.json").write_bytes((measured / "docs" / "results.json").read_bytes())
    (tmp_path / "README.md").write_text(README)
    summary = stage.write(tmp_path / "docs", tmp_path / "README.md")
    assert (tmp_path / "docs" / "results.md").read_text() == text and (tmp_path / "README.md").read_text() == readme
    assert summary.outdated == () and summary.parts["wide/pick"]["unseen sr_plus"] == "6/6"


def test_the_papers_networks_have_parts_of_their_own_with_one_attempt(tmp_path: Path) -> None:
    params = small(parts=["wide/pick"], seen_only=[], strict=["wide/pick"], strict_methods=["sr", "sr_quality", "random"])
    parts = plan_parts(params)
    assert [part.name for part in parts] == ["wide/pick", "wide/pick@strict"]
    section = parts[1].params.evaluate
    assert section.attempts == 1 and section.reference == "sr" and parts[0].params.evaluate.attempts == 4
    assert parts[1].methods == ("sr", "untrained:sr", "sr_quality", "untrained:sr_quality", "random")
    summary = measure(tmp_path, params)
    assert set(summary.parts) == {"wide/pick", "wide/pick@strict"}
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "## Picking, suite `wide`, the paper's networks" in text and "6 unseen scenes, root seed 3, one attempt." in text
    table = [line for line in (tmp_path / "README.md").read_text().splitlines() if line.startswith("| ")]
    # One column for the same scenes, whatever the number of attempts; the random row is that of the first part.
    assert all(line.count("|") == 3 for line in table)
    assert [line.split("|")[1].strip() for line in table] == [
        "unseen objects",
        "SR+",
        "random candidate",
        "expert*",
        "SR",
        "SR with quality",
    ]


def test_a_compositional_part_is_shown_by_kind(data: dict[str, Any]) -> None:
    part = data["parts"][0]
    assert "by kind" not in page.page(data)
    part["suite"] = "compositional"
    text = page.page(data)
    assert "| first attempt, by kind of sentence | attribute noun | superlative |" in text
    assert "| SR+ | 3/3 100.0% | 3/3 100.0% |" in text


def test_a_learned_row_that_shows_no_learning_is_named(data: dict[str, Any]) -> None:
    assert "was not shown to be better than its untrained control" not in page.page({**data, "parts": data["parts"][:1]})
    row = data["parts"][0]["rows"][0]
    row["to_control"]["first"]["interval"] = [-0.1, 0.3]
    said = page.page(data)
    assert f"**SR+** was not shown to be better than its untrained control in wide/pick ({row['split']})" in said


def test_a_run_goes_on_and_parts_may_be_run_alone(tmp_path: Path, measured: Path) -> None:
    with pytest.raises(SrcliError, match="died"):
        measure(tmp_path, executor=Played(breaks_after=3))
    before = stage.missing(small(), tmp_path / "out")
    # Three scenes, each with five methods: SR+, its two controls, random and expert.
    assert [(m.part, m.episodes, m.missing) for m in before[:2]] == [("wide/pick", 60, 45), ("wide/place", 60, 60)]
    alone = measure(tmp_path, only=("wide/place",))
    assert (alone.played, alone.data, list(alone.parts)) == (60, None, ["wide/place"])
    assert not (tmp_path / "docs").exists()
    rest = measure(tmp_path)
    assert (rest.played, rest.kept) == (45 + 30, 15 + 60)
    for name in ("results.json", "results.md"):
        assert (tmp_path / "docs" / name).read_bytes() == (measured / "docs" / name).read_bytes()


def test_the_commit_stays_while_the_numbers_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = small(parts=["wide/place"], seen_only=[])
    measure(tmp_path, params)
    monkeypatch.setattr(facts, "commit", lambda outputs, allow_dirty=False: "later")
    measure(tmp_path, params)
    record = tmp_path / "docs" / "results.json"
    assert stage.load(record)["parts"][0]["commit"] == "v1-2-gabc"
    record.write_text(record.read_text().replace("v1-2-gabc", "v1-2-gabc-dirty"))
    measure(tmp_path, params)
    assert stage.load(record)["parts"][0]["commit"] == "later"
    measure(tmp_path, small(parts=["wide/place"], seen_only=[], episodes=7))
    assert stage.load(record)["parts"][0]["rows"][0]["n"] == 7


def test_a_readme_without_a_place_is_refused_before_anything_is_played(tmp_path: Path) -> None:
    executor = Played()
    for text in ("# Nothing", README + page.END, f"{page.END}{page.BEGIN}"):
        (tmp_path / "README.md").write_text(text)
        with pytest.raises(ConfigError, match="no place for the table"):
            stage.run(small(), tmp_path / "out", tmp_path / "docs", tmp_path / "README.md", executor=executor)
    with pytest.raises(ConfigError, match="no such file"):
        stage.run(small(), tmp_path / "out", tmp_path / "docs", tmp_path / "none.md", executor=executor)
    assert not executor.played


def test_objects_of_the_users_own_are_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srcli.objects.library.library_records", lambda folder: {"my_cup": {}})
    executor = Played()
    with pytest.raises(ConfigError, match=r"1 object\(s\) of your own .*my_cup"):
        measure(tmp_path, executor=executor)
    assert not executor.played


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parts": 1}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        stage.load(tmp_path / "results.json")
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"no record|not JSON"):
        stage.load(tmp_path / "results.json")


def test_numbers_of_this_package_are_not_old(data: dict[str, Any]) -> None:
    assert age.outdated(data) == []


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("schema",), 0, "all parts: format 0"),
        (("parts", 0, "commit"), "abc-dirty", "wide/pick: measured in a changed work tree (abc-dirty)"),
        (("parts", 1, "code"), "0" * 64, "wide/place: older than the code that every episode goes through (measured with 0000"),
        (("parts", 0, "parameters", "digest"), "0" * 12, "wide/pick: older than the defaults of params.yaml"),
        (("parts", 0, "parameters", "differ"), {"sim.gone": 1}, "wide/pick: measured with parameters that there are no longer"),
        (("parts", 0, "weights", "encoder"), "0" * 64, "wide/pick: older than the encoder (measured with 0000"),
        (("parts", 0, "weights", "grasp quality network"), "0", "wide/pick: older than the grasp quality network"),
        (("parts", 0, "weights", "catalogue of objects"), "0", "wide/pick: older than the catalogue of objects"),
        (
            ("parts", 2, "methods", "sr_plus", "policy"),
            "0",
            "wide/pick@seen-only, sr_plus: older than the policy that is shipped",
        ),
        (("parts", 0, "methods", "random", "code"), "0", "wide/pick, random: older than the method's code"),
        (("parts", 0, "methods", "sr_plus", "settings", "digest"), "0", "wide/pick, sr_plus: older than the method's settings"),
        (("parts", 0, "methods", "random", "method"), "gone", "wide/pick, random: measured with what there is no longer"),
    ],
)
def test_a_number_that_is_older_is_named_with_its_reason(
    data: dict[str, Any], where: tuple[Any, ...], value: Any, said: str
) -> None:
    node = data
    for key in where[:-1]:
        node = node[key]
    node[where[-1]] = value
    (line,) = age.outdated(data)
    assert line.startswith(said) and line.endswith("`make results`")


def test_shared_code_is_what_an_episode_goes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "srcli"
    shutil.copytree(facts.package(), copied, ignore=shutil.ignore_patterns("__pycache__", "*.h5", "pretraining", "reporting"))
    before = facts.shared_code(), facts.method_code("sr_plus"), facts.method_code("random")
    monkeypatch.setattr(facts, "package", lambda: copied)
    assert (facts.shared_code(), facts.method_code("sr_plus"), facts.method_code("random")) == before

    def edited(name: str, tail: str) -> tuple[bool, bool, bool]:
        file = copied / name
        text = file.read_text()
        file.write_text(text + tail)
        now = facts.shared_code(), facts.method_code("sr_plus"), facts.method_code("random")
        file.write_text(text)
        shared, learned, random = (a != b for a, b in zip(now, before, strict=True))
        return shared, learned, random

    assert edited("sim/world.py", "\n# A remark.\n") == (False, False, False)
    assert edited("sim/world.py", "\nMORE = 1\n") == (True, False, False)
    assert edited("methods/sr/network.py", "\nMORE = 1\n") == (False, True, False)
    assert edited("methods/random.py", "\nMORE = 1\n") == (False, False, True)
    assert edited("cli/results.py", "\nMORE = 1\n") == (False, False, False)
    # Weights and the catalogue have digests of their own.
    assert edited("perception/weights/embedded.json", "\n") == (False, False, False)
    assert edited("objects/data/toys.yaml", "\n") == (False, False, False)
    assert edited("evaluation/data/pick_cases.yaml", "\n") == (True, False, False)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_numbers_belong_to_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    root = tmp_path / "project"
    (root / "srcli").mkdir(parents=True)
    monkeypatch.setattr(facts, "package", lambda: root / "srcli")
    assert facts.commit([]) == facts.__version__

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")
        subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)

    git("init")
    assert facts.commit([]) == facts.__version__, "the package is not part of the repository that it lies in"
    for name in ("srcli/__init__.py", "README.md", "params.yaml"):
        (root / name).write_text("1\n")
    git("add", "-A")
    git("commit", "-m", "one")
    git("tag", "v7")
    assert facts.commit([]) == "v7"
    # Notes beside the package and the files that the results are written into are no change.
    (root / "notes.txt").write_text("1")
    (root / "README.md").write_text("2\n")
    assert facts.commit([root / "README.md"]) == "v7"
    (root / "srcli" / "new file.py").write_text("1")
    with pytest.raises(ConfigError, match=r"changes \(srcli/new file\.py\)") as caught:
        facts.commit([root / "README.md"])
    assert "--allow-dirty" in caught.value.hint
    assert facts.commit([root / "README.md"], allow_dirty=True) == "v7-dirty"
    (root / "srcli" / "new file.py").unlink()
    (root / "params.yaml").write_text("2\n")
    with pytest.raises(ConfigError, match=r"params\.yaml"):
        facts.commit([root / "README.md"])


def test_the_command_plans_and_writes(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["results", "--dry-run", "--json", "--part", "wide/pick", "--episodes", "4", "-S", "results.methods=[sr_plus,random]"]
    told = json.loads(CliRunner().invoke(app, [*line, "-S", "results.parts=[wide/pick]"]).stdout)
    # Two splits of four scenes; SR+, five controls, random.
    assert told["does"] == ["wide/pick: play 56 of 56 episodes, methods sr_plus, untrained:sr_plus, random"]
    assert told["settings"]["results"]["episodes"] == 4 and told["writes"] == ["runs/results"]
    shutil.copytree(measured / "docs", tmp_path / "docs")
    (tmp_path / "docs" / "results.md").unlink()
    (tmp_path / "README.md").write_text(README)
    result = CliRunner().invoke(app, ["results", "--write", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["page"] == "docs/results.md"
    assert (tmp_path / "README.md").read_text() == (measured / "README.md").read_text()
    (tmp_path / "docs" / "results.json").unlink()
    failed = CliRunner().invoke(app, ["results", "--write"])
    assert failed.exit_code != 0 and "nothing has been measured yet" in failed.output


@pytest.mark.parametrize(
    ("low", "high", "least", "said"),
    [
        (0.01, 0.2, 0.0, "confirmed"),
        (-0.2, -0.01, 0.0, "refuted"),
        (-0.1, 0.1, 0.0, "not resolved (seen from 14 points on)"),
        (0.05, 0.19, 0.2, "refuted"),
        (0.16, 0.4, 0.15, "confirmed"),
        (0.0, 0.2, 0.0, "not resolved (seen from 14 points on)"),
    ],
)
def test_a_verdict_is_that_of_the_interval(low: float, high: float, least: float, said: str) -> None:
    assert verdict(low, high, least) == said


def test_claims_are_told_from_the_paired_differences_of_the_strict_rows() -> None:
    def row(method: str, k: int, difference: float, control: bool = False, split: str = "unseen") -> dict[str, Any]:
        paired = {"first": {"difference": difference, "interval": [difference - 0.05, difference + 0.05]}}
        told = {"to_reference": None if method == "sr" else paired, "to_control": paired if control else None}
        return {"method": method, "split": split, "n": 100, "first": {"k": k}, **told}

    rows = [row("sr", 60, 0.5, control=True), row("untrained:sr", 10, -0.5), row("base", 70, 0.1), row("a2", 30, -0.3)]
    part = {"part": "wide/pick@strict", "reference": "sr", "confidence": 0.95, "rows": [*rows, row("sr", 50, 0.0, split="seen")]}
    lines = {line[0]: line[2:] for line in verdicts([part])}
    assert lines["SR learns: picking"] == ["60.0% against 10.0%: +50.0 [+45.0, +55.0]", "confirmed"]
    assert lines["SR over BASE: picking"] == ["60.0% against 70.0%: -10.0 [-15.0, -5.0]", "refuted"]
    assert lines["SR over A2: picking"][1] == "confirmed"
    assert lines["SR over SR-A: picking"] == lines["SR over BASE: placing"] == ["", "not measured"]
