"""A trained network as a method: loads a policy file, scores every candidate, takes the best."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from srcli.actions.between import between_fingers
from srcli.config.encoder import SEEN_ONLY
from srcli.config.evaluate import CombineConfig
from srcli.config.noise import NoiseConfig
from srcli.errors import ArtifactError, ConfigError, MismatchError, MissingAssetError
from srcli.methods.base import Choice, Decision, register
from srcli.types import F32, F64, Candidates, SemanticCloud

if TYPE_CHECKING:
    from collections.abc import Mapping

    from srcli.config.encoder import EncoderConfig


@register("learned")
class LearnedPolicy:
    """The network of a policy file.

    The final choice combines three scores with weights from configuration (the paper names 1Align-Action and 2Align-Action but
    gives no formula). Of a grasp all three are logarithms of something like a probability:
    align1 * log consistency of what stands between the fingers + align2 * log softmax of the logits + prior * log quality;
    of a placement they are align1_place * mean mask around it + align2 * log softmax + prior_place * quality.

    Args:
        path: the policy file, or a recipe (``*.json``, :class:`Recipe`) that brings its own ``combine`` and ``noise``; None: the
            policy shipped with the package.
        encoder: identity of the encoder that will feed it, as a mapping; None skips the check.
        combine: weights of the three scores.
        name: how the method is called in tables.
        device: torch device of the network.
        noise: Gaussian noise on what the network sees, at test time only; candidates, and the points between whose fingers its
            mask is read, stay as they are. It follows from the decision alone, so that all methods see the same noise.

    Raises:
        MismatchError: the policy was trained on another encoder's features.
        MissingAssetError: no policy of that name is shipped.
        ArtifactError: the file cannot be used.
    """

    privileged = False

    def __init__(
        self,
        path: Path | str | None = None,
        encoder: Mapping[str, Any] | None = None,
        combine: CombineConfig | None = None,
        name: str = "sr",
        device: str = "cpu",
        noise: NoiseConfig | None = None,
    ) -> None:
        from srcli.methods.sr.policy_file import read_policy

        file = Path(path) if path is not None else shipped_policy(name)
        if file.suffix == RECIPE:
            recipe = read_recipe(file)
            file, combine, noise = recipe.policy, recipe.combine or combine, recipe.noise or noise
        self.name = name
        self._device = device
        self._combine = combine or CombineConfig()
        self._noise = noise
        self._network = read_policy(file, encoder, device).network

    def act(self, decision: Decision) -> Choice:
        import torch

        from srcli.models.batch import batch_of_one

        percept, candidates, weights = decision.percept(), decision.candidates, self._combine
        shown = percept
        if self._noise is not None and self._noise.sigma:
            shown = replace(percept, cloud=disturb(percept.cloud, self._noise, decision.rng.spawn(1)[0]))
        with torch.inference_mode():
            scores = self._network(batch_of_one(shown, candidates).to(self._device))
        logits = scores.logits[0].float().cpu().numpy().astype(np.float64)
        # The mask belongs to the points; where they truly are, says the cloud before any noise.
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
        return Choice(decision.take(decision.best(final)), scores=final, mask=mask)


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


RECIPE = ".json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A policy and how it is used at test time: a small JSON file that stands wherever a policy file may.

    Attributes:
        policy: the policy file.
        noise: noise on what the network sees.
        combine: weights of the scores, in place of those of the evaluation.
    """

    policy: Path
    noise: NoiseConfig | None = None
    combine: CombineConfig | None = None


def write_recipe(path: Path, recipe: Recipe) -> Path:
    """Write a recipe; it names its policy by relative path and by the sum of its bytes.

    Raises:
        ArtifactError: there is no such policy.
        DiskError: the disk is full or the place is not writable.
    """
    from srcli.artifacts.core import atomic_write, file_digest

    data: dict[str, Any] = {
        "policy": os.path.relpath(recipe.policy, path.parent),
        "sha256": file_digest(recipe.policy),
        "noise": recipe.noise.model_dump(mode="json") if recipe.noise else None,
        "combine": recipe.combine.model_dump(mode="json") if recipe.combine else None,
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return path


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ArtifactError: it, or its policy, is missing, or it is not a recipe.
        MismatchError: its policy has changed since it was written.
    """
    from srcli.artifacts.core import file_digest

    try:
        data = json.loads(path.read_text("utf-8"))
        policy, digest = path.parent / data["policy"], str(data["sha256"])
        noise = NoiseConfig.model_validate(data["noise"]) if data.get("noise") else None
        combine = CombineConfig.model_validate(data["combine"]) if data.get("combine") else None
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file", "check the path") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        raise ArtifactError(f"{path}: is not a recipe of a policy", "give a policy file, or see docs/studies.md") from None
    if file_digest(policy) != digest:
        raise MismatchError(f"{policy}: is not the policy that {path.name} was written for", "write the recipe anew")
    return Recipe(policy, noise, combine)


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


def shipped_policy(name: str, encoder: EncoderConfig | None = None) -> Path:
    """The policy file of that name inside the package.

    Args:
        encoder: whose features it has learned from: the embedded encoder's, or those of its weights `seen-only`. For other
            encoders nothing is shipped; the file is then that of the embedded one, which is refused when it is read.

    Raises:
        MissingAssetError: none of that name is shipped.
    """
    seen_only = encoder is not None and (encoder.name, encoder.pretrained) == ("embedded", SEEN_ONLY)
    folder = files("srcli.methods.sr") / "weights"
    path = Path(str((folder / SEEN_ONLY if seen_only else folder) / f"{name}.h5"))
    if not path.is_file():
        of = f" for encoder embedded/{SEEN_ONLY}" if seen_only else ""
        raise MissingAssetError(
            f"no policy '{name}' is shipped with this package{of}", f"train one with `srcli train`, and name it as {name}=FILE"
        )
    return path


def shipped_names() -> tuple[str, ...]:
    """The policies inside the package."""
    folder = Path(str(files("srcli.methods.sr") / "weights"))
    return tuple(sorted(path.stem for path in folder.glob("*.h5")))


def parse_method(text: str) -> tuple[str, Path | None]:
    """``NAME`` or ``NAME=FILE`` as a method's name and its policy file."""
    name, separator, file = text.partition("=")
    if not name or (separator and not file):
        raise ConfigError(f"'{text}' is not a method", "write NAME, or NAME=FILE for a trained policy")
    return name, Path(file) if separator else None
