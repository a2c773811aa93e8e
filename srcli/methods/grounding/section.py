"""Sections of the methods that look for what a sentence names and then choose among the candidates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from srcli.config.base import Section
from srcli.config.regions import RegionConfig

Words = Annotated[tuple[str, ...], Field(strict=False)]


def _odd(side: int) -> int:
    if side % 2 == 0:
        raise ValueError("it has to be odd")
    return side


Side = Annotated[int, Field(ge=1, le=99), AfterValidator(_odd)]
"""Of a square that has a middle cell."""


class ClipGroundingConfig(Section):
    """CLIP-Grounding: the region most like the sentence, then a random candidate near it."""

    regions: RegionConfig = Field(default_factory=RegionConfig, description="boxes of things without names")
    distance: float = Field(
        0.05,
        gt=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="a candidate belongs to a box whose centre is nearer than this, metres (published: 0.05)",
    )


class RawImageConfig(Section):
    """Raw Image and Raw Image Grid without training: the cell most like the sentence, then a random candidate in it."""

    cells: int = Field(4, ge=1, le=32, description="cells along each side of the workspace; 1 is the whole image")


class LerfTogoConfig(Section):
    """LERF-TOGO on a feature field that is fused from the views instead of being trained."""

    scales: Annotated[tuple[Side, ...], Field(strict=False)] = Field(
        (1, 3, 5, 9),
        min_length=1,
        description="sides of the squares that features are averaged over, cells of the encoder's grid; odd numbers",
    )
    negatives: Words = Field(
        ("object", "things", "stuff", "texture"),
        min_length=1,
        description="what a query is told apart from (published: these)",
    )
    temperature: float = Field(
        10.0, gt=0.0, le=1000.0, allow_inf_nan=False, description="factor on cosines before the softmax (published: 10)"
    )
    part: str = Field("", description="part that is asked for inside the object (A2's protocol: body); empty: the sentence again")
    reach: float = Field(
        0.02, gt=0.0, le=0.2, allow_inf_nan=False, description="longest step of the flood fill over the object, metres"
    )
    alike: float = Field(
        0.6,
        ge=-1.0,
        le=1.0,
        allow_inf_nan=False,
        description="least cosine with the most relevant point of a point of its object",
    )
    semantic: float = Field(
        0.95,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="weight of relevancy; the rest is of quality (published: 0.95)",
    )


class GraspSplatsConfig(Section):
    """GraspSplats on points instead of Gaussians: object features, then part features, density clusters, a gate of distance."""

    regions: RegionConfig = Field(default_factory=RegionConfig, description="what object features are averaged over")
    canonical: Words = Field(("object", "things"), description="words that a query is always told apart from (published: these)")
    negatives: Words = Field((), description="further words that it is told apart from, for example of another object")
    temperature: float = Field(
        0.05, gt=0.0, le=10.0, allow_inf_nan=False, description="cosines are divided by it before the softmax (published: 0.05)"
    )
    part: str = Field("", description="part that is asked for inside the object; empty: the sentence again, of single points")
    keep: float = Field(
        0.9,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="points of at least this share of the largest similarity are the object (published: a slider)",
    )
    keep_part: float = Field(
        0.9,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="the same for the part, inside the object (published: a slider)",
    )
    object_radius: float = Field(
        0.015, gt=0.0, le=0.2, allow_inf_nan=False, description="radius of density clusters of objects, metres (published: 0.015)"
    )
    object_least: int = Field(
        5, ge=1, le=1000, description="points within the radius that make a core point (published: 10, of denser Gaussians)"
    )
    part_radius: float = Field(
        0.02, gt=0.0, le=0.2, allow_inf_nan=False, description="radius of density clusters of parts, metres (published: 0.02)"
    )
    part_least: int = Field(
        5, ge=1, le=1000, description="points within the radius that make a core point (published: 15, of denser Gaussians)"
    )
    cluster: Literal["largest", "peak"] = Field(
        "peak", description="the cluster taken: with the most similar point, or with the most points (published: largest)"
    )
    gate: float = Field(
        0.08,
        gt=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="candidates farther than this from what was selected are left out, metres (published: 0.02; A2: 0.08)",
    )


class ServiceConfig(Section):
    """A planner behind an OpenAI-compatible chat service; SRCLI_PLANNER_URL and SRCLI_PLANNER_KEY say which."""

    model: str = Field("gpt-4o-2024-05-13", min_length=1, description="model that is asked (published: this one)")
    timeout: float = Field(60.0, gt=0.0, le=3600.0, allow_inf_nan=False, description="seconds after which an answer is given up")
    max_tokens: int = Field(200, ge=16, le=100_000, description="tokens that an answer may have")
    price_read: float = Field(
        5.0, ge=0.0, le=1e6, allow_inf_nan=False, description="dollars for a million tokens read, for the cost that is shown"
    )
    price_written: float = Field(
        15.0, ge=0.0, le=1e6, allow_inf_nan=False, description="dollars for a million tokens written, for the cost that is shown"
    )


class ThinkGraspConfig(Section):
    """ThinkGrasp: a planner names what to take, or what to remove first."""

    planner: Literal["offline", "service"] = Field(
        "offline", description="what plans: similarity and height, or a chat service of the user's"
    )
    regions: RegionConfig = Field(default_factory=RegionConfig, description="things that a planner may name")
    visible: float = Field(
        0.23,
        ge=-1.0,
        le=1.0,
        allow_inf_nan=False,
        description="offline: least cosine of a thing that counts as what was asked for; below it something is in the way",
    )
    margin: float = Field(
        0.04,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="margin of the crop around a thing, metres (published: 20 pixels)",
    )
    service: ServiceConfig = Field(default_factory=ServiceConfig, description="the chat service")
