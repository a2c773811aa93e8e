"""YAML of people's files, with limits: what is too long, too deep or too much is refused before it is built.

Numbers and words are those of YAML 1.2's core schema, as DVC reads and writes them: ``010`` is 10, ``1e-4`` a number, ``on``,
``1:30`` and ``2001-12-31`` are words. Values come from the parser's events, so nothing grows beyond :data:`MOST_VALUES`, however
often a file repeats itself by aliases.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from srcli.errors import ConfigError

LARGEST = 4 << 20
"""Bytes of a file."""
DEEPEST = 64
"""Levels of mappings and lists."""
MOST_VALUES = 200_000
"""Values of a file, those that aliases repeat included."""
LARGEST_INTEGER = (1 << 63) - 1

_LONGEST_NUMBER = 40
_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class _Refused(Exception):
    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem)
        self.problem, self.mark = problem, mark


def parse_yaml(text: str, source: str) -> Any:
    """Plain data of YAML ``text``: mappings with words as keys, lists, words, numbers, true, false and null.

    Raises:
        ConfigError: not YAML, a key stands twice, or it exceeds what a file of people's may hold; names the line.
    """
    if len(text) > LARGEST:
        raise ConfigError(f"{source}: is longer than {LARGEST >> 20} MiB", "give a smaller file")
    try:
        text.encode("utf-8")
        return _Builder(text).document()
    except UnicodeEncodeError:
        raise ConfigError(f"{source}: is not UTF-8 text", "save it as UTF-8") from None
    except (_Refused, yaml.YAMLError) as error:
        mark = getattr(error, "mark", None) or getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(
            f"{source}:{line} not valid YAML: {problem[:200]}", "fix the file; two spaces per level, 'key: value'"
        ) from None


def read_yaml(path: Path) -> Any:
    """Plain data of a YAML file, as :func:`parse_yaml`; no more of it is read than a file may hold.

    Raises:
        ConfigError: it cannot be read, or as :func:`parse_yaml`.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(LARGEST + 1)
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text", "save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})", "check the file and its permissions") from error
    return parse_yaml(text, str(path))


class Dumper(yaml.SafeDumper):
    """Writes what :func:`parse_yaml` reads: words that YAML 1.2 takes for numbers are quoted."""


def _word(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    number = _INT.fullmatch(text) or _FLOAT.fullmatch(text)
    return dumper.represent_scalar(f"{_TAG}str", text, style="'" if number else None)


Dumper.add_representer(str, _word)


class _Builder:
    def __init__(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=getattr(yaml, "CLoader", yaml.Loader))
        self._known: dict[str, tuple[Any, int]] = {}
        self._values = 0

    def document(self) -> Any:
        """The one document of the text; None where there is none."""
        value: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused("a second document begins", event.start_mark)
            elif isinstance(event, yaml.NodeEvent):
                value = self._value(event, 0)
        return value

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._known:
                raise _Refused(f"'*{event.anchor}' names nothing that is complete", event.start_mark)
            value, size = self._known[event.anchor]
            self._count(size, event)
            return value
        before = self._values
        self._count(1, event)
        if depth > DEEPEST:
            raise _Refused(f"more than {DEEPEST} levels", event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            _check_tag(event, "seq")
            value = self._list(depth)
        else:
            _check_tag(event, "map")
            value = self._mapping(depth)
        if event.anchor is not None:
            self._known[event.anchor] = (value, self._values - before)
        return value

    def _list(self, depth: int) -> list[Any]:
        found = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, depth + 1))
        return found

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, depth + 1)
            if not isinstance(key, str):
                raise _Refused(f"key {str(key)[:40]} is not a word", event.start_mark)
            if key in found:
                raise _Refused(f"key '{key[:80]}' stands twice", event.start_mark)
            found[key] = self._value(next(self._events), depth + 1)
        return found

    def _count(self, size: int, event: Any) -> None:
        self._values += size
        if self._values > MOST_VALUES:
            raise _Refused(f"more than {MOST_VALUES} values", event.start_mark)


def _check_tag(event: Any, kind: str) -> None:
    if event.tag not in (None, "!", _TAG + kind):
        raise _Refused(f"the tag '{str(event.tag)[:60]}' is not known", event.start_mark)


def _scalar(event: Any) -> Any:
    text: str = event.value
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        raise _Refused("a character that no text has", event.start_mark)
    tag = event.tag
    if tag in (None, "!"):
        # ``implicit`` tells whether a plain word stands there; quoted ones are words whatever they look like.
        return _plain(text, event) if tag is None and event.implicit[0] else text
    kind = tag.removeprefix(_TAG)
    if kind == "str":
        return text
    patterns = {"null": _NULL, "bool": _BOOL, "int": _INT, "float": _FLOAT}
    if tag == kind or kind not in patterns:
        raise _Refused(f"the tag '{tag[:60]}' is not known", event.start_mark)
    if not patterns[kind].fullmatch(text):
        raise _Refused(f"'{text[:40]}' is no {kind}", event.start_mark)
    value = _plain(text, event)
    return float(value) if kind == "float" else value


def _plain(text: str, event: Any) -> Any:
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    integer = _INT.fullmatch(text) is not None
    if not integer and not _FLOAT.fullmatch(text):
        return text
    if len(text) > _LONGEST_NUMBER:
        raise _Refused(f"a number of {len(text)} characters", event.start_mark)
    if integer:
        number = int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
        if abs(number) > LARGEST_INTEGER:
            raise _Refused(f"{text[:20]}... exceeds 64 bits", event.start_mark)
        return number
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
