"""Stored arrays into a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from srcli.errors import ArtifactError


def load_arrays(network: torch.nn.Module, arrays: Mapping[str, Any], source: str) -> None:
    """Put stored arrays into a network.

    Args:
        arrays: by parameter name.
        source: where they come from, for the message.

    Raises:
        ArtifactError: they do not fit.
    """
    weights = {name: torch.from_numpy(value) for name, value in arrays.items()}
    # A parameter that two modules share is stored once, and stands in the state under both names.
    first = {id(p): name for name, p in network.named_parameters()}
    for name, p in network.named_parameters(remove_duplicate=False):
        if first[id(p)] in weights:
            weights.setdefault(name, weights[first[id(p)]])
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise ArtifactError(
            f"{source}: weights and settings do not fit ({line[:160]})", "train again with `srcli train`"
        ) from error
