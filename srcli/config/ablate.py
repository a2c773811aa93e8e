"""Section ``ablate``: which variants are compared, and at what scale."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from srcli.config.base import Section
from srcli.config.evaluate import SuiteName, TaskName

Variant = Literal["base", "sr_a", "sr", "a2"]
Choice = Literal["align2", "combined"]

_CHOICE = (
    "how an action is chosen: combined (section evaluate.combine, as the system is used) or align2 (the network's last scores "
    "alone, where differences between networks are not covered by the mask and the quality)"
)


class ScaleConfig(Section):
    """How much is trained and evaluated for each value compared, and what chooses."""

    suite: SuiteName = Field("development", description="episodes that every value is evaluated on")
    tasks: Annotated[tuple[TaskName, ...], Field(strict=False)] = Field(("pick",), min_length=1, description="tasks evaluated")
    splits: Annotated[tuple[Literal["seen", "unseen"], ...], Field(strict=False)] = Field(
        ("seen", "unseen"), min_length=1, description="splits evaluated"
    )
    episodes: int = Field(
        30, ge=0, le=100_000, description="scenes per task and split, or repeats per case (paper); 0: the suite's own number"
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] = Field(
        (0,), min_length=1, description="training seeds; everything is trained once with each"
    )
    updates: int = Field(0, ge=0, le=10_000_000, description="training budget in updates, the same for all; 0: section train's")
    choice: Choice = Field("combined", description=_CHOICE)


class StudyConfig(ScaleConfig):
    """Studies of the network itself."""

    choice: Choice = Field("align2", description=_CHOICE)


class AblateConfig(ScaleConfig):
    """The paper's Table 3: variants of the network on all tasks and splits, paired on the same episodes."""

    suite: SuiteName = Field("wide", description="episodes that every variant is evaluated on")
    tasks: Annotated[tuple[TaskName, ...], Field(strict=False)] = Field(
        ("pick", "place", "pick_place"), min_length=1, description="tasks evaluated"
    )
    variants: Annotated[tuple[Variant, ...], Field(strict=False)] = Field(
        ("base", "sr_a", "sr"), min_length=1, description="variants compared"
    )
    reference: Variant = Field("sr", description="the variant that paired differences are taken against")
    study: StudyConfig = Field(
        default_factory=StudyConfig,
        description="scale of `srcli ablate --study`: choices that the paper leaves open",
    )
