"""Pictures of ablations and noise sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from srcli.evaluation.figures import new_figure, save_figure
from srcli.studies.tables import POOLED, StudyRow, interval

COLOURS = ("#1b6ca8", "#d95f02", "#4d9221", "#7570b3", "#c51b7d", "#666666", "#b8860b", "#01665e")


def pooled(rows: Sequence[StudyRow]) -> tuple[StudyRow, ...]:
    """Rows of all training seeds together; where there is one seed, its rows."""
    together = {(r.task, r.split, r.arm) for r in rows if r.seed == POOLED}
    return tuple(r for r in rows if r.seed == POOLED or (r.task, r.split, r.arm) not in together)


def draw_noise(
    path: Path,
    rows: Sequence[StudyRow],
    arms: Mapping[str, tuple[str, float]],
    unit: str,
    confidence: float = 0.95,
    attempts: int = 0,
) -> Path:
    """Success over the strength of the noise, above within all attempts and below at the first one where more are allowed.

    One line per method with its interval, one column of panels per task and split.

    Args:
        arms: arm -> (what its method is called, sigma).
        unit: what sigma counts, for the axis.
    """
    shown = pooled(rows)
    panels = list(dict.fromkeys((r.task, r.split) for r in shown))
    methods = list(dict.fromkeys(method for method, _ in arms.values()))
    levels = sorted({sigma for _, sigma in arms.values()})
    gap = min((b - a for a, b in pairwise(levels)), default=1.0)
    shown_at = (False,) if attempts == 1 else (False, True)
    figure = new_figure(1.2 + 4.8 * len(panels), 0.4 + 3.5 * len(shown_at))
    axes = figure.subplots(len(shown_at), len(panels), squeeze=False, sharex=True, sharey=True)
    for column, (task, split) in enumerate(panels):
        for number, method in enumerate(methods):
            own = [r for r in shown if (r.task, r.split) == (task, split) and arms[r.arm][0] == method]
            own.sort(key=lambda r: arms[r.arm][1])
            # Side by side, so that intervals do not hide each other.
            shift = 0.05 * gap * (number - (len(methods) - 1) / 2)
            for ax, first in zip(axes[:, column], shown_at, strict=True):
                values = [_shown(r, first) for r in own]
                ax.errorbar(
                    [arms[r.arm][1] + shift for r in own],
                    [value for value, _, _ in values],
                    yerr=[[value - low for value, low, _ in values], [high - value for value, _, high in values]],
                    marker="o",
                    markersize=5,
                    linewidth=1.8,
                    elinewidth=1.1,
                    capsize=3,
                    color=COLOURS[number % len(COLOURS)],
                    label=method,
                )
        axes[0, column].set_title(f"{task}, {split}: {_counted(shown, (task, split))} episodes per point", fontsize=10)
        axes[-1, column].set_xlabel(f"noise σ, in {unit}")
        for ax in axes[:, column]:
            ax.set_xticks(levels, [f"{level:g}" for level in levels])
            ax.set_ylim(0, 104)
            ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"success (%), {100 * confidence:.0f}% interval")
    if len(shown_at) > 1:
        axes[1, 0].set_ylabel(f"at the first attempt (%), {100 * confidence:.0f}% interval")
    axes[0, 0].legend(fontsize=9, loc="lower left")
    return save_figure(figure, path)


def _counted(rows: Sequence[StudyRow], panel: tuple[str, str]) -> str:
    """Episodes of each row in a panel: one number, or from the fewest to the most (rows of several trainings are pooled)."""
    counts = {r.episodes for r in rows if (r.task, r.split) == panel} or {0}
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _shown(row: StudyRow, first: bool) -> tuple[float, float, float]:
    """Value and ends of the interval in per cent: success, or success at the first attempt."""
    value, (low, high) = (row.first, (row.first_low, row.first_high)) if first else (row.rate, interval(row))
    # Ends that are the value itself differ from it by rounding.
    return 100 * value, 100 * min(low, value), 100 * max(high, value)


def draw_arms(
    path: Path, rows: Sequence[StudyRow], names: Mapping[str, str], confidence: float = 0.95, attempts: int = 0
) -> Path:
    """Success of every arm: a dot within all attempts, a ring at the first one where more are allowed, each with its interval.

    Small dots are single training seeds; one panel per task and split.
    """
    shown = pooled(rows)
    tasks, splits = list(dict.fromkeys(r.task for r in shown)), list(dict.fromkeys(r.split for r in shown))
    arms = list(dict.fromkeys(r.arm for r in shown))
    once = attempts == 1
    figure = new_figure(1.6 + 3.4 * len(tasks), 0.6 + len(splits) * (0.9 + 0.42 * len(arms)))
    axes = figure.subplots(len(splits), len(tasks), squeeze=False, sharex=True, sharey=True)
    for panel, ax in (((t, s), axes[i, j]) for i, s in enumerate(splits) for j, t in enumerate(tasks)):
        for row in (r for r in shown if (r.task, r.split) == panel):
            place, colour = arms.index(row.arm), COLOURS[arms.index(row.arm) % len(COLOURS)]
            for first, face, shift in ((False, colour, 0.0),) if once else ((False, colour, -0.13), (True, "white", 0.13)):
                value, low, high = _shown(row, first)
                ends = [[value - low], [high - value]]
                ax.errorbar(
                    [value], [place + shift], xerr=ends, marker="o", markersize=6, capsize=3, color=colour, markerfacecolor=face
                )
            if row.seed == POOLED:
                single = [r for r in rows if (r.task, r.split) == panel and r.arm == row.arm and r.seed != POOLED]
                ax.plot([100 * r.rate for r in single], [place - 0.3] * len(single), ".", color=colour, alpha=0.6)
        ax.set_title(f"{panel[0]}, {panel[1]}: n = {_counted(shown, panel)}", fontsize=10)
        ax.set_xlim(-2, 102)
        ax.grid(alpha=0.3, axis="x")
    for ax in axes[-1]:
        ring = "" if once else ", ring: at the first attempt"
        ax.set_xlabel(f"success (%){ring}; {100 * confidence:.0f}% interval", fontsize=9)
    axes[0, 0].set_yticks(range(len(arms)), [names.get(arm, arm) for arm in arms])
    axes[0, 0].set_ylim(len(arms) - 0.5, -0.5)
    return save_figure(figure, path)


class Removed(NamedTuple):
    """An arm of an attribution study: a method without one of its parts.

    Attributes:
        title: what the line is called.
        part: name of the part; arms of one part share a line. Empty: the method with all parts, which is not drawn.
        kind: paper, addition, choice, or control.
        anew: it was fitted without the part; else the part is left out of the fitted method.
    """

    title: str
    part: str
    kind: str
    anew: bool = False


_KINDS = {"paper": "parts of the paper", "addition": "additions", "choice": "rule that chooses", "control": "nothing learned"}


def draw_attribution(path: Path, rows: Sequence[StudyRow], arms: Mapping[str, Removed], confidence: float = 0.95) -> Path:
    """What each part is worth: first attempts without it minus those of the whole, in points, as bars with their intervals.

    One column per task and split; parts by kind, the untrained control at the bottom. Hatched bars were fitted without the part.
    """
    shown = [r for r in pooled(rows) if arms[r.arm].kind and isfinite(r.first_diff)]
    panels = list(dict.fromkeys((r.task, r.split) for r in pooled(rows)))
    kinds = sorted(dict.fromkeys(arms[r.arm].kind for r in shown), key=lambda kind: (kind == "control", list(_KINDS).index(kind)))
    places: dict[str, float] = {}
    headings: dict[float, str] = {}
    labels: dict[float, str] = {}
    at = 0.0
    for kind in kinds:
        headings[at] = _KINDS[kind]
        for row in shown:
            arm = arms[row.arm]
            if arm.kind == kind and _line(arm, row.arm) not in places:
                at += 1.0
                places[_line(arm, row.arm)], labels[at] = at, arm.title
        at += 1.4
    figure = new_figure(3.6 + 3.6 * len(panels), 1.3 + 0.27 * max(at, 3.0))
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    cut, fitted = ({_line(arms[r.arm], r.arm) for r in shown if arms[r.arm].anew is anew} for anew in (False, True))
    both = cut & fitted
    for ax, panel in zip(axes, panels, strict=True):
        for row in (r for r in shown if (r.task, r.split) == panel):
            arm = arms[row.arm]
            line = _line(arm, row.arm)
            colour = COLOURS[list(_KINDS).index(arm.kind)] if arm.kind != "control" else "#666666"
            value, ends = 100 * row.first_diff, (100 * row.first_diff_low, 100 * row.first_diff_high)
            ax.barh(
                [places[line] + (0.2 * (1 if arm.anew else -1) if line in both else 0.0)],
                [value],
                height=0.38 if line in both else 0.6,
                xerr=[[max(value - ends[0], 0.0)], [max(ends[1] - value, 0.0)]],
                color="white" if arm.anew else colour,
                edgecolor=colour,
                hatch="////" if arm.anew else None,
                alpha=0.85,
                capsize=2.5,
                error_kw={"elinewidth": 1.1, "ecolor": "#333333"},
            )
        count = max((r.episodes for r in pooled(rows) if (r.task, r.split) == panel and not arms[r.arm].kind), default=0)
        ax.set_title(f"{panel[0]}, {panel[1]}: n = {count}", fontsize=10)
        ax.axvline(0.0, color="#333333", linewidth=0.9)
        ax.grid(alpha=0.3, axis="x")
        ax.set_xlabel(f"points at the first attempt, {100 * confidence:.0f}% interval", fontsize=9)
    ticks = sorted({**headings, **labels}.items())
    axes[0].set_yticks([place for place, _ in ticks], [text for _, text in ticks], fontsize=9)
    for place, text in zip(ticks, axes[0].get_yticklabels(), strict=True):
        text.set_fontweight("bold" if place[0] in headings else "normal")
    axes[0].set_ylim(max(at, 1.0) - 0.6, -0.8)
    for ax in axes:
        ax.tick_params(axis="y", length=0)
    hatched = " (hatched: fitted without it)" if fitted else ""
    figure.suptitle(f"without the part, minus the whole{hatched}", fontsize=10)
    return save_figure(figure, path)


def _line(arm: Removed, name: str) -> str:
    return arm.part or name
