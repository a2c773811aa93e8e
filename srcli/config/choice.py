"""How a method that scores candidates with a network turns its scores into a choice."""

from __future__ import annotations

from pydantic import Field

from srcli.config.base import Section


class ChoiceConfig(Section):
    """How the scores become a choice. The paper names 1Align-Action and 2Align-Action but no formula."""

    align1: float = Field(
        default=24.0, ge=0.0, le=1000.0, description="weight of the log consistency of what stands between a grasp's fingers"
    )
    align1_place: float = Field(
        default=0.0, ge=0.0, le=1000.0, description="weight of the semantic mask around a landing point (0..1)"
    )
    align2: float = Field(default=1.0, ge=0.0, le=1000.0, description="weight of the network's log probability")
    prior: float = Field(default=24.0, ge=0.0, le=1000.0, description="weight of the logarithm of a grasp's quality")
    prior_place: float = Field(default=2.0, ge=0.0, le=1000.0, description="weight of a placement's quality (0..1)")
    meant: float = Field(
        default=0.75, gt=0.0, le=1.0, description="mask, relative to the largest, from which a grasp counts as on what is meant"
    )
    radius: float = Field(default=0.025, gt=0.0, le=0.2, description="radius around a landing point, metres")


LEARNED_ONLY = {"align1": 0.0, "align1_place": 0.0, "align2": 1.0, "prior": 0.0, "prior_place": 0.0}
"""Values with which the network's last scores choose alone."""
WITH_QUALITY = {"prior": 24.0}
"""Beside them in the rows *with quality*, alike for every method: as much as the plus forms have, so that of the grasps a network
finds nearly as good the one that holds is taken."""
