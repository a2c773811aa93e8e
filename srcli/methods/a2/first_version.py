"""Policy files of the first version that hold A2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srcli.artifacts.policy import PolicyFile
    from srcli.methods.base import MethodSpec


def adopt(file: PolicyFile, spec: MethodSpec) -> dict[str, Any] | None:
    """The section of a file of the first version that holds A2, which had its positions in metres; None for another one."""
    old = file.config
    if old.get("variant") != "a2":
        return None
    network = {
        "width": old.get("width", 0),
        "heads": old.get("heads", 8),
        "positions": "metres",
        "place_head": old.get("stage2", {}).get("place_head", "shared"),
    }
    return {"network": network, "train": file.training.get("train", {})}
