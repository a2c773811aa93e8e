"""The network: where to grasp and from which side (stage 1), then how (stage 2).

From the description of GraspNet-baseline: 20,000 points -> PointNet++ -> 1024 seeds with 256 features; ApproachNet gives
objectness and a score for each of 300 views; the points in cylinders along the best view (radius 5 cm, four depths) give, for
each of 12 angles, score, angle class and width (OperationNet) and a tolerance (ToleranceNet).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from srcli.models.graspnet.layers import FeaturePropagation, SetAbstraction, SharedMLP
from srcli.models.graspnet.ops import cylinder_query, gather
from srcli.models.graspnet.views import approach_frames, view_directions

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

VIEWS, ANGLES = 300, 12
DEPTHS = (0.01, 0.02, 0.03, 0.04)
"""Depths of the fingertips beyond a seed, metres; also the upper ends of the cylinders."""
CYLINDER_RADIUS, CYLINDER_LOW, CYLINDER_SAMPLES = 0.05, -0.02, 64
LEAST_POINTS = 2048


@dataclass(frozen=True)
class Prediction:
    """Raw output for a batch of clouds; S seeds, A = 12 angles, D = 4 depths.

    Attributes:
        seeds: (B, S, 3) in the frame of the cloud, metres.
        seed_index: (B, S) their indices among the input points.
        objectness: (B, 2, S) logits: not on an object that can be grasped, on one.
        views: (B, S, 300) score per view.
        approach: (B, S, 3) unit approach direction of the best view.
        score, angle, width, tolerance: (B, A, S, D): grasp score, logit of the angle's class, opening and tolerance in metres.
    """

    seeds: Tensor
    seed_index: Tensor
    objectness: Tensor
    views: Tensor
    approach: Tensor
    score: Tensor
    angle: Tensor
    width: Tensor
    tolerance: Tensor


@dataclass(frozen=True)
class Seen:
    """Stage 1 for a batch of clouds: see :class:`Prediction`."""

    seeds: Tensor
    seed_index: Tensor
    objectness: Tensor
    views: Tensor


class Backbone(nn.Module):
    """PointNet++ with four set abstractions and two propagations; 1024 seeds with 256 features."""

    def __init__(self) -> None:
        super().__init__()
        self.sa1 = SetAbstraction(2048, 0.04, 64, (0, 64, 64, 128))
        self.sa2 = SetAbstraction(1024, 0.1, 32, (128, 128, 128, 256))
        self.sa3 = SetAbstraction(512, 0.2, 16, (256, 128, 128, 256))
        self.sa4 = SetAbstraction(256, 0.3, 16, (256, 128, 128, 256))
        self.fp1 = FeaturePropagation(512, 256, 256)
        self.fp2 = FeaturePropagation(512, 256, 256)

    def forward(
        self, cloud: Float[Tensor, "b n 3"]
    ) -> tuple[Float[Tensor, "b s 3"], Float[Tensor, "b 256 s"], Int[Tensor, "b s"]]:
        """Seeds, their features, their indices in the cloud."""
        xyz1, features1, index1 = self.sa1(cloud, None)
        xyz2, features2, index2 = self.sa2(xyz1, features1)
        xyz3, features3, _ = self.sa3(xyz2, features2)
        xyz4, features4, _ = self.sa4(xyz3, features3)
        features3 = self.fp1(xyz3, xyz4, features3, features4)
        features2 = self.fp2(xyz2, xyz3, features2, features3)
        return xyz2, features2, torch.gather(index1, 1, index2)


class _Head(nn.Module):
    """Three 1x1 convolutions with batch normalisation and ReLU after the first two."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(widths[0], widths[1], 1)
        self.conv2 = nn.Conv1d(widths[1], widths[2], 1)
        self.conv3 = nn.Conv1d(widths[2], widths[3], 1)
        self.bn1 = nn.BatchNorm1d(widths[1])
        self.bn2 = nn.BatchNorm1d(widths[2])

    def forward(self, x: Float[Tensor, "b c s"]) -> Float[Tensor, "b d s"]:
        """Per point."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.conv3(x)
        return out


class ApproachNet(_Head):
    """Objectness (2) and scores of the views (300) of each seed."""

    def __init__(self) -> None:
        super().__init__(256, 256, 2 + VIEWS, 2 + VIEWS)


class OperationNet(_Head):
    """Score, angle class and width for each of 12 angles."""

    def __init__(self) -> None:
        super().__init__(256, 128, 128, 3 * ANGLES)


class ToleranceNet(_Head):
    """How far a grasp may be off and still hold, for each of 12 angles."""

    def __init__(self) -> None:
        super().__init__(256, 128, 128, ANGLES)


class CloudCrop(nn.Module):
    """Points in cylinders along each seed's approach, in the approach's frame, through a shared MLP; maximum over the points."""

    def __init__(self) -> None:
        super().__init__()
        self.mlps = SharedMLP(3, 64, 128, 256)

    def forward(
        self, seeds: Float[Tensor, "b s 3"], frames: Float[Tensor, "b s 3 3"], cloud: Float[Tensor, "b n 3"]
    ) -> Float[Tensor, "b 256 s 4"]:
        """One feature per seed and depth."""
        index = cylinder_query(seeds, frames, cloud, CYLINDER_RADIUS, CYLINDER_LOW, DEPTHS, CYLINDER_SAMPLES)
        local = (gather(cloud, index) - seeds[:, :, None, None]) @ frames[:, :, None]
        flat = local.flatten(1, 2).permute(0, 3, 1, 2)  # (b, 3, s * 4, samples)
        pooled: Tensor = self.mlps(flat).amax(dim=-1)
        return pooled.reshape(*pooled.shape[:2], seeds.shape[1], len(DEPTHS))


class ViewEstimator(nn.Module):
    """Stage 1: seeds and the side from which to approach each."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.vpmodule = ApproachNet()


class GraspGenerator(nn.Module):
    """Stage 2: angle, depth, width, score and tolerance."""

    def __init__(self) -> None:
        super().__init__()
        self.crop = CloudCrop()
        self.operation = OperationNet()
        self.tolerance = ToleranceNet()


class GraspNet(nn.Module):
    """The whole network. Parameter names are those of the public checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.view_estimator = ViewEstimator()
        self.grasp_generator = GraspGenerator()

    def score_views(self, cloud: Float[Tensor, "b n 3"]) -> Seen:
        """Stage 1: where to grasp, and from which side.

        Args:
            cloud: metres, in a camera's frame; N >= 2048, the original uses 20,000.

        Raises:
            ValueError: too few points.
        """
        if cloud.shape[1] < LEAST_POINTS:
            raise ValueError(f"a cloud of {cloud.shape[1]} points, at least {LEAST_POINTS} are needed")
        seeds, features, index = self.view_estimator.backbone(cloud)
        stage1 = self.view_estimator.vpmodule(features)
        return Seen(seeds, index, stage1[:, :2], stage1[:, 2:].transpose(1, 2))

    def operate(self, cloud: Float[Tensor, "b n 3"], seen: Seen, approach: Float[Tensor, "b s 3"]) -> Prediction:
        """Stage 2: how to grasp at each seed along an approach."""
        seeds = seen.seeds
        shape = (seeds.shape[1], len(DEPTHS))
        cropped = self.grasp_generator.crop(seeds, approach_frames(approach), cloud).flatten(2)
        operation = self.grasp_generator.operation(cropped).reshape(len(cloud), 3 * ANGLES, *shape)
        tolerance = self.grasp_generator.tolerance(cropped).reshape(len(cloud), ANGLES, *shape)
        score, angle, width = operation.split(ANGLES, dim=1)
        return Prediction(seeds, seen.seed_index, seen.objectness, seen.views, approach, score, angle, width, tolerance)

    def forward(self, cloud: Float[Tensor, "b n 3"]) -> Prediction:
        """Predict for clouds in a camera's frame (z away from the camera), each seed approached from its best view.

        Args:
            cloud: metres; N >= 2048, the original uses 20,000.

        Raises:
            ValueError: too few points.
        """
        seen = self.score_views(cloud)
        approach = -view_directions(VIEWS, cloud.device, cloud.dtype)[seen.views.argmax(dim=-1)]
        return self.operate(cloud, seen, approach)
