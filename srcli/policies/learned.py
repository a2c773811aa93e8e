"""A trained network as a method: loads a policy file, scores every candidate, takes the best."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srcli.config.evaluate import CombineConfig
from srcli.errors import ConfigError, MissingAssetError
from srcli.policies.base import Choice, Decision, register
from srcli.types import F32, F64

if TYPE_CHECKING:
    from collections.abc import Mapping


@register("learned")
class LearnedPolicy:
    """The network of a policy file.

    The final choice combines three scores with weights from configuration (the paper names 1Align-Action and 2Align-Action but
    gives no formula; the default takes 2-Align alone):
    align1 * mean mask around the tip + align2 * log softmax of the logits + prior * quality.

    Args:
        path: the policy file; None: the one shipped with the package.
        encoder: identity of the encoder that will feed it, as a mapping; None skips the check.
        combine: weights of the three scores.
        name: how the method is called in tables.
        device: torch device of the network.

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
    ) -> None:
        from srcli.learning.policy_file import read_policy

        self.name = name
        self._device = device
        self._combine = combine or CombineConfig()
        self._network = read_policy(Path(path) if path is not None else shipped_policy(name), encoder, device).network

    def act(self, decision: Decision) -> Choice:
        import torch

        from srcli.models.batch import batch_of_one

        percept = decision.percept()
        with torch.inference_mode():
            scores = self._network(batch_of_one(percept, decision.candidates).to(self._device))
        logits = scores.logits[0].float().cpu().numpy().astype(np.float64)
        mask: F32 = scores.mask[0].float().cpu().numpy()
        combined = self._combine.align2 * log_softmax(logits)
        if self._combine.align1:
            combined += self._combine.align1 * gather_mask(
                percept.cloud.points, mask, decision.candidates.poses, self._combine.radius
            )
        if self._combine.prior:
            combined += self._combine.prior * decision.candidates.quality
        final: F32 = combined.astype(np.float32)
        return Choice(decision.take(decision.best(final)), scores=final, mask=mask)


def log_softmax(logits: F64) -> F64:
    """Log probabilities (K,) of logits (K,)."""
    shifted: F64 = logits - logits.max()
    result: F64 = shifted - np.log(np.exp(shifted).sum())
    return result


def gather_mask(points: F32, mask: F32, poses: F32, radius: float) -> F64:
    """Mean of the mask (N,) over the points (N, 3) within ``radius`` metres of each tip of poses (K, 7); 0 where none lie."""
    distance = np.linalg.norm(poses[:, None, :3] - points[None], axis=2)
    inside = distance <= radius
    result: F64 = (inside @ mask.astype(np.float64)) / np.maximum(inside.sum(axis=1), 1)
    return result


def shipped_policy(name: str) -> Path:
    """The policy file of that name inside the package."""
    path = Path(str(files("srcli.policies") / "weights" / f"{name}.h5"))
    if not path.is_file():
        raise MissingAssetError(
            f"no policy '{name}' is shipped with this package", f"train one with `srcli train`, and name it as {name}=FILE"
        )
    return path


def parse_method(text: str) -> tuple[str, Path | None]:
    """``NAME`` or ``NAME=FILE`` as a method's name and its policy file."""
    name, separator, file = text.partition("=")
    if not name or (separator and not file):
        raise ConfigError(f"'{text}' is not a method", "write NAME, or NAME=FILE for a trained policy")
    return name, Path(file) if separator else None
