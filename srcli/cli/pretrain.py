"""``srcli pretrain``: the recipe of the embedded encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import PARAMETERS, PATHS, Assignments, Debug, DryRun, Json, ParamsFile
from srcli.cli.running import Flag, Plan, command, parameters


@command
def pretrain(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Weights to write (.safetensors); the recipe goes beside them.", rich_help_panel=PATHS),
    ] = Path("runs/pretrain/embedded.safetensors"),
    cache: Annotated[
        Path, typer.Option("--cache", help="Folder for rendered scenes and checkpoints.", rich_help_panel=PATHS)
    ] = Path("runs/pretrain/cache"),
    params: ParamsFile = None,
    scenes: Annotated[
        int | None,
        typer.Option(
            "--scenes", min=8, help="Scenes to render. \\[pretrain.scenes]", rich_help_panel=PARAMETERS, show_default=False
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, help="Optimiser steps. \\[pretrain.steps]", rich_help_panel=PARAMETERS, show_default=False
        ),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="FILE",
            help="Weights to go on from; 'embedded': those of the package. \\[pretrain.start]",
            rich_help_panel=PARAMETERS,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Root seed. \\[pretrain.seed]", rich_help_panel=PARAMETERS, show_default=False),
    ] = None,
    assignments: Assignments = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Render randomised scenes and train the embedded encoder on them. Resumable."""
    flags = (
        Flag("--scenes", "pretrain.scenes", scenes),
        Flag("--steps", "pretrain.steps", steps),
        Flag("--start", "pretrain.start", begin),
        Flag("--seed", "pretrain.seed", seed),
    )
    values = parameters(params, flags, assignments or ())
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        does = (f"render {values.pretrain.scenes} scenes", f"train for {values.pretrain.steps} steps")
        emit_plan(Plan("pretrain", (str(cache),), does, (str(cache), str(out)), {"pretrain": values.pretrain}), as_json)
        return
    from srcli.cli.progress import progress
    from srcli.stages import pretrain as stage

    with progress("pretrain") as report:
        summary = stage.run(values.pretrain, values.sim, out, cache, report=lambda *step: report(*_told(*step)))
    emit(summary, as_json)


def _told(phase: str, done: int, total: int, values: dict[str, float]) -> tuple[int, int, str]:
    return done, total, " ".join([phase, *(f"{name} {value:.3g}" for name, value in values.items())])
