"""Rates with their uncertainty, paired differences, planning steps.

Repeats of one case are not independent, so beside the Wilson interval of the plain rate stands a bootstrap that resamples whole
cases. Methods are compared on the same seeds: the interval of a difference is a bootstrap of the paired differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from srcli.seeding import BOOTSTRAP, generator
from srcli.types import F64, I64

WITHIN = (1, 2, 4, 8)
"""Attempts within which success is counted, as far as the cap of an evaluation allows them."""


def within_of(cap: int) -> tuple[int, ...]:
    """Attempts within which success is counted where ``cap`` are allowed: those of :data:`WITHIN` below it, and the cap."""
    return (*(k for k in WITHIN if k < cap), cap)


@dataclass(frozen=True, slots=True)
class Result:
    """One episode of one method, as far as statistics need it.

    Attributes:
        method, split: the row it belongs to.
        key: the episode, equal for all methods that ran it (its seed).
        cluster: test case it repeats; a scene that occurs once is its own cluster.
        success: by identity, within the allowed attempts.
        attempts: attempts used, over all phases.
        similar: success by the similarity rule; None when it was not asked.
        reasons: outcome of each attempt, in order.
        case: name of the test case, or empty.
        instruction: the sentence.
        task: pick, place or pick_place.
        picked: attempts of the pick phase until a target was held; 0 when none was, or when the task has no such phase.
        index_rule: success when a placement is judged by the chosen position alone, as A2 does; None without placements.
        not_set_up: the scene could not be built, so nothing was attempted. It counts as a failure.
        kind: of a compositional or free sentence, or empty.
        phases: of the task; empty: those that the built-in task of this name has.
        training: which training played it, where a row has several that each played every episode; else empty.
    """

    method: str
    split: str
    key: str
    cluster: str
    success: bool
    attempts: int
    similar: bool | None = None
    reasons: tuple[str, ...] = ()
    case: str = ""
    instruction: str = ""
    task: str = "pick"
    picked: int = 0
    index_rule: bool | None = None
    not_set_up: bool = False
    kind: str = ""
    phases: tuple[str, ...] = ()
    training: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        """The phases of the task."""
        return self.phases or built_in_phases(self.task)


def built_in_phases(task: str) -> tuple[str, ...]:
    """The phases of a built-in task."""
    return {"place": ("place",), "pick_place": ("pick", "place")}.get(task, ("pick",))


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the ends of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """A method against the reference on the episodes that both ran.

    Attributes:
        difference: rate of the method minus rate of the reference, with the clustered bootstrap interval.
        only_method, only_reference: discordant episodes.
        p_value: exact McNemar test of the discordant counts; it ignores clustering.
        episodes: number of shared episodes.
    """

    difference: Interval
    only_method: int
    only_reference: int
    p_value: float
    episodes: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a result table.

    Attributes:
        wilson, clustered: interval of the success rate at all attempts.
        within: successes of the pick phase after 1, 2, 4, 8 attempts up to the cap, and at it; empty for a task without one.
        steps_all: mean attempts over all episodes that were set up, with its standard error in ``steps_all_se``.
        steps_success: mean attempts over successful episodes; NaN when there are none.
        similar: successes by the similarity rule; None when it was not asked.
        paired: difference to the reference method; None for the reference itself.
        index_rule: successes when placements are judged by A2's index rule; None without placements.
        index_wilson: interval of that rate.
        not_set_up: episodes whose scene could not be built; they are failures among ``episodes``.
        initialisations: networks with other initial weights that played the same scenes, for an untrained control: ``successes``
            and ``episodes`` count all of them, and the Wilson interval is that of the mean over so many scenes as there are.
        kind: the kind of sentence that the row is of; empty: all episodes.
    """

    method: str
    split: str
    successes: int
    episodes: int
    clusters: int
    wilson: Interval
    clustered: Interval
    within: dict[int, int]
    steps_all: float
    steps_all_se: float
    steps_success: float
    similar: int | None
    paired: Paired | None
    privileged: bool = False
    task: str = "pick"
    index_rule: int | None = None
    index_wilson: Interval | None = None
    not_set_up: int = 0
    initialisations: int = 1
    kind: str = ""


def wilson(successes: float, total: int, confidence: float = 0.95) -> Interval:
    """Success rate with its Wilson score interval; (NaN, 0, 1) without episodes.

    Args:
        successes: may be a fraction: the mean count of several networks on the same ``total`` episodes.
    """
    if total == 0:
        return Interval(float("nan"), 0.0, 1.0)
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + confidence / 2.0))
    rate = successes / total
    centre = (rate + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * float(np.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total)))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == total else min(1.0, centre + half)
    return Interval(rate, low, high)


def clustered_bootstrap(
    values: F64,
    clusters: Sequence[str],
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    trainings: Sequence[str] = (),
) -> Interval:
    """Mean of ``values`` (n,) with a percentile interval from resampling whole clusters with replacement.

    Args:
        clusters: n names; values of one name are drawn together.
        seed: of the resampling, so that a table is reproducible.
        trainings: n names, or none. Where there are several, another training would have given other numbers on the same cases:
            the interval is then that of Student's t, with the variance over clusters and that over the k trainings added
            (Welch's degrees of freedom, k - 1 at least), within the values that occur.
    """
    if len(values) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(index, weights=values)
    counts = np.bincount(index).astype(np.float64)
    rng = generator((seed,), *BOOTSTRAP)
    draws: I64 = rng.integers(len(sums), size=(resamples, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    between = _variance_between(values, trainings)
    if between > 0.0:
        from scipy.stats import t

        within, last = float(means.var()), len(set(trainings)) - 1
        half = float(t.ppf(1.0 - tail, last * (within + between) ** 2 / between**2)) * (within + between) ** 0.5
        low, high = max(values.mean() - half, values.min()), min(values.mean() + half, values.max())
    return Interval(float(values.mean()), float(low), float(high))


def _variance_between(values: F64, trainings: Sequence[str]) -> float:
    """Variance of the mean of all values that comes from a few trainings out of many; 0 where they are one, or not named."""
    names = sorted(set(trainings))
    if len(names) < 2:
        return 0.0
    named = np.asarray(trainings)
    return float(np.var([values[named == name].mean() for name in names], ddof=1)) / len(names)


def picked_within(results: Sequence[Result], attempts: int) -> int:
    """Episodes whose pick phase held a target after at most that many attempts."""
    return sum(0 < r.picked <= attempts for r in results)


def success_within(results: Sequence[Result], attempts: int) -> int:
    """Episodes that succeeded using at most that many attempts."""
    return sum(r.success and r.attempts <= attempts for r in results)


def compare(
    method: Sequence[Result], reference: Sequence[Result], resamples: int = 2000, confidence: float = 0.95
) -> Paired | None:
    """Paired comparison over the shared episodes; None when there are none.

    Where several networks played an episode for one row, their mean counts for it.
    """
    from scipy.stats import binomtest

    own, other = _means(method), _means(reference)
    clusters, trainings = {r.key: r.cluster for r in method}, {r.key: r.training for r in method}
    keys = [key for key in own if key in other]
    if not keys:
        return None
    change = np.array([own[key] - other[key] for key in keys])
    better, worse = int((change > 0).sum()), int((change < 0).sum())
    p_value = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
    named = [trainings[key] for key in keys]
    difference = clustered_bootstrap(change, [clusters[key] for key in keys], resamples, confidence, trainings=named)
    return Paired(difference, better, worse, p_value, len(keys))


def _means(results: Sequence[Result]) -> dict[str, float]:
    """Success of each episode by key, over all networks that played it."""
    found: dict[str, list[bool]] = {}
    for result in results:
        found.setdefault(result.key, []).append(result.success)
    return {key: float(np.mean(values)) for key, values in found.items()}


def summarise(
    results: Sequence[Result],
    reference: Sequence[Result] | None = None,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    privileged: bool = False,
    cap: int = WITHIN[-1],
) -> Row:
    """The row of one method on one split.

    Args:
        results: at least one episode, all of one method, task and split.
        cap: attempts that were allowed.
        reference: episodes of the method that differences are taken against; None for that method itself.
    """
    wins = np.array([float(r.success) for r in results])
    steps = np.array([float(r.attempts) for r in results if not r.not_set_up])
    steps_won = np.array([float(r.attempts) for r in results if r.success])
    clusters = [r.cluster for r in results]
    asked = [r.similar for r in results if r.similar is not None]
    indexed = [r.index_rule for r in results if r.index_rule is not None]
    task, phases, total = results[0].task, results[0].stages, len(results)
    scenes = len({r.key for r in results})
    counted = success_within if phases == ("pick",) else picked_within
    return Row(
        method=results[0].method,
        split=results[0].split,
        successes=int(wins.sum()),
        episodes=total,
        clusters=len(set(clusters)),
        wilson=wilson(float(wins.sum()) * scenes / total, scenes, confidence),
        clustered=clustered_bootstrap(wins, clusters, resamples, confidence, trainings=[r.training for r in results]),
        within={} if "pick" not in phases else {k: counted(results, k) for k in within_of(cap)},
        steps_all=float(steps.mean()) if len(steps) else float("nan"),
        steps_all_se=float(steps.std(ddof=1) / np.sqrt(len(steps))) if len(steps) > 1 else float("nan"),
        steps_success=float(steps_won.mean()) if len(steps_won) else float("nan"),
        similar=sum(asked) if asked else None,
        paired=compare(results, reference, resamples, confidence) if reference is not None else None,
        privileged=privileged,
        task=task,
        index_rule=sum(indexed) if indexed else None,
        index_wilson=wilson(sum(indexed) * scenes / total, scenes, confidence) if indexed else None,
        not_set_up=sum(r.not_set_up for r in results),
        initialisations=total // scenes,
    )


def summarise_all(
    results: Sequence[Result],
    reference: str,
    *,
    privileged: Sequence[str] = (),
    resamples: int = 2000,
    confidence: float = 0.95,
    cap: int = WITHIN[-1],
) -> tuple[Row, ...]:
    """Rows for every task, split and method, each in order of first occurrence."""
    rows: list[Row] = []
    for task, split in dict.fromkeys((r.task, r.split) for r in results):
        here = [r for r in results if (r.task, r.split) == (task, split)]
        base = [r for r in here if r.method == reference]
        for method in dict.fromkeys(r.method for r in here):
            own = [r for r in here if r.method == method]
            against = base if base and method != reference else None
            sees = method in privileged
            rows.append(summarise(own, against, resamples=resamples, confidence=confidence, privileged=sees, cap=cap))
    return tuple(rows)


def summarise_kinds(
    results: Sequence[Result],
    reference: str,
    *,
    privileged: Sequence[str] = (),
    resamples: int = 2000,
    confidence: float = 0.95,
    cap: int = WITHIN[-1],
) -> tuple[Row, ...]:
    """The rows of :func:`summarise_all` for each kind of compositional or free sentence; none without them."""
    rows: list[Row] = []
    for kind in dict.fromkeys(r.kind for r in results if r.kind):
        own = [r for r in results if r.kind == kind]
        found = summarise_all(own, reference, privileged=privileged, resamples=resamples, confidence=confidence, cap=cap)
        rows += [replace(row, kind=kind) for row in found]
    return tuple(rows)
