"""The suites of free sentences: what people say and type, with what would be right. Data, a line per sentence.

A sentence's scene follows from its words alone: at most :data:`MOST_TARGETS` of its targets, everything that has to lie beside
them, and objects of its split that it could not mean. Repeats drop these objects anew.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from importlib.resources import files
from typing import Literal, get_args

import yaml
from pydantic import Field, ValidationError

from srcli.config.base import Section
from srcli.errors import ArtifactError
from srcli.objects import catalogue
from srcli.seeding import SCENE, generator
from srcli.tasks.base import Case
from srcli.tasks.draws import draw_names, split_names

FreeKind = Literal["purpose", "situation", "description", "negation", "typing", "telegraphic", "polite"]
FREE_KINDS: tuple[FreeKind, ...] = get_args(FreeKind)

HALVES = {"free": "free_reported.yaml", "free-development": "free_development.yaml"}
"""File of each suite. The reported half decides nothing; the other one may be looked at."""

OBJECTS = 15
"""Objects of a scene, as in the benchmark's piles."""

MOST_TARGETS = 2
"""Of a sentence that means many things ("some fruit") so many lie in a scene, so that chance finds few."""


class _Sentence(Section):
    kind: FreeKind
    split: Literal["seen", "unseen"]
    say: str = Field(min_length=1)
    targets: list[str] = Field(min_length=1)
    beside: list[str] = Field(default_factory=list)
    avoid: list[str] = Field(default_factory=list)


class _Sentences(Section):
    sentences: list[_Sentence] = Field(min_length=1)


@lru_cache(maxsize=2)
def free_cases(suite: str) -> tuple[Case, ...]:
    """The sentences of a suite as cases, in the order of its file; ``keyword_kind`` is the kind of sentence."""
    name = HALVES[suite]
    return read_sentences((files("srcli.evaluation") / "data" / name).read_text("utf-8"), name)


def read_sentences(text: str, where: str) -> tuple[Case, ...]:
    """Cases from YAML text.

    Raises:
        ArtifactError: not such a file, a sentence twice, an object of another split, or one that is a target and wrong at once.
        UnknownNameError: an object that does not exist.
    """
    try:
        model = _Sentences.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error).splitlines()[0]}
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{where} is no file of free sentences: {field}: {first['msg']}", "see docs/cases.md") from error
    cases = [_case(entry, where) for entry in model.sentences]
    names = [case.name for case in cases]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArtifactError(f"{where}: two sentences are named '{twice}'", "say it differently, or remove one")
    return tuple(cases)


def _case(entry: _Sentence, where: str) -> Case:
    said = f"{where}: '{entry.say}'"
    for name in (*entry.targets, *entry.beside, *entry.avoid):
        if catalogue()[name].split != entry.split:
            raise ArtifactError(f"{said}: '{name}' is no object of the {entry.split} split", "take an object of its own split")
    both = {*entry.targets} & {*entry.beside, *entry.avoid}
    if both:
        raise ArtifactError(f"{said}: '{min(both)}' is right and wrong at once", "name it in one list only")
    rng = generator((sentence_number(entry.split, entry.say),), SCENE)
    targets = [entry.targets[i] for i in rng.permutation(len(entry.targets))[:MOST_TARGETS]]
    meant = {*entry.targets, *entry.avoid}
    pool = [name for name in split_names(entry.split) if name not in {*meant, *entry.beside}]
    objects = [*targets, *entry.beside, *draw_names(rng, pool, OBJECTS - len(targets) - len(entry.beside))]
    words = re.sub(r"\W+", "-", entry.say.lower()).strip("-")
    return Case(
        name=f"{entry.kind}/{words[:48].rstrip('-')}",
        split=entry.split,
        instruction=entry.say,
        keyword="",
        keyword_kind=entry.kind,
        objects=tuple(objects),
        targets=tuple(range(len(targets))),
    )


def sentence_number(split: str, say: str) -> int:
    """What a sentence's scene and seeds follow from, 0 .. 2**32 - 1: lines may be added and moved without changing others."""
    return int(hashlib.sha256(f"{split}/{say}".encode()).hexdigest()[:8], 16)
