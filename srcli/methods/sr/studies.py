"""Choices that the paper leaves open, and their values. In `combine` scores of grasps are logarithms."""

from __future__ import annotations

from collections.abc import Mapping

from srcli.methods.base import Study


def _combined(align1: float, align2: float, prior: float, meant: float = 0.75) -> dict[str, float]:
    values = {"align1": align1, "align2": align2, "prior": prior, "meant": meant}
    return {f"choice.{key}": value for key, value in values.items()}


STUDIES: Mapping[str, Study] = {
    "layers": Study(
        "number of layers of the self-attention encoder", {str(n): {"network.encoder.layers": n} for n in (1, 0, 2, 4)}
    ),
    "encoder_place": Study(
        "self-attention on points or on actions", {name: {"network.encoder.place": name} for name in ("points", "actions")}
    ),
    "points": Study(
        "selection of points: by similarity, blind to language, or all",
        {name: {"/cloud.select": name} for name in ("similarity", "farthest", "all")},
        "features",
    ),
    "fusion_norm": Study(
        "fusion divides by the sum of confidences or by the visible views",
        {name: {"/cloud.norm": name} for name in ("weight", "count")},
        "features",
    ),
    "stage1_direction": Study(
        "who asks in 1-Align: the tokens or the points",
        {name: {"network.stage1.direction": name} for name in ("text_query", "point_query")},
    ),
    "write_back": Study(
        "what 1-Align writes on the points",
        {"mask+text": {"network.stage1.write_back": "mask+text"}, "mask": {"network.stage1.write_back": "mask"}},
    ),
    "branches": Study(
        "branches of DSSA: both, the dense one alone, the sparse one alone",
        {name: {"network.dssa.branch": name} for name in ("both", "dense", "sparse")},
    ),
    "mask": Study("the semantic mask reaches 2-Align or not", {name: {"network.stage2.mask": name} for name in ("on", "off")}),
    "combine": Study(
        "weights of 1Align, 2Align and the prior in the semantic consistency score",
        {
            "all": _combined(24.0, 1.0, 24.0),
            "2align+prior": _combined(0.0, 1.0, 24.0),
            "2align": _combined(0.0, 1.0, 0.0),
            "1align": _combined(1.0, 0.0, 0.0, meant=1.0),
            "1align+prior": _combined(1.0, 0.0, 1.0),
            "1align+2align": _combined(24.0, 1.0, 0.0),
        },
        "nothing",
    ),
}
