"""VLG, trained by imitation on the picks of a features file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srcli.artifacts.digests import file_digest
from srcli.errors import SceneError
from srcli.learning.dataset import TrainingSet
from srcli.learning.keyposes import KeyposeSet
from srcli.learning.scorers import train_on
from srcli.methods.base import FitProgress, Fitted, TrainingData
from srcli.methods.vlg.network import build_network
from srcli.methods.vlg.section import VlgConfig
from srcli.methods.vlg.things import arrays_of

if TYPE_CHECKING:
    from srcli.artifacts.features import FeatureDataset
    from srcli.config.regions import CellRegionConfig


def training_set(features: FeatureDataset | None, config: CellRegionConfig) -> TrainingSet:
    """The picks of a features file, things found.

    Raises:
        SceneError: no features, or no pick among its training samples.
        ArtifactError: the file was made without whole views, or is damaged.
    """
    seen = KeyposeSet(features, surface=False)
    assert features is not None
    pick = features.column("phase") == 0
    train, valid = seen.train[pick[seen.train]], seen.valid[pick[seen.valid]]
    if len(train) == 0:
        raise SceneError("the features hold no pick among the training samples", "collect picks, then featurize again")
    rows = np.concatenate([train, valid])
    arrays = arrays_of(features, [seen.sample(int(row)).given for row in rows], rows, config)
    return TrainingSet(arrays, np.arange(len(train)), np.arange(len(train), len(rows)), features.encoder)


def fit(
    section: VlgConfig, data: TrainingData, *, seed: int, device: str, checkpoint: Path, progress: FitProgress | None
) -> Fitted:
    """Train the network.

    Raises:
        SceneError: no features, no pick among them, or the loss is not finite.
        ArtifactError: the features were made without whole views.
        ConfigError: the section contradicts itself.
    """
    samples = training_set(data.features, section.regions)
    assert data.features is not None
    identity = {**section.model_dump(mode="json"), "features": file_digest(data.features.path)}
    return Fitted(
        **train_on(
            samples,
            lambda dim: build_network(section.network, dim, seed),
            section.train.of_scorers(),
            identity,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            progress=progress,
        )
    )
