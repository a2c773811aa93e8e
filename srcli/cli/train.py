"""``srcli train``: demonstrations or features become a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srcli.cli.options import PATHS, Assignments, Debug, Device, DryRun, Json, ParamsFile, Seed, out_option, parameter
from srcli.cli.running import Flag, Plan, parameters, resumable, torch_device
from srcli.errors import ConfigError


@resumable
def train(
    features: Annotated[Path, typer.Argument(help="Features, as written by srcli featurize, for methods that read them.")] = Path(
        "data/features.h5"
    ),
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "-m",
            help="What to train: a name of `srcli methods`; default: the reference of evaluate.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, out_option("Policy file to write; curves go beside it.")] = Path("results/train/policy.h5"),
    demos: Annotated[
        list[Path] | None,
        typer.Option(
            "--demos",
            help="Demonstrations, for methods that read them; default data/pick.h5 and data/place.h5. Repeatable.",
            rich_help_panel=PATHS,
            show_default=False,
        ),
    ] = None,
    params: ParamsFile = None,
    updates: Annotated[
        int | None,
        parameter("--updates", key="methods.SECTION.train.updates", text="Budget; 0 = epochs decides.", min=0),
    ] = None,
    epochs: Annotated[
        int | None, parameter("--epochs", key="methods.SECTION.train.epochs", text="Budget without --updates.", min=1)
    ] = None,
    lr: Annotated[float | None, parameter("--lr", key="methods.SECTION.train.lr", text="Learning rate.")] = None,
    seed: Seed = None,
    assignments: Assignments = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a method on demonstrations or their features. Interrupted, it goes on from its checkpoint to the same result."""
    from srcli.methods.registry import UNTRAINED, fitter, spec_of
    from srcli.params import method_settings
    from srcli.params.loading import load_params

    # Which section the flags belong to depends on the method, so it is looked up before them.
    prefix = "evaluate.reference="
    named = [text.removeprefix(prefix) for text in assignments or () if text.startswith(prefix)]
    name = method or (named[-1] if named else load_params(params).evaluate.reference)
    if name.startswith(UNTRAINED):
        raise ConfigError(f"--method {name}: a control is not trained", f"train {name.removeprefix(UNTRAINED)}")
    spec = spec_of(name)
    fitter(spec)
    section_of = f"methods.{spec.key}"
    flags = (
        Flag("--seed", "seed", seed, matrix=True),
        Flag("--updates", f"{section_of}.train.updates", updates if epochs is None or updates is not None else 0),
        Flag("--epochs", f"{section_of}.train.epochs", epochs),
        Flag("--lr", f"{section_of}.train.lr", lr),
    )
    values = parameters(params, flags, assignments or ())
    _, section = method_settings(values, name)
    from srcli.cli.output import emit, emit_plan

    given = tuple(demos or (Path("data/pick.h5"), Path("data/place.h5")))
    if dry_run:
        from srcli.artifacts.core import DEMOS, FEATURES
        from srcli.cli.checks import check_run

        read = {"features": [(features, FEATURES)], "demos": [(path, DEMOS) for path in given], "nothing": []}[spec.reads]
        check_run(values, device=device, output=out, inputs=read)
        reads = {"features": (str(features),), "demos": tuple(map(str, given)), "nothing": ()}[spec.reads]
        does = (f"train method '{name}' with seed {values.seed} on {device}",)
        emit_plan(Plan("train", reads, does, (str(out),), {"seed": values.seed, section_of: section}), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress
    from srcli.stages import train as stage

    with progress("train") as report:
        summary = stage.run(spec, section, out, features=features, demos=given, seed=values.seed, device=place, progress=report)
    emit(summary, as_json)
