"""params.yaml -> :class:`~srcli.params.Params`, with errors that name the key and what is allowed."""

from __future__ import annotations

import difflib
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from srcli.config.yamltext import LARGEST, LARGEST_INTEGER, parse_yaml
from srcli.errors import ConfigError
from srcli.params import Params

DEFAULT_FILE = Path("params.yaml")


def load_params(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Params:
    """The parameters of a run: ``overrides`` beat the file, the file beats the defaults.

    Args:
        path: a params.yaml; None takes ``params.yaml`` of the working directory, or the defaults alone where there is none.
        overrides: dotted key -> value, as given by command line flags.

    Raises:
        ConfigError: the file is missing or unreadable; a key is unknown, of the wrong type or out of range.
    """
    data: dict[str, Any] = {}
    source = "defaults"
    if path is not None or DEFAULT_FILE.is_file():
        file = path or DEFAULT_FILE
        source = str(file)
        try:
            with file.open(encoding="utf-8") as stream:
                text = stream.read(LARGEST + 1)
        except FileNotFoundError:
            raise ConfigError(
                f"{file}: no such file", "give a parameter file with --params, or leave it away for the defaults"
            ) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(f"{file}: cannot be read: {reason}", "give a readable YAML file with --params") from None
        loaded = parse_yaml(text, source)
        if loaded is not None and not isinstance(loaded, dict):
            raise ConfigError(
                f"{file}: a mapping of sections is expected, got {_kind(loaded)}", "the first line reads like 'seed: 0'"
            )
        data = loaded or {}
    params = validate(data, source)
    return override(params, overrides) if overrides else params


def override(params: Params, values: Mapping[str, Any], source: str = "command line") -> Params:
    """A copy with some keys replaced.

    Args:
        params: what to start from.
        values: dotted key -> value, e.g. ``{"collect.episodes": 10}``.
        source: what an error names as the origin of the values.

    Raises:
        ConfigError: a key is unknown, or a value of the wrong type or out of range.
    """
    data = params.model_dump(mode="json")
    for key, value in values.items():
        node, parts = data, key.split(".")
        section: Any = params
        for depth, part in enumerate(parts):
            # A section may leave a key out of what it writes while that has its default.
            declared = isinstance(section, BaseModel) and part in type(section).model_fields
            if not isinstance(node, dict) or not (part in node or declared):
                raise _unknown(source, tuple(parts[: depth + 1]))
            if depth < len(parts) - 1:
                node = node[part]
                section = getattr(section, part, None)
        node[parts[-1]] = value
    return validate(data, source)


def validate(data: Mapping[str, Any], source: str) -> Params:
    """``data`` as :class:`Params`.

    Raises:
        ConfigError: one line with the key's path, the value, and what is allowed.
    """
    _check_numbers(data, source, ())
    try:
        # By way of JSON: strict types, while a YAML list may still fill a tuple and a word an enumeration.
        return Params.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=True)
        # One problem per key: a union reports each of its branches, and a list what its entries have left of it.
        first = problems[0]
        places = {tuple(p["loc"]) for p in problems}
        more = sum(all(other == place or other[: len(place)] != place for other in places) for place in places) - 1
        raise _error(source, first, more) from None
    except ConfigError as error:
        # Raised by a section's own check, which knows the keys but not the file.
        raise ConfigError(f"{source}: {error.message}", error.hint) from None


def _check_numbers(data: Any, source: str, location: tuple[str, ...]) -> None:
    """Refuse integers that no array can hold, and what is not a finite number."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            _check_numbers(value, source, (*location, str(key)))
    elif isinstance(data, list | tuple):
        for value in data:
            _check_numbers(value, source, location)
    elif isinstance(data, int) and abs(data) > LARGEST_INTEGER:
        raise ConfigError(f"{source}: {'.'.join(location)}: exceeds 64 bits", "give a smaller number")
    elif isinstance(data, float) and not math.isfinite(data):
        raise ConfigError(f"{source}: {'.'.join(location)} = {data}: is not a finite number", "give a number")


def _error(source: str, problem: Any, more: int) -> ConfigError:
    location = tuple(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return _unknown(source, location)
    path = ".".join(str(part) for part in location)
    value = json.dumps(problem["input"], default=str)
    value = "" if isinstance(problem["input"], dict) else f" = {value if len(value) <= 60 else value[:57] + '...'}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    message = message.removeprefix("value error, ")
    tail = f" (and {more} more)" if more > 0 else ""
    info, _ = _field(location)
    rule = allowed(info) if info is not None else ""
    said = f"{path}: {info.description.rstrip('.')}" if info is not None and info.description else ""
    if problem["type"] in ("tuple_type", "list_type"):
        message = "should be a list"
        rule = _list_of(info.annotation if info is not None else None, path)
    hint = f"{said} (allowed: {rule})" if rule else said
    if problem["type"] != "value_error":
        # "Input should be greater than 0", "String should match pattern ...": what it is stands before this already.
        _, _, wanted = message.partition("should ")
        message = f"should {wanted}" if wanted else message
    return ConfigError(f"{source}: {path or 'parameters'}{value}: {message}{tail}", " ".join(hint.split()))


MOVED = {"model": "methods.sr", "train": "methods.sr.train", "evaluate.combine": "methods.sr.choice"}
"""Keys of the first version, and where they are now."""
GONE = ("sim.workspace_z",)
"""Keys of earlier versions that had no effect."""


def _unknown(source: str, location: tuple[Any, ...]) -> ConfigError:
    dotted = ".".join(str(part) for part in location)
    if now := next((new for old, new in MOVED.items() if dotted == old or dotted.startswith(f"{old}.")), ""):
        return ConfigError(f"{source}: unknown key '{dotted}'", f"it is below '{now}' now; `srcli params` prints all keys")
    if dotted in GONE:
        return ConfigError(f"{source}: unknown key '{dotted}'", "it never had an effect: leave it out")
    _, owner = _field(location[:-1])
    names = sorted(owner.model_fields) if owner is not None else []
    key, where = str(location[-1]), ".".join(str(part) for part in location[:-1])
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    meant = f"did you mean '{close[0]}'? " if close else ""
    place = f"in '{where}'" if where else "at the top level"
    path = f"{where}.{key}" if where else key
    allowed = f"{meant}known {place}: {', '.join(names)}" if names else f"'{where}' has no keys of its own"
    return ConfigError(f"{source}: unknown key '{path}'", allowed)


def _field(location: tuple[Any, ...]) -> tuple[Any, type[BaseModel] | None]:
    """The field at ``location`` and, where its value is a section, the section's class."""
    owner: type[BaseModel] | None = Params
    info = None
    for part in location:
        fields = owner.model_fields if owner is not None else {}
        if part not in fields:
            break
        info = fields[part]
        owner = _section(info.annotation)
    return info, owner


def allowed(info: Any) -> str:
    """What a field allows, e.g. ``> 0, <= 1`` or ``base | sr``; empty where it declares nothing."""
    signs = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("multiple_of", "multiple of"))
    bounds = [f"{sign} {getattr(rule, name):g}" for rule in info.metadata for name, sign in signs if hasattr(rule, name)]
    if typing.get_origin(info.annotation) is typing.Literal:
        bounds = [" | ".join(str(choice) for choice in typing.get_args(info.annotation))]
    return ", ".join(bounds)


def _list_of(annotation: Any, path: str) -> str:
    """What a list may hold, and how one is written."""
    entries = [entry for entry in typing.get_args(annotation) if typing.get_origin(entry) is typing.Literal]
    choices = [str(choice) for entry in entries for choice in typing.get_args(entry)]
    held = f"a list of {' | '.join(choices)}" if choices else "a list"
    return f"{held}, as in -S '{path}=[{choices[0] if choices else '...'}]'"


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next((s for a in typing.get_args(annotation) if (s := _section(a)) is not None), None)
    return None


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else type(value).__name__
