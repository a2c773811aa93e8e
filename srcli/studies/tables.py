"""Rows of ablations and noise sweeps: each arm per training seed and pooled, and paired against a reference arm.

An arm is one value of what is compared. All arms play the same episodes, so differences are taken episode by episode within a
training seed; intervals of pooled rows are those of cases resampled whole, with all their repeats, and of few trainings out of
many (:func:`~srcli.evaluation.statistics.clustered_bootstrap`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite, isnan, nan
from typing import Any

import numpy as np

from srcli.evaluation.statistics import Interval, Result, clustered_bootstrap, compare, summarise
from srcli.evaluation.tables import as_text

POOLED = -1
"""Stands for all training seeds together."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode of one arm with one training seed."""

    arm: str
    seed: int
    task: str
    result: Result


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One line of a study's table. Rates are 0..1, steps are attempts, NaN is what does not exist.

    Attributes:
        seed: training seed, or ``POOLED``.
        low, high: clustered interval of the rate, over training seeds as well where the row has several; ``wilson_*`` the
            plain one.
        first: share that succeeded at the first attempt (of each phase); ``first_low``, ``first_high``: Wilson where every
            episode is a case of its own, else whole cases resampled.
        steps: mean attempts over all episodes, with its clustered interval; ``steps_success`` over the successful ones.
        diff: rate minus that of the reference arm on the shared episodes (and seeds), with its clustered interval.
        only_arm, only_reference: episodes that one of the two alone solved; ``p_value``: exact McNemar, ignores clustering.
        first_diff: the same for success at the first attempt.
        steps_diff: steps minus those of the reference arm.
        drop, first_drop: rate, and that at the first attempt, minus those of the same arm without noise (noise sweep).
    """

    task: str
    split: str
    arm: str
    seed: int
    episodes: int
    cases: int
    successes: int
    rate: float
    low: float
    high: float
    wilson_low: float
    wilson_high: float
    first: float
    first_low: float
    first_high: float
    steps: float
    steps_low: float
    steps_high: float
    steps_success: float
    diff: float = nan
    diff_low: float = nan
    diff_high: float = nan
    only_arm: int = 0
    only_reference: int = 0
    p_value: float = nan
    first_diff: float = nan
    first_diff_low: float = nan
    first_diff_high: float = nan
    steps_diff: float = nan
    steps_diff_low: float = nan
    steps_diff_high: float = nan
    drop: float = nan
    drop_low: float = nan
    drop_high: float = nan
    first_drop: float = nan
    first_drop_low: float = nan
    first_drop_high: float = nan


def study_rows(
    episodes: Sequence[Episode],
    references: Mapping[str, str],
    calm: Mapping[str, str] | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    untaught: Collection[str] = (),
) -> tuple[StudyRow, ...]:
    """Rows for every task, split, arm and training seed, and pooled where there are several seeds.

    Args:
        references: arm -> the arm that its differences are taken against; an arm that is its own reference has none.
        calm: arm -> the same arm without noise.
        untaught: arms without training seeds: controls, whose seeds are of initial weights, and what learns nothing. One row
            each, their mean; each training of another arm is paired with that mean, episode by episode.
    """
    rows: list[StudyRow] = []
    groups = dict.fromkeys((e.task, e.result.split, e.arm) for e in episodes)
    for task, split, arm in groups:
        here = [e for e in episodes if (e.task, e.result.split) == (task, split)]
        seeds = sorted({e.seed for e in here if e.arm == arm})
        against, quiet = references.get(arm, arm), (calm or {}).get(arm, arm)
        for seed in [POOLED] if arm in untaught else [*seeds, POOLED] if len(seeds) > 1 else seeds:
            own = _results(here, arm, seed, untaught)
            beside, still = (_pair(here, arm, other, seed, untaught) for other in (against, quiet))
            rows.append(_row(task, arm, seed, own, beside, still, resamples, confidence))
    return tuple(rows)


def _results(
    episodes: Sequence[Episode], arm: str, seed: int, untaught: Collection[str], trainings: Sequence[int] = ()
) -> list[Result]:
    """Results of an arm, named after their training.

    Args:
        trainings: of an untaught arm: those that it is paired with, each with all of its episodes.
    """
    own = [e for e in episodes if e.arm == arm and (arm in untaught or seed in (e.seed, POOLED))]
    if arm not in untaught:
        return [_trained(e.result, arm, e.seed) for e in own]
    if not trainings:
        return [replace(e.result, method=arm) for e in own]
    return [_trained(e.result, arm, training) for training in trainings for e in own]


def _trained(result: Result, arm: str, training: int) -> Result:
    return replace(result, method=arm, key=f"{training}/{result.key}", training=str(training))


def _pair(
    episodes: Sequence[Episode], arm: str, other: str, seed: int, untaught: Collection[str]
) -> tuple[list[Result], list[Result]] | None:
    """Results of an arm and of another, to be paired within each training; None where they are one."""
    if arm == other:
        return None
    taught = {e.seed for e in episodes if e.arm in (arm, other) and e.arm not in untaught and seed in (e.seed, POOLED)}
    own, theirs = (_results(episodes, name, seed, untaught, sorted(taught)) for name in (arm, other))
    return own, theirs


def _row(
    task: str,
    arm: str,
    seed: int,
    own: Sequence[Result],
    beside: tuple[Sequence[Result], Sequence[Result]] | None,
    still: tuple[Sequence[Result], Sequence[Result]] | None,
    resamples: int,
    confidence: float,
) -> StudyRow:
    """Args: beside, still: results of the arm, and of the reference or of the same without noise, that pairs are made of."""
    plain = summarise(own, resamples=resamples, confidence=confidence)
    first = summarise(at_once(own), resamples=resamples, confidence=confidence)
    first_ends = first.wilson if first.clusters == first.episodes else first.clustered
    tried = [r for r in own if not r.not_set_up]
    attempts = np.array([float(r.attempts) for r in tried])
    names = [r.cluster for r in tried], [r.training for r in tried]
    steps = clustered_bootstrap(attempts, names[0], resamples, confidence, trainings=names[1])
    values: dict[str, Any] = {}
    paired = compare(*beside, resamples, confidence) if beside else None
    if beside and paired is not None:
        values |= _named("diff", paired.difference)
        values |= {"only_arm": paired.only_method, "only_reference": paired.only_reference, "p_value": paired.p_value}
        values |= _named("steps_diff", steps_difference(*beside, resamples, confidence))
        values |= _first("first_diff", *beside, resamples, confidence)
    without = compare(*still, resamples, confidence) if still else None
    if still and without is not None:
        values |= _named("drop", without.difference)
        values |= _first("first_drop", *still, resamples, confidence)
    return StudyRow(
        task=task,
        split=plain.split,
        arm=arm,
        seed=seed,
        episodes=plain.episodes,
        cases=plain.clusters,
        successes=plain.successes,
        rate=plain.wilson.value,
        low=plain.clustered.low,
        high=plain.clustered.high,
        wilson_low=plain.wilson.low,
        wilson_high=plain.wilson.high,
        first=first.wilson.value,
        first_low=first_ends.low,
        first_high=first_ends.high,
        steps=steps.value,
        steps_low=steps.low,
        steps_high=steps.high,
        steps_success=plain.steps_success,
        **values,
    )


def at_once(results: Sequence[Result]) -> list[Result]:
    """The same episodes, of which only those count as successes that took no second attempt in any phase."""
    return [replace(r, success=r.success and r.attempts <= len(r.stages)) for r in results]


def _first(name: str, own: Sequence[Result], other: Sequence[Result], resamples: int, confidence: float) -> dict[str, float]:
    paired = compare(at_once(own), at_once(other), resamples, confidence)
    return _named(name, paired.difference) if paired is not None else {}


def steps_difference(own: Sequence[Result], other: Sequence[Result], resamples: int, confidence: float) -> Interval:
    """Attempts of one arm minus those of another over the shared episodes that were set up, clustered interval."""
    ours, theirs = _mean_steps(own), _mean_steps(other)
    clusters, trainings = {r.key: r.cluster for r in own}, {r.key: r.training for r in own}
    keys = [key for key in ours if key in theirs]
    change = np.array([ours[key] - theirs[key] for key in keys])
    names = [trainings[key] for key in keys]
    return clustered_bootstrap(change, [clusters[key] for key in keys], resamples, confidence, trainings=names)


def _mean_steps(results: Sequence[Result]) -> dict[str, float]:
    found: dict[str, list[int]] = {}
    for result in results:
        if not result.not_set_up:
            found.setdefault(result.key, []).append(result.attempts)
    return {key: float(np.mean(values)) for key, values in found.items()}


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


# ------------------------------------------------------------------------------------------------------------------ output


def interval(row: StudyRow) -> tuple[float, float]:
    """Ends of the rate's interval: Wilson where every episode is a case of its own, else whole cases resampled."""
    return (row.wilson_low, row.wilson_high) if row.cases == row.episodes else (row.low, row.high)


def row_columns(rows: Sequence[StudyRow]) -> dict[str, list[Any]]:
    """Columns of the table of rows."""
    return {field.name: [getattr(row, field.name) for row in rows] for field in fields(StudyRow)}


def episode_columns(episodes: Sequence[Episode]) -> dict[str, list[Any]]:
    """Columns of the table of episodes."""
    taken = ("split", "key", "cluster", "case", "instruction", "success", "attempts")
    columns: dict[str, list[Any]] = {name: [getattr(e, name) for e in episodes] for name in ("arm", "seed", "task")}
    return columns | {name: [getattr(e.result, name) for e in episodes] for name in taken}


def rows_json(rows: Sequence[StudyRow]) -> list[dict[str, Any]]:
    """One JSON object per row; numbers that do not exist are null, the pooled seed is null, too."""
    return [
        {
            key: (round(value, 6) if isfinite(value) else None) if isinstance(value, float) else value
            for key, value in {**asdict(row), "seed": None if row.seed == POOLED else row.seed}.items()
        }
        for row in rows
    ]


COLUMNS = (
    "task",
    "split",
    "",
    "training seed",
    "success",
    "first",
    "steps",
    "diff",
    "first diff",
    "Δsteps",
    "drop",
    "first drop",
)
NOTES = {
    "success": (
        "k/n, rate in % with its interval (Wilson; whole cases where they repeat; cases and trainings where they are pooled)"
    ),
    "steps": "mean attempts over all episodes / over successful ones",
    "diff": (
        "paired difference in points to the reference arm on the same episodes and training seeds, with the interval of whole "
        "cases (and trainings where seeds are pooled), episodes that only this arm / only the reference solved, exact McNemar p, "
        "which knows neither"
    ),
    "first": "share solved at the first attempt of each phase, %, with its interval",
    "first diff": "its paired difference",
    "Δsteps": "paired difference in attempts",
    "drop": "paired difference in points to the same branch without noise",
    "first drop": "the same at the first attempt",
}
"""What the columns say."""


def markdown(rows: Sequence[StudyRow], names: Mapping[str, str], noisy: bool = False, attempts: int = 0) -> str:
    """The Markdown table of a study.

    Args:
        names: what an arm is called in the table; unnamed ones by their own name.
        noisy: with columns for the change against no noise.
        attempts: that were allowed; with a single one there are no columns of first attempts, nor of steps where a task has but
            one phase.
    """
    left_out: set[str] = set() if noisy else {"drop", "first drop"}
    if attempts == 1:
        left_out |= {"first", "first diff", "first drop"}
        left_out |= {"steps", "Δsteps"} if all(row.steps == 1.0 or isnan(row.steps) for row in rows) else set()
    shown = [name for name in COLUMNS if name not in left_out]
    lines = ["| " + " | ".join(shown) + " |", "|" + "---|" * len(shown)]
    for row in rows:
        low, high = interval(row)
        cells = {
            "task": row.task,
            "split": row.split,
            "": names.get(row.arm, row.arm),
            "training seed": "pooled" if row.seed == POOLED else str(row.seed),
            "success": f"{row.successes}/{row.episodes}  {100 * row.rate:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
            "first": f"{100 * row.first:.1f} [{100 * row.first_low:.1f}, {100 * row.first_high:.1f}]",
            "steps": f"{row.steps:.2f} / {_number(row.steps_success)}",
            "diff": _difference(row),
            "first diff": _signed(row.first_diff, row.first_diff_low, row.first_diff_high, 100, 1),
            "Δsteps": _signed(row.steps_diff, row.steps_diff_low, row.steps_diff_high, 1, 2),
            "drop": _signed(row.drop, row.drop_low, row.drop_high, 100, 1),
            "first drop": _first_drop(row),
        }
        lines.append("| " + " | ".join(as_text(cells[name]) for name in shown) + " |")
    note = " ".join(f"`{name}`: {told}." for name, told in NOTES.items() if name in shown)
    return "\n".join(lines) + f"\n\n{note}\n"


def _difference(row: StudyRow) -> str:
    if not isfinite(row.diff):
        return ""
    interval = _signed(row.diff, row.diff_low, row.diff_high, 100, 1)
    return f"{interval} {row.only_arm}/{row.only_reference} p={row.p_value:.3f}"


def _first_drop(row: StudyRow) -> str:
    return _signed(row.first_drop, row.first_drop_low, row.first_drop_high, 100, 1)


def _signed(value: float, low: float, high: float, scale: float, digits: int) -> str:
    if not isfinite(value):
        return ""
    return f"{scale * value:+.{digits}f} [{scale * low:+.{digits}f}, {scale * high:+.{digits}f}]"


def _number(value: float) -> str:
    return f"{value:.2f}" if isfinite(value) else "-"
