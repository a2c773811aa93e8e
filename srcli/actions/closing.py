"""A network that reads the surface points in and around the region that a gripper closes, and says how likely the grasp holds.

``srcli pretrain grasp`` makes it; ``candidates.quality`` puts it in the place of the score of :mod:`srcli.actions.quality`. Every
point goes through three shared layers, the strongest and the mean answer of all points and what is known of the grasp itself
through two more (a PointNet, Qi et al. 2017, on a gripper's closing region as in Liang et al., PointNetGPD, 2019). It is small
enough for plain numpy, so that collecting needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from srcli.artifacts.core import atomic_write
from srcli.errors import ArtifactError, MissingAssetError
from srcli.types import F32, F64, I64

FORMAT = "srcli-closing-1"
#: Corners of the box around the fingertips that is read, in the tool frame (closing, across, approach), metres.
LOWER = (-0.075, -0.035, -0.080)
UPPER = (0.075, 0.035, 0.035)
POINT_INPUTS = 5
GRASP_INPUTS = 4
#: Names of the arrays and their shapes; the widths of the layers are free.
LAYERS = ("point1", "point2", "point3", "pooled", "logit")

_PAD = 0.011
_SCALE = np.float32(0.05)
_HEADER = "srcli"


@dataclass(frozen=True, slots=True)
class Regions:
    """What stands in and around the closing regions of K grasps.

    Attributes:
        points: (K, P, 3) float32, metres, tool frame; rows from ``count`` on are zero.
        count: (K,) int64, points that are there.
        grasps: (K, 3) float32: opening in metres, height of the tip above the table in metres, cosine of the tilt.
    """

    points: F32
    count: I64
    grasps: F32

    def __len__(self) -> int:
        return len(self.count)


def crop(points: F32, positions: F64, rotations: F64, widths: F32, most: int) -> Regions:
    """The points in the box around each grasp's tips; where there are more than ``most``, evenly spaced ones of them.

    Args:
        points: (N, 3) surface points, world frame, metres.
        positions: (K, 3) fingertips, metres.
        rotations: (K, 3, 3) tool frames, columns = closing, across, approach.
        widths: (K,) opening before closing, metres.
        most: P.
    """
    total = len(positions)
    local = np.zeros((total, most, 3), dtype=np.float32)
    count = np.zeros(total, dtype=np.int64)
    lower, upper = np.array(LOWER, dtype=np.float32), np.array(UPPER, dtype=np.float32)
    if total and len(points):
        from scipy.spatial import cKDTree

        reach = float(np.linalg.norm(np.maximum(np.abs(lower), np.abs(upper))))
        around = cKDTree(points).query_ball_point(positions, reach, return_sorted=True)
        for row, near in enumerate(around):
            tool = (points[near] - positions[row].astype(np.float32)) @ rotations[row].astype(np.float32)
            inside = tool[np.all((tool >= lower) & (tool <= upper), axis=1)]
            if len(inside) > most:
                inside = inside[np.arange(most) * len(inside) // most]
            local[row, : len(inside)] = inside
            count[row] = len(inside)
    grasps = np.stack([widths, positions[:, 2], -rotations[:, 2, 2]], axis=1).astype(np.float32)
    return Regions(local, count, grasps)


def inputs(regions: Regions) -> tuple[F32, F32]:
    """What the network is given: of each point (K, P, POINT_INPUTS), of each grasp (K, GRASP_INPUTS); all of order one.

    Of a point its place, whether it lies between the opened fingers, and how far it lies beyond them.
    """
    place = regions.points / _SCALE
    half = regions.grasps[:, None, 0] / 2
    aside = np.abs(regions.points[..., 0]) - half
    between = (aside < 0) & (np.abs(regions.points[..., 1]) < _PAD) & (regions.points[..., 2] < 0)
    beyond = np.clip(aside / np.float32(0.02), -1.0, 1.0)
    each = np.concatenate([place, between[..., None], beyond[..., None]], axis=2).astype(np.float32)
    share = np.minimum(regions.count / regions.points.shape[1], 1.0)
    grasp = np.stack(
        [regions.grasps[:, 0] / _SCALE, regions.grasps[:, 1] / _SCALE, 2.0 * regions.grasps[:, 2] - 1.0, share], axis=1
    ).astype(np.float32)
    return each, grasp


def turned(regions: Regions) -> Regions:
    """The same grasps with the fingers exchanged: half a turn about the approach."""
    points = regions.points * np.array([-1.0, -1.0, 1.0], dtype=np.float32)
    return Regions(points, regions.count, regions.grasps)


@dataclass(frozen=True)
class ClosingNetwork:
    """The trained network.

    Attributes:
        weights: for each of :data:`LAYERS` a ``NAME.weight`` (out, in) and a ``NAME.bias`` (out,), float32; calibrated, so that
            the logistic function of the last gives a probability.
        points: P, the number of points read at most.
        sha256: of the file it came from, empty if it came from none.
    """

    weights: Mapping[str, F32]
    points: int
    sha256: str = ""

    def score(self, regions: Regions) -> F32:
        """Probability (K,) float32 that a grasp holds; the same for both poses of a grasp, whose fingers are alike."""
        if len(regions) == 0:
            return np.zeros(0, dtype=np.float32)
        logit = (self._logit(regions) + self._logit(turned(regions))) / 2
        probability: F32 = (1.0 / (1.0 + np.exp(-np.clip(logit, -30.0, 30.0)))).astype(np.float32)
        return probability

    def _logit(self, regions: Regions) -> F32:
        each, grasp = inputs(regions)
        there = np.arange(each.shape[1]) < regions.count[:, None]
        # Only the points that are there are worked on: regions hold very different numbers of them.
        hidden = each[there]
        for name in LAYERS[:3]:
            hidden = np.maximum(hidden @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"], 0.0)
        width = hidden.shape[1]
        pooled = np.zeros((len(regions), 2 * width), dtype=np.float32)
        filled = np.flatnonzero(regions.count)
        if len(filled):
            starts = np.concatenate([[0], np.cumsum(regions.count[filled])[:-1]])
            pooled[filled, :width] = np.maximum.reduceat(hidden, starts, axis=0)
            pooled[filled, width:] = np.add.reduceat(hidden, starts, axis=0) / regions.count[filled, None]
        joined = np.concatenate([pooled, grasp], axis=1)
        joined = np.maximum(joined @ self.weights["pooled.weight"].T + self.weights["pooled.bias"], 0.0)
        logit: F32 = (joined @ self.weights["logit.weight"].T + self.weights["logit.bias"])[:, 0]
        return logit

    def save(self, path: Path) -> None:
        """Write the weights (safetensors).

        Raises:
            DiskError: the disk is full or the place is not writable.
        """
        from safetensors.numpy import save

        header = json.dumps({"format": FORMAT, "points": self.points}, sort_keys=True)
        data = save({name: np.ascontiguousarray(value) for name, value in self.weights.items()}, metadata={_HEADER: header})
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)


@lru_cache(maxsize=4)
def load_network(path: Path) -> ClosingNetwork:
    """Read the weights that ``srcli pretrain grasp`` wrote.

    Raises:
        MissingAssetError: no such file.
        ArtifactError: the file is damaged, or holds something else.
    """
    import hashlib

    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load

    hint = "make it with 'srcli pretrain grasp', or take candidates.quality: shape"
    if not path.is_file():
        raise MissingAssetError(f"{path}: no such file to score grasps with", hint)
    try:
        with safe_open(path, "np") as stored:
            header = json.loads((stored.metadata() or {}).get(_HEADER, "{}"))
        data = path.read_bytes()
        weights = {name: value.astype(np.float32) for name, value in load(data).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path}: not a safetensors file ({error})", hint) from error
    if header.get("format") != FORMAT or not _fits(weights):
        raise ArtifactError(f"{path}: not a network that scores grasps", hint)
    return ClosingNetwork(weights, int(header["points"]), hashlib.sha256(data).hexdigest())


def _fits(weights: Mapping[str, F32]) -> bool:
    """Whether the arrays are those of :data:`LAYERS`, each fitting the one before."""
    if set(weights) != {f"{name}.{part}" for name in LAYERS for part in ("weight", "bias")}:
        return False
    width = POINT_INPUTS
    for name in LAYERS:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        expected = 2 * width + GRASP_INPUTS if name == "pooled" else width
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or weight.shape[1] != expected:
            return False
        width = len(weight)
    return width == 1 and all(np.isfinite(value).all() for value in weights.values())
