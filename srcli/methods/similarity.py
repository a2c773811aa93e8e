"""The most similar point: language without learning (A2's direct grounding baseline)."""

from __future__ import annotations

import numpy as np

from srcli.methods.base import EVERY_TASK, Choice, Decision, MethodSpec
from srcli.types import F32

NEIGHBOURS = 25
REACH = 0.05


SPEC = MethodSpec(
    name="similarity",
    title="similarity rule",
    tasks=EVERY_TASK,
    build="srcli.methods.similarity:build",
    fidelity="reimplemented",
    source="A2's baseline of direct grounding",
)


class MostSimilarPoint:
    """The candidate nearest to the most similar point; when no grasp lies within 5 cm, a random one.

    Similarity is first averaged over the 25 nearest points (5% of 500), as in A2's baseline.
    """

    name = "similarity"
    privileged = False

    def act(self, decision: Decision) -> Choice:
        cloud = decision.percept().cloud
        smooth = average_over_neighbours(cloud.points, cloud.similarity, NEIGHBOURS)
        goal = cloud.points[int(np.argmax(smooth))]
        distance = np.linalg.norm(decision.candidates.poses[:, :3] - goal, axis=1).astype(np.float32)
        nearest = decision.best(-distance)
        if decision.phase == "pick" and distance[nearest] > REACH:
            nearest = int(decision.rng.choice(np.flatnonzero(~decision.excluded)))
        span = float(smooth.max() - smooth.min())
        mask = ((smooth - smooth.min()) / max(span, 1e-6)).astype(np.float32)
        return Choice(decision.take(nearest), scores=-distance, mask=mask)


def average_over_neighbours(points: F32, values: F32, count: int) -> F32:
    """Mean of ``values`` (N,) over the ``count`` nearest points (the point itself included) of ``points`` (N, 3), metres."""
    from scipy.spatial import cKDTree

    _, index = cKDTree(points).query(points, k=min(count, len(points)))
    index = np.asarray(index).reshape(len(points), -1)
    averaged: F32 = values[index].mean(axis=1).astype(np.float32)
    return averaged


def build(section: object, weights: object, encoder: object, device: str, seed: int) -> MostSimilarPoint:
    """The policy; it has no settings and learns nothing."""
    return MostSimilarPoint()
