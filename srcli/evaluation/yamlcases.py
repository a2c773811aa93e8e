"""Cases in our own format: YAML files, checked against the catalogue. docs/cases.md describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from srcli.config.base import Section
from srcli.config.tasks import TaskName
from srcli.config.yamltext import parse_yaml
from srcli.errors import ArtifactError, ConfigError, UnknownNameError, unknown_name
from srcli.evaluation.casewords import FileCase, keyword_of, quaternion, referred, split_of
from srcli.language import could_mean, keyword_table
from srcli.language.phrases import PHRASE_KINDS, Phrase, is_called, may_be_called, phrase_kind, phrases
from srcli.language.relations import RELATIONS
from srcli.language.templates import KeywordKind
from srcli.objects import catalogue
from srcli.tasks import get_task
from srcli.tasks.base import Case, Settles
from srcli.tasks.composed import has_attribute, outsizes
from srcli.tasks.placing import named
from srcli.types import F64, OWN_LOOK

_Slots = list[int | str]
_OF_OTHERS = {
    "pick": ("place_objects", "references", "held", "relation"),
    "place": ("objects", "targets", "keyword", "kind", "modifier"),
    "pick_place": ("held",),
}
"""What a case of a task does not say."""
_LARGEST = 100
"""Of a pose's numbers, metres and radians."""


class _CaseModel(Section):
    """One case of a case file."""

    name: str
    split: Literal["seen", "unseen", ""] = ""
    instruction: str = Field(min_length=3)
    kind: KeywordKind | Literal["attribute_noun", "reference", "superlative", ""] = ""
    keyword: str = ""
    modifier: str = ""
    objects: list[str] = Field(default_factory=list)
    relation: str = ""
    reference: str = ""
    place_objects: list[str] = Field(default_factory=list)
    held: str = ""
    targets: _Slots | None = Field(default=None, min_length=1)
    references: _Slots | None = Field(default=None, min_length=1)
    drops: list[list[Annotated[float, Field(strict=False)]]] | None = None


class _CaseFile(Section):
    task: TaskName | None = None
    cases: list[_CaseModel] = Field(min_length=1)


def read_cases(text: str, where: str, task: str = "pick") -> tuple[Case, ...]:
    """Cases of one task from YAML text, checked against the catalogue.

    Raises:
        ArtifactError: not a case file, no target or reference in a case, or a distractor that could be meant by its keyword.
        UnknownNameError: an object or a relation that does not exist.
    """
    return tuple(_checked(entry, where, task) for entry in _parsed(text, where).cases)


def read_file_cases(text: str, where: str, prefix: str = "") -> tuple[FileCase, ...]:
    """The cases of a user's YAML file with their tasks: the file's, or what each case has objects and a relation for.

    Args:
        prefix: stands before every name.

    Raises:
        ArtifactError, UnknownNameError: as :func:`read_cases`.
    """
    model = _parsed(text, where)
    listed = []
    for entry in model.cases:
        task = model.task or _task_of(entry)
        case = _checked(entry, where, task)
        listed.append(FileCase(task, replace(case, name=f"{prefix}{case.name}")))
    return tuple(listed)


def _parsed(text: str, where: str) -> _CaseFile:
    try:
        model = _CaseFile.model_validate(parse_yaml(text, where))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{where} is not a case file: {field}: {first['msg']}", "see docs/cases.md for the format") from error
    except ConfigError as error:
        raise ArtifactError(f"{where} is not a case file: {error.message}", "see docs/cases.md for the format") from error
    names = [entry.name for entry in model.cases]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArtifactError(f"{where}: two cases are named '{twice}'", "names must be unique")
    return model


def _task_of(entry: _CaseModel) -> str:
    if not entry.place_objects:
        return "pick"
    return "pick_place" if entry.objects else "place"


def _checked(entry: _CaseModel, where: str, task: str) -> Case:
    try:
        return _case(entry, where, task)
    except UnknownNameError as error:
        raise UnknownNameError(f"{where}: case '{entry.name}': {error.message}", error.hint) from error


def _case(entry: _CaseModel, where: str, task: str) -> Case:
    known = catalogue()
    for name in (*entry.objects, *entry.place_objects, *([entry.held] if entry.held else [])):
        known[name]
    said = f"{where}: case '{entry.name}'"
    stray = next((field for field in _OF_OTHERS.get(task, ()) if getattr(entry, field)), None)
    if stray is not None:
        raise ArtifactError(f"{said}: the task {task} has no '{stray}'", "remove it, or correct the task")
    targets = references = None
    if task in ("pick", "pick_place") or (entry.objects and task != "place"):
        targets = None if entry.targets is None else _slots(entry.targets, entry.objects, f"{said}: targets")
        if targets is None and task not in _OF_OTHERS and not entry.keyword and isinstance(get_task(task), Settles):
            targets = ()
        elif targets is None:
            _check_targets(entry, where, task)
    if task in ("place", "pick_place") or entry.place_objects:
        if entry.relation not in RELATIONS:
            raise unknown_name("relation", entry.relation, RELATIONS)
        if entry.references is not None:
            found = _slots(entry.references, entry.place_objects, f"{said}: references")
            references = tuple(len(entry.objects) + slot for slot in found)
        elif not (found := referred(entry.reference, entry.place_objects)):
            raise ArtifactError(
                f"{said}: no object of the place zone is called '{entry.reference}'",
                "correct the reference or its place_objects",
            )
        elif found != named(entry.reference, entry.place_objects):
            # What it is called by here is not what generated scenes would say.
            references = tuple(len(entry.objects) + slot for slot in found)
    keyword, kind = entry.keyword, str(entry.kind)
    if targets and not keyword:
        keyword, kind = keyword_of(entry.instruction, [entry.objects[slot] for slot in targets])
    return Case(
        name=entry.name,
        split=entry.split or split_of((*entry.objects, *entry.place_objects)),
        instruction=entry.instruction,
        keyword=keyword,
        keyword_kind=kind,
        objects=tuple(entry.objects),
        relation=entry.relation,
        reference=entry.reference,
        place_objects=tuple(entry.place_objects),
        held=entry.held,
        drops=None if entry.drops is None else _drops(entry, said, task),
        targets=targets,
        references=references,
        modifier=entry.modifier,
    )


def _slots(wanted: Sequence[int | str], objects: Sequence[str], where: str) -> tuple[int, ...]:
    """Positions of what a file names by position, from 0, or by the object's name (all of that name)."""
    found: list[int] = []
    for item in wanted:
        own = [i for i, name in enumerate(objects) if name == item] if isinstance(item, str) else [item]
        if not own or not all(0 <= slot < len(objects) for slot in own):
            hint = f"give positions from 0 to {len(objects) - 1} or names of its objects"
            raise ArtifactError(f"{where}: '{item}' is none of its {len(objects)} objects", hint)
        found += own
    return tuple(sorted(set(found)))


def _drops(entry: _CaseModel, said: str, task: str) -> F64:
    """(S, 7) poses from lines of x, y, z, roll, pitch, yaw, as in benchmark files, in the frames of their zones."""
    lines = entry.drops or []
    count = len(entry.objects) + len(entry.place_objects)
    wanted = (count, count + 1) if task == "place" else (count,)
    if len(lines) not in wanted or any(len(line) != 6 or not (np.abs(line) <= _LARGEST).all() for line in lines):
        hint = f"x, y, z in metres; roll, pitch, yaw in radians; none beyond {_LARGEST}"
        raise ArtifactError(f"{said}: drops need {count} lines of six finite numbers, one per object", hint)
    return np.array([(*line[:3], *quaternion(*line[3:])) for line in lines], dtype=np.float64)


def _check_targets(entry: _CaseModel, where: str, task: str) -> None:
    if len(entry.objects) < 2 or not entry.kind:
        raise ArtifactError(
            f"{where}: case '{entry.name}' has no keyword or fewer than two objects", "add them, or name its targets"
        )
    if entry.kind in PHRASE_KINDS:
        _check_phrase(entry, f"{where}: case '{entry.name}'", task)
        return
    if entry.modifier:
        hint = f"kinds with one: {', '.join(PHRASE_KINDS)}"
        raise ArtifactError(f"{where}: case '{entry.name}': the kind '{entry.kind}' takes no modifier", hint)
    targets = keyword_table(entry.kind, entry.objects).get(entry.keyword, ())  # type: ignore[arg-type]
    if not targets:
        raise ArtifactError(f"{where}: case '{entry.name}' has no object with the {entry.kind} '{entry.keyword}'")
    doubtful = [name for name in entry.objects if name not in targets and could_mean(name, entry.keyword)]
    if doubtful:
        raise ArtifactError(
            f"{where}: in case '{entry.name}' the distractor '{doubtful[0]}' could be meant by '{entry.keyword}'",
            "replace that object, or name the targets",
        )


def _check_phrase(entry: _CaseModel, said: str, task: str) -> None:
    """A compositional sentence whose targets are to follow from the settled scene."""
    if task != "pick":
        raise ArtifactError(f"{said}: only in the task pick do targets follow from a compositional sentence", "name the targets")
    kind = phrase_kind(entry.kind)
    try:
        phrases(Phrase(kind, entry.keyword, entry.modifier, entry.reference))
    except (UnknownNameError, ConfigError) as error:
        raise ArtifactError(f"{said}: {error.message}", error.hint) from error
    if not entry.modifier:
        raise ArtifactError(f"{said}: has no modifier", "give the attribute, relation or superlative; see docs/cases.md")
    needed = {entry.keyword: 1 if kind == "attribute_noun" else 2, **({entry.reference: 1} if kind == "reference" else {})}
    for noun, least in needed.items():
        if sum(is_called(name, noun) for name in entry.objects) < least:
            hint = "add them to its objects, or name its targets"
            raise ArtifactError(f"{said}: needs {least} object(s) called '{noun}'", hint)
        doubtful = [name for name in entry.objects if noun and may_be_called(name, noun) and not is_called(name, noun)]
        if doubtful:
            raise ArtifactError(f"{said}: '{doubtful[0]}' could be called '{noun}', too", "replace it, or name the targets")
    _check_meaning(entry, said)


def _check_meaning(entry: _CaseModel, said: str) -> None:
    """What can be told without the scene: attributes, and sizes."""
    called = [name for name in entry.objects if is_called(name, entry.keyword)]
    word = entry.modifier
    if entry.kind == "attribute_noun":
        answers = {name: has_attribute(name, word) for name in called}
        doubtful = next((name for name, answer in answers.items() if answer is None), None)
        if doubtful is not None:
            raise ArtifactError(f"{said}: '{doubtful}' may or may not be called '{word}'", "replace it, or name the targets")
        if not any(answers.values()):
            raise ArtifactError(f"{said}: no object called '{entry.keyword}' is '{word}'", "add one, or name the targets")
    if word in ("largest", "smallest"):
        pairs = [(one, [other for j, other in enumerate(called) if j != i]) for i, one in enumerate(called)]
        if not any(all(outsizes(word, (one, OWN_LOOK), (other, OWN_LOOK)) for other in others) for one, others in pairs):
            raise ArtifactError(f"{said}: of its objects called '{entry.keyword}' none is clearly the {word}", "name the targets")
