"""A2 as a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from srcli.errors import ArtifactError
from srcli.methods.a2.network import build_network
from srcli.methods.a2.section import A2Config
from srcli.methods.base import Acting, Weights
from srcli.methods.scoring import ScoringPolicy, fitted_settings
from srcli.models.state import load_arrays

if TYPE_CHECKING:
    from srcli.perception.encoders.interface import Encoder


def build(section: A2Config, weights: Weights | None, encoder: Encoder | None, device: str, seed: int) -> Acting:
    """The policy; without weights an untrained one whose initial weights follow from ``seed``.

    Raises:
        ArtifactError: weights and settings do not fit.
    """
    if weights is None:
        if encoder is None:
            raise ArtifactError("an untrained network needs an encoder: its width follows from it")
        network = build_network(section.network, encoder.dim, seed)
    else:
        made, dim = fitted_settings(A2Config, weights)
        network = build_network(made.network, dim, 0)
        load_arrays(network, weights.arrays, weights.source)
    return ScoringPolicy(network.to(device).eval(), section.choice, section.noise, device)
