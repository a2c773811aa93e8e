"""The network as a source of grasps: an observation in, rows in a camera's frame out."""

from __future__ import annotations

import numpy as np
import torch

from srcli.actions.graspnet import GraspGroup
from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER
from srcli.errors import ConfigError, SceneError
from srcli.models.graspnet.checkpoint import load_graspnet
from srcli.models.graspnet.decode import decode
from srcli.models.graspnet.network import LEAST_POINTS, GraspNet
from srcli.perception.geometry import check_observation, unproject_view
from srcli.seeding import generator
from srcli.types import F32, Observation

POINTS = 20_000
_TABLE = 0.02
"""How far below the table points are still taken, metres: the network has learned with the table in sight."""


class GraspNetDetector:
    """Grasps of an observation, in the frame of its first camera.

    Args:
        model: with its weights, in evaluation mode.
        points: number of points drawn from the views for each call.
    """

    def __init__(self, model: GraspNet, points: int = POINTS) -> None:
        if points < LEAST_POINTS:
            raise ConfigError(f"{points} points for GraspNet", f"at least {LEAST_POINTS}")
        self.model, self.points = model, points

    def __call__(self, observation: Observation) -> GraspGroup:
        """Deterministic: the same views give the same points.

        Raises:
            SceneError: the observation is unusable, or nothing of the workspace is seen.
        """
        cloud = camera_cloud(observation, self.points)
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            return decode(self.model(torch.from_numpy(cloud)[None].to(device)))[0]


def camera_cloud(observation: Observation, count: int = POINTS) -> F32:
    """(count, 3) points of the workspace and its table from all views, in the frame of the first camera, metres.

    Drawn without repetition from a fixed seed; where there are fewer points all are taken and some repeated.
    """
    check_observation(observation)
    lower = np.array([*WORKSPACE_LOWER[:2], -_TABLE], dtype=np.float32)
    upper = np.array(WORKSPACE_UPPER, dtype=np.float32)
    views = zip(observation.depth, observation.K, observation.T_world_cam, strict=True)
    world = np.concatenate([unproject_view(depth, K, pose, lower, upper) for depth, K, pose in views])
    if len(world) == 0:
        raise SceneError("no camera sees the workspace", "check T_world_cam and depth")
    rng = generator((count, len(world)))
    chosen = rng.permutation(len(world))[:count]
    if len(chosen) < count:
        chosen = np.concatenate([chosen, rng.integers(0, len(world), count - len(chosen))])
    pose = observation.T_world_cam[0]
    cloud: F32 = ((world[chosen] - pose[:3, 3]) @ pose[:3, :3]).astype(np.float32)
    return cloud


def detector(argument: str, device: str | None = None) -> GraspNetDetector:
    """For the entry point ``graspnet`` of the group ``srcli.grasps``: ``graspnet:PATH`` of a checkpoint.

    Args:
        device: torch device; None: a GPU where there is one.

    Raises:
        ConfigError: no path was given.
    """
    if not argument:
        raise ConfigError("the source of grasps 'graspnet' needs weights", "write graspnet:PATH of a checkpoint-rs.tar")
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return GraspNetDetector(load_graspnet(argument, place))
