"""``srcli objects add``, ``import`` and ``remove``: mesh files become objects of the user's library."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, ValidationError

from srcli.config.yamltext import read_yaml
from srcli.errors import ArtifactError, ConfigError, DiskError, SrcliError
from srcli.objects.decompose import SECONDS
from srcli.objects.importing import FORMATS, Pieces, Prepared, Up, prepare
from srcli.objects.library import (
    ENTRY,
    LibraryEntry,
    Record,
    Source,
    StoredPart,
    commit_object,
    entry_of,
    library_folder,
    make_entry,
    read_record,
    remove_object,
    stage_object,
    stored_names,
)
from srcli.objects.parts import Data
from srcli.objects.sources import Places
from srcli.stages.try_object import Trial, draw_object, try_object

SHEET = "sheet.png"
NAMELESS = "object"
"""What an object is called whose file's name has no letter that a word may have."""
LONGEST = 100
"""Characters of a name or label. A name is also that of a folder, to which temporary ones add: file systems allow 255 bytes."""
_COLOR_SHARE = 0.45

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


@dataclass(frozen=True, slots=True)
class Added:
    """What became of one file.

    Attributes:
        extent_mm: side lengths.
        volume_cm3: see :class:`srcli.objects.importing.Prepared`.
        pieces: how its convex pieces were made.
        sheet: picture of it and of its pieces.
        unknown_words: words that the embedded encoder has never seen; it cannot tell what they mean.
        trial: None when the test was left out.
        notes: what the user should know.
    """

    name: str
    label: str
    split: str
    folder: Path
    extent_mm: tuple[float, ...]
    volume_cm3: float
    mass_kg: float
    faces: int
    closed: bool
    pieces: str
    sheet: Path | None
    unknown_words: tuple[str, ...]
    trial: Trial | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a manifest: added objects, names kept from an earlier run, and one line for each that failed."""

    library: Path
    added: tuple[Added, ...]
    kept: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """The object that is no longer there."""

    name: str
    library: Path


def run(
    request: Request,
    library: Path | None = None,
    *,
    force: bool = False,
    test: bool = True,
    sheet: Path | None = None,
    words_known: Callable[[str], tuple[str, ...]] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Added:
    """Add one object to the library.

    Args:
        library: folder; None: the user's own.
        force: replace an object of that name.
        test: drop it and grasp for it; False also leaves out the picture.
        sheet: where the picture goes besides the library.
        words_known: gives the unknown words of a text; None: those of the embedded encoder.
        progress: gets a line before what takes long.

    Raises:
        ArtifactError: the file cannot be used, or the name is taken.
        MissingAssetError: an optional library is needed.
        ConfigError: a number is out of range, or the name or label is too long.
        DiskError: the library cannot be written.
    """
    from srcli.objects import build

    folder = library_folder(library)
    unnamed = _unnamed(request)
    request = _with_words(request)
    too_long = _too_long(request)
    if too_long:
        raise ConfigError(too_long, "give a shorter --label or --name")
    _check_free(request.name, folder, force)
    prepared = request.prepared(progress)
    record = _record(request, prepared)
    staged = stage_object(folder, record, prepared.surfaces, prepared.hulls)
    try:
        entry = entry_of(read_staged(staged), staged)
        # What is stored is what is read: a body that cannot be built never gets its place.
        build(entry)
        trial = try_object(entry) if test else None
        if test:
            draw_object(entry, staged / SHEET, prepared.pieces)
            if sheet is not None:
                sheet.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(staged / SHEET, sheet)
        remarks = _remarks(entry, trial)
        commit_object(staged, folder / record.name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    unknown = (words_known or embedded_unknown)(" ".join(_words(record)))
    return Added(
        name=record.name,
        label=record.label,
        split=record.split,
        folder=folder / record.name,
        extent_mm=tuple(round(1000 * float(side), 1) for side in prepared.extent),
        volume_cm3=round(1e6 * prepared.volume, 2),
        mass_kg=round(record.mass, 4),
        faces=prepared.faces,
        closed=prepared.closed,
        pieces=prepared.pieces,
        sheet=folder / record.name / SHEET if test else None,
        unknown_words=unknown,
        trial=trial,
        notes=(*prepared.notes, *unnamed, *remarks),
    )


def read_staged(staged: Path) -> Record:
    """The record of an object that has not got its place yet."""
    return Record.model_validate(read_yaml(staged / ENTRY))


def remove(name: str, library: Path | None = None) -> Removed:
    """Take an object out of the library.

    Raises:
        UnknownNameError: it has none of that name.
    """
    folder = library_folder(library)
    remove_object(folder, name)
    return Removed(name, folder)


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
        request = _with_words(Request.model_validate({**fields, "file": str(base / name), **words}))
        too_long = _too_long(request)
        if too_long:
            raise ArtifactError(f"{where}: {too_long}", "give it a shorter 'label' or 'name'")
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
        request = _with_words(Request(file=str(path)))
        if _too_long(request):
            request = _with_words(Request(file=str(path), label=request.label[:LONGEST].strip()))
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
    requests = [_with_words(shared.model_copy(update={"file": str(path), "name": "", "label": ""})) for path in files]
    for number, request in enumerate(requests):
        twin = next((other for other in requests[:number] if other.name == request.name), None)
        if twin is not None:
            what = f"{twin.file} and {request.file} would both be called '{request.name}'"
            raise ArtifactError(what, "add them one by one with --name, or import their folder")
    return tuple(requests)


def _named_by(identifier: str, where: str) -> dict[str, str]:
    """Words from an id alone: GraspNet's number has a namesake, YCB's holds the label ("003_cracker_box")."""
    from srcli.objects.catalogue import builtin_catalogue

    if any(entry.graspnet_id == identifier for entry in builtin_catalogue()):
        return {"like": identifier}
    label = " ".join(re.findall(r"[a-z]{2,}", identifier.lower()))
    if not label:
        raise ArtifactError(f"{where}: the id '{identifier}' has no namesake in the catalogue", "give it a 'label'")
    return {"label": label}


def run_import(
    requests: Sequence[Request],
    library: Path | None = None,
    *,
    force: bool = False,
    test: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Imported:
    """Add several objects; one that cannot be used does not keep the others out, and a run that is repeated goes on.

    Args:
        force: also replace objects that are already there.
        test: drop and grasp each one.
        progress: gets a line per object.

    Raises:
        DiskError: the library cannot be written.
    """
    folder = library_folder(library)
    added: list[Added] = []
    kept: list[str] = []
    failed: list[str] = []
    for request in requests:
        if not force and request.name in stored_names(folder):
            source = read_record(folder, request.name).source.file
            if source == Path(request.file).name:
                kept.append(request.name)
            else:
                # A name is no identity: two files must not pass for one.
                failed.append(f"{request.name}: the library has an object of this name, made of {source} (--force replaces it)")
            continue
        outcome = "added"
        try:
            added.append(run(request, folder, force=force, test=test, progress=progress))
        except DiskError:
            # A library that takes this object no more takes none of the others either.
            raise
        except SrcliError as error:
            outcome = "failed"
            failed.append(f"{request.name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        if progress is not None:
            progress(f"{request.name}: {outcome}")
    return Imported(folder, tuple(added), tuple(kept), tuple(failed))


def embedded_unknown(text: str) -> tuple[str, ...]:
    """Words that did not occur in the pre-training of the shipped encoder."""
    from srcli.config.encoder import EncoderConfig
    from srcli.perception.encoders import load_encoder

    return load_encoder(EncoderConfig()).unknown_words(text)


def _with_words(request: Request) -> Request:
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


def _unnamed(request: Request) -> tuple[str, ...]:
    """What to say of a file whose name gives no word."""
    if request.label not in ("", NAMELESS) or request.like or re.search(r"[a-z]", Path(request.file).stem.lower()):
        return ()
    return (f"the file's name has no letter from a to z: it is called '{NAMELESS}'; --label gives it a name",)


def _too_long(request: Request) -> str:
    """What is wrong with the length of the label or the name, or nothing."""
    for what, text in (("label", request.label), ("name", request.name)):
        if len(text) > LONGEST:
            return f"the {what} '{text[:20]}...' has {len(text)} characters, more than {LONGEST}"
    return ""


def _check_free(name: str, folder: Path, force: bool) -> None:
    from srcli.objects.catalogue import builtin_catalogue

    if name in builtin_catalogue().names:
        raise ArtifactError(f"'{name}' is an object of the built-in catalogue", "give yours another --name")
    if name in stored_names(folder) and not force:
        raise ArtifactError(f"the library {folder} has an object '{name}'", "--force replaces it; or give another --name")


def _record(request: Request, prepared: Prepared) -> Record:
    from srcli.objects.assets import palette_name

    try:
        record = Record(
            name=request.name,
            label=request.label,
            synonyms=request.synonyms,
            general=request.general,
            attributes=request.attributes,
            functions=request.functions,
            split=request.split,
            mass=prepared.mass,
            friction=request.friction if request.friction is not None else prepared.friction,
            # Instances of a held-out object have to keep away from it, which takes another colour.
            recolor=request.split == "unseen",
            colors=tuple(rgb for rgb, _ in prepared.surfaces),
            pictures=any(mesh.skin is not None for _, mesh in prepared.surfaces),
            source=Source(
                file=Path(request.file).name,
                sha256=prepared.sha256,
                scale=request.scale or 1.0,
                up=prepared.up,
                pieces=prepared.pieces,
            ),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ArtifactError(
            f"object '{request.name}': {first['loc'][0]} {_shown(first.get('input'))} is not allowed",
            "words are lower-case letters, digits, blanks and & ' _ -",
        ) from error
    # Everything that an entry demands, before anything is written.
    make_entry(record, (StoredPart(color=palette_name(record.colors[0]), path="", digest="", number=0),))
    return record


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _words(record: Record) -> tuple[str, ...]:
    return (record.label, *record.synonyms, *record.general, *record.attributes, *record.functions)


def _remarks(entry: LibraryEntry, trial: Trial | None) -> list[str]:
    """What the words and the test suggest to look at."""
    from srcli.objects import color_shares, color_words

    remarks = []
    shares = color_shares(entry)
    for word in entry.attributes:
        if word in color_words() and shares.get(word, 0.0) < _COLOR_SHARE:
            shown = ", ".join(f"{name} {100 * share:.0f}%" for name, share in list(shares.items())[:3])
            remarks.append(f"'{word}' is given as an attribute, but its surface is {shown}")
    if entry.split != "user":
        remarks.append(f"split {entry.split}: generated scenes now draw it, so that they differ from those without this library")
    if trial is not None and trial.settled < trial.drops:
        remarks.append(f"it did not come to rest in {trial.drops - trial.settled} of {trial.drops} drops")
    if trial is not None and trial.held == 0:
        remarks.append("no grasp held it: check its size, --mass and pieces")
    if trial is not None and trial.expected is not None and trial.on_table and trial.expected - trial.held / trial.on_table > 0.3:
        remarks.append(
            f"the estimate of grasps is too sure of it: {trial.expected:.2f} expected, {trial.held} of {trial.on_table} held"
        )
    return remarks


def _bad_field(where: str, error: ValidationError) -> SrcliError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "file"
    return ArtifactError(f"{where}: {field}: {first['msg']}", "docs/objects.md lists the fields of a manifest")
