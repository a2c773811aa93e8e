"""What a planner is shown and what it answers, and the planner that needs no service.

A planner decides which thing to take: what the sentence asks for, or, while that is hidden, what lies in the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from srcli.learning.regions import Regions
from srcli.methods.grounding.field import Field
from srcli.perception.geometry import project
from srcli.types import F32, F64, I64, U8, Bool, Observation

GRID = 3
"""Cells along each side of a thing's box: 1 to 9, row by row as the first view shows them, from its upper left."""

_BORDER = 50
"""Pixels around the outermost numbers that a planner is shown."""
_SIDE = 768
"""Pixels of the longer side of what it is shown, at least."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a planner may look at.

    Attributes:
        instruction: the sentence as it was said.
        field, things: points with features, and the regions of them that are things to take.
        similarity: (L,) cosine of each thing with the sentence.
        reachable: (L,) whether any candidate belongs to it.
        observation: the views.
    """

    instruction: str
    field: Field
    things: Regions
    similarity: F32
    reachable: Bool
    observation: Observation


@dataclass(frozen=True, slots=True)
class Plan:
    """What to take.

    Attributes:
        thing: its number, from 0.
        cell: of its box, 0 to 8, where to take it.
        visible: whether it is what was asked for; else it lies in the way.
    """

    thing: int
    cell: int
    visible: bool


class Planner(Protocol):
    """Decides what to take."""

    def plan(self, situation: Situation) -> Plan:
        """The next thing to take."""
        ...


class OfflinePlanner:
    """The thing most like the sentence; while none is like it, the one that reaches highest.

    The obstacle is told by geometry: of a pile, what reaches highest has the least on top of it. The cell is that with the most
    points.

    Args:
        visible: cosine from which on a thing counts as what was asked for.
    """

    def __init__(self, visible: float) -> None:
        self._visible = visible

    def plan(self, situation: Situation) -> Plan:
        """The next thing to take, among those that a candidate belongs to where there are such."""
        things = situation.things
        best = int(np.argmax(situation.similarity))
        visible = bool(situation.similarity[best] >= self._visible)
        if not visible:
            height = things.upper[:, 2]
            allowed = situation.reachable if situation.reachable.any() else np.ones(len(things), dtype=np.bool_)
            best = int(np.argmax(np.where(allowed, height, -np.inf)))
        cells = cell_centres(things.lower[best], things.upper[best], situation.observation)
        points = situation.field.points[things.label == best]
        nearest = np.linalg.norm(points[:, None, :2] - cells[None, :, :2], axis=2).argmin(axis=1)
        return Plan(best, int(np.argmax(np.bincount(nearest, minlength=GRID**2))), visible)


def cell_centres(lower: F32, upper: F32, observation: Observation) -> F64:
    """(9, 3) centres of the cells of a box, metres, in the order in which the first view shows them.

    Args:
        lower, upper: (3,) corners, metres.
    """
    share = (np.arange(GRID) + 0.5) / GRID
    x, y = (lower[axis] + share * (upper[axis] - lower[axis]) for axis in (0, 1))
    centres = np.stack([*(axis.reshape(-1) for axis in np.meshgrid(x, y, indexing="ij")), np.full(GRID**2, upper[2])], axis=1)
    uv, _ = project(centres, observation.K[0], observation.T_world_cam[0])
    rows = np.argsort(np.round(uv[:, 1], 6), kind="stable").reshape(GRID, GRID)
    order: I64 = np.concatenate([row[np.argsort(np.round(uv[row, 0], 6), kind="stable")] for row in rows])
    result: F64 = centres[order].astype(np.float64)
    return result


def marked(situation: Situation) -> U8:
    """The part of the first view that shows the things, enlarged, with a number, from 1, on each of them; (h, w, 3)."""
    from PIL import Image, ImageDraw

    observation, things = situation.observation, situation.things
    tops = np.concatenate([things.centres[:, :2], things.upper[:, 2:]], axis=1)
    uv, _ = project(tops, observation.K[0], observation.T_world_cam[0])
    height, width = observation.rgb.shape[1:3]
    low = np.clip(np.floor(uv.min(axis=0)) - _BORDER, 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(uv.max(axis=0)) + _BORDER, low + 1, [width, height]).astype(int)
    scale = max(1.0, _SIDE / int((high - low).max()))
    part = Image.fromarray(observation.rgb[0][low[1] : high[1], low[0] : high[0]])
    columns, rows = (max(1, round(side * scale)) for side in (high - low).tolist())
    picture = part.resize((columns, rows), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for number, (u, v) in enumerate(((uv - low) * scale).tolist(), start=1):
        left, top, right, bottom = draw.textbbox((u, v), str(number), anchor="mm")
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=(255, 255, 255), outline=(0, 0, 0))
        draw.text((u, v), str(number), fill=(0, 0, 0), anchor="mm")
    shown: U8 = np.asarray(picture, dtype=np.uint8)
    return shown
