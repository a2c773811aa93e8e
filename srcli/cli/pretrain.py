"""``srcli pretrain``: the recipes of the embedded models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import PATHS, Assignments, Debug, Device, DryRun, Json, ParamsFile, Workers, out_option, parameter
from srcli.cli.running import Flag, Plan, parameters, resumable, torch_device, worker_count

app = typer.Typer(
    no_args_is_help=True,
    help="Make models: the embedded encoder, objects and language that it is taught, the rating of grasps, GraspNet.",
)

Begin = Annotated[
    str,
    typer.Option(
        "--start",
        metavar="FILE",
        help="Weights to go on from; 'embedded' or 'seen-only': those of the package.",
        rich_help_panel=PATHS,
    ),
]


@app.command("encoder")
@resumable
def pretrain_encoder(
    out: Annotated[
        Path,
        out_option("Weights to write (.safetensors); the recipe goes beside them."),
    ] = Path("runs/pretrain/embedded.safetensors"),
    cache: Annotated[
        Path, typer.Option("--cache", help="Folder for rendered scenes and checkpoints.", rich_help_panel=PATHS)
    ] = Path("runs/pretrain/cache"),
    params: ParamsFile = None,
    scenes: Annotated[int | None, parameter("--scenes", key="pretrain.scenes", text="Scenes to render.", min=8)] = None,
    steps: Annotated[int | None, parameter("--steps", key="pretrain.steps", text="Optimiser steps.", min=1)] = None,
    begin: Annotated[
        str | None,
        parameter(
            "--start",
            key="pretrain.start",
            text="Weights to go on from; 'embedded' or 'seen-only': those of the package.",
            metavar="FILE",
        ),
    ] = None,
    seed: Annotated[int | None, parameter("--seed", key="pretrain.seed", text="Root seed.", min=0)] = None,
    assignments: Assignments = None,
    workers: Workers = None,
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
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        _check_weights(out, values.pretrain.start)
        does = (f"render {values.pretrain.scenes} scenes, {count} worker(s)", f"train for {values.pretrain.steps} steps")
        emit_plan(Plan("pretrain encoder", (str(cache),), does, (str(cache), str(out)), {"pretrain": values.pretrain}), as_json)
        return
    from srcli.cli.progress import progress
    from srcli.parallel import make_executor
    from srcli.stages import pretrain as stage

    with progress("pretrain encoder") as report:
        summary = stage.run(
            values.pretrain,
            values.sim,
            out,
            cache,
            executor=make_executor("processes", count),
            report=lambda *step: report(*_told(*step)),
        )
    emit(summary, as_json)


@app.command("teach")
@resumable
def pretrain_teach(
    names: Annotated[
        list[str] | None, typer.Argument(help="Objects added with 'srcli objects add'; none: all of them.", metavar="NAME...")
    ] = None,
    out: Annotated[Path, out_option("Weights to write (.safetensors).")] = Path("runs/pretrain/taught.safetensors"),
    cache: Annotated[
        Path, typer.Option("--cache", help="Folder for rendered scenes and checkpoints.", rich_help_panel=PATHS)
    ] = Path("runs/pretrain/taught"),
    begin: Begin = "embedded",
    params: ParamsFile = None,
    scenes: Annotated[int | None, parameter("--scenes", key="pretrain.teach.scenes", text="Scenes to render.", min=20)] = None,
    steps: Annotated[int | None, parameter("--steps", key="pretrain.teach.steps", text="Optimiser steps.", min=1)] = None,
    seed: Annotated[int | None, parameter("--seed", key="pretrain.teach.seed", text="Root seed.", min=0)] = None,
    assignments: Assignments = None,
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Teach the embedded encoder objects of your own and their words, and measure what it forgot. Resumable."""
    flags = (
        Flag("--scenes", "pretrain.teach.scenes", scenes),
        Flag("--steps", "pretrain.teach.steps", steps),
        Flag("--seed", "pretrain.teach.seed", seed),
    )
    values = parameters(params, flags, assignments or ())
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        from srcli.stages.teach import checked

        chosen = checked(names or ())
        _check_weights(out, begin)
        section = values.pretrain.teach
        does = (
            f"teach {', '.join(chosen)}, starting from {begin}",
            f"render {section.scenes} scenes, {count} worker(s)",
            f"train for {section.steps} steps",
        )
        emit_plan(Plan("pretrain teach", (str(cache),), does, (str(cache), str(out)), {"pretrain.teach": section}), as_json)
        return
    from srcli.cli.progress import progress
    from srcli.parallel import make_executor
    from srcli.stages import teach as stage

    with progress("pretrain teach") as report:
        summary = stage.run(
            values,
            names or (),
            out,
            cache,
            start=begin,
            executor=make_executor("processes", count),
            report=lambda *step: report(*_told(*step)),
        )
    emit(summary, as_json)


@app.command("language")
@resumable
def pretrain_language(
    out: Annotated[Path, out_option("Weights to write (.safetensors).")] = Path("runs/pretrain/language.safetensors"),
    cache: Annotated[
        Path, typer.Option("--cache", help="Folder for the checkpoint and what the teacher said.", rich_help_panel=PATHS)
    ] = Path("runs/pretrain/language"),
    begin: Begin = "embedded",
    params: ParamsFile = None,
    steps: Annotated[int | None, parameter("--steps", key="pretrain.language.steps", text="Optimiser steps.", min=1)] = None,
    seed: Annotated[int | None, parameter("--seed", key="pretrain.language.seed", text="Root seed.", min=0)] = None,
    assignments: Assignments = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Teach the embedded encoder's text tower how people speak; its picture side stays as it is. Resumable."""
    flags = (Flag("--steps", "pretrain.language.steps", steps), Flag("--seed", "pretrain.language.seed", seed))
    values = parameters(params, flags, assignments or ())
    from srcli.cli.output import emit, emit_plan
    from srcli.stages import pretrain_language as stage

    section = values.pretrain.language
    teacher = stage.check(section, out, begin)
    if dry_run:
        does = (
            "no teacher" if teacher is None else f"ask {teacher} about sentences",
            f"train the text tower of {begin} for {section.steps} steps of {section.batch} sentences",
        )
        reads = (begin,) if teacher is None else (begin, str(teacher))
        emit_plan(Plan("pretrain language", reads, does, (str(cache), str(out)), {"pretrain.language": section}), as_json)
        return
    from srcli.cli.progress import progress

    with progress("pretrain language") as report:
        summary = stage.run(values, out, cache, start=begin, report=lambda *step: report(*_told(*step)))
    emit(summary, as_json)


@app.command("grasp")
@resumable
def pretrain_grasp(
    out: Annotated[
        Path,
        out_option("Weights to write (.safetensors) for candidates.quality; recipe and figures go beside them."),
    ] = Path("runs/pretrain/grasp.safetensors"),
    cache: Annotated[Path, typer.Option("--cache", help="Folder for the outcomes of grasps.", rich_help_panel=PATHS)] = Path(
        "runs/pretrain/grasps"
    ),
    params: ParamsFile = None,
    piles: Annotated[
        int | None, parameter("--piles", key="pretrain.grasp.piles", text="Piles played for training.", min=1)
    ] = None,
    grasps: Annotated[
        int | None, parameter("--grasps", key="pretrain.grasp.grasps", text="Grasps executed in each pile.", min=1)
    ] = None,
    steps: Annotated[int | None, parameter("--steps", key="pretrain.grasp.steps", text="Optimiser steps.", min=1)] = None,
    seed: Annotated[int | None, parameter("--seed", key="pretrain.grasp.seed", text="Root seed.", min=0)] = None,
    assignments: Assignments = None,
    workers: Workers = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Execute grasps in simulated piles and train the network that rates grasps on their outcomes. Resumable."""
    flags = (
        Flag("--piles", "pretrain.grasp.piles", piles),
        Flag("--grasps", "pretrain.grasp.grasps", grasps),
        Flag("--steps", "pretrain.grasp.steps", steps),
        Flag("--seed", "pretrain.grasp.seed", seed),
    )
    values = parameters(params, flags, assignments or ())
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        _check_weights(out)
        section = values.pretrain.grasp
        does = (
            f"execute {section.grasps} grasps in each of {section.piles} piles, and of {section.valid_piles} for validation "
            f"on each split, {count} worker(s)",
            f"train for {section.steps} steps",
        )
        emit_plan(Plan("pretrain grasp", (str(cache),), does, (str(cache), str(out)), {"pretrain.grasp": section}), as_json)
        return
    from srcli.cli.progress import progress
    from srcli.stages import pretrain_grasp as stage

    with progress("pretrain grasp") as report:
        summary = stage.run(values, out, cache, workers=count, report=lambda *step: report(*_told(*step)))
    emit(summary, as_json)


@app.command("graspnet")
@resumable
def pretrain_graspnet(
    out: Annotated[
        Path,
        out_option("Checkpoint to write, for --grasps graspnet:PATH."),
    ] = Path("runs/pretrain/graspnet.tar"),
    cache: Annotated[
        Path, typer.Option("--cache", help="Folder for labelled scenes and checkpoints.", rich_help_panel=PATHS)
    ] = Path("runs/pretrain/graspnet"),
    params: ParamsFile = None,
    scenes: Annotated[
        int | None, parameter("--scenes", key="pretrain.graspnet.scenes", text="Scenes labelled for training.", min=1)
    ] = None,
    steps: Annotated[int | None, parameter("--steps", key="pretrain.graspnet.steps", text="Optimiser steps.", min=1)] = None,
    seed: Annotated[int | None, parameter("--seed", key="pretrain.graspnet.seed", text="Root seed.", min=0)] = None,
    assignments: Assignments = None,
    workers: Workers = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train GraspNet's network on labelled scenes of the simulation, at a small scale. Resumable."""
    flags = (
        Flag("--scenes", "pretrain.graspnet.scenes", scenes),
        Flag("--steps", "pretrain.graspnet.steps", steps),
        Flag("--seed", "pretrain.graspnet.seed", seed),
    )
    values = parameters(params, flags, assignments or ())
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        torch_device(device)
        _check_weights(out)
        section = values.pretrain.graspnet
        does = (
            f"label {section.scenes} scenes, and {section.valid_scenes} for validation, {count} worker(s)",
            f"train for {section.steps} steps",
        )
        plan = Plan("pretrain graspnet", (str(cache),), does, (str(cache), str(out)), {"pretrain.graspnet": section})
        emit_plan(plan, as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress
    from srcli.stages import pretrain_graspnet as stage

    with progress("pretrain graspnet") as report:
        summary = stage.run(values, out, cache, workers=count, device=place, report=lambda *step: report(*_told(*step)))
    emit(summary, as_json)


def _check_weights(out: Path, start: str = "") -> None:
    """Refuse what a run would refuse of the weights that it writes, and of those that it starts from.

    Raises:
        ConfigError, ArtifactError: ``out`` cannot be written, or somebody else's file stands there.
        MissingAssetError: the weights to start from are not there.
    """
    from srcli.artifacts.core import sidecar_path
    from srcli.pretraining.cache import check_weights

    sidecar_path(out)
    check_weights(out)
    if start:
        from srcli.perception.encoders.embedded import require_weights, weights_file

        require_weights(weights_file(start))


def _told(phase: str, done: int, total: int, values: dict[str, float]) -> tuple[int, int, str]:
    return done, total, " ".join([phase, *(f"{name} {value:.3g}" for name, value in values.items())])
