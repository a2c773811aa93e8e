"""``srcli evaluate``: a policy and the methods beside it, in closed loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from srcli.cli.options import PARAMETERS, PATHS, Assignments, Debug, Device, DryRun, Json, ParamsFile, Seed, Workers
from srcli.cli.running import Flag, Plan, command, parameters, torch_device, worker_count


@command
def evaluate(
    policies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[[NAME=]FILE]...",
            help="Policy files, as written by srcli train, named after their variant or NAME; none takes the shipped one.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results, table and pictures.", rich_help_panel=PATHS)
    ] = Path("results/evaluation"),
    params: ParamsFile = None,
    suite: Annotated[
        Literal["development", "paper", "wide"] | None,
        typer.Option("--suite", help="Which cases. \\[evaluate.suite]", rich_help_panel=PARAMETERS, show_default=False),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="Method to run; repeatable. \\[evaluate.methods]",
            rich_help_panel=PARAMETERS,
            show_default=False,
        ),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            "--episodes", min=0, help="Episodes per split. \\[evaluate.episodes]", rich_help_panel=PARAMETERS, show_default=False
        ),
    ] = None,
    seed: Seed = None,
    assignments: Assignments = None,
    workers: Workers = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run the policy and its comparisons on the same seeds; write statistics, table and pictures. Resumable."""
    flags = (
        Flag("--seed", "seed", seed),
        Flag("--suite", "evaluate.suite", suite),
        Flag("--method", "evaluate.methods", list(methods) if methods else None),
        Flag("--episodes", "evaluate.episodes", episodes),
    )
    values = parameters(params, flags, assignments or ())
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        section = values.evaluate
        does = (f"run {', '.join(section.methods)} on suite '{section.suite}', {section.attempts} attempts, {count} worker(s)",)
        reads = tuple(policies or ()) or ("the shipped policy",)
        emit_plan(Plan("evaluate", reads, does, (str(out),), {"seed": values.seed, "evaluate": section}), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress
    from srcli.stages import evaluate as stage

    with progress("evaluate") as report:
        summary = stage.run(values, list(policies or ()), out, workers=count, device=place, progress=report)
    if as_json:
        emit(summary, True)
        return
    typer.echo(summary.markdown)
    emit({"results": summary.results, "table": summary.table, "numbers": summary.json, "pictures": out / "figures"}, False)
