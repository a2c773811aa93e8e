"""VLP as a policy: the free place of the highest probability."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from srcli.config.cloud import CloudConfig
from srcli.config.language import LanguageConfig
from srcli.language.instructions import make_reader
from srcli.language.spelling import Reader
from srcli.learning.regions import regions_of_cells, unit
from srcli.methods.base import Acting, Choice, Decision, Weights
from srcli.methods.keypose import Looking, look, percept_of
from srcli.methods.networks import restored
from srcli.methods.vlp.network import VlpNetwork, build_network
from srcli.methods.vlp.parser import pairs, spoken
from srcli.methods.vlp.scenes import Words, collated, scene_of
from srcli.methods.vlp.section import VlpConfig
from srcli.perception.pipeline import sentence


class Hearing(Looking, Protocol):
    """What VLP needs of an encoder: it also reads pairs of a sentence anew."""

    @property
    def vocabulary(self) -> frozenset[str] | None: ...


class Vlp:
    """See the package.

    The pairs of a sentence are read as sentences are by default: sections ``language`` and ``cloud`` do not reach a method.
    """

    def __init__(self, section: VlpConfig, network: VlpNetwork, encoder: Hearing | None, device: str) -> None:
        self._section, self._network, self._encoder, self._device = section, network, encoder, device

    def act(self, decision: Decision) -> Choice:
        """The best place. The mask is how likely the thing that each cell belongs to is a reference, relative to the most likely.

        Raises:
            ConfigError: no encoder.
            SceneError: the observation is unusable.
        """
        given = look(decision, self._encoder)
        things = regions_of_cells(given.cells, given.features, self._section.regions)
        poses = decision.candidates.poses
        scene = scene_of(given, self._words(decision.instruction), poses, np.ones(len(poses), dtype=np.bool_), things)
        scenes = collated([scene]).to(self._device)
        with torch.inference_mode():
            scores = self._network(scenes)[0].float().cpu().numpy()
            weights = self._network.references(scenes)[0].exp().amax(dim=0).float().cpu().numpy()  # (R,)
        shown = np.append(weights / max(float(weights.max()), 1e-9), 0.0).astype(np.float32)
        mask = np.clip(shown[things.label], 0.0, 1.0)  # the table, -1, has the last
        percept = percept_of(given.cells, unit(given.features), given)
        return Choice(decision.take(decision.best(scores)), scores=scores, mask=mask, percept=percept)

    def _words(self, instruction: str) -> list[Words]:
        """The pairs of a sentence that has several; none of one that has one: it has been encoded already."""
        if self._encoder is None:
            return []
        found = pairs(self._read(instruction).text)
        if len(found) < 2:
            return []
        denied = CloudConfig().denied
        texts = [sentence(spoken(phrase), self._encoder, "place", denied) for phrase in found]
        return [Words(text.pooled, text.tokens, text.mask) for text in texts]

    @cached_property
    def _read(self) -> Reader:
        return make_reader(None if self._encoder is None else self._encoder.vocabulary, LanguageConfig())


def build(section: VlpConfig, weights: Weights | None, encoder: Hearing | None, device: str, seed: int) -> Acting:
    """The policy; without weights an untrained one whose initial weights follow from ``seed``.

    Raises:
        ConfigError, ArtifactError: as :func:`srcli.methods.networks.restored`.
    """

    def make(made: VlpConfig, dim: int, seed: int) -> VlpNetwork:
        return build_network(made.network, dim, seed)

    _, network = restored(section, weights, encoder, make, seed=seed, device=device, own=("regions",))
    return Vlp(section, network, encoder, device)
