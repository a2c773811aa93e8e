"""How large things appear in views, and views brought to the size at which encoder and candidates know things."""

from __future__ import annotations

import numpy as np

from srcli.frames.observation import Workspace
from srcli.types import F32, F64, U8, Observation

CELL_PIXELS = 1122.0
"""Pixels per metre in the middle of the simulated cell, of its cameras at their full size (focal length over distance)."""

SAME = (0.87, 1.2)
"""Images that show things so much larger or smaller than the simulated cell's are taken as they are: the embedded encoder has
learned at these sizes."""

_STRIDE = 8
_LIMITS = (0.05, 8.0)
_HEIGHT = 0.03
_STEP = 0.01
"""Height above the table in which things appear; depth is not interpolated across a larger step. Metres."""


def magnification(views: Observation, box: Workspace, camera_scale: float) -> float:
    """By how much images have to be enlarged until things appear as large as in the simulated cell; 1 where they nearly do.

    Args:
        views: M views in the cell's frame.
        box: the workspace in it.
        camera_scale: of the cell's cameras, ``sim.camera_scale``.
    """
    middle = (np.array(box.lower) + np.array(box.upper)) / 2
    point = np.array([middle[0], middle[1], _HEIGHT, 1.0])
    distances = np.array([(np.linalg.inv(pose) @ point)[2] for pose in views.T_world_cam])
    before = distances > 0
    if not before.any():
        return 1.0
    found = np.exp(np.mean(np.log(views.K[before, 0, 0] / distances[before])))
    factor = float(CELL_PIXELS * camera_scale / found)
    if SAME[0] <= 1.0 / factor <= SAME[1]:
        return 1.0
    return float(np.clip(factor, *_LIMITS))


def resampled(views: Observation, factor: float) -> Observation:
    """The views with images enlarged by ``factor``, or reduced; the very same for 1.

    Colours are interpolated, depth as well where the surface is smooth; at edges it is that of the nearest pixel.
    """
    if factor == 1.0:
        return views
    old = views.depth.shape[1:]
    size = tuple(max(_STRIDE, round(side * factor / _STRIDE) * _STRIDE) for side in old)
    down, across = (new / side for new, side in zip(size, old, strict=True))
    K: F64 = views.K.copy()
    K[:, 0] *= across
    K[:, 1] *= down
    # The centre of pixel (u, v) has coordinates (u, v): the image's corner is half a pixel before it.
    K[:, 0, 2] += (across - 1.0) / 2
    K[:, 1, 2] += (down - 1.0) / 2
    rgb = np.stack([_colors(view, size) for view in views.rgb])
    depth = np.stack([_depths(view, size) for view in views.depth])
    return Observation(rgb, depth, K, views.T_world_cam)


def _colors(view: U8, size: tuple[int, ...]) -> U8:
    from PIL import Image

    height, width = size
    return np.asarray(Image.fromarray(view).resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)


def _depths(view: F32, size: tuple[int, ...]) -> F32:
    places = [(np.arange(new) + 0.5) * side / new - 0.5 for new, side in zip(size, view.shape, strict=True)]
    lows = [np.clip(np.floor(p).astype(np.int64), 0, side - 1) for p, side in zip(places, view.shape, strict=True)]
    highs = [np.minimum(low + 1, side - 1) for low, side in zip(lows, view.shape, strict=True)]
    shares = [np.clip(p - low, 0.0, 1.0).astype(np.float32) for p, low in zip(places, lows, strict=True)]
    corners = np.stack([view[np.ix_(rows, columns)] for rows in (lows[0], highs[0]) for columns in (lows[1], highs[1])])
    t, s = shares[0][:, None], shares[1][None, :]
    weights = np.stack([(1 - t) * (1 - s), (1 - t) * s, t * (1 - s), t * s])
    nearest = np.take_along_axis(corners, np.argmax(weights, axis=0)[None], axis=0)[0]
    smooth = (corners > 0).all(axis=0) & (np.ptp(corners, axis=0) < _STEP)
    found: F32 = np.where(smooth, (corners * weights).sum(axis=0), nearest).astype(np.float32)
    return found
