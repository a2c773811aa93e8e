"""A network that reads the surface points in and around the region that a gripper closes, and says how likely the grasp holds.

``srcli pretrain grasp`` makes it; ``candidates.quality`` puts it in the place of the score of :mod:`srcli.actions.quality`. Every
point goes through three shared layers; the strongest and the mean answer of all points, the features of the height map and what
is known of the grasp itself go through two more (a PointNet, Qi et al. 2017, on a gripper's closing region as in Liang et al.,
PointNetGPD, 2019). It is small enough for plain numpy, so that collecting needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from srcli.actions.features import FEATURES
from srcli.actions.quality import between_steps, rounded
from srcli.artifacts.core import atomic_write, parse_json
from srcli.errors import ArtifactError, MissingAssetError
from srcli.perception.geometry import rotated
from srcli.types import F32, F64, I64, Bool

FORMAT = "srcli-closing-2"
#: ``candidates.quality``: rated by the package's network, or by the features of the height map alone.
EMBEDDED, SHAPE = "embedded", "shape"
SHIPPED = Path(__file__).parent / "weights" / "grasp.safetensors"
"""The package's own network."""
#: Corners of the box around the fingertips that is read, in the tool frame (closing, across, approach), metres.
LOWER = (-0.075, -0.035, -0.080)
UPPER = (0.075, 0.035, 0.035)
POINT_INPUTS = 5
GRASP_INPUTS = 4
#: Names of the arrays and their shapes; the widths of the layers are free.
LAYERS = ("point1", "point2", "point3", "pooled", "logit")
STANDARD = ("features.mean", "features.scale")
"""Names of the arrays (len(FEATURES),) by which features are standardised."""

_PAD = 0.011
_SCALE = np.float32(0.05)
#: A probability in single precision is trusted up to this: kernels differ by up to 6e-7 with the shipped network.
_ROUNDING = 4e-6
_HEADER = "srcli"
_MOST_POINTS, _LARGEST = 4096, 1e4
"""What the header and the numbers of a file may say; the shipped network has 96 points and numbers up to 7."""


@dataclass(frozen=True, slots=True)
class Regions:
    """What stands in and around the closing regions of K grasps.

    Attributes:
        points: (K, P, 3) float32, metres, tool frame; rows from ``count`` on are zero.
        count: (K,) int64, points that are there.
        grasps: (K, 3) float32: opening in metres, height of the tip above the table in metres, cosine of the tilt.
        features: (K, len(FEATURES)) float32 of the height map (:mod:`srcli.actions.features`).
    """

    points: F32
    count: I64
    grasps: F32
    features: F32

    def __len__(self) -> int:
        return len(self.count)

    def take(self, which: I64) -> Regions:
        """Some of them, in the order of ``which``."""
        return Regions(self.points[which], self.count[which], self.grasps[which], self.features[which])


def crop(points: F32, positions: F64, rotations: F64, widths: F32, features: F32, most: int) -> Regions:
    """The points in the box around each grasp's tips; where there are more than ``most``, evenly spaced ones of them.

    Args:
        points: (N, 3) surface points, world frame, metres.
        positions: (K, 3) fingertips, metres.
        rotations: (K, 3, 3) tool frames, columns = closing, across, approach.
        widths: (K,) opening before closing, metres.
        features: (K, len(FEATURES)) of the height map.
        most: P.
    """
    total = len(positions)
    local = np.zeros((total, most, 3), dtype=np.float32)
    count = np.zeros(total, dtype=np.int64)
    turned_clouds: dict[bytes, tuple[F32, F32, F32]] = {}
    tips = (positions.astype(np.float32)[:, :, None] * rotations.astype(np.float32)).sum(axis=1)
    for row in range(total):
        # Grasps share few rotations: the cloud is turned once for each.
        rotation = rotations[row].astype(np.float32)
        key = rotation.tobytes()
        if key not in turned_clouds:
            x, y, z = rotated(points, rotation).T
            turned_clouds[key] = (x, y, z)
        tip = tips[row]
        axes = turned_clouds[key]
        # The box is narrowest across the pads: few points are left for the other two axes.
        found = np.flatnonzero(_between(axes[1], tip, 1))
        for axis in (0, 2):
            found = found[_between(axes[axis][found], tip, axis)]
        if len(found) > most:
            found = found[np.arange(most) * len(found) // most]
        for axis, values in enumerate(axes):
            local[row, : len(found), axis] = values[found] - tip[axis]
        count[row] = len(found)
    grasps = np.stack([widths, positions[:, 2], -rotations[:, 2, 2]], axis=1).astype(np.float32)
    return Regions(local, count, grasps, features)


def _between(values: F32, tip: F32, axis: int) -> Bool:
    inside: Bool = (values >= tip[axis] + LOWER[axis]) & (values <= tip[axis] + UPPER[axis])
    return inside


def inputs(regions: Regions) -> tuple[F32, F32]:
    """What the network is given beside the features: of each point (K, P, POINT_INPUTS), of each grasp (K, GRASP_INPUTS); all of
    order one.

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
    return Regions(points, regions.count, regions.grasps, regions.features)


def standardised(features: F32, mean: F32, scale: F32) -> F32:
    """Features (K, F) around zero, cut off at four standard deviations."""
    out: F32 = np.clip((features - mean) / scale, -4.0, 4.0)
    return out


@dataclass(frozen=True)
class ClosingNetwork:
    """The trained network.

    Attributes:
        weights: for each of :data:`LAYERS` a ``NAME.weight`` (out, in) and a ``NAME.bias`` (out,), and :data:`STANDARD`, float32;
            calibrated, so that the logistic function of the last gives a probability.
        points: P, the number of points read at most.
        sha256: of the file it came from, empty if it came from none.
    """

    weights: Mapping[str, F32]
    points: int
    sha256: str = ""

    def quality(self, regions: Regions) -> F32:
        """:meth:`score` in steps of a quality (:func:`srcli.actions.quality.rounded`), the same whatever kernel a BLAS takes.

        What single precision leaves open, because it lies near the middle between two steps, double precision decides.
        """
        found = self._probability(regions, np.float32)
        open_ = np.flatnonzero(between_steps(found, _ROUNDING))
        found[open_] = self._probability(regions.take(open_), np.float64)
        return rounded(found)

    def score(self, regions: Regions) -> F32:
        """Probability (K,) float32 that a grasp holds; the same for both poses of a grasp, whose fingers are alike."""
        return self._probability(regions, np.float32).astype(np.float32)

    def _probability(self, regions: Regions, precision: type[np.float32] | type[np.float64]) -> F64:
        if len(regions) == 0:
            return np.zeros(0)
        logit = (self._logit(regions, precision) + self._logit(turned(regions), precision)) / 2
        probability: F64 = 1.0 / (1.0 + np.exp(-np.clip(logit.astype(np.float64), -30.0, 30.0)))
        return probability

    def _logit(self, regions: Regions, precision: type[np.float32] | type[np.float64]) -> F32 | F64:
        weights = {name: value.astype(precision, copy=False) for name, value in self.weights.items()}
        each, grasp = (part.astype(precision, copy=False) for part in inputs(regions))
        hidden = each.reshape(-1, POINT_INPUTS)
        for name in LAYERS[:3]:
            hidden = hidden @ weights[f"{name}.weight"].T
            hidden += weights[f"{name}.bias"]
            np.maximum(hidden, 0.0, out=hidden)
        hidden = hidden.reshape(*each.shape[:2], -1)
        # The answers are never negative: padding at zero changes neither the greatest nor the sum.
        hidden[np.arange(each.shape[1]) >= regions.count[:, None]] = 0.0
        mean = hidden.sum(axis=1) / np.maximum(regions.count, 1)[:, None].astype(precision)
        pooled = np.concatenate([hidden.max(axis=1, initial=0.0), mean], axis=1)
        features = standardised(regions.features, self.weights[STANDARD[0]], self.weights[STANDARD[1]])
        joined = np.concatenate([pooled, grasp, features], axis=1)
        joined = np.maximum(joined @ weights["pooled.weight"].T + weights["pooled.bias"], 0.0)
        logit: F32 | F64 = (joined @ weights["logit.weight"].T + weights["logit.bias"])[:, 0]
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


def network_file(quality: str) -> Path | None:
    """The file that ``candidates.quality`` names; None for the score by shape."""
    return SHIPPED if quality == EMBEDDED else None if quality == SHAPE else Path(quality)


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

    hint = "make it with 'srcli pretrain grasp', or take candidates.quality: embedded or shape"
    if not path.is_file():
        raise MissingAssetError(f"{path}: no such file to score grasps with", hint)
    try:
        with safe_open(path, "np") as stored:
            header = parse_json((stored.metadata() or {}).get(_HEADER, "{}"))
        data = path.read_bytes()
        weights = {name: value.astype(np.float32) for name, value in load(data).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path}: not a safetensors file ({error})", hint) from error
    known = isinstance(header, dict) and header.get("format") == FORMAT
    points = header.get("points") if known else None
    if type(points) is not int or not 1 <= points <= _MOST_POINTS or not _fits(weights):
        raise ArtifactError(f"{path}: not a network that scores grasps", hint)
    return ClosingNetwork(weights, points, hashlib.sha256(data).hexdigest())


def _fits(weights: Mapping[str, F32]) -> bool:
    """Whether the arrays are those of :data:`LAYERS`, each fitting the one before."""
    if set(weights) != {*STANDARD, *(f"{name}.{part}" for name in LAYERS for part in ("weight", "bias"))}:
        return False
    if any(weights[name].shape != (len(FEATURES),) for name in STANDARD):
        return False
    width = POINT_INPUTS
    for name in LAYERS:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        expected = 2 * width + GRASP_INPUTS + len(FEATURES) if name == "pooled" else width
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or weight.shape[1] != expected:
            return False
        width = len(weight)
    # Larger ones, or a smaller scale, would overflow in single precision.
    sound = all((np.abs(value) <= _LARGEST).all() for value in weights.values())
    return width == 1 and sound and bool((weights[STANDARD[1]] >= 1 / _LARGEST**2).all())
