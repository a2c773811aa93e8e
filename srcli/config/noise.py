"""Section ``noise``: point noise at test time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from srcli.config.ablate import StudyConfig
from srcli.config.base import Section
from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER
from srcli.config.evaluate import SuiteName
from srcli.config.tasks import TaskName

NoiseUnit = Literal["normalized", "metre", "feature"]
NoiseWhere = Literal["cloud", "network"]
Sigma = Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)]

HALF_EXTENT = (WORKSPACE_UPPER[0] - WORKSPACE_LOWER[0]) / 2
"""Metres: half the workspace's edge, the length that ``normalized`` counts in."""

_UNIT = (
    "what sigma counts: normalized (half the workspace's edge, 0.224 m), metre, or feature (the spread of the fused features, "
    "which are disturbed instead of the positions, where noise.where is network); the paper does not state it"
)
_WHERE = (
    "where it acts: cloud (points are moved before fusion, and with them the features that they get, the similarity and which "
    "points are kept) or network (after fusion, so that the similarity and the selection stay clean); the paper does not state it"
)


def check_noise(unit: NoiseUnit, where: NoiseWhere) -> None:
    """Refuse noise on features before there are any."""
    if unit == "feature" and where != "network":
        raise ValueError("unit 'feature' disturbs what has been fused already: where has to be 'network'")


class NoiseConfig(Section):
    """Gaussian noise of one strength on what the scoring network sees."""

    sigma: Sigma = Field(0.0, description="standard deviation in units of `unit`; 0 = no noise")
    unit: NoiseUnit = Field("normalized", description=_UNIT)
    where: NoiseWhere = Field("cloud", description=_WHERE)

    @model_validator(mode="after")
    def _features_after_fusion(self) -> NoiseConfig:
        check_noise(self.unit, self.where)
        return self

    @property
    def metres(self) -> float:
        """Standard deviation of each coordinate in metres; 0 for unit ``feature``."""
        return {"normalized": self.sigma * HALF_EXTENT, "metre": self.sigma, "feature": 0.0}[self.unit]


class NoiseSweepConfig(StudyConfig):
    """The paper's Table 4: methods under point noise, picking unseen objects."""

    sigma: Annotated[tuple[Sigma, ...], Field(strict=False)] = Field(
        (0.1, 0.2, 0.3), min_length=1, description="strengths of the noise; 0 is always added as reference"
    )
    unit: NoiseUnit = Field("normalized", description=_UNIT)
    where: NoiseWhere = Field("cloud", description=_WHERE)
    methods: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        ("sr_plus_softmax", "sr_plus_relu", "sr_plus"),
        min_length=1,
        description="methods compared, each trained on its own; the paper compares sparse branches",
    )
    reference: str = Field("sr_plus", description="the method that paired differences are taken against")
    suite: SuiteName = Field("wide", description="episodes that every method and strength is evaluated on")
    tasks: Annotated[tuple[TaskName, ...], Field(strict=False)] = Field(("pick",), min_length=1, description="tasks evaluated")
    splits: Annotated[tuple[Literal["seen", "unseen"], ...], Field(strict=False)] = Field(
        ("unseen",), min_length=1, description="splits evaluated (the paper: unseen)"
    )

    @model_validator(mode="after")
    def _features_after_fusion(self) -> NoiseSweepConfig:
        check_noise(self.unit, self.where)
        return self
