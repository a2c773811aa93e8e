"""``srcli results``: measure the numbers of this project, and write the pages that show them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import (
    OUTPUT,
    PATHS,
    RUNNING,
    Assignments,
    Debug,
    Device,
    DryRun,
    Json,
    ParamsFile,
    Reuse,
    Workers,
    out_option,
    parameter,
)
from srcli.cli.running import Flag, Plan, parameters, resumable, torch_device, worker_count


@resumable
def results(
    out: Annotated[Path, out_option("Folder that the episodes are kept in.")] = Path("runs/results"),
    docs: Annotated[Path, typer.Option("--docs", help="Folder of results.json and results.md.", rich_help_panel=PATHS)] = Path(
        "docs"
    ),
    readme: Annotated[Path, typer.Option("--readme", help="File with the table.", rich_help_panel=PATHS)] = Path("README.md"),
    no_readme: Annotated[bool, typer.Option("--no-readme", help="Leave the table alone.", rich_help_panel=PATHS)] = False,
    parts: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            metavar="SUITE/TASK[@WEIGHTS]",
            help="Run this part alone and write nothing: a later run finds its episodes. Repeatable.",
            rich_help_panel=RUNNING,
            show_default=False,
        ),
    ] = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Run nothing: write results.md and the table anew from results.json.", rich_help_panel=OUTPUT
        ),
    ] = False,
    allow_dirty: Annotated[
        bool,
        typer.Option(
            "--allow-dirty", help="Measure with changes that are not committed; the record says so.", rich_help_panel=RUNNING
        ),
    ] = False,
    reuse: Reuse = None,
    episodes: Annotated[
        int | None, parameter("--episodes", key="results.episodes", text="Scenes per part and split.", min=1)
    ] = None,
    params: ParamsFile = None,
    assignments: Assignments = None,
    workers: Workers = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what docs/results.md shows, then write it, its data and the README's table. Resumable."""
    values = parameters(params, (Flag("--episodes", "results.episodes", episodes),), assignments or ())
    count = worker_count(workers)
    table = None if no_readme else readme
    only = tuple(parts or ())
    from srcli.cli.output import emit, emit_plan
    from srcli.studies import results as stage

    written = () if only else tuple(str(path) for path in (docs / stage.DATA, docs / stage.PAGE, table) if path is not None)
    if dry_run:
        does = ["write results.md and the table from results.json"]
        if not write:
            left = stage.missing(values, out, only=only, reuse=reuse or ())
            does = [f"{m.part}: play {m.missing} of {m.episodes} episodes, methods {', '.join(m.methods)}" for m in left]
        reads = (str(docs / stage.DATA),) if write else tuple(str(path) for path in reuse or ())
        targets = written[1:] if write else (str(out), *written)
        emit_plan(Plan("results", reads, tuple(does), targets, {"results": values.results.model_dump(mode="json")}), as_json)
        return
    if write:
        summary = stage.write(docs, table)
    else:
        place = torch_device(device)
        from srcli.cli.progress import progress

        with progress("results") as report:
            summary = stage.run(
                values,
                out,
                docs,
                table,
                only=only,
                reuse=reuse or (),
                allow_dirty=allow_dirty,
                workers=count,
                device=place,
                progress=report,
            )
    emit(summary, as_json)
