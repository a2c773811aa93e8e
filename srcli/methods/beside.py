"""Always beside the nearest object: what placing without language reaches."""

from __future__ import annotations

import numpy as np

from srcli.config.cloud import CloudConfig
from srcli.errors import SceneError
from srcli.methods.base import EVERY_TASK, Choice, Decision, MethodSpec
from srcli.perception.cloud import unproject
from srcli.types import F32

# A candidate this much above the lowest one still stands on the table, metres.
_LEVEL = 0.01


SPEC = MethodSpec(
    name="beside",
    title="always beside the nearest",
    tasks=EVERY_TASK,
    build="srcli.methods.beside:build",
    fidelity="full",
    source="placing without language",
)


class BesideNearestObject:
    """Places on the table, next to the object nearest to the middle of the zone; picks by the prior's quality.

    The object is the point above the table that is nearest to the middle; of the candidates on the table the one nearest to that
    point is taken, or the nearest of all when none is on the table.
    """

    name = "beside"
    privileged = False

    def act(self, decision: Decision) -> Choice:
        candidates = decision.candidates
        if decision.phase == "pick":
            return Choice(decision.take(decision.best(candidates.quality)), scores=candidates.quality)
        config = CloudConfig()
        middle = (np.array(config.lower[:2]) + np.array(config.upper[:2])) / 2
        try:
            points = unproject(decision.observation, config, "pick")
        except SceneError:
            # Nothing stands on the table.
            points = np.array([[*middle, 0.0]], dtype=np.float32)
        nearest = points[int(np.argmin(np.linalg.norm(points[:, :2] - middle, axis=1)))]
        positions = candidates.poses[:, :3]
        scores: F32 = -np.linalg.norm(positions[:, :2] - nearest[:2], axis=1).astype(np.float32)
        height = positions[:, 2]
        scores = np.where(height <= height[~decision.excluded].min() + _LEVEL, scores, scores - np.float32(1.0))
        return Choice(decision.take(decision.best(scores)), scores=scores)


def build(section: object, weights: object, encoder: object, device: str, seed: int) -> BesideNearestObject:
    """The policy; it has no settings and learns nothing."""
    return BesideNearestObject()
