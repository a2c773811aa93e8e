"""How large the thing in the gripper is, measured in images of it."""

from __future__ import annotations

import numpy as np

from srcli.perception.geometry import check_observation, unproject_view
from srcli.types import F32, F64, Bool, HeldExtent, Observation

#: The gripper in the tip's frame (x closing, y across the pads, z approach): half the widest opening, thickness, width and length
#: of a finger, metres. The same numbers as ``actions.gripper``, which stands above this room.
_STROKE, _THICKNESS, _WIDTH, _LENGTH = 0.0425, 0.012, 0.022, 0.060
#: Sensor noise around the gripper's surfaces, metres.
_NOISE = 0.004
#: The object is looked for so far from the tip, metres, in voxels of this edge, which must hold so many pixels.
_REACH, _VOXEL, _LEAST = 0.25, 0.005, 2
#: What comes so near to the tip belongs to what is held, metres.
_CLOSE = 0.05
#: With fewer voxels than this nothing is measured.
_FEW = 8
#: Directions, over a quarter turn, in which the footprint's narrow side is looked for.
_TURNS = 18
#: Share of points at each end that is left out where extents are measured.
_TAIL = 0.01
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


def measure_held(observation: Observation, tip: F64) -> HeldExtent:
    """Size of what hangs at the gripper.

    Everything beyond the fingers' length from the tip is hand and arm and is cut away, and so is what the fingers themselves
    fill; the opening is read from where their outer faces are seen. Of the rest the pieces that come near the tip count:
    the table and what stands on it lie apart.

    Args:
        observation: views of the object, free in the air.
        tip: (4, 4) pose of the tip between the finger ends, in the frame of the observation, metres.

    Returns:
        The measured extent. No side counts as narrower than the measured opening or a finger's width, whichever is less: it may
        be hidden between the fingers. Cameras that look down do not see a round underside, so height is rather too small. When
        next to nothing is seen the result is what the gripper can hide: the measured opening, a finger's width, half a finger's
        length.

    Raises:
        SceneError: the observation is unusable.
    """
    check_observation(observation)
    points = _near(observation, tip)
    local = (points.astype(np.float64) - tip[:3, 3]) @ tip[:3, :3]
    gap = _half_opening(local)
    piece = _connected(points[_object(local, gap)], tip[:3, 3])
    least = max(min(gap, _WIDTH / 2), 0.004)
    if len(piece) < _FEW:
        wide = max(gap, _WIDTH / 2)
        return HeldExtent(radius=float(np.hypot(wide, _WIDTH / 2)), half_width=float(wide), height=_LENGTH / 2)
    low, high = np.quantile(piece[:, 2], [_TAIL, 1 - _TAIL])
    radius, half_width = _footprint(piece[:, :2])
    return HeldExtent(
        radius=max(radius, least), half_width=max(min(half_width, radius), least), height=max(float(high - low), _VOXEL)
    )


def _near(observation: Observation, tip: F64) -> F32:
    """(P, 3) points within reach of the tip."""
    lower, upper = (tip[:3, 3] - _REACH).astype(np.float32), (tip[:3, 3] + _REACH).astype(np.float32)
    views = zip(observation.depth, observation.K, observation.T_world_cam, strict=True)
    return np.concatenate([unproject_view(*view, lower, upper) for view in views])


def _half_opening(local: F64) -> float:
    """Half the distance between the pads, from the outer faces of the fingers; the whole stroke when too little is seen."""
    x, y, z = np.abs(local[:, 0]), np.abs(local[:, 1]), local[:, 2]
    strip = (y < _WIDTH / 2 - 0.002) & (z < -0.015) & (z > -_LENGTH + 0.010) & (x < _STROKE + _THICKNESS + _NOISE)
    if int(strip.sum()) < 20:
        return _STROKE
    outer = float(np.quantile(x[strip], 0.9))
    return float(np.clip(outer - _THICKNESS, 0.0, _STROKE))


def _object(local: F64, gap: float) -> Bool:
    """(P,) which points, in the tip's frame, belong neither to hand and arm nor to the fingers."""
    x, y, z = np.abs(local[:, 0]), np.abs(local[:, 1]), local[:, 2]
    below_hand = z > -_LENGTH + _NOISE
    finger = (y < _WIDTH / 2 + _NOISE) & (z < _NOISE) & (x > gap - _NOISE / 2) & (x < gap + _THICKNESS + 2 * _NOISE)
    kept: Bool = below_hand & ~finger
    return kept


def _connected(points: F32, tip: F64) -> F64:
    """Voxel centres (V, 3) of all pieces that come near the tip; cutting the fingers away may leave an object in pieces."""
    from scipy import ndimage

    origin = tip - _REACH - _VOXEL
    size = int(2 * _REACH / _VOXEL) + 4
    index = ((points - origin) / _VOXEL).astype(np.int64)
    count = np.bincount((index[:, 0] * size + index[:, 1]) * size + index[:, 2], minlength=size**3).reshape(size, size, size)
    filled = count >= _LEAST
    # Lost returns tear gaps of a few voxels between what is one piece.
    labels, _ = ndimage.label(ndimage.binary_dilation(filled, _TOUCHING), _TOUCHING)
    cells = np.argwhere(filled)
    centres = origin + (cells + 0.5) * _VOXEL
    label = labels[tuple(cells.T)]
    close = np.linalg.norm(centres - tip, axis=1) < _CLOSE
    piece: F64 = centres[np.isin(label, label[close])]
    return piece


def _footprint(xy: F64) -> tuple[float, float]:
    """Radius and half width in metres of a footprint's points (V, 2): around the centre of its narrowest rectangle."""
    cells = np.unique(np.floor(xy / _VOXEL), axis=0) * _VOXEL
    angle = np.arange(2 * _TURNS) * np.pi / (2 * _TURNS)
    along = cells @ np.stack([np.cos(angle), np.sin(angle)])
    low, high = np.quantile(along, [_TAIL, 1 - _TAIL], axis=0)
    narrow = int(np.argmin(high - low))
    across = (narrow + _TURNS) % (2 * _TURNS)
    middle = (low + high) / 2
    u, v = along[:, narrow] - middle[narrow], along[:, across] - middle[across]
    return float(np.quantile(np.hypot(u, v), 0.95)), float(np.quantile(np.abs(u), 0.95))
