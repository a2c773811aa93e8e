"""Section ``featurize`` of params.yaml: how demonstrations become features."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from srcli.config.base import Section


class FeaturizeConfig(Section):
    """Features of the demonstrations. What is computed stands in the sections ``encoder`` and ``cloud``."""

    limit: int = Field(0, ge=0, le=1_000_000, description="use only the first n demonstrations of each file; 0 = all")
    relabel: int = Field(
        0,
        ge=0,
        le=100,
        description="other sentences for each recorded observation of the episodes that are trained on, failed attempts too, "
        "with what the expert would have taken by the recorded truth (not in the paper; 0: one decision a demonstration)",
    )
    compositional: float = Field(
        0.0, ge=0.0, le=1.0, description="share of compositional sentences among the other sentences for picking"
    )
    views: bool = Field(
        False,
        description="keep all that the views show of the default workspace (`cloud.lower` and `cloud.upper` change nothing of "
        "it), for methods that choose poses of their own; a features file is several times as large",
    )
    executor: Literal["processes", "serial", "ray"] = Field(
        "processes", description="who does the work; the result does not depend on it (ray needs the extra 'ray')"
    )
