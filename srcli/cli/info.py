"""``srcli info``: what an artifact holds, and whether it keeps its contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import PATHS, Debug, Json
from srcli.cli.running import command
from srcli.errors import ArtifactError


@command
def info(
    file: Annotated[Path, typer.Argument(help="A demonstrations, features, policy or evaluation file.", rich_help_panel=PATHS)],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show and validate any artifact; exit code 3 when it breaks its contract."""
    from srcli.cli.output import emit
    from srcli.stages import info as stage

    found = stage.run(file)
    emit(found, as_json)
    if found["problems"]:
        raise typer.Exit(ArtifactError.exit_code)
