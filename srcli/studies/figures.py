"""Pictures of ablations and noise sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from srcli.artifacts.core import atomic_write
from srcli.evaluation.figures import DPI, _figure
from srcli.studies.tables import POOLED, StudyRow, interval

COLOURS = ("#1b6ca8", "#d95f02", "#4d9221", "#7570b3", "#c51b7d", "#666666", "#b8860b", "#01665e")


def pooled(rows: Sequence[StudyRow]) -> tuple[StudyRow, ...]:
    """Rows of all training seeds together; where there is one seed, its rows."""
    together = {(r.task, r.split, r.arm) for r in rows if r.seed == POOLED}
    return tuple(r for r in rows if r.seed == POOLED or (r.task, r.split, r.arm) not in together)


def draw_noise(
    path: Path, rows: Sequence[StudyRow], arms: Mapping[str, tuple[str, float]], unit: str, confidence: float = 0.95
) -> Path:
    """Success over the strength of the noise, above within all attempts and below at the first one.

    One line per sparse branch with its interval, one column of panels per task and split.

    Args:
        arms: arm -> (sparse branch, sigma).
        unit: what sigma counts, for the axis.
    """
    shown = pooled(rows)
    panels = list(dict.fromkeys((r.task, r.split) for r in shown))
    branches = list(dict.fromkeys(branch for branch, _ in arms.values()))
    levels = sorted({sigma for _, sigma in arms.values()})
    gap = min((b - a for a, b in pairwise(levels)), default=1.0)
    figure = _figure(1.2 + 4.8 * len(panels), 7.4)
    axes = figure.subplots(2, len(panels), squeeze=False, sharex=True, sharey=True)
    for column, (task, split) in enumerate(panels):
        for number, branch in enumerate(branches):
            own = [r for r in shown if (r.task, r.split) == (task, split) and arms[r.arm][0] == branch]
            own.sort(key=lambda r: arms[r.arm][1])
            # Side by side, so that intervals do not hide each other.
            shift = 0.05 * gap * (number - (len(branches) - 1) / 2)
            for ax, first in zip(axes[:, column], (False, True), strict=True):
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
                    label={"relu2": "ReLU²", "relu": "ReLU"}.get(branch, branch),
                )
        count = max((r.episodes for r in shown if (r.task, r.split) == (task, split)), default=0)
        axes[0, column].set_title(f"{task}, {split}: {count} episodes per point", fontsize=10)
        axes[1, column].set_xlabel(f"noise σ, in {unit}")
        for ax in axes[:, column]:
            ax.set_xticks(levels)
            ax.set_ylim(0, 104)
            ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"success (%), {100 * confidence:.0f}% interval")
    axes[1, 0].set_ylabel(f"at the first attempt (%), {100 * confidence:.0f}% interval")
    axes[0, 0].legend(title="sparse branch", fontsize=9, title_fontsize=9, loc="lower left")
    return _save(figure, path)


def _shown(row: StudyRow, first: bool) -> tuple[float, float, float]:
    """Value and ends of the interval in per cent: success, or success at the first attempt."""
    value, (low, high) = (row.first, (row.first_low, row.first_high)) if first else (row.rate, interval(row))
    # Ends that are the value itself differ from it by rounding.
    return 100 * value, 100 * min(low, value), 100 * max(high, value)


def draw_arms(path: Path, rows: Sequence[StudyRow], names: Mapping[str, str], confidence: float = 0.95) -> Path:
    """Success of every arm: a dot within all attempts, a ring at the first one, each with its interval.

    Small dots are single training seeds; one panel per task and split.
    """
    shown = pooled(rows)
    tasks, splits = list(dict.fromkeys(r.task for r in shown)), list(dict.fromkeys(r.split for r in shown))
    arms = list(dict.fromkeys(r.arm for r in shown))
    figure = _figure(1.6 + 3.4 * len(tasks), 0.6 + len(splits) * (0.9 + 0.42 * len(arms)))
    axes = figure.subplots(len(splits), len(tasks), squeeze=False, sharex=True, sharey=True)
    for panel, ax in (((t, s), axes[i, j]) for i, s in enumerate(splits) for j, t in enumerate(tasks)):
        for row in (r for r in shown if (r.task, r.split) == panel):
            place, colour = arms.index(row.arm), COLOURS[arms.index(row.arm) % len(COLOURS)]
            for first, face, shift in ((False, colour, -0.13), (True, "white", 0.13)):
                value, low, high = _shown(row, first)
                ends = [[value - low], [high - value]]
                ax.errorbar(
                    [value], [place + shift], xerr=ends, marker="o", markersize=6, capsize=3, color=colour, markerfacecolor=face
                )
            if row.seed == POOLED:
                single = [r for r in rows if (r.task, r.split) == panel and r.arm == row.arm and r.seed != POOLED]
                ax.plot([100 * r.rate for r in single], [place - 0.3] * len(single), ".", color=colour, alpha=0.6)
        count = max((r.episodes for r in shown if (r.task, r.split) == panel), default=0)
        ax.set_title(f"{panel[0]}, {panel[1]}: n = {count}", fontsize=10)
        ax.set_xlim(-2, 102)
        ax.grid(alpha=0.3, axis="x")
    for ax in axes[-1]:
        ax.set_xlabel(f"success (%), ring: at the first attempt; {100 * confidence:.0f}% interval", fontsize=9)
    axes[0, 0].set_yticks(range(len(arms)), [names.get(arm, arm) for arm in arms])
    axes[0, 0].set_ylim(len(arms) - 0.5, -0.5)
    return _save(figure, path)


def _save(figure: object, path: Path) -> Path:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})  # type: ignore[attr-defined]
    return path
