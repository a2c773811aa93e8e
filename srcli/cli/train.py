"""``srcli train``: features become a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from srcli.cli.options import PATHS, Assignments, Debug, Device, DryRun, Json, ParamsFile, Seed, parameter
from srcli.cli.running import Flag, Plan, command, parameters, torch_device

if TYPE_CHECKING:
    from srcli.methods.sr.trainer import Progress


@command
def train(
    features: Annotated[Path, typer.Argument(help="Features, as written by srcli featurize.")] = Path("data/features.h5"),
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Policy file to write; curves go beside it.", rich_help_panel=PATHS)
    ] = Path("results/train/policy.h5"),
    params: ParamsFile = None,
    variant: Annotated[
        Literal["base", "sr_a", "sr", "a2"] | None, parameter("--variant", key="model.variant", text="Network.")
    ] = None,
    sparse: Annotated[
        Literal["softmax", "relu", "relu2"] | None,
        parameter("--sparse", key="model.dssa.sparse", text="Sparse branch of DSSA."),
    ] = None,
    updates: Annotated[int | None, parameter("--updates", key="train.updates", text="Budget; 0 = epochs decides.", min=0)] = None,
    epochs: Annotated[int | None, parameter("--epochs", key="train.epochs", text="Budget without --updates.", min=1)] = None,
    lr: Annotated[float | None, parameter("--lr", key="train.lr", text="Learning rate.")] = None,
    seed: Seed = None,
    assignments: Assignments = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the network that scores candidates. Interrupted, it goes on from its checkpoint to the same result."""
    flags = (
        Flag("--seed", "seed", seed, matrix=True),
        Flag("--variant", "model.variant", variant, matrix=True),
        Flag("--sparse", "model.dssa.sparse", sparse, matrix=True),
        Flag("--updates", "train.updates", updates if epochs is None or updates is not None else 0),
        Flag("--epochs", "train.epochs", epochs),
        Flag("--lr", "train.lr", lr),
    )
    values = parameters(params, flags, assignments or ())
    from srcli.cli.output import emit, emit_plan

    if dry_run:
        budget = f"{values.train.updates} updates" if values.train.updates else f"{values.train.epochs} epochs"
        does = (f"train variant '{values.model.variant}' for {budget} on {device}",)
        settings = {"seed": values.seed, "model": values.model, "train": values.train}
        emit_plan(Plan("train", (str(features),), does, (str(out),), settings), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress
    from srcli.stages import train as stage

    with progress("train") as report:
        summary = stage.run(
            values.model,
            values.train,
            features,
            out,
            seed=values.seed,
            device=place,
            progress=lambda state: report(*_told(state)),
        )
    emit(summary, as_json)


def _told(state: Progress) -> tuple[int, int, str]:
    numbers = (("loss", state.train_loss), ("valid loss", state.valid_loss), ("on target", state.valid_rate))
    return state.update, state.updates, "  ".join(f"{name} {value:.3f}" for name, value in numbers if value == value)
