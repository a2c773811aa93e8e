"""Camera geometry: checks, back-projection, projection, and a smoothing of noisy depth.

Image coordinates are those of OpenCV: the centre of the pixel in row i and column j is (j, i), and K maps optical-frame points to
these coordinates.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from srcli.errors import SceneError
from srcli.types import F32, F64, Observation

Floats = TypeVar("Floats", F32, F64)

#: Neighbouring depths that differ by more than this lie on different surfaces, metres.
_EDGE = 0.016


def check_observation(observation: Observation, views: int | None = None) -> None:
    """Refuse an observation that cannot be used.

    Args:
        observation: M views.
        views: the number of views that must be there; None accepts any number from one.

    Raises:
        SceneError: a view is missing, an array has a wrong shape or type, or depth or calibration holds NaN or negatives.
    """
    rgb, depth = observation.rgb, observation.depth
    if rgb.ndim != 4 or rgb.shape[-1] != 3 or rgb.dtype != np.uint8:
        raise SceneError(f"colour images have shape {rgb.shape} and type {rgb.dtype}", "expected (views, height, width, 3) uint8")
    count = rgb.shape[0]
    if count == 0 or (views is not None and count != views):
        raise SceneError(f"a view is missing: {count} of {views or 'at least 1'} views", "every camera must deliver an image")
    expected: dict[str, tuple[npt.NDArray[np.floating], tuple[int, ...]]] = {
        "depth": (depth, rgb.shape[:3]),
        "K": (observation.K, (count, 3, 3)),
        "T_world_cam": (observation.T_world_cam, (count, 4, 4)),
    }
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise SceneError(f"{name} has shape {array.shape}, the colour images ask for {shape}", "a view may be missing")
    for name, array in (("depth", depth), ("K", observation.K), ("T_world_cam", observation.T_world_cam)):
        if not bool(np.isfinite(array).all()):
            bad = np.flatnonzero(~np.isfinite(array).reshape(count, -1).all(axis=1))
            raise SceneError(
                f"{name} of view {int(bad[0])} holds NaN or infinity", "mark pixels without a return by depth 0, not by NaN"
            )
    if depth.size and float(depth.min()) < 0:
        raise SceneError("depth holds negative values", "depth is in metres along the optical axis, 0 where there is no return")
    if bool((depth.reshape(count, -1).max(axis=1, initial=0.0) <= 0).any()):
        raise SceneError("a view has no depth at all", "a depth of 0 everywhere means that the sensor gave nothing")


def rotated(points: Floats, rotation: Floats) -> Floats:
    """Row vectors (N, 3) times a matrix (3, 3), or matrices (F, 3, 3): (N, 3) or (F, N, 3), in the type of both.

    By products and sums of single numbers, which every processor rounds alike. The matrix product of a BLAS rounds as its kernel
    adds up, and a point on the border of a voxel or a cell then falls to another side on another processor.
    """
    x, y, z = (np.ascontiguousarray(axis) for axis in points.T)
    turned = np.empty((*rotation.shape[:-2], 3, len(points)), dtype=points.dtype)
    for axis in range(3):
        a, b, c = (rotation[..., row, axis, None] for row in range(3))
        turned[..., axis, :] = x * a + y * b + z * c
    return np.swapaxes(turned, -1, -2)


def unproject_view(depth: F32, K: F64, T_world_cam: F64, lower: F32 | None = None, upper: F32 | None = None) -> F32:
    """World-frame points of the pixels with a return, in row-major pixel order.

    Args:
        depth: (H, W) metres along the optical axis, 0 without return.
        lower, upper: (3,) corners of a box in the world frame, metres; points outside it are left out.

    Returns:
        (P, 3) float32 metres.
    """
    x = ((np.arange(depth.shape[1]) - K[0, 2]) / K[0, 0]).astype(np.float32)
    y = ((np.arange(depth.shape[0]) - K[1, 2]) / K[1, 1]).astype(np.float32)
    rotation, position = T_world_cam[:3, :3].astype(np.float32), T_world_cam[:3, 3].astype(np.float32)
    kept = depth > 0
    if lower is not None and upper is not None:
        # Most pixels show the table: height alone decides about them before anything else is computed.
        z = depth * (x * rotation[2, 0] + y[:, None] * rotation[2, 1] + rotation[2, 2]) + position[2]
        kept &= (z > lower[2]) & (z < upper[2])
    row, column = np.nonzero(kept)
    distance = depth[row, column]
    points: F32 = rotated(np.stack([x[column] * distance, y[row] * distance, distance], axis=1), rotation.T) + position
    if lower is not None and upper is not None:
        inside = (points[:, 0] > lower[0]) & (points[:, 0] < upper[0]) & (points[:, 1] > lower[1]) & (points[:, 1] < upper[1])
        points = points[inside]
    return points


def project(points: npt.NDArray[np.floating], K: F64, T_world_cam: F64) -> tuple[F64, F64]:
    """Image coordinates and depth of world-frame points in one camera.

    Args:
        points: (N, 3) metres.

    Returns:
        uv (N, 2) as (column, row) and depth (N,) metres along the optical axis. Behind the camera the depth is negative and uv is
        without meaning.
    """
    rotation, position = T_world_cam[:3, :3], T_world_cam[:3, 3]
    camera = (np.asarray(points, dtype=np.float64) - position) @ rotation
    depth = camera[:, 2]
    safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    uv = camera[:, :2] / safe[:, None] * np.array([K[0, 0], K[1, 1]]) + K[:2, 2]
    return uv, depth


def _extreme3(values: F32, extreme: np.ufunc) -> F32:
    """Maximum or minimum over the 3 x 3 neighbourhood inside the image; (H, W)."""
    for axis in (0, 1):
        if values.shape[axis] == 1:
            continue
        head = (slice(None),) * axis + (slice(None, -1),)
        tail = (slice(None),) * axis + (slice(1, None),)
        pairs = extreme(values[head], values[tail])
        found = np.empty_like(values)
        extreme(pairs[head], pairs[tail], out=found[tail][head])
        first, last = (slice(None),) * axis + (0,), (slice(None),) * axis + (-1,)
        found[first], found[last] = pairs[first], pairs[last]
        values = found
    return values


def _box5(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sum over the 5 x 5 neighbourhood with zeros outside; (H, W), same type."""
    for axis in (0, 1):
        total = np.zeros_like(values)
        for shift in (-2, -1, 0, 1, 2):
            size = values.shape[axis] - abs(shift)
            to = (slice(None),) * axis + (slice(max(-shift, 0), max(-shift, 0) + size),)
            of = (slice(None),) * axis + (slice(max(shift, 0), max(shift, 0) + size),)
            total[to] += values[of]
        values = total
    return values


def smooth_depth(depth: F32) -> F32:
    """Mean over 5 x 5 pixels where the 3 x 3 surroundings are one surface (range under 16 mm); unchanged at depth edges.

    Only pixels that are themselves away from an edge contribute, so that surfaces do not bleed into each other.

    Args:
        depth: (M, H, W) metres, 0 without return.

    Returns:
        (M, H, W) float32 metres, 0 where there was no return.
    """
    smooth = depth.astype(np.float32)
    for view in smooth:  # one view at a time stays in the processor's cache
        valid = view > 0
        high = _extreme3(np.where(valid, view, np.float32(-np.inf)), np.maximum)
        inner = valid & (high - _extreme3(np.where(valid, view, np.float32(np.inf)), np.minimum) < _EDGE)
        count = _box5(inner.view(np.uint8))
        mean = _box5(view * inner) / np.maximum(count, 1)
        # A 5 x 5 window may still reach across a step into the next surface's inner pixels.
        inner &= np.abs(mean - view) < _EDGE / 2
        view[inner] = mean[inner]
    return smooth
