"""Depth between metres and the steps of an image, and views of one size stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from srcli.errors import ArtifactError, SceneError
from srcli.frames.files import U16
from srcli.types import F32, F64, U8

QUANTUM = 0.00025
"""Metres per unit of depth that is written: the step of the simulated sensor, so that nothing is lost."""


def in_steps(depth: F32, scale: float, name: str) -> U16:
    """(H, W) depth in metres as uint16 units of ``scale`` metres.

    Raises:
        SceneError: a depth beyond 16 bits.
    """
    steps = np.rint(depth.astype(np.float64) / scale)
    if steps.max(initial=0.0) > np.iinfo(np.uint16).max:
        raise SceneError(f"{name}: a depth of {depth.max():.2f} m does not fit into 16 bits", f"{scale:g} m per unit is too fine")
    return steps.astype(np.uint16)


def stacked(names: Sequence[str], views: Sequence[tuple[Any, Any, Any, Any]]) -> tuple[U8, F32, F64, F64]:
    """Views (colour, depth in metres, K, pose) of one size as arrays (M, ...).

    Raises:
        ArtifactError: depth of another size than its colour image, or cameras of different sizes.
    """
    for name, (rgb, depth, _, _) in zip(names, views, strict=True):
        if depth.shape != rgb.shape[:2]:
            raise ArtifactError(
                f"{name}: colour has {rgb.shape[1]} x {rgb.shape[0]} pixels, depth {depth.shape[1]} x {depth.shape[0]}",
                "colour and depth are not aligned: register depth to colour while recording",
            )
    sizes = {(rgb.shape[1], rgb.shape[0]): name for name, (rgb, _, _, _) in zip(names, views, strict=True)}
    if len(sizes) > 1:
        said = ", ".join(f"{name} {width} x {height}" for (width, height), name in sizes.items())
        raise ArtifactError(
            f"the cameras' images differ in size: {said}", "bring them to one size, K as well, or decide from one (--camera NAME)"
        )
    parts = [np.stack([view[i] for view in views]) for i in range(4)]
    return parts[0], parts[1], parts[2], parts[3]
