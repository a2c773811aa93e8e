"""The evaluate stage with played-out records instead of a simulator: files, resuming, pairing."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from srcli import api
from srcli.actions.closing import SHIPPED
from srcli.actions.sources import content_of
from srcli.artifacts.digests import code_origin, file_digest
from srcli.artifacts.evaluation import load_evaluation
from srcli.config.candidates import CandidateConfig
from srcli.config.language import LanguageConfig
from srcli.errors import ArtifactError, BusyError, ConfigError, MismatchError, SrcliError, UnknownNameError
from srcli.evaluation import plan
from srcli.evaluation.journal import Journal, code_digest
from srcli.evaluation.methods import chosen_methods, method_sections, resolve_methods
from srcli.evaluation.plan import calibration_episodes, picture_of, pictures_of
from srcli.evaluation.report import PlayedEpisode, tables
from srcli.evaluation.results import described
from srcli.evaluation.suites import suite_episodes
from srcli.evaluation.worker import Job, Setup
from srcli.methods.policy_file import read_policy
from srcli.methods.registry import shipped
from srcli.params import Params
from srcli.params.loading import override
from srcli.stages import replay
from srcli.stages.evaluate import run


class FakeExecutor:
    """Plays every job as a function of its seed alone; may break down after a number of jobs."""

    workers = 1

    def __init__(self, breaks_after: int = 10**9) -> None:
        self.left = breaks_after
        self.played: list[tuple[str, int | None]] = []

    def imap(
        self,
        function: Callable[[Any], Any],
        jobs: Iterable[Any],
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> Iterator[Any]:
        setup: Setup = initargs[0]
        for job in jobs:
            if self.left == 0:
                raise SrcliError("a worker process died")
            self.left -= 1
            self.played += [(job.episode.key, method) for method in job.methods or (None,)]
            if job.methods:
                yield [self.play(job, setup.methods[method].name) for method in job.methods]
            else:
                yield [{"positive": [0.7, 0.8], "negative": [0.1, 0.2]}]

    def play(self, job: Job, name: str) -> dict[str, Any]:
        episode = job.episode
        wins = name == "expert" or zlib.crc32(f"{name}{episode.key}".encode()) % 2 == 0
        if episode.task == "place":
            return self.place(job, wins)
        attempt = {"phase": "pick", "slot": 1, "object": "apple", "candidates": 40, "excluded": 0, "index": 3, "steps": 300}
        miss = {**attempt, "reason": "wrong_object", "similarity": 0.3}
        hit = {**attempt, "reason": "success", "similarity": 0.6}
        return {
            "key": episode.key,
            "task": episode.task,
            "seed": list(episode.seed),
            "split": episode.split,
            "cluster": episode.cluster,
            "case": "",
            "wording": episode.wording,
            "instruction": "give me the apple",
            "keyword_kind": "label",
            "success": wins,
            "ended": "",
            "attempts": [miss, hit] if wins else [miss] * 8,
        }

    def place(self, job: Job, wins: bool) -> dict[str, Any]:
        """A placement; the first seen scene can never be built, and the index rule is always content."""
        episode = job.episode
        built = not (episode.split == "seen" and episode.index == 0)
        attempt = {
            "phase": "place", "reason": "success" if wins else "wrong_region", "slot": 8, "object": "apple", "candidates": 40,
            "excluded": 0, "valid": 7, "index": 3, "steps": 300, "similarity": None, "index_rule": 1.0,
        }  # fmt: skip
        return {
            "key": episode.key,
            "task": "place",
            "seed": list(episode.seed),
            "split": episode.split,
            "cluster": episode.cluster,
            "case": "",
            "wording": episode.wording,
            "instruction": "put it near the apple",
            "keyword_kind": "",
            "relation": "near",
            "region": "around",
            "reference": "apple",
            "held": "lemon",
            "success": wins and built,
            "ended": "" if built else "not set up",
            "attempts": [attempt] if built else [],
        }


def params(**evaluate_section: Any) -> Params:
    section = {"methods": ["random", "expert"], "reference": "random", "episodes": 6, "figure_cases": 0, "bootstrap": 100}
    return Params.model_validate({"seed": 5, "evaluate": {**section, "calibration_scenes": 4, **evaluate_section}})


def test_writes_results_tables_and_pictures(tmp_path: Path) -> None:
    summary = run(params(), [], tmp_path, executor=FakeExecutor())
    assert (summary.played, summary.kept) == (24, 0)
    loaded = load_evaluation(summary.results)
    assert len(loaded.episodes["method"]) == 24
    assert set(loaded.episodes["split"]) == {"seen", "unseen"}
    assert len(loaded.attempts["reason"]) == sum(loaded.episodes["attempts"])
    for row, wins in enumerate(loaded.episodes["success"]):
        reasons = loaded.attempts["reason"][loaded.attempts["episode"] == row]
        assert (reasons[-1] == "success") == bool(wins)
    data = json.loads(summary.json.read_text())
    assert data["similarity_threshold"]["value"] == pytest.approx(0.45)
    assert data["runs"] == 1 and data["methods"]["expert"]["privileged"]
    assert "| seen | expert* | 6/6 |" in summary.table.read_text()
    assert all(path.stat().st_size > 5000 for path in summary.figures)
    expert = next(r for r in summary.rows if r.method == "expert" and r.split == "seen")
    assert expert.similar == 6 and expert.within == {1: 0, 2: 6, 4: 6, 8: 6} and expert.paired is not None


def test_tasks_have_rows_of_their_own_and_what_is_not_set_up_is_counted(tmp_path: Path) -> None:
    summary = run(params(tasks=["pick", "place"]), [], tmp_path, executor=FakeExecutor())
    assert summary.played == 48
    rows = {(r.task, r.split, r.method): r for r in summary.rows}
    assert len(rows) == 8
    seen = rows["place", "seen", "expert"]
    assert (seen.successes, seen.episodes, seen.not_set_up, seen.index_rule) == (5, 6, 1, 5)
    assert seen.within == {} and seen.steps_all == 1.0 and seen.similar is None
    pick = rows["pick", "seen", "expert"]
    assert pick.not_set_up == 0 and pick.index_rule is None
    data = json.loads(summary.json.read_text())
    (missing,) = data["not_set_up"]
    assert (missing["task"], missing["split"], missing["methods"]) == ("place", "seen", ["random", "expert"])
    assert data["metrics"]["place/seen/expert"]["success"] == pytest.approx(5 / 6)
    table = summary.table.read_text()
    assert "Not set up (counted as failures):" in table and missing["key"] in table
    loaded = load_evaluation(summary.results)
    place = loaded.episodes["task"] == "place"
    assert loaded.episodes["not_set_up"][place].sum() == 2 and not loaded.episodes["not_set_up"][~place].any()
    assert set(loaded.episodes["region"][place]) == {"around"}
    assert set(loaded.attempts["index_rule"][loaded.attempts["phase"] == "place"]) == {1.0}


def test_a_record_from_before_there_were_tasks_is_one_of_picking() -> None:
    attempt = {"reason": "success", "slot": 1, "object": "apple", "candidates": 4, "excluded": 0, "index": 3, "steps": 3}
    record = {"key": "k", "split": "seen", "cluster": "c", "case": "", "wording": "train", "instruction": "give me the apple"}
    played = PlayedEpisode("m", {**record, "success": True, "ended": "", "attempts": [{**attempt, "similarity": 0.5}]})
    result = played.result(None)
    assert (result.task, result.picked, result.index_rule, result.not_set_up) == ("pick", 1, None, False)
    episodes, attempts = tables([played], [result])
    assert episodes["index_rule"] == [-1] and attempts["phase"] == ["pick"] and attempts["valid"] == [-1]


def test_what_is_held_at_the_end_was_picked() -> None:
    attempt = {"slot": 1, "object": "apple", "candidates": 4, "excluded": 0, "index": 3, "steps": 3, "similarity": None}
    record = {
        "key": "k",
        "split": "seen",
        "cluster": "c",
        "case": "",
        "wording": "train",
        "instruction": "",
        "task": "pick_place",
    }
    for reason, picked in (("success", 2), ("wrong_object", 0)):
        attempts = [{**attempt, "phase": "pick", "reason": r} for r in ("nothing_held", reason)]
        played = PlayedEpisode("m", {**record, "success": False, "ended": "no target left", "attempts": attempts})
        assert played.result(None).picked == picked


def test_pictures_are_those_of_the_episodes_and_weights_that_were_played(tmp_path: Path) -> None:
    episodes = suite_episodes("wide", 3, ("unseen",), episodes=2) + suite_episodes("development", 3, ("unseen",), episodes=2)
    (method,) = resolve_methods(["random"], [], method_sections(Params().methods))
    journal, other = (Journal(tmp_path / "episodes", name, {}) for name in ("one", "two"))
    paths = {picture_of(tmp_path, 0, method, j, episode) for j in (journal, other) for episode in episodes}
    assert len(paths) == 8
    wide, development = episodes[:2], episodes[2:]
    journals = {"pick": [journal]}
    assert pictures_of(wide, [method], journals, tmp_path, 1) == []
    path = picture_of(tmp_path, 0, method, journal, wide[0])
    path.parent.mkdir()
    path.write_bytes(b"picture")
    assert pictures_of(wide, [method], journals, tmp_path, 1) == [path]
    assert pictures_of(development, [method], journals, tmp_path, 1) == []


def test_a_disturbance_is_another_configuration(tmp_path: Path) -> None:
    run(params(), [], tmp_path, executor=FakeExecutor())
    assert run(params(perturb={"translation": 0.01}), [], tmp_path, executor=FakeExecutor()).kept == 0


def test_case_files_take_the_place_of_a_suite(tmp_path: Path) -> None:
    lines = "".join(f"simplified_objects/{n}.urdf 0.5 0 0.2 0 0 0\n" for n in ("011", "012", "013"))
    (tmp_path / "case00.txt").write_text("give me the apple\n1\n" + lines)
    summary = run(params(episodes=3), [], tmp_path / "out", cases=tmp_path, executor=FakeExecutor())
    assert summary.played == 6 and json.loads(summary.json.read_text())["suite"] == "files"
    assert {r.clusters for r in summary.rows} == {1}
    with pytest.raises(ConfigError, match="case files of your own"):
        run(params(), [], tmp_path / "out", assets=tmp_path)


def test_words_that_the_encoder_has_never_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = "".join(f"simplified_objects/{n}.urdf 0.5 0 0.2 0 0 0\n" for n in ("011", "012", "013"))
    case = tmp_path / "case00.txt"
    case.write_text("give me the apple\n1\n" + lines)
    run(params(episodes=1), [], tmp_path / "out", cases=tmp_path, executor=FakeExecutor())
    assert not caplog.messages
    case.write_text("give me the quokka apple\n1\n" + lines)
    run(params(episodes=1), [], tmp_path / "out2", cases=tmp_path, executor=FakeExecutor())
    assert [m for m in caplog.messages if m.endswith("sentences: quokka")]


def test_what_is_read_differently_and_what_says_nothing_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = "".join(f"simplified_objects/{n}.urdf 0.5 0 0.2 0 0 0\n" for n in ("011", "012", "013"))
    for name, said in (("a", "give me the aple"), ("b", "get the aple"), ("c", "xyzzy \u82f9\u679c")):
        (tmp_path / f"case-{name}.txt").write_text(f"{said}\n1\n{lines}", encoding="utf-8")
    run(params(episodes=2), [], tmp_path / "out", cases=tmp_path, executor=FakeExecutor())
    assert caplog.messages == [
        'read "aple" as "apple"',
        "the encoder has never read these words of the sentences: xyzzy, \u82f9\u679c",
        'understood nothing of: "xyzzy \u82f9\u679c"',
    ]
    caplog.clear()
    off = params(episodes=2).model_copy(update={"language": LanguageConfig(spelling="off")})
    run(off, [], tmp_path / "out2", cases=tmp_path, executor=FakeExecutor())
    assert caplog.messages[0] == "the encoder has never read these words of the sentences: aple, xyzzy, \u82f9\u679c"


def test_readings_stand_in_the_results(tmp_path: Path) -> None:
    class Typed(FakeExecutor):
        def play(self, *given: Any) -> dict[str, Any]:
            return {**super().play(*given), "read": [["aple", "apple"]], "unknown": ["quokka"]}

    summary = run(params(episodes=2), [], tmp_path, executor=Typed())
    told = json.loads(summary.json.read_text())["readings"]
    assert told == [{"instruction": "give me the apple", "read": [["aple", "apple"]], "unknown": ["quokka"]}]


def test_replay_plays_the_episode_of_the_suite(tmp_path: Path) -> None:
    suite = FakeExecutor()
    run(params(suite="paper", episodes=3), [], tmp_path, executor=suite)
    again = FakeExecutor()
    summary = replay.run(params(), [], tmp_path / "again", ["pear"], 3, task="pick", executor=again)
    assert len(again.played) == 2 and set(again.played) <= set(suite.played)
    assert summary.records[0]["method"] == "random" and "give me the apple" in summary.text
    generated = FakeExecutor()
    key = "5-4-1000002-train"
    replay.run(params(), [], tmp_path / "again", [key], executor=generated)
    assert generated.played == [(key, 0), (key, 1)]
    for wrong in ("paer", "5-1-3-train"):
        with pytest.raises(UnknownNameError):
            replay.run(params(), [], tmp_path / "again", [wrong], executor=FakeExecutor())


def test_all_methods_run_the_same_episodes(tmp_path: Path) -> None:
    executor = FakeExecutor()
    run(params(), [], tmp_path, executor=executor)
    keys = [{key for key, method in executor.played if method == m} for m in (0, 1)]
    assert keys[0] == keys[1] and len(keys[0]) == 12


def test_goes_on_after_a_breakdown_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole = run(params(), [], tmp_path / "whole", executor=FakeExecutor())
    with pytest.raises(SrcliError, match="died"):
        run(params(), [], tmp_path / "broken", executor=FakeExecutor(breaks_after=7))
    again = FakeExecutor()
    rest = run(params(), [], tmp_path / "broken", executor=again)
    assert (rest.played, rest.kept) == (24 - 6, 6) and len(again.played) == 24 - 6
    assert rest.results.read_bytes() == whole.results.read_bytes()


def test_a_second_run_plays_nothing_and_a_new_method_plays_alone(tmp_path: Path) -> None:
    run(params(), [], tmp_path, executor=FakeExecutor())
    idle = FakeExecutor()
    assert run(params(), [], tmp_path, executor=idle).played == 0 and not idle.played
    added = FakeExecutor()
    summary = run(params(methods=["random", "expert", "quality"]), [], tmp_path, executor=added)
    assert summary.played == 12 and {method for _, method in added.played} == {2}


def test_another_configuration_is_not_mixed_in(tmp_path: Path) -> None:
    run(params(), [], tmp_path, executor=FakeExecutor())
    assert run(params(attempts=4), [], tmp_path, executor=FakeExecutor()).kept == 0


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "m", {"a": 1})
    journal.add({"key": "x", "value": 1})
    journal.add({"key": "y", "value": 2})
    journal.path.write_bytes(journal.path.read_bytes()[:-6])
    reopened = Journal(tmp_path, "m", {"a": 1})
    assert set(reopened.records) == {"x"}
    reopened.add({"key": "z", "value": 3})
    assert set(Journal(tmp_path, "m", {"a": 1}).records) == {"x", "z"}
    assert not Journal(tmp_path, "m", {"a": 2}).records


def test_two_runs_on_one_folder_are_refused(tmp_path: Path) -> None:
    class Nested(FakeExecutor):
        def play(self, job: Job, name: str) -> dict[str, Any]:
            run(params(), [], tmp_path, executor=FakeExecutor())
            return {}

    with pytest.raises(BusyError):
        run(params(), [], tmp_path, executor=Nested())


def test_unknown_methods_are_named() -> None:
    with pytest.raises(UnknownNameError, match="method 'rnd'") as caught:
        resolve_methods(["rnd"], [], {})
    assert "random" in caught.value.hint


def test_a_given_policy_takes_the_name_and_comes_first(tmp_path: Path) -> None:
    file = shipped("sr_plus")
    methods = resolve_methods(["random"], [f"mine={file}"], {})
    assert [m.name for m in methods] == ["mine", "random"]
    assert (methods[0].path, methods[0].method) == (str(file), "sr_plus")
    assert resolve_methods(["random"], [file], {})[0].name == "sr_plus"
    with pytest.raises(MismatchError, match="is a policy of 'sr_plus', not of 'sr'"):
        resolve_methods(["random"], [f"sr={file}"], {})
    with pytest.raises(ArtifactError, match="no policy there"):
        resolve_methods(["random"], [f"mine={tmp_path / 'p.h5'}"], {})


def test_settings_that_are_recorded_are_those_of_the_weights() -> None:
    changed = override(Params(), {"methods.sr.train.updates": 7, "methods.sr.choice.align1": 3.0})
    methods = resolve_methods(["sr_plus", "untrained:sr_plus"], [], method_sections(changed.methods))
    rows = described(methods)
    stored = read_policy(shipped("sr_plus")).weights.section
    settings = rows["sr_plus"]["settings"]
    assert settings["train"]["updates"] == stored["train"]["updates"] != 7 and settings["choice"]["align1"] == 3.0
    assert rows["untrained:sr_plus"]["settings"]["train"]["updates"] == 7


def test_a_control_plays_with_several_initial_weights_and_is_one_row(tmp_path: Path) -> None:
    asked = params(methods=["random", "untrained:sr_plus"], initialisations=3)
    executor = FakeExecutor()
    summary = run(asked, [], tmp_path, executor=executor)
    rows = {r.method: r for r in summary.rows if r.split == "seen"}
    assert set(rows) == {"random", "untrained:sr_plus"}
    control = rows["untrained:sr_plus"]
    assert (control.episodes, control.initialisations, control.clusters) == (18, 3, 6)
    assert control.wilson.value == pytest.approx(control.successes / 18)
    # The interval is of six scenes, not of eighteen.
    assert control.wilson.high - control.wilson.low > 0.35
    assert control.paired is not None and control.paired.episodes == 6
    assert "controls" in summary.table.read_text()
    described = json.loads(summary.json.read_text())["methods"]["untrained:sr_plus"]
    assert described["control"] and described["seeds"] == [0, 1, 2] and described["policy"] is None
    with pytest.raises(ConfigError, match="'random' learns nothing"):
        resolve_methods(["untrained:random"], [], {})


def test_calibration_scenes_belong_to_no_suite() -> None:
    from srcli.evaluation.suites import SUITES, suite_episodes

    used = {e.seed for suite in SUITES for e in suite_episodes(suite, 0)}
    assert not used & {e.seed for e in calibration_episodes(0, 24)}


def test_episodes_of_another_folder_are_taken_where_nothing_differs(tmp_path: Path) -> None:
    first = run(params(), [], tmp_path / "first", executor=FakeExecutor())
    again = FakeExecutor()
    second = run(params(), [], tmp_path / "second", reuse=[tmp_path / "first"], executor=again)
    # The scenes that the similarity rule is calibrated on are taken, too.
    assert (second.played, second.kept) == (0, 24) and again.played == []
    one, two = load_evaluation(first.results), load_evaluation(second.results)
    assert all((one.episodes[name] == two.episodes[name]).all() for name in one.episodes)
    # A folder of one's own below it need not be there yet.
    beside = FakeExecutor()
    run(
        params(methods=["quality"], reference="quality"),
        [],
        tmp_path / "first" / "pick",
        reuse=[tmp_path / "first"],
        executor=beside,
    )
    assert len(beside.played) == 12 and all(method is not None for _, method in beside.played)
    # Without the similarity rule the same happens; with more attempts it may not.
    poorer = run(params(similarity_rule=False), [], tmp_path / "third", reuse=[tmp_path / "first"], executor=FakeExecutor())
    assert poorer.played == 0
    longer = run(params(attempts=9), [], tmp_path / "fourth", reuse=[tmp_path / "first"], executor=FakeExecutor())
    assert longer.played == 24


def test_episodes_of_other_code_or_objects_are_played_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(params(), [], tmp_path, executor=FakeExecutor())
    assert run(params(), [], tmp_path, executor=FakeExecutor()).played == 0
    with monkeypatch.context() as patch:
        patch.setattr(plan, "code_digest", lambda: "other")
        assert run(params(), [], tmp_path, executor=FakeExecutor()).played == 24
    with monkeypatch.context() as patch:
        patch.setattr(plan, "library_records", lambda folder: {"my_cup": {"mesh_sha256": "0"}})
        assert run(params(), [], tmp_path, executor=FakeExecutor()).played == 24
    assert len(code_digest()) == 64


def test_episodes_with_other_files_or_other_methods_are_played_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "grasp.safetensors"
    weights.write_bytes(b"one")
    mine = params()
    mine = mine.model_copy(update={"candidates": mine.candidates.model_copy(update={"quality": str(weights)})})
    assert run(mine, [], tmp_path / "out", executor=FakeExecutor()).played == 24
    assert run(mine, [], tmp_path / "out", executor=FakeExecutor()).played == 0
    weights.write_bytes(b"two")
    assert run(mine, [], tmp_path / "out", executor=FakeExecutor()).played == 24
    with monkeypatch.context() as patch:
        patch.setattr("srcli.evaluation.methods.code_digest", lambda name: "edited")
        assert run(mine, [], tmp_path / "out", executor=FakeExecutor()).played == 24


def test_what_candidates_depend_on_beside_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert content_of(CandidateConfig(quality="shape")) == {}
    assert content_of(CandidateConfig()) == {"candidates.quality": file_digest(SHIPPED)}
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "0-4-1.npy").write_bytes(b"a")
    first = content_of(CandidateConfig(source=f"{rows}@world", quality="shape"))
    (rows / "0-4-2.npy").write_bytes(b"b")
    assert list(first) == ["candidates.source"]
    assert content_of(CandidateConfig(source=f"{rows}@world", quality="shape")) != first
    (tmp_path / "net.tar").write_bytes(b"c")
    assert list(content_of(CandidateConfig(source="graspnet:net.tar", quality="shape"))) == ["candidates.source"]


def test_code_of_other_packages_counts_and_our_own_does_not() -> None:
    assert len(code_origin(FakeExecutor)) == 64
    assert code_origin(Journal) == ""


def test_a_policy_file_given_as_a_method_is_told_how() -> None:
    with pytest.raises(ConfigError, match=r"x\.h5"):
        resolve_methods(["x.h5"], [], {})
    with pytest.raises(UnknownNameError) as error:
        resolve_methods(["smilarity"], [], {})
    assert "similarity" in error.value.hint


def test_a_folder_to_reuse_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such folder"):
        run(params(), [], tmp_path / "out", reuse=[tmp_path / "typo"], executor=FakeExecutor())


def test_given_policies_alone_are_measured_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Params, list[str]]] = []
    monkeypatch.setattr("srcli.stages.evaluate.run", lambda params, policies, out, **_: asked.append((params, policies)))
    file = str(shipped("sr_plus"))
    api.evaluate(f"mine={file}", out=tmp_path)
    api.evaluate(f"mine={file}", out=tmp_path, methods=["random"])
    api.evaluate(out=tmp_path)
    names = [[m.label for m in chosen_methods(*each)] for each in asked]
    assert names[0] == ["mine"] and names[1] == ["mine", "random"] and len(dict.fromkeys(names[2])) > 1
