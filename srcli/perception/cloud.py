"""Points: merged views, workspace crop, voxels, table removal, neighbourhood averages and selection."""

from __future__ import annotations

import numpy as np

from srcli.config.cloud import CloudConfig
from srcli.errors import SceneError
from srcli.perception.geometry import check_observation, unproject_view
from srcli.types import F32, I64, Observation, Phase


def unproject(observation: Observation, config: CloudConfig, phase: Phase = "pick") -> F32:
    """The merged cloud of all views in the workspace, one point (the mean) per voxel, in voxel order.

    For ``pick`` the table is removed: voxels whose mean lies under ``config.table_height``. The mean is over a voxel that is
    centred on the table plane, so that single noisy table pixels above the cut do not survive. For ``place`` the table stays.

    Returns:
        (N, 3) float32, world frame, metres.

    Raises:
        SceneError: the observation is unusable, or no point lies in the workspace.
    """
    check_observation(observation)
    lower = np.array(config.lower, dtype=np.float32)
    upper = np.array(config.upper, dtype=np.float32)
    if phase == "pick":
        lower[2] = max(lower[2], config.table_height / 2)
    parts = [
        unproject_view(*view, lower, upper)
        for view in zip(observation.depth, observation.K, observation.T_world_cam, strict=True)
    ]
    points = voxel_means(np.concatenate(parts), config.voxel, lower, upper, config.min_pixels)
    if phase == "pick":
        points = points[points[:, 2] > config.table_height]
    if len(points) == 0:
        what = "above the table" if phase == "pick" else "in the workspace"
        raise SceneError(f"no point {what}", "the scene is empty or the cameras do not see the workspace")
    return points


def voxel_means(points: F32, voxel: float, lower: F32, upper: F32, min_pixels: int = 1) -> F32:
    """Mean of the points in each voxel, ordered by voxel; voxels with fewer than ``min_pixels`` points are left out.

    Args:
        points: (P, 3) metres, all inside the box.
        voxel: edge, metres. In z the grid is shifted so that z = 0 is the middle of a voxel.
        lower, upper: (3,) corners of the box, metres.

    Returns:
        (N, 3) float32 metres.
    """
    origin = np.array([lower[0], lower[1], (np.floor(lower[2] / voxel) - 0.5) * voxel], dtype=np.float32)
    shape = np.ceil((upper - origin) / voxel).astype(np.int64) + 1
    cell = ((points - origin) / np.float32(voxel)).astype(np.int64)
    index = (cell[:, 0] * shape[1] + cell[:, 1]) * shape[2] + cell[:, 2]
    size = int(np.prod(shape))
    count = np.bincount(index, minlength=size)
    kept = np.flatnonzero(count >= max(min_pixels, 1))
    means = np.empty((len(kept), 3), dtype=np.float32)
    for axis in range(3):
        means[:, axis] = np.bincount(index, weights=points[:, axis], minlength=size)[kept] / count[kept]
    return means


def neighbour_mean(points: F32, values: F32, radius: float) -> F32:
    """Mean of ``values`` over all points within ``radius`` (the point itself included).

    Args:
        points: (N, 3) metres; values: (N,); radius: metres, 0 returns the values as they are.

    Returns:
        (N,) float32.
    """
    if radius <= 0 or len(points) < 2:
        return values
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    total = values.astype(np.float64)
    count = np.ones(len(points))
    for first, second in ((0, 1), (1, 0)):
        total += np.bincount(pairs[:, first], weights=values[pairs[:, second]], minlength=len(points))
        count += np.bincount(pairs[:, first], minlength=len(points))
    mean: F32 = (total / count).astype(np.float32)
    return mean


def farthest_points(points: F32, count: int) -> I64:
    """Indices of a farthest-point sample that starts with the point nearest to the centroid; (min(count, N),) int64."""
    count = min(count, len(points))
    chosen = np.empty(max(count, 0), dtype=np.int64)
    if count <= 0:
        return chosen
    chosen[0] = np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))
    distance = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    for step in range(1, count):
        chosen[step] = np.argmax(distance)
        np.minimum(distance, ((points - points[chosen[step]]) ** 2).sum(axis=1), out=distance)
    return chosen


def select(points: F32, similarity: F32, config: CloudConfig, phase: Phase = "pick") -> I64:
    """Which points are kept, as (N',) indices: most similar first, a farthest-point sample, or all in voxel order.

    Selection by similarity already filters by language; the other two exist so that an ablation can do without it. For ``place``
    half of it is a farthest-point sample of the rest: where to put something depends on the table and on what else stands there.
    """
    if config.select == "all":
        return np.arange(len(points), dtype=np.int64)
    if config.select == "farthest":
        return farthest_points(points, config.count)
    order = np.argsort(-similarity, kind="stable").astype(np.int64)
    if phase == "pick" or len(points) <= config.count:
        return order[: config.count]
    similar = (config.count + 1) // 2
    rest = order[similar:]
    return np.concatenate([order[:similar], rest[farthest_points(points[rest], config.count - similar)]])
