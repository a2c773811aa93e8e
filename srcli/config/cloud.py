"""Section ``cloud``: from calibrated views to the semantic point cloud."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from srcli.config.base import Section

#: The pick workspace in the world frame, metres: lower and upper corner (table at z = 0).
WORKSPACE_LOWER = (0.276, -0.224, -0.02)
WORKSPACE_UPPER = (0.724, 0.224, 0.4)

_LONGEST = 3.0


def check_box(section: str, lower: tuple[float, float, float], upper: tuple[float, float, float]) -> None:
    """Refuse corners of a workspace that is none, or that is not in metres.

    Raises:
        ValueError: names what is wrong; a model's check turns it into its own error.
    """
    if not all(low < high for low, high in zip(lower, upper, strict=True)):
        raise ValueError(f"{section}.lower must be below {section}.upper in x, y and z")
    longest = max(high - low for low, high in zip(lower, upper, strict=True))
    if longest > _LONGEST:
        raise ValueError(
            f"from {section}.lower to {section}.upper it is {longest:.4g} m, more than {_LONGEST:g} m: corners are in metres"
        )


class CloudConfig(Section):
    """How points are taken from the views, given features, and chosen."""

    lower: tuple[float, float, float] = Field(
        default=WORKSPACE_LOWER,
        strict=False,
        description="lower corner of the workspace, metres, world frame; a little under the table so that noise is not cut. "
        "Methods that look at whole views (`featurize.views`) keep to the default workspace",
    )
    upper: tuple[float, float, float] = Field(
        default=WORKSPACE_UPPER, strict=False, description="upper corner of the workspace, metres, world frame"
    )
    voxel: float = Field(default=0.01, ge=0.002, le=0.05, description="edge of the voxels that points are merged in, metres")
    min_pixels: int = Field(
        default=3, ge=1, le=100, description="pixels a voxel must hold; fewer are taken for sensor noise (not in the paper)"
    )
    table_height: float = Field(
        default=0.008, ge=0.0, le=0.05, description="for picking, points below this height count as table and are removed, metres"
    )
    mu: float = Field(default=0.02, ge=0.001, le=0.1, description="tolerated depth deviation for a point to be visible, metres")
    norm: Literal["weight", "count"] = Field(
        default="weight",
        description="fusion divides by the sum of confidences (weight, the paper) or by the visible views (count, A2)",
    )
    smooth_radius: float = Field(
        default=0.02,
        ge=0.0,
        le=0.1,
        description="similarity is averaged over neighbours within this radius, metres; 0 turns it off (not in the paper)",
    )
    denied: float = Field(
        default=0.7,
        ge=0.0,
        le=2.0,
        description="how much of the direction of what a sentence denies ('but not the zebra') is taken from that of the rest; 0 "
        "reads sentences as they stand (not in the paper)",
    )
    select: Literal["similarity", "farthest", "all"] = Field(
        default="similarity",
        description="which points are kept: the most similar to the instruction, a farthest-point sample blind to it, or all",
    )
    count: int = Field(default=500, ge=1, le=100000, description="number of points kept (for select = similarity or farthest)")

    @model_validator(mode="after")
    def _ordered(self) -> CloudConfig:
        check_box("cloud", self.lower, self.upper)
        return self
