"""Act3D (Gervet et al., CoRL 2023): ghost points sampled from coarse to fine, told apart by relative attention to the scene."""

from __future__ import annotations

from srcli.methods import WHOLE_VIEWS
from srcli.methods.act3d.section import Act3DConfig
from srcli.methods.base import EVERY_TASK, MethodSpec

SOURCE = "Act3D: 3D Feature Field Transformers for Multi-Task Robotic Manipulation (Gervet et al., CoRL 2023)"


def _spec(name: str, title: str, snap: bool, weights_of: str = "") -> MethodSpec:
    return MethodSpec(
        name=name,
        title=title,
        tasks=EVERY_TASK,
        build="srcli.methods.act3d.policy:build",
        fit="srcli.methods.act3d.training:fit",
        reads="features",
        section=Act3DConfig,
        group="act3d",
        preset={"act.snap": snap},
        acts_with=("act",),
        fidelity="adapter",
        source=SOURCE,
        weights_of=weights_of,
        shares=WHOLE_VIEWS,
    )


ACT3D = _spec("act3d", "Act3D", False)
ACT3D_SNAPPED = _spec("act3d_snapped", "Act3D, nearest candidate", True, "act3d")
