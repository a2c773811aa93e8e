"""``srcli ablate``: forms of the network, studies of what the paper leaves open, and what each part is worth."""

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
    Methods,
    ParamsFile,
    Reuse,
    Seed,
    Workers,
    named_methods,
    out_option,
)
from srcli.cli.running import Flag, Plan, parameters, resumable, torch_device, worker_count
from srcli.cli.study_plans import SHIPPED, policies_in_words
from srcli.errors import ConfigError

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


@resumable
def ablate(
    features: Annotated[
        Path | None,
        typer.Argument(help="Features to train on, as written by srcli featurize; default data/features.h5.", show_default=False),
    ] = None,
    out: Annotated[Path, out_option("Folder for results, table and picture.")] = Path("results/ablation"),
    study: Annotated[
        str,
        typer.Option(
            "--study",
            help="What the paper leaves open: a name of --list; or attribution: what each part is worth.",
            rich_help_panel=RUNNING,
            show_default=False,
        ),
    ] = "",
    methods: Methods = None,
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
    packaged: Annotated[
        bool,
        typer.Option(
            "--shipped", help="Compare the policies of the package, whatever features are there.", rich_help_panel=RUNNING
        ),
    ] = False,
    reuse: Reuse = None,
    params: ParamsFile = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            "--episodes",
            min=0,
            help="Episodes per task and split. \\[ablate.episodes, ablate.study.episodes, ablate.attribution.episodes]",
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
    """Compare BASE, SR-A and SR on all tasks, the values of a study, or a method with and without its parts. Resumable."""
    section = "ablate.attribution" if study == "attribution" else "ablate.study" if study else "ablate"
    names, files = named_methods(methods)
    method = names[0] if study and names else ""
    flags = (
        Flag("--seed", "seed", seed),
        Flag("--episodes", f"{section}.episodes", episodes),
        Flag("--method", "ablate.methods", None if study else names),
    )
    values = parameters(params, flags, assignments or ())
    if names and not study:
        from srcli.studies.ablate import reference_among

        reference = reference_among(names, values.ablate.reference)
        values = parameters(params, (*flags, Flag("--method", "ablate.reference", reference)), assignments or ())
    if study and names and len(names) > 1:
        raise ConfigError(f"--study {study}: of one method, not of {', '.join(names)}", "give -m once")
    given = [*(policies or ()), *files]
    if packaged and (features or given):
        raise ConfigError("--shipped: features or policies are given, too", "leave one of them away")
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan
    from srcli.studies import ablate as stage
    from srcli.studies import policy_store as store

    if packaged and (asked := stage.plan(values, study, method)[0].seeds) != (0,):
        told = ", ".join(map(str, asked))
        raise ConfigError(
            f"--shipped: the package has one training of each, not seeds {told}", "leave the section's seeds at [0]"
        )
    if listed:
        emit(
            {
                name: {"compares": s.question, "values": list(s.values), "makes anew": s.needs}
                for name, s in stage.studies(values, names[0] if names else "").items()
            }
            | {stage.ATTRIBUTION: {"compares": "the method with and without each of its parts", "makes anew": "nothing"}},
            as_json,
        )
        return
    if dry_run:
        from srcli.artifacts.core import FEATURES
        from srcli.cli.checks import check_run

        scale, arms, reference = stage.plan(values, study, method)
        executor = values.evaluate.executor
        source = features or store.FEATURES
        read = [] if packaged else [(source, FEATURES)]
        check_run(values, device=device, executor=executor, output=stage.results_file(out, study), inputs=read)
        store.check_given(given, arms, scale.seeds, values)
        free = features is None and not given and not source.exists()
        first, arms = policies_in_words(arms, values, scale.seeds, packaged, free, no_train)
        made = bool(first) and first[0] != SHIPPED
        does = (
            *first,
            f"run {len(arms)} arms on tasks {', '.join(scale.tasks)}, suite '{scale.suite}', reference {reference}, "
            f"{count} worker(s): {'; '.join(arm.title for arm in arms)}",
        )
        reads = (*((str(source),) if made else ()), *given)
        settings = {"seed": values.seed, section: scale.model_dump(mode="json", exclude={"study", "attribution"})}
        writes = (str(out), *((str(policies_dir),) if made else ()))
        emit_plan(Plan("ablate", reads, does, writes, settings), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress

    with progress("ablate") as report:
        summary = stage.run(
            values,
            out,
            features,
            study=study,
            method=method,
            policies=given,
            policies_dir=policies_dir,
            demos=demos or store.DEMOS,
            train=not no_train,
            packaged=packaged,
            reuse=reuse or (),
            workers=count,
            device=place,
            progress=report,
            tell=lambda table: typer.echo(f"\n{table}", err=True),
        )
    if as_json:
        emit(summary, True)
        return
    typer.echo(summary.markdown)
    emit({"results": summary.results, "numbers": summary.json, "table": summary.table, "picture": summary.figure}, False)
