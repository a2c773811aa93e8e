"""What an agent sees, as arrays of fixed shape: features, images, or what LeRobot's policies are given."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from gymnasium import spaces

from srcli.envs.stepping import View
from srcli.evaluation.robot_state import STATE, robot_state
from srcli.params import Params
from srcli.perception.encoders.interface import Encoder
from srcli.sim.cameras import cameras
from srcli.types import F32

Shape = Literal["features", "images", "lerobot"]
SHAPES: tuple[Shape, ...] = ("features", "images", "lerobot")

CANDIDATE = ("x", "y", "z", "qx", "qy", "qz", "qw", "width", "quality")
"""Columns of a candidate: pose in metres and xyzw, opening in metres, quality 0 to 1."""

_REACH = 2.0
"""Bound of every length, metres: farther than any camera sees."""

Arrays = dict[str, Any]


class Observer(Protocol):
    """Turns a view into arrays."""

    @property
    def space(self) -> spaces.Dict: ...

    def __call__(self, view: View) -> Arrays: ...


def make_observer(shape: Shape, params: Params, encoder: Encoder, task: str, depth: bool, flat: bool) -> Observer:
    """The observer of a name; see docs/gymnasium.md for the keys of each."""
    if shape == "lerobot":
        return LeRobotObserver(params)
    return FlatObserver(params, encoder, most_candidates(params, task), shape == "images", depth, flat)


def most_candidates(params: Params, task: str) -> int:
    """K, the largest number of candidates of any phase of a task."""
    from srcli.tasks import get_task

    phases = get_task(task, params.language).phases
    return max(params.candidates.count if phase == "pick" else params.placements.count for phase in phases)


class FlatObserver:
    """A dictionary of arrays, without dictionaries inside, as Stable-Baselines3 needs it.

    Args:
        most: K, rows of the candidates; missing ones are zeros.
        images: the cameras' pictures; else the fused cloud and the sentence's tokens.
        depth: with pictures, depth images beside them.
        flat: arrays of two axes as vectors, row by row: Stable-Baselines3 takes no others without a warning.
    """

    def __init__(self, params: Params, encoder: Encoder, most: int, images: bool, depth: bool, flat: bool) -> None:
        self._encoder, self._most, self._flat, self._depth = encoder, most, flat, depth
        self._names = tuple(camera.name for camera in cameras(params.sim)) if images else ()
        view = cameras(params.sim)[0]
        self._points, self._dim = params.cloud.count, encoder.dim
        self._tokens = encoder.identity.max_tokens
        bounds = np.array([_REACH] * 3 + [1.0] * 4 + [_REACH, 1.0], dtype=np.float32)
        boxes: dict[str, spaces.Space[Any]] = {
            "candidates": self._box(-bounds, bounds, most),
            "candidate_mask": spaces.MultiBinary(most),
            "phase": spaces.Discrete(2),
            "attempts_left": spaces.Box(0.0, 1.0, (1,), np.float32),
            "held": spaces.Box(0.0, _REACH, (3,), np.float32),
            "text": spaces.Box(-1.0, 1.0, (self._dim,), np.float32),
        }
        for name in self._names:
            boxes[f"rgb_{name}"] = spaces.Box(0, 255, (view.height, view.width, 3), np.uint8)
            if depth:
                boxes[f"depth_{name}"] = spaces.Box(0.0, 10.0, (view.height, view.width), np.float32)
        if not images:
            one = np.ones(self._dim, dtype=np.float32)
            boxes["points"] = self._box(np.full(3, -_REACH), np.full(3, _REACH), self._points)
            boxes["features"] = self._box(-one, one, self._points)
            boxes["similarity"] = spaces.Box(-1.0, 1.0, (self._points,), np.float32)
            boxes["point_mask"] = spaces.MultiBinary(self._points)
            boxes["tokens"] = self._box(-one, one, self._tokens)
            boxes["token_mask"] = spaces.MultiBinary(self._tokens)
        self.space = spaces.Dict(boxes)

    def _box(self, low: Any, high: Any, rows: int) -> spaces.Box:
        lows, highs = (np.tile(np.asarray(side, dtype=np.float32), (rows, 1)) for side in (low, high))
        return spaces.Box(*((lows.ravel(), highs.ravel()) if self._flat else (lows, highs)), dtype=np.float32)

    def _rows(self, values: F32, rows: int, columns: int) -> F32:
        """The first rows of an array, filled up with zeros."""
        out = np.zeros((rows, columns), dtype=np.float32)
        out[: len(values)] = values[:rows]
        return out.ravel() if self._flat else out

    @staticmethod
    def _mask(count: int, size: int) -> Any:
        return (np.arange(size) < count).astype(np.int8)

    def __call__(self, view: View) -> Arrays:
        candidates = view.candidates
        table = np.concatenate([candidates.poses, candidates.widths[:, None], candidates.quality[:, None]], axis=1)
        held = view.given.held if view.given is not None else None
        extent = (0.0, 0.0, 0.0) if held is None else (held.radius, held.half_width, held.height)
        allowed = np.zeros(self._most, dtype=np.int8)
        if view.given is not None:
            allowed[: len(candidates)] = ~view.given.excluded
        out: Arrays = {
            "candidates": self._rows(table.astype(np.float32), self._most, len(CANDIDATE)),
            "candidate_mask": allowed,
            "phase": np.int64(view.phase == "place"),
            "attempts_left": np.array([view.left], dtype=np.float32),
            "held": np.array(extent, dtype=np.float32),
        }
        if self._names:
            for row, name in enumerate(self._names):
                out[f"rgb_{name}"] = view.observation.rgb[row].copy()
                if self._depth:
                    out[f"depth_{name}"] = view.observation.depth[row].copy()
            out["text"] = _unit(view.text().pooled)
            return out
        percept = view.percept()
        text = view.text() if percept is None else percept.text
        out["text"], out["tokens"] = _unit(text.pooled), self._rows(_unit(text.tokens), self._tokens, self._dim)
        out["token_mask"] = text.mask[: self._tokens].astype(np.int8)
        count = 0 if percept is None else min(len(percept.cloud.points), self._points)
        nothing = np.zeros((0, self._dim), dtype=np.float32)
        points, features, similarity = (
            (nothing[:, :3], nothing, nothing[:, 0])
            if percept is None
            else (percept.cloud.points, percept.cloud.features, percept.cloud.similarity)
        )
        out["points"] = self._rows(points, self._points, 3)
        out["features"] = self._rows(_unit(features), self._points, self._dim)
        filled = np.zeros(self._points, dtype=np.float32)
        filled[:count] = _unit(similarity[:count])
        out["similarity"], out["point_mask"] = filled, self._mask(count, self._points)
        return out


def _unit(values: F32) -> F32:
    """Components of unit vectors without what rounding adds beyond 1."""
    return np.clip(values, -1.0, 1.0).astype(np.float32)


class LeRobotObserver:
    """``pixels`` by camera and ``agent_pos``, which LeRobot turns into ``observation.images.*`` and ``observation.state``."""

    def __init__(self, params: Params) -> None:
        views = cameras(params.sim)
        self._names = tuple(camera.name for camera in views)
        image = spaces.Box(0, 255, (views[0].height, views[0].width, 3), np.uint8)
        self.space = spaces.Dict(
            {
                "pixels": spaces.Dict(dict.fromkeys(self._names, image)),
                "agent_pos": spaces.Box(-_REACH, _REACH, (len(STATE),), np.float32),
            }
        )

    def __call__(self, view: View) -> Arrays:
        held = view.given.held if view.given is not None else None
        pixels = {name: view.observation.rgb[row].copy() for row, name in enumerate(self._names)}
        return {"pixels": pixels, "agent_pos": robot_state(held)}
