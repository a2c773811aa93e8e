"""SR and its variants, trained."""

from __future__ import annotations

from pathlib import Path

from srcli.learning.scorers import train_scorer
from srcli.methods.base import FitProgress, Fitted, TrainingData
from srcli.methods.sr.network import build_network
from srcli.methods.sr.section import SRConfig


def fit(
    section: SRConfig, data: TrainingData, *, seed: int, device: str, checkpoint: Path, progress: FitProgress | None
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
            lambda dim: build_network(section, dim, seed),
            section.train,
            data.features,
            identity,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            progress=progress,
        )
    )
