"""Benchmark case files as they are: the text format of A2 and VLG for picking, placing and pick-and-place.

A pick file has a sentence, a line of target numbers (from 0), then one line per object: ``URDF x y z roll pitch yaw``. A place
file has a sentence, the reference's label, the relation word, then 8 objects. A pick-and-place file is a pick file of 15 objects
followed by a place file. Line ends of any system, blank lines and trailing blanks are accepted; sentences keep their spelling.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from srcli.errors import ArtifactError, UnknownNameError
from srcli.evaluation.casewords import FileCase, keyword_of, quaternion, referred, split_of
from srcli.evaluation.yamlcases import read_file_cases
from srcli.language.relations import RELATIONS
from srcli.objects import ObjectEntry, catalogue
from srcli.tasks.base import Case
from srcli.types import F64

if TYPE_CHECKING:
    from srcli.objects.assets import Asset

PLACE_OBJECTS, PICK_PLACE_OBJECTS = 8, 15
"""Objects of a place zone, and of the pick zone beside it, in A2's benchmark."""

ZONE_CENTER_Y = {"pick": -0.168, "place": 0.168}
"""Centre in y of A2's two zones of pick-and-place, metres: poses are moved from there to the zone frame."""

_log = logging.getLogger(__name__)
_FORMAT = "see docs/cases.md for the format"
_HEADER = re.compile(r"^(readme|license|licence|notice)", re.IGNORECASE)
_VARIANT = re.compile(r"_(v?\d+|simplified|textured|vhacd|visual|collision|model|urdf)$")
_LARGEST = 100
_LONGEST = 4 << 20
"""Bytes of a case file."""
_DIGITS = 9
"""Of a target's number."""
_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class CaseFolder:
    """All cases below a folder.

    Attributes:
        cases: in order of their paths.
        assets: the user's own objects that they use.
    """

    cases: tuple[FileCase, ...]
    assets: tuple[Asset, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str

    @property
    def is_object(self) -> bool:
        first = self.text.split()[0]
        return "/" in first or "\\" in first or first.lower().endswith((".urdf", ".obj"))


@dataclass(frozen=True, slots=True)
class _Object:
    reference: str
    pose: tuple[float, ...]
    line: int


@dataclass(frozen=True, slots=True)
class _Parsed:
    """One file before its references are resolved; ``head`` and ``place`` are (sentence, label, relation) lines."""

    path: Path
    name: str
    task: str
    pick: tuple[_Line, tuple[int, ...]] | None
    objects: tuple[_Object, ...]
    place: tuple[_Line, _Line, _Line] | None
    place_objects: tuple[_Object, ...]

    def fail(self, line: int, what: str, hint: str = _FORMAT) -> NoReturn:
        _fail(self.path, line, what, hint)


def read_cases_folder(folder: Path, assets: Path | None = None) -> CaseFolder:
    """All case files below a folder, or one file: benchmark files (``*.txt``) and our own format (``*.yaml``).

    Args:
        folder: searched recursively. Files below a folder named ``seen`` or ``unseen`` belong to that split; others are unseen
            when none of their objects is a seen one of the catalogue.
        assets: folder with the user's own URDF or OBJ files. What is not found there is taken from the catalogue.

    Raises:
        ArtifactError: nothing to read, a damaged file (names file and line), or two cases of one name.
        UnknownNameError: objects that exist nowhere; lists all of them.
    """
    folder = Path(folder)
    if not folder.exists():
        raise ArtifactError(f"{folder}: no such folder of case files", "give a folder with case files (*.txt)")
    if assets is not None and not Path(assets).is_dir():
        raise ArtifactError(f"{assets}: no such folder of object files", "give the folder that holds your URDF or OBJ files")
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".txt", *_YAML)) if folder.is_dir() else [folder]
    paths = [path for path in paths if path == folder or not (_HEADER.match(path.name) or path.is_dir())]
    if not paths:
        raise ArtifactError(f"{folder}: no case files (*.txt, *.yaml) in it", _FORMAT)
    base = folder if folder.is_dir() else folder.parent
    own = [path for path in paths if path.suffix in _YAML]
    parsed = [_parse(path, path.relative_to(base).with_suffix("").as_posix()) for path in paths if path not in own]
    names, used = _resolve(parsed, None if assets is None else Path(assets))
    listed = [_case(item, names) for item in parsed]
    for path in own:
        listed += read_file_cases(_text(path), str(path), f"{path.relative_to(base).with_suffix('').as_posix()}/")
    named = [(item.task, item.case.name) for item in listed]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise ArtifactError(
            f"{folder}: two cases of the task {twice[0]} are named '{twice[1]}'", "rename one of them, or its file"
        )
    return CaseFolder(tuple(listed), used)


def namesake(reference: str) -> str | None:
    """The catalogue's object for a benchmark reference: ``simplified_objects/011.urdf`` by number, ``unseen_objects/suger_1/...``
    by name, ``unseen_objects_40/001_softball/...`` by the name behind the number; None when there is none."""
    entries = catalogue()
    numbers = {entry.graspnet_id: entry.name for entry in entries if entry.graspnet_id}
    path = PurePosixPath(reference.replace("\\", "/"))
    for part in reversed((path.with_suffix("") if path.name else path).parts):
        if part in numbers:
            return numbers[part]
        word = re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_")
        # A number before a name counts the files of a folder; it says nothing about the object.
        for spelled in dict.fromkeys((word, re.sub(r"^\d+_+", "", word))):
            while spelled not in entries and _VARIANT.search(spelled):
                spelled = _VARIANT.sub("", spelled)
            if spelled in entries:
                return spelled
    return None


def _fail(path: Path, line: int, what: str, hint: str = _FORMAT) -> NoReturn:
    raise ArtifactError(f"{path}:{line}: {what}", hint)


def _text(path: Path) -> str:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise ArtifactError(f"{str(path)!a}: its name is not UTF-8", "rename it") from None
    # Opening a pipe would wait for whoever writes into it.
    if not path.is_file():
        raise ArtifactError(f"{path}: is not a regular file", "remove it from the folder of case files")
    if path.stat().st_size > _LONGEST:
        raise ArtifactError(f"{path}: is longer than {_LONGEST >> 20} MiB, which no case file is", _FORMAT)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        _fail(path, 1, "is not a text file in UTF-8")
    if "\0" in text:
        _fail(path, text[: text.index("\0")].count("\n") + 1, "holds a zero byte, so it is no text")
    return text


def _parse(path: Path, name: str) -> _Parsed:
    text = _text(path)
    lines = [_Line(i, " ".join(raw.split())) for i, raw in enumerate(text.splitlines(), start=1)]
    lines = [line for line in lines if line.text]
    if not lines:
        _fail(path, 1, "the file is empty")
    head, objects, rest = _block(lines)
    if not head:
        _fail(path, lines[0].number, "begins with an object; the sentence is missing")
    if not objects:
        _fail(path, lines[-1].number, "there is no object line ('URDF x y z roll pitch yaw')")
    if _numeric(head[0].text):
        _fail(path, head[0].number, f"the sentence is missing: '{_short(head[0].text)}' is no sentence")
    placing = len(head) == 3
    if placing and _numeric(head[1].text):
        _fail(path, head[2].number, f"'{_short(head[2].text)}' is no object line ('URDF x y z roll pitch yaw')")
    if len(head) > 3:
        _fail(path, head[3].number, f"'{_short(head[3].text)}' is no object line ('URDF x y z roll pitch yaw')")
    if len(head) == 1:
        _fail(path, objects[0].number, "no line with the target numbers (or reference and relation) stands before the objects")
    first = tuple(_object(path, line) for line in objects)
    if placing:
        if rest:
            _fail(path, rest[0].number, f"'{_short(rest[0].text)}' is no object line ('URDF x y z roll pitch yaw')")
        _count(path, objects, PLACE_OBJECTS, "a place file")
        return _Parsed(path, name, "place", None, (), _place_head(path, head), first)
    if not rest:
        return _Parsed(path, name, "pick", (head[0], _targets(path, head[1], len(first))), first, None, ())
    lower, lower_objects, excess = _block(rest)
    if len(lower) > 3:
        _fail(path, lower[3].number, f"'{_short(lower[3].text)}' is no object line ('URDF x y z roll pitch yaw')")
    if len(lower) < 3:
        # A lone stray line among objects is a damaged object line rather than half a header.
        damaged = _numeric(lower[0].text.split()[0]) or len(lower[0].text.split()) >= 7
        missing = (
            f"'{_short(lower[0].text)}' is no object line" if damaged else "the place half needs sentence, reference and relation"
        )
        _fail(path, lower[-1].number, missing)
    if excess:
        _fail(path, excess[0].number, f"'{_short(excess[0].text)}' is no object line ('URDF x y z roll pitch yaw')")
    _count(path, objects, PICK_PLACE_OBJECTS, "the pick half of a pick-and-place file")
    if not lower_objects:
        _fail(path, lower[-1].number, f"the place half has no objects; {PLACE_OBJECTS} are needed")
    _count(path, lower_objects, PLACE_OBJECTS, "the place half of a pick-and-place file")
    second = tuple(_object(path, line) for line in lower_objects)
    pick = (head[0], _targets(path, head[1], len(first)))
    return _Parsed(path, name, "pick_place", pick, first, _place_head(path, lower), second)


def _block(lines: Sequence[_Line]) -> tuple[list[_Line], list[_Line], list[_Line]]:
    """(lines before the first object, objects, everything after them)."""
    start = next((i for i, line in enumerate(lines) if line.is_object), len(lines))
    end = next((i for i in range(start, len(lines)) if not lines[i].is_object), len(lines))
    return list(lines[:start]), list(lines[start:end]), list(lines[end:])


def _count(path: Path, objects: Sequence[_Line], wanted: int, what: str) -> None:
    if len(objects) != wanted:
        line = objects[min(wanted, len(objects) - 1)].number
        _fail(path, line, f"{what} has {wanted} objects, here are {len(objects)}")


def _numeric(text: str) -> bool:
    return all(re.fullmatch(r"[-+]?\d+([.,]\d*)?(e[-+]?\d+)?", word, re.IGNORECASE) for word in text.split())


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _targets(path: Path, line: _Line, count: int) -> tuple[int, ...]:
    words = line.text.split()
    if not any(re.search(r"\d", word) for word in words):
        _fail(
            path,
            line.number,
            f"'{_short(line.text)}' is no list of target numbers (a pick file), and no relation follows it (a place file)",
        )
    for word in words:
        if not re.fullmatch(r"[-+]?\d+", word):
            _fail(path, line.number, f"target '{_short(word)}' is not a whole number")
        if len(word) > _DIGITS or not 0 <= int(word) < count:
            _fail(path, line.number, f"target {_short(word)} is out of range: the objects are numbered 0 to {count - 1}")
    return tuple(dict.fromkeys(int(word) for word in words))


def _place_head(path: Path, head: Sequence[_Line]) -> tuple[_Line, _Line, _Line]:
    sentence, label, relation = head
    if relation.text.lower() not in RELATIONS:
        close = get_close_matches(relation.text.lower(), list(RELATIONS), n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        _fail(path, relation.number, f"unknown relation '{_short(relation.text)}'", f"{hint}known: {', '.join(RELATIONS)}")
    return sentence, label, relation


def _object(path: Path, line: _Line) -> _Object:
    words = line.text.split()
    if len(words) != 7:
        _fail(path, line.number, f"an object line has 7 fields (URDF x y z roll pitch yaw), here are {len(words)}")
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        wrong = next(word for word in words[1:] if not _is_number(word))
        _fail(path, line.number, f"'{_short(wrong)}' is not a number")
    if not all(isfinite(value) and abs(value) <= _LARGEST for value in values):
        _fail(path, line.number, "the pose is not finite (metres and radians, six numbers)")
    return _Object(words[0], (*values[:3], *quaternion(*values[3:])), line.number)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _resolve(parsed: Sequence[_Parsed], assets: Path | None) -> tuple[dict[str, str], tuple[Asset, ...]]:
    """Object name of every reference; the user's own files come first. Adds those to the process's catalogue."""
    names: dict[str, str] = {}
    used: dict[str, Asset] = {}
    missing: dict[str, list[str]] = {}
    for item in parsed:
        for entry in (*item.objects, *item.place_objects):
            reference = entry.reference
            if reference not in names and reference not in missing:
                if assets is not None:
                    from srcli.objects.assets import find_asset

                    asset = find_asset(assets, reference, namesake(reference))
                    if asset is not None:
                        used[reference] = asset
                        names[reference] = asset.name
                        continue
                found = namesake(reference)
                if found is not None:
                    names[reference] = found
                    continue
            if reference not in names:
                missing.setdefault(reference, []).append(f"{item.path}:{entry.line}")
    if missing:
        listed = "; ".join(f"{reference} ({_places(places)})" for reference, places in missing.items())
        where = "the catalogue" if assets is None else f"{assets} nor in the catalogue"
        raise UnknownNameError(
            f"{len(missing)} object reference(s) not found in {where}: {listed}",
            "give your URDF or OBJ files with --assets, or correct the paths; 'srcli objects list' names the catalogue",
        )
    for asset in used.values():
        for note in asset.notes:
            _tell(f"{asset.path}: {note}")
    if used:
        from srcli.objects.assets import install

        install(tuple(used.values()))
    return names, tuple(used.values())


@lru_cache(maxsize=1024)
def _tell(text: str) -> None:
    """Warn of something once."""
    _log.warning("%s", text)


def _places(places: Sequence[str]) -> str:
    """The first place, and how many more there are."""
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"


def _case(item: _Parsed, names: dict[str, str]) -> FileCase:
    objects = tuple(names[o.reference] for o in item.objects)
    place_objects = tuple(names[o.reference] for o in item.place_objects)
    both = item.task == "pick_place"
    drops = np.array([*_poses(item.objects, "pick" if both else ""), *_poses(item.place_objects, "place" if both else "")])
    sentence, targets, keyword, kind = "", None, "", ""
    if item.pick is not None:
        sentence, targets = item.pick[0].text, item.pick[1]
        keyword, kind = keyword_of(sentence, [objects[i] for i in targets])
    relation, reference, references = "", "", None
    if item.place is not None:
        said, label, word = item.place
        sentence = f"{sentence.rstrip(' ,.;')}, {said.text}" if sentence else said.text
        relation, reference = word.text.lower(), label.text.lower()
        found = referred(reference, place_objects)
        if not found:
            item.fail(
                label.number,
                f"no object of the place half is called '{label.text}'",
                f"its objects: {', '.join(_entry(name).label for name in place_objects)}",
            )
        references = tuple(len(objects) + i for i in found)
        if RELATIONS[relation].region != "around":
            _stand([len(objects) + i for i in found if place_objects[i] in catalogue().names], drops)
    case = Case(
        name=item.name,
        split=_split(item.path, (*objects, *place_objects)),
        instruction=sentence,
        keyword=keyword,
        keyword_kind=kind,
        objects=objects,
        relation=relation,
        reference=reference,
        place_objects=place_objects,
        drops=drops,
        targets=targets,
        references=references,
    )
    return FileCase(item.task, case)


def _stand(slots: Sequence[int], drops: F64) -> None:
    """Turn the drop poses (S, 7) of some slots upright in place, keeping their yaw.

    A file's orientation belongs to its own mesh; the axes of a namesake are others, and in an overturned bowl nothing can be put.
    """
    for slot in slots:
        x, y, z, w = drops[slot, 3:]
        half = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)) / 2
        drops[slot, 3:] = 0.0, 0.0, np.sin(half), np.cos(half)
        drops[slot, 3:] *= 1.0 if drops[slot, 6] >= 0 else -1.0


def _poses(objects: Sequence[_Object], zone: str) -> F64:
    """(S, 7) spawn poses in the frame of their zone."""
    poses = np.array([o.pose for o in objects], dtype=np.float64).reshape(-1, 7)
    if zone:
        poses[:, 1] -= ZONE_CENTER_Y[zone]
    return poses


def _entry(name: str) -> ObjectEntry:
    return catalogue()[name]


def _split(path: Path, names: Sequence[str]) -> str:
    for part in reversed(path.parent.parts):
        if part in ("seen", "unseen"):
            return part
    return split_of(names)
