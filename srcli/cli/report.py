"""``srcli report``: everything measured so far as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import Assignments, Debug, Device, DryRun, Json, ParamsFile, Seed, out_option
from srcli.cli.running import Flag, Plan, command, parameters, torch_device


@command
def report(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE|FOLDER]...",
            help="Results and policies, or folders that are searched for them; by default results.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, out_option("Folder for report.html and report.md.")] = Path("results/report"),
    params: ParamsFile = None,
    seed: Seed = None,
    assignments: Assignments = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write one HTML page and a Markdown file: tables beside published numbers, curves, case studies, animations."""
    values = parameters(params, (Flag("--seed", "seed", seed),), assignments or ())
    paths = list(inputs or (Path("results"),))
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        from srcli.cli.checks import check_run
        from srcli.reporting.result_files import files

        check_run(values, device=device)
        found = tuple(str(path) for path, _ in files(paths))
        played = ("play the case studies",) if values.report.replay else ()
        does = (*played, f"write tables, curves, pictures{' and animations' if played else ''} into one page")
        plan = Plan("report", found, does, (str(out / "report.html"), str(out / "report.md")), {"seed": values.seed})
        emit_plan(plan, as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress
    from srcli.stages import report as stage

    with progress("report") as tell:
        summary = stage.run(values, paths, out, values.report, device=place, progress=tell)
    emit(summary, as_json)
