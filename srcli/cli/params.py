"""``srcli params``: a params.yaml to start from."""

from __future__ import annotations

import typer

from srcli.cli.options import Assignments, Debug, Json, ParamsFile, Seed
from srcli.cli.running import Flag, command, parameters


@command
def show(
    params: ParamsFile = None,
    seed: Seed = None,
    assignments: Assignments = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print all parameters in force as a commented YAML file, for example: srcli params > all.yaml."""
    values = parameters(params, (Flag("--seed", "seed", seed),), assignments or ())
    if as_json:
        from srcli.cli.output import emit

        data = values.model_dump(mode="json")
        # What a recorded scene leaves out is in force all the same.
        data["scene"] = {**data["scene"], "library": values.scene.library}
        emit(data, True)
        return
    from srcli.params.rendering import to_yaml

    typer.echo(to_yaml(values), nl=False)
