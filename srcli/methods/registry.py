"""Methods by identifier: their specifications, settings, shipped weights and code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from srcli.config.base import Section
from srcli.errors import ConfigError, MissingAssetError, unknown_name
from srcli.methods.base import Build, Fit, MethodSpec, Part, Study

ENTRY_POINTS = "srcli.methods"
UNTRAINED = "untrained:"
"""Before an identifier: the control of a fitted method, whose weights are the initial ones."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Broken:
    """An entry point that is no method, and why."""

    name: str
    package: str
    reason: str


@lru_cache(maxsize=1)
def _found() -> tuple[dict[str, MethodSpec], dict[str, Broken]]:
    specs: dict[str, MethodSpec] = {}
    sections: dict[str, type[Section]] = {}
    broken: dict[str, Broken] = {}
    # Our own come first: a package of the user's does not replace them.
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda p: (not p.value.startswith("srcli."), p.name)):
        loaded = _load(point)
        reason = loaded if isinstance(loaded, str) else _clash(loaded, specs, sections)
        if isinstance(loaded, MethodSpec) and not reason:
            specs[loaded.name] = loaded
            sections[loaded.key] = loaded.section
        else:
            broken.setdefault(point.name, Broken(point.name, _package(point), reason))
    return specs, broken


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value.partition(".")[0]


def _load(point: EntryPoint) -> MethodSpec | str:
    """What an entry point announces, or why that is no method."""
    try:
        spec = point.load()
        if not isinstance(spec, MethodSpec):
            return f"{point.value} is not a MethodSpec"
        if spec.name != point.name:
            return f"its specification is named '{spec.name}'"
        if not _NAME.fullmatch(spec.name) or not _NAME.fullmatch(spec.key):
            return "its name or its group has other characters than lower-case letters, digits and underscores"
        spec.section()  # All parameters are composed of these: one without defaults would leave no method usable.
    except Exception as error:  # a package of somebody else's may fail in any way
        return f"{type(error).__name__}: {_line(error)}"
    return spec


def _clash(spec: MethodSpec, specs: Mapping[str, MethodSpec], sections: Mapping[str, type[Section]]) -> str:
    if spec.name in specs:
        return f"there is a method '{spec.name}' already"
    if sections.get(spec.key, spec.section) is not spec.section:
        return f"there is another section 'methods.{spec.key}' already"
    return ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def specs() -> Mapping[str, MethodSpec]:
    """All methods: those of this package and those that installed packages announce. Broken ones are left out."""
    return _found()[0]


def broken() -> Mapping[str, Broken]:
    """Announced methods that cannot be used, by the name of their entry point; one of them may be a method's name."""
    return _found()[1]


def spec_of(name: str) -> MethodSpec:
    """The specification of an identifier; of ``untrained:ID`` that of ``ID``.

    Raises:
        UnknownNameError: no such method.
        ConfigError: a package announces it, but it cannot be loaded; or the control of a method that learns nothing.
    """
    control, own = name.startswith(UNTRAINED), name.removeprefix(UNTRAINED)
    if own not in specs() and own in broken():
        bad = broken()[own]
        raise ConfigError(f"method '{own}' of package {bad.package} cannot be used: {bad.reason}", "repair or remove the package")
    if own not in specs():
        raise unknown_name("method", own, specs())
    spec = specs()[own]
    if control and spec.fit is None:
        raise ConfigError(
            f"'{name}': '{own}' learns nothing, so it has no untrained control", f"leave it away, or run {own} itself"
        )
    return spec


def load(reference: str) -> Any:
    """What ``"module:name"`` of a specification names.

    Raises:
        ConfigError: there is no such module or name, or importing it fails.
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # a package of somebody else's may fail in any way
        reason = f"{type(error).__name__}: {_line(error)}"
        raise ConfigError(
            f"{reference} of a method cannot be loaded: {reason}", "repair the package that announces it"
        ) from error


def builder(spec: MethodSpec) -> Build:
    """The function that makes a policy of settings and weights."""
    return cast("Build", load(spec.build))


def fitter(spec: MethodSpec) -> Fit:
    """The function that fits the method.

    Raises:
        ConfigError: it learns nothing, or acts with what another method has learned.
    """
    if spec.weights_of:
        raise ConfigError(
            f"method '{spec.name}' acts with a policy of '{spec.weights_of}'",
            f"train that one: `srcli train --method {spec.weights_of}`",
        )
    if spec.fit is None:
        raise ConfigError(
            f"method '{spec.name}' learns nothing, so there is nothing to train", "`srcli methods` lists those that do"
        )
    return cast("Fit", load(spec.fit))


def parts_of(spec: MethodSpec) -> Mapping[str, Part]:
    """The parts that the method declares."""
    return cast("Mapping[str, Part]", load(spec.parts)) if spec.parts else {}


def studies_of(spec: MethodSpec) -> Mapping[str, Study]:
    """The studies that the method declares."""
    return cast("Mapping[str, Study]", load(spec.studies)) if spec.studies else {}


def settings(spec: MethodSpec, section: Section | Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> Section:
    """The section of a method as this identifier uses it: with its preset, then with changes.

    Args:
        section: the group's section, or the plain data of one.
        changes: dotted keys and values.

    Raises:
        ConfigError: a key that the section does not have, or a value that it does not allow.
    """
    from pydantic import ValidationError

    data = section.model_dump(mode="json") if isinstance(section, BaseModel) else dict(section)
    for key, value in {**spec.preset, **(changes or {})}.items():
        node, parts = data, key.split(".")
        for part in parts[:-1]:
            node[part] = dict(node[part]) if isinstance(node.get(part), Mapping) else {}
            node = node[part]
        node[parts[-1]] = value
    import json

    try:
        return spec.section.model_validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"methods.{spec.key}.{where}: {first['msg'].lower()}", f"see `srcli methods show {spec.name}`"
        ) from None


def acting(spec: MethodSpec, section: Section, fitted: bool) -> dict[str, Any]:
    """The settings that a method's episodes depend on: those beside its weights; of an untrained one all but its training."""
    data = section.model_dump(mode="json")
    if fitted and spec.acts_with:
        return {key: data[key] for key in spec.acts_with}
    return {key: value for key, value in data.items() if key != "train"}


def _home(spec: MethodSpec) -> Path | None:
    """The folder of the method's package, or the file of its module; None where it has none."""
    module = spec.build.partition(":")[0]
    parent = module.rpartition(".")[0]
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        # Building it will say so; listing the methods must not fail for one of them.
        return None
    if found is None or found.origin is None:
        return None
    file = Path(found.origin)
    # A method of one file beside others (srcli.methods.random) is that file; one in a folder is the folder.
    own_folder = parent not in ("", "srcli.methods") or file.name == "__init__.py"
    return file.parent if own_folder else file


@lru_cache(maxsize=64)
def code_digest(name: str) -> str:
    """Digest of the code of a method: its folder or its file, and what it shares. Weights are left out: they are recorded with
    their episodes."""
    from srcli.artifacts.meaning import meaning_digest

    spec = spec_of(name)
    home = _home(spec)
    if home is None:
        return ""
    files = [file for file in sorted(home.rglob("*.py")) if "__pycache__" not in file.parts] if home.is_dir() else [home]
    own = meaning_digest(files, home.parent)
    if not spec.shares:
        return own
    root = Path(__file__).parents[1]
    shared = [root / name for name in spec.shares]
    both = f"{own}\n{meaning_digest([path for path in shared if path.is_file()], root)}\n"
    return hashlib.sha256(both.encode()).hexdigest()


def folder_of(name: str) -> str:
    """Where the code of a method lies inside this package, e.g. ``methods/sr``; empty for a method of another package."""
    home = _home(spec_of(name))
    root = Path(__file__).parents[1]
    return home.relative_to(root).as_posix() if home is not None and home.is_relative_to(root) else ""


def shipped_folder(spec: MethodSpec, encoder: str = "") -> Path | None:
    """Where a method keeps the weights that come with it.

    Args:
        encoder: folder of a second encoder's weights.
    """
    home = _home(spec)
    if home is None:
        return None
    folder = (home if home.is_dir() else home.parent / home.stem) / "weights"
    return folder / encoder if encoder else folder


def shipped(name: str, encoder: str = "") -> Path:
    """The policy file that comes with a method.

    Args:
        encoder: empty: that of the embedded encoder's features; else the name of other weights of it.

    Raises:
        MissingAssetError: none is shipped.
    """
    spec = spec_of(name)
    folder = shipped_folder(spec, encoder)
    path = folder / f"{spec.fitted_as}.h5" if folder is not None else None
    if path is None or not path.is_file():
        of = f" for encoder embedded/{encoder}" if encoder else ""
        raise MissingAssetError(
            f"no policy '{name}' is shipped with this package{of}",
            f"train one with `srcli train --method {spec.fitted_as}`, and name it as {name}=FILE",
        )
    return path


def is_shipped(name: str, encoder: str = "") -> bool:
    """Whether a policy file comes with a method."""
    spec = spec_of(name)
    folder = shipped_folder(spec, encoder)
    return folder is not None and (folder / f"{spec.fitted_as}.h5").is_file()


def forget() -> None:
    """Look for methods anew at the next question (a package was installed in this process)."""
    _found.cache_clear()
    code_digest.cache_clear()
