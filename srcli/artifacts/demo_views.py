"""The images of an episode's views: how they are stored, and keys of each camera of their own beside those of all.

``obs/rgb`` (T, M, H, W, 3) and ``obs/depth`` (T, M, H, W) hold all cameras; ``obs/rgb_NAME`` and ``obs/depth_NAME`` are virtual
datasets of one, which cost no bytes of images. The layout stands in docs/artifacts.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from srcli.artifacts.core import put
from srcli.errors import ArtifactError
from srcli.types import F32, U8, Observation

OBS, NEXT_OBS, AFTER = "obs", "next_obs", "after"
RGB, DEPTH = "rgb", "depth"
UNIT, DEPTH_UNIT = "unit_m", 0.00025
"""Attribute of the depths with the metres that 1 stands for, and those of the cameras' own steps."""

U16 = npt.NDArray[np.uint16]


def write_images(group: h5py.Group, rgb: U8, depth: F32, kind: Any = None) -> None:
    """Images (T, M, H, W, 3) and depth (T, M, H, W) in metres; a view is a chunk.

    Args:
        kind: type that depth has to have, so that it stands in one dataset with others.
    """
    view = (1, 1, *depth.shape[2:])
    put(group, RGB, rgb, (*view, 3))
    packed = packed_depth(depth)
    if kind is not None and packed.dtype != kind:
        raise ArtifactError(
            "the depth after an episode cannot be stored beside that of the episode",
            "leave collect.next_obs off with this camera",
        )
    put(group, DEPTH, packed, view)
    group[DEPTH].attrs[UNIT] = DEPTH_UNIT if packed.dtype == np.uint16 else 1.0


def write_camera_views(group: h5py.Group, cameras: Sequence[str]) -> None:
    """Keys of each camera, ``rgb_NAME`` (T, H, W, 3) and ``depth_NAME`` (T, H, W, 1), as views of the images of all.

    Where it is known what was seen after the last attempt, ``next_obs`` has the same keys, one step later.
    """
    if OBS not in group:
        return
    count, views = group[OBS][RGB].shape[:2]
    names = tuple(cameras) if len(cameras) == views else tuple(f"view{view}" for view in range(views))
    for key in (RGB, DEPTH):
        seen = group[OBS][key]
        for view, name in enumerate(names):
            _write_view(group[OBS], f"{key}_{name}", view, [(seen, 0, count)])
            if AFTER in group:
                rows = [(seen, 1, count - 1), (group[AFTER][key], 0, 1)]
                _write_view(group.require_group(NEXT_OBS), f"{key}_{name}", view, rows)


def _write_view(group: h5py.Group, name: str, view: int, rows: Sequence[tuple[h5py.Dataset, int, int]]) -> None:
    """A virtual dataset of one camera; its last axis is the channel.

    Args:
        rows: images of all cameras (T, M, H, W[, 3]) of this file, with the first row to take and how many, one after the other.
    """
    stored = rows[0][0]
    size = stored.shape[2:4]
    shape = (sum(count for _, _, count in rows), *size, stored.shape[4] if stored.ndim == 5 else 1)
    # Not by create_virtual_dataset of h5py, which stamps the time into the file.
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.VIRTUAL)
    properties.set_obj_track_times(False)
    start = 0
    for source, first, count in rows:
        if not count:
            continue
        here, there = h5py.h5s.create_simple(shape), h5py.h5s.create_simple(source.shape)
        here.select_hyperslab((start, 0, 0, 0), (count, *shape[1:]))
        there.select_hyperslab((first, view, *(0,) * (source.ndim - 2)), (count, 1, *source.shape[2:]))
        properties.set_virtual(here, b".", source.name.encode(), there)
        start += count
    kind = h5py.h5t.py_create(stored.dtype)
    h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(shape), dcpl=properties)
    if UNIT in stored.attrs:
        group[name].attrs[UNIT] = stored.attrs[UNIT]


def packed_depth(depth: F32) -> F32 | U16:
    """Depth in units of ``DEPTH_UNIT`` where that loses nothing, as of a sensor with its noise on; else as it is.

    Args:
        depth: metres, 0 without return.
    """
    counted = np.rint(depth / np.float32(DEPTH_UNIT))
    if not (np.isfinite(counted).all() and counted.min(initial=0) >= 0 and counted.max(initial=0) <= np.iinfo(np.uint16).max):
        return depth
    packed = counted.astype(np.uint16)
    return packed if np.array_equal(_metres(packed, DEPTH_UNIT), depth) else depth


def _metres(depth: F32 | U16, unit: float) -> F32:
    result: F32 = depth.astype(np.float32) if unit == 1.0 else depth.astype(np.float32) * np.float32(unit)
    return result


def _unit(depth: h5py.Dataset) -> float:
    """Metres that 1 stands for. Files of the first version are in metres and do not say so."""
    unit = float(depth.attrs[UNIT]) if UNIT in depth.attrs else 1.0
    if not (np.isfinite(unit) and unit > 0) or (depth.dtype == np.uint16) != (unit != 1.0):
        raise ArtifactError(
            f"{depth.file.filename}: {depth.name}: {UNIT} = {unit:g} cannot be the unit of its depths", "make it anew"
        )
    return unit


def read_after(group: h5py.Group) -> Observation | None:
    """What the cameras see after the last attempt of an episode; None where nobody asked for it."""
    return read_images(group, AFTER, 0) if AFTER in group else None


def read_images(group: h5py.Group, key: str, row: int) -> Observation:
    """What all cameras see at one attempt.

    Args:
        group: the episode.
        key: ``obs`` or ``after``.
        row: the attempt.

    Raises:
        ArtifactError: the depths have no unit that they can have.
    """
    stored = group[key]
    return Observation(
        stored[RGB][row],
        _metres(stored[DEPTH][row], _unit(stored[DEPTH])),
        group["camera/K"][()],
        group["camera/T_world_cam"][()],
    )
