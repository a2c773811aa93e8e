"""Section ``regions`` of the methods that look at things without names: how a cloud is cut into regions."""

from __future__ import annotations

from pydantic import Field

from srcli.config.base import Section


class RegionConfig(Section):
    """How a cloud is cut into regions, which stand in for the boxes and masks of a detector."""

    reach: float = Field(
        0.015, gt=0.0, le=0.1, allow_inf_nan=False, description="points this near may belong to one region, metres"
    )
    alike: float = Field(
        0.8,
        ge=-1.0,
        le=1.0,
        allow_inf_nan=False,
        description="touching regions are one from this cosine of their mean features on",
    )
    least: int = Field(8, ge=1, le=1000, description="points of the cloud that a region must have")


class CellRegionConfig(RegionConfig):
    """How the cells of the encoder's grid are cut into regions, which stand in for the boxes of a detector."""

    reach: float = Field(
        0.02,
        gt=0.0,
        le=0.1,
        allow_inf_nan=False,
        description="cells this near may belong to one region, metres; they lie about 1 cm apart",
    )
    least: int = Field(3, ge=1, le=1000, description="cells that a region must have")
    table: float = Field(
        0.008,
        ge=0.0,
        le=0.2,
        allow_inf_nan=False,
        description="cells lower than this are table, and of no region, metres",
    )
