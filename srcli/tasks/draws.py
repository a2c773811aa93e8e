"""What scenes are drawn from, whatever the task: names of a split, poses of a pile, rotations."""

from __future__ import annotations

import numpy as np

from srcli.config.scene import SceneConfig
from srcli.errors import unknown_name
from srcli.objects import catalogue
from srcli.types import F64


def split_names(split: str) -> tuple[str, ...]:
    """Catalogue names of a split."""
    entries = catalogue()
    if split == "seen":
        return tuple(entries.seen)
    if split == "unseen":
        return tuple(entries.unseen)
    raise unknown_name("split", split, ("seen", "unseen"))


def draw_names(rng: np.random.Generator, pool: list[str], count: int) -> list[str]:
    """Draw ``count`` names: without replacement while the pool lasts, then from the full pool again."""
    drawn: list[str] = []
    while pool and len(drawn) < count:
        drawn += [pool[i] for i in rng.permutation(len(pool))[: count - len(drawn)]]
    return drawn


def pile_drops(rng: np.random.Generator, count: int, config: SceneConfig) -> F64:
    """(S, 7) drop poses: xy uniform in the drop area, orientation uniform over all rotations."""
    drops = np.empty((count, 7))
    drops[:, 0] = config.center_x + rng.uniform(-config.half_width, config.half_width, count)
    drops[:, 1] = config.center_y + rng.uniform(-config.half_width, config.half_width, count)
    drops[:, 2] = config.drop_height
    drops[:, 3:] = random_rotations(rng, count)
    return drops


def random_rotations(rng: np.random.Generator, count: int) -> F64:
    """(S, 4) quaternions xyzw, w >= 0, uniform over all rotations."""
    quaternion = rng.normal(size=(count, 4))
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    return np.where(quaternion[:, 3:] < 0, -quaternion, quaternion)
