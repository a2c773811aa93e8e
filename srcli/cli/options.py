"""Options that several subcommands share, so that they read and behave alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

RUNNING = "Running"
OUTPUT = "Output"
PARAMETERS = "Parameters (each overrides the named key of params.yaml)"
PATHS = "Paths"
FRAMES = "Frames"


def parameter(*flags: str, key: str, text: str, **more: Any) -> Any:
    """An option that overrides a key of params.yaml; its help names the key."""
    if "min" in more:
        more.setdefault("metavar", "N")  # Short, so that keys are not cut in a terminal of 80 columns.
    return typer.Option(*flags, help=f"{text} \\[{key}]", rich_help_panel=PARAMETERS, show_default=False, **more)


def out_option(text: str) -> Any:
    """``--out``: where the command writes."""
    return typer.Option("--out", "-o", help=text, rich_help_panel=PATHS)


def method_option(text: str, panel: str) -> Any:
    """``--method`` of a command that takes one."""
    return typer.Option("--method", "-m", metavar="NAME[=FILE]", help=text, rich_help_panel=panel, show_default=False)


ParamsFile = Annotated[
    Path | None,
    typer.Option(
        "--params", help="Parameter file; without it ./params.yaml, else the defaults.", rich_help_panel=PATHS, show_default=False
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-S",
        metavar="KEY=VALUE",
        help="Override any key, e.g. -S methods.sr.train.updates=100. Repeatable.",
        rich_help_panel=PARAMETERS,
    ),
]
Seed = Annotated[int | None, parameter("--seed", key="seed", text="Root seed.", min=0)]
Encoder = Annotated[
    str | None,
    parameter(
        "--encoder",
        key="encoder.name, encoder.pretrained",
        text="Encoder: embedded, embedded/seen-only, embedded=FILE, hf-hub:ORG/REPO, or MODEL/TAG such as "
        "ViT-L-14-quickgelu/openai, MODEL=FILE.",
    ),
]
Grasps = Annotated[
    str | None,
    parameter("--grasps", key="candidates.source", text="Grasps of your own: a file or folder of GraspNet rows, or a detector."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        min=1,
        help="Worker processes, by default one per core; the result does not depend on it.",
        rich_help_panel=RUNNING,
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, or auto.", rich_help_panel=RUNNING)]
Force = Annotated[
    bool, typer.Option("--force", help="Replace an output that was made with other parameters.", rich_help_panel=RUNNING)
]
Reuse = Annotated[
    list[Path] | None,
    typer.Option(
        "--reuse",
        metavar="DIR",
        help="Folder of other results: its episodes are taken where everything they depend on is the same. Repeatable.",
        rich_help_panel=PATHS,
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be read, done and written; do nothing.", rich_help_panel=RUNNING)
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=OUTPUT)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        metavar="NAME[=FILE]",
        help="Method to run: a name of `srcli methods`, NAME=FILE with its policy, or untrained:NAME, its control; repeatable.",
        rich_help_panel=PARAMETERS,
        show_default=False,
    ),
]


OneMethod = Annotated[
    str | None,
    method_option("Method that decides: a name of `srcli methods`, or NAME=FILE; else the first of evaluate.methods.", RUNNING),
]
FrameFormat = Annotated[
    str | None,
    typer.Option("--format", help="native, bop or graspnet; else told by the files.", rich_help_panel=FRAMES, show_default=False),
]
Cameras = Annotated[
    list[str] | None,
    typer.Option(
        "--camera",
        metavar="NAME",
        help="Use this view only: a camera's name, or an image's number in BOP and GraspNet; repeatable.",
        rich_help_panel=FRAMES,
        show_default=False,
    ),
]
FitTable = Annotated[bool, typer.Option("--fit-table", help="Take the table that is seen as z = 0.", rich_help_panel=FRAMES)]
Unchecked = Annotated[
    bool,
    typer.Option("--unchecked", help="Decide although a check says that the frames cannot be right.", rich_help_panel=FRAMES),
]
Held = Annotated[
    str | None,
    typer.Option(
        "--held",
        metavar="RADIUS,HALF-WIDTH,HEIGHT",
        help="Size of what the gripper holds, metres; then a placement is decided.",
        rich_help_panel=FRAMES,
        show_default=False,
    ),
]


def named_methods(methods: list[str] | None) -> tuple[list[str] | None, list[str]]:
    """The names of ``-m NAME[=FILE]``, None where none is given, and those with a file."""
    return [text.partition("=")[0] for text in methods or ()] or None, [text for text in methods or () if "=" in text]
