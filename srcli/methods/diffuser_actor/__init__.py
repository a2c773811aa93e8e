"""3D Diffuser Actor: keyposes denoised among the scene's features, on our demonstrations."""

from __future__ import annotations

from collections.abc import Mapping

from srcli.methods import WHOLE_VIEWS
from srcli.methods.base import EVERY_TASK, MethodSpec
from srcli.methods.diffuser_actor.section import DiffuserConfig

SOURCE = "3D Diffuser Actor (Ke, Gkanatsios and Fragkiadaki, CoRL 2024), from its description; reduced, on frozen dense features"


def _spec(name: str, title: str, preset: Mapping[str, object], weights_of: str = "") -> MethodSpec:
    return MethodSpec(
        name=name,
        title=title,
        tasks=EVERY_TASK,
        build="srcli.methods.diffuser_actor.policy:build",
        fit="srcli.methods.diffuser_actor.training:fit",
        reads="features",
        section=DiffuserConfig,
        group="diffuser_actor",
        preset=preset,
        acts_with=("act",),
        shares=WHOLE_VIEWS,
        fidelity="adapter",
        source=SOURCE,
        weights_of=weights_of,
    )


DIFFUSER_ACTOR = _spec("diffuser_actor", "3D Diffuser Actor", {"act.snap": False})
DIFFUSER_ACTOR_SNAPPED = _spec(
    "diffuser_actor_snapped", "3D Diffuser Actor, nearest candidate", {"act.snap": True}, "diffuser_actor"
)
