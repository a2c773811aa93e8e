"""What a number stands on: commit, parameters, weights and code. Taken when it is measured, and again when it is checked."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli import __version__
from srcli.artifacts.digests import config_digest, content_digest, file_digest
from srcli.artifacts.meaning import meaning_digest
from srcli.errors import ConfigError
from srcli.methods.registry import acting, folder_of, spec_of
from srcli.methods.registry import code_digest as method_bytes

if TYPE_CHECKING:
    from srcli.config.base import Section
    from srcli.evaluation.methods import Method
    from srcli.params import Params

SECTIONS = ("scene", "sim", "language", "candidates", "placements", "cloud", "encoder")
"""Sections that every episode depends on."""
EVALUATE = ("wording", "attempts", "initialisations", "perturb", "bootstrap", "confidence")
"""Keys of section ``evaluate`` that the numbers depend on."""
DIRTY = "-dirty"


def package() -> Path:
    """Where this package lies."""
    return Path(str(files("srcli")))


def commit(outputs: Sequence[Path], allow_dirty: bool = False) -> str:
    """The commit of the work tree that this package lies in (``git describe``); the package's version where there is none.

    Args:
        outputs: files that do not count as changes: those which the results are written into.
        allow_dirty: mark a changed tree instead of refusing it.

    Raises:
        ConfigError: the tree has changes, so that the numbers would belong to no commit.
    """
    root = package().parent
    # A package installed into an environment that lies in somebody's repository is not part of that repository.
    if _git(root, "ls-files", "--error-unmatch", f"{package().name}/__init__.py") is None:
        return __version__
    described = _git(root, "describe", "--always", "--tags", "--abbrev=12")
    if described is None:
        return __version__
    own = {path.resolve() for path in outputs}
    changed = []
    top = Path((_git(root, "rev-parse", "--show-toplevel") or str(root)).strip())
    for line in (_git(root, "-c", "core.quotePath=false", "status", "--porcelain", "--untracked-files=all") or "").splitlines():
        name = line[3:].rpartition(" -> ")[2].strip('"')
        # What is not tracked matters only where it is imported or read.
        tracked = not line.startswith("??")
        if (tracked or (top / name).is_relative_to(package())) and (top / name).resolve() not in own:
            changed.append(name)
    if not changed:
        return described.strip()
    if not allow_dirty:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ConfigError(
            f"the work tree has changes ({changed[0]}{more}), so the numbers would belong to no commit",
            "commit them first, or give --allow-dirty to try it out",
        )
    return described.strip() + DIRTY


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None where it is not installed, or refuses."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def shared_code() -> str:
    """Digest of the code that every episode goes through, whatever the method; weights and catalogue are not part of it."""
    from srcli.evaluation.journal import PLACES

    root = package()
    data = root / "objects" / "data"
    found = [file for name in PLACES for file in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))]
    kept = [f for f in found if f.is_file() and "weights" not in f.relative_to(root).parts and not f.is_relative_to(data)]
    return meaning_digest(kept, root)


def method_code(name: str) -> str:
    """Digest of a method's own folder or file and of what it shares with others; of a method of another package that of its
    bytes."""
    own = folder_of(name)
    if not own:
        return method_bytes(name)
    home = package() / own
    shared = [package() / path for path in spec_of(name).shares]
    return meaning_digest([*(sorted(home.rglob("*.py")) if home.is_dir() else [home]), *shared], package())


def shared_weights(params: Params) -> dict[str, str]:
    """Digests of the weights and data that every row of a part uses, by what they are."""
    from srcli.actions.sources import content_of
    from srcli.perception.encoders.embedded import weights_file

    encoder = params.encoder
    named = weights_file(encoder.pretrained) if encoder.name == "embedded" else Path(encoder.pretrained)
    content = content_of(params.candidates)
    found = {
        "encoder": content_digest(named),
        "grasp quality network": content.get("candidates.quality", ""),
        "grasp source": content.get("candidates.source", ""),
        "catalogue of objects": content_digest(package() / "objects" / "data"),
    }
    return {name: digest for name, digest in found.items() if digest}


def shared_parameters(params: Params) -> dict[str, Any]:
    """Digest of the parameters that every row of a part depends on, and those that differ from the defaults."""
    from srcli.params import Params

    values = _relevant(params)
    return {"digest": config_digest(values), "differ": different(_relevant(Params()), values)}


def _relevant(params: Params) -> dict[str, Any]:
    found = {name: getattr(params, name).model_dump(mode="json") for name in SECTIONS}
    return {**found, "evaluate": params.evaluate.model_dump(mode="json", include=set(EVALUATE))}


def settings_of(method: str, section: Section, fitted: bool) -> dict[str, Any]:
    """Digest of the settings that a method's episodes depend on, and those that differ from the method's own defaults."""
    from srcli.params import Params, method_settings

    spec = spec_of(method)
    usual = acting(spec, method_settings(Params(), spec.name)[1], fitted)
    own = acting(spec, section, fitted)
    return {"digest": config_digest(own), "differ": different(usual, own)}


def described(method: Method) -> dict[str, Any]:
    """A row's method: what it is, what it has learned from how much, and on which code and weights it stands."""
    from srcli.artifacts.policy import load_policy

    spec = spec_of(method.method)
    path = method.path
    budget = None
    if path is not None:
        training = load_policy(path).training
        known = {"updates": training.get("updates"), "samples": training.get("samples"), "seed": training.get("seed")}
        budget = {name: value for name, value in known.items() if value is not None}
    return {
        "method": method.method,
        "title": f"{spec.title}, untrained" if method.control else spec.title,
        "fidelity": spec.fidelity,
        "source": spec.source,
        "privileged": spec.privileged,
        "control": method.control,
        "budget": budget,
        "policy": file_digest(path) if path is not None else None,
        "settings": settings_of(method.method, method.section, path is not None),
        "code": method_code(method.method),
    }


def different(usual: Mapping[str, Any], values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys whose values differ from the usual ones, with these values."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        before = usual.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            found |= different(before, value, f"{prefix}{key}.")
        elif value != before:
            found[f"{prefix}{key}"] = value
    return found
