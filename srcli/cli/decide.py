"""``srcli decide`` and ``srcli frames``: recorded frames in, a grasp out; and example frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srcli.cli.options import (
    FRAMES,
    OUTPUT,
    RUNNING,
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
    out_option,
)
from srcli.cli.running import Flag, command, encoder_flags, parameters, torch_device
from srcli.errors import ConfigError

if TYPE_CHECKING:
    from srcli.types import HeldExtent


@command
def decide(
    folder: Annotated[Path, typer.Argument(help="Folder of frames: native, a BOP scene, or a GraspNet-1Billion scene.")],
    sentence: Annotated[str, typer.Argument(help="What to do, in quotes.", show_default=False)],
    format: FrameFormat = None,
    cameras: Cameras = None,
    fit_table: FitTable = False,
    unchecked: Unchecked = False,
    held: Held = None,
    method: OneMethod = None,
    top: Annotated[int, typer.Option("--top", "-k", help="Candidates that are told.", min=1, rich_help_panel=OUTPUT)] = 5,
    out: Annotated[
        Path | None,
        out_option("Folder for decision.json, decision.png and grasps.npy (GraspNet rows)."),
    ] = None,
    params: ParamsFile = None,
    encoder: Encoder = None,
    seed: Seed = None,
    assignments: Assignments = None,
    device: Device = "cpu",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Decide from recorded RGB-D frames and a sentence: the grasp or placement, in the world's and in each camera's frame."""
    extent = held_extent(held)
    values = parameters(params, (Flag("--seed", "seed", seed), *encoder_flags(encoder)), assignments or ())
    place = torch_device(device)
    from srcli.cli.output import emit
    from srcli.stages import decide as stage

    found = stage.run(
        values,
        folder,
        sentence,
        method or "",
        format=format or "",
        cameras=cameras or (),
        held=extent,
        fit_table=fit_table,
        check=not unchecked,
        top=top,
        out_dir=out,
        device=place,
    )
    if as_json:
        emit({**found.data, "files": found.files}, True)
        return
    for line in found.lines:
        typer.echo(line)
    if found.files:
        emit(found.files, False)


def held_extent(text: str | None) -> HeldExtent | None:
    """``RADIUS,HALF-WIDTH,HEIGHT`` in metres."""
    if text is None:
        return None
    from srcli.types import HeldExtent

    example = "radius, half width and height in metres: --held 0.035,0.03,0.09"
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--held {text}: not three numbers", example) from None
    if len(numbers) != 3:
        raise ConfigError(f"--held {text}: {len(numbers)} numbers, expected 3", example)
    radius, half_width, height = numbers
    if not all(0 < number <= 0.5 for number in numbers) or half_width > radius:
        raise ConfigError(f"--held {text}: not the size of something that a gripper holds", example)
    return HeldExtent(radius, half_width, height)


@command
def frames(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[str, typer.Option("--format", help="native, bop or graspnet.", rich_help_panel=FRAMES)] = "native",
    task: Annotated[
        str, typer.Option("--task", "-t", help="pick or place: what the scene is for.", rich_help_panel=FRAMES)
    ] = "pick",
    split: Annotated[str, typer.Option("--split", help="seen or unseen objects.", rich_help_panel=FRAMES)] = "seen",
    scene: Annotated[
        int, typer.Option("--scene", help="Which scene of the suite 'development', from 0.", min=0, rich_help_panel=FRAMES)
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder of frames.", rich_help_panel=RUNNING)] = False,
    params: ParamsFile = None,
    seed: Seed = None,
    assignments: Assignments = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write example frames of a simulated scene, and the command that decides from them."""
    values = parameters(params, (Flag("--seed", "seed", seed),), assignments or ())
    from srcli.cli.output import emit, reserved_stdout
    from srcli.stages import decide as stage

    with reserved_stdout():
        made = stage.write_example(values, folder, format, task, split, scene, force)
    found = {"folder": made.folder, "format": made.format, "sentence": made.sentence}
    held = {} if made.held is None else {"held": list(made.held)}
    emit({**found, **held, "next": made.command}, as_json)
