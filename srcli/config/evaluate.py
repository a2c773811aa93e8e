"""Section ``evaluate``: the closed-loop suites and what is counted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from srcli.config.base import Section
from srcli.config.tasks import TaskName

SuiteName = Literal["development", "paper", "wide", "compositional", "compositional-development", "free", "free-development"]


class PerturbConfig(Section):
    """Random disturbance of every executed action; 0 is none. The paper names the disturbance but no size."""

    translation: float = Field(
        default=0.0, ge=0.0, le=0.2, allow_inf_nan=False, description="standard deviation of the position along each axis, metres"
    )
    rotation: float = Field(
        default=0.0,
        ge=0.0,
        le=3.15,
        allow_inf_nan=False,
        description="standard deviation of the angle about a random axis (about the vertical for placements), radians",
    )

    @property
    def disturbs(self) -> bool:
        """Whether anything is disturbed at all."""
        return self.translation > 0 or self.rotation > 0


class EvaluateConfig(Section):
    """Suites, methods, attempts and statistics."""

    tasks: Annotated[tuple[TaskName, ...], Field(strict=False)] = Field(
        default=("pick",), min_length=1, description="tasks to run: pick, place, pick_place, or one of an installed package"
    )
    suite: SuiteName = Field(
        default="wide", description="which episodes to run; those of the compositional and free suites are for the task pick"
    )
    methods: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=("sr_plus", "untrained:sr_plus", "similarity", "random", "expert"),
        min_length=1,
        description="methods to run, all on the same seeds; untrained:NAME is the control of a learned one",
    )
    reference: str = Field(default="sr_plus", description="the method that paired differences are taken against")
    initialisations: int = Field(
        default=5, ge=1, le=100, description="initial weights of an untrained control; its row is their mean"
    )
    splits: Annotated[tuple[Literal["seen", "unseen"], ...], Field(strict=False)] = Field(
        default=("seen", "unseen"), min_length=1, description="which splits to run"
    )
    wording: Literal["train", "heldout"] = Field(
        default="train", description="wording of generated sentences (not of fixed cases)"
    )
    attempts: int = Field(default=8, ge=1, le=50, description="attempts of the pick phase")
    episodes: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="scenes per split, or repeats per case (paper, free); 0: the suite's own number",
    )
    limit: int = Field(default=0, ge=0, le=100_000, description="stop after this many episodes per split; 0: no limit")
    bootstrap: int = Field(default=2000, ge=100, le=100_000, description="bootstrap resamples of the clustered intervals")
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0, description="confidence level of all intervals")
    figure_cases: int = Field(default=2, ge=0, le=50, description="episodes per split that are drawn for the first method")
    similarity_rule: bool = Field(default=True, description="also record success by the paper's similarity rule")
    similarity_threshold: float | None = Field(
        default=None, ge=-1.0, le=1.0, description="threshold of the similarity rule; null: calibrated on the validation scenes"
    )
    calibration_scenes: int = Field(
        default=24, ge=4, le=1000, description="validation scenes for calibrating the similarity rule"
    )
    executor: Literal["processes", "serial", "ray"] = Field(
        default="processes",
        description="who plays the episodes; the result does not depend on it (ray needs the extra 'ray')",
    )
    perturb: PerturbConfig = Field(default=PerturbConfig(), description="random disturbance of executed actions")
