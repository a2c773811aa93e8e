"""What a method has learned, to and from a policy file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from srcli.artifacts.digests import canonical, encoder_label
from srcli.errors import ArtifactError, MismatchError
from srcli.methods.base import Fitted, MethodSpec, Weights
from srcli.methods.registry import load, spec_of, specs

if TYPE_CHECKING:
    from srcli.artifacts.policy import PolicyFile
    from srcli.config.base import Section

_log = logging.getLogger(__name__)
_AGAIN = "train again with `srcli train`"
_WIDEST = 1 << 16
"""Dimensions of features, at most."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A policy file as a method reads it.

    Attributes:
        method: identifier of the method that wrote it.
        weights: what it learned.
    """

    method: str
    weights: Weights


S = TypeVar("S", bound="Section")


def stored_section(model: type[S], weights: Weights, changes: Mapping[str, Any] | None = None) -> S:
    """The settings that weights were fitted with.

    Args:
        model: of the method's section.
        changes: top-level keys of the section that are not the weights' own.

    Raises:
        ArtifactError: they are not those of this version.
    """
    try:
        return model.model_validate_json(json.dumps({**weights.section, **(changes or {})}))
    except (TypeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise ArtifactError(f"{weights.source}: its settings cannot be read ({line[:160]})", _AGAIN) from error


def write_policy(
    path: Path, spec: MethodSpec, section: Section, fitted: Fitted, *, seed: int, encoder: Mapping[str, Any], data: str
) -> None:
    """Write weights, settings, encoder identity and curves into one policy file.

    Args:
        encoder: identity of the encoder of the features; empty where the method reads none.
        data: sha256 of what it was fitted on, by which a study recognises it.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    from srcli.artifacts.policy import save_policy

    training = {
        "seed": seed,
        "updates": fitted.updates,
        "samples": fitted.samples,
        "features": data,
        # JSON has no NaN: a value that does not exist is null.
        "metrics": {name: value if value == value else None for name, value in fitted.metrics.items()},
        **fitted.facts,
    }
    save_policy(path, fitted.weights, section.model_dump(mode="json"), dict(encoder), fitted.curves, training, method=spec.name)


def read_policy(path: Path) -> Stored:
    """The method and the weights of a policy file; files of the first version are mapped by what they hold.

    Raises:
        ArtifactError: the file cannot be used.
        UnknownNameError: a method that is not installed wrote it.
    """
    from srcli.artifacts.policy import load_policy

    return stored_of(load_policy(path), path)


def stored_of(file: PolicyFile, path: Path) -> Stored:
    """As :func:`read_policy`, of a file that has been read."""
    method, section = file.method, file.config
    if not method:
        method, section = _adopted(file, path)
    else:
        spec_of(method)
    width, seed = file.training.get("feature_dim", 1), file.training.get("seed", 0)
    if not isinstance(width, int) or not 0 < width <= _WIDEST:
        raise ArtifactError(f"{path}: says that it reads features of {str(width)[:20]} dimensions", _AGAIN)
    if not isinstance(seed, int):
        raise ArtifactError(f"{path}: says that it was trained with seed '{str(seed)[:20]}'", _AGAIN)
    return Stored(method, Weights(file.weights, section, file.encoder, file.training, str(path)))


def _adopted(file: PolicyFile, path: Path) -> tuple[str, dict[str, Any]]:
    for spec in specs().values():
        if spec.adopt is None:
            continue
        try:
            section = load(spec.adopt)(file, spec)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path}: its settings cannot be read ({type(error).__name__})", _AGAIN) from error
        if section is not None:
            return spec.name, section
    raise ArtifactError(f"{path}: a policy of the first version that no method here knows", _AGAIN)


def check_method(stored: Stored, wanted: str, path: Path) -> None:
    """Refuse a file of another method than its row is named after.

    Raises:
        MismatchError: ``wanted`` is an identifier, and the file is of another one.
    """
    if wanted in specs() and stored.method not in (wanted, specs()[wanted].weights_of):
        raise MismatchError(
            f"{path}: is a policy of '{stored.method}', not of '{wanted}'", f"name it {stored.method}={path}, or another name"
        )


def check_encoder(weights: Weights, encoder: Mapping[str, Any]) -> None:
    """Refuse weights that learned from another encoder's features. One that was taught from theirs is taken, with a warning.

    Raises:
        MismatchError: another encoder.
    """
    if not weights.encoder or canonical(encoder) == canonical(weights.encoder):
        return
    if not taught_from(encoder, weights.encoder):
        raise MismatchError(
            f"{weights.source}: was trained with encoder '{encoder_label(weights.encoder)}', not with this "
            f"'{encoder_label(encoder)}'",
            "train again on features of this encoder, or choose the recorded encoder",
        )
    _log.warning("%s was trained with the encoder that this one was taught from", Path(weights.source).name)


def taught_from(identity: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Whether an encoder was taught from the recorded one: the same in all but its weights, which are a parent's.

    Args:
        identity, recorded: as :meth:`srcli.perception.encoders.interface.EncoderIdentity.as_dict` gives them.
    """
    parents = list(identity.get("parents", ()))
    earlier = [dict(identity, sha256=sha, parents=parents[:place]) for place, sha in enumerate(parents)]
    return any(parent == {"parents": [], **recorded} for parent in earlier)
