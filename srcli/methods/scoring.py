"""A network that scores candidates, as a policy that takes the best one. Shared by the methods that have such a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from srcli.actions.between import between_fingers
from srcli.config.base import Section
from srcli.config.choice import ChoiceConfig
from srcli.config.noise import NoiseConfig
from srcli.errors import ArtifactError, SceneError
from srcli.methods.base import Choice, Decision, Weights
from srcli.methods.policy_file import stored_section
from srcli.types import F32, F64, Candidates, Percept, SemanticCloud

if TYPE_CHECKING:
    from srcli.models.batch import Batch, Scores

S = TypeVar("S", bound=Section)


def fitted_settings(model: type[S], weights: Weights, changes: Mapping[str, Any] | None = None) -> tuple[S, int]:
    """Settings that a scoring network was fitted with, and the width D of the features that it reads.

    Args:
        model: of the method's section.
        changes: top-level keys of the section that are not the weights' own.

    Raises:
        ArtifactError: the stored settings are not those of this version.
    """
    section = stored_section(model, weights, changes)
    try:
        return section, int(weights.training["feature_dim"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{weights.source}: does not say how wide the features are that it reads", "train again with `srcli train`"
        ) from error


class ScoringPolicy:
    """The best candidate by a network's scores.

    The final choice combines three scores with weights from configuration (the paper names 1Align-Action and 2Align-Action but
    gives no formula). Of a grasp all three are logarithms of something like a probability:
    align1 * log consistency of what stands between the fingers + align2 * log softmax of the logits + prior * log quality;
    of a placement they are align1_place * mean mask around it + align2 * log softmax + prior_place * quality.

    Args:
        network: a batch of decisions to its scores, in evaluation mode on ``device``.
        choice: weights of the three scores.
        noise: Gaussian noise on what the network sees, at test time only; candidates stay as they are. It follows from the
            decision alone, so that all methods see the same noise. Where it comes after fusion, the points between whose fingers
            the mask is read are where they truly are.
    """

    def __init__(
        self,
        network: Callable[[Batch], Scores],
        choice: ChoiceConfig,
        noise: NoiseConfig | None = None,
        device: str = "cpu",
    ) -> None:
        self._network, self._choice, self._noise, self._device = network, choice, noise, device

    def act(self, decision: Decision) -> Choice:
        import torch

        from srcli.models.batch import batch_of_one

        candidates, weights = decision.candidates, self._choice
        percept, shown = self._look(decision)
        with torch.inference_mode():
            scores = self._network(batch_of_one(shown, candidates).to(self._device))
        logits = scores.logits[0].float().cpu().numpy().astype(np.float64)
        mask: F32 = scores.mask[0].float().cpu().numpy()
        combined = weights.align2 * log_softmax(logits)
        if candidates.kind == "place":
            combined += weights.prior_place * candidates.quality
            if weights.align1_place:
                combined += weights.align1_place * gather_mask(percept.cloud.points, mask, candidates.poses, weights.radius)
        else:
            combined += weights.prior * np.log(np.maximum(candidates.quality.astype(np.float64), FLOOR))
            if weights.align1:
                combined += weights.align1 * np.log(consistency(closing_mask(percept.cloud, mask, candidates), weights.meant))
        final: F32 = combined.astype(np.float32)
        return Choice(decision.take(decision.best(final)), scores=final, mask=mask, percept=percept)

    def _look(self, decision: Decision) -> tuple[Percept, Percept]:
        """Where the points are that the mask belongs to, and what the network is shown."""
        noise = self._noise
        if noise is None or not noise.sigma:
            return (percept := decision.percept()), percept
        rng = decision.rng.spawn(1)[0]
        if noise.where == "cloud":
            if decision.moved is None:
                raise SceneError("points cannot be moved before fusion here", "noise.where=network disturbs what was fused")
            return (percept := decision.moved(noise.metres, rng)), percept
        # After fusion it is known where the points truly are.
        percept = decision.percept()
        return percept, replace(percept, cloud=disturb(percept.cloud, noise, rng))


def disturb(cloud: SemanticCloud, noise: NoiseConfig, rng: np.random.Generator) -> SemanticCloud:
    """The cloud with Gaussian noise on its positions, or on its features for unit ``feature`` (relative to their spread).

    The same ``rng`` gives the same directions at every strength. Similarity stays: the noise comes after fusion.
    """
    if noise.unit == "feature":
        spread = float(cloud.features.std())
        drawn = rng.standard_normal(cloud.features.shape, dtype=np.float32)
        return replace(cloud, features=(cloud.features + noise.sigma * spread * drawn).astype(np.float32))
    drawn = rng.standard_normal(cloud.points.shape, dtype=np.float32)
    return replace(cloud, points=(cloud.points + noise.metres * drawn).astype(np.float32))


def log_softmax(logits: F64) -> F64:
    """Log probabilities (K,) of logits (K,)."""
    shifted: F64 = logits - logits.max()
    result: F64 = shifted - np.log(np.exp(shifted).sum())
    return result


FLOOR = 0.01
"""Below it a consistency or a quality counts as this much, so that its logarithm stays finite."""


def consistency(masks: F64, meant: float) -> F64:
    """How likely each grasp lies on what is meant, from the mask between its fingers; (K,) in ``FLOOR`` .. 1.

    It grows with the mask up to ``meant`` times the largest and is 1 from there on: more of the mask than that tells the middle
    of a thing from its edge, but not one thing from another.
    """
    largest = float(masks.max(initial=0.0))
    if largest <= 0:
        return np.ones_like(masks)
    return np.clip(masks / (meant * largest), FLOOR, 1.0)


def closing_mask(cloud: SemanticCloud, mask: F32, candidates: Candidates) -> F64:
    """Mean of the mask (N,) over all that was seen in the closing region of each grasp, (K,); 0 where nothing was.

    What the cloud left out as less similar counts with a mask of 0: where a thing that nobody asked for lies at the edge of one
    that was, the points kept near it may be all of the other.
    """
    full = np.concatenate([mask.astype(np.float64), np.zeros(len(cloud.rest))])
    inside = between_fingers(np.concatenate([cloud.points, cloud.rest]), candidates.poses, candidates.widths)
    return np.array([full[index].mean() if len(index) else 0.0 for index in inside])


def gather_mask(points: F32, mask: F32, poses: F32, radius: float) -> F64:
    """Mean of the mask (N,) over the points (N, 3) within ``radius`` metres of each tip of poses (K, 7); 0 where none lie."""
    distance = np.linalg.norm(poses[:, None, :3] - points[None], axis=2)
    inside = distance <= radius
    result: F64 = (inside @ mask.astype(np.float64)) / np.maximum(inside.sum(axis=1), 1)
    return result
