"""Augmentation of one sample: geometry moves points and candidates together, cosines stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from srcli.actions.poses import canonical_poses
from srcli.config.train import AugmentConfig
from srcli.types import F32, F64

Array = npt.NDArray[Any]
# Vertical axis about which samples turn: the centre of the workspace, metres.
CENTRE = np.array([0.5, 0.0, 0.0])


def rotate_poses(poses: F32, angle: float) -> F32:
    """Turn (K, 7) poses (metres, xyzw) by ``angle`` radians about the vertical axis through the workspace's centre."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    x, y, z, w = poses[:, 3:].astype(np.float64).T
    sh, ch = np.sin(angle / 2), np.cos(angle / 2)
    quaternion = np.stack([ch * x - sh * y, ch * y + sh * x, ch * z + sh * w, ch * w - sh * z], axis=1)
    return np.concatenate([(poses[:, :3] - CENTRE) @ turn.T + CENTRE, quaternion], axis=1).astype(np.float32)


def mirror_poses(poses: F32) -> F32:
    """Reflect (K, 7) poses in the plane y = 0; tool x and z are mirrored, tool y follows from them."""
    sign = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0], dtype=np.float32)
    return (poses * sign).astype(np.float32)


def augment(sample: Mapping[str, Array], config: AugmentConfig, rng: np.random.Generator) -> dict[str, Array]:
    """A changed copy of one padded sample.

    Args:
        sample: points (N, 3), similarity (N,), point_mask (N,), candidates (K, 7); other arrays are passed on as they are.
        rng: the source of everything random.

    Returns:
        The same names; candidates in canonical form.
    """
    points: F64 = sample["points"].astype(np.float64)
    poses: F32 = sample["candidates"]
    real = np.asarray(sample["candidate_mask"], dtype=bool)
    angle = float(rng.uniform(-config.yaw, config.yaw))
    c, s = np.cos(angle), np.sin(angle)
    points = (points - CENTRE) @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) + CENTRE
    poses = poses.copy()
    poses[real] = rotate_poses(poses[real], angle)
    if config.mirror and rng.random() < 0.5:
        points[:, 1] *= -1.0
        poses[real] = mirror_poses(poses[real])
    poses[real] = canonical_poses(poses[real])
    shift = np.append(rng.normal(0.0, 1.0, 2) * config.shift, 0.0)
    points += shift + rng.normal(0.0, 1.0, points.shape) * config.jitter
    poses[real, :3] += shift.astype(np.float32)
    similarity = sample["similarity"] + rng.normal(0.0, 1.0, sample["similarity"].shape) * config.similarity_noise
    keep = rng.random(len(points)) >= rng.uniform(0.0, config.point_dropout)
    mask = sample["point_mask"] & keep
    if not mask.any():
        mask = sample["point_mask"]
    changed = {
        "points": points.astype(np.float32),
        "candidates": poses,
        "similarity": similarity.astype(np.float32),
        "point_mask": mask,
    }
    return {**sample, **changed}


def random_rotation(dim: int, rng: np.random.Generator) -> F32:
    """A rotation or reflection of the joint space, (D, D) float32, uniform over the orthogonal group."""
    turn: F32 = rotations_from(rng.normal(size=(1, dim, dim)))[0]
    return turn


def rotations_from(normal: F64) -> F32:
    """Such rotations, (n, D, D), one from each matrix of independent normal numbers (QR with a positive diagonal of R).

    By torch, all at once and in the threads that it is told to use. Numpy's library starts its own unless told to use one, as the
    command line does, and they wait for cores that are busy: seconds instead of 20 ms for 32 rotations of 128 channels.
    """
    q, r = (x.numpy() for x in torch.linalg.qr(torch.from_numpy(normal)))
    rotations: F32 = (q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]).astype(np.float32)
    return rotations
