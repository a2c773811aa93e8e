"""LERF-TOGO: relevancy of an object, a flood fill over it, relevancy of a part inside it, and grasps rated by both.

Rashid et al., "Language Embedded Radiance Fields for Zero-Shot Task-Oriented Grasping" (CoRL 2023), with the relevancy of LERF
(Kerr et al., ICCV 2023).

As published: relevancy is the least probability against each of four negatives at temperature 10, at the scale where it is
highest for the query; the object is what is flooded from the most relevant point; the part is asked for inside it alone; a grasp
is worth 0.95 of the median relevancy of what its fingers close on, divided by the largest, and 0.05 of its quality, which is 0
where none of the object is between the fingers.

Ours: no radiance field is trained; features of the RGB-D views are fused on the points that they show. Crops of several sizes
are averages of the dense features over squares of cells. DINO, which groups and finds the foreground there, is replaced by the
cosine of the features themselves in steps of 2 cm; the table is cut away by its height. The object is asked for by the whole
sentence. Candidates are those that every method gets.
"""

from __future__ import annotations

import numpy as np

from srcli.actions.between import between_fingers
from srcli.methods.base import Choice, Decision
from srcli.methods.grounding.clusters import flood
from srcli.methods.grounding.field import Looking, any_of, encoder_of, look, on_points
from srcli.methods.grounding.relevancy import best_scale, pooled, relevancy
from srcli.methods.grounding.section import LerfTogoConfig
from srcli.methods.grounding.words import word_vectors
from srcli.types import F32, F64, I64, Bool


class LerfTogo:
    """See the module."""

    def __init__(self, section: LerfTogoConfig, encoder: Looking) -> None:
        self._section, self._encoder = section, encoder
        self._negatives = word_vectors(encoder, section.negatives, "methods.lerf_togo.negatives")
        self._part = word_vectors(encoder, (section.part,), "methods.lerf_togo.part")[0] if section.part else None

    def act(self, decision: Decision) -> Choice:
        """The best grasp by relevancy and quality; a random one where no candidate closes on the object."""
        section, found = self._section, decision.candidates
        dense = self._encoder.dense(decision.observation.rgb)
        field = look(decision, dense)
        features = [
            field.features if side == 1 else on_points(field.points, pooled(dense.values, side), decision)
            for side in section.scales
        ]
        whole = self._relevancy(features, field.query, np.ones(len(field.points), dtype=np.bool_))
        inside = flood(field.points, field.features, int(np.argmax(whole)), section.reach, section.alike)
        part = self._relevancy(features, field.query if self._part is None else self._part, inside)
        closed = between_fingers(field.points, found.poses, found.widths)
        scores = grasp_scores(part, inside, closed, found.quality, section.semantic)
        taken = decision.best(scores) if (scores[~decision.excluded] > 0).any() else any_of(decision, scores > 0)
        largest = max(float(part.max()), 1e-9)
        return Choice(decision.take(taken), scores=scores, mask=(part / largest).astype(np.float32)[: field.kept])

    def _relevancy(self, features: list[F32], query: F32, inside: Bool) -> F32:
        """(N,) at the scale where it is highest inside; 0 elsewhere."""
        maps = [
            np.where(inside, relevancy(each, query, self._negatives, self._section.temperature), np.float32(0))
            for each in features
        ]
        return maps[best_scale(maps)]


def grasp_scores(part: F32, inside: Bool, closed: list[I64], quality: F32, semantic: float) -> F32:
    """What each grasp is worth: ``semantic`` of its relevancy and the rest of its quality.

    Args:
        part: (N,) relevancy of the part, 0 outside the object.
        inside: (N,) whether a point is of the object.
        closed: K arrays of points between the fingers of each grasp.
        quality: (K,) of the candidates, 0..1.
    """
    largest = max(float(part.max(initial=0.0)), 1e-9)
    scores: F64 = np.zeros(len(closed))
    for number, index in enumerate(closed):
        if len(index):
            meant = float(np.median(part[index])) / largest
            geometric = float(quality[number]) if bool(inside[index].any()) else 0.0
            scores[number] = semantic * meant + (1.0 - semantic) * geometric
    return scores.astype(np.float32)


def build(section: LerfTogoConfig, weights: object, encoder: Looking | None, device: str, seed: int) -> LerfTogo:
    """The policy; it learns nothing.

    Raises:
        ConfigError: no encoder is given, or it has never read a negative or the part.
    """
    return LerfTogo(section, encoder_of(encoder))
