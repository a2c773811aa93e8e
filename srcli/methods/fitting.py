"""A network of a method, fitted on a features file by the loop of all trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srcli.artifacts.digests import file_digest
from srcli.config.base import Section
from srcli.learning.loop import LOSS, UPDATE, Loop, Progress, Settings, Task
from srcli.methods.base import FitProgress, Fitted

if TYPE_CHECKING:
    from srcli.artifacts.features import FeatureDataset


def fit_network(
    task: Task[Any],
    settings: Settings,
    section: Section,
    features: FeatureDataset,
    *,
    samples: int,
    feature_dim: int,
    titles: Mapping[str, str],
    seed: int,
    device: str,
    checkpoint: Path,
    progress: FitProgress | None,
    acting: Any = frozenset({"act"}),
    half: bool = False,
) -> Fitted:
    """Train; interrupted, it goes on from its checkpoint.

    Args:
        section: all settings of the method; those of ``acting`` (as pydantic excludes keys) do not make another training.
        features: the file that is trained on.
        samples: decisions trained on.
        feature_dim: D of the encoder's joint space.
        titles: validated values that are told beside the loss, and how they are called.
        half: weights come back in half precision.

    Returns:
        With all validated values of the weights that are kept as metrics.

    Raises:
        SceneError: the loss is not finite.
    """
    identity = {
        "settings": section.model_dump(mode="json", exclude=acting),
        "features": file_digest(features.path),
    }
    loop = Loop(task, settings, identity=identity, seed=seed, device=device, checkpoint=checkpoint)
    result = loop.run(_told(progress, titles))
    kept = {name: value.contiguous().half() if half else value.float() for name, value in result.weights.items()}
    return Fitted(
        weights={name: value.cpu().numpy() for name, value in kept.items()},
        curves={name: np.array(curve, dtype=np.float32) for name, curve in result.curves.items()},
        metrics={name: curve[result.kept] for name, curve in result.curves.items() if name not in (UPDATE, LOSS)},
        updates=result.updates,
        samples=samples,
        facts={"feature_dim": feature_dim},
    )


def _told(progress: FitProgress | None, titles: Mapping[str, str]) -> Callable[[Progress], None] | None:
    if progress is None:
        return None

    def told(now: Progress) -> None:
        values = {"loss": now.loss, **{title: now.values[name] for name, title in titles.items() if name in now.values}}
        text = "  ".join(f"{title} {value:.3f}" for title, value in values.items() if value == value)
        progress(now.update, now.updates, text)

    return told
