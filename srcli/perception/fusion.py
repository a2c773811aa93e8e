"""Confidence-weighted fusion of dense features of several views on points (the equations of A2's appendix, after D3Fields)."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from srcli.config.cloud import CloudConfig
from srcli.errors import SceneError
from srcli.perception.geometry import project
from srcli.types import F32, F64, U8, Observation


class DenseValues(Protocol):
    """Dense features of M views."""

    @property
    def values(self) -> F32:
        """(M, h, w, D) float32, image-aligned: cell (i, j) covers rows i * H / h to (i + 1) * H / h."""
        ...


def fuse(points: F32, dense: DenseValues, observation: Observation, config: CloudConfig) -> tuple[F32, U8]:
    """Features of points from all views that see them.

    For point j and view i: d_ij = projected depth - measured depth (nearest pixel); the view sees the point if the pixel has a
    return and d_ij < mu; its confidence is b_ij = exp(min(mu - abs(d_ij), 0) / mu); features are sampled bilinearly. Result:
    sum_i b_ij f_ij over the seeing views, divided by sum_i b_ij (``norm = weight``) or by their number (``count``, A2's code).

    Args:
        points: (N, 3) world frame, metres.
        dense: values (M, h, w, D).
        observation: the M views that the features come from.

    Returns:
        features (N, D) float32, zero where no view sees the point; views (N,) uint8, the number of views that see it.

    Raises:
        SceneError: features and observation have different numbers of views.
    """
    values = dense.values
    if values.shape[0] != observation.depth.shape[0]:
        raise SceneError(
            f"features of {values.shape[0]} views for an observation of {observation.depth.shape[0]}", "a view is missing"
        )
    total = np.zeros((len(points), values.shape[-1]), dtype=np.float32)
    norm = np.zeros(len(points), dtype=np.float32)
    views = np.zeros(len(points), dtype=np.uint8)
    for grid, depth, K, T_world_cam in zip(values, observation.depth, observation.K, observation.T_world_cam, strict=True):
        uv, confidence = _confidence(points, depth, K, T_world_cam, config.mu)
        seen = np.flatnonzero(confidence)
        weight = confidence[seen]
        total[seen] += weight[:, None] * _bilinear(grid, uv[seen], *depth.shape)
        norm[seen] += weight if config.norm == "weight" else 1.0
        views[seen] += 1
    total /= np.maximum(norm, 1e-6)[:, None]
    return total, views


def _confidence(points: F32, depth: F32, K: F64, T_world_cam: F64, mu: float) -> tuple[F64, F32]:
    """Image coordinates (N, 2) and confidence (N,) of the points in one view; 0 where the view does not see the point."""
    uv, projected = project(points, K, T_world_cam)
    height, width = depth.shape
    pixel = np.floor(np.clip(uv, -1.0, max(height, width)) + 0.5).astype(np.int64)
    inside = (projected > 0) & (pixel >= 0).all(axis=1) & (pixel[:, 0] < width) & (pixel[:, 1] < height)
    pixel[~inside] = 0
    measured = depth[pixel[:, 1], pixel[:, 0]]
    deviation = projected - measured
    confidence = np.exp(np.minimum(mu - np.abs(deviation), 0.0) / mu)
    visible = inside & (measured > 0) & (deviation < mu)
    # A surface far behind the point underflows float32 to 0, which would count the view as blind: that is what it is.
    return uv, np.where(visible, confidence, 0.0).astype(np.float32)


def _bilinear(grid: F32, uv: F64, height: int, width: int) -> F32:
    """Values of an image-aligned grid (h, w, D) at image coordinates (N, 2), clamped to the outermost cell centres; (N, D)."""
    rows, columns = grid.shape[:2]
    x = np.clip((uv[:, 0] + 0.5) * columns / width - 0.5, 0.0, columns - 1.0)
    y = np.clip((uv[:, 1] + 0.5) * rows / height - 0.5, 0.0, rows - 1.0)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    fx = (x - left).astype(np.float32)[:, None]
    fy = (y - top).astype(np.float32)[:, None]
    flat = grid.reshape(rows * columns, -1)
    sampled: F32 = (1 - fy) * ((1 - fx) * flat[top * columns + left] + fx * flat[top * columns + right])
    sampled += fy * ((1 - fx) * flat[bottom * columns + left] + fx * flat[bottom * columns + right])
    return sampled
