"""Groups of points: regions that hang together and look alike, a flood fill from one point, and density clusters.

Neighbours come from a k-d tree and components from a sparse graph (scipy); what stands here are the rules themselves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srcli.types import F32, I64, Bool


def neighbours(points: F32, radius: float) -> I64:
    """Pairs (P, 2) of different points (N, 3) that lie at most ``radius`` metres apart, each pair once."""
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    return np.asarray(cKDTree(points).query_pairs(radius, output_type="ndarray"), dtype=np.int64).reshape(-1, 2)


def connected(pairs: npt.NDArray[np.integer], count: int) -> I64:
    """(count,) number of the connected component of each node, from 0 in the order of their first nodes."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if count == 0:
        return np.zeros(0, dtype=np.int64)
    graph = coo_matrix((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, number = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[number.reshape(-1)]


def regions(points: F32, features: F32, reach: float, alike: float) -> I64:
    """Parts of a cloud that hang together and look alike: connected components, cut where their looks differ.

    Pairs of points at most ``reach`` apart are taken from the most to the least alike, and the regions of both are joined when
    the cosine of their mean features is at least ``alike``. Means, not single points, are compared: along a border features
    blend, and a chain of blends leads from any thing of a pile to any other.

    Args:
        points: (N, 3) metres.
        features: (N, D) of unit length.
        reach: metres.

    Returns:
        (N,) int64, numbered from 0 in the order of their first points.
    """
    pairs = neighbours(points, reach)
    # Rounded, so that the order of equals does not depend on how a processor adds up.
    cosine = np.round(np.einsum("pd,pd->p", features[pairs[:, 0]], features[pairs[:, 1]]), 5)
    total = features.astype(np.float64)
    square = np.einsum("nd,nd->n", total, total).tolist()
    parent = list(range(len(points)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for first, second in pairs[np.lexsort((pairs[:, 1], pairs[:, 0], -cosine))].tolist():
        one, other = root(first), root(second)
        if one == other:
            continue
        product = float(total[one] @ total[other])
        if product >= alike * (square[one] * square[other]) ** 0.5:
            one, other = min(one, other), max(one, other)
            parent[other] = one
            total[one] += total[other]
            square[one] += square[other] + 2 * product
    roots = np.array([root(node) for node in range(len(points))], dtype=np.int64)
    # A region's root is its first point, so that roots in ascending order are regions in the order of their first points.
    return np.unique(roots, return_inverse=True)[1].reshape(-1).astype(np.int64)


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
