"""Section ``ablate``: which methods are compared, and at what scale."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from srcli.config.base import Section
from srcli.config.evaluate import SuiteName
from srcli.config.tasks import TaskName

Choice = Literal["learned", "combined"]

_CHOICE = (
    "how an action is chosen: combined (as each method is used) or learned (by what was learned alone, where differences between "
    "methods are not covered by rules beside it)"
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
    attempts: int = Field(
        0,
        ge=0,
        le=50,
        description="attempts of the pick phase; 0: evaluate.attempts. One is enough for the first attempt, and much quicker",
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] = Field(
        (0,), min_length=1, description="training seeds; everything is trained once with each"
    )
    updates: int = Field(
        0, ge=0, le=10_000_000, description="training budget in updates, the same for all; 0: that of each method's section"
    )
    choice: Choice = Field("combined", description=_CHOICE)


class StudyConfig(ScaleConfig):
    """Studies of the network itself."""

    choice: Choice = Field("learned", description=_CHOICE)


class AttributionConfig(StudyConfig):
    """What each part of a method is worth: left out of it, and trained without it."""

    suite: SuiteName = Field("development", description="episodes that every form is evaluated on")
    tasks: Annotated[tuple[TaskName, ...], Field(strict=False)] = Field(
        ("pick", "place"), min_length=1, description="tasks evaluated"
    )
    splits: Annotated[tuple[Literal["seen", "unseen"], ...], Field(strict=False)] = Field(
        ("unseen",), min_length=1, description="splits evaluated"
    )
    episodes: int = Field(60, ge=0, le=100_000, description="scenes per task and split; 0: the suite's own number")
    updates: int = Field(250, ge=0, le=10_000_000, description="budget of each training without a part, in updates")
    retrain: bool = Field(False, description="also train the method anew without each part (one training each)")
    choice: Choice = Field("combined", description=_CHOICE)


class AblateConfig(ScaleConfig):
    """The paper's Table 3: forms of the network on all tasks and splits, paired on the same episodes."""

    suite: SuiteName = Field("wide", description="episodes that every method is evaluated on")
    tasks: Annotated[tuple[TaskName, ...], Field(strict=False)] = Field(
        ("pick", "place", "pick_place"), min_length=1, description="tasks evaluated"
    )
    methods: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        ("base_plus", "sr_a_plus", "sr_plus", "untrained:sr_plus"),
        min_length=1,
        description="methods compared; untrained:NAME is the control of a learned one",
    )
    reference: str = Field("sr_plus", description="the method that paired differences are taken against")
    study: StudyConfig = Field(
        default_factory=StudyConfig,
        description="scale of `srcli ablate --study`: choices that the paper leaves open",
    )
    attribution: AttributionConfig = Field(
        default_factory=AttributionConfig, description="scale of `srcli ablate --study attribution`"
    )
