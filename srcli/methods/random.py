"""A random candidate: what clutter removal without language reaches."""

from __future__ import annotations

import numpy as np

from srcli.methods.base import EVERY_TASK, Choice, Decision, MethodSpec

SPEC = MethodSpec(
    name="random",
    title="random candidate",
    tasks=EVERY_TASK,
    build="srcli.methods.random:build",
    fidelity="full",
    source="uniform choice among the candidates; in a pile this is clutter removal",
)


class RandomCandidate:
    """Uniform among the candidates that are not excluded."""

    name = "random"
    privileged = False

    def act(self, decision: Decision) -> Choice:
        return Choice(decision.take(int(decision.rng.choice(np.flatnonzero(~decision.excluded)))))


def build(section: object, weights: object, encoder: object, device: str, seed: int) -> RandomCandidate:
    """The policy; it has no settings and learns nothing."""
    return RandomCandidate()
