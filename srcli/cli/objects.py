"""``srcli objects``: the catalogue as a list, and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from srcli.cli.options import PATHS, RUNNING, Debug, DryRun, Json
from srcli.cli.running import Plan, command

app = typer.Typer(no_args_is_help=True, help="List the object catalogue, or draw it.")

Split = Annotated[Literal["seen", "unseen", "all"], typer.Option("--split", help="Which objects.", rich_help_panel=RUNNING)]


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
    entries = [known[name] for name in (names or known.names)]
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
    out: Annotated[Path, typer.Option("--out", help="Picture to write.", rich_help_panel=PATHS)] = Path("results/objects.png"),
    split: Split = "all",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Render a contact sheet of the catalogue."""
    from srcli.cli.output import emit, emit_plan
    from srcli.objects import catalogue

    known = catalogue()
    entries = [known[name] for name in known.names if split in ("all", known[name].split)]
    if dry_run:
        plan = Plan("objects sheet", (), (f"render {len(entries)} objects",), (str(out),), {"split": split})
        emit_plan(plan, as_json)
        return
    from srcli.cli.output import reserved_stdout
    from srcli.stages import contact_sheet

    with reserved_stdout():
        summary = contact_sheet.run(entries, out)
    emit(summary, as_json)
