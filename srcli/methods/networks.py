"""Networks of methods that look at whole views: with the initial weights of a seed, or with those that were fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from srcli.config.base import Section
from srcli.errors import ConfigError
from srcli.methods.base import Weights
from srcli.methods.scoring import fitted_settings
from srcli.models.state import load_arrays

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from torch import Tensor

    from srcli.methods.keypose import Looking

S = TypeVar("S", bound=Section)
N = TypeVar("N", bound=nn.Module)


def initial(seed: int, make: Callable[[], N]) -> N:
    """A network whose initial weights follow from the seed alone; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def restored(
    section: S,
    weights: Weights | None,
    encoder: Looking | None,
    make: Callable[[S, int, int], N],
    *,
    seed: int,
    device: str,
    own: Sequence[str] = (),
) -> tuple[S, N]:
    """The settings that a network goes by, and the network, ready to act: as it was fitted, or untrained.

    Args:
        section: the method's, as it is set now.
        weights: what was fitted; None: an untrained network whose initial weights follow from ``seed``.
        make: a network of settings, of the width D of features and of a seed.
        own: top-level keys of the section that are not the weights' own: they are as they are set now.

    Raises:
        ConfigError: an untrained network needs an encoder; or the settings contradict each other.
        ArtifactError: weights and settings do not fit.
    """
    if weights is None:
        if encoder is None:
            raise ConfigError("an untrained network needs an encoder: its width follows from it", "pass an encoder")
        made, network = section, make(section, encoder.dim, seed)
    else:
        made, dim = fitted_settings(type(section), weights, section.model_dump(mode="json", include=set(own)))
        network = make(made, dim, 0)
        load_arrays(network, weights.arrays, weights.source)
    return made, network.to(device).eval()


def turn_pairs(values: Float[Tensor, "*b d"], turns: Complex[Tensor, "*b p"]) -> Float[Tensor, "*b d"]:
    """Channels 2i and 2i + 1, taken as one complex number, times turn i: what a rotary code does."""
    pairs = torch.view_as_complex(values.reshape(*values.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(-2)
