"""Policies of a comparison: shipped, given, or trained on the same data. One that cannot be had costs its own rows alone."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.core import atomic_write
from srcli.errors import BusyError, ConfigError, DiskError, MissingAssetError, SrcliError, unknown_name
from srcli.evaluation.methods import Method, parse_method, shipped_file
from srcli.methods.policy_file import check_method, read_policy, stored_section, taught_from
from srcli.methods.registry import broken, spec_of, specs
from srcli.params import method_settings
from srcli.studies.policy_store import Arm, PolicyStore

if TYPE_CHECKING:
    from srcli.config.base import Section
    from srcli.parallel import Progress
    from srcli.params import Params

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Policies:
    """What the methods of a comparison act with.

    Attributes:
        files: policy file by identifier of the method that was fitted.
        controls: settings of a method's control, which are those that its policy was fitted with.
        minutes: that a training took, where it was made in this folder.
        trained: identifiers trained now.
        left_out: identifiers without a policy, or that cannot be built, and why.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    controls: Mapping[str, Section] = field(default_factory=dict)
    minutes: Mapping[str, float] = field(default_factory=dict)
    trained: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def policies_of(
    params: Params,
    folder: Path,
    features: Path | None,
    demos: Sequence[Path],
    given: Sequence[str],
    device: str,
    progress: Progress | None,
) -> Policies:
    """The policy of every method that learns; what fails is told and left out.

    Raises:
        ConfigError, UnknownNameError, ArtifactError, MismatchError: a given policy cannot be used, or the features cannot.
    """
    from srcli.studies.policy_store import check_features, encoder_identity

    names = dict.fromkeys(params.compare.methods)
    unusable = {name: bad for name, bad in broken().items() if name not in specs()}
    left_out = {name: f"its package cannot be used: {unusable[name].reason}" for name in names if name in unusable}
    usable = [name for name in names if name not in left_out]
    files = given_files(given, usable)
    wanted = dict.fromkeys(spec_of(name).fitted_as for name in usable if spec_of(name).fit is not None)
    identity = lru_cache(partial(encoder_identity, params, device))
    if features is not None:
        check_features(features, params, identity)
    store = PolicyStore(folder, {}, device=device, demos=demos)
    minutes_file = folder / "minutes.json"
    minutes: dict[str, float] = _minutes(minutes_file)
    trained: list[str] = []
    missing = [name for name in wanted if name not in files]
    for number, name in enumerate(missing):
        if params.compare.train == "missing" and (ours := _shipped(name, params, identity())) is not None:
            files[name] = ours
            continue
        arm = Arm(name, spec_of(name).title, params, name)
        resumed = store.path(arm, params.compare.train_seed, features).with_suffix(".checkpoint").exists()
        began = time.monotonic()
        try:
            kept = store.get(
                arm,
                params.compare.train_seed,
                features,
                _told(progress, name, number, len(missing)),
            )
        except (BusyError, DiskError):
            raise
        except Exception as error:  # a method of somebody else's may fail in any way; the others go on
            left_out |= _fails(name, usable, f"could not be trained: {_line(error)}")
            continue
        files[name] = kept.path
        if kept.origin == "trained":
            trained.append(name)
            # What an interrupted training had spent before is not known.
            if not resumed:
                minutes[kept.path.name] = round((time.monotonic() - began) / 60, 2)
            with atomic_write(minutes_file) as temporary:
                temporary.write_text(json.dumps(minutes, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    controls: dict[str, Section] = {}
    for name in usable:
        if name in left_out:
            continue
        try:
            controls |= _built(params, name, files.get(spec_of(name).fitted_as), device)
        except Exception as error:
            left_out |= {name: f"cannot be built: {_line(error)}"}
    spent = {name: minutes[path.name] for name, path in files.items() if path.name in minutes}
    for name, why in left_out.items():
        _log.warning("'%s' has no row: %s", name, why)
    return Policies(files, controls, spent, tuple(trained), left_out)


def to_train(params: Params, features: Path | None, demos: Sequence[Path], given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Identifiers of which a policy has to be trained, or found from an earlier run; and those that have neither a policy nor
    data to train one on."""
    names = [name for name in dict.fromkeys(params.compare.methods) if name in specs()]
    files = given_files(given, names)
    train: list[str] = []
    lacking: list[str] = []
    for name in dict.fromkeys(spec_of(name).fitted_as for name in names if spec_of(name).fit is not None):
        if name in files or (params.compare.train == "missing" and _is_shipped(name, params)):
            continue
        there = bool(demos) if spec_of(name).reads == "demos" else features is not None
        (train if there else lacking).append(name)
    return train, [name for name in names if spec_of(name).fitted_as in lacking]


def _is_shipped(name: str, params: Params) -> bool:
    try:
        shipped_file(name, params.encoder)
    except MissingAssetError:
        return False
    return True


def given_files(texts: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    """Given policies, ``NAME=FILE``, by the identifier of the method that was fitted.

    Raises:
        ConfigError, UnknownNameError, ArtifactError, MismatchError: one of them cannot be used.
    """
    files: dict[str, Path] = {}
    for text in texts:
        name, path = parse_method(text)
        if path is None:
            raise ConfigError(f"-m {text}: no file", f"write -m NAME=FILE, for example {text}=policy.h5")
        if name not in names:
            raise unknown_name("method of the comparison", name, names)
        fitted = spec_of(name).fitted_as
        check_method(read_policy(path), name, path)
        if files.setdefault(fitted, path) != path:
            raise ConfigError(f"two policies are given for '{fitted}'", "they share one: give one file")
    return files


def _shipped(name: str, params: Params, identity: Mapping[str, Any]) -> Path | None:
    """The policy that comes with a method, if it has learned from this encoder's features."""
    try:
        path = shipped_file(name, params.encoder)
    except MissingAssetError:
        return None
    recorded = read_policy(path).weights.encoder
    return path if not recorded or dict(recorded) == dict(identity) or taught_from(identity, recorded) else None


def _built(params: Params, name: str, path: Path | None, device: str) -> dict[str, Section]:
    """Build it once, so that what does not fit is known before anything is played; the settings of its control."""
    from srcli.perception.encoders import load_encoder

    spec, section = method_settings(params, name)
    method = Method(name, name, section, None if path is None else str(path))
    method.build(load_encoder(params.encoder, device), device)
    if spec.fit is None or path is None:
        return {}
    now: dict[str, Any] = section.model_dump(mode="json")
    acting = {key: now[key] for key in spec.acts_with}
    return {name: stored_section(spec.section, read_policy(path).weights, acting)}


def _fails(fitted: str, names: Sequence[str], why: str) -> dict[str, str]:
    """All identifiers that act with a policy that there is not."""
    return {name: why for name in names if spec_of(name).fitted_as == fitted}


def _line(error: Exception) -> str:
    if isinstance(error, SrcliError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _minutes(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _told(progress: Progress | None, name: str, number: int, count: int) -> Callable[[int, int, str], None]:
    def told(update: int, updates: int, message: str) -> None:
        if progress is not None:
            progress(number * updates + update, count * updates, f"train {name}: {message}")

    return told
