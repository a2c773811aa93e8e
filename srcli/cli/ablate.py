"""``srcli ablate``: variants of the network, and studies of what the paper leaves open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import (
    OUTPUT,
    PARAMETERS,
    PATHS,
    RUNNING,
    Assignments,
    Debug,
    Device,
    DryRun,
    Json,
    ParamsFile,
    Seed,
    Workers,
)
from srcli.cli.running import Flag, Plan, command, parameters, torch_device, worker_count

Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="NAME=FILE",
        help="A policy that is trained already, for one of the things compared. Repeatable.",
        rich_help_panel=PATHS,
        show_default=False,
    ),
]
PoliciesDir = Annotated[
    Path, typer.Option("--policies-dir", help="Where trained policies are kept and found again.", rich_help_panel=PATHS)
]
NoTrain = Annotated[bool, typer.Option("--no-train", help="Use only policies that are trained already.", rich_help_panel=RUNNING)]

Reuse = Annotated[
    list[Path] | None,
    typer.Option(
        "--reuse",
        metavar="DIR",
        help="Folder of other results: its episodes are taken where policy, settings and seeds are the same. Repeatable.",
        rich_help_panel=PATHS,
        show_default=False,
    ),
]


@command
def ablate(
    features: Annotated[
        Path | None,
        typer.Argument(help="Features to train on, as written by srcli featurize; default data/features.h5.", show_default=False),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results, table and picture.", rich_help_panel=PATHS)
    ] = Path("results/ablation"),
    study: Annotated[
        str,
        typer.Option(
            "--study", help="What the paper leaves open: a name of --list.", rich_help_panel=RUNNING, show_default=False
        ),
    ] = "",
    listed: Annotated[bool, typer.Option("--list", help="List the studies with their values.", rich_help_panel=OUTPUT)] = False,
    policies: Policies = None,
    policies_dir: PoliciesDir = Path("results/policies"),
    demos: Annotated[
        list[Path] | None,
        typer.Option(
            "--demos",
            help="Demonstrations of the features, for studies that change the points; default data/pick.h5, data/place.h5.",
            rich_help_panel=PATHS,
            show_default=False,
        ),
    ] = None,
    no_train: NoTrain = False,
    reuse: Reuse = None,
    params: ParamsFile = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            "--episodes",
            min=0,
            help="Episodes per task and split. \\[ablate.episodes, or ablate.study.episodes]",
            rich_help_panel=PARAMETERS,
            show_default=False,
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
    """Compare BASE, SR-A and SR on all tasks, or the values of a study: trained alike, paired on the same episodes. Resumable."""
    section = "ablate.study" if study else "ablate"
    values = parameters(
        params, (Flag("--seed", "seed", seed), Flag("--episodes", f"{section}.episodes", episodes)), assignments or ()
    )
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan
    from srcli.studies import ablate as stage
    from srcli.studies import policy_store as shelf

    if listed:
        emit(
            {
                name: {"compares": s.question, "values": list(s.values), "makes anew": s.needs}
                for name, s in stage.STUDIES.items()
            },
            as_json,
        )
        return
    if dry_run:
        scale, arms, reference = stage.plan(values, study)
        does = (
            f"train what is missing of {', '.join(arm.title for arm in arms)} with seeds {', '.join(map(str, scale.seeds))}",
            f"run all on tasks {', '.join(scale.tasks)}, suite '{scale.suite}', reference {reference}, {count} worker(s)",
        )
        reads = (str(features or shelf.FEATURES), *(policies or ()))
        settings = {"seed": values.seed, section: scale.model_dump(mode="json", exclude={"study"})}
        emit_plan(Plan("ablate", reads, does, (str(out), str(policies_dir)), settings), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress

    with progress("ablate") as report:
        summary = stage.run(
            values,
            out,
            features,
            study=study,
            policies=policies or (),
            policies_dir=policies_dir,
            demos=demos or shelf.DEMOS,
            train=not no_train,
            reuse=reuse or (),
            workers=count,
            device=place,
            progress=report,
        )
    if as_json:
        emit(summary, True)
        return
    typer.echo(summary.markdown)
    emit({"results": summary.results, "numbers": summary.json, "table": summary.table, "picture": summary.figure}, False)
