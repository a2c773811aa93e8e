"""The evaluate stage with played-out records instead of a simulator: files, resuming, pairing."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from srcli.artifacts.evaluation import load_evaluation
from srcli.config import Params
from srcli.errors import BusyError, SrcliError, UnknownNameError
from srcli.evaluation.journal import Journal
from srcli.evaluation.worker import Job, Setup
from srcli.stages.evaluate import calibration_episodes, resolve_methods, run


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
            self.played.append((job.episode.key, job.method))
            yield self.play(job, setup)

    def play(self, job: Job, setup: Setup) -> dict[str, Any]:
        episode = job.episode
        if job.method is None:
            return {"positive": [0.7, 0.8], "negative": [0.1, 0.2]}
        name = setup.methods[job.method].name
        wins = name == "expert" or zlib.crc32(f"{name}{episode.key}".encode()) % 2 == 0
        attempt = {"slot": 1, "object": "apple", "candidates": 40, "excluded": 0, "index": 3, "steps": 300}
        miss = {**attempt, "reason": "wrong_object", "similarity": 0.3}
        hit = {**attempt, "reason": "success", "similarity": 0.6}
        return {
            "key": episode.key,
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


def test_all_methods_run_the_same_episodes(tmp_path: Path) -> None:
    executor = FakeExecutor()
    run(params(), [], tmp_path, executor=executor)
    keys = [{key for key, method in executor.played if method == m} for m in (0, 1)]
    assert keys[0] == keys[1] and len(keys[0]) == 12


def test_goes_on_after_a_breakdown_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole = run(params(), [], tmp_path / "whole", executor=FakeExecutor())
    with pytest.raises(SrcliError, match="died"):
        run(params(), [], tmp_path / "broken", executor=FakeExecutor(breaks_after=11))
    again = FakeExecutor()
    rest = run(params(), [], tmp_path / "broken", executor=again)
    assert (rest.played, rest.kept) == (24 - 7, 7) and len(again.played) == 24 - 7
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
        def play(self, job: Job, setup: Setup) -> dict[str, Any]:
            run(params(), [], tmp_path, executor=FakeExecutor())
            return {}

    with pytest.raises(BusyError):
        run(params(), [], tmp_path, executor=Nested())


def test_unknown_methods_are_named() -> None:
    with pytest.raises(UnknownNameError, match="method 'rnd'") as caught:
        resolve_methods(["rnd"], [])
    assert "random" in caught.value.hint


def test_a_given_policy_takes_the_name_and_comes_first(tmp_path: Path) -> None:
    methods = resolve_methods(["random"], [f"mine={tmp_path / 'p.h5'}"])
    assert [m.name for m in methods] == ["mine", "random"] and methods[0].path == str(tmp_path / "p.h5")


def test_calibration_scenes_belong_to_no_suite() -> None:
    from srcli.evaluation.suites import SUITES, suite_episodes

    used = {e.seed for suite in SUITES for e in suite_episodes(suite, 0)}
    assert not used & {e.seed for e in calibration_episodes(0, 24)}
