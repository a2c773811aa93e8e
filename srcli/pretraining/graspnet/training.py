"""Training GraspNet's network on labelled scenes, and measuring it on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srcli.config.pretrain import GraspNetConfig
from srcli.learning.loop import Loop, Progress, Settings, Task
from srcli.models.graspnet.network import GraspNet
from srcli.pretraining.graspnet.labels import Labels, SceneJob, load, scene_path
from srcli.pretraining.graspnet.loss import accuracy, predict
from srcli.pretraining.graspnet.loss import loss as loss_of
from srcli.seeding import GRASPNET_FIT, generator

_REPORT_EVERY = 5


def train(
    config: GraspNetConfig,
    jobs: Sequence[SceneJob],
    cache: Path,
    recipe: Mapping[str, Any],
    device: str,
    report: Callable[[int, dict[str, float]], None],
) -> GraspNet:
    """Train from nothing, or from where a killed run had come to.

    Args:
        jobs: scenes to learn from; they are in the cache.
        cache: folder with the scenes, for ``checkpoint.safetensors``.
        recipe: everything that the result depends on.
        report: called with the steps done and the mean loss since the last call.

    Returns:
        The network on the device, in evaluation mode.

    Raises:
        ArtifactError: checkpoint or a scene is damaged.
        MismatchError: the checkpoint belongs to other settings.
        SceneError: the loss is not finite.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = GraspNet().to(device)

    def draw(step: int) -> list[list[Labels]]:
        rng = generator((config.seed, step), GRASPNET_FIT)
        # In one part: batch norms see all of it.
        return [[load(scene_path(cache, jobs[int(n)])) for n in rng.integers(len(jobs), size=config.batch)]]

    def loss(scenes: list[Labels]) -> Tensor:
        return loss_of(*predict(network, scenes), scenes)["total"]

    def rate(step: int) -> float:
        """A tenth after half, three quarters and nine tenths."""
        return config.learning_rate * 0.1 ** sum(step >= share * config.steps for share in (0.5, 0.75, 0.9))

    def told(now: Progress) -> None:
        if now.update % _REPORT_EVERY == 0 or now.update == now.updates:
            report(now.update, {"loss": now.mean_loss})

    settings = Settings(
        updates=config.steps,
        rate=rate,
        record_every=_REPORT_EVERY,
        checkpoint_every=config.checkpoint_every,
        parallel="operations",
        threads=config.threads,
        advice="lower pretrain.graspnet.learning_rate",
        foreign="refuse",
    )
    task = Task(network, draw, loss)
    checkpoint = cache / "checkpoint.safetensors"
    Loop(task, settings, identity=recipe, seed=config.seed, device=device, checkpoint=checkpoint).run(told)
    return network.eval()


@torch.no_grad()
def measure(network: GraspNet, jobs: Sequence[SceneJob], cache: Path, threads: int) -> dict[str, list[float]]:
    """Loss of each scene, and what :func:`srcli.pretraining.graspnet.loss.accuracy` finds at each seed.

    Args:
        network: in evaluation mode.
        threads: of torch.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found: dict[str, list[float]] = {"loss": []}
    try:
        for job in jobs:
            scene = [load(scene_path(cache, job))]
            prediction, numbers, there = predict(network, scene)
            found["loss"].append(float(loss_of(prediction, numbers, there, scene)["total"]))
            for name, values in accuracy(prediction, numbers, there, scene).items():
                found.setdefault(name, []).extend(values)
    finally:
        torch.set_num_threads(before)
    return found
