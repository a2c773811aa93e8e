"""``srcli objects``: the catalogue as a list and as a picture, and the user's own objects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from srcli.cli.options import PATHS, RUNNING, Debug, DryRun, Json
from srcli.cli.running import Plan, command

app = typer.Typer(no_args_is_help=True, help="List or draw the object catalogue, add objects of your own.")

WORDS = "Words"
BODY = "Body"

Split = Annotated[
    Literal["seen", "unseen", "user", "named", "all"],
    typer.Option("--split", help="Which objects; named: those that only files of cases name.", rich_help_panel=RUNNING),
]


@app.command("list")
@command
def list_objects(
    names: Annotated[list[str] | None, typer.Argument(help="Only these objects.")] = None,
    split: Split = "all",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Names, words, split and mass of the catalogue's objects."""
    import json

    from srcli.cli.output import plain
    from srcli.objects import catalogue

    known = catalogue()
    entries = [known[name] for name in names] if names else [*known, *known.named]
    rows = [
        {
            "name": entry.name,
            "split": entry.split,
            "label": entry.label,
            "general": entry.general,
            "attributes": entry.attributes,
            "functions": entry.functions,
            "mass_kg": entry.mass,
        }
        for entry in entries
        if split in ("all", entry.split)
    ]
    if as_json:
        typer.echo(json.dumps(plain(rows), indent=2))
        return
    width = max((len(str(row["name"])) for row in rows), default=0)
    for row in rows:
        words = ", ".join([str(row["label"]), *entry_words(row)])
        typer.echo(f"{row['name']!s:<{width}}  {row['split']:<6}  {row['mass_kg']:.3f} kg  {words}")


def entry_words(row: dict[str, object]) -> list[str]:
    """The general, attribute and function words of one listed object."""
    return [str(word) for kind in ("general", "attributes", "functions") for word in (row[kind] or ())]  # type: ignore[attr-defined]


@app.command("sheet")
@command
def sheet(
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.", rich_help_panel=PATHS)] = Path(
        "results/objects.png"
    ),
    split: Split = "all",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Render a contact sheet of the catalogue."""
    from srcli.cli.output import emit, emit_plan
    from srcli.objects import catalogue

    known = catalogue()
    entries = [entry for entry in (*known, *known.named) if split in ("all", entry.split)]
    if dry_run:
        plan = Plan("objects sheet", (), (f"render {len(entries)} objects",), (str(out),), {"split": split})
        emit_plan(plan, as_json)
        return
    from srcli.cli.output import reserved_stdout
    from srcli.stages import contact_sheet

    with reserved_stdout():
        summary = contact_sheet.run(entries, out)
    emit(summary, as_json)


Library = Annotated[
    Path | None,
    typer.Option(
        "--library",
        help="Library folder; by default $SRCLI_OBJECTS, else the user's data folder.",
        rich_help_panel=PATHS,
        show_default=False,
    ),
]
Replace = Annotated[bool, typer.Option("--force", help="Replace objects of the library.", rich_help_panel=RUNNING)]
ToSplit = Annotated[
    Literal["seen", "unseen", "user"],
    typer.Option("--split", help="user: used by name only; seen, unseen: drawn by generated scenes.", rich_help_panel=WORDS),
]


Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        help="Files that the model names may lie anywhere below it; by default below the model's own folder.",
        rich_help_panel=PATHS,
        show_default=False,
    ),
]
Textures = Annotated[
    Path | None,
    typer.Option("--textures", help="Textures are also looked for here.", rich_help_panel=PATHS, show_default=False),
]
Packages = Annotated[
    list[str] | None,
    typer.Option(
        "--package", help="Where a package:// lies: NAME=FOLDER. Repeatable.", rich_help_panel=PATHS, show_default=False
    ),
]


def _word(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=WORDS, show_default=False)


def _words(flag: str, text: str) -> Any:
    return _word(flag, f"{text} Repeatable.")


def _body(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=BODY, show_default=False)


@app.command("add")
@command
def add(
    files: Annotated[list[Path], typer.Argument(help="OBJ, STL, GLB, PLY, DAE, MSH, URDF or MJCF files.")],
    label: Annotated[str, _word("--label", "Name in sentences; by default from the file's name.")] = "",
    name: Annotated[str, _word("--name", "Identifier; by default from the label.")] = "",
    synonym: Annotated[list[str] | None, _words("--synonym", "Another name, for held-out sentences.")] = None,
    general: Annotated[list[str] | None, _words("--general", "A kind it belongs to: container.")] = None,
    attribute: Annotated[list[str] | None, _words("--attribute", "A true colour or shape word: blue, round.")] = None,
    function: Annotated[list[str] | None, _words("--function", "What one does with it, after 'something to': eat.")] = None,
    like: Annotated[
        str, _word("--like", "Catalogue object (name or GraspNet number) whose words apply where none are given.")
    ] = "",
    split: ToSplit = "user",
    scale: Annotated[float | None, _body("--scale", "Metres per unit of the file: 0.001 for millimetres.")] = None,
    up: Annotated[Literal["auto", "y", "z"], _body("--up", "The file's axis that points up; auto: y for GLB, else z.")] = "auto",
    density: Annotated[float | None, _body("--density", "kg per cubic metre; by default 400, or the URDF's mass.")] = None,
    mass: Annotated[float | None, _body("--mass", "kg, up to 2.")] = None,
    friction: Annotated[float | None, _body("--friction", "Lateral friction coefficient.")] = None,
    pieces: Annotated[
        Literal["auto", "coacd", "hull", "file"],
        _body("--pieces", "Convex pieces: the file's own, coacd, or one hull; auto: what fits what is seen."),
    ] = "auto",
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            min=1.0,
            max=3600.0,
            help="Time limit of coacd; a coarser try then has half of it.",
            rich_help_panel=BODY,
            show_default=False,
        ),
    ] = 60.0,
    folder: Folder = None,
    textures: Textures = None,
    package: Packages = None,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Drop it, grasp it and draw it (10 tries).", rich_help_panel=RUNNING)
    ] = True,
    sheet_out: Annotated[
        Path | None, typer.Option("--sheet", help="Also write the picture here.", rich_help_panel=PATHS, show_default=False)
    ] = None,
    library: Library = None,
    force: Replace = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Add mesh files to your library: check, weigh, cut into convex pieces, drop and grasp each."""
    from srcli.cli.output import emit, emit_plan, reserved_stdout
    from srcli.errors import ArtifactError, ConfigError
    from srcli.objects.library import library_folder
    from srcli.objects.sources import packages_of
    from srcli.stages import add_object, object_requests

    if len(files) > 1 and (label or name or like or sheet_out):
        raise ConfigError(
            "--label, --name, --like and --sheet are for one file", "add the files one by one, or import a manifest"
        )
    shared = object_requests.Request(
        file=str(files[0]),
        name=name,
        label=label,
        synonyms=tuple(synonym or ()),
        general=tuple(general or ()),
        attributes=tuple(attribute or ()),
        functions=tuple(function or ()),
        like=like,
        split=split,
        scale=scale,
        up=up,
        density=density,
        mass=mass,
        friction=friction,
        pieces=pieces,
        seconds=seconds,
        folder=str(folder or ""),
        textures=str(textures or ""),
        packages=dict(packages_of(package or [])),
    )
    requests = object_requests.several(shared, files) if len(files) > 1 else ()
    if dry_run:
        for request in requests:
            object_requests.check_body(request)
        if not requests:
            add_object.check(shared, library, force=force)
        does = (
            f"check and decompose {', '.join(file.name for file in files)}",
            *(("drop and grasp it 10 times",) if test else ()),
        )
        settings = {"split": split, "scale": scale or 1.0, "pieces": pieces}
        emit_plan(Plan("objects add", tuple(map(str, files)), does, (str(library_folder(library)),), settings), as_json)
        return
    if requests:
        with reserved_stdout():
            done = add_object.run_import(requests, library, force=force, test=test, progress=_tell)
        emit(done, as_json)
        if done.failed:
            raise ArtifactError(f"{len(done.failed)} of {len(files)} files could not be used: {done.failed[0]}", "correct them")
        return
    with reserved_stdout():
        added = add_object.run(shared, library, force=force, test=test, sheet=sheet_out, progress=_tell)
    emit(added, as_json)


def _tell(line: str) -> None:
    typer.echo(line, err=True)


@app.command("import")
@command
def import_objects(
    manifest: Annotated[
        Path, typer.Argument(help="Folder of mesh files, or a YAML file that names them and their words (docs/objects.md).")
    ],
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Drop, grasp and draw each one (10 tries).", rich_help_panel=RUNNING)
    ] = False,
    folder: Folder = None,
    textures: Textures = None,
    package: Packages = None,
    library: Library = None,
    force: Replace = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Add a folder of meshes, such as those of GraspNet-1Billion or YCB, as it is or by a small manifest."""
    from srcli.cli.output import emit, emit_plan, reserved_stdout
    from srcli.errors import ArtifactError
    from srcli.objects.library import library_folder
    from srcli.objects.sources import packages_of
    from srcli.stages import add_object, object_requests

    places = {"folder": str(folder or ""), "textures": str(textures or ""), "packages": dict(packages_of(package or []))}
    given = {key: value for key, value in places.items() if value}
    requests = tuple(request.model_copy(update=given) for request in object_requests.read_manifest(manifest))
    if dry_run:
        writes = tuple(str(library_folder(library) / request.name) for request in requests)
        emit_plan(Plan("objects import", (str(manifest), *(r.file for r in requests)), ("add each",), writes, {}), as_json)
        return
    with reserved_stdout():
        done = add_object.run_import(requests, library, force=force, test=test, progress=_tell)
    emit(done, as_json)
    if done.failed:
        raise ArtifactError(
            f"{len(done.failed)} of {len(requests)} objects could not be used: {done.failed[0]}",
            "correct them and run the same command again: what was added is kept",
        )


@app.command("calibrate")
@command
def calibrate(
    folder: Annotated[Path, typer.Argument(help="Folder of mesh files from outside of the catalogue.")],
    count: Annotated[int, typer.Option("--count", help="Objects, evenly chosen.", rich_help_panel=RUNNING)] = 20,
    tries: Annotated[int, typer.Option("--tries", help="Drops of each.", rich_help_panel=RUNNING)] = 5,
    scale: Annotated[float | None, _body("--scale", "Metres per unit of the files.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """How often grasps hold other shapes, beside the quality that was estimated for them."""
    from srcli.cli.output import emit, emit_plan, reserved_stdout
    from srcli.stages import calibrate_objects

    if dry_run:
        calibrate_objects.check(folder, count, tries)
        does = (f"drop and grasp up to {count} objects {tries} times each",)
        emit_plan(Plan("objects calibrate", (str(folder),), does, (), {"count": count, "tries": tries}), as_json)
        return
    with reserved_stdout():
        found = calibrate_objects.run(folder, count, tries, scale, _tell)
    emit(found, as_json)


@app.command("remove")
@command
def remove(
    name: Annotated[str, typer.Argument(help="An object of your library.")],
    library: Library = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take an object out of your library."""
    from srcli.cli.output import emit
    from srcli.stages import add_object

    emit(add_object.remove(name, library), as_json)
