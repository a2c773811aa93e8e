"""Networks that score candidates, trained on features: what every such method does alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from srcli.artifacts.digests import file_digest
from srcli.errors import SceneError
from srcli.learning.dataset import TrainingSet
from srcli.learning.trainer import Progress, Trainer

if TYPE_CHECKING:
    from srcli.artifacts.features import FeatureDataset
    from srcli.config.train import TrainConfig


def train_scorer(
    build: Callable[[int], torch.nn.Module],
    config: TrainConfig,
    features: FeatureDataset | None,
    identity: Mapping[str, Any],
    *,
    seed: int,
    device: str,
    checkpoint: Path,
    progress: Callable[[int, int, str], None] | None,
) -> dict[str, Any]:
    """Train a network on a features file; as :func:`train_on`.

    Raises:
        SceneError: no features, no training sample, or the loss is not finite.
    """
    if features is None:
        raise SceneError("this method is trained on features", "make them with `srcli featurize`")
    return train_on(
        TrainingSet.of(features),
        build,
        config,
        {**identity, "features": file_digest(features.path)},
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )


def train_on(
    data: TrainingSet,
    build: Callable[[int], torch.nn.Module],
    config: TrainConfig,
    identity: Mapping[str, Any],
    *,
    seed: int,
    device: str,
    checkpoint: Path,
    progress: Callable[[int, int, str], None] | None,
) -> dict[str, Any]:
    """Train a network; interrupted, it goes on from its checkpoint.

    Args:
        build: the network with its initial weights, of the features' dimension.
        identity: settings and data that make another training; a checkpoint of another one is ignored.

    Returns:
        weights, curves, metrics, updates, samples and facts, as a fit gives them back.

    Raises:
        SceneError: the loss is not finite.
    """
    trainer = Trainer(data, build(data.feature_dim), config, identity, seed=seed, device=device, checkpoint=checkpoint)

    def told(state: Progress) -> None:
        numbers = (("loss", state.train_loss), ("valid loss", state.valid_loss), ("on target", state.valid_rate))
        text = "  ".join(f"{name} {value:.3f}" for name, value in numbers if not math.isnan(value))
        assert progress is not None
        progress(state.update, state.updates, text)

    trained = trainer.run(told if progress is not None else None)
    return {
        "weights": trained.weights,
        "curves": trained.curves,
        "metrics": asdict(trained.metrics),
        "updates": trained.updates,
        "samples": len(data.train),
        "facts": {"feature_dim": data.feature_dim},
    }
