"""A trained network to and from a policy file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.core import encoder_label
from srcli.config.train import TrainConfig
from srcli.errors import ArtifactError, MismatchError
from srcli.methods.sr.section import ModelConfig

if TYPE_CHECKING:
    from srcli.methods.sr.network import SRNetwork
    from srcli.methods.sr.trainer import Trained


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedPolicy:
    """A network ready to score, and what it was made for.

    Attributes:
        network: in evaluation mode, float32.
        model: section ``model`` it was built from.
        encoder: identity of the encoder it was trained with.
        training: how it was trained.
    """

    network: SRNetwork
    model: ModelConfig
    encoder: dict[str, Any]
    training: dict[str, Any]


def write_policy(
    path: Path,
    trained: Trained,
    model: ModelConfig,
    train: TrainConfig,
    encoder: Mapping[str, Any],
    feature_dim: int,
    features: str = "",
) -> None:
    """Write weights, configuration, encoder identity and curves into one policy file.

    Args:
        features: sha256 of the features file, by which a study recognises what a policy was trained on.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    from srcli.artifacts.policy import save_policy

    training = {
        "train": train.model_dump(mode="json"),
        "seed": trained.seed,
        "updates": trained.updates,
        "feature_dim": feature_dim,
        "features": features,
        # JSON has no NaN: a value that does not exist is null.
        "metrics": {name: value if value == value else None for name, value in asdict(trained.metrics).items()},
    }
    save_policy(path, trained.weights, model.model_dump(mode="json"), dict(encoder), trained.curves, training)


def taught_from(identity: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Whether an encoder was taught from the recorded one: the same in all but its weights, which are a parent's.

    Args:
        identity, recorded: as :meth:`srcli.perception.encoders.interface.EncoderIdentity.as_dict` gives them.
    """
    parents = list(identity.get("parents", ()))
    earlier = [dict(identity, sha256=sha, parents=parents[:place]) for place, sha in enumerate(parents)]
    return any(parent == {"parents": [], **recorded} for parent in earlier)


def read_policy(path: Path, encoder: Mapping[str, Any] | None = None, device: str = "cpu") -> LoadedPolicy:
    """Rebuild the network of a policy file.

    Args:
        encoder: identity that will feed it; compared with the recorded one when given. An encoder that was taught from the
            recorded one is taken, with a warning.

    Raises:
        ArtifactError: the file cannot be used.
        MismatchError: it was trained with another encoder.
    """
    import torch

    from srcli.artifacts.policy import load_policy
    from srcli.methods.sr.network import build_network

    stored = load_policy(path)
    if encoder is not None and dict(encoder) != stored.encoder:
        if not taught_from(encoder, stored.encoder):
            raise MismatchError(
                f"{path}: was trained with encoder '{encoder_label(stored.encoder)}', not with this '{encoder_label(encoder)}'",
                "train again on features of this encoder, or choose the recorded encoder",
            )
        _log.warning("%s was trained with the encoder that this one was taught from", path.name)
    try:
        model = ModelConfig.model_validate_json(json.dumps(stored.config))
        network = build_network(model, int(stored.training["feature_dim"]), 0)
        weights = {name: torch.from_numpy(value) for name, value in stored.weights.items()}
        # A parameter that two modules share (A2's one LayerNorm) is stored once, and stands in the state under both names.
        first = {id(p): name for name, p in network.named_parameters()}
        for name, p in network.named_parameters(remove_duplicate=False):
            weights.setdefault(name, weights[first[id(p)]])
        network.load_state_dict(weights)
    except (KeyError, RuntimeError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise ArtifactError(f"{path}: weights and configuration do not fit ({line})", "train again with `srcli train`") from error
    return LoadedPolicy(network.to(device).eval(), model, stored.encoder, stored.training)
