"""VLG as a policy: the candidate of the highest logit."""

from __future__ import annotations

import numpy as np
import torch

from srcli.errors import ConfigError
from srcli.learning.regions import unit
from srcli.methods.base import Acting, Choice, Decision, Weights
from srcli.methods.keypose import Looking, look
from srcli.methods.scoring import fitted_settings
from srcli.methods.vlg.network import VlgNetwork, build_network
from srcli.methods.vlg.section import VlgConfig
from srcli.methods.vlg.things import percept_of, things_of
from srcli.models.batch import batch_of_one
from srcli.models.state import load_arrays


class Vlg:
    """See the package."""

    def __init__(self, section: VlgConfig, network: VlgNetwork, encoder: Looking | None, device: str) -> None:
        self._section, self._network, self._encoder, self._device = section, network, encoder, device

    def act(self, decision: Decision) -> Choice:
        """The best candidate. The mask is how much it attends to the thing that each cell belongs to, relative to the most.

        Raises:
            ConfigError: no encoder.
            SceneError: the observation is unusable.
        """
        given = look(decision, self._encoder)
        things = things_of(given, self._section.regions)
        batch = batch_of_one(percept_of(things.centres, things.features, given), decision.candidates).to(self._device)
        with torch.inference_mode():
            found = self._network(batch)
        scores = found.logits[0].float().cpu().numpy()
        taken = decision.best(scores)
        attention = found.attention[0, :, taken].mean(dim=0).float().cpu().numpy()  # (R,)
        shown = np.append(attention / max(float(attention.max()), 1e-9), 0.0).astype(np.float32)
        mask = np.clip(shown[things.label], 0.0, 1.0)  # the table, -1, has the last
        percept = percept_of(given.cells, unit(given.features), given)
        return Choice(decision.take(taken), scores=scores, mask=mask, percept=percept)


def build(section: VlgConfig, weights: Weights | None, encoder: Looking | None, device: str, seed: int) -> Acting:
    """The policy; without weights an untrained one whose initial weights follow from ``seed``.

    Raises:
        ConfigError: an untrained network needs an encoder.
        ArtifactError: weights and settings do not fit.
    """
    if weights is None:
        if encoder is None:
            raise ConfigError("an untrained network needs an encoder: its width follows from it", "pass an encoder")
        network = build_network(section.network, encoder.dim, seed)
    else:
        made, dim = fitted_settings(VlgConfig, weights, {"regions": section.regions.model_dump(mode="json")})
        network = build_network(made.network, dim, 0)
        load_arrays(network, weights.arrays, weights.source)
    return Vlg(section, network.to(device).eval(), encoder, device)
