"""Systems that look for what a sentence names and then choose among the given candidates; none of them learns anything.

They share a field of features, regions of it and clusters, which is why they are one folder: what is recorded of an episode is
the code of all of it. Each has a section of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srcli.config.base import Section
from srcli.methods.base import MethodSpec
from srcli.methods.grounding.section import (
    ClipGroundingConfig,
    GraspSplatsConfig,
    LerfTogoConfig,
    RawImageConfig,
    ThinkGraspConfig,
)


def _spec(
    name: str,
    title: str,
    module: str,
    section: type[Section],
    source: str,
    row: str,
    group: str = "",
    preset: Mapping[str, Any] | None = None,
) -> MethodSpec:
    # Grasps alone: the paper compares them for picking.
    return MethodSpec(
        name=name,
        title=title,
        tasks=frozenset({"pick"}),
        build=f"srcli.methods.grounding.{module}:build",
        section=section,
        group=group,
        preset=preset or {},
        fidelity="adapter",
        source=source,
        paper_row=row,
        shares=("learning/regions.py",),
    )


CLIP_GROUNDING = _spec(
    "clip_grounding",
    "CLIP-Grounding",
    "clip_grounding",
    ClipGroundingConfig,
    "VLG's baseline (arXiv 2302.12610): best box by CLIP, random grasp within 5 cm; boxes of regions of the cloud",
    "CLIP-Grounding",
)
RAW_IMAGE = _spec(
    "raw_image",
    "Raw Image, untrained",
    "raw_image",
    RawImageConfig,
    "VLG's baseline (arXiv 2302.12610) without its network: the whole image against the sentence, random grasp",
    "Raw Image",
    "raw_image",
    {"cells": 1},
)
RAW_IMAGE_GRID = _spec(
    "raw_image_grid",
    "Raw Image Grid, untrained",
    "raw_image",
    RawImageConfig,
    "VLG's baseline (arXiv 2302.12610) without its network: the best cell of a grid over the table, random grasp in it",
    "Raw Image Grid",
    "raw_image",
)
LERF_TOGO = _spec(
    "lerf_togo",
    "LERF-TOGO (RGB-D field)",
    "lerf_togo",
    LerfTogoConfig,
    "LERF-TOGO (Rashid et al., CoRL 2023) on features fused from the RGB-D views instead of a trained radiance field",
    "LERF-TOGO",
)
GRASPSPLATS = _spec(
    "graspsplats",
    "GraspSplats (RGB-D field)",
    "graspsplats",
    GraspSplatsConfig,
    "GraspSplats (Ji et al., CoRL 2024) on points with fused features instead of trained Gaussians; gate of 8 cm as in A2",
    "GraspSplats",
)
THINKGRASP = _spec(
    "thinkgrasp",
    "ThinkGrasp (own planner)",
    "thinkgrasp",
    ThinkGraspConfig,
    "ThinkGrasp (Qian et al., CoRL 2024) with regions for LangSAM and VLPart; planner offline, or a chat service of the user's",
    "ThinkGrasp",
)
