"""``srcli objects add``, ``import`` and ``remove``: mesh files become objects of the user's library."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from srcli.config.yamltext import read_yaml
from srcli.errors import ArtifactError, ConfigError, DiskError, SrcliError
from srcli.objects.importing import Prepared
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
from srcli.stages.object_requests import Request, check_body, too_long, unnamed, with_words
from srcli.stages.try_object import Trial, draw_object, try_object

SHEET = "sheet.png"
_COLOR_SHARE = 0.45


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
    nameless = unnamed(request)
    request = _named(request, folder, force)
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
        unknown = (words_known or embedded_unknown)(" ".join(_words(record)))
        # The last step: what was interrupted before has left nothing, and the same command works again.
        commit_object(staged, folder / record.name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
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
        notes=(*prepared.notes, *nameless, *remarks),
    )


def check(request: Request, library: Path | None = None, *, force: bool = False) -> None:
    """Refuse what :func:`run` would refuse before it reads the file.

    Raises:
        As :func:`run`.
    """
    _named(request, library_folder(library), force)
    check_body(request)


def _named(request: Request, folder: Path, force: bool) -> Request:
    """The request with name and words.

    Raises:
        ConfigError: name or label are too long.
        ArtifactError: the name is taken.
    """
    request = with_words(request)
    if problem := too_long(request):
        raise ConfigError(problem, "give a shorter --label or --name")
    _check_free(request.name, folder, force)
    return request


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
