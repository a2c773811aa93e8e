"""CLIP-Grounding: the box most like the sentence, then a random grasp near it.

A baseline of VLG (Xu et al., arXiv 2302.12610), of which no code exists. Boxes are compared with the sentence in CLIP's joint
space; a mapping G says which grasps belong to which box (their distance is below 5 cm); one of those of the best box is drawn,
or one of all where it has none.

Ours: boxes are those of regions of the cloud (:func:`~srcli.learning.regions.regions`), not of true masks; a box's
feature is the mean of the dense features in it instead of that of an image crop.
"""

from __future__ import annotations

import numpy as np

from srcli.learning.regions import regions_of
from srcli.methods.base import Choice, Decision
from srcli.methods.grounding.field import Looking, any_of, encoder_of, look, spread
from srcli.methods.grounding.section import ClipGroundingConfig


class ClipGrounding:
    """See the module."""

    def __init__(self, section: ClipGroundingConfig, encoder: Looking) -> None:
        self._section, self._encoder = section, encoder

    def act(self, decision: Decision) -> Choice:
        """A random candidate of the best box. Its scores are those of the best box that each candidate belongs to, or -1."""
        field = look(decision, self._encoder.dense(decision.observation.rgb))
        found = regions_of(field.points, field.features, self._section.regions)
        similarity = (found.features @ field.query).astype(np.float32)
        tips = decision.candidates.poses[:, :3]
        belongs = np.linalg.norm(tips[:, None] - found.centres[None], axis=2) < self._section.distance
        taken = any_of(decision, belongs[:, int(np.argmax(similarity))])
        scores = np.where(belongs, similarity[None], np.float32(-1)).max(axis=1).astype(np.float32)
        shown = np.where(found.label >= 0, similarity[found.label], similarity.min())
        return Choice(decision.take(taken), scores=scores, mask=spread(shown)[: field.kept])


def build(section: ClipGroundingConfig, weights: object, encoder: Looking | None, device: str, seed: int) -> ClipGrounding:
    """The policy; it learns nothing.

    Raises:
        ConfigError: no encoder is given.
    """
    return ClipGrounding(section, encoder_of(encoder))
