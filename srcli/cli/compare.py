"""``srcli compare``: every system that the paper compares with, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import (
    OUTPUT,
    PATHS,
    Assignments,
    Debug,
    Device,
    DryRun,
    Json,
    Methods,
    ParamsFile,
    Seed,
    Workers,
    named_methods,
    out_option,
    parameter,
)
from srcli.cli.running import Flag, Plan, parameters, resumable, torch_device, worker_count


@resumable
def compare(
    features: Annotated[
        Path | None,
        typer.Argument(
            help="Features to train on, made with featurize.views=true; needed for methods without shipped weights.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path,
        out_option("Folder for policies, episodes, results, table and picture."),
    ] = Path("results/compare"),
    demos: Annotated[
        list[Path] | None,
        typer.Option(
            "--demos",
            help="Demonstrations, for methods that learn from them. Repeatable.",
            rich_help_panel=PATHS,
            show_default=False,
        ),
    ] = None,
    methods: Methods = None,
    cases: Annotated[
        list[Path] | None,
        typer.Option(
            "--cases",
            metavar="DIR",
            help="Folder of case files of one task: a table of its own. Repeatable.",
            rich_help_panel=PATHS,
            show_default=False,
        ),
    ] = None,
    train_all: Annotated[
        bool | None,
        typer.Option("--train-all", help="Train every method that learns, shipped weights or not.", rich_help_panel=OUTPUT),
    ] = None,
    episodes: Annotated[
        int | None, parameter("--episodes", key="compare.episodes", text="Scenes per table and split.", min=1)
    ] = None,
    params: ParamsFile = None,
    seed: Seed = None,
    assignments: Assignments = None,
    workers: Workers = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train and evaluate the systems that the paper compares with, on the same scenes, into one table. Resumable."""
    names, files = named_methods(methods)
    flags = (
        Flag("--seed", "seed", seed),
        Flag("--episodes", "compare.episodes", episodes),
        Flag("--method", "compare.methods", names),
        Flag("--train-all", "compare.train", "all" if train_all else None),
    )
    values = parameters(params, flags, assignments or ())
    usual = type(values.compare)().reference
    if names and usual not in names and values.compare.reference == usual:
        values = parameters(params, (*flags, Flag("--method", "compare.reference", names[0])), assignments or ())
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan
    from srcli.studies import compare as stage

    if dry_run:
        from srcli.artifacts.core import FEATURES
        from srcli.cli.checks import check_run

        check_run(
            values,
            device=device,
            executor=values.evaluate.executor,
            output=out / f"{stage.NAME}.h5",
            inputs=[(features, FEATURES)] if features is not None else [],
        )
        does = stage.planned(values, cases or (), files, features, demos or ())
        reads = tuple(str(path) for path in (features, *(demos or ()), *files, *(cases or ())) if path is not None)
        emit_plan(Plan("compare", reads, does, (str(out),), {"compare": values.compare.model_dump(mode="json")}), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress

    with progress("compare") as report:
        summary = stage.run(
            values,
            out,
            features=features,
            demos=demos or (),
            policies=files,
            cases=cases or (),
            workers=count,
            device=place,
            progress=report,
        )
    if as_json:
        emit(summary, True)
        return
    typer.echo(summary.markdown)
    emit({"results": summary.results, "numbers": summary.json, "table": summary.table, "picture": summary.figure}, False)
