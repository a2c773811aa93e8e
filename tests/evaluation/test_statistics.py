"""Statistics against known values."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from srcli.evaluation.statistics import (
    Result,
    clustered_bootstrap,
    compare,
    success_within,
    summarise,
    summarise_all,
    wilson,
)
from srcli.evaluation.tables import cells, to_json, to_markdown


def results(method: str, wins: list[bool], attempts: list[int] | None = None, per_cluster: int = 1) -> list[Result]:
    steps = attempts or [1] * len(wins)
    return [
        Result(method, "seen", f"k{i}", f"c{i // per_cluster}", w, s, reasons=("success" if w else "slipped",))
        for i, (w, s) in enumerate(zip(wins, steps, strict=True))
    ]


def test_wilson_by_its_formula() -> None:
    n, k, z = 150, 135, 1.959963984540054
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    interval = wilson(k, n)
    assert (interval.value, interval.low, interval.high) == pytest.approx((p, centre - half, centre + half))
    # Ninety percent of 150 is 84 to 94, of 15 far wider.
    assert (round(100 * interval.low), round(100 * interval.high)) == (84, 94)


def test_wilson_at_the_ends_and_without_episodes() -> None:
    assert wilson(0, 10).low == 0.0 and wilson(0, 10).high > 0.2
    assert wilson(10, 10).high == 1.0 and wilson(10, 10).low < 0.8
    assert math.isnan(wilson(0, 0).value)


def test_bootstrap_without_clusters_agrees_with_the_normal_interval() -> None:
    values = np.array([1.0] * 80 + [0.0] * 20)
    interval = clustered_bootstrap(values, [str(i) for i in range(100)], resamples=8000)
    assert interval.value == 0.8
    assert interval.low == pytest.approx(0.8 - 1.96 * 0.04, abs=0.012)
    assert interval.high == pytest.approx(0.8 + 1.96 * 0.04, abs=0.012)


def test_bootstrap_of_identical_repeats_sees_only_the_cases() -> None:
    values = np.repeat([1.0, 1.0, 0.0, 1.0], 25)
    clustered = clustered_bootstrap(values, [str(i // 25) for i in range(100)])
    plain = clustered_bootstrap(values, [str(i) for i in range(100)])
    assert clustered.high - clustered.low > 3 * (plain.high - plain.low)


def test_trainings_that_differ_widen_the_interval_of_cases_that_do_not() -> None:
    """Two trainings, each alike on all cases: cases alone would say 0.5 for certain."""
    cases, values = [str(i % 50) for i in range(100)], np.repeat([1.0, 0.0], 50)
    alone = clustered_bootstrap(values, cases)
    both = clustered_bootstrap(values, cases, trainings=["a"] * 50 + ["b"] * 50)
    assert (alone.low, alone.high) == (0.5, 0.5) and (both.low, both.value, both.high) == (0.0, 0.5, 1.0)
    # Trainings that are alike add nothing, and neither does a single one.
    noisy = np.tile(np.array([1.0, 0.0, 1.0, 1.0, 0.0] * 10), 2)
    alone = clustered_bootstrap(noisy, cases)
    for trainings in (["a"] * 50 + ["b"] * 50, ["a"] * 100, []):
        assert clustered_bootstrap(noisy, cases, trainings=trainings) == alone


def test_the_interval_over_trainings_holds_what_it_promises() -> None:
    """Three trainings out of many, 200 cases: the true rate lies within in about 95 of 100 experiments (of 300)."""
    rng = np.random.default_rng(0)
    cases, trainings = [str(i % 200) for i in range(600)], np.repeat(["a", "b", "c"], 200).tolist()
    held = []
    for _ in range(300):
        rates = np.repeat(np.clip(rng.normal(0.5, 0.08, 3), 0.0, 1.0), 200)
        found = clustered_bootstrap((rng.random(600) < rates).astype(float), cases, resamples=100, trainings=trainings)
        held.append(found.low <= 0.5 <= found.high)
    assert 0.91 <= np.mean(held) <= 0.99


def test_bootstrap_is_reproducible() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0])
    assert clustered_bootstrap(values, list("abcd")) == clustered_bootstrap(values, list("abcd"))


def test_success_within() -> None:
    played = results("m", [True, True, False, True], [1, 3, 8, 8])
    assert [success_within(played, k) for k in (1, 2, 4, 8)] == [1, 1, 2, 3]


def test_paired_difference_and_discordant_counts() -> None:
    a = results("a", [True, True, True, False, True, False])
    b = results("b", [True, False, False, False, False, True])
    paired = compare(a, b)
    assert paired is not None
    assert paired.difference.value == pytest.approx(2 / 6)
    assert (paired.only_method, paired.only_reference, paired.episodes) == (3, 1, 6)
    # Exact McNemar of 3 against 1: twice P(X >= 3 of 4).
    assert paired.p_value == pytest.approx(2 * 5 / 16)


def test_comparison_uses_shared_episodes_only() -> None:
    a, b = results("a", [True] * 4), results("b", [False] * 2)
    paired = compare(a, b)
    assert paired is not None and paired.episodes == 2
    assert compare(a, []) is None


def test_steps_over_all_and_over_successes() -> None:
    row = summarise(results("m", [True, False, True], [1, 8, 3]))
    assert row.steps_all == 4.0 and row.steps_success == 2.0
    assert row.steps_all_se == pytest.approx(np.std([1, 8, 3], ddof=1) / math.sqrt(3))
    assert math.isnan(summarise(results("m", [False], [8])).steps_success)


def test_rows_and_tables() -> None:
    played = [*results("sr", [True] * 8 + [False] * 2, per_cluster=5), *results("expert", [True] * 10, per_cluster=5)]
    rows = summarise_all(played, "sr", privileged=("expert",))
    assert [r.method for r in rows] == ["sr", "expert"]
    assert rows[0].paired is None and rows[1].paired is not None
    text = to_markdown(rows)
    assert "| seen | sr | 8/10 | 80.0 [" in text
    assert "| seen | expert* | 10/10 |" in text and "true state" in text
    assert json.dumps(to_json(rows)).count("NaN") == 0
    assert len(cells(rows[0])) > len(text.splitlines()[0].split("|")) - 2
