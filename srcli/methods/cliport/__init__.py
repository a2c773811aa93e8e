"""CLIPort: two streams over a height map seen from above, one for where and one for what; it acts with a pose of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srcli.methods import WHOLE_VIEWS
from srcli.methods.base import EVERY_TASK, MethodSpec
from srcli.methods.cliport.section import CliportConfig

SOURCE = (
    "CLIPort (Shridhar et al., CoRL 2021), reduced, on the fused features of our encoder; an adaptation: its picks have no "
    "rotation, ours have a yaw, and it places by matching a crop, ours by the size of what is held"
)


def _spec(name: str, title: str, preset: Mapping[str, Any], paper_row: str = "", weights_of: str = "") -> MethodSpec:
    return MethodSpec(
        name=name,
        title=title,
        tasks=EVERY_TASK,
        build="srcli.methods.cliport.policy:build",
        fit="srcli.methods.cliport.training:fit",
        reads="features",
        section=CliportConfig,
        group="cliport",
        preset=preset,
        acts_with=("act",),
        fidelity="adapter",
        source=SOURCE,
        paper_row=paper_row,
        weights_of=weights_of,
        shares=WHOLE_VIEWS,
    )


CLIPORT = _spec("cliport", "CLIPort, own pose", {"act.snap": False}, paper_row="CLIPort")
CLIPORT_SNAPPED = _spec("cliport_snapped", "CLIPort, nearest candidate", {"act.snap": True}, weights_of="cliport")
