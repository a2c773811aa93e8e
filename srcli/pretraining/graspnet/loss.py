"""What GraspNet's network is trained by: objectness, views, and the operation along the best view of each labelled seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srcli.models.graspnet.decode import MAX_TOLERANCE, MAX_WIDTH
from srcli.models.graspnet.network import GraspNet, Prediction
from srcli.pretraining.graspnet.labels import Labels

NEAR = 0.012
"""A seed takes the labels of the nearest labelled point within this distance, metres; farther ones teach objectness only."""
OPERATION = 0.2
"""Weight of score, angle, width and tolerance against objectness and views."""


def predict(network: GraspNet, scenes: Sequence[Labels]) -> tuple[Prediction, Tensor, Tensor]:
    """The network along the labelled approaches.

    Args:
        scenes: B scenes with clouds of one size.

    Returns:
        The prediction; for each seed (B, S) the number of its label, and whether it has one.
    """
    device = next(network.parameters()).device
    clouds = torch.from_numpy(np.stack([scene.cloud for scene in scenes])).to(device)
    seen = network.score_views(clouds)
    numbers, there, approach = [], [], []
    for seeds, scene in zip(seen.seeds, scenes, strict=True):
        points = torch.from_numpy(scene.points).to(device)
        if not len(points):
            numbers.append(torch.zeros(len(seeds), dtype=torch.long, device=device))
            there.append(torch.zeros(len(seeds), dtype=torch.bool, device=device))
            approach.append(torch.tensor([0.0, 0.0, 1.0], device=device).expand(len(seeds), 3))
            continue
        distance, number = torch.cdist(seeds, points).min(dim=1)
        numbers.append(number)
        there.append(distance < NEAR)
        approach.append(torch.from_numpy(scene.approach).to(device)[number])
    return network.operate(clouds, seen, torch.stack(approach)), torch.stack(numbers), torch.stack(there)


def loss(prediction: Prediction, numbers: Tensor, there: Tensor, scenes: Sequence[Labels]) -> dict[str, Tensor]:
    """The parts of the loss, and ``total``.

    CE of objectness; MSE of the views of labelled seeds; of the best angle at each depth: Huber of the score, CE of the angle's
    class, Huber of width / 10 cm and of tolerance / 5 cm, where that grasp is one.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in ("objectness", "views", "score", "angle", "width", "tolerance")}
    for row, scene in enumerate(scenes):
        device = prediction.seeds.device
        on_object = torch.from_numpy(scene.on_object).to(device)[prediction.seed_index[row]]
        parts["objectness"].append(functional.cross_entropy(prediction.objectness[row].T, on_object.long()))
        chosen, number = there[row], numbers[row][there[row]]
        if not bool(chosen.any()):
            continue
        parts["views"].append(functional.mse_loss(prediction.views[row][chosen], _of(scene.views, number)))
        score, width, tolerance = (_of(values, number) for values in (scene.score, scene.width, scene.tolerance))
        best, angle = score.max(dim=1)  # (n, D)
        said = {
            name: getattr(prediction, name)[row][:, chosen].permute(1, 0, 2) for name in ("score", "angle", "width", "tolerance")
        }
        at = {name: values.gather(1, angle[:, None])[:, 0] for name, values in said.items()}
        parts["score"].append(functional.huber_loss(at["score"], best))
        good = best > 0
        if bool(good.any()):
            parts["angle"].append(functional.cross_entropy(said["angle"].permute(0, 2, 1)[good], angle[good]))
            true_width = width.gather(1, angle[:, None])[:, 0]
            true_tolerance = tolerance.gather(1, angle[:, None])[:, 0]
            parts["width"].append(functional.huber_loss(at["width"][good] / MAX_WIDTH, true_width[good] / MAX_WIDTH))
            parts["tolerance"].append(
                functional.huber_loss(at["tolerance"][good] / MAX_TOLERANCE, true_tolerance[good] / MAX_TOLERANCE)
            )
    zero = prediction.objectness.sum() * 0.0
    means = {name: torch.stack(values).mean() if values else zero for name, values in parts.items()}
    operation = means["score"] + means["angle"] + means["width"] + means["tolerance"]
    return {**means, "total": means["objectness"] + means["views"] + OPERATION * operation}


def _of(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], number: Tensor) -> Tensor:
    return torch.from_numpy(values).to(number.device)[number]


@torch.no_grad()
def accuracy(prediction: Prediction, numbers: Tensor, there: Tensor, scenes: Sequence[Labels]) -> dict[str, list[float]]:
    """What can be read from a prediction, per seed: right objectness; true score of the view taken, and of the best one."""
    out: dict[str, list[float]] = {"objectness": [], "view_score": [], "best_score": []}
    for row, scene in enumerate(scenes):
        on_object = torch.from_numpy(scene.on_object)[prediction.seed_index[row].cpu()]
        out["objectness"] += (prediction.objectness[row].argmax(dim=0).cpu() == on_object.long()).double().tolist()
        chosen = there[row]
        if bool(chosen.any()):
            views = torch.from_numpy(scene.views)[numbers[row][chosen].cpu()]
            taken = prediction.views[row][chosen].argmax(dim=1).cpu()
            out["view_score"] += views.gather(1, taken[:, None])[:, 0].double().tolist()
            out["best_score"] += views.amax(dim=1).double().tolist()
    return out
