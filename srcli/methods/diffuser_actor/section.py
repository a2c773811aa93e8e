"""Section ``methods.diffuser_actor``: the network, what noise does to a pose, training, and how it acts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from srcli.config.base import Section


class DiffuserNetworkConfig(Section):
    """Sizes of the network, and what ours has beside the published one."""

    width: int = Field(72, ge=6, le=2048, description="channels (published: 120)")
    heads: int = Field(3, ge=1, le=64, description="attention heads; they must divide the width (published: 8)")
    language_layers: int = Field(1, ge=1, le=16, description="layers in which cells read the sentence's tokens (published: 2)")
    gripper_layers: int = Field(1, ge=1, le=16, description="layers in which the gripper's token reads the scene (published: 3)")
    cross_layers: int = Field(2, ge=1, le=16, description="layers in which a noisy pose reads the whole scene (published: 2)")
    self_layers: int = Field(2, ge=1, le=16, description="layers among a noisy pose and the sampled cells (published: 4)")
    head_layers: int = Field(1, ge=1, le=16, description="further ones for position and rotation apart (published: 2)")
    feedforward: int = Field(1, ge=1, le=8, description="width of the feed-forward layers, in channels' widths (published: 1)")
    sampled: float = Field(0.2, gt=0.0, le=1.0, description="share of the cells in those last layers (published: 0.2)")
    sampling: Literal["random", "farthest"] = Field(
        "random", description="how they are sampled: at random, or farthest-point in feature space, as published"
    )
    rotary: Literal["heads", "width"] = Field(
        "heads", description="rotary code: all three axes in each head, or a third of all channels per axis, as published"
    )
    rotary_scale: float = Field(
        150.0, gt=0.0, le=10_000.0, description="its fastest phase, radians per metre (published: 1, which tells no centimetres)"
    )
    rotary_base: float = Field(100.0, gt=1.0, le=1e6, description="fastest through slowest phase, about (published: 10000)")
    relative: bool = Field(
        True, description="values turn with the rotary code too, so that a pose reads where cells lie from it (not in the paper)"
    )
    positions: bool = Field(True, description="cells also carry their position as a feature (not in the paper)")
    similarity: bool = Field(True, description="cells also carry their cosine with the sentence (not in the paper)")


class DiffuserNoiseConfig(Section):
    """How poses are noised, and the way back."""

    flow: bool = Field(False, description="flow matching on straight paths, as the authors' 3D FlowMatch Actor has it")
    steps: int = Field(100, ge=2, le=10_000, description="steps of the diffusion (published: 100)")
    position_end: float = Field(
        0.2,
        gt=0.0,
        lt=1.0,
        description=(
            "last beta of the positions' schedule (published: 0.02, which leaves half of the signal's power at the last step, "
            "while sampling begins with noise alone)"
        ),
    )


class DiffuserTrainConfig(Section):
    """Training."""

    updates: int = Field(4000, ge=1, le=10_000_000, description="budget (published: 600000)")
    batch_size: int = Field(8, ge=1, le=1024, description="scenes per update (published: 8 episodes on each of 6 cards)")
    draws: int = Field(32, ge=1, le=4096, description="noisy poses per scene, which is encoded once (published: 1)")
    cells: int = Field(400, ge=0, le=100_000, description="cells of a training scene drawn at random; 0 = all")
    lr: float = Field(3e-3, gt=0.0, le=1.0, description="learning rate of AdamW at its peak (published: 1e-4, constant)")
    warmup: int = Field(100, ge=0, le=100_000, description="updates over which it rises; it then falls by half a cosine")
    weight_decay: float = Field(5e-4, ge=0.0, le=1.0, description="decoupled weight decay (published: 5e-4)")
    clip: float = Field(1.0, gt=0.0, le=1000.0, description="largest gradient norm")
    position_weight: float = Field(30.0, ge=0.0, le=1e4, description="weight of the positions' L1 loss (published: 30)")
    rotation_weight: float = Field(10.0, ge=0.0, le=1e4, description="weight of the rotations' L1 loss (published: 10)")
    shift: float = Field(0.03, ge=0.0, le=0.2, description="metres, largest shift of a training scene along x and y")
    turn: float = Field(3.1416, ge=0.0, le=3.1416, description="radians, largest turn of a training scene about the vertical")
    validate_every: int = Field(250, ge=1, le=1_000_000, description="updates between two passes over the validation split")
    checkpoint_every: int = Field(250, ge=1, le=1_000_000, description="updates between two checkpoints")
    select: Literal["best", "last"] = Field("last", description="weights kept: lowest validation loss, or the last")


class DiffuserActConfig(Section):
    """From samples to a pose."""

    snap: bool = Field(False, description="take the candidate nearest to the pose; this lends the method our action prior")
    steps: int = Field(10, ge=1, le=10_000, description="steps of denoising (published: 100), or of Euler with flow")
    samples: int = Field(32, ge=1, le=4096, description="poses drawn, of which the one in the densest place is taken")
    radius: float = Field(0.02, gt=0.0, le=1.0, description="of that density, metres; 1 rad counts as 0.1 m")
    rounds: int = Field(4, ge=1, le=100, description="drawings at most, where all poses of one are like poses that failed")


class DiffuserConfig(Section):
    """3D Diffuser Actor: network, noise, training, acting."""

    network: DiffuserNetworkConfig = Field(default_factory=DiffuserNetworkConfig, description="the network")
    noise: DiffuserNoiseConfig = Field(default_factory=DiffuserNoiseConfig, description="noise on poses and the way back")
    train: DiffuserTrainConfig = Field(default_factory=DiffuserTrainConfig, description="training")
    act: DiffuserActConfig = Field(default_factory=DiffuserActConfig, description="from samples to a pose")
