"""``srcli evaluate``: a policy and the methods beside it, in closed loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import srcli
from srcli.cli.options import (
    PATHS,
    Assignments,
    Debug,
    Device,
    DryRun,
    Encoder,
    Grasps,
    Json,
    Methods,
    ParamsFile,
    Reuse,
    Seed,
    Workers,
    named_methods,
    out_option,
    parameter,
)
from srcli.cli.running import Flag, Plan, encoder_flags, parameters, resumable, torch_device, worker_count
from srcli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from srcli.evaluation.methods import Method
    from srcli.evaluation.suites import SuiteEpisode
    from srcli.params import Params

REPLAY = "Replay"


@resumable
def evaluate(
    policies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[[NAME=]FILE]...",
            help="Policy files, as written by srcli train, named after their method or NAME; none takes the shipped ones.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        out_option("Folder for results, table and pictures; default results/evaluation (results/cases, results/replay)."),
    ] = None,
    cases: Annotated[
        Path | None,
        typer.Option(
            "--cases",
            metavar="DIR",
            help="Run the case files (*.txt, *.yaml) below this folder instead of a suite.",
            rich_help_panel=PATHS,
            show_default=False,
        ),
    ] = None,
    assets: Annotated[
        Path | None,
        typer.Option(
            "--assets",
            metavar="DIR",
            help="Your own objects (URDF, OBJ, MJCF, STL, PLY, GLB, ...) for --cases; others come from the catalogue.",
            rich_help_panel=PATHS,
            show_default=False,
        ),
    ] = None,
    reuse: Reuse = None,
    grasps: Grasps = None,
    params: ParamsFile = None,
    encoder: Encoder = None,
    tasks: Annotated[
        list[str] | None,
        parameter("--task", "-t", key="evaluate.tasks", text="Task to run (pick, place, pick_place); repeatable."),
    ] = None,
    suite: Annotated[
        Literal["development", "paper", "wide", "compositional", "compositional-development", "free", "free-development"] | None,
        parameter(
            "--suite",
            key="evaluate.suite",
            text="Which cases: development, paper, wide, compositional, free, compositional-development or free-development.",
            metavar="SUITE",
        ),
    ] = None,
    methods: Methods = None,
    episodes: Annotated[
        int | None,
        parameter("--episodes", "--repeats", key="evaluate.episodes", text="Scenes per split, or repeats per case.", min=0),
    ] = None,
    figures: Annotated[
        int | None,
        parameter("--figures", key="evaluate.figure_cases", text="Episodes per split that are drawn; 0: none.", min=0),
    ] = None,
    translation: Annotated[
        float | None,
        parameter(
            "--perturb-translation",
            key="evaluate.perturb.translation",
            text="Disturb executed actions: standard deviation per axis, metres.",
        ),
    ] = None,
    rotation: Annotated[
        float | None,
        parameter("--perturb-rotation", key="evaluate.perturb.rotation", text="The same for their direction, radians."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(
            "--case",
            metavar="NAME",
            help="Play this one case again: its name, or the key of an episode; repeatable.",
            rich_help_panel=REPLAY,
            show_default=False,
        ),
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(
            "--repeat", min=1, help="Which repeat of the case, from 1, the default.", rich_help_panel=REPLAY, show_default=False
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
    # A policy may be named among the methods as well as before them.
    names, files = named_methods(methods)
    given = [*(policies or ()), *files]
    flags = (
        Flag("--seed", "seed", seed),
        Flag("--grasps", "candidates.source", grasps),
        *encoder_flags(encoder),
        Flag("--task", "evaluate.tasks", list(tasks) if tasks else None, matrix=True),
        Flag("--suite", "evaluate.suite", suite),
        Flag("--method", "evaluate.methods", names),
        Flag("--episodes", "evaluate.episodes", episodes),
        Flag("--figures", "evaluate.figure_cases", figures),
        Flag("--perturb-translation", "evaluate.perturb.translation", translation),
        Flag("--perturb-rotation", "evaluate.perturb.rotation", rotation),
    )
    values = parameters(params, flags, assignments or ())
    count = worker_count(workers)
    if repeat is not None and not case:
        raise ConfigError("--repeat says which repeat of a --case is played again", "for the number of repeats give --repeats")
    target = out or Path("results") / ("replay" if case else "cases" if cases else "evaluation")
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        from srcli.cli.checks import check_run
        from srcli.evaluation.journal import journals_in
        from srcli.evaluation.methods import check_tasks, chosen_methods
        from srcli.evaluation.plan import case_folder, planned_episodes
        from srcli.evaluation.suites import find_episode

        section = values.evaluate
        methods_given = chosen_methods(values, given)
        folder = case_folder(cases, assets)
        only = tasks[0] if tasks and len(tasks) == 1 else None
        planned = [find_episode(one, repeat or 1, values.seed, folder.cases if folder else (), only) for one in case or ()]
        planned = planned or list(planned_episodes(values, section.suite, folder))
        check_tasks(methods_given, dict.fromkeys(episode.task for episode in planned))
        output = None if case else target / "results.h5"
        check_run(values, device=device, executor=section.executor, output=output, grasps=True)
        journals_in(() if case else reuse or ())
        what = f"case(s) {', '.join(case)}, repeat {repeat or 1}" if case else _what(values, cases, planned)
        grasping = "" if values.candidates.source == "sampler" else f", grasps from {values.candidates.source}"
        rows = dict.fromkeys(method.label for method in methods_given)
        does = (f"run {', '.join(rows)} on {what}, {section.attempts} attempts, {count} worker(s){grasping}",)
        files_read = dict.fromkeys(_file(method) for method in methods_given if method.path is not None)
        reads = (*files_read, *(str(path) for path in (cases, assets, *(reuse or ())) if path is not None))
        shown = section.model_dump(mode="json", exclude={"suite", "tasks"} if cases is not None else set())
        settings = {"seed": values.seed, "encoder": values.encoder, "evaluate": shown}
        emit_plan(Plan("evaluate", tuple(reads), does, (str(target),), settings), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress

    if case:
        from srcli.stages import replay

        with progress("replay") as report:
            again = replay.run(
                values,
                given,
                target,
                case,
                repeat or 1,
                cases=cases,
                assets=assets,
                task=tasks[0] if tasks and len(tasks) == 1 else None,
                workers=count,
                device=place,
                progress=report,
            )
        if as_json:
            emit(again, True)
            return
        typer.echo(again.text)
        emit({"record": again.json, "pictures": ", ".join(str(path) for path in again.figures) or "none"}, False)
        return
    from srcli.stages import evaluate as stage

    with progress("evaluate") as report:
        summary = stage.run(
            values,
            given,
            target,
            cases=cases,
            assets=assets,
            reuse=reuse or (),
            workers=count,
            device=place,
            progress=report,
        )
    if as_json:
        emit(summary, True)
        return
    typer.echo(summary.markdown)
    emit({"results": summary.results, "table": summary.table, "numbers": summary.json, "pictures": target / "figures"}, False)


def _file(method: Method) -> str:
    """The policy file of a method, as one says where it is."""
    path = Path(str(method.path))
    return f"the shipped policy {path.name}" if path.is_relative_to(Path(srcli.__file__).parent) else str(path)


def _what(values: Params, cases: Path | None, planned: Sequence[SuiteEpisode]) -> str:
    of = ", ".join(dict.fromkeys(episode.task for episode in planned))
    kind = f"the case files of {cases}" if cases is not None else f"suite '{values.evaluate.suite}'"
    return f"{kind} ({of}), {len(planned)} episode(s)"
