"""What ``srcli objects add`` and ``import`` are asked for: one object, a folder of mesh files, or a manifest."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, ValidationError

from srcli.config.yamltext import read_yaml
from srcli.errors import ArtifactError, ConfigError, SrcliError
from srcli.objects.decompose import SECONDS
from srcli.objects.importing import FORMATS, Pieces, Prepared, Up, check_mass, prepare
from srcli.objects.parts import Data
from srcli.objects.sources import Places

NAMELESS = "object"
"""What an object is called whose file's name has no letter that a word may have."""
LONGEST = 100
"""Characters of a name or label. A name is also that of a folder, to which temporary ones add: file systems allow 255 bytes."""

Split = Literal["seen", "unseen", "user"]


class Request(Data):
    """One object to add; fields without a value are derived from the file.

    Attributes:
        file: the mesh file.
        name: identifier; from the label by default.
        label: the name used in sentences; from the file's name by default.
        synonyms, general, attributes, functions: as in :class:`srcli.objects.ObjectEntry`.
        like: object of the built-in catalogue, by name or GraspNet number, whose words apply where none are given.
        split: ``user``: never drawn by anything generated.
        scale, up, density, mass, pieces: see :func:`srcli.objects.importing.prepare`.
        friction: lateral friction; the file's or the simulator's by default.
        folder, textures, packages: where what the file names may lie; see :class:`srcli.objects.sources.Places`.
        seconds: time limit of the decomposition.
    """

    file: str = Field(min_length=1)
    name: str = ""
    label: str = ""
    synonyms: tuple[str, ...] = ()
    general: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    like: str = ""
    split: Split = "user"
    scale: float | None = None
    up: Up = "auto"
    density: float | None = None
    mass: float | None = None
    friction: float | None = None
    pieces: Pieces = "auto"
    folder: str = ""
    textures: str = ""
    packages: dict[str, str] = Field(default_factory=dict)
    seconds: float = Field(SECONDS, gt=0.0, le=3600.0)

    def prepared(self, progress: Callable[[str], None] | None = None) -> Prepared:
        """The body of the file; see :func:`srcli.objects.importing.prepare`."""
        places = Places(self.folder, self.textures, tuple(self.packages.items()))
        path = Path(self.file)
        return prepare(path, self.scale, self.up, self.density, self.mass, self.pieces, places, self.seconds, progress)


class _Item(Request):
    file: str = ""
    id: str = ""


class Manifest(Data):
    """What ``srcli objects import`` reads.

    Attributes:
        folder: where the files lie, relative to the manifest.
        file: pattern of a file below the folder, with ``{id}``, for objects that name none.
        defaults: values of all objects that do not say otherwise.
        objects: one mapping per object, with the fields of :class:`Request` and ``id``.
    """

    folder: str = "."
    file: str = ""
    defaults: dict[str, object] = Field(default_factory=dict)
    objects: tuple[dict[str, object], ...] = Field(min_length=1)


def read_manifest(path: Path) -> tuple[Request, ...]:
    """The objects of a manifest, words and names filled in; file paths are made absolute. Of a folder: :func:`read_folder`.

    Raises:
        ArtifactError: it cannot be read, has an unknown, wrong or too long field, names files that are missing, or a name twice.
    """
    if path.is_dir():
        return read_folder(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file or folder", "give a folder of mesh files, or a manifest (docs/objects.md)")
    try:
        manifest = Manifest.model_validate(read_yaml(path))
    except ConfigError as error:
        raise ArtifactError(error.message, error.hint) from error
    except ValidationError as error:
        raise _bad_field(f"{path}", error) from error
    base = path.resolve().parent / manifest.folder
    requests: list[Request] = []
    for number, values in enumerate(manifest.objects, start=1):
        where = f"{path}: object {number}"
        try:
            item = _Item.model_validate({**manifest.defaults, **values})
        except ValidationError as error:
            raise _bad_field(where, error) from error
        name = item.file or manifest.file.replace("{id}", item.id)
        if not name:
            raise ArtifactError(f"{where}: has neither 'file' nor, with the manifest's pattern 'file', an 'id'", "name its file")
        fields = item.model_dump(exclude={"id"})
        words = {} if item.like or item.label or not item.id else _named_by(item.id, where)
        request = with_words(Request.model_validate({**fields, "file": str(base / name), **words}))
        if problem := too_long(request):
            raise ArtifactError(f"{where}: {problem}", "give it a shorter 'label' or 'name'")
        requests.append(request)
    missing = [r.file for r in requests if not Path(r.file).is_file()]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ArtifactError(f"{path}: {len(missing)} of {len(requests)} files are missing: {shown}", "correct 'folder' or 'file'")
    names = [r.name for r in requests]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ArtifactError(f"{path}: the name {', '.join(twice)} occurs twice", "give each object a 'name' of its own")
    return tuple(requests)


def read_folder(folder: Path) -> tuple[Request, ...]:
    """Every mesh file of a folder and below it as an object, words from the files' names.

    A mesh that a URDF or MJCF file beside it names is part of that one, and no object of its own. Files whose names give one word
    are numbered in the order of their paths; the first keeps the word.

    Raises:
        ArtifactError: there is no such folder, or no mesh file in it.
    """
    from srcli.objects.catalogue import builtin_catalogue

    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such file or folder", "give a folder of mesh files, or a manifest (docs/objects.md)")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS and path.is_file())
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    models = [path for path in found if path.suffix.lower() in (".urdf", ".xml")]
    parts: set[Path] = set()
    called: dict[str, list[Path]] = {}
    for path in found:
        called.setdefault(path.name, []).append(path)
    for model in models:
        for name in re.findall(r"""(?:filename|file)\s*=\s*["']([^"']+)""", model.read_text("utf-8", errors="replace")):
            last = PurePosixPath(name.replace("\\", "/")).name
            parts.update(path for path in called.get(last, ()) if path.parent.is_relative_to(model.parent))
    requests: list[Request] = []
    taken: set[str] = set()
    for path in [path for path in found if path not in parts]:
        request = with_words(Request(file=str(path)))
        if too_long(request):
            request = with_words(Request(file=str(path), label=request.label[:LONGEST].strip()))
        first = f"own_{request.name}" if request.name in builtin_catalogue().names else request.name
        name, number = first[:LONGEST], 1
        while name in taken:
            number += 1
            name = f"{first[: LONGEST - 6]}_{number}"
        taken.add(name)
        requests.append(request.model_copy(update={"name": name}))
    if not requests:
        raise ArtifactError(f"{folder}: has no mesh files", f"known: {', '.join(FORMATS)}")
    return tuple(requests)


def several(shared: Request, files: Sequence[Path]) -> tuple[Request, ...]:
    """Several files with the same settings, words from each file's name.

    Raises:
        ArtifactError: two of them would have one name.
    """
    requests = [with_words(shared.model_copy(update={"file": str(path), "name": "", "label": ""})) for path in files]
    for number, request in enumerate(requests):
        twin = next((other for other in requests[:number] if other.name == request.name), None)
        if twin is not None:
            what = f"{twin.file} and {request.file} would both be called '{request.name}'"
            raise ArtifactError(what, "add them one by one with --name, or import their folder")
    return tuple(requests)


def with_words(request: Request) -> Request:
    """Name, label and words filled in: from ``like`` where it is given, from the file's name otherwise."""
    from srcli.objects.catalogue import builtin_catalogue

    filled: dict[str, Any] = {}
    label = request.label
    if request.like:
        known = builtin_catalogue()
        twin = known.by_graspnet_id(request.like) if request.like.isdigit() else known[request.like]
        label = label or twin.label
        for kind in ("synonyms", "general", "attributes", "functions"):
            if not getattr(request, kind):
                filled[kind] = getattr(twin, kind)
        filled["name"] = request.name or f"own_{twin.name}"
    for kind in ("synonyms", "general", "attributes", "functions"):
        words = filled.get(kind) or getattr(request, kind)
        filled[kind] = tuple(dict.fromkeys(" ".join(word.lower().split()) for word in words))
    stem = re.sub(r"[^a-z0-9]+", " ", Path(request.file).stem.lower()).strip()
    filled["label"] = " ".join(label.lower().split()) or re.sub(r"\s+\d+$", "", stem) or NAMELESS
    name = filled.get("name") or request.name or re.sub(r"[^a-z0-9]+", "_", filled["label"]).strip("_")
    filled["name"] = name if name[:1].isalpha() else f"object_{name}"
    return request.model_copy(update=filled)


def _named_by(identifier: str, where: str) -> dict[str, str]:
    """Words from an id alone: GraspNet's number has a namesake, YCB's holds the label ("003_cracker_box")."""
    from srcli.objects.catalogue import builtin_catalogue

    if any(entry.graspnet_id == identifier for entry in builtin_catalogue()):
        return {"like": identifier}
    label = " ".join(re.findall(r"[a-z]{2,}", identifier.lower()))
    if not label:
        raise ArtifactError(f"{where}: the id '{identifier}' has no namesake in the catalogue", "give it a 'label'")
    return {"label": label}


def check_body(request: Request) -> None:
    """Refuse a file that is not there or of no known format, and numbers out of range, without reading the file.

    Raises:
        ArtifactError: no such file, of an unknown format, or a mass that no object may have.
        ConfigError: a number that is not above 0.
    """
    path = Path(request.file)
    if not path.is_file():
        raise ArtifactError(
            f"{path}: {'is no regular file' if path.exists() else 'no such file'}", "give the path of a mesh file"
        )
    if path.suffix.lower() not in FORMATS:
        raise ArtifactError(f"{path}: '{path.suffix.lower()}' files are not read", f"known: {', '.join(FORMATS)}")
    for name, value in (("--scale", request.scale), ("--density", request.density), ("--mass", request.mass)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} {value:g}: must be a number above 0")
    if request.mass is not None:
        check_mass(path, request.mass)


def unnamed(request: Request) -> tuple[str, ...]:
    """What to say of a file whose name gives no word."""
    if request.label not in ("", NAMELESS) or request.like or re.search(r"[a-z]", Path(request.file).stem.lower()):
        return ()
    return (f"the file's name has no letter from a to z: it is called '{NAMELESS}'; --label gives it a name",)


def too_long(request: Request) -> str:
    """What is wrong with the length of the label or the name, or nothing."""
    for what, text in (("label", request.label), ("name", request.name)):
        if len(text) > LONGEST:
            return f"the {what} '{text[:20]}...' has {len(text)} characters, more than {LONGEST}"
    return ""


def _bad_field(where: str, error: ValidationError) -> SrcliError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "file"
    return ArtifactError(f"{where}: {field}: {first['msg']}", "docs/objects.md lists the fields of a manifest")
