"""Pictures of one decision for the case studies: what the top camera saw, and the cloud with mask, scores and choice."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np

from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER
from srcli.evaluation.figures import CHOSEN, draw_action, draw_scores, frame_view
from srcli.evaluation.rollout import AttemptRecord
from srcli.reporting.blocks import Picture

_PLATE = "#14161a"
_PIXELS = 440


def decision_pictures(record: AttemptRecord, what: str) -> tuple[Picture, ...]:
    """The top view with the chosen action, and the cloud from above with attention and candidates; the view alone when nothing
    was chosen.

    Args:
        record: of an episode that was recorded.
        what: words for the alternative texts, as "SR, first attempt".
    """
    if record.choice is None:
        reason = record.outcome.reason.value.replace("_", " ")
        return (replace(_view(record, what), caption=f"nothing was chosen: {reason}"),)
    return _view(record, what), _cloud(record, what)


def attention(record: AttemptRecord) -> tuple[Any, str]:
    """(N,) what the cloud is coloured by, and what that is: the method's semantic mask, or the similarity where it has none."""
    if record.percept is None:
        return None, "nothing: this method does not look at the cloud"
    mask = record.choice.mask if record.choice is not None else None
    if mask is not None and len(mask) == len(record.percept.cloud.points) and float(np.ptp(mask)) > 1e-6:
        return mask, "semantic mask"
    return record.percept.cloud.similarity, "similarity to the sentence (this method has no mask)"


def _square() -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 4.4), facecolor=_PLATE)
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    return figure, ax


def _view(record: AttemptRecord, what: str) -> Picture:
    if record.observation is None:
        raise ValueError("the episode was not recorded")
    figure, ax = _square()
    ax.imshow(record.observation.rgb[0], interpolation="lanczos")
    draw_action(ax, record, record.observation, 0)
    frame_view(ax, record.observation, 0)
    ax.set_aspect("equal", adjustable="box")
    return Picture(webp(figure), f"{what}: image of the top camera with the chosen action", mime="image/webp")


def _cloud(record: AttemptRecord, what: str) -> Picture:
    figure, ax = _square()
    values, name = attention(record)
    if record.percept is not None and values is not None:
        points = record.percept.cloud.points
        order = np.argsort(points[:, 2])
        ax.scatter(points[order, 1], points[order, 0], c=values[order], s=34, cmap="viridis", linewidths=0)
    caption = f"colour of the points: {name}"
    if len(record.candidates):
        caption += f"; {'strokes' if record.candidates.kind == 'grasp' else 'dots'}: candidates by {draw_scores(ax, record)}"
    if record.choice is not None:
        tip = record.choice.action.pose
        ax.plot(tip[1], tip[0], "o", markersize=17, markerfacecolor="none", markeredgecolor=CHOSEN, markeredgewidth=2.4)
    ax.set_aspect("equal")
    ax.set_xlim(WORKSPACE_UPPER[1], WORKSPACE_LOWER[1])
    ax.set_ylim(WORKSPACE_LOWER[0], WORKSPACE_UPPER[0])
    return Picture(webp(figure), f"{what}: cloud from above", caption, mime="image/webp")


def webp(figure: Any) -> bytes:
    """A drawn figure as WebP bytes."""
    from PIL import Image

    figure.set_dpi(_PIXELS / figure.get_size_inches()[0])
    figure.canvas.draw()
    out = BytesIO()
    Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[:, :, :3].copy()).save(out, "WEBP", quality=82, method=4)
    return out.getvalue()
