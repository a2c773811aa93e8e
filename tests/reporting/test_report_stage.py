"""From result files to the page: the numbers are those of the files, gaps are named, nothing is fetched."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_inputs import CONTROL, TOP, ablation, attribution, evaluation, policy, result, sweep
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.config.report import ReportConfig
from srcli.errors import ArtifactError
from srcli.evaluation.statistics import summarise_kinds
from srcli.evaluation.tables import to_json
from srcli.language.phrases import PHRASE_KINDS
from srcli.params import Params
from srcli.reporting import provenance
from srcli.reporting.blocks import Table
from srcli.reporting.claims import _fewer_steps, verdict
from srcli.reporting.failures import AIMED, aimed_right, failures, taxonomy
from srcli.reporting.families import PAPER_ROWS, Family
from srcli.reporting.result_files import ResultFiles, gather
from srcli.reporting.tables import KIND_TEXT, batches, table1
from srcli.stages import report

QUIET = ReportConfig(replay=False)
WINS = {
    (TOP, "pick", "seen"): 17,
    (TOP, "pick", "unseen"): 15,
    (CONTROL, "pick", "unseen"): 6,
    ("random", "pick", "unseen"): 4,
    ("expert", "pick", "unseen"): 19,
    (TOP, "place", "unseen"): 13,
}
VOID = {"meta", "img", "br", "line", "circle", "rect", "polygon", "polyline", "link", "input", "hr"}


class _Checker(HTMLParser):
    """Collects unbalanced tags and every address that a browser would follow by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.fetched += [str(values[key]) for key in ("src", "srcset", "data", "poster") if values.get(key)]
        self.fetched += [str(values["href"])] if tag == "link" else []
        self.ids += [str(values["id"])] if "id" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[report.Summary, str, str]:
    """A report of everything."""
    folder = tmp_path_factory.mktemp("results")
    evaluation(folder / "results.h5", WINS)
    ablation(folder / "ablation.h5", {"base_plus": 8, "sr_a_plus": 30, TOP: 32, CONTROL: 5})
    attribution(folder / "study-attribution.h5")
    points = [(m, x) for m in (f"{TOP}_softmax", f"{TOP}_relu", TOP) for x in (0.0, 0.1)]
    sweep(folder / "noise.h5", {(m, x): 20 + i for i, (m, x) in enumerate(points)})
    policy(folder / "a.h5", TOP, 2.0)
    policy(folder / "b.h5", "sr_a_plus", 2.2)
    (folder / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n nothing more")
    summary = report.run(Params(), [folder], folder / "out", QUIET)
    return summary, summary.page.read_text("utf-8"), summary.markdown.read_text("utf-8")


def test_page_is_well_formed_and_needs_no_other_file(full: tuple[report.Summary, str, str]) -> None:
    page = full[1]
    checker = _Checker()
    checker.feed(page)
    checker.close()
    assert checker.wrong == [] and checker.open == []
    assert all(address.startswith("data:") for address in checker.fetched)
    assert "http" not in page.replace("http-equiv", "") and "@import" not in page and "url(" not in page
    anchors = re.findall(r'href="#([^"]+)"', page)
    assert len(anchors) == 11 and set(anchors) <= set(checker.ids)
    assert "prefers-color-scheme" in page and "viewport" in page


def test_numbers_are_those_of_the_files_and_others_are_marked(full: tuple[report.Summary, str, str]) -> None:
    summary, page, markdown = full
    assert "15/20" in summary.headline and "75%" in summary.headline and "4/20" in summary.headline
    assert "12/40 within all attempts) for its untrained control" in summary.headline
    for text in (page, markdown):
        for number in ("17/20", "15/20", "13/20", "4/20", "75.0 [53, 89]", "8/40", "32/40", "A2, published", "second-hand"):
            assert number in text, number
    row = next(line for line in markdown.splitlines() if line.startswith("| _A2, published_") and "97.3" in line)
    assert row.count("_") >= 6
    sr_a = next(line for line in markdown.splitlines() if line.startswith("| SR-A+") and "30/40" in line)
    assert "not published in text" in sr_a
    assert "expert *" in page
    assert (summary.evaluations, summary.ablations, summary.sweeps, summary.policies) == (2, 2, 1, 2)


def test_claims_follow_from_the_paired_intervals(full: tuple[report.Summary, str, str]) -> None:
    rows = {cells[1].strip(): cells[3].strip() for line in full[2].splitlines() if len(cells := line.split("|")) == 5}
    assert rows["SR+ succeeds more often than BASE+: pick, unseen"] == "confirmed"
    assert rows["SR+ succeeds more often than SR-A+: pick, unseen"] in ("confirmed", "not resolved (sign as claimed)")
    assert rows["SR+ succeeds more often than BASE+: place, unseen"] == "not measured"
    (noisy,) = (text for text in rows if text.startswith("ReLU² is the best sparse branch: SR+ under noise, sigma 0.1"))
    assert noisy.endswith("SR+, softmax branch and SR+, ReLU branch (best: SR+, ReLU branch)")
    assert rows[noisy] in ("confirmed", "not resolved (sign as claimed)")
    assert rows["The final training loss of SR+ is below that of SR-A+"] == "not resolved (sign as claimed)"
    assert [verdict(0.0, True), verdict(-0.1, True), verdict(-0.1, False)] == [
        "not resolved (no difference)",
        "refuted",
        "not resolved (opposite sign)",
    ]


def test_unreadable_and_unset_episodes_are_listed(full: tuple[report.Summary, str, str]) -> None:
    summary, page, _ = full
    assert len(summary.unreadable) == 1 and "broken.h5" in summary.unreadable[0]
    assert "broken.h5" in page and "case-7" in page


def test_every_gap_names_its_command_and_the_page_is_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    summary = report.run(Params(), [tmp_path / "empty"], tmp_path / "out", QUIET)
    text = "\n".join(summary.missing)
    for command in (
        "srcli evaluate --task pick",
        "srcli evaluate --task place",
        "srcli ablate",
        "srcli ablate --study attribution",
        "srcli noise-sweep",
        "srcli train FEATURES --method sr_a_plus",
    ):
        assert command in text
    page = summary.page.read_text("utf-8")
    assert page.count("Not there yet.") == len(summary.missing)
    assert "A2, published" in page


def test_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    evaluation(tmp_path / "results.h5", WINS)
    pages = [report.run(Params(), [tmp_path / "results.h5"], tmp_path / name, QUIET).page.read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_named_files_must_exist_and_be_whole(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file or folder"):
        gather([tmp_path / "nothing"])
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"")
    with pytest.raises(ArtifactError, match="is empty"):
        gather([bad])


def test_a_file_of_two_tasks_is_told_apart(tmp_path: Path) -> None:
    results = gather([evaluation(tmp_path / "r.h5", WINS, n=10)])
    pick, place = results.evaluations
    assert (pick.task, place.task) == ("pick", "place")
    assert {row["method"] for row in place.rows} == {TOP}
    assert max(place.attempts["episode"]) == len(place.episodes["method"]) - 1 == 9
    counts, total = taxonomy(place)["unseen", TOP]
    assert (dict(counts), total) == ({}, 10)


def test_taxonomy_counts_every_failed_attempt(tmp_path: Path) -> None:
    pick = gather([evaluation(tmp_path / "r.h5", WINS)]).evaluations[0]
    counts, total = taxonomy(pick)["unseen", "random"]
    assert (dict(counts), total) == ({"wrong_object": 16, "nothing_held": 16}, 4 + 2 * 16)


def test_failed_grasps_at_a_right_object_are_told_apart(tmp_path: Path) -> None:
    pick = gather([evaluation(tmp_path / "r.h5", WINS)]).evaluations[0]
    aimed = aimed_right(pick)
    assert aimed is not None and aimed["unseen", "random"] == 8
    older = replace(pick, attempts={key: column for key, column in pick.attempts.items() if key != "aimed_right"})
    assert aimed_right(older) is None
    shown, plain = (failures(ResultFiles(evaluations=(part,))) for part in (pick, older))
    assert AIMED in str(shown) and AIMED not in str(plain)


def test_batches_keep_the_order_and_the_rest(tmp_path: Path) -> None:
    pick = gather([evaluation(tmp_path / "r.h5", {(m, "pick", "seen"): 12 for m in (TOP, CONTROL)}, n=25)]).evaluations[0]
    assert batches(pick, TOP, "seen") == [(10, 10, 1.0), (2, 10, 1.8), (0, 5, 2.0)]
    assert batches(pick, CONTROL, "seen") == [(20, 20, 1.0), (4, 20, 1.8), (0, 10, 2.0)], "scenes, not episodes, make a batch"


def test_attempts_of_a_batch_are_those_of_scenes_that_were_set_up(tmp_path: Path) -> None:
    pick = gather([evaluation(tmp_path / "r.h5", {(TOP, "pick", "seen"): 4}, n=10)]).evaluations[0]
    assert batches(pick, TOP, "seen") == [(4, 10, 1.6)]
    lost = {**pick.episodes, "not_set_up": np.array([False] * 8 + [True] * 2), "attempts": np.array([1] * 4 + [2] * 4 + [0] * 2)}
    assert batches(replace(pick, episodes=lost), TOP, "seen") == [(4, 10, 1.5)]


def test_tasks_of_other_packages_have_a_table(tmp_path: Path) -> None:
    found = gather([evaluation(tmp_path / "r.h5", {(TOP, "pick", "seen"): 4}, n=10)])
    own = ResultFiles(evaluations=tuple(replace(e, task="stack") for e in found.evaluations))
    assert "**stack**" in repr(table1(own)) and "**stack**" not in repr(table1(found))


def test_episodes_per_method_are_scenes_whatever_a_control_plays(tmp_path: Path) -> None:
    pick = gather([evaluation(tmp_path / "r.h5", {(m, "pick", "seen"): 4 for m in (TOP, CONTROL)}, n=10)]).evaluations[0]
    controls = [r for r in pick.rows if r["method"] == CONTROL]
    assert controls[0]["episodes"] == 20
    assert "10 / 0" in repr(provenance._row(pick))


def test_steps_that_nobody_has_are_no_claim() -> None:
    cells: Any = {
        (row, "pick", "unseen"): {"steps_all": steps} for row, steps in zip(PAPER_ROWS, (1.0, None, None), strict=False)
    }
    assert "not measured" in repr(_fewer_steps(Family(cells=cells), "pick"))


def test_command_line_plans_without_doing(tmp_path: Path) -> None:
    evaluation(tmp_path / "r.h5", WINS)
    done = CliRunner().invoke(app, ["report", str(tmp_path), "--out", str(tmp_path / "out"), "--dry-run", "--json"])
    plan = json.loads(done.stdout)
    assert plan["reads"] == [str(tmp_path / "r.h5")] and not (tmp_path / "out").exists()
    failed = CliRunner().invoke(app, ["report", str(tmp_path / "nothing"), "--dry-run"])
    assert failed.exit_code == 3 and "no such file or folder" in failed.stderr


def test_what_a_study_keeps_for_itself_is_not_shown_twice(tmp_path: Path) -> None:
    wins = {(TOP, "pick", "unseen"): 10}
    own = evaluation(tmp_path / "evaluation" / "pick" / "results.h5", wins)
    ablation(tmp_path / "ablation" / "ablation.h5", {"base_plus": 10, TOP: 20})
    inner = evaluation(tmp_path / "ablation" / "evaluation" / "variants" / "points" / "results.h5", wins)
    found = gather([tmp_path])
    assert [Path(e.name) for e in found.evaluations] == [own] and len(found.ablations) == 1
    assert [Path(e.name) for e in gather([inner]).evaluations] == [inner], "named, it is read"


def test_kinds_of_sentences_have_rows_of_their_own(tmp_path: Path) -> None:
    """From the real results of a suite with kinds, as `srcli evaluate` writes them."""
    results = [
        replace(result("sr", "pick", "unseen", i, success=i % 3 == 0), kind=PHRASE_KINDS[i % 3], key=f"k{i}") for i in range(12)
    ]
    kinds = to_json(summarise_kinds(results, "sr"))
    evaluation(tmp_path / "results.h5", {("sr", "pick", "unseen"): 4}, suite="compositional")
    results = gather([tmp_path])
    (found,) = results.evaluations
    (block,) = [
        b
        for b in table1(replace(results, evaluations=(replace(found, summary={**found.summary, "kinds": kinds}),))).blocks
        if isinstance(b, Table) and any("suite `compositional`" in str(row.cells[0]) for row in b.rows)
    ]
    groups = [str(row.cells[0]) for row in block.rows if row.kind == "group"]
    assert [kind for kind in KIND_TEXT if any(KIND_TEXT[kind] in group for group in groups)] == list(PHRASE_KINDS)
    counts = [row.cells[1] for row in block.rows if row.kind == "ours"]
    assert counts[1:] == ["4/4", "0/4", "0/4"]
