"""What an agent's action means: a candidate's number, or a pose."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from srcli.envs.stepping import View
from srcli.methods.base import Choice
from srcli.types import F32, Action

Actions = Literal["candidate", "pose", "metres"]
ACTIONS: tuple[Actions, ...] = ("candidate", "pose", "metres")

WIDEST = 0.085
"""Stroke of the gripper, metres."""

_SMALLEST = 1e-3
"""A quaternion shorter than this has no direction."""


class Poses:
    """Poses as vectors of 8: x y z, quaternion x y z w, opening.

    Args:
        lower, upper: corners of the workspace, metres.
        metres: positions and opening are metres; else all is scaled to [-1, 1], the workspace and the stroke from end to end.
    """

    def __init__(self, lower: tuple[float, float, float], upper: tuple[float, float, float], metres: bool) -> None:
        self._low = np.array([*lower, -1.0, -1.0, -1.0, -1.0, 0.0])
        self._high = np.array([*upper, 1.0, 1.0, 1.0, 1.0, WIDEST])
        self._metres = metres

    @property
    def space(self) -> spaces.Box:
        """(8,) float32."""
        if self._metres:
            return spaces.Box(self._low.astype(np.float32), self._high.astype(np.float32), dtype=np.float32)
        return spaces.Box(-1.0, 1.0, (8,), np.float32)

    def decode(self, values: npt.ArrayLike, view: View) -> Choice | None:
        """The choice that a vector stands for; None where it is not finite or its quaternion is nearly zero."""
        vector = np.asarray(values, dtype=np.float64).reshape(-1)
        if vector.shape != (8,) or not np.isfinite(vector).all():
            return None
        if not self._metres:
            vector = self._low + (np.clip(vector, -1.0, 1.0) + 1.0) / 2.0 * (self._high - self._low)
        length = float(np.linalg.norm(vector[3:7]))
        if length < _SMALLEST:
            return None
        quaternion = vector[3:7] / length * (1.0 if vector[6] >= 0 else -1.0)
        with np.errstate(over="ignore"):
            pose = np.concatenate([vector[:3], quaternion]).astype(np.float32)
        if not np.isfinite(pose).all():
            return None
        kind = view.candidates.kind
        width = float(np.clip(vector[7], 0.0, WIDEST)) if kind == "grasp" else 0.0
        return Choice(Action(kind, pose, width))

    def encode(self, action: Action) -> F32:
        """The vector of an action."""
        vector = np.append(action.pose, action.width).astype(np.float64)
        if not self._metres:
            vector = (vector - self._low) / (self._high - self._low) * 2.0 - 1.0
        return np.clip(vector, self.space.low, self.space.high).astype(np.float32)


def take(index: Any, view: View) -> Choice | None:
    """The choice of candidate ``index``; None where there is no such candidate or it has failed before."""
    given, number = view.given, int(index)
    if given is None or not 0 <= number < len(given.candidates) or given.excluded[number]:
        return None
    candidates = given.candidates
    return Choice(Action(candidates.kind, candidates.poses[number], float(candidates.widths[number]), number))
