"""Section ``probe``: what each foundation is measured with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from srcli.config.base import Section
from srcli.config.evaluate import SuiteName

PartName = Literal["encoder", "grasps"]


class ProbeConfig(Section):
    """How encoder and grasp candidates are measured, each alone."""

    parts: Annotated[tuple[PartName, ...], Field(strict=False)] = Field(
        default=("encoder", "grasps"), min_length=1, description="what is measured: encoder, grasps"
    )
    splits: Annotated[tuple[Literal["seen", "unseen"], ...], Field(strict=False)] = Field(
        default=("seen", "unseen"), min_length=1, description="on objects of which splits"
    )
    wordings: Annotated[tuple[Literal["train", "heldout"], ...], Field(strict=False)] = Field(
        default=("train", "heldout"), min_length=1, description="in which wordings things are asked for"
    )
    scenes: int = Field(
        default=40, ge=1, le=10_000, description="scenes per split for the encoder, as many again in which references are named"
    )
    grasp_scenes: int = Field(default=8, ge=1, le=10_000, description="scenes per split for the grasps")
    suites: Annotated[tuple[SuiteName, ...], Field(strict=False)] = Field(
        default=("free-development", "compositional-development"),
        description="suites whose sentences for picking are asked for in their own scenes, by kind; none: []",
    )
    sentences: int = Field(
        default=6, ge=1, le=1000, description="sentences of each kind per suite and split, but no more than `scenes`"
    )
    keywords: int = Field(default=3, ge=1, le=50, description="keywords of each kind that are asked for in a scene")
    min_points: int = Field(
        default=5, ge=1, le=1000, description="an object is a region, and may be asked for, from this many points of the cloud on"
    )
    sampled: int = Field(
        default=24,
        ge=0,
        le=500,
        description="candidates of a scene executed whatever their quality, for calibration and average precision; 0: all",
    )
    dense_grasps: int = Field(
        default=24,
        ge=1,
        le=500,
        description="executions per object at most until one holds, in the search over true surfaces and among candidates",
    )
    drawn: int = Field(default=4, ge=0, le=12, description="good and as many bad cases per split that are drawn")
