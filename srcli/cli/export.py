"""``srcli export``: a policy's weights or demonstrations for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import (
    OUTPUT,
    Assignments,
    Debug,
    Device,
    DryRun,
    Encoder,
    Force,
    Json,
    ParamsFile,
    method_option,
    out_option,
)
from srcli.cli.running import Plan, command, encoder_flags, parameters, torch_device
from srcli.errors import ConfigError


@command
def export(
    source: Annotated[Path, typer.Argument(help="A policy for safetensors, else demonstrations.", metavar="FILE")],
    to: Annotated[
        str,
        typer.Option("--to", help="safetensors, lerobot, rerun, ply or graspnet.", rich_help_panel=OUTPUT),
    ] = "safetensors",
    out: Annotated[
        Path | None,
        out_option("File or folder; default: beside the input."),
    ] = None,
    episode: Annotated[
        int | None,
        typer.Option("--episode", help="Which episode (rerun, ply, graspnet).", rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", help="Which of its attempts, from 0 (ply).", rich_help_panel=OUTPUT, show_default=False),
    ] = None,
    method: Annotated[
        str | None,
        method_option("A method whose scores and attention are added (rerun, ply).", OUTPUT),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every attempt, not demonstrations alone (lerobot).", rich_help_panel=OUTPUT)
    ] = False,
    params: ParamsFile = None,
    encoder: Encoder = None,
    assignments: Assignments = None,
    device: Device = "cpu",
    force: Force = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a policy as safetensors, or demonstrations for LeRobot, rerun, viewers of point clouds or GraspNet's tools."""
    values = parameters(params, encoder_flags(encoder), assignments or ())
    from srcli.cli.output import emit, emit_plan
    from srcli.stages import export as stage

    options = stage.Options(episode, attempt, method, every)
    if encoder and method is None:
        raise ConfigError("--encoder: of no use without a method", "give -m, or leave it away")
    if dry_run:
        from srcli.artifacts.core import DEMOS, POLICY
        from srcli.cli.checks import check_run

        stage.check_options(to, options)
        goal = out or stage.target(source, to, options)
        check_run(values, device=device, inputs=[(source, POLICY if to == "safetensors" else DEMOS)])
        stage.check_place(to, goal, options, force)
        does = f"write {stage.FORMATS[to][0]}"
        emit_plan(Plan("export", (str(source),), (does,), (str(goal),), {}), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress

    with progress("export") as report:
        summary = stage.run(values, source, to, out, options, force=force, device=place, progress=report)
    emit(summary, as_json)
