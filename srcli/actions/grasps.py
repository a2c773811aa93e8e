"""Grasp candidates of a scene, from its noisy views alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from srcli.actions.closing import crop, load_network, network_file
from srcli.actions.features import FEATURES, LOOK, describe
from srcli.actions.gripper import GRIPPER
from srcli.actions.heightmaps import HeightMaps, build_maps, surface_points
from srcli.actions.poses import approach_frames, canonical_quaternions
from srcli.actions.proposals import clearance_maps, propose
from srcli.actions.quality import quality_model, rounded
from srcli.config.candidates import CandidateConfig
from srcli.perception.geometry import check_observation, rotated
from srcli.types import F32, F64, I64, OPENING_MARGIN, Bool, Candidates, Observation

#: Grasps of a scene that a network rates.
_RATED = 200
#: Edge of the cells in which the number of candidates is limited, metres.
_DIVERSITY = 0.03
#: Border of the height maps around the points: room for the opened gripper, metres.
_BORDER = 0.11
#: A surface point farther than this from every good candidate counts as not covered, metres.
_COVER = 0.025
#: Distance between the arm's shoulder and its flange that the arm reaches at any orientation used here, metres.
_REACH = (0.20, 0.88)
_SHOULDER = np.array([0.0, 0.0, 0.089])


@dataclass(frozen=True, slots=True)
class ScoredGrasps:
    """P proposals in the world frame, before they are thinned out.

    Attributes:
        positions: (P, 3) fingertips, metres.
        rotations: (P, 3, 3) tool frames.
        widths: (P,) opening before closing less the margin that the executor adds, metres.
        quality: (P,) in 0..1, rounded.
        features: (P, len(FEATURES)), the inputs of the quality score.
    """

    positions: F64
    rotations: F64
    widths: F32
    quality: F32
    features: F32

    def __len__(self) -> int:
        return len(self.quality)

    def take(self, which: I64 | Bool) -> ScoredGrasps:
        """Some of them, in the order of ``which``."""
        return ScoredGrasps(
            self.positions[which], self.rotations[which], self.widths[which], self.quality[which], self.features[which]
        )

    def join(self, other: ScoredGrasps) -> ScoredGrasps:
        """These, then the others."""
        return ScoredGrasps(
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.rotations, other.rotations]),
            np.concatenate([self.widths, other.widths]),
            np.concatenate([self.quality, other.quality]),
            np.concatenate([self.features, other.features]),
        )


def sample_grasps(observation: Observation, config: CandidateConfig) -> Candidates:
    """Grasp candidates of a scene, best and most diverse first.

    Vertical approaches first; tilted ones are tried around what no vertical one holds well. Deterministic: nothing is drawn.

    Args:
        observation: noisy views. Nothing else is known of the scene but that the table is at z = 0.

    Returns:
        at most ``config.count`` candidates; none for an empty table.

    Raises:
        SceneError: the observation is unusable.
    """
    check_observation(observation)
    points = surface_points(observation, config)
    found = _scored(points, config)
    if (file := network_file(config.quality)) is not None:
        found = rescored(found, points, config, file)
    found = found.take(good_or_alone(found, config))
    kept = found.take(thin_out(found, config))
    poses = np.concatenate([kept.positions, canonical_quaternions(kept.rotations)], axis=1)
    return Candidates(poses=poses.astype(np.float32), widths=kept.widths, quality=kept.quality, kind="grasp")


def rescored(found: ScoredGrasps, points: F32, config: CandidateConfig, file: Path) -> ScoredGrasps:
    """The best and most diverse of the proposals, rated by a network.

    The score by shape is cheap enough for thousands of proposals; the network rates the :data:`_RATED` that it leaves.

    Args:
        found: proposals of one scene.
        points: (P, 3) its surface points.
        file: of the network.

    Raises:
        MissingAssetError, ArtifactError: the network's file is not there, or not one.
    """
    network = load_network(file)
    kept = found.take(thin_out(found, config.model_copy(update={"count": _RATED, "per_cell": 2 * config.per_cell})))
    regions = crop(points, kept.positions, kept.rotations, kept.widths, kept.features, network.points)
    quality = network.quality(regions)
    rated = replace(kept, quality=quality)
    return rated.take(quality >= config.min_quality)


def good_or_alone(found: ScoredGrasps, config: CandidateConfig) -> Bool:
    """(P,) grasps of ``config.good_quality``, and weaker ones that have none of these within ``config.good_distance``.

    What nobody would try is no candidate, and what can only be held badly keeps its candidates.
    """
    good: Bool = found.quality >= np.float32(config.good_quality)
    if config.good_distance == 0 or not bool(good.any()):
        return np.ones(len(found), dtype=np.bool_)
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(found.positions[good]).query(found.positions, distance_upper_bound=config.good_distance)
    near: Bool = np.isfinite(distance)
    return good | ~near


def scored_grasps(observation: Observation, config: CandidateConfig) -> ScoredGrasps:
    """All proposals with ``config.min_quality``, before any thinning; for the sampler and for studies of the quality score."""
    check_observation(observation)
    return _scored(surface_points(observation, config), config)


def _scored(points: F32, config: CandidateConfig) -> ScoredGrasps:
    if len(points) == 0:
        return _none()
    found = _search(points, approach_frames(config.yaws), config, None)
    if config.tilt > 0:
        uncovered = _uncovered(points, found, config)
        if int(uncovered.sum()) >= 10:
            found = found.join(_search(points, approach_frames(config.tilt_yaws, config.tilt), config, uncovered))
    return found


def _none() -> ScoredGrasps:
    empty = np.zeros(0, dtype=np.float32)
    return ScoredGrasps(np.zeros((0, 3)), np.zeros((0, 3, 3)), empty, empty, np.zeros((0, len(FEATURES)), dtype=np.float32))


def _search(points: F32, frames: F64, config: CandidateConfig, wanted: Bool | None) -> ScoredGrasps:
    """Proposals in some frames, around all points or (P,) ``wanted`` ones, scored and cut at the least quality."""
    maps = build_maps(points, frames, config.cell, max(_BORDER, LOOK * config.cell), None if wanted is None else points[wanted])
    clearance = clearance_maps(maps)
    mask = None if wanted is None else _cells_of(points[wanted], maps)
    proposals = propose(maps, clearance, config, mask)
    features = describe(maps, clearance, proposals)
    score = rounded(quality_model().score(features))
    positions = maps.positions(proposals.frame, proposals.v, proposals.u, proposals.height)
    rotations = frames[proposals.frame]
    widths = np.maximum(proposals.opening - np.float32(OPENING_MARGIN), 0).astype(np.float32)
    kept = (score >= config.min_quality) & _in_reach(positions, rotations, config)
    return ScoredGrasps(positions[kept], rotations[kept], widths[kept], score[kept], features[kept])


def _cells_of(points: F32, maps: HeightMaps) -> Bool:
    """(F, V, U): cells over the points, widened by one cell so that every second cell meets them."""
    mask = np.zeros(maps.heights.shape, dtype=bool)
    local = rotated(points.astype(np.float64), maps.frames)[:, :, :2]
    index = np.rint((local - maps.origin[:, None]) / maps.cell).astype(np.int64)
    frame = np.arange(len(mask))[:, None]
    for dv in (0, 1):
        for du in (0, 1):
            mask[frame, index[:, :, 1] + dv, index[:, :, 0] + du] = True
    return mask


def _uncovered(points: F32, found: ScoredGrasps, config: CandidateConfig) -> Bool:
    """(P,) points in the workspace without a vertical candidate of ``config.cover_quality`` near by."""
    inside: Bool = np.all((points[:, :2] > config.lower[:2]) & (points[:, :2] < config.upper[:2]), axis=1)
    inside &= points[:, 2] > 0.010
    good = found.quality >= config.cover_quality
    if not bool(good.any()):
        return inside
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(found.positions[good][:, :2]).query(points[inside, :2], distance_upper_bound=_COVER)
    inside[np.flatnonzero(inside)] = ~np.isfinite(distance)
    return inside


def _in_reach(positions: F64, rotations: F64, config: CandidateConfig) -> Bool:
    """Cheap test: fingertips in the workspace, flange within the arm's shell and above the table."""
    lower, upper = np.array(config.lower), np.array(config.upper)
    lower[2] = 0.0
    flange = positions - GRIPPER.tool_length * rotations[:, :, 2]
    distance = np.linalg.norm(flange - _SHOULDER, axis=1)
    inside: Bool = np.all((positions >= lower) & (positions <= upper), axis=1)
    reachable: Bool = inside & (distance > _REACH[0]) & (distance < _REACH[1])
    return reachable


def thin_out(found: ScoredGrasps, config: CandidateConfig) -> I64:
    """Which grasps are kept, in order: non-maximum suppression, then few per 3 cm cell, the best of every cell first.

    Returns:
        (K,) indices, K <= ``config.count``.
    """
    cell = np.floor(found.positions[:, :2] / _DIVERSITY).astype(np.int64)
    group = cell[:, 0] * 100_003 + cell[:, 1]
    order = np.argsort(-found.quality, kind="stable")
    # Suppression is quadratic: no cell needs more than a handful of strong grasps to choose from.
    order = order[_rank_in_group(group[order]) < 6 * config.per_cell]
    kept = order[_suppress(found.positions[order], found.rotations[order], config)]
    rank = _rank_in_group(group[kept])
    kept, rank = kept[rank < config.per_cell], rank[rank < config.per_cell]
    return kept[np.argsort(rank, kind="stable")][: config.count]


def _rank_in_group(group: I64) -> I64:
    """Position of each entry among the entries of its group, in the given order; (P,)."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=np.iinfo(np.int64).min))
    counts = np.diff(starts, append=len(ordered))
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(starts, counts)
    return rank


def _suppress(positions: F64, rotations: F64, config: CandidateConfig) -> I64:
    """Greedy non-maximum suppression of grasps given best first; indices of those that stay."""
    if len(positions) == 0:
        return np.zeros(0, dtype=np.int64)
    from scipy.spatial import cKDTree

    better, worse = cKDTree(positions).query_pairs(config.nms_distance, output_type="ndarray").T  # better < worse
    cosine = np.cos(config.nms_angle)
    same = ((positions[better] - positions[worse]) ** 2).sum(axis=1) < config.nms_distance**2
    for axis in (2, 0):
        angle = np.einsum("kc,kc->k", rotations[better, :, axis], rotations[worse, :, axis])
        same &= (angle if axis == 2 else np.abs(angle)) > cosine
    better, worse = better[same], worse[same]
    order = np.argsort(better, kind="stable")
    worse = worse[order]
    starts = np.searchsorted(better[order], np.arange(len(positions) + 1))
    alive = np.ones(len(positions), dtype=bool)
    for index in range(len(positions)):
        if alive[index]:
            alive[worse[starts[index] : starts[index + 1]]] = False
    return np.flatnonzero(alive)
