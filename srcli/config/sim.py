"""Section ``sim`` of params.yaml: the simulated cell, its cameras, their noise and the gripper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from srcli.config.base import Section
from srcli.errors import ConfigError


class SimConfig(Section):
    """The simulated cell. Lengths in metres, speeds in metres or radians per second, times in steps of 1/240 s."""

    workspace_x: tuple[float, float] = Field(
        default=(0.276, 0.724), strict=False, description="Workspace bounds along x, metres."
    )
    workspace_y: tuple[float, float] = Field(
        default=(-0.224, 0.224), strict=False, description="Workspace bounds along y, metres."
    )
    camera_scale: float = Field(default=0.5, ge=0.1, le=1.0, description="Rendered fraction of the camera's 1280x720 pixels.")
    noise: bool = Field(default=True, description="Add sensor noise to every observation.")
    depth_noise: float = Field(default=1.0, ge=0.0, le=10.0, description="Factor on the depth camera's noise.")
    color_noise: float = Field(default=3.0, ge=0.0, le=64.0, description="Standard deviation of the colour noise, of 255.")
    dropout: bool = Field(default=True, description="Lose depth returns at depth edges and grazing angles (with noise only).")
    drop_interval: int = Field(default=50, ge=1, le=480, description="Steps between two objects dropped into a scene.")
    settle_speed: float = Field(default=0.005, gt=0.0, le=0.1, description="An object slower than this (m/s) counts as quiet.")
    settle_checks: int = Field(default=4, ge=1, le=50, description="Consecutive quiet checks, 12 steps apart, that end settling.")
    settle_limit: int = Field(default=1440, ge=60, le=24000, description="Most steps that one settling may take.")
    joint_speed: float = Field(default=3.0, gt=0.1, le=3.14, description="Joint speed of free motions, rad/s.")
    line_speed: float = Field(default=0.5, gt=0.05, le=1.0, description="Tip speed of straight motions, m/s.")
    finger_force: float = Field(default=40.0, ge=1.0, le=200.0, description="Closing force of each finger, N.")
    approach: float = Field(default=0.10, ge=0.03, le=0.2, description="Length of the straight approach onto a grasp, metres.")
    lift: float = Field(default=0.15, ge=0.05, le=0.3, description="Height of the straight lift after closing, metres.")
    contact_force: float = Field(default=60.0, ge=5.0, le=500.0, description="Force on the gripper (N) that stops a descent.")

    @classmethod
    def recorded(cls, values: Mapping[str, Any]) -> SimConfig:
        """The section as a file has it, maybe one of an earlier version, without keys that are gone."""
        return cls.model_validate({key: value for key, value in values.items() if key in cls.model_fields})

    @model_validator(mode="after")
    def _ordered(self) -> SimConfig:
        for axis in ("workspace_x", "workspace_y"):
            low, high = getattr(self, axis)
            if not low < high:
                raise ConfigError(f"sim.{axis}: lower bound {low} is not below upper bound {high}")
        return self
