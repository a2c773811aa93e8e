"""Section ``methods.vlp``: how things are found, the network, its training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from srcli.config.base import Section
from srcli.config.regions import CellRegionConfig


class VlpNetworkConfig(Section):
    """The two groundings: which thing is the reference, and where around it the relation is."""

    hidden: int = Field(64, ge=1, le=4096, description="hidden layer between a relation's words and its distribution")
    adapter: int = Field(
        0,
        ge=0,
        le=4096,
        description="hidden layer of a residual adapter of things before they are compared with the reference; 0 = none "
        "(published: about 0.26 M parameters, as 256 has at 512 channels)",
    )
    temperature: float = Field(0.05, gt=0.0, le=10.0, description="initial temperature of the reference's softmax; it is learned")
    least_width: float = Field(
        0.05, gt=0.0, le=10.0, description="least standard deviation of a distance, in units of both half sizes"
    )
    floor: float = Field(
        1e-4, gt=0.0, lt=1.0, description="added to each relation's density before densities of several relations are multiplied"
    )
    taken: float = Field(
        0.01,
        gt=0.0,
        le=1.0,
        description="factor on the density where another thing than the reference lies: such a place is not free",
    )


class VlpTrainConfig(Section):
    """Training by the negative log-likelihood of the demonstrated place."""

    target: Literal["expert", "valid"] = Field(
        "expert", description="whose likelihood: the demonstrated place (published), or all that are right in equal parts"
    )
    batch_size: int = Field(32, ge=1, le=1024, description="samples per update")
    updates: int = Field(1000, ge=1, le=10_000_000, description="budget in updates")
    lr: float = Field(9e-3, gt=0.0, le=1.0, description="learning rate of AdamW")
    weight_decay: float = Field(1e-4, ge=0.0, le=1.0, description="decoupled weight decay")
    warmup: int = Field(50, ge=0, le=100_000, description="updates over which the learning rate rises linearly")
    clip: float = Field(1.0, gt=0.0, le=1000.0, description="largest gradient norm")
    turn: float = Field(
        3.1416,
        ge=0.0,
        le=3.1416,
        description="radians, largest rotation of a sample about the vertical; relations that depend on the view want 0",
    )
    validate_every: int = Field(50, ge=1, le=1_000_000, description="updates between two passes over the validation split")
    checkpoint_every: int = Field(100, ge=1, le=1_000_000, description="updates between two checkpoints")
    select: Literal["best", "last"] = Field("best", description="weights kept: lowest validation loss, or the last")


class VlpConfig(Section):
    """VLP: a placement map, the product of the relations' polar distributions around the references."""

    regions: CellRegionConfig = Field(default_factory=CellRegionConfig, description="things without names")
    network: VlpNetworkConfig = Field(default_factory=VlpNetworkConfig, description="the two groundings")
    train: VlpTrainConfig = Field(default_factory=VlpTrainConfig, description="training")
