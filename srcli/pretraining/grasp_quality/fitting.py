"""Fitting the network to outcomes, and making its answers probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srcli.actions.closing import ClosingNetwork, Regions, inputs
from srcli.config.pretrain import GraspConfig
from srcli.learning.loop import Loop, Progress, Settings, Task
from srcli.learning.schedule import Schedule
from srcli.pretraining.grasp_quality.network import Closing
from srcli.pretraining.grasp_quality.outcomes import Outcomes
from srcli.seeding import GRASP_FIT, generator
from srcli.types import F32, F64, I64

_JITTER = 0.001
_CLIP_NORM = 2.0
_REPORT_EVERY = 20
_STEEPEST = 100.0
"""Bound of the scale and of the shift that calibration finds."""
_Batch = tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]
"""What the network is called with, and (B,) what held."""


def thinned(regions: Regions, most: int, rng: np.random.Generator | None = None) -> Regions:
    """The regions with at most ``most`` points each: evenly spaced ones, or drawn ones when there is a generator."""
    total, stored = regions.points.shape[:2]
    points = np.zeros((total, most, 3), dtype=np.float32)
    if rng is None:
        for row, count in enumerate(regions.count):
            there = min(int(count), most)
            points[row, :there] = regions.points[row, np.arange(there) * int(count) // max(there, 1)]
    else:
        order = rng.random((total, stored))
        order[np.arange(stored) >= regions.count[:, None]] = 2.0
        chosen = np.argsort(order, axis=1)[:, :most]
        points[:] = np.take_along_axis(regions.points, chosen[..., None], axis=1)
    count = np.minimum(regions.count, most)
    points[np.arange(most) >= count[:, None]] = 0.0
    return Regions(points, count, regions.grasps, regions.features)


def varied(regions: Regions, rng: np.random.Generator) -> Regions:
    """Mirrored at random along the closing direction and across it, which changes no outcome, and shaken by a millimetre."""
    sign = np.where(rng.random((len(regions), 1, 3)) < 0.5, -1.0, 1.0)
    sign[..., 2] = 1.0
    shaken = regions.points * sign + rng.normal(0.0, _JITTER, regions.points.shape)
    shaken[np.arange(regions.points.shape[1]) >= regions.count[:, None]] = 0.0
    return Regions(shaken.astype(np.float32), regions.count, regions.grasps, regions.features)


def tensors(regions: Regions) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What :class:`srcli.pretraining.grasp_quality.network.Closing` is called with."""
    each, grasp = inputs(regions)
    there = np.arange(each.shape[1]) < regions.count[:, None]
    return torch.from_numpy(each), torch.from_numpy(grasp), torch.from_numpy(regions.features), torch.from_numpy(there)


def fit(
    config: GraspConfig, train: Outcomes, valid: Outcomes, report: Callable[[int, Mapping[str, float]], None]
) -> ClosingNetwork:
    """Train on some outcomes, calibrate on others.

    Args:
        config: section ``pretrain.grasp``.
        train: outcomes to learn from.
        valid: outcomes of other piles, by which the logits are scaled and shifted.
        report: called with the steps done and the mean loss since the last call.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        features = train.regions.features
        mean, scale = features.mean(axis=0), features.std(axis=0) + np.float32(1e-3)
        network = Closing((config.width, 2 * config.width, 3 * config.width, 3 * config.width), mean, scale)
    _train(config, network, train, report)
    network.eval()
    raw = ClosingNetwork(network.arrays(), config.points)
    return calibrated(raw, logits(raw, valid), valid.held.astype(np.float64))


def _train(config: GraspConfig, network: Closing, train: Outcomes, report: Callable[[int, Mapping[str, float]], None]) -> None:
    def draw(step: int) -> list[_Batch]:
        rng = generator((config.seed, step), GRASP_FIT)
        rows = rng.integers(len(train), size=config.batch)
        read = tensors(varied(thinned(_take(train.regions, rows), config.points, rng), rng))
        return [(read, torch.from_numpy(train.held[rows].astype(np.float32)))]

    def loss(batch: _Batch) -> Tensor:
        return functional.binary_cross_entropy_with_logits(network(*batch[0]), batch[1])

    def told(now: Progress) -> None:
        if now.update % _REPORT_EVERY == 0 or now.update == now.updates:
            report(now.update, {"loss": now.mean_loss})

    settings = Settings(
        updates=config.steps,
        rate=Schedule(config.learning_rate, config.steps),
        weight_decay=config.weight_decay,
        clip=_CLIP_NORM,
        record_every=_REPORT_EVERY,
        parallel="operations",
        threads=config.threads,
        advice="lower pretrain.grasp.learning_rate",
    )
    identity = config.model_dump(mode="json", exclude={"threads"})
    Loop(Task(network, draw, loss), settings, identity=identity, seed=config.seed).run(told)


def _take(regions: Regions, rows: I64) -> Regions:
    return Regions(regions.points[rows], regions.count[rows], regions.grasps[rows], regions.features[rows])


def scores(network: ClosingNetwork, outcomes: Outcomes) -> F32:
    """What the network says of grasps whose outcome is known; (G,)."""
    return network.score(thinned(outcomes.regions, network.points))


def logits(network: ClosingNetwork, outcomes: Outcomes) -> F64:
    """The same before the logistic function."""
    probability = np.clip(scores(network, outcomes).astype(np.float64), 1e-7, 1 - 1e-7)
    value: F64 = np.log(probability / (1 - probability))
    return value


def calibrated(network: ClosingNetwork, logit: F64, held: F64) -> ClosingNetwork:
    """The network with its last layer scaled and shifted so that the outcomes are most likely (Platt 1999).

    Args:
        logit: (G,) of the network as it is; held: (G,) outcomes, 0 or 1.
    """
    from scipy.optimize import minimize

    def loss(theta: F64) -> float:
        value = theta[0] * logit + theta[1]
        return float(np.mean(np.logaddexp(0.0, value) - held * value))

    # Few outcomes that the network tells apart would be most likely at an infinite scale.
    bounds = ((-_STEEPEST, _STEEPEST), (-_STEEPEST, _STEEPEST))
    options = {"xatol": 1e-4, "fatol": 1e-7}
    scale, shift = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead", bounds=bounds, options=options).x
    weights = dict(network.weights)
    weights["logit.weight"] = (weights["logit.weight"] * scale).astype(np.float32)
    weights["logit.bias"] = (weights["logit.bias"] * scale + shift).astype(np.float32)
    return ClosingNetwork(weights, network.points)
