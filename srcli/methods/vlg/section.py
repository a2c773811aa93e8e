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


class VlgAugmentConfig(Section):
    """Changes drawn anew for each sample of each batch; geometry moves things and candidates together."""

    yaw: float = Field(
        3.1416, ge=0.0, le=3.1416, description="radians, largest rotation about the workspace's vertical axis; 0 = off"
    )
    mirror: bool = Field(True, description="mirror half of the samples left-right")
    shift: float = Field(0.03, ge=0.0, le=0.2, description="metres, standard deviation of a horizontal shift of the whole sample")
    jitter: float = Field(0.002, ge=0.0, le=0.05, description="metres, standard deviation of noise on the place of each thing")
    point_dropout: float = Field(0.0, ge=0.0, le=0.9, description="largest share of things dropped from a sample")
    feature_rotation: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="share of batches whose features of things and text are turned by one random rotation of the joint space",
    )


class VlgTrainConfig(Section):
    """Training by imitation; its target is the expert's candidate."""

    target: Literal["expert", "valid", "quality"] = Field(
        "expert", description="loss target: see methods.sr.train.target (published: rewards)"
    )
    batch_size: int = Field(32, ge=1, le=1024, description="samples per update")
    updates: int = Field(1000, ge=0, le=10_000_000, description="budget in updates (published: up to 40000); 0: epochs decides")
    epochs: int = Field(200, ge=1, le=100_000, description="budget in epochs when updates is 0")
    lr: float = Field(2e-3, gt=0.0, le=1.0, description="learning rate of Adam (published: 3e-4)")
    beta1: float = Field(0.9, ge=0.0, lt=1.0, description="Adam's first decay")
    beta2: float = Field(0.99, ge=0.0, lt=1.0, description="Adam's second decay")
    weight_decay: float = Field(2e-5, ge=0.0, le=1.0, description="decoupled weight decay")
    warmup: int = Field(50, ge=0, le=100_000, description="updates over which the learning rate rises linearly")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="learning rate after the warm-up")
    clip: float = Field(1.0, gt=0.0, le=1000.0, description="largest gradient norm")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="arithmetic of the network; bf16 keeps master weights in fp32")
    points: int = Field(0, ge=0, le=100_000, description="things of a training sample, drawn at random; 0 = all")
    candidates: int = Field(
        48,
        ge=0,
        le=100_000,
        description="candidates of a training sample at most: the expert's and others at random; 0 = all",
    )
    validate_every: int = Field(100, ge=1, le=1_000_000, description="updates between two passes over the validation split")
    checkpoint_every: int = Field(25, ge=1, le=1_000_000, description="updates between two checkpoints")
    select: Literal["best", "last"] = Field("best", description="weights kept: lowest validation loss, or the last")
    augment: VlgAugmentConfig = Field(default_factory=VlgAugmentConfig, description="augmentation")

    def of_scorers(self) -> TrainConfig:
        """The same for the trainer of networks that score candidates. Things have no noise of similarity, which the network does
        not read, and picks are all that there is."""
        data = self.model_dump()
        augment = AugmentConfig(**data.pop("augment"), similarity_noise=0.0)
        return TrainConfig(**data, augment=augment, place_share=0.0)


class VlgConfig(Section):
    """VLG: things found without names, each multiplied by the sentence, read by the candidates; trained by imitation."""

    regions: CellRegionConfig = Field(default_factory=CellRegionConfig, description="things without names")
    network: VlgNetworkConfig = Field(default_factory=VlgNetworkConfig, description="the network")
    train: VlgTrainConfig = Field(default_factory=VlgTrainConfig, description="training")
