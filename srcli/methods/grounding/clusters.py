"""Groups of points: a flood fill from one point, and density clusters.

Neighbours come from a k-d tree and components from a sparse graph (scipy); what stands here are the rules themselves.
"""

from __future__ import annotations

import numpy as np

from srcli.learning.regions import connected, neighbours
from srcli.types import F32, I64, Bool


def flood(points: F32, features: F32, seed: int, reach: float, alike: float) -> Bool:
    """What is reached from one point in steps of at most ``reach`` over points that look like it.

    A point joins when the cosine of its feature with that of the *seed* is at least ``alike``: compared with the point before, a
    fill would drift from one thing to the next.

    Args:
        points: (N, 3) metres.
        features: (N, D) of unit length.
        seed: index of the point to start from.

    Returns:
        (N,) True for what was reached; the seed always is.
    """
    like = features @ features[seed] >= alike
    like[seed] = True
    inside = np.flatnonzero(like)
    labels = connected(neighbours(points[inside], reach), len(inside))
    reached = np.zeros(len(points), dtype=np.bool_)
    reached[inside] = labels == labels[np.searchsorted(inside, seed)]
    return reached


def dbscan(points: F32, radius: float, least: int) -> I64:
    """Density clusters (DBSCAN, Ester et al. 1996).

    A point with at least ``least`` points within ``radius`` (itself included) is a core point; core points within ``radius`` of
    each other belong to one cluster, and another point within ``radius`` of a core point to the cluster of the nearest.

    Args:
        points: (N, 3) metres.

    Returns:
        (N,) int64: the cluster, numbered from 0 in the order of their first core points; -1 for noise.
    """
    pairs = neighbours(points, radius)
    count = 1 + np.bincount(pairs.reshape(-1), minlength=len(points)) if len(points) else np.zeros(0, dtype=np.int64)
    core = np.flatnonzero(count >= least)
    labels = np.full(len(points), -1, dtype=np.int64)
    if len(core) == 0:
        return labels
    labels[core] = connected(neighbours(points[core], radius), len(core))
    from scipy.spatial import cKDTree

    other = np.flatnonzero(labels < 0)
    if len(other):
        distance, nearest = cKDTree(points[core]).query(points[other])
        labels[other] = np.where(np.asarray(distance) <= radius, labels[core[np.asarray(nearest)]], -1)
    return labels
