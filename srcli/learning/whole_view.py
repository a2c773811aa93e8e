"""All that the cameras saw of the workspace, for methods that choose a pose of their own and not among candidates.

The percept of a decision keeps the points most like the sentence. Keypose and pixel methods look at everything: dense features in
the cells of the encoder's grid, and the coloured surface.

The workspace is that of the defaults: ``cloud.lower`` and ``cloud.upper`` move the percept alone. Poses are learned in it,
networks are scaled to it, and a decision does not say another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER
from srcli.errors import SceneError
from srcli.perception.fusion import DenseValues
from srcli.perception.geometry import check_observation, unproject_view
from srcli.types import F32, F64, U8, Bool, Observation

CELL = 0.010
"""Edge of the voxels in which cells of several views are merged, metres."""
SURFACE = 0.004
"""Edge of the voxels in which coloured points are merged, metres."""
_LOWER, _UPPER = np.array(WORKSPACE_LOWER, np.float32), np.array(WORKSPACE_UPPER, np.float32)


@dataclass(frozen=True, slots=True)
class WholeView:
    """What all views show of the workspace.

    Attributes:
        cells: (C, 3) float32, world frame, metres: where the cells of the dense features lie.
        features: (C, D) float16, unit length.
        points: (P, 3) float32, world frame, metres: the surface.
        colors: (P, 3) uint8.
    """

    cells: F32
    features: F32
    points: F32
    colors: U8


def whole_view(observation: Observation, dense: DenseValues) -> WholeView:
    """Cells and coloured points of all views inside the workspace, those of the table included, one per voxel.

    A cell of the encoder's grid lies where the depth of the pixel at its centre says; one whose pixel has no return is left out.

    Args:
        dense: values (M, h, w, D) of the observation's views.

    Raises:
        SceneError: the observation is unusable, or nothing lies in the workspace.
    """
    check_observation(observation)
    height, width = observation.depth.shape[1:]
    rows, columns = dense.values.shape[1:3]
    row = ((np.arange(rows) + 0.5) * height / rows).astype(np.int64)
    column = ((np.arange(columns) + 0.5) * width / columns).astype(np.int64)
    cells, features, points, colors = [], [], [], []
    for values, rgb, depth, K, T_world_cam in zip(
        dense.values, observation.rgb, observation.depth, observation.K, observation.T_world_cam, strict=True
    ):
        where = np.zeros((*depth.shape, 3), dtype=np.float32)
        seen = depth > 0
        where[seen] = unproject_view(depth, K, T_world_cam)
        inside = seen & _inside(where)
        points.append(where[inside])
        colors.append(rgb[inside])
        grid = np.ix_(row, column)
        kept = inside[grid]
        cells.append(where[grid][kept])
        features.append(values[kept])
    if not sum(map(len, points)) or not sum(map(len, cells)):
        raise SceneError("nothing lies in the workspace", "depth and camera poses do not fit together")
    at, feature = _merged(np.concatenate(cells), np.concatenate(features), CELL)
    surface, color = _merged(np.concatenate(points), np.concatenate(colors), SURFACE)
    length = np.maximum(np.linalg.norm(feature, axis=1, keepdims=True), 1e-9)
    return WholeView(at.astype(np.float32), (feature / length).astype(np.float16), surface.astype(np.float32), _bytes(color))


def _inside(points: F32) -> Bool:
    return np.asarray(((points > _LOWER) & (points < _UPPER)).all(axis=-1), dtype=np.bool_)


def _bytes(colors: F64) -> U8:
    return np.clip(np.rint(colors), 0, 255).astype(np.uint8)


def _merged(points: F32, values: F32 | U8, edge: float) -> tuple[F64, F64]:
    """Means of points (N, 3) and of their values (N, D) in each voxel that holds any, in the order of the voxels."""
    sides = np.floor((_UPPER - _LOWER) / edge).astype(np.int64) + 1
    voxel = np.floor((points - _LOWER) / edge).astype(np.int64)
    _, place, count = np.unique(np.ravel_multi_index(tuple(voxel.T), tuple(sides)), return_inverse=True, return_counts=True)
    total = len(count)

    def mean(of: F32 | U8) -> F64:
        sums = [np.bincount(place, weights=axis, minlength=total) for axis in of.T]
        found: F64 = np.stack(sums, axis=1) / count[:, None]
        return found

    return mean(points), mean(values)
