"""A2 as published: the system that the paper extends, trained on our demonstrations."""

from __future__ import annotations

from collections.abc import Mapping

from srcli.config.choice import LEARNED_ONLY, WITH_QUALITY
from srcli.methods.a2.section import A2Config
from srcli.methods.base import EVERY_TASK, MethodSpec

SOURCE = "A2 (Action Prior Alignment), the published policy: value = feature x similarity, one cross-attention layer"


def _spec(
    name: str, title: str, positions: str, adopt: str | None, choice: Mapping[str, float] | None = None, weights_of: str = ""
) -> MethodSpec:
    return MethodSpec(
        name=name,
        title=title,
        tasks=EVERY_TASK,
        build="srcli.methods.a2.policy:build",
        fit="srcli.methods.a2.training:fit",
        reads="features",
        section=A2Config,
        group="a2",
        preset={"network.positions": positions, **(choice or {})},
        acts_with=("choice", "noise"),
        learned_only={f"choice.{key}": value for key, value in LEARNED_ONLY.items()},
        fidelity="reimplemented",
        source=SOURCE,
        weights_of=weights_of,
        adopt=adopt,
    )


QUALITY = {f"choice.{key}": value for key, value in WITH_QUALITY.items()}
A2 = _spec("a2", "A2", "workspace", "srcli.methods.a2.first_version:adopt")
A2_METRES = _spec("a2_metres", "A2, positions in metres", "metres", None)
A2_QUALITY = _spec("a2_quality", "A2 with quality", "workspace", None, QUALITY, "a2")
