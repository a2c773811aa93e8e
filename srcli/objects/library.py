"""The user's library: objects that ``srcli objects add`` made of mesh files, one folder each, part of the catalogue.

A folder holds ``object.yaml`` (words, split, mass, colours, where it came from) and ``mesh.npz`` (a surface per colour and convex
pieces, metres, float32). A folder appears and changes by renames only, so that readers never see half of one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from srcli.config.yamltext import Dumper, read_yaml
from srcli.errors import ArtifactError, ConfigError, DiskError, unknown_name
from srcli.objects.assets import palette_name
from srcli.objects.catalogue import ObjectEntry, Words
from srcli.objects.mesh import Mesh, Skin
from srcli.objects.palette import RGB
from srcli.objects.parts import MM, Data, PartBase
from srcli.objects.shapes import Solid
from srcli.types import F64

VARIABLE = "SRCLI_OBJECTS"
ENTRY, MESH = "object.yaml", "mesh.npz"
FORMAT = 1
Channel = Annotated[float, Field(ge=0.0, le=1.0)]


class StoredPart(PartBase):
    """The part of a stored mesh that has one colour; the first one carries the convex pieces."""

    shape: Literal["stored"] = "stored"
    path: str
    digest: str
    number: int

    def make(self) -> Solid:
        """Vertices in millimetres, as all parts."""
        stored = read_mesh(self.path, self.digest)
        _check_colors(Path(self.path), stored, self.number + 1)
        mesh = stored.surfaces[self.number]
        hulls = stored.hulls if self.number == 0 else ()
        return Solid(Mesh(mesh.vertices / MM, mesh.faces, mesh.skin), tuple(points / MM for points in hulls))


class LibraryEntry(ObjectEntry):
    """An object of the library. With split ``user`` nothing generated ever draws it."""

    split: Literal["seen", "unseen", "user"] = "user"  # type: ignore[assignment]
    parts: Annotated[tuple[StoredPart, ...], Field(min_length=1)]  # type: ignore[assignment]


class Source(Data):
    """Where an object came from.

    Attributes:
        file: name of the file, without its folder.
        sha256: of the file and the meshes that it names.
        scale: metres per unit of the file.
        up: the file's axis that points up.
        pieces: how the convex pieces were made.
    """

    file: str
    sha256: str
    scale: float = Field(gt=0.0)
    up: Literal["y", "z"]
    pieces: str


class Record(Data):
    """``object.yaml``. The words are those of :class:`ObjectEntry`.

    Attributes:
        mass: kg.
        recolor: varied instances may take another main colour.
        colors: sRGB 0..1 of each surface of the mesh, the largest first.
        mesh_sha256: of ``mesh.npz``.
        pictures: surfaces of the mesh have textures.
    """

    format: Literal[1] = 1
    name: str
    label: str
    synonyms: Words = ()
    general: Words = ()
    attributes: Words = ()
    functions: Words = ()
    split: Literal["seen", "unseen", "user"] = "user"
    mass: float
    friction: float | None = None
    recolor: bool = False
    colors: Annotated[tuple[tuple[Channel, Channel, Channel], ...], Field(min_length=1)]
    mesh_sha256: str = ""
    pictures: bool = False
    source: Source


@dataclass(frozen=True, slots=True)
class StoredMesh:
    """Surfaces by colour and convex vertex sets (P, 3), metres."""

    surfaces: tuple[Mesh, ...]
    hulls: tuple[F64, ...]


def library_folder(given: Path | None = None) -> Path:
    """The user's library: ``given``, else ``$SRCLI_OBJECTS``, else ``srcli/objects`` in the platform's folder for data."""
    if given is not None:
        return given.expanduser().resolve()
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser().resolve()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "srcli" / "objects"


def stored_names(folder: Path) -> tuple[str, ...]:
    """Names of the objects of a library, sorted; a library that does not exist has none."""
    if not folder.is_dir():
        return ()
    return tuple(sorted(p.name for p in folder.iterdir() if not p.name.startswith(".") and (p / ENTRY).is_file()))


def read_library(folder: Path) -> tuple[LibraryEntry, ...]:
    """All objects of a library, by name.

    Raises:
        ArtifactError: one of them is damaged; the hint says how to get rid of it.
    """
    return tuple(entry_of(read_record(folder, name), folder / name) for name in stored_names(folder))


def library_records(folder: Path) -> dict[str, dict[str, Any]]:
    """What is stored of each object of a library, the sum of its mesh among it, as plain data."""
    records = {name: read_record(folder, name).model_dump(mode="json") for name in stored_names(folder)}
    # An object without textures is recorded as it was before there were any.
    return {name: {key: value for key, value in record.items() if key != "pictures" or value} for name, record in records.items()}


def read_record(folder: Path, name: str) -> Record:
    """One object's ``object.yaml``.

    Raises:
        UnknownNameError: the library has no such object.
        ArtifactError: it is damaged.
    """
    path = folder / name / ENTRY
    if not path.is_file():
        raise unknown_name("object of the library", name, stored_names(folder))
    try:
        record = Record.model_validate(read_yaml(path))
    except ConfigError as error:
        raise ArtifactError(error.message, _repair(folder, name)) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        raise ArtifactError(f"{path}: {field}: {first['msg']}", _repair(folder, name)) from error
    if record.name != name:
        raise ArtifactError(f"{path}: the object is called '{record.name}', its folder '{name}'", _repair(folder, name))
    return record


def _repair(folder: Path, name: str) -> str:
    return f"add it again with --force, or 'srcli objects remove {name} --library {folder}'"


def entry_of(record: Record, folder: Path) -> LibraryEntry:
    """The catalogue entry of an object whose mesh lies in ``folder``; its colours join the palette of this process.

    Raises:
        ArtifactError: a word, the name, the mass or a colour is not allowed, or the mesh is missing.
    """
    path = folder / MESH
    if not path.is_file():
        raise ArtifactError(f"{path}: is missing", _repair(folder.parent, record.name))
    parts = tuple(
        StoredPart(color=name, path=str(path), digest=record.mesh_sha256, number=number)
        for number, name in enumerate(_palette_names(record, path))
    )
    return make_entry(record, parts)


def _check_colors(path: Path, stored: StoredMesh, colors: int, whole: bool = False) -> None:
    """Refuse colours without a surface, and surfaces without a colour where ``whole`` says that these are all."""
    count = len(stored.surfaces)
    if colors > count or (whole and colors < count):
        what = f"{path.with_name(ENTRY)}: colors: names {colors}, the mesh has {count} surfaces"
        raise ArtifactError(what, _repair(path.parent.parent, path.parent.name))


def _palette_names(record: Record, path: Path) -> list[str]:
    if not record.pictures:
        return [palette_name(rgb) for rgb in record.colors]
    stored = read_mesh(str(path), record.mesh_sha256)
    _check_colors(path, stored, len(record.colors), whole=True)
    return [palette_name(rgb, mesh) for rgb, mesh in zip(record.colors, stored.surfaces, strict=True)]


def make_entry(record: Record, parts: tuple[StoredPart, ...]) -> LibraryEntry:
    """The entry of a record.

    Raises:
        ArtifactError: a word, the name or the mass is not allowed.
    """
    try:
        return LibraryEntry(
            name=record.name,
            label=record.label,
            synonyms=record.synonyms,
            general=record.general,
            attributes=record.attributes,
            functions=record.functions,
            split=record.split,
            category=f"user_{record.name}",
            mass=record.mass,
            friction=record.friction,
            recolor=record.recolor,
            parts=parts,
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "entry"
        value = first.get("input")
        hints = {
            "name": "names are lower-case letters, digits and underscores, beginning with a letter",
            "mass": "the mass is above 0 and up to 2 kg; give --mass or another --density",
            "friction": "friction is above 0 and up to 2",
        }
        raise ArtifactError(
            f"object '{record.name}': {field} {value!r} is not allowed",
            hints.get(field, "words are lower-case letters, digits, blanks and & ' _ -"),
        ) from error


@lru_cache(maxsize=256)
def read_mesh(path: str, digest: str) -> StoredMesh:
    """A stored mesh, checked against its SHA-256.

    Raises:
        ArtifactError: missing, damaged or another one.
    """
    import io

    file = Path(path)
    hint = _repair(file.parent.parent, file.parent.name)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})", hint) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ArtifactError(f"{path}: is damaged or was changed (another SHA-256 than in {ENTRY})", hint)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            count = sum(key.startswith("vertices") for key in arrays.files)
            surfaces = tuple(
                Mesh(arrays[f"vertices{i}"].astype(np.float64), arrays[f"faces{i}"].astype(np.int32), _skin(arrays, i))
                for i in range(count)
            )
            pieces = sum(key.startswith("piece") for key in arrays.files)
            hulls = tuple(arrays[f"piece{i}"].astype(np.float64) for i in range(pieces))
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path}: is no mesh of this library", hint) from error
    return StoredMesh(surfaces, hulls)


def _skin(arrays: Any, number: int) -> Skin | None:
    """The picture on a stored surface; surfaces that share one name it by its number."""
    if f"uv{number}" not in arrays.files:
        return None
    picture = arrays[f"picture{int(arrays[f'skin{number}'])}"]
    return Skin(arrays[f"uv{number}"].astype(np.float64), picture.astype(np.uint8).tobytes())


def stage_object(folder: Path, record: Record, surfaces: Sequence[tuple[RGB, Mesh]], hulls: Sequence[F64]) -> Path:
    """Write an object beside its place in the library, for a look before :func:`commit_object`.

    Returns:
        its temporary folder, below ``folder``.

    Raises:
        DiskError: the library cannot be written.
    """
    import yaml

    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{record.name}-", dir=folder))
        # Colours at which no precision is lost on the way through YAML, geometry at well below a micrometre.
        arrays: dict[str, Any] = {}
        pictures: dict[bytes, int] = {}
        for number, (_, mesh) in enumerate(surfaces):
            arrays[f"vertices{number}"] = mesh.vertices.astype(np.float32)
            arrays[f"faces{number}"] = mesh.faces.astype(np.int32)
            if mesh.skin is not None:
                arrays[f"uv{number}"] = mesh.skin.uv.astype(np.float32)
                arrays[f"skin{number}"] = np.int32(pictures.setdefault(mesh.skin.png, len(pictures)))
        for picture, place in pictures.items():
            arrays[f"picture{place}"] = np.frombuffer(picture, dtype=np.uint8)
        for number, points in enumerate(hulls):
            arrays[f"piece{number}"] = points.astype(np.float32)
        np.savez_compressed(temporary / MESH, **arrays)
        digest = hashlib.sha256((temporary / MESH).read_bytes()).hexdigest()
        filled = record.model_copy(update={"mesh_sha256": digest})
        text = yaml.dump(filled.model_dump(mode="json"), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
        (temporary / ENTRY).write_text(text, encoding="utf-8")
        os.chmod(temporary, 0o755)
    except OSError as error:
        raise DiskError(
            f"cannot write the library {folder}: {error.strerror}", "free space or choose another --library"
        ) from error
    return temporary


def commit_object(temporary: Path, target: Path) -> None:
    """Give a staged object its place; an object that was there is replaced.

    Raises:
        DiskError: the library cannot be written.
    """
    old: Path | None = None
    try:
        if target.exists():
            old = temporary.with_name(f"{temporary.name}-old")
            os.rename(target, old)
        os.rename(temporary, target)
    except OSError as error:
        if old is not None and not target.exists():
            os.rename(old, target)
        raise DiskError(f"cannot write {target}: {error.strerror}", "choose another --library") from error
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def remove_object(folder: Path, name: str) -> None:
    """Take an object out of a library.

    Raises:
        UnknownNameError: the library has no such object.
        DiskError: it cannot be removed.
    """
    if name not in stored_names(folder):
        raise unknown_name("object of the library", name, stored_names(folder))
    try:
        # Gone by one rename: nobody reads half of it.
        hidden = Path(tempfile.mkdtemp(prefix=".removed-", dir=folder)) / name
        os.rename(folder / name, hidden)
        shutil.rmtree(hidden.parent)
    except OSError as error:
        raise DiskError(f"cannot remove {folder / name}: {error.strerror}", "check the permissions") from error
