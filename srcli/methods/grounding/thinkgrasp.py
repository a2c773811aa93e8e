"""ThinkGrasp: a planner names what to take, a grasp on it is made; what hides it is taken away first.

Qian et al., "ThinkGrasp: A Vision-Language System for Strategic Part Grasping in Clutter" (CoRL 2024). There GPT-4o reads a
picture of the table and names a thing and one of nine cells of it; LangSAM and VLPart cut it out; GraspNet proposes grasps in the
crop, of which the one nearest to the cell is made. While what was asked for is hidden, the planner names what to remove.

Ours: the planner is a chat service of the user's (:mod:`~srcli.methods.grounding.service`), which is shown a number on each
thing, or one that needs none (:class:`~srcli.methods.grounding.planner.OfflinePlanner`), which compares things with the sentence
in the encoder's space. Things are regions of the cloud. Candidates are those that every method gets, and attempts are those of
the protocol: published numbers allow up to 50.
"""

from __future__ import annotations

import numpy as np

from srcli.learning.regions import regions_of
from srcli.methods.base import Choice, Decision
from srcli.methods.grounding.field import Looking, encoder_of, look, spread
from srcli.methods.grounding.planner import OfflinePlanner, Planner, Situation, cell_centres
from srcli.methods.grounding.section import ThinkGraspConfig
from srcli.types import F32, Bool


class ThinkGrasp:
    """See the module.

    Args:
        planner: what names the thing to take.
    """

    def __init__(self, section: ThinkGraspConfig, encoder: Looking, planner: Planner) -> None:
        self._section, self._encoder, self._planner = section, encoder, planner

    def act(self, decision: Decision) -> Choice:
        """The candidate in the crop around the planned thing that is nearest to the planned cell; of all where none is in it.

        Its scores are the distances to that cell in x and y, negative, with 1 m taken off outside of the crop.
        """
        field = look(decision, self._encoder.dense(decision.observation.rgb))
        things = regions_of(field.points, field.features, self._section.regions)
        similarity = (things.features @ field.query).astype(np.float32)
        tips = decision.candidates.poses[:, :3]
        # (K, L)
        inside = np.stack(
            [cropped(tips, low, high, self._section.margin) for low, high in zip(things.lower, things.upper, strict=True)], axis=1
        )
        reachable: Bool = np.asarray((inside & ~decision.excluded[:, None]).any(axis=0))
        plan = self._planner.plan(Situation(decision.instruction, field, things, similarity, reachable, decision.observation))
        goal = cell_centres(things.lower[plan.thing], things.upper[plan.thing], decision.observation)[plan.cell]
        distance = np.linalg.norm(tips[:, :2] - goal[:2], axis=1)
        scores = (-distance - np.where(inside[:, plan.thing], 0.0, 1.0)).astype(np.float32)
        shown = np.where(things.label >= 0, similarity[things.label], similarity.min())
        mask = np.where(things.label == plan.thing, np.float32(1), np.float32(0.5) * spread(shown))
        return Choice(decision.take(decision.best(scores)), scores=scores, mask=mask[: field.kept].astype(np.float32))


def cropped(tips: F32, lower: F32, upper: F32, margin: float) -> Bool:
    """(K,) whether each tip (K, 3) lies over a box (corners (3,), metres) that is ``margin`` larger on every side."""
    over = (tips[:, :2] >= lower[:2] - margin) & (tips[:, :2] <= upper[:2] + margin)
    return np.asarray(over.all(axis=1))


def build(section: ThinkGraspConfig, weights: object, encoder: Looking | None, device: str, seed: int) -> ThinkGrasp:
    """The policy; it learns nothing.

    Raises:
        ConfigError: no encoder is given, or the address of the planner service is missing.
    """
    planner: Planner
    if section.planner == "service":
        from srcli.methods.grounding.service import ServicePlanner

        planner = ServicePlanner(section.service)
    else:
        planner = OfflinePlanner(section.visible)
    return ThinkGrasp(section, encoder_of(encoder), planner)
