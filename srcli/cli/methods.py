"""``srcli methods``: every system that can choose an action, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srcli.cli.options import Debug, Json
from srcli.cli.running import command

if TYPE_CHECKING:
    from srcli.config.base import Section

app = typer.Typer(
    help="List the methods, or show one.", no_args_is_help=False, invoke_without_command=True, pretty_exceptions_enable=False
)


def described(name: str) -> dict[str, Any]:
    """What is known of a method, as plain data."""
    from srcli.methods.registry import code_digest, is_shipped, spec_of

    spec = spec_of(name)
    return {
        "name": spec.name,
        "title": spec.title,
        "tasks": sorted(spec.tasks),
        "reads": spec.reads,
        "learns": spec.fit is not None,
        "fidelity": spec.fidelity,
        "source": spec.source,
        "privileged": spec.privileged,
        "shipped": is_shipped(name) if spec.fit is not None else False,
        "section": f"methods.{spec.key}",
        "code": code_digest(name),
    }


def parameters(section: type[Section], above: str = "") -> dict[str, str]:
    """Description of each key of a section, by its dotted name below ``methods.<name>``."""
    found: dict[str, str] = {}
    for key, info in section.model_fields.items():
        if isinstance(info.annotation, type) and hasattr(info.annotation, "model_fields"):
            found |= parameters(info.annotation, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = info.description or ""
    return found


COLUMNS = 120
"""Width that a line of the list keeps to; a longer title is shortened, since all else has its place in a command."""


def listed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each method: identifier, title, what it learns from, fidelity, and what else has to be known."""
    cells = [("name", "title", "learns from", "fidelity", "")]
    cells += [(row["name"], row["title"], row["reads"] if row["learns"] else "-", row["fidelity"], _marks(row)) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    widths[1] = max(5, min(widths[1], COLUMNS - 8 - sum(widths) + widths[1]))
    lines = []
    for line in cells:
        title = line[1] if len(line[1]) <= widths[1] else line[1][: widths[1] - 3].rstrip() + "..."
        shown = (line[0], title, *line[2:])
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(shown, widths, strict=True)).rstrip())
    return lines


def measured(name: str, path: Path) -> dict[str, str] | str:
    """The last rows of a method in a file of `srcli compare`, by table and split.

    Raises:
        ArtifactError: the file is no record of a comparison.
    """
    import json

    from srcli.errors import ArtifactError
    from srcli.methods.registry import code_digest

    if not path.is_file():
        return "not yet; `srcli compare` does"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {
            f"{part['part']}, {row['split']}": f"{row['k']}/{row['n']}, at the first attempt {row['first']['k']}/{row['n']}"
            for part in data["parts"]
            for row in part["rows"]
            if row["method"] == name
        }
        older = found and data["methods"][name]["code"] != code_digest(name)
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: is no record of a comparison", "name the compare.json of `srcli compare`") from error
    if older:
        found["older than its code"] = "yes: run `srcli compare` again"
    return found or f"not in {path}"


def _marks(row: Mapping[str, Any]) -> str:
    from srcli.methods.base import EVERY_TASK

    marks = ["sees the truth"] if row["privileged"] else []
    if set(row["tasks"]) != EVERY_TASK:
        marks.append(f"{', '.join(row['tasks'])} only")
    if row["learns"]:
        marks.append("weights shipped" if row["shipped"] else "no weights")
    return ", ".join(marks)


@app.callback()
@command
def methods(context: typer.Context, as_json: Json = False, debug: Debug = False) -> None:
    """List the methods: identifier, title, tasks, what they read, fidelity, privilege, shipped weights."""
    if context.invoked_subcommand is not None:
        return
    from srcli.methods.registry import broken, specs

    for bad in broken().values():
        typer.echo(f"warning: method '{bad.name}' of package {bad.package} cannot be used: {bad.reason}", err=True)
    rows = [described(name) for name in specs()]
    if as_json:
        import json

        typer.echo(json.dumps(rows, indent=2))
        return
    for line in listed(rows):
        typer.echo(line)


@app.command("show")
@command
def show(
    name: Annotated[str, typer.Argument(help="Identifier of a method.")],
    compared: Annotated[
        Path | None,
        typer.Option(
            "--compared",
            help="File that its last measured rows are taken from; default results/compare/compare.json.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a method: its source, what makes its identifier, its parts, its last measured rows, its parameters."""
    from srcli.cli.output import emit
    from srcli.errors import ArtifactError
    from srcli.methods.registry import parts_of, spec_of, studies_of

    spec = spec_of(name)
    told = described(name)
    told["preset"] = dict(spec.preset)
    told["parts"] = {key: part.title for key, part in parts_of(spec).items()}
    told["studies"] = {key: study.question for key, study in studies_of(spec).items()}
    told["parameters"] = parameters(spec.section)
    if compared is not None and not compared.is_file():
        raise ArtifactError(f"{compared}: no such file", "name the compare.json of `srcli compare`")
    told["measured"] = measured(name, compared or Path("results/compare/compare.json"))
    emit(told, as_json)
