"""A scene of the BOP benchmark: ``scene_camera.json``, ``rgb/000000.png``, ``depth/000000.png``.

Depth times ``depth_scale`` is in millimetres, and so is ``cam_t_w2c``; ``cam_R_w2c`` is row-major, world to camera. Poses of the
cameras are optional in the format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srcli.errors import ArtifactError
from srcli.frames.checks import check_intrinsics, check_pose
from srcli.frames.files import matrix, positive, read_colour, read_depth, read_json, write_colour, write_depth
from srcli.frames.observation import Observation
from srcli.frames.sequences import chosen, is_number
from srcli.frames.units import QUANTUM, in_steps, stacked
from srcli.types import F64

CAMERAS = "scene_camera.json"
_MILLIMETRES = 1000.0


def is_bop(folder: Path) -> bool:
    """Whether the folder is a scene, or a split that holds scenes."""
    return (folder / CAMERAS).exists() or bool(_scenes(folder))


def _scenes(folder: Path) -> list[str]:
    return sorted(file.parent.name for file in folder.glob(f"*/{CAMERAS}"))


def read_bop(folder: Path, wanted: Sequence[str] = ()) -> Observation:
    """Views of a BOP scene.

    Args:
        wanted: numbers of the images to use; empty: all of few, three of many.

    Raises:
        ArtifactError: a file is missing or damaged, or an entry is wrong.
    """
    file = folder / CAMERAS
    if not file.exists() and (scenes := _scenes(folder)):
        raise ArtifactError(f"{folder}: holds {len(scenes)} scenes", f"name one of them, for example {folder / scenes[0]}")
    data = read_json(file)
    if not isinstance(data, dict) or not data or not all(is_number(key) and isinstance(data[key], dict) for key in data):
        raise ArtifactError(
            f"{file}: a camera for each number of an image is expected", '{"0": {"cam_K": [9 numbers], "depth_scale": 1.0, ...}}'
        )
    entries: dict[int, Mapping[str, Any]] = {int(key): value for key, value in data.items()}
    numbers, note = chosen(sorted(entries), wanted, str(file))
    posed = all("cam_R_w2c" in entries[number] and "cam_t_w2c" in entries[number] for number in numbers)
    if not posed and len(numbers) > 1:
        if wanted:
            raise ArtifactError(
                f"{file}: not every image has cam_R_w2c and cam_t_w2c", "several views need poses; name one image"
            )
        numbers, note = numbers[:1], f"cameras have no poses, so image {numbers[0]} alone is used; --camera NUMBER names another"
    parts = [_view(folder, number, entries[number], posed, f"{file}: image {number}") for number in numbers]
    names = [f"{number:06d}" for number in numbers]
    rgb, depth, K, poses = stacked(names, parts)
    return Observation(rgb, depth, K, poses, names=tuple(names), posed=posed, notes=(note,) if note else (), source=str(folder))


def _view(folder: Path, number: int, entry: Mapping[str, Any], posed: bool, where: str) -> tuple[Any, Any, Any, Any]:
    if "cam_K" not in entry:
        raise ArtifactError(f"{where} has no cam_K", "9 numbers, the rows of K, in pixels")
    K = matrix(entry["cam_K"], (9,), f"{where}: cam_K").reshape(3, 3)
    check_intrinsics(K, where)
    scale = positive(entry.get("depth_scale"), f"{where}: depth_scale", "millimetres per unit of the depth image")
    pose = np.eye(4)
    if posed:
        pose = _camera_to_world(
            matrix(entry["cam_R_w2c"], (9,), f"{where}: cam_R_w2c").reshape(3, 3),
            matrix(entry["cam_t_w2c"], (3,), f"{where}: cam_t_w2c") / _MILLIMETRES,
        )
        check_pose(pose, where)
    depth = read_depth(folder / "depth" / f"{number:06d}.png").astype(np.float32) * np.float32(scale / _MILLIMETRES)
    return read_colour(_colour(folder, number)), depth, K, pose


def _colour(folder: Path, number: int) -> Path:
    """The colour image: PNG, or JPEG as some of the benchmark's data sets have it."""
    found = [folder / "rgb" / f"{number:06d}{suffix}" for suffix in (".png", ".jpg")]
    return found[1] if found[1].is_file() and not found[0].is_file() else found[0]


def _camera_to_world(rotation: F64, translation: F64) -> F64:
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -rotation.T @ translation
    return pose


def write_bop(folder: Path, observation: Observation, depth_scale: float = QUANTUM * _MILLIMETRES) -> None:
    """The views of an observation as a BOP scene, numbered from 0.

    Args:
        depth_scale: millimetres per unit.
    """
    entries: dict[str, Any] = {}
    for i, name in enumerate(observation.labels):
        write_colour(folder / "rgb" / f"{i:06d}.png", observation.rgb[i])
        write_depth(folder / "depth" / f"{i:06d}.png", in_steps(observation.depth[i], depth_scale / _MILLIMETRES, name))
        entries[str(i)] = {"cam_K": observation.K[i].reshape(-1).tolist(), "depth_scale": depth_scale}
        if observation.posed:
            rotation = observation.T_world_cam[i, :3, :3].T
            entries[str(i)]["cam_R_w2c"] = rotation.reshape(-1).tolist()
            entries[str(i)]["cam_t_w2c"] = (-rotation @ observation.T_world_cam[i, :3, 3] * _MILLIMETRES).tolist()
    (folder / CAMERAS).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
