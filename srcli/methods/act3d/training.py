"""Act3D, trained: cross-entropy over the ghost points of each level, and the rotation (section 3.3).

The anchors of the finer levels are the expert's position, moved at random as far as the level before errs: at test time they
follow a prediction, and a level that has only seen the true position around itself cannot mend an error (the published code
trains so; jitter 0 is as published).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from srcli.learning.keyposes import NEAR, KeyposeSample, KeyposeSet
from srcli.learning.loop import Settings, Task
from srcli.learning.schedule import Schedule
from srcli.methods.act3d.decode import locate
from srcli.methods.act3d.ghosts import soft_labels
from srcli.methods.act3d.network import Act3DNetwork, Asked, Tokens, build_network
from srcli.methods.act3d.scene import (
    MIDDLE,
    level_ghosts,
    level_tokens,
    stack_asked,
    stack_places,
    stack_tokens,
    temperature,
)
from srcli.methods.act3d.section import Act3DConfig
from srcli.methods.base import FitProgress, Fitted, TrainingData
from srcli.methods.fitting import fit_network
from srcli.seeding import generator
from srcli.types import F32

PART = 8
"""Decisions that a processor works on at once."""
_GHOSTS, _VALID = 11, 12
"""Streams of the ghost points and tokens of an update, and of a decision of the validation split."""


@dataclass(frozen=True)
class Level:
    """What the network is given at one level, and what is right. Shapes as in :meth:`Act3DNetwork.forward`; labels (B, S)."""

    tokens: Tokens
    ghosts: Tensor
    anchors: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Part:
    """Some decisions of a batch of ``size``: the levels, the sentences, the expert's quaternions (B, 4)."""

    levels: tuple[Level, ...]
    asked: Asked
    quaternions: Tensor
    size: int


class Teacher:
    """Draws batches, and says how wrong a network is on them."""

    def __init__(self, network: Act3DNetwork, section: Act3DConfig, data: KeyposeSet, seed: int, device: str) -> None:
        self.network, self.section, self.data, self.seed, self.device = network, section, data, seed, device

    def draw(self, update: int) -> list[Part]:
        """The batch of an update."""
        train = self.section.train
        samples = self.data.draw(update, train.batch_size, self.seed, turn=train.turn, shift=train.shift)
        rng = generator((self.seed,), _GHOSTS, update)
        return [self.part(samples[i : i + PART], rng, len(samples)) for i in range(0, len(samples), PART)]

    def part(self, samples: Sequence[KeyposeSample], rng: np.random.Generator, size: int) -> Part:
        """Some samples with ghost points, anchors and tokens drawn for them."""
        config = self.section.ghosts
        given, positions = [each.given for each in samples], [each.pose[:3] for each in samples]
        levels = []
        for level in range(1 + len(config.balls)):
            anchors = positions if level else [MIDDLE] * len(samples)
            if level:
                reach = config.jitter[level - 1]
                anchors = [(p + rng.uniform(-reach, reach, 3)).astype(np.float32) for p in positions]
            points = [level_ghosts(level, anchor, config.train, config, rng) for anchor in anchors]
            tokens = [level_tokens(g, level, a, config, rng) for g, a in zip(given, anchors, strict=True)]
            heat = temperature(level, config.train, config)
            labels = np.stack([soft_labels(s, p, heat) for s, p in zip(points, positions, strict=True)])
            levels.append(
                Level(
                    stack_tokens(tokens).to(self.device),
                    stack_places(points).to(self.device),
                    stack_places(anchors).to(self.device),
                    torch.from_numpy(labels).to(self.device),
                )
            )
        quaternions = torch.from_numpy(np.stack([each.pose[3:] for each in samples])).to(self.device)
        return Part(tuple(levels), stack_asked(given).to(self.device), quaternions, size)

    def losses(self, part: Part) -> tuple[Tensor, Tensor]:
        """Cross-entropy over ghost points, the mean over the levels, and the rotation's loss, 0 for placements; (B,) each."""
        query = self.network.first_query(len(part.quaternions))
        total = torch.zeros(len(part.quaternions), device=self.device)
        for number, level in enumerate(part.levels):
            logits, query = self.network(number, level.tokens, part.asked, level.ghosts, query, level.anchors)
            total = total - (level.labels * log_softmax(logits.float(), dim=1)).sum(dim=1)
        said = self.network.rotate(query[:, 0]).float()
        turned = self.network.rotation.loss(said, part.quaternions, self.section.train.half_turn)
        return total / len(part.levels), turned * (part.asked.place == 0)

    def loss(self, part: Part) -> Tensor:
        """A part's share of the batch's loss."""
        position, rotation = self.losses(part)
        return (position + self.section.train.rotation_weight * rotation).sum() / part.size

    def validate(self) -> dict[str, float]:
        """On the validation split as it was recorded: the loss, and the error of what would be done, metres and radians.

        The loss is that of training, with as many ghost points; errors are those of acting, with as many as it takes.
        """
        section, most = self.section, self.section.train.validate_most
        chosen = self.data.valid[np.linspace(0, len(self.data.valid) - 1, min(most, len(self.data.valid))).astype(np.int64)]
        losses, errors, angles = [], [], []
        for start in range(0, len(chosen), PART):
            samples = [self.data.sample(int(i)) for i in chosen[start : start + PART]]
            rngs = [generator((self.seed,), _VALID, int(i)) for i in chosen[start : start + PART]]
            part = self.part(samples, rngs[0], len(samples))
            losses.append(float(self.loss(part)) * len(samples))
            found = locate(self.network, [each.given for each in samples], section.ghosts, section.act.ghosts, rngs, self.device)
            for sample, each in zip(samples, found, strict=True):
                errors.append(float(np.linalg.norm(each.position - sample.pose[:3])))
                if not sample.given.place:
                    angles.append(self.angle(each.said, sample.pose[3:]))
        return {
            "valid_loss": sum(losses) / len(chosen),
            "valid_error": float(np.median(errors)),
            "valid_near": float(np.mean(np.array(errors) <= NEAR)),
            "valid_angle": float(np.median(angles)) if angles else float("nan"),
        }

    def angle(self, said: F32, quaternion: F32) -> float:
        """Between the most likely rotation and the expert's, either way round, radians."""
        rotations, likely = self.network.rotation.meant(said)
        return angle_between(rotations[int(np.argmax(likely))], quaternion)


def angle_between(one: F32, other: F32) -> float:
    """Between two grasps' rotations xyzw, the smaller of the two that a half turn of the jaws makes, radians."""
    x, y, z, w = other.astype(np.float64)
    turned = np.array([y, -x, w, -z])
    dot = max(abs(float(one @ other)), abs(float(one @ turned)))
    return 2.0 * float(np.arccos(min(1.0, dot)))


def fit(
    section: Act3DConfig, data: TrainingData, *, seed: int, device: str, checkpoint: Path, progress: FitProgress | None
) -> Fitted:
    """Train the network on a features file with views.

    Raises:
        SceneError: no features, no training sample, or the loss is not finite.
        ArtifactError: the features were made without whole views.
        ConfigError: the section contradicts itself.
    """
    keyposes, train = KeyposeSet(data.features), section.train
    assert data.features is not None
    network = build_network(section.network, keyposes.feature_dim, 1 + len(section.ghosts.balls), seed).to(device)
    teacher = Teacher(network, section, keyposes, seed, device)
    validated = len(keyposes.valid) > 0
    settings = Settings(
        updates=train.updates,
        rate=Schedule(train.lr, train.updates, train.warmup, train.schedule, floor=0.02),
        weight_decay=train.weight_decay,
        betas=(train.beta1, train.beta2),
        clip=train.clip,
        best="valid_loss" if validated and train.select == "best" else None,
        validate_every=train.validate_every,
        checkpoint_every=train.checkpoint_every,
        advice="lower methods.act3d.train.lr",
    )
    return fit_network(
        Task(network, teacher.draw, teacher.loss, teacher.validate if validated else None),
        settings,
        section,
        data.features,
        samples=len(keyposes.train),
        feature_dim=keyposes.feature_dim,
        titles={"valid_loss": "valid loss", "valid_error": "error (m)", "valid_near": "within 2 cm"},
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
        # The number of ghost points that it acts with is that of the validation's errors, too.
        acting={"act": {"snap"}},
    )
