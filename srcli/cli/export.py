"""``srcli export``: a policy's weights for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import PATHS, Debug, DryRun, Json
from srcli.cli.running import Plan, command


@command
def export(
    policy: Annotated[Path, typer.Argument(help="Policy file, as written by srcli train.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Default: the input's name, .safetensors.", rich_help_panel=PATHS, show_default=False),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a policy's weights as safetensors, with configuration and encoder identity in its metadata."""
    from srcli.cli.output import emit, emit_plan

    target = out or policy.with_suffix(".safetensors")
    if dry_run:
        emit_plan(Plan("export", (str(policy),), ("copy the weights",), (str(target),), {}), as_json)
        return
    from srcli.artifacts.policy import export_safetensors

    export_safetensors(policy, target)
    emit({"path": target, "bytes": target.stat().st_size}, as_json)
