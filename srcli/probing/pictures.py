"""Pictures of a probe. Drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER
from srcli.evaluation.figures import new_figure, save_figure

_COLOURS = {"point": "#1b6ca8", "region": "#4d9221", "color": "#b8860b"}
_LABELS = {"point": "most similar point", "region": "most similar region", "color": "colours alone"}
_GROUPS = {"seen": "#1b6ca8", "unseen": "#d95f02", "all": "#555555"}
_MOST_NAMES = 24


def draw_answers(path: Path, answers: Sequence[Mapping[str, Any]]) -> Path:
    """Share of right answers by kind of keyword, a panel for each split and wording, with Wilson intervals and chance."""
    panels = list(dict.fromkeys((row["split"], row["wording"]) for row in answers))
    figure = new_figure(5.6 * min(len(panels), 2), 3.6 * -(-len(panels) // 2))
    axes = figure.subplots(-(-len(panels) // 2), min(len(panels), 2), squeeze=False, sharey=True).ravel()
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax, (split, wording) in zip(axes, panels, strict=False):
        rows = [row for row in answers if (row["split"], row["wording"]) == (split, wording)]
        place = np.arange(len(rows))
        for number, (key, colour) in enumerate(_COLOURS.items()):
            values = np.array([[100 * row[key][end] for row in rows] for end in ("rate", "low", "high")])
            ends = [values[0] - values[1], values[2] - values[0]]
            ax.bar(place + 0.26 * (number - 1), values[0], 0.24, color=colour, label=_LABELS[key])
            ax.errorbar(
                place + 0.26 * (number - 1), values[0], yerr=np.maximum(ends, 0), fmt="none", ecolor="#222222", elinewidth=1
            )
        for x, row in zip(place, rows, strict=True):
            ax.plot([x - 0.42, x + 0.42], [100 * row["chance"]] * 2, color="#c51b7d", linewidth=1.4)
        ax.plot([], [], color="#c51b7d", linewidth=1.4, label="chance")
        ax.set_xticks(place, [f"{row['kind']}\nn {row['point']['n']}" for row in rows], fontsize=8)
        ax.set_ylim(0, 102)
        ax.set_ylabel("right, %")
        ax.set_title(f"{split} objects, wording {'of demonstrations' if wording == 'train' else 'held out'}", fontsize=10)
        ax.grid(axis="y", alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    return save_figure(figure, path)


def draw_confusions(path: Path, pairs: Mapping[str, Mapping[tuple[str, str], int]]) -> Path:
    """True names against the wrong names found instead, a panel per split; the names confused most often.

    Args:
        pairs: split -> (true name, found name) -> number of regions.
    """
    shown = {split: _most_confused(found) for split, found in pairs.items()}
    sizes = [(len({b for _, b in found}), len({a for a, _ in found})) for found in shown.values()]
    height = 2.4 + 0.24 * max([rows for _, rows in sizes] + [4])
    width = sum(2.6 + 0.26 * max(columns, 5) for columns, _ in sizes)
    figure = new_figure(width, height)
    axes = figure.subplots(1, len(shown), squeeze=False, width_ratios=[2.6 + 0.26 * max(columns, 5) for columns, _ in sizes])[0]
    for ax, (split, found) in zip(axes, shown.items(), strict=True):
        total = sum(pairs[split].values())
        ax.set_title(f"{split}: {total} region(s) named wrongly", fontsize=10)
        if not found:
            ax.set_axis_off()
            continue
        true = sorted({a for a, _ in found}, key=lambda name: -sum(n for (a, _), n in found.items() if a == name))
        named = sorted({b for _, b in found}, key=lambda name: -sum(n for (_, b), n in found.items() if b == name))
        table = np.zeros((len(true), len(named)))
        for (a, b), count in found.items():
            table[true.index(a), named.index(b)] = count
        ax.imshow(table, cmap="Oranges", vmin=0, vmax=max(table.max(), 2), aspect="equal")
        for y, x in np.argwhere(table > 0):
            dark = table[y, x] > 0.6 * table.max()
            ax.text(x, y, f"{table[y, x]:.0f}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
        ax.set_xticks(range(len(named)), named, rotation=90, fontsize=7)
        ax.set_yticks(range(len(true)), true, fontsize=7)
        ax.set_xlabel("name found")
        ax.set_ylabel("true name")
        ax.set_xticks(np.arange(-0.5, len(named)), minor=True)
        ax.set_yticks(np.arange(-0.5, len(true)), minor=True)
        ax.grid(which="minor", color="#dddddd", linewidth=0.5)
        ax.tick_params(which="minor", length=0)
    return save_figure(figure, path)


def _most_confused(found: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """The pairs of the true names with most errors."""
    errors: dict[str, int] = {}
    for (name, _), count in found.items():
        errors[name] = errors.get(name, 0) + count
    kept = sorted(errors, key=lambda name: (-errors[name], name))[:_MOST_NAMES]
    return {pair: count for pair, count in found.items() if pair[0] in kept}


def draw_calibration(path: Path, groups: Mapping[str, Mapping[str, Any]]) -> Path:
    """Share that held over the mean quality of each tenth, with Wilson intervals, and how many there are of each."""
    figure = new_figure(5.4, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="calibrated")
    split_names = [name for name in groups if name != "all"] or list(groups)
    for number, name in enumerate(split_names):
        rows = groups[name]["calibration"]
        if not rows:
            continue
        x = np.array([row["quality"] for row in rows])
        values = np.array([[row[end] for row in rows] for end in ("rate", "low", "high")])
        ends = np.maximum([values[0] - values[1], values[2] - values[0]], 0)
        total = sum(row["n"] for row in rows)
        shift = 0.006 * (number - (len(split_names) - 1) / 2)
        colour = _GROUPS.get(name, "#555555")
        upper.errorbar(
            x + shift, values[0], yerr=ends, marker="o", markersize=5, capsize=3, color=colour, label=f"{name}, n {total}"
        )
        lower.bar(x + 3 * shift, [row["n"] for row in rows], 0.025, color=colour)
    upper.set_ylabel("held after lift and hold test")
    upper.set_ylim(-0.02, 1.02)
    lower.set_xlim(0, 1)
    lower.set_xlabel("quality of the candidate")
    lower.set_ylabel("executed")
    upper.legend(fontsize=9)
    upper.grid(alpha=0.3)
    return save_figure(figure, path)


def draw_overlays(path: Path, drawings: Sequence[Mapping[str, Any]], most: int) -> Path:
    """A page of similarity on the cloud from above: cases that found their object, and cases that did not.

    Args:
        drawings: as :func:`srcli.probing.encoder.play` returns them.
        most: how many of each.
    """
    groups = [_varied([d for d in drawings if d["right"] is right], most) for right in (True, False)]
    columns = max([len(group) for group in groups] + [2])
    figure = new_figure(3.5 * columns, 9.6)
    axes = figure.subplots(4, columns, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    for row, group in enumerate(groups):
        for column, drawing in enumerate(group):
            _draw_case(axes[2 * row, column], axes[2 * row + 1, column], drawing)
        if not group:
            axes[2 * row, 0].set_title("no right case" if row == 0 else "no wrong case", fontsize=9)
    figure.suptitle(
        f"{drawings[0]['split']} objects: found (above), not found (below). Black rings: points of a target; cross: most similar",
        fontsize=11,
    )
    return save_figure(figure, path)


def _varied(drawings: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """The first of each kind before the second of any."""
    rank: dict[str, int] = {}
    ranked = []
    for number, drawing in enumerate(drawings):
        rank[drawing["kind"]] = rank.get(drawing["kind"], 0) + 1
        ranked.append((rank[drawing["kind"]], number, drawing))
    return [drawing for _, _, drawing in sorted(ranked, key=lambda item: item[:2])[:most]]


def _draw_case(photo: Any, plan: Any, drawing: Mapping[str, Any]) -> None:
    photo.imshow(drawing["image"])
    photo.set_title(f"{drawing['kind']}: “{drawing['sentence']}”", fontsize=8)
    points, similarity, target = drawing["points"], drawing["similarity"], drawing["target"]
    order = np.argsort(points[:, 2])
    # As the top camera sees it: the world's x upwards, y to the left.
    x, y = -points[:, 1], points[:, 0]
    plan.scatter(x[target], y[target], s=26, facecolors="none", edgecolors="black", linewidths=0.7)
    plan.scatter(x[order], y[order], c=similarity[order], s=9, cmap="viridis", linewidths=0)
    best = drawing["best"]
    plan.plot(x[best], y[best], marker="x", markersize=12, markeredgewidth=3, color="white")
    plan.plot(x[best], y[best], marker="x", markersize=11, markeredgewidth=1.6, color="red")
    plan.set_xlim(-WORKSPACE_UPPER[1], -WORKSPACE_LOWER[1])
    plan.set_ylim(WORKSPACE_LOWER[0], WORKSPACE_UPPER[0])
    plan.set_aspect("equal")
    wanted = (
        ", ".join(drawing["wanted"][:2]) + (", ..." if len(drawing["wanted"]) > 2 else "") if drawing["wanted"] else "nothing"
    )
    low, high = float(similarity.min()), float(similarity.max())
    plan.set_title(f"found {drawing['found']}; wanted {wanted}\nsimilarity {low:.2f} to {high:.2f}", fontsize=8)
