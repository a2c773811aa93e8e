"""``srcli featurize``: demonstrations become features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import (
    Assignments,
    Debug,
    Device,
    DryRun,
    Encoder,
    Force,
    Json,
    ParamsFile,
    Seed,
    Workers,
    out_option,
    parameter,
)
from srcli.cli.running import Flag, Plan, encoder_flags, parameters, resumable, torch_device, worker_count
from srcli.errors import ArtifactError


@resumable
def featurize(
    demos: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Demonstrations, as written by srcli collect; several become one file. Default: data/pick.h5, data/place.h5.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        out_option("Features to write; default features.h5 beside the first input."),
    ] = None,
    params: ParamsFile = None,
    encoder: Encoder = None,
    views: Annotated[
        bool | None,
        parameter("--views", key="featurize.views", text="Keep all that the views show, for methods with poses of their own."),
    ] = None,
    seed: Seed = None,
    assignments: Assignments = None,
    workers: Workers = None,
    device: Device = "cpu",
    force: Force = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Encode the views and sentences of all demonstrations: fused point features, similarity, candidates, text."""
    flags = (Flag("--seed", "seed", seed), Flag("--views", "featurize.views", views or None, matrix=True))
    values = parameters(params, (*flags, *encoder_flags(encoder)), assignments or ())
    count = worker_count(workers)
    usual = [Path("data/pick.h5"), Path("data/place.h5")]
    files = demos or [path for path in usual if path.exists()] or usual[:1]
    if unnamed := [file for file in files if not file.name]:
        raise ArtifactError(f"{unnamed[0]}: is a folder", "name a file")
    target = out or files[0].with_name("features.h5")
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        from srcli.artifacts.core import DEMOS
        from srcli.cli.checks import check_run

        inputs = [(file, DEMOS) for file in files]
        check_run(values, device=device, executor=values.featurize.executor, output=target, inputs=inputs)
        weights = f" ({values.encoder.pretrained})" if values.encoder.pretrained else ""
        does = [f"encode every demonstration with encoder '{values.encoder.name}'{weights} on {device}, {count} worker(s)"]
        if more := values.featurize.relabel:
            does.append(f"ask up to {more} other sentences of every attempt of the episodes that are trained on")
        settings = {"encoder": values.encoder, "cloud": values.cloud, "featurize": values.featurize}
        emit_plan(Plan("featurize", tuple(str(file) for file in files), tuple(does), (str(target),), settings), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress
    from srcli.stages import featurize as stage

    with progress("featurize") as report:
        summary = stage.run(values, files, target, workers=count, device=place, progress=report, force=force)
    emit(summary, as_json)
