"""One root seed, disjoint domains, one ``SeedSequence`` per episode; nothing depends on the number of workers."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Domain(IntEnum):
    """Disjoint ranges of episodes. Test suites never share a domain with anything that is learned or tuned on."""

    TRAIN = 1
    DEVELOPMENT = 2
    PAPER = 3
    WIDE = 4
    PRETRAIN = 5
    PRETRAIN_VALID = 6
    PROBE = 7


def episode_seed(root: int, domain: Domain, index: int) -> tuple[int, int, int]:
    """The entropy of an episode: (root, domain, index)."""
    return (int(root), int(domain), int(index))


def generator(seed: tuple[int, ...], *stream: int) -> np.random.Generator:
    """A generator for one purpose inside an episode, independent of all others.

    Args:
        seed: the episode's entropy.
        stream: which purpose, e.g. ``(attempt, 1)``.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=stream)))
