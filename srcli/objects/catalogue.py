"""The object catalogue: data files checked into typed entries, with lookups by name, id and keyword."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from srcli.errors import ArtifactError, unknown_name
from srcli.objects.palette import palette
from srcli.objects.parts import Data, Part

KeywordKind = Literal["label", "general", "attribute", "function"]
Split = Literal["seen", "unseen"]
Entry = TypeVar("Entry", bound="ObjectEntry")
Words = tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9 &'_-]*$")], ...]


class ObjectEntry(Data):
    """One object: what it is called, what it weighs, what it is made of.

    Attributes:
        name: identifier, lower-case ascii with underscores.
        graspnet_id: three digits of the benchmark's mesh, or None.
        label: the name used in sentences.
        synonyms: other names, kept for sentences that training never shows.
        general: kinds it belongs to ("fruit").
        attributes: colour and shape words that are true of it ("yellow", "round").
        functions: what one does with it, as after "something to" ("eat").
        split: seen or unseen by the policy.
        category: instances of one category share a shape family.
        mass: kg.
        friction: lateral friction coefficient, or None for the simulator's default.
        recolor: varied instances may take another main colour.
        names_color: a colour word in the label or in a synonym describes it (not so in a brand such as "blue moon").
        main: palette name of the main colour; the first part's by default.
        parts: the shape, data lengths in mm.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    graspnet_id: str | None = Field(None, pattern=r"^\d{3}$")
    label: str = Field(pattern=r"^[a-z0-9][a-z0-9 &'_-]*$")
    synonyms: Words = ()
    general: Words = ()
    attributes: Words = ()
    functions: Words = ()
    split: Split = "seen"
    category: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    mass: float = Field(gt=0.0, le=2.0)
    friction: float | None = Field(None, gt=0.0, le=2.0)
    recolor: bool = False
    names_color: bool = True
    main: str = ""
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _colors_known(self) -> ObjectEntry:
        for color in (*(p.color for p in self.parts), *(p.inner_color for p in self.parts), self.main_color):
            if color not in palette():
                raise ValueError(f"colour '{color}' is not in the palette; known: {', '.join(palette())}")
        if self.main_color not in {p.color for p in self.parts}:
            raise ValueError(f"main colour '{self.main_color}' is on no part")
        return self

    @property
    def main_color(self) -> str:
        """Palette name of the main colour."""
        return self.main or self.parts[0].color

    @property
    def palette_colors(self) -> tuple[str, ...]:
        """Palette names of all parts, the main colour first."""
        return tuple(dict.fromkeys([self.main_color, *(c for p in self.parts for c in (p.color, p.inner_color))]))

    @property
    def colors(self) -> tuple[str, ...]:
        """Words of all colours on it, the main one first; also those of small parts, unlike ``attributes``."""
        return tuple(dict.fromkeys(palette()[c].word for c in self.palette_colors))

    def keywords(self, kind: KeywordKind) -> tuple[str, ...]:
        """The keywords of one kind."""
        return {"label": (self.label,), "general": self.general, "attribute": self.attributes, "function": self.functions}[kind]


class NamedEntry(ObjectEntry):
    """An object of no split: files that name it get it, nothing generated draws it, and its words are nobody's vocabulary."""

    split: Literal["named"] = "named"  # type: ignore[assignment]


class Catalogue:
    """All entries, in the order of the files.

    Args:
        entries: unique by name, and by id where they have one.
        named: served by name alone, beside the catalogue: neither iterated nor drawn nor listed in :attr:`names`.

    Raises:
        ArtifactError: a name or an id occurs twice.
    """

    def __init__(self, entries: Iterable[ObjectEntry], named: Iterable[NamedEntry] = ()) -> None:
        self._entries: dict[str, ObjectEntry] = {}
        self._named = {entry.name: entry for entry in named}
        self._ids: dict[str, ObjectEntry] = {}
        for entry in entries:
            if entry.name in self._entries:
                raise ArtifactError(f"object catalogue: the name '{entry.name}' occurs twice", "rename one of the entries")
            if entry.graspnet_id in self._ids:
                raise ArtifactError(f"object catalogue: graspnet_id {entry.graspnet_id} occurs twice", "ids must be unique")
            self._entries[entry.name] = entry
            if entry.graspnet_id is not None:
                self._ids[entry.graspnet_id] = entry

        self._own = frozenset(self._entries)

    def include(self, entries: Iterable[ObjectEntry]) -> None:
        """Make the user's objects known to this process; one of a name that was included before is replaced.

        Raises:
            ArtifactError: the name is one of the catalogue's own.
        """
        for entry in entries:
            if entry.name in self._own:
                raise ArtifactError(f"'{entry.name}' is an object of the built-in catalogue", "give yours another name")
            self._entries[entry.name] = entry
        # What was derived from the entries is derived anew.
        for derived in ("names", "seen", "unseen"):
            self.__dict__.pop(derived, None)

    def __getitem__(self, name: str) -> ObjectEntry:
        # An object of the user goes before one that is only named.
        entry = self._entries.get(name) or self._named.get(name)
        if entry is None:
            raise unknown_name("object", name, (*self._entries, *self._named))
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._named

    def __iter__(self) -> Iterator[ObjectEntry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of both splits: what generated scenes draw. :attr:`all_names` has the user's objects, too."""
        return tuple(e.name for e in self if e.split in ("seen", "unseen"))

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of everything that iterating gives, the user's objects of no split among it."""
        return tuple(self._entries)

    @property
    def named(self) -> tuple[NamedEntry, ...]:
        """Objects that are served by name alone."""
        return tuple(self._named.values())

    @cached_property
    def seen(self) -> tuple[str, ...]:
        """Names of the seen split."""
        return tuple(e.name for e in self if e.split == "seen")

    @cached_property
    def unseen(self) -> tuple[str, ...]:
        """Names of the unseen split."""
        return tuple(e.name for e in self if e.split == "unseen")

    def by_graspnet_id(self, graspnet_id: str) -> ObjectEntry:
        """The entry that mirrors a benchmark mesh, e.g. "005".

        Raises:
            UnknownNameError: no entry has it.
        """
        if graspnet_id not in self._ids:
            raise unknown_name("GraspNet id", graspnet_id, self._ids)
        return self._ids[graspnet_id]

    def matching(self, keyword: str, kind: KeywordKind) -> tuple[str, ...]:
        """Names of all entries (of both splits) that carry the keyword."""
        return tuple(e.name for e in self if keyword in e.keywords(kind))


def load_catalogue(paths: Sequence[Path]) -> Catalogue:
    """Read entries from YAML files, each a list.

    Raises:
        ArtifactError: a file is missing or no YAML, or an entry is wrong; names the file, the entry and the field.
    """
    return Catalogue(entry for path in paths for entry in _read(path, ObjectEntry))


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The built-in catalogue, 66 seen and 17 unseen objects, with the user's library (:mod:`srcli.objects.library`).

    Raises:
        ArtifactError: an object of the library is damaged.
    """
    from srcli.objects.library import library_folder, read_library

    known = builtin_catalogue()
    known.include(read_library(library_folder()))
    return known


def builtin_catalogue() -> Catalogue:
    """A new catalogue of the built-in objects alone."""
    folder = resources.files("srcli.objects").joinpath("data")
    with resources.as_file(folder) as base:
        entries = [entry for split in ("household", "toys", "unseen") for entry in _read(base / f"{split}.yaml", ObjectEntry)]
        return Catalogue(entries, _read(base / "named.yaml", NamedEntry))


def _read(path: Path, kind: type[Entry]) -> list[Entry]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        raw: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except OSError as error:
        raise ArtifactError(f"object catalogue {path.name}: cannot be read ({error.strerror})", f"looked at {path}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" near line {where.line + 1}" if where else ""
        raise ArtifactError(f"object catalogue {path.name}: not valid YAML{line}", "check indentation and brackets") from error
    if not isinstance(raw, list):
        raise ArtifactError(f"object catalogue {path.name}: must be a list of entries", "start each entry with '- name: ...'")
    entries = []
    for position, item in enumerate(raw):
        try:
            entries.append(kind.model_validate(item))
        except ValidationError as error:
            name = item.get("name", f"number {position + 1}") if isinstance(item, dict) else f"number {position + 1}"
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "entry"
            raise ArtifactError(
                f"object catalogue {path.name}: entry '{name}': {field}: {first['msg']}",
                "docs/objects.md lists the fields of an entry and of each shape",
            ) from error
    return entries
