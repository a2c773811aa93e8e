"""Section ``compare``: every system that the paper compares with, on the same scenes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from srcli.config.base import Section
from srcli.config.evaluate import SuiteName
from srcli.config.tasks import TaskName


class CompareConfig(Section):
    """Table 1: the systems that the paper compares with, trained on the same demonstrations and evaluated on the same scenes."""

    suite: SuiteName = Field("wide", description="scenes of the comparison")
    tasks: Annotated[tuple[TaskName, ...], Field(strict=False)] = Field(
        ("pick", "place", "pick_place"), min_length=1, description="one table each, of the methods that can do it"
    )
    splits: Annotated[tuple[Literal["seen", "unseen"], ...], Field(strict=False)] = Field(
        ("seen", "unseen"), min_length=1, description="splits of each table"
    )
    episodes: int = Field(120, ge=1, le=100_000, description="scenes per table and split; repeats per case of case files")
    seed: int = Field(3, ge=0, description="root seed of the episodes; `seed` is that of everything else")
    methods: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (
            *("sr", "sr_a", "base", "a2", "sr_plus"),
            *("vlg", "vlp", "clip_grounding", "raw_image", "raw_image_grid", "lerf_togo", "graspsplats", "thinkgrasp"),
            *("cliport", "cliport_snapped", "act3d", "act3d_snapped", "diffuser_actor", "diffuser_actor_snapped"),
            *("rvt2", "rvt2_snapped", "rvt2_features", "rvt2_features_snapped"),
            *("similarity", "random", "expert"),
        ),
        min_length=1,
        description="rows; each method that learns is followed by untrained:NAME, its control",
    )
    reference: str = Field("sr", description="the row that paired differences are taken against")
    controls: bool = Field(True, description="the untrained controls as rows")
    train: Literal["missing", "all"] = Field(
        "missing", description="what is trained: methods that no weights are shipped of, or all that learn"
    )
    train_seed: int = Field(0, ge=0, description="training seed")
    timed: int = Field(6, ge=0, le=1000, description="decisions by which the time of a method is measured; 0 leaves it out")
