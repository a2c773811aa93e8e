"""Section ``methods.a2``: the published network, its training and its choice."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from srcli.config.base import Section
from srcli.config.choice import ChoiceConfig
from srcli.config.noise import NoiseConfig
from srcli.config.train import TrainConfig


class A2NetworkConfig(Section):
    """A2's network."""

    width: int = Field(0, ge=0, le=2048, description="model width; 0 takes the encoder's (published: 768)")
    heads: int = Field(8, ge=1, le=32, description="attention heads (published: 8); they must divide the width")
    positions: Literal["workspace", "metres"] = Field(
        "workspace", description="unit of positions: scaled to the workspace, or plain metres as the published code has them"
    )
    place_head: Literal["shared", "adapter"] = Field(
        "shared",
        description="scoring of placements: the decoder of grasps, or the same after a small residual adapter of their own",
    )


class A2TrainConfig(TrainConfig):
    """Training; its target is the expert's candidate, as published."""

    target: Literal["expert", "valid", "quality"] = Field(
        "expert", description="loss target of picks: see methods.sr.train.target"
    )


class A2ChoiceConfig(ChoiceConfig):
    """From scores to a choice: the network alone, as published."""

    align1: float = Field(
        default=0.0,
        ge=0.0,
        le=1000.0,
        description="weight of the log share of the cloud's points in all that stands between a grasp's fingers; A2 has no mask",
    )
    prior: float = Field(default=0.0, ge=0.0, le=1000.0, description="weight of the logarithm of a grasp's quality")
    prior_place: float = Field(default=0.0, ge=0.0, le=1000.0, description="weight of a placement's quality (0..1)")


class A2Config(Section):
    """A2: the published network, chosen by its scores alone."""

    network: A2NetworkConfig = Field(default_factory=A2NetworkConfig, description="the published network")
    train: A2TrainConfig = Field(default_factory=A2TrainConfig, description="training")
    choice: A2ChoiceConfig = Field(default_factory=A2ChoiceConfig, description="from scores to a choice")
    noise: NoiseConfig = Field(default_factory=NoiseConfig, description="noise on what the network sees when it acts")
