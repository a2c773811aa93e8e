"""What a dry run and a run look at alike before anything is done: devices, outputs, inputs that are there, grasps, methods."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from srcli.cli.running import torch_device

if TYPE_CHECKING:
    from srcli.artifacts.core import Schema
    from srcli.params import Params


def check_run(
    params: Params,
    *,
    device: str = "cpu",
    executor: str = "",
    output: Path | None = None,
    inputs: Iterable[tuple[Path, Schema]] = (),
    grasps: bool = False,
    methods: Iterable[str] = (),
) -> None:
    """Refuse what the run would refuse. An input that is not there yet may be what an earlier stage is going to make.

    Args:
        executor: who does the work, as the sections name it.
        output: the artifact that is written.
        inputs: artifacts that are read.
        grasps: whether grasps of ``candidates.source`` are played.
        methods: identifiers that have to be known.

    Raises:
        SrcliError: as the run.
    """
    from srcli.artifacts.core import check_replaceable, open_artifact
    from srcli.methods.registry import spec_of

    place = torch_device(device)
    if executor:
        from srcli.parallel import make_executor

        make_executor(executor, 1, place)
    for name in methods:
        spec_of(name)
    if grasps:
        from srcli.actions.sources import check_source
        from srcli.stages.grasp_rows import check_rows

        check_source(params.candidates)
        check_rows(params)
    for path, schema in inputs:
        if path.exists():
            with open_artifact(path, schema):
                pass
    if output is not None:
        check_replaceable(output)
