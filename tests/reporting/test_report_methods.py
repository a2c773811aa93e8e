"""What rows are called and compared with: by result file and specification, never by a name in the code."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import h5py
import pytest
from report_inputs import CONTROL, TOP, ablation, attribution, described, evaluation, policy, result, sweep

from srcli.artifacts.seal import seal
from srcli.config.evaluate import EvaluateConfig
from srcli.methods.registry import specs
from srcli.params import Params
from srcli.reporting.attribution import attribution as section
from srcli.reporting.blocks import Chart, Measure, Missing, Row, Table
from srcli.reporting.claims import claims
from srcli.reporting.compose import best_rows, headline, lead, overview
from srcli.reporting.families import families
from srcli.reporting.naming import MARK, NO_CONTROL, colours, default_method, named, rank, without_control
from srcli.reporting.page import render_page
from srcli.reporting.result_files import gather
from srcli.reporting.studies import table3, table4
from srcli.reporting.style import METHOD_COLOURS
from srcli.reporting.tables import table1, table2
from srcli.reporting.training import pairs, training
from srcli.stages import report

STRICT = {"base": 12, "sr_a": 26, "sr": 20}
PLUS = {"base_plus": 8, "sr_a_plus": 30, TOP: 32}


def lines(table: Table) -> dict[str, Row]:
    """Rows of a table by their first cell; of equal ones the last."""
    return {str(row.cells[0]): row for row in table.rows}


def verdicts(folder: Path) -> dict[str, str]:
    table = claims(gather([folder])).blocks[0]
    assert isinstance(table, Table)
    return {str(row.cells[0]): str(row.cells[2]) for row in table.rows}


def test_usual_methods_have_distinct_colours_that_stay() -> None:
    rules = (name for name, spec in specs().items() if spec.fit is None and spec.fidelity != "adapter")
    usual = [*PLUS, *STRICT, "a2", *rules]
    together = colours([named(name) for name in usual])
    assert len(set(together.values())) == len(usual) == METHOD_COLOURS
    for pair in combinations(usual, 2):
        assert colours([named(name) for name in pair]) == {name: together[name] for name in pair}
    assert colours([named(TOP), named(CONTROL)])[CONTROL] == together[TOP]
    branches = [TOP, "sr_plus_relu", "sr_plus_softmax", "somebodys", "a2_metres"]
    assert len(set(colours([named(name) for name in branches]).values())) == len(branches)


def test_titles_come_from_the_file_first() -> None:
    assert named(TOP).title == "SR+" and named(CONTROL).title == "SR+, untrained"
    assert named("beside").title == specs()["beside"].title
    assert named(TOP, {"method": TOP, "title": "as it was called"}).title == "as it was called"
    assert named(CONTROL, {**described(CONTROL), "title": "SR+, untrained"}).title == "SR+, untrained"
    absent = named("somebodys", {"method": "somebodys", "title": "Somebody's", "control": False, "policy": "ab"})
    assert (absent.title, absent.learned, absent.paper_row, absent.family) == ("Somebody's", True, "", "")
    assert named("somebodys").title == "somebodys" and named("untrained:somebodys").title == "somebodys, untrained"


def test_files_of_the_first_version_do_not_claim_todays_identifiers(tmp_path: Path) -> None:
    methods = {"sr": {"privileged": False, "policy": "ab"}, "random": {"privileged": False, "policy": None}}
    wins = {("sr", "pick", "unseen"): 10, ("random", "pick", "unseen"): 3}
    (found,) = gather([evaluation(tmp_path / "r.h5", wins, methods=methods)]).evaluations
    first, other = found.methods
    assert (first.title, first.paper_row, first.learned) == ("sr, first version", "", True)
    assert other.title == specs()["random"].title


def test_a_named_policy_keeps_its_name_beside_the_title(tmp_path: Path) -> None:
    methods = {TOP: described(TOP), "mine": {**described(TOP), "policy": "ef" * 32}, CONTROL: described(CONTROL)}
    wins = {(name, "pick", "unseen"): 10 for name in methods}
    (found,) = gather([evaluation(tmp_path / "r.h5", wins, methods=methods)]).evaluations
    assert [who.title for who in sorted(found.methods, key=rank)] == ["SR+ (mine)", "SR+", "SR+, untrained"]
    assert without_control(found.methods) == frozenset()
    assert lead(gather([tmp_path])) == found.named(TOP)


def test_a_report_is_made_where_the_users_method_is_absent(tmp_path: Path) -> None:
    names = ("somebodys", "untrained:somebodys", "lone")
    methods = {name: described(name, "Somebody's" if "body" in name else "Alone") for name in names}
    methods["random"] = described("random")
    wins = {("somebodys", "pick", "unseen"): 16, ("untrained:somebodys", "pick", "unseen"): 2, ("lone", "pick", "unseen"): 9}
    evaluation(tmp_path / "r.h5", wins | {("random", "pick", "unseen"): 3}, methods=methods)
    policy(tmp_path / "p.h5", "somebodys", 2.0)
    summary = report.run(Params(), [tmp_path], tmp_path / "out", Params().report.model_copy(update={"replay": False}))
    text = summary.markdown.read_text("utf-8")
    assert "| Somebody's | 16/20" in text and "| Somebody's, untrained | 4/40" in text
    assert f"| Alone{MARK} | 9/20" in text and NO_CONTROL in text
    assert "16/20" in summary.headline and "4/40" in summary.headline and "3/20" in summary.headline
    assert not summary.unreadable and summary.policies == 1


def test_controls_stand_beside_their_methods_and_missing_ones_are_marked(tmp_path: Path) -> None:
    wins = {(name, "pick", "unseen"): k for name, k in ((TOP, 15), (CONTROL, 6), ("a2", 14), ("random", 4))}
    results = gather([evaluation(tmp_path / "r.h5", wins)])
    for part in (table1(results), table2(results)):
        table = next(block for block in part.blocks if isinstance(block, Table))
        own = [str(row.cells[0]) for row in table.rows if row.kind in ("ours", "control")]
        assert own == ["SR+", "SR+, untrained", f"A2{MARK}", "random candidate"]
        assert NO_CONTROL in table.note
        assert lines(table)["SR+, untrained"].kind == "control"
    assert "untrained 30%, first attempt 30.0%" in str(overview(results))
    told = headline(results)
    assert "75.0% for SR+" in told and "30.0% (12/40 within all attempts) for its untrained control" in told
    assert "20.0% (4/20 within all attempts) for the best that learns nothing (random candidate)" in told


def test_each_form_is_compared_within_itself(tmp_path: Path) -> None:
    ablation(tmp_path / "ablation.h5", {**PLUS, **STRICT, CONTROL: 39, "base_words_plus": 9, "a2": 33})
    results = gather([tmp_path])
    plus, strict = families(results)
    assert [plus.title(row) for row in ("SR", "SR-A", "BASE")] == ["SR+", "SR-A+", "BASE+"]
    assert strict.title("SR") == "SR" and strict.unmatched == {"SR", "SR-A", "BASE"} and plus.unmatched == {"SR-A", "BASE"}
    # The differences of the file are to SR+: they say nothing of the strict forms among themselves.
    assert plus.cells["BASE", "pick", "unseen"]["paired"] and not strict.cells["BASE", "pick", "unseen"]["paired"]
    first, second, others = (block for block in table3(results).blocks if isinstance(block, Table))
    assert [str(row.cells[0]) for row in first.rows[1:]] == ["SR+", "SR+, untrained", f"SR-A+{MARK}", f"BASE+{MARK}"]
    assert [str(row.cells[0]) for row in second.rows[1:]] == [f"SR{MARK}", f"SR-A{MARK}", f"BASE{MARK}"]
    assert "SR-A+" in first.caption and "SR-A+" not in second.caption
    assert {str(row.cells[0]) for row in others.rows} == {f"BASE+ with words{MARK}", f"A2{MARK}"}
    assert "differences to: SR+" in others.note and NO_CONTROL in others.note
    found = verdicts(tmp_path)
    # The control solves more than any, and is no rival.
    assert found["SR+ succeeds more often than BASE+: pick, unseen"] == "confirmed"
    assert found["SR succeeds more often than SR-A: pick, unseen"] == "not resolved (opposite sign)"
    assert found["SR succeeds more often than BASE: pick, unseen"] == "not resolved (sign as claimed)"


def test_a_form_comes_from_evaluations_where_no_study_has_it(tmp_path: Path) -> None:
    wins = {(name, "pick", "unseen"): k // 2 for name, k in STRICT.items()}
    evaluation(tmp_path / "wide.h5", {("sr", "pick", "unseen"): 1}, suite="paper")
    evaluation(tmp_path / "r.h5", wins, suite="wide")
    (family,) = families(gather([tmp_path]))
    assert set(family.methods) == {"SR", "SR-A", "BASE"}
    assert family.cells["SR", "pick", "unseen"]["successes"] == 10, "all rows of one evaluation, not the first row of any"


def test_studies_of_other_choices_are_no_rows_of_the_paper(tmp_path: Path) -> None:
    ablation(tmp_path / "study-layers.h5", {"1": 20, "0": 18}, reference="1", study="layers")
    results = gather([tmp_path])
    assert families(results) == ()
    (table,) = (block for block in table3(results).blocks if isinstance(block, Table))
    assert [str(row.cells[0]) for row in table.rows] == [f"layers: 1{MARK}", f"layers: 0{MARK}"]
    assert "layers" in table.caption and "differences to: layers: 1" in table.note
    assert verdicts(tmp_path)["SR succeeds more often than BASE: pick, unseen"] == "not measured"


def test_noise_has_a_line_for_each_method_and_its_control(tmp_path: Path) -> None:
    methods = {"sr_softmax": 10, "sr_relu": 12, "sr": 25, "untrained:sr": 28, "base": 29}
    sweep(tmp_path / "noise.h5", {(m, x): k for m, k in methods.items() for x in (0.0, 0.2)}, reference="sr")
    part = table4(gather([tmp_path]))
    table = next(block for block in part.blocks if isinstance(block, Table))
    assert table.headers[1:6] == tuple(
        f"{title} %" for title in ("SR", "SR, untrained", f"BASE{MARK}", f"SR, ReLU branch{MARK}", f"SR, softmax branch{MARK}")
    )
    chart = next(block for block in part.blocks if isinstance(block, Chart))
    assert chart.svg.count("<polyline") == 5 and "dashed" in chart.svg and "σ" not in chart.svg
    found = verdicts(tmp_path)
    (text,) = (key for key in found if key.startswith("ReLU²"))
    assert "sigma 0.2" in text and "BASE" not in text and "untrained" not in text and "(best: SR, ReLU branch)" in text
    assert found[text] == "confirmed"


def test_losses_are_those_of_one_form(tmp_path: Path) -> None:
    policy(tmp_path / "a.h5", TOP, 2.0)
    policy(tmp_path / "b.h5", "sr_a", 2.2)
    assert pairs(gather([tmp_path])) == ()
    (gap,) = training(gather([tmp_path])).missing
    assert gap.command.endswith("--method sr_a_plus --out results/train/sr_a_plus.h5")
    policy(tmp_path / "c.h5", "sr", 2.5)
    policy(tmp_path / "d.h5", "sr", 1.0, 0, {"network.encoder.layers": 2})
    (pair,) = pairs(gather([tmp_path]))
    assert [p.path.name for p in pair["SR"]] == ["c.h5"], "changed settings do not stand for the method"
    assert verdicts(tmp_path)["The final training loss of SR is below that of SR-A"] == "not resolved (opposite sign)"


@pytest.mark.parametrize(("control", "anew"), [(True, True), (False, False)])
def test_attribution_shows_what_each_part_is_worth(tmp_path: Path, control: bool, anew: bool) -> None:
    results = gather([attribution(tmp_path / "study-attribution.h5", control, anew)])
    part = section(results)
    chart, table = part.blocks
    assert isinstance(chart, Chart) and isinstance(table, Table)
    groups = [str(row.cells[0]) for row in table.rows if row.kind == "group"]
    assert groups == [
        "Parts of the paper",
        "Additions of ours",
        "The rule that chooses",
        *(["Nothing learned"] if control else []),
    ]
    assert str(table.rows[0].cells[0]) == ("SR+, all parts" if control else f"SR+{MARK}, all parts")
    assert (NO_CONTROL in table.note) == (not control)
    at = table.headers.index("place, unseen: k/n")
    row = lines(table)["without rings"].cells
    assert row[at] == "14/60" and isinstance(row[at + 2], Measure) and row[at + 2].text.startswith("-66.7 [")
    pick = table.headers.index("pick, unseen: k/n")
    assert (row[pick], row[pick + 2]) == ("60/60", "80.0") and isinstance(row[pick + 3], Measure)
    assert row[pick + 3].text.startswith("-3.3 ["), "at the first attempt"
    assert ("trained without: @1 %" in table.headers) == anew
    if anew:
        # Against the method that was trained anew with all parts: 45 - 46 of 60.
        assert isinstance(row[pick + 5], Measure) and row[pick + 5].text.startswith("-1.7 [")
        assert lines(table)["without cosine_start"].cells[pick] == "", "nothing is left to leave out after training"
    dots = chart.svg.count("<circle")
    assert dots == 2 * (4 + control + 2 * anew)
    assert (chart.svg.count('class="ring') == 4) == anew
    assert isinstance(section(gather([policy(tmp_path / "p.h5", TOP, 2.0)])).blocks[0], Missing)


def test_curves_of_the_package_stand_in_where_an_ablation_took_its_policies(tmp_path: Path) -> None:
    ablation(tmp_path / "ablation.h5", {"base": 12, "sr_a": 26, "sr": 20}, reference="sr", origin="shipped")
    drawn = training(gather([tmp_path]))
    assert drawn.missing == () and [type(block) for block in drawn.blocks][:1] == [Chart]
    assert isinstance(drawn.blocks[0], Chart) and drawn.blocks[0].caption.endswith("Policies of the package.")
    ablation(tmp_path / "ablation.h5", {"base": 12, "sr_a": 26, "sr": 20}, reference="sr")
    assert training(gather([tmp_path])).missing


def test_defaults_are_found_by_specification() -> None:
    reference = EvaluateConfig().reference
    assert default_method("SR") == reference and default_method("no such row") == ""
    assert specs()[default_method("BASE")].paper_row == "BASE"


def test_the_page_has_a_colour_for_every_drawing(tmp_path: Path) -> None:
    from srcli.reporting.blocks import Report

    page = render_page(Report("t", "h", (section(gather([attribution(tmp_path / "study-attribution.h5")])),)))
    for number in range(METHOD_COLOURS):
        assert page.count(f"--c{number}:") == 3, "light, dark by system, dark by choice"


def test_the_attribution_picture_has_a_bar_for_each_difference(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    from srcli.studies.figures import Removed, draw_attribution
    from srcli.studies.tables import Episode, study_rows

    arms = {
        "full": Removed("all parts", "", ""),
        "without_mask": Removed("without the mask", "mask", "paper"),
        "anew": Removed("all parts, trained anew", "", "", True),
        "anew_mask": Removed("trained without the mask", "mask", "paper", True),
        "untrained": Removed("SR+, untrained", "", "control"),
    }
    wins = {"full": 30, "without_mask": 12, "anew": 28, "anew_mask": 20, "untrained": 4}
    episodes = [Episode(arm, 0, "pick", result(arm, "pick", "unseen", i, i < k)) for arm, k in wins.items() for i in range(40)]
    references = {arm: "anew" if removed.anew else "full" for arm, removed in arms.items()}
    rows = study_rows(episodes, references, resamples=50, untaught=["untrained"])
    whole = np.asarray(Image.open(draw_attribution(tmp_path / "a.png", rows, arms)).convert("RGB"), dtype=int)
    fitted = [row for row in rows if row.arm in ("full", "without_mask")]
    less = np.asarray(Image.open(draw_attribution(tmp_path / "b.png", fitted, arms)).convert("RGB"), dtype=int)

    def painted(image: np.ndarray, colour: tuple[int, int, int]) -> int:
        return int((np.abs(image - colour).max(axis=2) < 45).sum())

    blue, grey = (27, 108, 168), (120, 120, 120)
    assert painted(whole, blue) > 2000 and painted(less, blue) > 2000
    assert painted(whole, grey) > 4 * painted(less, grey), "the control has a bar of its own"
    assert whole.shape[0] > less.shape[0], "and a line"


def test_of_several_evaluations_the_undisturbed_one_comes_first_and_a_disturbance_is_named(tmp_path: Path) -> None:
    """Whatever the folders are called: "place-disturbed" sorts before "place/"."""
    for name, moved in (("place-a-disturbed", (0.015, 0.15)), ("place-b-disturbed", (0.005, 0.05)), ("place-c", (0.0, 0.0))):
        file = evaluation(tmp_path / name / "results.h5", {(TOP, "place", "unseen"): 11 if moved[0] else 15})
        with h5py.File(file, "r+") as handle:
            config = json.loads(handle.attrs["config"])
            config.setdefault("evaluate", {})["perturb"] = {"translation": moved[0], "rotation": moved[1]}
            handle.attrs["config"] = json.dumps(config)
        seal(file)
    results = gather([tmp_path])
    assert [e.disturbance for e in results.evaluations if e.task == "place"] == [(0.0, 0.0), (0.005, 0.05), (0.015, 0.15)]
    assert best_rows(results, TOP)["place", "unseen"].row["successes"] == 15
    shown = str(table1(results).blocks)
    assert "actions disturbed by 5 mm and 0.05 rad" in shown and "actions disturbed by 15 mm and 0.15 rad" in shown
