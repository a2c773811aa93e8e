"""RVT-2: heat maps on three virtual orthographic views of the workspace, looked at twice, the second time closer."""

from __future__ import annotations

from srcli.methods import WHOLE_VIEWS
from srcli.methods.base import EVERY_TASK, MethodSpec
from srcli.methods.rvt2.section import Rvt2Config

SOURCE = "RVT-2 (Goyal et al., RSS 2024), from its description: reduced size, yaw over half a turn and tilt for Euler angles"


def _spec(name: str, title: str, source: str, features: bool, snap: bool = False, weights_of: str = "") -> MethodSpec:
    return MethodSpec(
        name=name,
        title=title,
        tasks=EVERY_TASK,
        build="srcli.methods.rvt2.policy:build",
        fit="srcli.methods.rvt2.training:fit",
        reads="features",
        section=Rvt2Config,
        group="rvt2",
        preset={"network.features": features, "act.snap": snap},
        acts_with=("act",),
        fidelity="adapter" if features or snap else "reimplemented",
        source=source,
        paper_row="" if features or snap else "RVT-2",
        weights_of=weights_of,
        shares=WHOLE_VIEWS,
    )


_WITH = f"{SOURCE}; the encoder's dense features are drawn into its views"
RVT2 = _spec("rvt2", "RVT-2", SOURCE, False)
RVT2_SNAPPED = _spec("rvt2_snapped", "RVT-2, nearest candidate", f"{SOURCE}; lent our candidates", False, True, "rvt2")
RVT2_FEATURES = _spec("rvt2_features", "RVT-2 + features", _WITH, True)
RVT2_FEATURES_SNAPPED = _spec(
    "rvt2_features_snapped", "RVT-2 + features, nearest candidate", f"{_WITH}; lent our candidates", True, True, "rvt2_features"
)
