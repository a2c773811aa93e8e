"""One root seed, disjoint domains, one ``SeedSequence`` per episode; nothing depends on the number of workers.

An episode is (root, domain, index). All ranges of indices within a domain stand here.
"""

from __future__ import annotations

import hashlib
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
    COMPOSITIONAL = 8
    FREE = 9


TASK_OFFSET = {"pick": 0, "place": 10_000_000, "pick_place": 20_000_000}
"""Where a task's indices begin in each domain of a suite. Those of picking stand first, as the oldest."""

SPLIT_STRIDE, CASE_STRIDE = 1_000_000, 10_000
"""Indices of the unseen split begin so far after those of the seen one; those of a case so far after those of the one before."""

COMPOSED_OFFSET = 500_000_000
"""Where compositional scenes for development begin in the domain DEVELOPMENT."""

FREE_OFFSET = 10**12
"""Where free sentences for development begin in the domain DEVELOPMENT."""

FILE_OFFSET = 10**12
"""Where cases of the user's files begin in the domain PAPER."""

CALIBRATION_OFFSET = 500_000
"""Where the scenes that the similarity rule is calibrated on begin in the domain PROBE."""

PROBE_OFFSET = {("pick", "seen"): 1_000, ("pick", "unseen"): 101_000, ("place", "seen"): 201_000, ("place", "unseen"): 301_000}
"""Where the scenes of `srcli probe` begin in the domain PROBE, by task and split."""

CASE_STUDY_OFFSET, COLOUR_OFFSET = 700_000, 900_000
"""Where the report's case studies, and the scenes that colours are measured on, begin in the domain PROBE."""

SCENE = 0
"""Stream of an episode that its scene is drawn from: ``generator(seed, SCENE)``."""

LAYOUT = (SCENE, 301)
"""Streams of the layouts after the first, ``generator(seed, *LAYOUT, layout)``: drop poses that go round, other orientations."""

COMPOSED = (SCENE, 201)
"""Stream that tells whether a demonstration has a compositional sentence, and of which kind."""

OBSERVE, DECIDE, PERTURB, PRESENT, PROPOSE, RELABEL = 1, 2, 3, 4, 5, 6
"""Streams of an attempt: ``generator(seed, attempt, OBSERVE)`` is the sensor's noise, DECIDE the method's chance, and so on."""

BOOTSTRAP = (0, 101)
"""Stream of the resampling of intervals."""

GRASP_FIT, GRASPNET_TRAIN, GRASPNET_VALID, GRASPNET_FIT = 30, 40, 41, 42
"""Streams of the pre-trainings of the grasp quality and of GraspNet's network."""

_OWN_TASKS = 10**9


def task_offset(task: str) -> int:
    """Where a task's indices begin; that of a user's own task follows from its name."""
    if task in TASK_OFFSET:
        return TASK_OFFSET[task]
    return _OWN_TASKS + int(hashlib.sha256(task.encode()).hexdigest()[:4], 16) * 2 * SPLIT_STRIDE


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
