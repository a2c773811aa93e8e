"""``srcli collect``: demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from srcli.cli.options import Assignments, Debug, DryRun, Force, Grasps, Json, ParamsFile, Seed, Workers, out_option, parameter
from srcli.cli.running import Flag, Plan, parameters, resumable, worker_count


@resumable
def collect(
    task: Annotated[
        str | None,
        parameter("--task", "-t", key="collect.task", text="What to demonstrate: pick, place or pick_place."),
    ] = None,
    out: Annotated[
        Path | None,
        out_option("Demonstrations to write; default data/TASK.h5."),
    ] = None,
    grasps: Grasps = None,
    params: ParamsFile = None,
    episodes: Annotated[
        int | None,
        parameter("--episodes", key="collect.episodes", text="Episodes to collect.", min=1),
    ] = None,
    seed: Seed = None,
    assignments: Assignments = None,
    workers: Workers = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let the expert demonstrate in simulation; every attempt is stored. Interrupted, it goes on where it was."""
    flags = (
        Flag("--seed", "seed", seed),
        Flag("--grasps", "candidates.source", grasps),
        Flag("--episodes", "collect.episodes", episodes),
    )
    values = parameters(params, flags, assignments or ())
    count = worker_count(workers)
    chosen = task or values.collect.task
    target = out or Path("data") / f"{chosen}.h5"
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        from srcli.cli.checks import check_run
        from srcli.tasks import get_task

        get_task(chosen, values.language)
        check_run(values, executor=values.collect.executor, output=target, grasps=True)
        does = (f"collect {values.collect.episodes} episodes of '{chosen}' with {count} worker(s)",)
        section = values.collect.model_copy(update={"task": chosen})
        emit_plan(Plan("collect", (), does, (str(target),), {"seed": values.seed, "collect": section}), as_json)
        return
    from srcli.cli.progress import progress
    from srcli.stages import collect as stage

    with progress("collect") as report:
        summary = stage.run(values, chosen, target, workers=count, progress=report, force=force)
    emit(summary, as_json)
