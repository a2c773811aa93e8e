"""The one route from views and a sentence to a semantic cloud, used by featurize, evaluate and predict alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from srcli.config.cloud import CloudConfig
from srcli.errors import SceneError
from srcli.language.denial import Wish, split_denied
from srcli.language.relations import reference_prompt, split_instruction
from srcli.perception.cloud import neighbour_mean, select, unproject
from srcli.perception.fusion import DenseValues, fuse
from srcli.types import F32, U8, Observation, Percept, Phase, SemanticCloud, TextEmbedding


class JointEncoder(Protocol):
    """What this module needs of an encoder: dense image features and sentences in one joint space."""

    def dense(self, rgb: U8) -> DenseValues:
        """Features of (M, H, W, 3) uint8 views."""
        ...

    def text(self, sentences: Sequence[str]) -> list[TextEmbedding]:
        """One embedding per sentence."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoder that has encoded the views of one observation already.

    Attributes:
        features: of those views.
    """

    encoder: JointEncoder
    features: DenseValues

    def dense(self, rgb: U8) -> DenseValues:
        """The features, whatever is asked."""
        return self.features

    def text(self, sentences: Sequence[str]) -> list[TextEmbedding]:
        """One embedding per sentence."""
        return self.encoder.text(sentences)


def perceive(
    observation: Observation,
    instruction: str,
    encoder: JointEncoder,
    config: CloudConfig,
    phase: Phase = "pick",
    move: Callable[[F32], F32] | None = None,
) -> Percept:
    """The semantic cloud of a scene for the half of a sentence that concerns the phase.

    Merged cloud in voxels (table removed for ``pick``), features fused from all views, points that no camera sees dropped, cosine
    with the pooled sentence (averaged over neighbours within ``config.smooth_radius``), and the ``config.count`` points kept.

    Args:
        instruction: the whole sentence. For ``place`` the tokens are those of its place half, while the pooled embedding, and
            so the similarity, is that of the reference alone: what is placed and the relation do not compete with it.
        move: what becomes of the (N, 3) points, metres, before features are fused on them (the noise study). Where no camera sees
            any of them any more, they stay, and nothing is known of them: features and similarity are 0.

    Raises:
        SceneError: the observation is unusable or shows nothing.
    """
    points = unproject(observation, config, phase)
    if move is not None:
        points = move(points)
    features, views = fuse(points, encoder.dense(observation.rgb), observation, config)
    seen = views > 0
    if not bool(seen.any()):
        if move is None:
            raise SceneError("no camera sees any point of the cloud", "depth and camera poses do not fit together")
        seen = ~seen
    points, features, views = points[seen], features[seen], views[seen]
    text = sentence(instruction, encoder, phase, config.denied)
    similarity = neighbour_mean(points, cosine(features, text.pooled), config.smooth_radius)
    kept = select(points, similarity, config, phase)
    cloud = SemanticCloud(
        points=points[kept],
        features=features[kept],
        similarity=similarity[kept],
        views=views[kept],
        rest=np.delete(points, kept, axis=0) if config.select == "similarity" else points[:0],
    )
    return Percept(cloud=cloud, text=text)


def sentence(instruction: str, encoder: JointEncoder, phase: Phase, denied: float = 0.0) -> TextEmbedding:
    """The embedding of the half of a sentence that concerns a phase; of the whole where it has no such half.

    Args:
        denied: how much of the direction of what the half denies ("but not the zebra") is taken from that of the rest; 0 reads
            the half as it stands.
    """
    pick, place = split_instruction(instruction)
    half = (pick if phase == "pick" else place) or " ".join(instruction.split())
    named = half if phase == "pick" else reference_prompt(half)
    wish = split_denied(named) if denied else Wish(named)
    texts = [wish.wanted] if phase == "pick" else [half, wish.wanted]
    found = encoder.text([*texts, wish.told()] if wish.denied else texts)
    pooled = found[len(texts) - 1].pooled
    if wish.denied:
        pooled = pooled - denied * found[-1].pooled
        pooled = (pooled / np.maximum(np.linalg.norm(pooled), 1e-9)).astype(np.float32)
    return replace(found[0], pooled=pooled)


def cosine(features: F32, direction: F32) -> F32:
    """Cosine of each row of (N, D) features with a (D,) direction; (N,) float32, 0 for a zero row."""
    norm = np.linalg.norm(features, axis=1) * np.linalg.norm(direction)
    result: F32 = (features @ direction / np.maximum(norm, 1e-9)).astype(np.float32)
    return result
