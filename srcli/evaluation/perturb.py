"""Disturbed actions: what is executed differs from what was chosen (robustness rows of the place task)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from srcli.types import F32, F64, Action

if TYPE_CHECKING:
    from srcli.config.evaluate import PerturbConfig


def perturb(action: Action, config: PerturbConfig, rng: np.random.Generator) -> Action:
    """The action moved by a Gaussian of ``config.translation`` metres per axis and turned by one of ``config.rotation`` radians.

    A grasp is turned about a random axis through its tip, a placement about the vertical. The draws do not depend on the two
    strengths, so that a sweep over them is paired.
    """
    offset, axis, angle = rng.normal(size=3), rng.normal(size=3), float(rng.normal()) * config.rotation
    axis = np.array([0.0, 0.0, 1.0]) if action.kind == "place" else axis / np.linalg.norm(axis)
    turn = np.append(np.sin(angle / 2) * axis, np.cos(angle / 2))
    pose: F32 = np.empty(7, dtype=np.float32)
    pose[:3] = action.pose[:3] + config.translation * offset
    pose[3:] = compose(turn, action.pose[3:].astype(np.float64))
    return replace(action, pose=pose)


def compose(first: F64, second: F64) -> F64:
    """Hamilton product of two unit quaternions xyzw, with w >= 0: the rotation ``second``, then ``first``."""
    a, b = first[:3], second[:3]
    product = np.append(first[3] * b + second[3] * a + np.cross(a, b), first[3] * second[3] - a @ b)
    product /= np.linalg.norm(product)
    result: F64 = -product if product[3] < 0 else product
    return result
