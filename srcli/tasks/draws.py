"""What scenes are drawn from, whatever the task: names of a split, poses of a pile, rotations."""

from __future__ import annotations

import numpy as np

from srcli.config.scene import SceneConfig
from srcli.errors import ConfigError, unknown_name
from srcli.objects import catalogue
from srcli.types import F64

_OWN = {"add": "+own", "only": "=own"}


def pool_of(split: str, config: SceneConfig) -> str:
    """What scenes of a split are drawn from: the split itself, or with ``scene.library`` the objects of the user's library, too.

    Raises:
        ConfigError: the library has no object outside of the splits.
    """
    if config.library == "none":
        return split
    if not own_names():
        raise ConfigError(
            f"scene.library is '{config.library}', but your library has no object of split user", "srcli objects add FILE"
        )
    return split + _OWN[config.library]


def split_of_pool(pool: str) -> str:
    """The split of what :func:`pool_of` gives."""
    return pool.removesuffix("+own").removesuffix("=own")


def own_names() -> tuple[str, ...]:
    """Objects of the user's library outside of the splits."""
    from srcli.objects.library import LibraryEntry

    return tuple(entry.name for entry in catalogue() if isinstance(entry, LibraryEntry) and entry.split == "user")


def split_names(pool: str) -> tuple[str, ...]:
    """Catalogue names of a split, or of what :func:`pool_of` gives."""
    entries = catalogue()
    split = split_of_pool(pool)
    if split not in ("seen", "unseen"):
        raise unknown_name("split", split, ("seen", "unseen"))
    names = tuple(entries.seen if split == "seen" else entries.unseen)
    if pool == split:
        return names
    return own_names() if pool.endswith(_OWN["only"]) else (*names, *own_names())


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
