"""A2, trained."""

from __future__ import annotations

from pathlib import Path

from srcli.learning.scorers import train_scorer
from srcli.methods.a2.network import build_network
from srcli.methods.a2.section import A2Config
from srcli.methods.base import FitProgress, Fitted, TrainingData


def fit(
    section: A2Config, data: TrainingData, *, seed: int, device: str, checkpoint: Path, progress: FitProgress | None
) -> Fitted:
    """Train the network on features.

    Raises:
        SceneError: no training sample, or the loss is not finite.
        ConfigError: the section contradicts itself.
    """
    # What acts at test time only does not make another training.
    identity = section.model_dump(mode="json", exclude={"choice", "noise"})
    return Fitted(
        **train_scorer(
            lambda dim: build_network(section.network, dim, seed),
            section.train,
            data.features,
            identity,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            progress=progress,
        )
    )
