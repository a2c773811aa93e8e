"""Object tokens: what VLG gets from a detector's boxes and CLIP's image tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from srcli.config.regions import CellRegionConfig
from srcli.learning.keyposes import KeyposeInput
from srcli.learning.regions import regions_of_cells
from srcli.types import I64

if TYPE_CHECKING:
    from srcli.artifacts.features import FeatureDataset

CANDIDATES = ("candidates", "candidate_mask", "quality", "valid", "label", "phase")


def arrays_of(features: FeatureDataset, given: Sequence[KeyposeInput], rows: I64, config: CellRegionConfig) -> dict[str, Any]:
    """A training set whose points are the centres of things: arrays whose first axis is the sample, padded and masked.

    Args:
        given: what was seen of each sample.
        rows: (n,) their numbers in the features file.
    """
    found = [regions_of_cells(each.cells, each.features, config) for each in given]
    most = max(len(things) for things in found)

    def padded(values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        out = np.zeros((len(values), most, *values[0].shape[1:]), dtype=values[0].dtype)
        for row, value in zip(out, values, strict=True):
            row[: len(value)] = value
        return out

    samples = [features.sample(int(row), CANDIDATES) for row in rows]
    arrays = {name: np.stack([sample[name] for sample in samples]) for name in CANDIDATES}
    return arrays | {
        "points": padded([things.centres for things in found]),
        "features": padded([things.features for things in found]),
        "similarity": padded([things.features @ each.text for things, each in zip(found, given, strict=True)]),
        "point_mask": padded([np.ones(len(things), dtype=np.bool_) for things in found]),
        "text": np.stack([each.text for each in given]),
        "tokens": np.stack([each.tokens for each in given]),
        "token_mask": np.stack([each.token_mask for each in given]),
    }
