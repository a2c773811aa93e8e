"""Section ``methods.vlg``: how things are found, the network, its training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from srcli.config.base import Section
from srcli.config.regions import CellRegionConfig
from srcli.config.train import AugmentConfig, TrainConfig


class VlgNetworkConfig(Section):
    """The network: candidates read the things by one cross-attention block."""

    width: int = Field(128, ge=0, le=2048, description="model width (published: 512); 0 takes the encoder's")
    heads: int = Field(4, ge=1, le=32, description="attention heads (published: 8); they must divide the width")
    hidden: int = Field(64, ge=1, le=2048, description="first layer of all MLPs (published: 256)")


class VlgAugmentConfig(AugmentConfig):
    """Changes of a sample: a thing counts as one point."""

    point_dropout: float = Field(0.0, ge=0.0, le=0.9, description="largest share of things dropped from a sample")


class VlgTrainConfig(TrainConfig):
    """Training by imitation; its target is the expert's candidate."""

    target: Literal["expert", "valid", "quality"] = Field(
        "expert", description="loss target: see methods.sr.train.target (published: rewards)"
    )
    updates: int = Field(1000, ge=0, le=10_000_000, description="budget in updates (published: up to 40000); 0: epochs decides")
    lr: float = Field(2e-3, gt=0.0, le=1.0, description="learning rate of Adam (published: 3e-4)")
    points: int = Field(0, ge=0, le=100_000, description="things of a training sample, drawn at random; 0 = all")
    candidates: int = Field(
        48,
        ge=0,
        le=100_000,
        description="candidates of a training sample at most: the expert's and others at random; 0 = all",
    )
    augment: VlgAugmentConfig = Field(default_factory=VlgAugmentConfig, description="augmentation")


class VlgConfig(Section):
    """VLG: things found without names, each multiplied by the sentence, read by the candidates; trained by imitation."""

    regions: CellRegionConfig = Field(default_factory=CellRegionConfig, description="things without names")
    network: VlgNetworkConfig = Field(default_factory=VlgNetworkConfig, description="the network")
    train: VlgTrainConfig = Field(default_factory=VlgTrainConfig, description="training")
