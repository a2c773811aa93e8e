"""Who hears every sentence right and takes the grasp or place of best quality that fits: what understanding alone can bring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srcli.actions.between import between_fingers
from srcli.errors import SceneError
from srcli.methods.base import EVERY_TASK, Choice, Decision, MethodSpec
from srcli.perception.geometry import unproject_view
from srcli.types import F32, Bool, Observation, SceneTruth

_ROBOT = 65535
"""Its pixels in a segmentation."""

SPEC = MethodSpec(
    name="oracle",
    title="oracle",
    tasks=EVERY_TASK,
    build="srcli.methods.oracle:build",
    fidelity="reimplemented",
    source="none: what the candidates allow at best",
    privileged=True,
)


class Oracle:
    """Of the candidates that lie on a target, or are right to place at, the one of best quality; where there is none, the best of
    all, which clears the way. Privileged: its result rows say so."""

    name = "oracle"
    privileged = True

    def act(self, decision: Decision) -> Choice:
        right = _right(decision)
        if (right & ~decision.excluded).any():
            return Choice(decision.take(decision.best(np.where(right, decision.candidates.quality, -1.0).astype(np.float32))))
        return Choice(decision.take(decision.best(decision.candidates.quality)))


def _right(decision: Decision) -> Bool:
    """(K,) candidates that close on a target, or that are valid places."""
    if decision.truth is None or decision.spec is None:
        raise SceneError("the oracle needs the simulator's truth, which recorded scenes do not have")
    if decision.valid is not None:
        return decision.valid
    truth, found = decision.truth, decision.candidates
    targets = [slot for slot in decision.spec.goal.targets if truth.present[slot]]
    points, meant = _on_objects(decision.observation, truth, targets)
    inside = between_fingers(points, found.poses, found.widths)
    return np.array([len(rows) > 0 and bool(meant[rows].mean() > 0.5) for rows in inside], dtype=np.bool_)


def _on_objects(observation: Observation, truth: SceneTruth, targets: Sequence[int]) -> tuple[F32, Bool]:
    """Visible points of all objects, (N, 3) in the world frame, and whether each is a target's, by the true segmentation."""
    points, meant = [], []
    for view in range(len(observation.depth)):
        labels = truth.segmentation[view]
        seen = (labels > 0) & (labels < _ROBOT) & (observation.depth[view] > 0)
        depth = np.where(seen, observation.depth[view], 0).astype(np.float32)
        points.append(unproject_view(depth, observation.K[view], observation.T_world_cam[view]))
        meant.append(np.isin(labels[seen].astype(np.int64) - 1, targets))
    return np.concatenate(points), np.concatenate(meant)


def build(section: object, weights: object, encoder: object, device: str, seed: int) -> Oracle:
    """The policy; it has no settings and learns nothing."""
    return Oracle()
