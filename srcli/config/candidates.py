"""Section ``candidates``: the grasp sampler."""

from __future__ import annotations

from pydantic import Field, model_validator

from srcli.config.base import Section
from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER, check_box


class CandidateConfig(Section):
    """How grasp candidates are proposed, scored and thinned out. The paper uses a detector; these are ours."""

    lower: tuple[float, float, float] = Field(
        default=WORKSPACE_LOWER, strict=False, description="lower corner of the workspace of fingertips, metres, world frame"
    )
    upper: tuple[float, float, float] = Field(
        default=WORKSPACE_UPPER, strict=False, description="upper corner of the workspace of fingertips, metres, world frame"
    )
    source: str = Field(
        default="sampler",
        min_length=1,
        description="where grasps come from: sampler (the package's own), a .npy file or folder of GraspNet rows, or "
        "NAME[:ARGUMENT] of an installed detector; @world or @VIEW behind it names the frame of its rows",
    )
    quality: str = Field(
        default="embedded",
        min_length=1,
        description="what the sampler rates its grasps by: embedded (the package's network on the points around the gripper), a "
        ".safetensors file of 'srcli pretrain grasp' (such a network of your own), or shape (features of the height map alone)",
    )
    count: int = Field(default=120, ge=1, le=500, description="largest number of candidates of a scene")
    per_cell: int = Field(
        default=6, ge=1, le=50, description="largest number of candidates in one 3 cm cell, so that all objects get some"
    )
    min_quality: float = Field(default=0.4, ge=0.0, le=1.0, description="candidates with a lower hold probability are dropped")
    good_quality: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        description="weaker candidates are dropped where one this good is near",
    )
    good_distance: float = Field(
        default=0.02, ge=0.0, le=0.5, description="near: within this distance of the fingertips, metres; 0 drops none of them"
    )
    cell: float = Field(default=0.003, ge=0.002, le=0.006, description="cell of the height maps, metres")
    yaws: int = Field(default=12, ge=2, le=36, description="closing directions over half a turn, for vertical approaches")
    tilt: float = Field(
        default=0.44, ge=0.0, le=0.8, description="angle of tilted approaches from vertical, radians; 0 turns them off"
    )
    tilt_yaws: int = Field(default=4, ge=2, le=18, description="closing directions over half a turn, for tilted approaches")
    cover_quality: float = Field(
        default=0.5, ge=0.0, le=1.0, description="tilted approaches are tried only where no vertical one reaches this quality"
    )
    max_depth: float = Field(default=0.045, ge=0.01, le=0.055, description="how far fingers may reach below the top, metres")
    clearance: float = Field(default=0.003, ge=0.0, le=0.02, description="room between fingertips and whatever is below, metres")
    nms_distance: float = Field(
        default=0.015, ge=0.0, le=0.1, description="candidates nearer than this are compared in angle, metres"
    )
    nms_angle: float = Field(
        default=0.52, ge=0.0, le=3.2, description="and the weaker is dropped if nearer than this angle, radians"
    )

    @model_validator(mode="after")
    def _ordered(self) -> CandidateConfig:
        check_box("candidates", self.lower, self.upper)
        return self
