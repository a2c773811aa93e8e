"""Section ``methods.cliport``: maps, the two streams, training, and how a heat map becomes a pose."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from srcli.config.base import Section


class CliportNetworkConfig(Section):
    """Maps and streams. Both streams halve the map once per width after the first."""

    pixels: int = Field(112, ge=16, le=640, description="side of the height map, pixels (published: 320 x 160)")
    pixel: float = Field(0.004, ge=0.001, le=0.05, description="edge of a pixel, metres (published: 0.003125)")
    fold: Literal[1, 2, 4] = Field(
        2, description="pixels along a side that the streams take as one, with as many more channels in and out (published: 1)"
    )
    spatial: tuple[int, ...] = Field(
        (24, 48, 96),
        min_length=2,
        max_length=6,
        strict=False,
        description="widths of the spatial stream, largest size first (published: 39.5 M, as 32, 64, 128, 256, 512, 672)",
    )
    semantic: tuple[int, ...] = Field(
        (24, 48, 96),
        min_length=2,
        max_length=6,
        strict=False,
        description="widths of the semantic stream, largest size first (published: 52.9 M, as 32, 64, 128, 512, 1024, 1792)",
    )
    blocks: int = Field(1, ge=1, le=4, description="residual blocks per size and way of the spatial stream (published: 2)")
    gates: int = Field(3, ge=0, le=6, description="sizes, from the deepest, at which the sentence gates channels (published: 3)")
    yaws: int = Field(12, ge=1, le=36, description="bins of a grasp's yaw over half a turn (published: 1; 36 a turn for placing)")
    norm: Literal["group", "none"] = Field("group", description="normalisation of the spatial stream (published: none)")

    @model_validator(mode="after")
    def _fitting(self) -> CliportNetworkConfig:
        if len(self.spatial) != len(self.semantic):
            raise ValueError("spatial and semantic need equally many widths: the streams meet at every size")
        if min(self.spatial + self.semantic) < 1 or max(self.spatial + self.semantic) > 4096:
            raise ValueError("widths of spatial and semantic must lie in 1 .. 4096")
        if self.pixels % self.stride:
            raise ValueError(f"pixels must be a multiple of {self.stride}: fold times a halving for every width after the first")
        return self

    @property
    def stride(self) -> int:
        """Pixels of the map per cell of the smallest size."""
        stride: int = self.fold * 2 ** (len(self.spatial) - 1)
        return stride


class CliportTrainConfig(Section):
    """Training of both modules at once: Adam treats each parameter alone, so one optimiser does what the published two do."""

    updates: int = Field(1800, ge=1, le=10_000_000, description="budget in updates (published: 201,000 of one sample)")
    batch_size: int = Field(8, ge=1, le=1024, description="samples per update, half of them placements where there are any")
    lr: float = Field(5e-4, gt=0.0, le=1.0, description="learning rate of Adam (published: 1e-4)")
    warmup: int = Field(30, ge=0, le=100_000, description="updates over which the learning rate rises linearly (published: 0)")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="learning rate after that (published: constant)")
    weight_decay: float = Field(1e-4, ge=0.0, le=1.0, description="decoupled weight decay (published: 0)")
    clip: float = Field(5.0, gt=0.0, le=1000.0, description="largest norm of the gradient (published: none)")
    turn: float = Field(
        3.1416, ge=0.0, le=3.1416, description="radians, largest turn of a sample (published: a spread of 60 deg)"
    )
    shift: float = Field(0.03, ge=0.0, le=0.2, description="metres, spread of a sample's horizontal shift")
    validate_every: int = Field(250, ge=1, le=1_000_000, description="updates between two passes over the validation split")
    checkpoint_every: int = Field(50, ge=1, le=1_000_000, description="updates between two checkpoints")
    select: Literal["best", "last"] = Field("best", description="weights kept: lowest validation loss, or the last")


class CliportActConfig(Section):
    """From a heat map to a pose."""

    snap: bool = Field(False, description="take the candidate nearest to the pose: lends our action prior")
    depth: float = Field(0.025, ge=0.0, le=0.06, description="how far fingers reach below what the map shows, metres")
    floor: float = Field(0.003, ge=0.0, le=0.05, description="least height of fingertips, metres")
    clearance: float = Field(0.004, ge=0.0, le=0.03, description="height of a release above what the map shows, metres")


class CliportConfig(Section):
    """CLIPort: heat maps over pixels and yaws from a height map and a sentence."""

    network: CliportNetworkConfig = Field(default_factory=CliportNetworkConfig, description="maps and streams")
    train: CliportTrainConfig = Field(default_factory=CliportTrainConfig, description="training")
    act: CliportActConfig = Field(default_factory=CliportActConfig, description="from a heat map to a pose")
