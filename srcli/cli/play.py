"""``srcli play``: sentence after sentence to one scene."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.decide import held_extent
from srcli.cli.options import (
    FRAMES,
    OUTPUT,
    PATHS,
    Assignments,
    Cameras,
    Debug,
    Device,
    Encoder,
    FitTable,
    FrameFormat,
    Held,
    Json,
    OneMethod,
    ParamsFile,
    Seed,
    Unchecked,
)
from srcli.cli.running import Flag, command, encoder_flags, parameters, torch_device
from srcli.errors import ConfigError

SCENE = "Scene"
PROMPT = "say> "


@command
def play(
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            "-t",
            help="pick, place or pick_place: what the scene is for; by default pick.",
            rich_help_panel=SCENE,
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="seen or unseen objects; by default seen.", rich_help_panel=SCENE, show_default=False),
    ] = None,
    scene: Annotated[
        int | None,
        typer.Option(
            "--scene",
            help="Which scene of the suite 'development', from 0; by default 0.",
            min=0,
            rich_help_panel=SCENE,
            show_default=False,
        ),
    ] = None,
    films: Annotated[bool, typer.Option("--films/--no-films", help="Film the arm at work.", rich_help_panel=OUTPUT)] = True,
    frames: Annotated[
        Path | None,
        typer.Option(
            "--frames",
            metavar="FOLDER",
            help="Recorded frames instead of a simulated scene: what is decided is shown, nothing is carried out.",
            rich_help_panel=FRAMES,
            show_default=False,
        ),
    ] = None,
    format: FrameFormat = None,
    cameras: Cameras = None,
    fit_table: FitTable = False,
    unchecked: Unchecked = False,
    held: Held = None,
    method: OneMethod = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Empty or new folder for the session; by default the next number below results/play.",
            rich_help_panel=PATHS,
            show_default=False,
        ),
    ] = None,
    params: ParamsFile = None,
    encoder: Encoder = None,
    seed: Seed = None,
    assignments: Assignments = None,
    device: Device = "cpu",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Type a sentence, see what is understood, chosen and done; then the next one on what is left. `help` lists the commands.

    The session is kept as pictures, films and case files for `srcli evaluate --cases`. Sentences may come from a pipe.
    """
    scenic = {"--task": task, "--split": split, "--scene": scene}
    recorded = {"--format": format, "--camera": cameras, "--held": held, "--fit-table": fit_table, "--unchecked": unchecked}
    foreign = [name for name, value in (scenic if frames is not None else recorded).items() if value not in (None, False, [])]
    if foreign:
        said = "belongs to a simulated scene, not to --frames" if frames is not None else "belongs to --frames FOLDER"
        raise ConfigError(f"{foreign[0]} {said}", "leave one of the two out")
    extent = held_extent(held)
    values = parameters(params, (Flag("--seed", "seed", seed), *encoder_flags(encoder)), assignments or ())
    place = torch_device(device)
    from srcli.cli.output import emit, reserved_stdout
    from srcli.stages import play as stage

    def answer(lines: Iterator[str]) -> None:
        while True:
            with reserved_stdout():
                line = next(lines, None)
            if line is None:
                return
            typer.echo(line, err=as_json)

    summary = stage.run(
        values,
        _typed(as_json),
        answer,
        method or "",
        task=task or "pick",
        split=split or "seen",
        scene=scene or 0,
        frames=frames,
        format=format or "",
        cameras=cameras or (),
        held=extent,
        fit_table=fit_table,
        check=not unchecked,
        out_dir=out,
        films=films,
        device=place,
    )
    if as_json:
        emit(summary, True)
        return
    for reason in summary.not_cases:
        typer.echo(f"no case: sentence {reason}")
    emit({"session": summary.folder / "session.json", "cases": summary.cases}, False)
    if summary.cases is not None:
        typer.echo(f"play it again: srcli evaluate --cases {summary.folder}")


def _typed(quiet: bool) -> Iterator[str]:
    """Lines from a prompt, or from a pipe; what comes from there is shown as if it were typed."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  # arrow keys and history

        while True:
            try:
                yield input(PROMPT)
            except (EOFError, KeyboardInterrupt):  # Ctrl-D and Ctrl-C at the prompt end a session as `quit` does
                typer.echo("", err=quiet)
                return
            except UnicodeDecodeError:
                typer.echo("that is not UTF-8 text", err=quiet)
    for raw in sys.stdin.buffer:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        typer.echo(f"{PROMPT}{line}", err=quiet)
        yield line
