"""GraspSplats: object features select an object, part features a part of it, and grasps near it compete.

Ji et al., "GraspSplats: Efficient Manipulation with 3D Feature Splatting" (CoRL 2024), with candidates of an action prior and a
gate of 8 cm as A2's appendix evaluates it.

As published: a query's similarity is its probability in a softmax at temperature 0.05 over "object", "things", negatives and
itself; what is similar enough is clustered by DBSCAN, and the cluster with the most points is the object; the same is done with
part features inside it; grasps far from what was selected are left out, and of the others the one most similar to the query is
taken.

Ours: the Gaussians are the points of the cloud, with features fused from the RGB-D views instead of being splatted. Object
features are the means over regions of the cloud instead of over MobileSAM's masks, part features those of the points. The sliders
are shares of the largest similarity. Since points lie 1 cm apart, DBSCAN asks for fewer of them.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from srcli.actions.between import between_fingers
from srcli.errors import ConfigError
from srcli.learning.regions import regions_of
from srcli.methods.base import Choice, Decision
from srcli.methods.grounding.clusters import dbscan
from srcli.methods.grounding.field import Looking, any_of, encoder_of, look
from srcli.methods.grounding.relevancy import share
from srcli.methods.grounding.section import GraspSplatsConfig
from srcli.methods.grounding.words import word_vectors
from srcli.types import F32, I64, Bool


class GraspSplats:
    """See the module."""

    def __init__(self, section: GraspSplatsConfig, encoder: Looking) -> None:
        self._section, self._encoder = section, encoder
        words = (*section.canonical, *section.negatives)
        if not words:
            # A softmax over the query alone is 1 everywhere.
            raise ConfigError("methods.graspsplats: there is no word that a query is told apart from", "give canonical words")
        self._others = word_vectors(encoder, words, "methods.graspsplats.canonical and negatives")
        self._part = word_vectors(encoder, (section.part,), "methods.graspsplats.part")[0] if section.part else None

    def act(self, decision: Decision) -> Choice:
        """The candidate within the gate that closes on what is most similar; a random one where none is within it."""
        section, found = self._section, decision.candidates
        field = look(decision, self._encoder.dense(decision.observation.rgb))
        parts = regions_of(field.points, field.features, section.regions)
        objects = np.where(parts.label[:, None] >= 0, parts.features[parts.label], field.features)
        whole = share(objects, field.query, self._others, section.temperature)
        index = selected(
            field.points, whole, section.keep, section.object_radius, section.object_least, section.cluster == "largest"
        )
        query = field.query if self._part is None else self._part
        part = share(field.features, query, self._others, section.temperature)
        chosen = index[
            selected(
                field.points[index],
                part[index],
                section.keep_part,
                section.part_radius,
                section.part_least,
                section.cluster == "largest",
            )
        ]
        near = within(found.poses[:, :3], field.points[chosen], section.gate)
        meant = np.zeros(len(part), dtype=np.float32)
        meant[index] = part[index]
        closed = between_fingers(field.points, found.poses, found.widths)
        scores = np.array([meant[each].mean() if len(each) else 0.0 for each in closed], dtype=np.float32)
        scores = np.where(near, scores, np.float32(-1))
        left = near & ~decision.excluded
        taken = decision.best(scores) if bool(left.any()) else any_of(decision, near)
        mask = np.clip(meant / max(float(meant.max()), 1e-9), 0.0, 1.0).astype(np.float32)
        return Choice(decision.take(taken), scores=scores, mask=mask[: field.kept])


def selected(points: F32, similarity: F32, keep: float, radius: float, least: int, largest: bool) -> I64:
    """Indices of the points of one cluster among those that are similar enough, ascending.

    Args:
        points: (N, 3) metres; similarity: (N,).
        keep: share of the largest similarity that is enough.
        radius, least: of DBSCAN.
        largest: the cluster with the most points (the first of equals), else that of the most similar point.

    Where all of them are noise, all are returned: a few scattered points are the best that is known.
    """
    enough = np.flatnonzero(similarity >= keep * similarity.max())
    label = dbscan(points[enough], radius, least)
    if not bool((label >= 0).any()):
        return enough
    if largest:
        wanted = int(np.argmax(np.bincount(label[label >= 0])))
    else:
        clustered = np.flatnonzero(label >= 0)
        wanted = int(label[clustered[int(np.argmax(similarity[enough[clustered]]))]])
    members: I64 = enough[label == wanted]
    return members


def within(tips: F32, points: F32, gate: float) -> Bool:
    """(K,) whether each tip (K, 3) lies at most ``gate`` metres from any point (N, 3), N at least one."""
    distance, _ = cKDTree(points).query(tips)
    return np.asarray(distance) <= gate


def build(section: GraspSplatsConfig, weights: object, encoder: Looking | None, device: str, seed: int) -> GraspSplats:
    """The policy; it learns nothing.

    Raises:
        ConfigError: no encoder is given, it has never read one of the words, or there are none.
    """
    return GraspSplats(section, encoder_of(encoder))
