"""The typer app: which subcommands there are, in which panel of ``srcli --help``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from srcli.cli import (
    ablate,
    collect,
    compare,
    decide,
    doctor,
    evaluate,
    export,
    featurize,
    info,
    methods,
    noise_sweep,
    objects,
    params,
    play,
    pretrain,
    probe,
    report,
    results,
    train,
    understand,
)


class _Root(TyperGroup):
    """The front page in plain text, commands grouped by panel: importing rich for it alone would double the time it takes."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super(TyperGroup, self).format_help(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            entry: Any = self.get_command(ctx, name)
            panels.setdefault(entry.rich_help_panel, []).append((name, entry.get_short_help_str(200)))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


app = typer.Typer(
    name="srcli",
    cls=_Root,
    rich_markup_mode="rich",
    # Errors are told by srcli.cli.running.command; a traceback is for --debug.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes and what to do about each: docs/errors.md. Parameters: params.yaml.",
)

PIPELINE = "Pipeline (each stage writes what the next one reads)"
USE = "Use (a policy on your own frames)"
FILES = "Files and objects"
SETUP = "Set-up"

app.command("collect", rich_help_panel=PIPELINE)(collect.collect)
app.command("featurize", rich_help_panel=PIPELINE)(featurize.featurize)
app.command("train", rich_help_panel=PIPELINE)(train.train)
app.command("evaluate", rich_help_panel=PIPELINE)(evaluate.evaluate)
app.command("ablate", rich_help_panel=PIPELINE)(ablate.ablate)
app.command("noise-sweep", cls=noise_sweep.SigmaCommand, rich_help_panel=PIPELINE)(noise_sweep.noise_sweep)
app.command("decide", rich_help_panel=USE)(decide.decide)
app.command("frames", rich_help_panel=USE)(decide.frames)
app.command("play", rich_help_panel=USE)(play.play)
app.command("report", rich_help_panel=PIPELINE)(report.report)
app.command("compare", rich_help_panel=PIPELINE)(compare.compare)
app.command("results", rich_help_panel=PIPELINE)(results.results)
app.add_typer(methods.app, name="methods", rich_help_panel=FILES)
app.command("info", rich_help_panel=FILES)(info.info)
app.command("understand", rich_help_panel=FILES)(understand.understand)
app.command("export", rich_help_panel=FILES)(export.export)
app.add_typer(objects.app, name="objects", rich_help_panel=FILES)
app.command("params", rich_help_panel=SETUP)(params.show)
app.add_typer(pretrain.app, name="pretrain", rich_help_panel=SETUP)
app.command("probe", rich_help_panel=SETUP)(probe.probe)
app.command("doctor", rich_help_panel=SETUP)(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        from srcli import __version__

        typer.echo(f"srcli {__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Language-conditioned grasping: a scene and a sentence become a grasp, and we measure how often that works."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
