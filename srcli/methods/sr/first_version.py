"""Policy files of the first version: SR, SR-A and BASE with all additions, their settings under other names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srcli.artifacts.policy import PolicyFile
    from srcli.methods.base import MethodSpec


def adopt(file: PolicyFile, spec: MethodSpec) -> dict[str, Any] | None:
    """The section of a file of the first version that holds this identifier's network; None if it holds another."""
    old = file.config
    if "variant" not in old or _identifier(old) != spec.name:
        return None
    return section_of(old, file.training.get("train", {}))


def _identifier(old: dict[str, Any]) -> str:
    variant, sparse = str(old["variant"]), str(old.get("dssa", {}).get("sparse", "relu2"))
    if variant == "sr":
        return {"relu2": "sr_plus", "relu": "sr_plus_relu", "softmax": "sr_plus_softmax"}.get(sparse, "")
    return {"sr_a": "sr_a_plus", "base": "base_plus"}.get(variant, "")


def section_of(old: dict[str, Any], train: dict[str, Any]) -> dict[str, Any]:
    """Section ``methods.sr`` of the first version's sections ``model`` and ``train``."""
    stage1, dssa, encoder, stage2 = (dict(old.get(key, {})) for key in ("stage1", "dssa", "encoder", "stage2"))

    def switch(name: str) -> str:
        return "off" if stage2.get(name) == "off" else "on"

    variant = old["variant"]
    if variant == "sr_a":
        dssa["branch"] = "dense"
    gain = float(stage1.pop("similarity_gain", 3.0))
    norm = dssa.pop("sparse_norm", "rms")
    network = {
        "width": old.get("width", 0),
        "heads": old.get("heads", 8),
        "stage1": {**stage1, "use": "off" if variant == "base" else "on"},
        "dssa": dssa,
        "encoder": encoder,
        "stage2": {"mask": stage2.get("mask", "on"), "place_head": stage2.get("place_head", "shared")},
    }
    additions = {
        "similarity_bias": gain,
        "sparse_norm": norm,
        "window": switch("locality"),
        "window_radius": stage2.get("locality_scale", 0.025),
        "sink": switch("locality"),
        "readout": switch("readout"),
        "rings": switch("rings"),
        "words": "off" if variant == "base" else stage2.get("words", "on"),
        "quality": switch("quality"),
    }
    return {"network": network, "additions": additions, "train": train}
