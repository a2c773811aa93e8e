"""The table that the depth images show: a plane through most of their points."""

from __future__ import annotations

import numpy as np

from srcli.frames.observation import Observation, Table
from srcli.seeding import generator
from srcli.types import F64, I64

#: Points of one view that are looked at, about.
_POINTS = 5000
#: Planes that are tried, on so many points.
_TRIES, _TRIED = 600, 2000
#: A point nearer than this to a plane may lie on it, metres; and after the plane has been fitted.
_NEAR, _ON = 0.010, 0.007
#: A plane so near to z = 0 (metres) and to level (degrees) that holds this share of the points is the table, whatever else is
#: there.
_EXPECTED_HEIGHT, _EXPECTED_TILT, _EXPECTED_SHARE = 0.10, 15.0, 0.12
#: With less than this share of the points no plane is a table.
_LEAST_SHARE = 0.08


def points_of(observation: Observation, count: int = _POINTS) -> tuple[F64, I64]:
    """Points of evenly spread pixels of all views.

    Returns:
        (P, 3) metres, world frame, and (P,) the view that each is of.
    """
    step = max(1, int(np.ceil(np.sqrt(observation.depth[0].size / count))))
    parts, views = [], []
    for i, (depth, K, pose) in enumerate(zip(observation.depth, observation.K, observation.T_world_cam, strict=True)):
        thin = depth[step // 2 :: step, step // 2 :: step].astype(np.float64)
        row, column = np.nonzero(thin > 0)
        z = thin[row, column]
        x = (column * step + step // 2 - K[0, 2]) / K[0, 0] * z
        y = (row * step + step // 2 - K[1, 2]) / K[1, 1] * z
        parts.append(np.stack([x, y, z], axis=1) @ pose[:3, :3].T + pose[:3, 3])
        views.append(np.full(len(z), i, dtype=np.int64))
    return np.concatenate(parts), np.concatenate(views)


def fit_table(observation: Observation) -> Table | None:
    """The plane that most points lie on; one near z = 0 is preferred where the cameras' poses are known. None: there is none.

    Deterministic: the planes that are tried follow from a fixed seed.
    """
    points, views = points_of(observation)
    eyes = observation.T_world_cam[:, :3, 3]
    found = _plane(points, eyes.mean(axis=0), observation.posed, _TRIES)
    if found is None:
        return None
    normal, point, seen = found
    offsets, tilts = [], []
    for i in range(observation.views):
        own = found if observation.views == 1 else _plane(points[views == i], eyes[i], observation.posed, _TRIES // 3)
        offsets.append(float("nan") if own is None else float((_over(own, point) - point) @ normal))
        tilts.append(float("nan") if own is None else float(np.rad2deg(np.arccos(np.clip(own[0] @ normal, -1.0, 1.0)))))
    tilt = float(np.rad2deg(np.arccos(np.clip(normal[2], -1.0, 1.0))))
    return Table(float(point[2]), tilt, seen, tuple(offsets), tuple(tilts), normal, point)


def _over(plane: tuple[F64, F64, float], place: F64) -> F64:
    """The point of a plane that is nearest to a place."""
    normal, point, _ = plane
    nearest: F64 = place - ((place - point) @ normal) * normal
    return nearest


def _plane(points: F64, eye: F64, upright: bool, tries: int) -> tuple[F64, F64, float] | None:
    """Normal towards the eye, a point in the middle of what lies on it, and the share that does.

    Args:
        points: (P, 3) metres.
        upright: prefer a plane near z = 0.
    """
    if len(points) < 10:
        return None
    rng = generator((len(points),))
    tried = points[rng.permutation(len(points))[:_TRIED]]
    corners = tried[rng.integers(0, len(tried), (tries, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    corners, normals = corners[length > 1e-6], normals[length > 1e-6] / length[length > 1e-6, None]
    if len(normals) == 0:
        return None
    normals *= np.where(((eye - corners[:, 0]) * normals).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    offsets = (normals * corners[:, 0]).sum(axis=1)
    share = (np.abs(tried @ normals.T - offsets) < _NEAR).mean(axis=0)
    if upright:
        middle = np.median(tried, axis=0)
        rise = np.where(normals[:, 2] == 0, 1.0, normals[:, 2])
        heights = (offsets - normals[:, 0] * middle[0] - normals[:, 1] * middle[1]) / rise
        expected = (np.abs(heights) < _EXPECTED_HEIGHT) & (normals[:, 2] > np.cos(np.deg2rad(_EXPECTED_TILT)))
        near = np.where(expected, share, 0.0)
        share = near if near.max() > _EXPECTED_SHARE else share
    best = int(np.argmax(share))
    normal, point = normals[best], corners[best, 0]
    for _ in range(4):
        on = points[np.abs((points - point) @ normal) < _ON]
        if len(on) < 10:
            return None
        point = on.mean(axis=0)
        normal = np.linalg.eigh((on - point).T @ (on - point))[1][:, 0]
        normal = normal if (eye - point) @ normal > 0 else -normal
    seen = float((np.abs((points - point) @ normal) < _ON).mean())
    return (normal, point, seen) if seen >= _LEAST_SHARE else None


def levelled(table: Table) -> F64:
    """(4, 4) that turns the table's normal to z by the shortest way and brings the table to z = 0; what is in its middle stays in
    xy."""
    up = np.array([0.0, 0.0, 1.0])
    axis, cosine = np.cross(table.normal, up), float(table.normal[2])
    if cosine < -1 + 1e-9:
        turn = np.diag([1.0, -1.0, -1.0])
    else:
        cross = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
        turn = np.eye(3) + cross + cross @ cross / (1.0 + cosine)
    moved = np.eye(4)
    moved[:3, :3] = turn
    moved[:3, 3] = np.array([table.point[0], table.point[1], 0.0]) - turn @ table.point
    return moved
