"""Section ``placements``: the sampler of places for what the gripper holds."""

from __future__ import annotations

from pydantic import Field, model_validator

from srcli.config.base import Section
from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER, check_box
from srcli.types import PLACE_SHIFT


class PlacementConfig(Section):
    """How placement candidates are proposed, scored and thinned out. A2 has true boxes for it; these come from noisy views."""

    lower: tuple[float, float, float] = Field(
        default=WORKSPACE_LOWER, strict=False, description="lower corner of the place workspace, metres, zone frame"
    )
    upper: tuple[float, float, float] = Field(
        default=WORKSPACE_UPPER, strict=False, description="upper corner of the place workspace, metres, zone frame"
    )
    shift: float = Field(
        default=PLACE_SHIFT, ge=-0.5, le=0.5, description="where the zone's frame lies in y, for the reach of the arm, metres"
    )
    cell: float = Field(default=0.005, ge=0.003, le=0.01, description="cell of the height map, metres")
    stand_out: float = Field(default=0.008, ge=0.005, le=0.05, description="what is higher than this is not table, metres")
    min_area: float = Field(default=1.5e-4, ge=0.0, le=0.01, description="smaller things are taken for noise, square metres")
    around: float = Field(
        default=0.15, ge=0.03, le=0.3, description="farthest place around a thing, from its outline, metres (A2: 0.15)"
    )
    rings: int = Field(default=5, ge=1, le=10, description="distances tried around a thing, from close by to the farthest")
    angles: int = Field(default=16, ge=3, le=36, description="directions tried around a thing, per ring")
    around_count: int = Field(default=36, ge=0, le=100, description="most places around one thing")
    on_count: int = Field(default=6, ge=0, le=50, description="most places on or in one thing")
    free_count: int = Field(default=20, ge=0, le=100, description="places elsewhere on the table, near nothing")
    count: int = Field(default=200, ge=1, le=500, description="largest number of candidates of a scene")
    gap: float = Field(default=0.007, ge=0.0, le=0.05, description="room beside the held object, metres")
    clearance: float = Field(
        default=0.004, ge=0.0, le=0.03, description="room below the held object when it is released, metres; it falls so far"
    )
    hollow: float = Field(default=0.012, ge=0.005, le=0.05, description="least depth of an inside below its rim, metres")
    border: float = Field(
        default=0.015, ge=0.0, le=0.1, description="distance of every place from the border of the workspace, metres"
    )

    @model_validator(mode="after")
    def _ordered(self) -> PlacementConfig:
        check_box("placements", self.lower, self.upper)
        return self
