"""Point clouds as PLY: what was seen in colour, and where a method looks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srcli.artifacts.core import atomic_write
from srcli.config.cloud import CloudConfig
from srcli.exporting.decisions import Seen
from srcli.types import F32, U8, Observation

_KINDS = {"f": "float", "u": "uchar"}


def write_ply(path: Path, points: F32, colors: U8, values: Mapping[str, F32] | None = None) -> None:
    """Vertices as binary little-endian PLY.

    Args:
        points: (N, 3) metres.
        colors: (N, 3).
        values: further columns (N,) by the name of their property.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    columns: dict[str, npt.NDArray[np.generic]] = {axis: points[:, i] for i, axis in enumerate("xyz")}
    columns |= {name: colors[:, i] for i, name in enumerate(("red", "green", "blue"))}
    columns |= dict(values or {})
    layout = [(name, "<f4" if column.dtype.kind == "f" else "u1") for name, column in columns.items()]
    rows = np.zeros(len(points), dtype=layout)
    for name, column in columns.items():
        rows[name] = column
    properties = "".join(f"property {_KINDS[column.dtype.kind]} {name}\n" for name, column in columns.items())
    head = f"ply\nformat binary_little_endian 1.0\ncomment srcli\nelement vertex {len(points)}\n{properties}end_header\n"
    with atomic_write(path) as temporary:
        temporary.write_bytes(head.encode("ascii") + rows.tobytes())


def coloured_cloud(observation: Observation, config: CloudConfig, stride: int = 1) -> tuple[F32, U8]:
    """Every pixel with a return whose point lies in the workspace: (N, 3) metres in the world frame, and (N, 3) colours.

    Args:
        stride: take every so many-th pixel of each axis.
    """
    lower, upper = np.array(config.lower), np.array(config.upper)
    points, colors = [], []
    for rgb, depth, K, pose in zip(observation.rgb, observation.depth, observation.K, observation.T_world_cam, strict=True):
        v, u = np.mgrid[0 : depth.shape[0] : stride, 0 : depth.shape[1] : stride]
        z = depth[v, u].astype(np.float64)
        local = np.stack([(u - K[0, 2]) / K[0, 0] * z, (v - K[1, 2]) / K[1, 1] * z, z], axis=-1)
        world = local @ pose[:3, :3].T + pose[:3, 3]
        kept = (z > 0) & ((world >= lower) & (world <= upper)).all(axis=-1)
        points.append(world[kept].astype(np.float32))
        colors.append(rgb[v, u][kept])
    return np.concatenate(points), np.concatenate(colors)


def shades(values: F32, name: str = "viridis") -> U8:
    """(N, 3) colours of values, from the lowest to the highest; those that are not finite are the lowest."""
    from matplotlib import colormaps

    finite = np.isfinite(values)
    low = float(values[finite].min()) if finite.any() else 0.0
    high = float(values[finite].max()) if finite.any() else 1.0
    scaled = (np.where(finite, values, low) - low) / max(high - low, 1e-9)
    return (colormaps[name](scaled)[:, :3] * 255 + 0.5).astype(np.uint8)


def mask_file(out: Path) -> Path:
    """Where the semantic cloud stands beside the coloured one."""
    return out.with_name(f"{out.stem}-mask{out.suffix}")


def export_ply(observation: Observation, seen: Seen | None, config: CloudConfig, out: Path) -> list[Path]:
    """The coloured cloud of an attempt, and beside it, for a method that looks at one, the semantic cloud as ``NAME-mask.ply``
    with properties ``similarity`` and ``mask``, coloured by the mask (by the similarity where the method has no mask)."""
    points, colors = coloured_cloud(observation, config)
    write_ply(out, points, colors)
    if seen is None or seen.percept is None:
        return [out]
    cloud = seen.percept.cloud
    mask = seen.choice.mask if seen.choice is not None else None
    values = {"similarity": cloud.similarity} | ({} if mask is None else {"mask": mask})
    second = mask_file(out)
    write_ply(second, cloud.points, shades(cloud.similarity if mask is None else mask), values)
    return [out, second]
