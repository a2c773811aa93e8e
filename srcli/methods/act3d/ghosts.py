"""Ghost points: where they are sampled, and how right each is (Act3D, section 3.2). Metres, world frame."""

from __future__ import annotations

import math

import numpy as np

from srcli.types import F32


def in_box(rng: np.random.Generator, lower: F32, upper: F32, count: int) -> F32:
    """(count, 3) points drawn uniformly from a box between two corners (3,)."""
    return (lower + rng.random((count, 3), dtype=np.float32) * (upper - lower)).astype(np.float32)


def in_ball(rng: np.random.Generator, centre: F32, diameter: float, lower: F32, upper: F32, count: int) -> F32:
    """(count, 3) points drawn uniformly from that part of a ball which lies in a box.

    Args:
        centre: (3,); one outside of the box counts as the box's nearest point, so that at least an eighth of the ball is inside.
        lower, upper: (3,) corners of the box, whose edges are no shorter than the ball's radius.
    """
    centre = np.clip(centre, lower, upper)
    found: list[F32] = []
    left = count
    while left > 0:
        offset = rng.random((16 * left, 3), dtype=np.float32) * 2 - 1
        points = centre + diameter / 2 * offset[(offset**2).sum(axis=1) <= 1]
        points = points[((points >= lower) & (points <= upper)).all(axis=1)][:left]
        found.append(points.astype(np.float32))
        left -= len(points)
    return np.concatenate(found)


def spacing(volume: float, count: int) -> float:
    """Edge of the cube that each of ``count`` points has for itself in a volume (cubic metres), metres."""
    return float(np.cbrt(volume / count))


def ball_volume(diameter: float) -> float:
    """Cubic metres."""
    return math.pi / 6 * diameter**3


def soft_labels(ghosts: F32, position: F32, temperature: float) -> F32:
    """(S,) how right each ghost point (S, 3) is: the softmax of its distance to the expert's position (3,) over -temperature."""
    logits = -np.linalg.norm(ghosts.astype(np.float64) - position, axis=1) / temperature
    weights = np.exp(logits - logits.max())
    labels: F32 = (weights / weights.sum()).astype(np.float32)
    return labels
