"""Scenes labelled for GraspNet's network: how good a grasp is at points of the objects, by view, angle and depth. Privileged.

A grasp is graded by geometry alone, on the true surfaces: the friction that its two contacts need, and whether the open gripper
meets anything on the way (much as the labels of GraspNet-1Billion are made, Fang et al. 2020, with one rule instead of force
closure at several frictions). Which of these hold in the simulation is for the probe to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from srcli.actions.gripper import GRIPPER
from srcli.models.graspnet.detector import camera_cloud
from srcli.models.graspnet.network import ANGLES, DEPTHS, VIEWS
from srcli.models.graspnet.views import approach_frames, view_directions
from srcli.objects import build, catalogue, sample_variation
from srcli.params import Params
from srcli.pretraining.cache import is_whole, load_arrays, store_arrays
from srcli.pretraining.surface import Surface, sample_surface
from srcli.seeding import GRASPNET_TRAIN, GRASPNET_VALID, Domain, episode_seed, generator
from srcli.sim import World
from srcli.tasks.draws import pile_drops
from srcli.types import F32, F64, Bool

HEIGHT = 0.02
"""Width of the pads, metres: what lies between them counts."""
STEEPEST = math.cos(math.radians(60.0))
"""Approaches lie within 60 degrees of straight down."""

_STREAM = {"train": GRASPNET_TRAIN, "valid": GRASPNET_VALID}
_NEAR = 0.11
_SURFACE = 500
_ON_OBJECT = 0.006
_PAD = 0.02
_CONTACT = 0.003
_FACING = 0.3
_THIN = 0.002
_FEWEST = 3
_MARGIN = 0.004
_HAND = 0.05
_CHUNK = 16


@dataclass(frozen=True, slots=True)
class SceneJob:
    """One scene: of kind "train" or "valid"."""

    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class Labels:
    """One scene, in the frame of its first camera, metres. N points, K labelled ones, A = 12 angles, D = 4 depths.

    Attributes:
        cloud: (N, 3) float32; on_object: (N,) bool.
        points: (K, 3) float32, points of objects.
        views: (K, 300) float32, the best score from each view, 0..1.
        approach: (K, 3) float32, the approach from the best view; any, where no view has a grasp.
        score, width, tolerance: (K, A, D) float32 along that approach: 0..1, opening and tolerance in metres.
    """

    cloud: F32
    on_object: Bool
    points: F32
    views: F32
    approach: F32
    score: F32
    width: F32
    tolerance: F32


class _Worker:
    def __init__(self, params: Params) -> None:
        self.params = params
        self.world = World(params.sim, robot=False)


_worker: _Worker | None = None


def start(params: Params) -> None:
    """Prepare this process: a world."""
    global _worker
    _worker = _Worker(params)


def make(job: SceneJob) -> Labels:
    """Drop a pile of varied instances of the seen split, look at it, label it."""
    if _worker is None:
        raise RuntimeError("the worker has not been started")
    params, world = _worker.params, _worker.world
    config = params.pretrain.graspnet
    seed = episode_seed(config.seed, Domain.PRETRAIN if job.kind == "train" else Domain.PRETRAIN_VALID, job.number)
    rng = generator(seed, _STREAM[job.kind])
    known = catalogue()
    count = int(rng.integers(config.objects_min, config.objects_max + 1))
    names = [str(name) for name in rng.choice(known.seen, count, replace=False)]
    models = [build(known[name], sample_variation(known[name], rng)[0]) for name in names]
    world.reset(models, pile_drops(rng, count, params.scene))
    observation, _ = world.observe(rng)
    truth = world.truth()
    surfaces = [
        sample_surface(model.hulls, _SURFACE).moved(pose)
        for model, pose, here in zip(models, truth.poses, truth.present, strict=True)
        if here
    ]
    cloud = camera_cloud(observation, config.points)
    return label(cloud, np.asarray(observation.T_world_cam[0], dtype=np.float64), surfaces, config.labelled, rng)


def label(cloud: F32, camera: F64, surfaces: Sequence[Surface], count: int, rng: np.random.Generator) -> Labels:
    """Labels of a scene.

    Args:
        cloud: (N, 3) in the camera's frame.
        camera: (4, 4) pose of the camera in the world.
        surfaces: of the objects, in the world frame.
        count: how many points are labelled, at most.
        rng: draws them.
    """
    from scipy.spatial import cKDTree

    world = cloud @ camera[:3, :3].T + camera[:3, 3]
    points = np.concatenate([surface.points for surface in surfaces]) if surfaces else np.zeros((0, 3))
    normals = np.concatenate([surface.normals for surface in surfaces]) if surfaces else np.zeros((0, 3))
    owner = np.repeat(np.arange(len(surfaces)), [len(surface.points) for surface in surfaces]).astype(np.int64)
    if len(points):
        distance, found = cKDTree(points).query(world)
        nearest, on_object = np.asarray(found, dtype=np.int64), np.asarray(distance) < _ON_OBJECT
    else:
        nearest, on_object = np.zeros(len(world), dtype=np.int64), np.zeros(len(world), dtype=bool)
    chosen = rng.permutation(np.flatnonzero(on_object))[:count]
    # The network's views are those of its camera; where they look from in the world decides which can be executed.
    directions = -view_directions(VIEWS).double().numpy() @ camera[:3, :3].T
    usable = np.flatnonzero(directions[:, 2] < -STEEPEST)
    frames_camera = approach_frames(-view_directions(VIEWS).double()).numpy()[usable]
    frames = np.einsum("ij,vjk->vik", camera[:3, :3], frames_camera)
    shape = (len(chosen), ANGLES, len(DEPTHS))
    views = np.zeros((len(chosen), VIEWS), dtype=np.float32)
    approach = np.tile((camera[:3, :3].T @ np.array([0.0, 0.0, -1.0])).astype(np.float32), (len(chosen), 1))
    score, width, tolerance = (np.zeros(shape, dtype=np.float32) for _ in range(3))
    for row, index in enumerate(chosen):
        near = np.linalg.norm(points - world[index], axis=1) < _NEAR
        own = owner[near] == owner[nearest[index]]
        graded, opening = grade(world[index], frames, points[near], normals[near], own)
        best = graded.max(axis=(1, 2))
        views[row, usable] = best
        first = int(best.argmax())
        if best[first] > 0:
            approach[row] = frames_camera[first, :, 0]
            score[row], width[row] = graded[first], opening[first]
            tolerance[row] = tolerances(graded[first])
    return Labels(cloud, on_object, cloud[chosen], views, approach, score, width, tolerance)


def grade(point: F64, frames: F64, points: F64, normals: F64, own: Bool) -> tuple[F32, F32]:
    """Scores and openings of all grasps at a point.

    Args:
        point: (3,) world frame, metres; the table is at z = 0.
        frames: (V, 3, 3) at angle 0, columns = approach, closing, their cross product.
        points, normals: (S, 3) of the surfaces around it; own: (S,) which belong to the object that is grasped.

    Returns:
        score (V, A, D) in 0..1: one less the friction coefficient that the contacts need, 0 where the gripper collides or holds
        nothing; width (V, A, D) in metres.
    """
    score = np.zeros((len(frames), ANGLES, len(DEPTHS)), dtype=np.float32)
    width = np.zeros_like(score)
    angle = np.arange(ANGLES) * math.pi / ANGLES
    cos, sin = (f(angle).astype(np.float32)[None, :, None] for f in (np.cos, np.sin))
    offset, normals = (points - point).astype(np.float32), normals.astype(np.float32)
    for first in range(0, len(frames), _CHUNK):
        part = frames[first : first + _CHUNK].astype(np.float32)
        local = np.einsum("sc,vcd->vsd", offset, part)
        facing = np.einsum("sc,vcd->vsd", normals, part)
        x = local[:, None, :, 0]
        y = cos * local[:, None, :, 1] + sin * local[:, None, :, 2]
        z = np.abs(cos * local[:, None, :, 2] - sin * local[:, None, :, 1])
        push = cos * facing[:, None, :, 1] + sin * facing[:, None, :, 2]
        # Heights of the closing direction and of the one across it: how far the fingers reach down beside the tip.
        up_y = cos[..., 0] * part[:, None, 2, 1] + sin[..., 0] * part[:, None, 2, 2]
        up_z = cos[..., 0] * part[:, None, 2, 2] - sin[..., 0] * part[:, None, 2, 1]
        for column, depth in enumerate(DEPTHS):
            inside = own & (z < HEIGHT / 2) & (x < depth) & (x > depth - _PAD)
            right = np.where(inside, y, -np.inf).max(axis=2)
            left = np.where(inside, y, np.inf).min(axis=2)
            there = (inside.sum(axis=2) >= 2 * _FEWEST) & (right - left > _THIN)
            half = np.where(there, np.maximum(np.abs(right), np.abs(left)), 0.0) + _MARGIN
            # The faces that the pads meet; beside their edges lie points of faces that look elsewhere.
            at_right = inside & (y > right[..., None] - _CONTACT) & (push > _FACING)
            at_left = inside & (y < left[..., None] + _CONTACT) & (push < -_FACING)
            square = np.minimum(_mean(push, at_right), -_mean(push, at_left))
            needed = np.sqrt(np.maximum(1.0 - square**2, 0.0)) / np.maximum(square, 1e-6)
            open_wide = half[..., None]
            finger = (np.abs(y) > open_wide - 0.001) & (np.abs(y) < open_wide + GRIPPER.finger_thickness) & (z < HEIGHT / 2)
            finger &= (x < depth) & (x > depth - GRIPPER.finger_length)
            hand = (np.abs(y) < GRIPPER.hand_x / 2) & (z < GRIPPER.hand_y / 2)
            hand &= (x < depth - GRIPPER.finger_length) & (x > depth - GRIPPER.finger_length - _HAND)
            lowest = point[2] + depth * part[:, None, 2, 0]
            lowest = lowest - np.abs(up_y) * (half + GRIPPER.finger_thickness) - np.abs(up_z) * HEIGHT / 2
            good = there & (square > 0) & (2 * half <= GRIPPER.max_opening) & (lowest > 0)
            good &= ~np.any(finger | hand, axis=2)
            score[first : first + len(part), :, column] = np.where(good, np.clip(1.0 - needed, 0.0, 1.0), 0.0)
            width[first : first + len(part), :, column] = np.where(good, 2 * half, 0.0)
    return score, width


def _mean(values: F32, mask: Bool) -> F32:
    """Mean over the last axis where the mask is set, 0 where it is nowhere."""
    mean: F32 = np.where(mask, values, 0.0).sum(axis=2) / np.maximum(mask.sum(axis=2), 1)
    return mean


def tolerances(score: F32) -> F32:
    """(A, D) metres: how many of a grasp's neighbours in angle and depth are grasps too, of 5 cm when all are."""
    good = (score > 0).astype(np.float32)
    around = np.stack([np.roll(good, turn, axis=0) for turn in (-1, 0, 1)]).sum(axis=0)
    padded = np.pad(around, ((0, 0), (1, 1)))
    total = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    counted = np.pad(np.full(score.shape, 3.0), ((0, 0), (1, 1)))
    most = counted[:, :-2] + counted[:, 1:-1] + counted[:, 2:]
    share: F32 = (0.05 * good * total / most).astype(np.float32)
    return share


def scene_path(folder: Path, job: SceneJob) -> Path:
    """Where a labelled scene is kept."""
    return folder / job.kind / f"{job.number:06d}.npz"


def store(path: Path, labels: Labels) -> None:
    """Keep a labelled scene.

    Raises:
        DiskError: the disk is full or the place is not writable.
    """
    arrays: dict[str, Any] = {field.name: getattr(labels, field.name) for field in fields(Labels)}
    store_arrays(path, arrays)


def load(path: Path) -> Labels:
    """Read a labelled scene.

    Raises:
        ArtifactError: the file is damaged.
    """
    return Labels(**load_arrays(path, [field.name for field in fields(Labels)], "a labelled scene", "srcli pretrain graspnet"))


def missing(folder: Path, jobs: Sequence[SceneJob]) -> list[SceneJob]:
    """The scenes that have not been labelled yet, or whose labels are damaged."""
    return [job for job in jobs if not is_whole(scene_path(folder, job))]
