"""``srcli noise-sweep``: methods under point noise."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from srcli.cli.ablate import NoTrain, Policies, PoliciesDir
from srcli.cli.options import (
    Assignments,
    Debug,
    Device,
    DryRun,
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
from srcli.cli.running import Flag, Plan, parameters, resumable, torch_device, worker_count
from srcli.cli.study_plans import SHIPPED, policies_in_words
from srcli.errors import ConfigError

SIGMA = "--sigma"


class SigmaCommand(TyperCommand):
    """Lets one ``--sigma`` take several values: ``--sigma 0.1 0.2 0.3`` is read as the option given three times."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args))


def spread(args: Sequence[str]) -> list[str]:
    """The arguments with ``--sigma`` repeated before each of its values.

    After ``--sigma`` every word up to the next option is a value, a negative number included, so that a slip of the finger is
    not taken for a file; after ``--sigma=0.1`` only numbers are. ``--`` ends the options.
    """
    out: list[str] = []
    state = ""
    for number, word in enumerate(args):
        if word == "--":
            return [*out, *args[number:]]
        if word == SIGMA:
            state = "first"
        elif word.startswith(f"{SIGMA}="):
            out.append(word)
            state = "numbers"
        elif state and (_is_number(word) or (state in ("first", "words") and not word.startswith("-"))):
            out.append(f"{SIGMA}={word}")
            state = "words" if state != "numbers" else state
        else:
            # An option without its value is left for the parser to complain about.
            out.extend([SIGMA, word] if state == "first" else [word])
            state = ""
    return [*out, SIGMA] if state == "first" else out


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def sigmas(words: Sequence[str]) -> list[float]:
    """Strengths of the noise.

    Raises:
        ConfigError: a word is no number, not finite, or negative.
    """
    for word in words:
        if not _is_number(word):
            raise ConfigError(
                f"--sigma {word}: not a number", "for example --sigma 0.1 0.2 0.3; a features file stands before --sigma"
            )
        if not isfinite(float(word)):
            raise ConfigError(f"--sigma {word}: not a finite number", "for example --sigma 0.1 0.2 0.3")
        if float(word) < 0:
            raise ConfigError(f"--sigma {word}: must not be negative", "it is a standard deviation; 0 is always added")
    return [float(word) for word in words]


@resumable
def noise_sweep(
    features: Annotated[
        Path | None,
        typer.Argument(
            help="Features to train on; default: the policies shipped with the package, else data/features.h5.",
            show_default=False,
        ),
    ] = None,
    sigma: Annotated[
        list[str] | None,
        parameter(SIGMA, key="noise.sigma", text="Strengths of the noise, one or more; 0 is added.", metavar="NUMBER..."),
    ] = None,
    unit: Annotated[
        Literal["normalized", "metre", "feature"] | None,
        parameter("--unit", key="noise.unit", text="What sigma counts: normalized, metre or feature.", metavar="UNIT"),
    ] = None,
    where: Annotated[
        Literal["cloud", "network"] | None,
        parameter("--where", key="noise.where", text="Before fusion (cloud), or after it (network).", metavar="PLACE"),
    ] = None,
    out: Annotated[Path, out_option("Folder for results, table and picture.")] = Path("results/noise"),
    methods: Methods = None,
    policies: Policies = None,
    policies_dir: PoliciesDir = Path("results/policies"),
    no_train: NoTrain = False,
    reuse: Reuse = None,
    params: ParamsFile = None,
    episodes: Annotated[
        int | None,
        parameter("--episodes", key="noise.episodes", text="Episodes per point.", min=0),
    ] = None,
    seed: Seed = None,
    assignments: Assignments = None,
    workers: Workers = None,
    device: Device = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Methods (softmax, ReLU and squared ReLU in the sparse branch) under noise on the points at test time. Resumable."""
    names, files = named_methods(methods)
    given = [*(policies or ()), *files]
    flags = (
        Flag("--seed", "seed", seed),
        Flag(SIGMA, "noise.sigma", sigmas(sigma) if sigma else None),
        Flag("--unit", "noise.unit", unit),
        Flag("--where", "noise.where", where),
        Flag("--episodes", "noise.episodes", episodes),
        Flag("--method", "noise.methods", names),
    )
    values = parameters(params, flags, assignments or ())
    count = worker_count(workers)
    from srcli.cli.output import emit, emit_plan
    from srcli.studies import noise_sweep as stage
    from srcli.studies import policy_store as store

    section = values.noise
    if dry_run:
        from srcli.artifacts.core import FEATURES
        from srcli.cli.checks import check_run

        trainees = stage.plan(values)[0]
        free = features is None and not given
        first, _ = policies_in_words(trainees, values, section.seeds, False, free, no_train)
        made = bool(first) and first[0] != SHIPPED
        source = features or store.FEATURES
        read = [(source, FEATURES)] if made else []
        executor = values.evaluate.executor
        check_run(values, device=device, executor=executor, output=out / "noise.h5", inputs=read, methods=section.methods)
        store.check_given(given, trainees, section.seeds, values)
        levels = ", ".join(f"{s:g}" for s in sorted({0.0, *section.sigma}))
        does = (
            *first,
            f"run each at sigma {levels} ({section.unit}, {section.where}) on suite '{section.suite}', {count} worker(s)",
        )
        reads = (*((str(source),) if made else ()), *given)
        writes = (str(out), *((str(policies_dir),) if made else ()))
        emit_plan(Plan("noise-sweep", reads, does, writes, {"seed": values.seed, "noise": section}), as_json)
        return
    place = torch_device(device)
    from srcli.cli.progress import progress

    with progress("noise-sweep") as report:
        summary = stage.run(
            values,
            out,
            features,
            policies=given,
            policies_dir=policies_dir,
            train=not no_train,
            reuse=reuse or (),
            workers=count,
            device=place,
            progress=report,
        )
    if as_json:
        emit(summary, True)
        return
    typer.echo(summary.markdown)
    emit({"results": summary.results, "numbers": summary.json, "table": summary.table, "picture": summary.figure}, False)
