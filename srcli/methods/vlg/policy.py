"""VLG as a policy: the candidate of the highest logit."""

from __future__ import annotations

import numpy as np
import torch

from srcli.learning.regions import regions_of_cells, unit
from srcli.methods.base import Acting, Choice, Decision, Weights
from srcli.methods.keypose import Looking, look, percept_of
from srcli.methods.networks import restored
from srcli.methods.vlg.network import VlgNetwork, build_network
from srcli.methods.vlg.section import VlgConfig
from srcli.models.batch import batch_of_one


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
        things = regions_of_cells(given.cells, given.features, self._section.regions)
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
        ConfigError, ArtifactError: as :func:`srcli.methods.networks.restored`.
    """

    def make(made: VlgConfig, dim: int, seed: int) -> VlgNetwork:
        return build_network(made.network, dim, seed)

    _, network = restored(section, weights, encoder, make, seed=seed, device=device, own=("regions",))
    return Vlg(section, network, encoder, device)
