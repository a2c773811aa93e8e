"""Decisions, drawn into the maps that the network reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from srcli.learning.keyposes import WORKSPACE, KeyposeInput
from srcli.methods.cliport.network import Maps
from srcli.methods.cliport.raster import Grid, feature_map, surface_map
from srcli.methods.cliport.section import CliportNetworkConfig
from srcli.types import F32


def grid_of(config: CliportNetworkConfig) -> Grid:
    """The map's pixels, around the middle of the workspace."""
    middle = (np.asarray(WORKSPACE[0]) + np.asarray(WORKSPACE[1])) / 2
    return Grid.around((float(middle[0]), float(middle[1])), config.pixel, config.pixels)


def maps_of(given: Sequence[KeyposeInput], grid: Grid, device: str) -> Maps:
    """Decisions of one phase, drawn into maps."""

    def on(values: Sequence[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(values)).to(device)

    coarse = grid.coarser(2)
    # Convolutions of few channels are faster with channels last.
    return Maps(
        surface=on([surface_map(one.points, one.colors, grid) for one in given]).to(memory_format=torch.channels_last),
        features=on([feature_map(one.cells, one.features, coarse) for one in given]).to(memory_format=torch.channels_last),
        text=on([sentence(one) for one in given]),
        held=on([one.held for one in given]),
        place=given[0].place,
    )


def sentence(given: KeyposeInput) -> F32:
    """(2 D,) what the gates hear: the embedding of what is meant, and the mean of the tokens, which tell how to place."""
    real = given.tokens[given.token_mask]
    mean = real.mean(axis=0) if len(real) else np.zeros_like(given.text)
    both: F32 = np.concatenate([given.text, mean]).astype(np.float32)
    return both
