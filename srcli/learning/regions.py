"""Parts of a cloud that hang together and look alike: what stands in for the boxes and masks of a detector.

Neighbours come from a k-d tree and components from a sparse graph (scipy); what stands here is the rule itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from srcli.config.regions import CellRegionConfig, RegionConfig
from srcli.types import F32, I64


@dataclass(frozen=True, slots=True)
class Regions:
    """Things without names: the regions of a cloud that are large enough.

    Attributes:
        label: (N,) the region of each point, from 0; -1 for points of none.
        features: (L, D) their mean features, of unit length.
        lower, upper: (L, 3) corners of their boxes, metres.
    """

    label: I64
    features: F32
    lower: F32
    upper: F32

    def __len__(self) -> int:
        return len(self.features)

    @property
    def centres(self) -> F32:
        """(L, 3) middle of each box, metres."""
        middle: F32 = ((self.lower + self.upper) / 2).astype(np.float32)
        return middle


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


def regions_of(points: F32, features: F32, config: RegionConfig) -> Regions:
    """The regions of a cloud that are large enough; where none is, all of it is one.

    Boxes of regions stand in for the boxes and masks of detectors: two touching things that look alike are one, a thing that is
    hidden in part may be two.

    Args:
        points: (N, 3) metres, at least one.
        features: (N, D) of unit length.
    """
    label = regions(points, features, config.reach, config.alike)
    count = np.bincount(label)
    large = np.flatnonzero(count >= config.least)
    if len(large) == 0:
        large, label = np.zeros(1, dtype=np.int64), np.zeros_like(label)
    number = np.full(len(count), -1, dtype=np.int64)
    number[large] = np.arange(len(large))
    label = number[label]
    members = [np.flatnonzero(label == i) for i in range(len(large))]
    return Regions(
        label,
        unit(np.stack([features[index].mean(axis=0) for index in members])),
        np.stack([points[index].min(axis=0) for index in members]),
        np.stack([points[index].max(axis=0) for index in members]),
    )


def unit(vectors: F32) -> F32:
    """Rows (N, D) at unit length; a zero row stays zero."""
    scaled: F32 = (vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)).astype(np.float32)
    return scaled


def regions_of_cells(cells: F32, features: F32, config: CellRegionConfig) -> Regions:
    """The regions of the cells that stand out of the table; of all cells where none does. ``label`` is -1 on the table.

    Args:
        cells: (C, 3) metres, table at z = 0; at least one.
        features: (C, D) of unit length.
    """
    standing = np.flatnonzero(cells[:, 2] >= config.table)
    if len(standing) == 0:
        standing = np.arange(len(cells))
    found = regions_of(cells[standing], features[standing], config)
    label = np.full(len(cells), -1, dtype=np.int64)
    label[standing] = found.label
    return replace(found, label=label)
