"""Pictures of what the robot saw and of how often it worked. Drawn without a display."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill, shorten
from typing import Any, Protocol

import numpy as np

from srcli.artifacts.core import atomic_write
from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER
from srcli.evaluation.rollout import AttemptRecord, EpisodeRecord, approaches
from srcli.evaluation.statistics import Result, success_within, wilson
from srcli.evaluation.understanding import Understood
from srcli.language.spelling import Reading
from srcli.methods.base import Choice
from srcli.types import F32, F64, Bool, Candidates, HeldExtent, Observation, Percept, Reason

DPI = 110
_REASON_COLOURS = {
    Reason.WRONG_OBJECT: "#d95f02",
    Reason.NOTHING_HELD: "#7570b3",
    Reason.SLIPPED: "#e7298a",
    Reason.COLLISION: "#66a61e",
    Reason.NO_IK: "#e6ab02",
    Reason.NO_CANDIDATE: "#666666",
    Reason.WRONG_REGION: "#a6761d",
    Reason.DROPPED: "#1f78b4",
}
CHOSEN = "#00ff66"
_METHOD_COLOURS = ("#1b6ca8", "#d95f02", "#4d9221", "#7570b3", "#c51b7d", "#666666", "#b8860b", "#01665e")
_NAMES_INSIDE = 10
"""Most methods whose names stand inside the axes."""


class Decided(Protocol):
    """What can be drawn: candidates, what was chosen of them, and what was looked at."""

    @property
    def candidates(self) -> Candidates: ...

    @property
    def excluded(self) -> Bool: ...

    @property
    def choice(self) -> Choice | None: ...

    @property
    def percept(self) -> Percept | None: ...

    @property
    def held(self) -> HeldExtent | None: ...


def new_figure(width: float, height: float) -> Any:
    """An empty figure, inches."""
    # The object interface draws with Agg and leaves a user's pyplot state alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> Path:
    """Write it as PNG, whole or not at all.

    Raises:
        DiskError: the place is not writable.
    """
    with atomic_write(path) as temporary:
        # Without the software's version the same picture gives the same bytes.
        # What reaches beyond the figure (a long title, a label beside a square panel) makes it larger instead of being cut.
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.08)
    return path


def draw_case(
    episode: EpisodeRecord, path: Path, reading: Reading | None = None, understood: Understood | None = None, attempt: int = -1
) -> Path:
    """One attempt: the views with the chosen grasp, then the cloud from above with similarity, mask and candidates.

    Args:
        episode: recorded with ``record=True``.
        reading: how the sentence was read; what was changed or says nothing stands in the title.
        understood: what the encoder takes from it; the half that was acted on stands below, where the method uses the encoder.
        attempt: which attempt, by default the last.
    """
    record = episode.attempts[attempt]
    if record.observation is None:
        raise ValueError("the episode was not recorded")
    observation = record.observation
    names = ("top", "left", "right") if len(observation.rgb) == 3 else tuple(f"view {i}" for i in range(len(observation.rgb)))
    number = (attempt % len(episode.attempts)) + 1
    said = fill(f"“{episode.spec.instruction}”", 130)
    told = [reading.told()] if reading is not None else []
    if understood is not None and record.percept is not None:
        told.append(understood.told(record.phase))
    below = "".join(f"\n{shorten(line, 180)}" for line in told if line)
    title = (
        f"{said}  ({episode.spec.split})   {episode.policy}, attempt {number} of {len(episode.attempts)}: "
        f"{describe(episode, record)}{below}"
    )
    return draw_decision(record, observation, names, title, path)


def draw_decision(decided: Decided, observation: Observation, names: Sequence[str], title: str, path: Path) -> Path:
    """The views with what was chosen, then the cloud from above with similarity, mask and candidates.

    Args:
        observation: M views in the frame of the cell.
        names: of the views.
    """
    columns = max(len(names), 3)
    figure = new_figure(4.6 * columns, 8.6)
    axes = figure.subplots(2, columns)
    for ax in axes.ravel():
        ax.set_axis_off()
    for i, name in enumerate(names):
        ax = axes[0, i]
        ax.imshow(observation.rgb[i])
        ax.set_title(name, fontsize=10)
        draw_action(ax, decided, observation, i)
        frame_view(ax, observation, i)
    _draw_cloud(axes[1, 0], decided, "similarity")
    _draw_cloud(axes[1, 1], decided, "mask")
    _draw_candidates(axes[1, 2], decided)
    figure.suptitle(title, fontsize=12)
    return save_figure(figure, path)


def describe(episode: EpisodeRecord, record: AttemptRecord) -> str:
    """One attempt in words: how it ended, what was taken or put, and what was asked for."""
    names, goal = episode.spec.objects, episode.spec.goal
    thing = names[record.outcome.slot] if record.outcome.slot is not None else "nothing"
    ended = record.outcome.reason.value.replace("_", " ")
    if record.phase == "place":
        wanted = ", ".join(sorted({names[slot] for slot in goal.references}))
        return f"{ended}, released {thing}; asked: {goal.relation} {wanted}"
    aimed = f" (aimed at {names[record.aimed]})" if record.outcome.slot is None and record.aimed is not None else ""
    return f"{ended}, held {thing}{aimed}; target {', '.join(sorted({names[slot] for slot in goal.targets}))}"


def draw_action(ax: Any, record: Decided, observation: Observation, view: int) -> None:
    """The chosen action over one view: the gripper of a grasp, or the measured outline of what is to be put down."""
    if record.choice is None:
        return
    action = record.choice.action
    if action.kind == "place":
        radius = record.held.radius if record.held is not None else 0.02
        strokes = [ring(action.pose, radius), np.stack([action.pose[:3], action.pose[:3] + np.array([0.0, 0.0, 0.08])])]
    else:
        fork = gripper_lines(action.pose, action.width)
        strokes = [fork[:4], fork[4:]]
    for colour, thick in (("black", 4.0), (CHOSEN, 2.0)):
        for stroke in strokes:
            pixels, front = project(stroke, observation.K[view], observation.T_world_cam[view])
            if front.all():
                ax.plot(pixels[:, 0], pixels[:, 1], color=colour, linewidth=thick)


def ring(pose: F32, radius: float, corners: int = 40) -> F64:
    """(corners + 1, 3) closed horizontal circle of ``radius`` metres around the position of a pose, world frame."""
    angle = np.linspace(0.0, 2.0 * np.pi, corners + 1)
    circle: F64 = pose[:3] + radius * np.stack([np.cos(angle), np.sin(angle), np.zeros(corners + 1)], axis=1)
    return circle


def frame_view(ax: Any, observation: Observation, view: int) -> None:
    """Show the part of a view in which the workspace lies."""
    height, width = observation.rgb.shape[1:3]
    (x0, y0, _), (x1, y1, _) = WORKSPACE_LOWER, WORKSPACE_UPPER
    corners = np.array([[x, y, z] for x in (x0, x1) for y in (y0, y1) for z in (0.0, 0.1)])
    pixels, front = project(corners, observation.K[view], observation.T_world_cam[view])
    low, high = pixels[front].min(axis=0), pixels[front].max(axis=0)
    ax.set_xlim(max(low[0], 0), min(high[0], width))
    ax.set_ylim(min(high[1], height), max(low[1], 0))


def gripper_lines(pose: F32, width: float) -> F64:
    """(6, 3) world points of a gripper sketch: a fork (4 points) through both finger tips, and its stem (2 points), metres."""
    x, y, z, w = (float(v) for v in pose[3:])
    closing = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)])
    approach = approaches(pose[None])[0]
    tip = pose[:3].astype(np.float64)
    half = closing * width / 2
    back = tip - 0.05 * approach
    lines: F64 = np.stack([tip - half, back - half, back + half, tip + half, back, back - 0.05 * approach])
    return lines


def project(points: F64, K: F64, T_world_cam: F64) -> tuple[F64, Any]:
    """Pixels (n, 2) of world points (n, 3), and which lie in front of the camera."""
    local = (points - T_world_cam[:3, 3]) @ T_world_cam[:3, :3]
    front = local[:, 2] > 1e-6
    image = local @ K.T
    return image[:, :2] / np.maximum(image[:, 2:], 1e-9), front


def _draw_cloud(ax: Any, record: Decided, what: str) -> None:
    percept = record.percept
    values: F32 | None
    if percept is None:
        values, points = None, np.zeros((0, 3), np.float32)
    else:
        points = percept.cloud.points
        values = percept.cloud.similarity if what == "similarity" else (record.choice.mask if record.choice else None)
    title = "similarity to the sentence" if what == "similarity" else "semantic mask"
    if values is None or len(values) != len(points):
        ax.set_title(f"{title}: not used by this method", fontsize=10, color="#777777")
        return
    order = np.argsort(points[:, 2])
    shown = ax.scatter(points[order, 1], points[order, 0], c=values[order], s=16, cmap="viridis", linewidths=0)
    _from_above(ax, title)
    ax.figure.colorbar(shown, ax=ax, shrink=0.7).ax.tick_params(labelsize=7)


def _draw_candidates(ax: Any, record: Decided) -> None:
    candidates: Candidates = record.candidates
    if len(candidates) == 0:
        ax.set_title("no candidates", fontsize=10)
        return
    if record.percept is not None:
        points = record.percept.cloud.points
        ax.scatter(points[:, 1], points[:, 0], c="#dddddd", s=10, linewidths=0)
    name = draw_scores(ax, record)
    _from_above(ax, f"{len(candidates)} candidates by {name} (bright: high)")


def draw_scores(ax: Any, record: Decided) -> str:
    """Candidates seen from above, coloured by score, the excluded ones crossed, the chosen one ringed.

    Grasps are strokes between the finger tips, placements are dots.

    Returns:
        What the colours mean: "score", or "quality" of the prior for a method without scores.
    """
    candidates, choice = record.candidates, record.choice
    scored = choice is not None and choice.scores is not None
    scores = choice.scores if choice is not None and choice.scores is not None else candidates.quality
    finite = np.where(np.isfinite(scores), scores, np.nan)
    low, high = np.nanpercentile(finite, [10, 100])
    colour = _colour_map()((np.clip(finite, low, high) - low) / max(high - low, 1e-9))
    order = np.argsort(finite)
    if candidates.kind == "place":
        tips = candidates.poses
        ax.scatter(tips[order, 1], tips[order, 0], c=colour[order], s=26, linewidths=0.4, edgecolors="#333333")
    else:
        pairs = zip(candidates.poses, candidates.widths, strict=True)
        segments = np.stack([gripper_lines(pose, float(width))[[0, 3]] for pose, width in pairs])
        for k in order:
            ax.plot(segments[k, :, 1], segments[k, :, 0], color=colour[k], linewidth=2.2)
    for k in np.flatnonzero(record.excluded):
        ax.plot(candidates.poses[k, 1], candidates.poses[k, 0], marker="x", color="red", markersize=7)
    if choice is not None:
        tip = choice.action.pose
        ax.plot(tip[1], tip[0], marker="o", markersize=15, markerfacecolor="none", markeredgecolor="#00aa44", markeredgewidth=2.5)
    return "score" if scored else "quality"


def _colour_map() -> Any:
    from matplotlib import colormaps

    return colormaps["plasma"]


def _from_above(ax: Any, title: str) -> None:
    ax.set_axis_on()
    ax.set_aspect("equal")
    # As the top camera sees it: x grows upwards, y to the left.
    ax.set_xlabel("y (m)", fontsize=8)
    ax.set_ylabel("x (m)", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.set_xlim(WORKSPACE_UPPER[1], WORKSPACE_LOWER[1])
    ax.set_ylim(WORKSPACE_LOWER[0], WORKSPACE_UPPER[0])
    ax.set_title(title, fontsize=10)


def draw_failures(results: Sequence[Result], path: Path) -> Path:
    """Failed attempts of each method and split by reason, as shares of all its attempts."""
    groups = list(dict.fromkeys((r.split, r.method) for r in results))
    figure = new_figure(9.0, 1.2 + 0.42 * len(groups))
    ax = figure.subplots()
    used: list[Reason] = []
    for position, (split, method) in enumerate(groups):
        counts: Counter[str] = Counter()
        for result in results:
            if (result.split, result.method) == (split, method):
                counts.update(result.reasons)
        total = max(sum(counts.values()), 1)
        failed = [r for r in Reason if r is not Reason.SUCCESS and counts[r.value]]
        failed.sort(key=lambda r: -counts[r.value])
        left = 0.0
        for reason in failed:
            share = 100 * counts[reason.value] / total
            ax.barh(position, share, left=left, color=_REASON_COLOURS[reason], edgecolor="white", linewidth=0.5)
            if share >= 3:
                ax.text(
                    left + share / 2, position, f"{counts[reason.value]}", ha="center", va="center", fontsize=8, color="white"
                )
            left += share
            if reason not in used:
                used.append(reason)
        ax.text(left + 0.8, position, f"of {total}", va="center", fontsize=8, color="#555555")
    ax.set_yticks(range(len(groups)), [f"{method} / {split}" for split, method in groups])
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.set_xlim(0, 108)
    ax.set_xlabel("share of attempts that failed (%), number of attempts in the bars")
    handles = [_patch(_REASON_COLOURS[reason], reason.value.replace("_", " ")) for reason in used]
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 6), fontsize=8, frameon=False)
    return save_figure(figure, path)


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)


def draw_success(results: Sequence[Result], path: Path, attempts: int = 8, confidence: float = 0.95) -> Path:
    """Success within k attempts for each method, one panel per split, with Wilson bands."""
    splits = list(dict.fromkeys(r.split for r in results))
    methods = list(dict.fromkeys(r.method for r in results))
    # Many names would hide the curves, or need more height than there is.
    beside = len(methods) > _NAMES_INSIDE
    width, height = 5.2 * len(splits), 4.2
    figure = new_figure(width + 3.0, max(height, 0.24 * len(methods))) if beside else new_figure(width, height)
    axes = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    ks = np.arange(1, attempts + 1)
    for ax, split in zip(axes, splits, strict=True):
        for method in methods:
            own = [r for r in results if r.split == split and r.method == method]
            if not own:
                continue
            colour = _METHOD_COLOURS[methods.index(method) % len(_METHOD_COLOURS)]
            # The interval of a control is that of the mean of its networks over the scenes, as in the table.
            scenes = len({r.key for r in own})
            bands = [wilson(success_within(own, int(k)) * scenes / len(own), scenes, confidence) for k in ks]
            ax.plot(ks, [100 * b.value for b in bands], marker="o", markersize=4, color=colour, label=method)
            ax.fill_between(
                ks, [100 * b.low for b in bands], [100 * b.high for b in bands], color=colour, alpha=0.12, linewidth=0
            )
        count = len({r.key for r in results if r.split == split})
        ax.set_title(f"{split}, {count} {'scene' if count == 1 else 'scenes'}", fontsize=10)
        ax.set_xlabel("within so many attempts")
        ax.set_xticks(ks)
        ax.set_ylim(0, 101)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("episodes that succeeded (%)")
    if beside:
        figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False)
    else:
        axes[-1].legend(fontsize=8, loc="lower right")
    return save_figure(figure, path)
