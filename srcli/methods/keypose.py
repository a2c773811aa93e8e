"""What methods that choose a pose of their own share: what they see, and how a pose becomes an action.

Such a method has two rows. The native one carries out its own pose. The snapped one takes the nearest candidate of the action
prior instead: it is lent our grasps and placements, and its row says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from srcli.actions.gripper import GRIPPER
from srcli.actions.poses import canonical_poses
from srcli.errors import ConfigError
from srcli.learning.keyposes import KeyposeInput
from srcli.learning.whole_view import whole_view
from srcli.methods.base import Choice, Decision
from srcli.perception.fusion import DenseValues
from srcli.types import F32, F64, U8, Action, Bool, Percept, SemanticCloud, TextEmbedding

if TYPE_CHECKING:
    from collections.abc import Sequence

METRES_PER_RADIAN = 0.1
"""How far a turn counts beside a distance when the nearest candidate is looked for."""
DOWN: F32 = np.array([1.0, 0.0, 0.0, 0.0], np.float32)
"""The tool straight down at yaw 0, xyzw: so placements are released, and what is held keeps its yaw."""


class Looking(Protocol):
    """What these methods need of an encoder."""

    @property
    def dim(self) -> int: ...

    def dense(self, rgb: U8) -> DenseValues: ...

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]: ...


def look(decision: Decision, encoder: Looking | None) -> KeyposeInput:
    """All that the views of a decision show, as a method was shown it in training.

    Raises:
        ConfigError: no encoder.
        SceneError: the observation is unusable.
    """
    if encoder is None:
        raise ConfigError("this method looks at dense features, but no encoder was given", "pass an encoder")
    seen = whole_view(decision.observation, encoder.dense(decision.observation.rgb))
    text, held = decision.percept().text, decision.held
    return KeyposeInput(
        cells=seen.cells,
        features=seen.features.astype(np.float32),
        points=seen.points,
        colors=seen.colors,
        text=text.pooled,
        tokens=text.tokens,
        token_mask=text.mask,
        place=decision.phase == "place",
        held=np.array((0.0, 0.0, 0.0) if held is None else (held.radius, held.half_width, held.height), np.float32),
    )


def percept_of(points: F32, features: F32, given: KeyposeInput) -> Percept:
    """Points (N, 3) with features (N, D) and the sentence, as networks and pictures take them."""
    text = TextEmbedding(given.text, given.tokens, given.token_mask)
    similarity = (features @ given.text).astype(np.float32)
    return Percept(SemanticCloud(points, features, similarity, np.ones(len(points), dtype=np.uint8)), text)


def frames_of(six: F64) -> F64:
    """The rotations (K, 3, 3) that two columns each, (K, 6), stand for, made orthonormal by Gram and Schmidt.

    Zhou et al., On the continuity of rotation representations, CVPR 2019. Columns that say nothing (no length, or parallel) give
    any rotation that fits them.
    """
    x = _unit(six[:, :3], np.tile([1.0, 0.0, 0.0], (len(six), 1)))
    # The axis that x has least of is never parallel to it.
    other = np.eye(3)[np.argmin(np.abs(x), axis=1)]
    y = _unit(_across(six[:, 3:], x), _unit(_across(other, x), other))
    return np.stack([x, y, np.cross(x, y)], axis=2)


def _across(vectors: F64, x: F64) -> F64:
    """The part of (K, 3) vectors that is perpendicular to unit vectors x."""
    rest: F64 = vectors - (vectors * x).sum(axis=1, keepdims=True) * x
    return rest


def _unit(vectors: F64, otherwise: F64) -> F64:
    """(K, 3) vectors with length 1; ``otherwise`` where they have none."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: F64 = np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), otherwise)
    return unit


def distances(poses: F32, others: F32) -> F64:
    """How far poses (S, 7) are from others (K, 7), (S, K): metres, and 0.1 m for a radian of turn.

    The half turn of the jaws that makes the same grasp does not count.
    """
    metres = np.linalg.norm(poses[:, None, :3].astype(np.float64) - others[None, :, :3], axis=2)
    q, p = poses[:, 3:].astype(np.float64), others[:, 3:].astype(np.float64)
    half = np.stack([p[:, 1], -p[:, 0], p[:, 3], -p[:, 2]], axis=1)  # p times half a turn about tool z
    cosine = np.maximum(np.abs(q @ p.T), np.abs(q @ half.T))
    found: F64 = metres + METRES_PER_RADIAN * 2.0 * np.arccos(np.clip(cosine, 0.0, 1.0))
    return found


def nearest(decision: Decision, pose: F32) -> Choice:
    """The candidate nearest to a pose (7,), of those that are not excluded."""
    scores = -distances(pose[None], decision.candidates.poses)[0].astype(np.float32)
    return Choice(decision.take(decision.best(scores)), scores=scores)


def own(decision: Decision, pose: F32) -> Choice:
    """A pose (7,) of the method's own. The fingers open as far as they can: it knows no width."""
    place = decision.phase == "place"
    return Choice(Action("place" if place else "grasp", canonical_poses(pose[None])[0], 0.0 if place else GRIPPER.max_opening))


def tried(decision: Decision, poses: F32) -> Bool:
    """Which poses (S, 7) repeat what has failed in this episode, (S,): the rule that excludes candidates, pose by pose.

    Each pose is asked for alone, so that a region that failed twice is left even where all poses lie in it.
    """
    if not decision.failed or not len(poses):
        return np.zeros(len(poses), dtype=np.bool_)
    # A pose far from all others keeps the rule from being lifted because nothing else is left.
    elsewhere = poses[:1].copy()
    elsewhere[0, :3] = 10.0
    repeats: Bool = decision.repeats(np.concatenate([poses, elsewhere]))[:-1]
    return repeats
