"""RVT-2, trained: cross-entropy of heat maps in both stages, of the bin of yaw, and of the class of tilt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from srcli.learning.keyposes import NEAR, KeyposeSample, KeyposeSet
from srcli.learning.loop import Settings, Task
from srcli.learning.schedule import Schedule
from srcli.methods.base import FitProgress, Fitted, TrainingData
from srcli.methods.fitting import fit_network
from srcli.methods.rvt2.cube import best_point, gaussians
from srcli.methods.rvt2.network import Rvt2Network, Scenes, build_network
from srcli.methods.rvt2.rotation import bin_yaw, encode, yaw_bin
from srcli.methods.rvt2.scenes import HALF, scenes_of, to_cube
from srcli.methods.rvt2.section import Rvt2Config
from srcli.seeding import generator

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

_IN_VIEW = 0.9
"""A true point this far from the middle of the second stage's cube, in half sides, is still well inside its views."""


@dataclass(frozen=True)
class Lesson:
    """A batch of demonstrations, and all that chance decides about it. Coordinates are the cube's.

    Attributes:
        points: (B, 3) the experts'; bins: (B,) of yaw; tilts: (B,); turns: (B,) True where rotation is learned: of picks.
        shift: (B, 3) of the second stage's centre; wrong: (B,) steps of the bin that tilt is predicted from; own: (B,) True where
            the second stage looks at the first one's point.
    """

    scenes: Scenes
    points: Float[Tensor, "b 3"]
    bins: Int[Tensor, " b"]
    tilts: Int[Tensor, " b"]
    turns: Bool[Tensor, " b"]
    shift: Float[Tensor, "b 3"]
    wrong: Int[Tensor, " b"]
    own: Bool[Tensor, " b"]


def lesson(samples: Sequence[KeyposeSample], config: Rvt2Config, rng: np.random.Generator | None) -> Lesson:
    """Demonstrations as a batch; without ``rng`` the second stage looks at the first one's points."""
    network, train, count = config.network, config.train, len(samples)
    turned = [encode(sample.pose[3:], network.tilt) for sample in samples]
    shift, wrong, own = np.zeros((count, 3)), np.zeros(count, np.int64), np.ones(count, np.bool_)
    if rng is not None:
        shift = rng.uniform(-train.jitter, train.jitter, (count, 3))
        wrong = rng.integers(-train.bin_noise, train.bin_noise + 1, count)
        own = rng.random(count) < train.predicted
    return Lesson(
        scenes=scenes_of([sample.given for sample in samples], network.features),
        points=torch.from_numpy(to_cube(np.stack([sample.pose[:3] for sample in samples]))),
        bins=torch.tensor([yaw_bin(yaw, network.yaw_bins) for yaw, _ in turned]),
        tilts=torch.tensor([tilt for _, tilt in turned]),
        turns=torch.tensor([not sample.given.place for sample in samples]),
        shift=torch.from_numpy(shift.astype(np.float32)),
        wrong=torch.from_numpy(wrong),
        own=torch.from_numpy(own),
    )


@dataclass(frozen=True)
class Losses:
    """(B,) cross-entropies of each decision; 0 where there is nothing to learn."""

    first: Float[Tensor, " b"]
    second: Float[Tensor, " b"]
    yaw: Float[Tensor, " b"]
    tilt: Float[Tensor, " b"]

    def total(self, weight: float) -> Float[Tensor, " b"]:
        """Their sum, those of rotation weighted."""
        return self.first + self.second + weight * (self.yaw + self.tilt)


@dataclass(frozen=True)
class Guess:
    """(B, 3) points of both stages and (B,) classes that the network gave; coordinates are the whole cube's."""

    first: Float[Tensor, "b 3"]
    second: Float[Tensor, "b 3"]
    bins: Int[Tensor, " b"]
    tilts: Int[Tensor, " b"]


def heat_loss(heat: Float[Tensor, "b 3 r r"], points: Float[Tensor, "b 3"], sigma: float) -> Float[Tensor, " b"]:
    """Mean over the views of the cross-entropy between heat maps and Gaussians about the projected points."""
    target = gaussians(points, heat.shape[-1], sigma).flatten(2)
    return -(target * heat.flatten(2).log_softmax(dim=-1)).sum(dim=-1).mean(dim=-1)


def losses(network: Rvt2Network, given: Lesson, sigma: float) -> tuple[Losses, Guess]:
    """What a batch costs, and what the network would do.

    Where the second stage was shown another cube than the first one's point asks for, its guess there stays the first one's.
    """
    seen = network.first(given.scenes)
    inside = (given.points.abs() < 1.0).all(dim=-1)
    first = heat_loss(seen.heat, given.points, sigma)
    with torch.no_grad():
        found, _ = best_point(seen.heat)
        stays = (network.closer(given.points, found).abs() < _IN_VIEW).all(dim=-1) & given.own
        centres = torch.where(stays[:, None], found, given.points + given.shift)
    seen = network.second(given.scenes, centres)
    there = network.closer(given.points, centres)
    # A scene may have been turned so that its keypose left the cube: nothing is asked then.
    second = heat_loss(seen.heat, there, sigma) * inside
    read = network.turned(seen, there)
    asked = given.turns & inside
    yaw = cross_entropy(network.yaws(read).float(), given.bins, reduction="none") * asked
    told = (given.bins + given.wrong) % network.config.yaw_bins
    tilt = cross_entropy(network.tilts(read, told).float(), given.tilts, reduction="none") * asked
    with torch.no_grad():
        there, _ = best_point(seen.heat)
        made = torch.where(stays[:, None], network.back(there, centres), found)
        read = network.turned(seen, there)
        bins = network.yaws(read).argmax(dim=-1)
        tilts = network.tilts(read, bins).argmax(dim=-1)
    return Losses(first, second, yaw, tilt), Guess(found, made, bins, tilts)


def validation(network: Rvt2Network, data: KeyposeSet, config: Rvt2Config) -> Callable[[], Mapping[str, float]] | None:
    """Loss and errors on what is kept back; None where nothing is.

    ``valid_loss`` is what training minimises; ``valid_metres`` and ``valid_coarse_metres`` are the median distances of the second
    and the first stage's points from the expert's, ``valid_near`` the share of the former within 2 cm, ``valid_radians`` the
    median error of yaw of picks, ``valid_tilt`` the share of their tilts that are right, both read about the expert's point where
    the first stage is off. Of several right poses the expert's is one.
    """
    if not len(data.valid):
        return None
    train = config.train
    numbers = [data.valid[start : start + train.batch_size] for start in range(0, len(data.valid), train.batch_size)]
    device = next(network.parameters()).device

    def measure() -> Mapping[str, float]:
        costs, metres, coarse, radians, tilts = [], [], [], [], []
        for chunk in numbers:
            given = _to(lesson([data.sample(int(index)) for index in chunk], config, None), device)
            cost, made = losses(network, given, train.sigma)
            costs.append(cost.total(train.rotation).cpu().numpy())
            metres.append((made.second - given.points).norm(dim=-1).cpu().numpy() * HALF)
            coarse.append((made.first - given.points).norm(dim=-1).cpu().numpy() * HALF)
            for row in torch.nonzero(given.turns)[:, 0].tolist():
                bins = config.network.yaw_bins
                apart = abs(bin_yaw(int(made.bins[row]), bins) - encode(data.sample(int(chunk[row])).pose[3:], 0.0)[0])
                radians.append(min(apart, math.pi - apart))
                tilts.append(int(made.tilts[row]) == int(given.tilts[row]))
        away = np.concatenate(metres)
        return {
            "valid_loss": float(np.concatenate(costs).mean()),
            "valid_metres": float(np.median(away)),
            "valid_coarse_metres": float(np.median(np.concatenate(coarse))),
            "valid_near": float((away <= NEAR).mean()),
            "valid_radians": float(np.median(radians)) if radians else math.nan,
            "valid_tilt": float(np.mean(tilts)) if tilts else math.nan,
        }

    return measure


def _to(given: Lesson, device: torch.device) -> Lesson:
    if device.type == "cpu":
        return given
    tensors = {name: getattr(given, name).to(device) for name in Lesson.__dataclass_fields__}
    return Lesson(**tensors)


def fit(
    section: Rvt2Config, data: TrainingData, *, seed: int, device: str, checkpoint: Path, progress: FitProgress | None
) -> Fitted:
    """Train both stages on keyposes. Weights are kept in half precision.

    Raises:
        SceneError: no features, none of single views, no training sample, or the loss is not finite.
        ConfigError: sizes that do not divide each other.
    """
    keyposes = KeyposeSet(data.features)
    assert data.features is not None
    train = section.train
    network = build_network(section.network, keyposes.feature_dim, HALF, seed).to(device)

    def draw(update: int) -> list[Lesson]:
        samples = keyposes.draw(update, train.batch_size, seed, turn=train.turn, shift=train.shift)
        return [_to(lesson(samples, section, generator((seed,), 2, update)), torch.device(device))]

    def loss(given: Lesson) -> Tensor:
        return losses(network, given, train.sigma)[0].total(train.rotation).mean()

    validate = validation(network, keyposes, section)
    settings = Settings(
        updates=train.updates,
        rate=Schedule(train.lr, train.updates, warmup=train.warmup),
        weight_decay=train.weight_decay,
        clip=train.clip,
        precision=train.precision,
        best="valid_loss" if validate is not None and train.select == "best" else None,
        validate_every=train.validate_every,
        checkpoint_every=train.checkpoint_every,
        parallel="operations",
    )
    return fit_network(
        Task(network, draw, loss, validate),
        settings,
        section,
        data.features,
        samples=len(keyposes.train),
        feature_dim=keyposes.feature_dim,
        titles={"valid_loss": "valid loss", "valid_near": "within 2 cm"},
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
        half=True,
    )
