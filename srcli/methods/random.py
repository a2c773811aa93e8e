"""A random candidate: what clutter removal without language reaches."""

from __future__ import annotations

import numpy as np

from srcli.methods.base import Choice, Decision, register


@register("random")
class RandomCandidate:
    """Uniform among the candidates that are not excluded."""

    name = "random"
    privileged = False

    def act(self, decision: Decision) -> Choice:
        return Choice(decision.take(int(decision.rng.choice(np.flatnonzero(~decision.excluded)))))
