"""What people know of things: what they are for, when they help, what they look and are made of, where they are found.

Data, a line per statement (``knowledge.yaml``): what is said, the catalogue's objects of which it is true, and those of which it
may be said as well. Whatever learns from a statement never takes the latter for false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, get_args

import yaml
from pydantic import Field, ValidationError

from srcli.config.base import Section
from srcli.errors import ArtifactError

StatementKind = Literal["uses", "situations", "descriptions", "materials", "parts", "places", "names", "kinds", "contrasts"]
STATEMENT_KINDS: tuple[StatementKind, ...] = get_args(StatementKind)

FILE = "knowledge.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C, where PyYAML has it, reads the file ten times as fast."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Something that is said of things.

    Attributes:
        say: verb phrase (uses), clause (situations), or noun phrase (all others), lower case.
        of: catalogue names of which it is true; ``maybe``: of which it may be said as well.
    """

    kind: StatementKind
    say: str
    of: tuple[str, ...]
    maybe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All statements, and what stands around them in sentences.

    Attributes:
        fillers: what may stand before or after any request.
        requests: ways to ask for a thing, with one ``{}``.
        negations: ways to want one thing (``{}``) and not another (``{not}``); ``exclusions``: to want any of a kind but one.
        negated_looks, negated_uses: ways to want a thing that does not look so (``{not}`` is a colour), or is not for
            that (a verb).
    """

    statements: tuple[Statement, ...]
    fillers: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    negations: tuple[str, ...] = ()
    exclusions: tuple[str, ...] = ()
    negated_looks: tuple[str, ...] = ()
    negated_uses: tuple[str, ...] = ()

    def texts(self) -> tuple[str, ...]:
        """Everything that is said in it."""
        around = (*self.fillers, *(text.format("") for text in self.requests))
        around += tuple(text.replace("{not}", "").replace("{}", "") for text in self.denying())
        return (*(statement.say for statement in self.statements), *around)

    def denying(self) -> tuple[str, ...]:
        """Every way to want one thing and not another."""
        return (*self.negations, *self.exclusions, *self.negated_looks, *self.negated_uses)


class _Line(Section):
    say: str = Field(min_length=2)
    of: list[str] = Field(min_length=1)
    maybe: list[str] = Field(default_factory=list)


class _File(Section):
    uses: list[_Line] = Field(default_factory=list)
    situations: list[_Line] = Field(default_factory=list)
    descriptions: list[_Line] = Field(default_factory=list)
    materials: list[_Line] = Field(default_factory=list)
    parts: list[_Line] = Field(default_factory=list)
    places: list[_Line] = Field(default_factory=list)
    names: list[_Line] = Field(default_factory=list)
    kinds: list[_Line] = Field(default_factory=list)
    contrasts: list[_Line] = Field(default_factory=list)
    fillers: list[str] = Field(default_factory=list)
    requests: list[str] = Field(default_factory=list)
    negations: list[str] = Field(default_factory=list)
    exclusions: list[str] = Field(default_factory=list)
    negated_looks: list[str] = Field(default_factory=list)
    negated_uses: list[str] = Field(default_factory=list)


def load_knowledge(names: Sequence[str] | None = None) -> Knowledge:
    """The package's knowledge.

    Args:
        names: only of these objects: of others nothing is said, and nothing known. None: of all.
    """
    text = (files("srcli.pretraining.encoder") / FILE).read_text("utf-8")
    return read_knowledge(text, FILE, names)


def read_knowledge(text: str, where: str, names: Sequence[str] | None = None) -> Knowledge:
    """Knowledge from YAML text.

    Raises:
        ArtifactError: not such a file; an object that is both true and doubtful; the same said twice; a form without its place.
        UnknownNameError: an object that does not exist.
    """
    from srcli.objects import catalogue

    try:
        model = _File.model_validate(yaml.load(text, Loader=_LOADER))
    except (ValidationError, yaml.YAMLError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error).splitlines()[0]}
        field = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(
            f"{where} holds no knowledge: {field}: {first['msg']}", "see srcli/pretraining/encoder/knowledge.yaml"
        ) from error
    known = catalogue()
    wanted = None if names is None else set(names)
    statements: list[Statement] = []
    for kind in STATEMENT_KINDS:
        said: set[str] = set()
        for line in getattr(model, kind):
            for name in (*line.of, *line.maybe):
                known[name]
            both = {*line.of} & {*line.maybe}
            if both or line.say in said:
                what = f"'{min(both)}' is true and doubtful at once" if both else "is said twice"
                raise ArtifactError(f"{where}: {kind}: '{line.say}': {what}", "say it once, each object in one list")
            said.add(line.say)
            true = tuple(name for name in line.of if wanted is None or name in wanted)
            doubtful = tuple(name for name in line.maybe if wanted is None or name in wanted)
            if true:
                statements.append(Statement(kind, line.say.lower(), true, doubtful))
    knowledge = Knowledge(
        tuple(statements),
        tuple(model.fillers),
        tuple(model.requests),
        tuple(model.negations),
        tuple(model.exclusions),
        tuple(model.negated_looks),
        tuple(model.negated_uses),
    )
    for form in (*knowledge.requests, *knowledge.denying()):
        if form.count("{}") != 1 or (form not in knowledge.requests and form.count("{not}") != 1):
            raise ArtifactError(f"{where}: '{form}' has no single place for what it is about", "write {} (and {not}) once")
    return knowledge
