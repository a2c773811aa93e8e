"""Section ``methods.act3d``: network, ghost points, training and choice. What the paper or its code has stands as "published"."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from srcli.config.base import Section

Metres = Annotated[float, Field(gt=0.0, le=1.0)]
Reach = Annotated[float, Field(ge=0.0, le=0.5)]


class RotaryConfig(Section):
    """The 3-D rotary code of positions."""

    scale: float = Field(
        100.0,
        gt=0.0,
        le=10_000.0,
        description="fastest phase, radians per metre (published: 1, at which a centimetre is 0.01 rad)",
    )
    base: float = Field(
        100.0, ge=1.0, le=100_000.0, description="fastest over slowest phase, as the base of the usual formula (published: 10000)"
    )
    over: Literal["head", "width"] = Field(
        "head",
        description="channels that share out the axes: those of each head, or all of them before heads are split (published)",
    )


class Act3DNetworkConfig(Section):
    """The network."""

    width: int = Field(
        72, ge=6, le=2048, description="model width; a multiple of 6 times the heads (published: 120, with `over: width`)"
    )
    heads: int = Field(3, ge=1, le=32, description="attention heads (published: 4)")
    text_layers: int = Field(1, ge=0, le=8, description="layers in which scene tokens read the sentence (published: 2)")
    ghost_layers: int = Field(2, ge=1, le=8, description="layers in which ghost points read the scene (published: 2)")
    query_layers: int = Field(2, ge=1, le=8, description="layers in which the query reads the scene (published: 2)")
    tied: bool = Field(True, description="one set of weights for all levels (published: true)")
    similarity: bool = Field(
        True, description="scene tokens carry the cosine of their feature and the sentence (published: false)"
    )
    offsets: bool = Field(
        True,
        description=(
            "tokens of the finer levels carry their offset from the anchor, so that what is read of them tells where it lies and "
            "not only what it is (published: false)"
        ),
    )
    rotary: RotaryConfig = Field(default_factory=RotaryConfig, description="3-D rotary code")
    rotation: Literal["bins", "6d", "quaternion"] = Field(
        "bins",
        description="how the query says the rotation: classes of yaw and tilt, six numbers, or a quaternion (published)",
    )
    yaws: int = Field(12, ge=2, le=180, description="classes of yaw in a half turn, for `bins`")
    tilt: float = Field(0.44, gt=0.0, le=0.8, description="radians from the vertical of the four tilted classes, for `bins`")


class GhostsConfig(Section):
    """Ghost points, and the scene tokens that they read, by level."""

    train: int = Field(100, ge=2, le=100_000, description="ghost points a level in training (published: 333)")
    height: float = Field(
        0.2,
        ge=0.05,
        le=1.0,
        description="metres above the table up to which ghost points lie (published: as high as keyposes do)",
    )
    balls: Annotated[tuple[Metres, ...], Field(strict=False)] = Field(
        (0.16, 0.04), max_length=4, description="diameters of the balls of the finer levels, metres (published: 0.16, 0.04)"
    )
    jitter: Annotated[tuple[Reach, ...], Field(strict=False)] = Field(
        (0.04, 0.012),
        max_length=4,
        description=(
            "metres by which the anchor of each finer level is moved at most along each axis in training, as the level before "
            "it errs (published: 0, the true position)"
        ),
    )
    temperature: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="metres of the soft labels at every level (published: 0.01); 0 = `sharpness` times a level's spacing",
    )
    sharpness: float = Field(
        0.5, gt=0.0, le=10.0, description="temperature of the labels over the mean spacing of the ghost points"
    )
    coarse_tokens: int = Field(
        400, ge=1, le=100_000, description="scene tokens of the first level, drawn from all cells (published: 1024 a view)"
    )
    fine_tokens: int = Field(200, ge=1, le=100_000, description="scene tokens of each finer level (published: 1024 a view)")
    reach: Annotated[tuple[Reach, ...], Field(strict=False)] = Field(
        (0.0, 0.05),
        max_length=4,
        description=(
            "metres around the anchor of each finer level in which its tokens are drawn, so that few of them still show the "
            "shape; 0 = the nearest (published)"
        ),
    )
    surface: bool = Field(
        True, description="the last level reads coloured surface points with the features of the nearest cell, in place of cells"
    )

    @model_validator(mode="after")
    def _paired(self) -> GhostsConfig:
        for name, values in (("jitter", self.jitter), ("reach", self.reach)):
            if len(values) != len(self.balls):
                raise ValueError(f"{name} has {len(values)} values for {len(self.balls)} balls")
        return self


class Act3DTrainConfig(Section):
    """Training."""

    updates: int = Field(2500, ge=1, le=10_000_000, description="budget in updates (published: 600000)")
    batch_size: int = Field(8, ge=1, le=4096, description="decisions of an update (published: up to 240)")
    lr: float = Field(3e-3, gt=0.0, le=1.0, description="learning rate of AdamW (published: 1e-4)")
    beta1: float = Field(0.9, ge=0.0, lt=1.0, description="AdamW's first decay")
    beta2: float = Field(0.99, ge=0.0, lt=1.0, description="AdamW's second decay")
    weight_decay: float = Field(5e-4, ge=0.0, le=1.0, description="decoupled weight decay (published: 5e-4)")
    warmup: int = Field(50, ge=0, le=100_000, description="updates over which the learning rate rises linearly")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="learning rate after the warm-up (published: constant)")
    clip: float = Field(1.0, gt=0.0, le=1000.0, description="largest gradient norm")
    rotation_weight: float = Field(
        1.0, ge=0.0, le=1000.0, description="weight of the loss of the rotation (published: 10, of a quaternion's squared error)"
    )
    half_turn: bool = Field(
        True,
        description="a regressed rotation is compared with the nearer of the jaws' two half turns (published: false)",
    )
    shift: float = Field(0.03, ge=0.0, le=0.2, description="metres by which a sample is moved at most along x and y")
    turn: float = Field(3.1416, ge=0.0, le=3.1416, description="radians by which a sample is turned at most about the vertical")
    validate_every: int = Field(200, ge=1, le=1_000_000, description="updates between two passes over the validation split")
    validate_most: int = Field(
        64, ge=1, le=1_000_000, description="decisions of the validation split that such a pass takes at most"
    )
    checkpoint_every: int = Field(50, ge=1, le=1_000_000, description="updates between two checkpoints")
    select: Literal["best", "last"] = Field("best", description="weights kept: lowest validation loss, or the last")


class Act3DActConfig(Section):
    """From the network to an action."""

    ghosts: int = Field(
        1500,
        ge=2,
        le=100_000,
        description="ghost points a level when it acts, and when its errors are measured in training (published: 3333)",
    )
    snap: bool = Field(False, description="take the nearest candidate of the action prior in place of the network's own pose")


class Act3DConfig(Section):
    """Act3D: ghost points from coarse to fine."""

    network: Act3DNetworkConfig = Field(default_factory=Act3DNetworkConfig, description="the network")
    ghosts: GhostsConfig = Field(default_factory=GhostsConfig, description="ghost points and scene tokens")
    train: Act3DTrainConfig = Field(default_factory=Act3DTrainConfig, description="training")
    act: Act3DActConfig = Field(default_factory=Act3DActConfig, description="from the network to an action")
