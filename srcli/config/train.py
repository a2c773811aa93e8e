"""Section ``train``: budget, optimiser, target and augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from srcli.config.base import Section

ALSO_TRAINED_WITH = ("bypass", "regions")
"""Keys of a method's section that it acts with and is trained with as well: another value makes another policy."""


class AugmentConfig(Section):
    """Changes drawn anew for each sample of each batch; geometry moves points and candidates together."""

    yaw: float = Field(
        3.1416, ge=0.0, le=3.1416, description="radians, largest rotation about the workspace's vertical axis; 0 = off"
    )
    mirror: bool = Field(True, description="mirror half of the samples left-right")
    shift: float = Field(0.03, ge=0.0, le=0.2, description="metres, standard deviation of a horizontal shift of the whole sample")
    jitter: float = Field(0.002, ge=0.0, le=0.05, description="metres, standard deviation of noise on each point")
    point_dropout: float = Field(0.1, ge=0.0, le=0.9, description="largest share of points dropped from a sample")
    similarity_noise: float = Field(
        0.02, ge=0.0, le=1.0, description="standard deviation of noise on the similarity of each point"
    )
    feature_rotation: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description=(
            "share of batches whose image and text features are turned by one random rotation of the joint "
            "space: cosines stay, so the network learns relations rather than directions of known objects"
        ),
    )
    pick_rotation: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description=(
            "share of picks that are turned, each by its own rotation of the joint space about the mean feature and the mean "
            "sentence; placements never are, since the words of a relation have to be recognised"
        ),
    )
    pick_rotation_from: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="share of the updates after which picks are turned: before that the network learns what to do with a mask",
    )
    comparison_rotation: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description=(
            "share of samples in which 1-Align compares words and points under a random rotation of the joint space, each its "
            "own; everything else stays in the encoder's axes (without 1-Align: no effect)"
        ),
    )


class TrainConfig(Section):
    """Training of one policy."""

    target: Literal["expert", "valid", "quality"] = Field(
        "quality",
        description=(
            "loss target of picks: the expert's candidate (the paper), uniform over all candidates on a target object, or those "
            "in proportion to the prior's quality; of placements it is always uniform over all that are right"
        ),
    )
    place_share: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="share of each batch that placements take where the features hold both phases (not in the paper)",
    )
    batch_size: int = Field(32, ge=1, le=1024, description="samples per update (the paper: 32)")
    updates: int = Field(600, ge=0, le=10_000_000, description="budget in updates; 0 means epochs decides")
    epochs: int = Field(200, ge=1, le=100_000, description="budget in epochs when updates is 0 (the paper: 200)")
    lr: float = Field(1e-3, gt=0.0, le=1.0, description="learning rate of Adam (the paper: 1e-4 at width 768 and 200 epochs)")
    beta1: float = Field(0.9, ge=0.0, lt=1.0, description="Adam's first decay")
    beta2: float = Field(0.99, ge=0.0, lt=1.0, description="Adam's second decay")
    weight_decay: float = Field(2e-5, ge=0.0, le=1.0, description="decoupled weight decay")
    warmup: int = Field(50, ge=0, le=100_000, description="updates over which the learning rate rises linearly")
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="learning rate after the warm-up (the paper does not state this)"
    )
    clip: float = Field(1.0, gt=0.0, le=1000.0, description="largest gradient norm")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="arithmetic of the network; bf16 keeps master weights in fp32")
    points: int = Field(
        256, ge=0, le=100_000, description="points of a training sample drawn at random from the feature file's; 0 = all"
    )
    candidates: int = Field(
        96,
        ge=0,
        le=100_000,
        description="candidates of a training sample at most: the expert's and others at random (placements have 200); 0 = all",
    )
    validate_every: int = Field(100, ge=1, le=1_000_000, description="updates between two passes over the validation split")
    checkpoint_every: int = Field(25, ge=1, le=1_000_000, description="updates between two checkpoints")
    select: Literal["best", "last"] = Field("best", description="weights kept: lowest validation loss, or the last")
    augment: AugmentConfig = Field(default_factory=AugmentConfig, description="augmentation")
