"""``srcli probe``: the encoder and the grasp candidates, each measured alone."""

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
    Json,
    ParamsFile,
    Seed,
    Workers,
    out_option,
    parameter,
)
from srcli.cli.running import Flag, Plan, encoder_flags, parameters, resumable, torch_device, worker_count


@resumable
def probe(
    out: Annotated[Path, out_option("Folder for tables, numbers and pictures.")] = Path("results/probe"),
    params: ParamsFile = None,
    parts: Annotated[
        list[str] | None,
        parameter("--part", key="probe.parts", text="What to measure, encoder or grasps; repeatable."),
    ] = None,
    scenes: Annotated[
        int | None,
        parameter("--scenes", key="probe.scenes, probe.grasp_scenes", text="Scenes per split, for every part.", min=1),
    ] = None,
    splits: Annotated[
        list[str] | None,
        parameter("--split", key="probe.splits", text="Objects of which split, seen or unseen; repeatable."),
    ] = None,
    wordings: Annotated[
        list[str] | None,
        parameter("--wording", key="probe.wordings", text="In which wordings, train or heldout; repeatable."),
    ] = None,
    encoder: Encoder = None,
    grasps: Annotated[
        str | None,
        parameter("--grasps", key="candidates.source", text="Grasps of your own: a file of GraspNet rows, or a detector."),
    ] = None,
    seed: Seed = None,
    assignments: Assignments = None,
    workers: Workers = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what a policy stands on: naming and finding by the encoder, coverage and holding of the grasp candidates."""
    flags = (
        Flag("--seed", "seed", seed),
        Flag("--part", "probe.parts", list(parts) if parts else None),
        Flag("--scenes", "probe.scenes", scenes),
        Flag("--scenes", "probe.grasp_scenes", scenes),
        Flag("--split", "probe.splits", list(splits) if splits else None),
        Flag("--wording", "probe.wordings", list(wordings) if wordings else None),
        *encoder_flags(encoder),
        Flag("--grasps", "candidates.source", grasps),
    )
    values = parameters(params, flags, assignments or ())
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        from srcli.cli.checks import check_run
        from srcli.stages.probe import check

        check(values)
        check_run(values, device=device, grasps=True)
        section = values.probe
        most = min(section.sentences, section.scenes)
        named = ", ".join(dict.fromkeys(section.suites))
        suites = f", answer {most} sentences of each kind per split of {named}" if named else ""
        each = {
            "encoder": f"name and find objects in {section.scenes} piles and {section.scenes} zones for placing per split "
            f"with encoder '{values.encoder.name}'{suites}",
            "grasps": f"execute candidates from '{values.candidates.source}' and a dense search's grasps in "
            f"{section.grasp_scenes} piles per split",
        }
        does = tuple(f"{each[part]}, {count} worker(s)" for part in dict.fromkeys(section.parts))
        settings = {"seed": values.seed, "encoder": values.encoder, "probe": section}
        emit_plan(Plan("probe", (), does, (str(out),), settings), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress
    from srcli.stages import probe as stage

    with progress("probe") as report:
        summary = stage.run(values, out, workers=count, device=place, progress=report)
    if as_json:
        emit(summary, True)
        return
    typer.echo(summary.markdown)
    emit({"files": summary.files, "pictures": summary.pictures}, False)
