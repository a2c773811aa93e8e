"""Cheap episodes that follow from their seed, for tests of the stages; sent to worker processes by name."""

import dataclasses
import os
import time

import numpy as np

from srcli.artifacts.demos import DemoEpisode, DemoStep
from srcli.errors import SceneError
from srcli.seeding import generator
from srcli.types import (
    Action,
    Candidates,
    EpisodeSpec,
    Goal,
    HeldExtent,
    Look,
    Observation,
    Outcome,
    Percept,
    Reason,
    SemanticCloud,
    TextEmbedding,
)

VIEWS, HEIGHT, WIDTH, SLOTS = 3, 12, 16, 4


def episode(params, task, seed, slow=0.0):
    """One to three attempts; every fifth index never succeeds, index 7 has no attempt at all."""
    rng = generator(seed, 99)
    index = seed[2]
    spec = EpisodeSpec(
        task=task,
        split="seen",
        seed=seed,
        instruction=f"give me the \u00fcber-mug {index}",
        goal=Goal("mug", "label", (0, 2)),
        objects=("a", "b", "c", "d"),
        drops=rng.normal(size=(SLOTS, 7)),
    )
    count = 0 if index == 7 else int(rng.integers(1, 4))
    success = index % 5 != 4 and count > 0
    steps = tuple(_step(rng, success and i == count - 1) for i in range(count))
    if slow:
        time.sleep(slow)
    return DemoEpisode(spec, steps, success, count - 1 if success else -1)


def composed_episode(params, task, seed):
    """An episode whose objects do not look as the catalogue's do."""
    played = episode(params, task, seed)
    goal = Goal("mug", "superlative", (0,), modifier="largest")
    looks = (Look(1.2), Look(), Look(0.9, "red"), Look())
    return dataclasses.replace(played, spec=dataclasses.replace(played.spec, goal=goal, looks=looks))


def two_phase_episode(params, task, seed):
    """A failed pick, a pick and a placement; the object in slot 3 is what is picked."""
    rng = generator(seed, 98)
    spec = dataclasses.replace(
        episode(params, task, (*seed[:2], 0)).spec,
        seed=seed,
        instruction="give me the d and put it near the b",
        goal=Goal("d", "label", (3,), "near", (1,), "b"),
        shifts=(0.2, 0.2, 0.2, -0.2),
        held=3,
    )
    steps = [_step(rng, success) for success in (False, True, True)]
    last = dataclasses.replace(steps[2].candidates, kind="place")
    steps[2] = dataclasses.replace(
        steps[2],
        phase="place",
        candidates=last,
        valid=np.arange(len(last)) == steps[2].action.index,
        action=dataclasses.replace(steps[2].action, kind="place"),
        held=HeldExtent(0.03, 0.02, 0.05),
    )
    return DemoEpisode(spec, tuple(steps), True, 2)


def slow_episode(params, task, seed):
    return episode(params, task, seed, slow=0.15)


def uneven_episode(params, task, seed):
    return episode(params, task, seed, slow=0.1 if seed[2] % 3 == 0 else 0.0)


def failing_episode(params, task, seed):
    if seed[2] == 3:
        raise SceneError("scene 3 cannot be used", "leave it out")
    return episode(params, task, seed)


def dying_episode(params, task, seed):
    if seed[2] == 3:
        os._exit(9)
    return episode(params, task, seed)


def full_disk_episode(params, task, seed):
    if seed[2] == 3:
        raise OSError(28, "No space left on device")
    return episode(params, task, seed)


def _step(rng, success):
    k = int(rng.integers(2, 6))
    candidates = Candidates(
        rng.normal(size=(k, 7)).astype(np.float32),
        rng.uniform(0, 0.085, k).astype(np.float32),
        rng.uniform(size=k).astype(np.float32),
    )
    chosen = int(rng.integers(k))
    slots = rng.integers(-1, SLOTS, k).astype(np.int32)
    if success:
        slots[chosen] = 2
    excluded = np.zeros(k, bool)
    excluded[(chosen + 1) % k] = True
    return DemoStep(
        phase="pick",
        observation=Observation(
            rng.integers(0, 256, (VIEWS, HEIGHT, WIDTH, 3)).astype(np.uint8),
            rng.uniform(0.4, 1.0, (VIEWS, HEIGHT, WIDTH)).astype(np.float32),
            np.tile(np.eye(3), (VIEWS, 1, 1)),
            np.tile(np.eye(4), (VIEWS, 1, 1)),
        ),
        candidates=candidates,
        slots=slots,
        valid=np.isin(slots, (0, 2)),
        excluded=excluded,
        action=Action("grasp", candidates.poses[chosen], float(candidates.widths[chosen]), chosen),
        outcome=Outcome(success, Reason.SUCCESS if success else Reason.SLIPPED, 2 if success else None, {"height": 0.5}),
        steps=int(rng.integers(100, 200)),
        poses=rng.normal(size=(SLOTS, 7)),
        segmentation=rng.integers(0, SLOTS + 1, (VIEWS, HEIGHT, WIDTH)).astype(np.uint16),
    )


class FakePerceiver:
    """A percept that follows from the demonstration; the number of points differs between samples."""

    def __init__(self, name="fake", bad=-1):
        self.name, self.bad = name, bad

    def identity(self, params, device):
        return {"name": self.name, "dim": 8, "sha256": "0" * 64}

    def start(self, params, device):
        return self

    def __call__(self, demonstration):
        return self.look(demonstration)

    def views(self, demonstration):
        n = 5 + demonstration.index % 2
        rng = generator(demonstration.spec.seed, 6)
        return {
            "cell_points": rng.normal(size=(n, 3)).astype(np.float32),
            "cell_features": rng.normal(size=(n, 8)).astype(np.float16),
            "cell_mask": np.ones(n, bool),
            "surface_points": rng.normal(size=(n + 3, 3)).astype(np.float32),
            "surface_colors": rng.integers(0, 256, (n + 3, 3)).astype(np.uint8),
            "surface_mask": np.ones(n + 3, bool),
            "held": np.zeros(3, np.float32),
        }

    def look(self, demonstration):
        if demonstration.index == self.bad:
            raise SceneError("depth of view 1 holds NaN", "mark it by 0")
        rng = generator(demonstration.spec.seed, 5)
        n = 20 + demonstration.index % 3
        cloud = SemanticCloud(
            rng.normal(size=(n, 3)).astype(np.float32),
            rng.normal(size=(n, 8)).astype(np.float32),
            rng.uniform(size=n).astype(np.float32),
            np.ones(n, np.uint8),
        )
        text = TextEmbedding(rng.normal(size=8).astype(np.float32), rng.normal(size=(6, 8)).astype(np.float32), np.arange(6) < 4)
        return Percept(cloud, text)
