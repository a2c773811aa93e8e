"""Section ``methods.rvt2``: the network with its virtual views, its training, and how it acts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from srcli.config.base import Section


class Rvt2NetworkConfig(Section):
    """Virtual views and the transformer of each of the two stages; the defaults are a reduced size."""

    size: int = Field(64, ge=16, le=512, description="pixels along each side of a virtual view (published: 224)")
    patch: int = Field(8, ge=2, le=32, description="pixels along each side of a token; it must divide the size (published: 14)")
    zoom: float = Field(
        4.0, gt=1.0, le=16.0, allow_inf_nan=False, description="magnification of the second stage's views (published: 4)"
    )
    splat: float = Field(
        0.003,
        gt=0.0,
        le=0.02,
        allow_inf_nan=False,
        description="radius of the disc that a point is drawn as, metres (published: 0.012 of half the cube's side)",
    )
    pixel_width: int = Field(
        16, ge=1, le=256, description="channels of a pixel before pixels are joined to tokens (published: 64)"
    )
    width: int = Field(64, ge=8, le=2048, description="channels of a token (published: 512)")
    heads: int = Field(4, ge=1, le=32, description="attention heads; they must divide the width (published: 8)")
    within: int = Field(1, ge=0, le=16, description="layers in which each view attends to itself (published: 4)")
    joint: int = Field(2, ge=1, le=16, description="layers in which all views and words attend to each other (published: 4)")
    expansion: int = Field(2, ge=1, le=8, description="width of the feed-forward layers in widths of a token (published: 4)")
    map_width: int = Field(48, ge=4, le=512, description="channels of the maps that heat maps are made from (published: 128)")
    yaw_bins: int = Field(
        24, ge=2, le=180, description="bins of yaw over half a turn (published: 72 over a whole turn, for each of three angles)"
    )
    tilt: float = Field(
        0.44,
        ge=0.0,
        le=1.2,
        allow_inf_nan=False,
        description="angle of tilted approaches from vertical, radians: candidates.tilt of the demonstrations",
    )
    features: bool = Field(
        False,
        description="draw the encoder's dense features and their cosines with the sentence into the views, beside colours (not "
        "published; rvt2_features)",
    )
    feature_width: int = Field(
        16, ge=1, le=256, description="channels that dense features are projected to before they are drawn (not published)"
    )
    feature_splat: float = Field(
        0.007, gt=0.0, le=0.05, allow_inf_nan=False, description="radius of the disc that a cell of features is drawn as, metres"
    )


class Rvt2TrainConfig(Section):
    """Training of both stages at once."""

    updates: int = Field(1500, ge=1, le=10_000_000, description="budget in updates (published: about 82,500)")
    batch_size: int = Field(8, ge=1, le=1024, description="decisions per update (published: 192)")
    lr: float = Field(2e-3, gt=0.0, le=1.0, description="peak learning rate of AdamW (published: LAMB, 2.4e-3 = 192 x 1.25e-5)")
    weight_decay: float = Field(1e-4, ge=0.0, le=1.0, description="decoupled weight decay (published: 1e-4)")
    warmup: int = Field(
        50, ge=0, le=100_000, description="updates over which the learning rate rises linearly (published: 2,000)"
    )
    clip: float = Field(1.0, gt=0.0, le=1000.0, description="largest gradient norm")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32",
        description="arithmetic of the network; bf16 keeps master weights in fp32, and is faster where the processor has it "
        "(published: mixed precision)",
    )
    sigma: float = Field(
        1.5, gt=0.0, le=20.0, allow_inf_nan=False, description="width of the heat maps' targets, pixels (published: 1.5)"
    )
    rotation: float = Field(1.0, ge=0.0, le=100.0, allow_inf_nan=False, description="weight of the losses of rotation")
    bin_noise: int = Field(
        2, ge=0, le=20, description="bins by which the yaw that tilt is predicted from may be wrong in training (published: 2)"
    )
    jitter: float = Field(
        0.1,
        ge=0.0,
        le=0.9,
        allow_inf_nan=False,
        description="largest shift of the second stage's centre from the true point, in half sides of the cube; at most 1 / zoom "
        "(published: 0.1)",
    )
    predicted: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="share of decisions whose second stage looks at the first stage's own point, if the true one stays in view "
        "(published: 0)",
    )
    shift: float = Field(
        0.03, ge=0.0, le=0.2, allow_inf_nan=False, description="metres, largest shift of a scene (published: 0.125)"
    )
    turn: float = Field(
        3.1416, ge=0.0, le=3.1416, description="radians, largest turn of a scene about the vertical (published: 0.79)"
    )
    validate_every: int = Field(250, ge=1, le=1_000_000, description="updates between two passes over the validation split")
    checkpoint_every: int = Field(50, ge=1, le=1_000_000, description="updates between two checkpoints")
    select: Literal["best", "last"] = Field("best", description="weights kept: lowest validation loss, or the last")


class Rvt2ActConfig(Section):
    """From heat maps to an action."""

    snap: bool = Field(False, description="take the nearest candidate instead of the network's own pose (rvt2_snapped)")
    avoid: float = Field(
        0.02,
        ge=0.0,
        le=0.2,
        allow_inf_nan=False,
        description="points of the cube so near to a pose that has failed in this episode are left out, beside those where a "
        "vertical grasp would repeat it, metres",
    )


class Rvt2Config(Section):
    """RVT-2: heat maps on virtual views, coarse to fine."""

    network: Rvt2NetworkConfig = Field(default_factory=Rvt2NetworkConfig, description="virtual views and network")
    train: Rvt2TrainConfig = Field(default_factory=Rvt2TrainConfig, description="training")
    act: Rvt2ActConfig = Field(default_factory=Rvt2ActConfig, description="from heat maps to an action")

    @model_validator(mode="after")
    def _in_view(self) -> Rvt2Config:
        most = 1.0 / self.network.zoom
        if self.train.jitter > most:
            raise ValueError(
                f"train.jitter = {self.train.jitter:g} would move the true point out of the second stage's cube; "
                f"at most 1 / network.zoom = {most:g}"
            )
        return self
