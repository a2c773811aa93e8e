"""The native folder: ``cameras.json``, and per camera ``NAME.png`` and ``NAME_depth.png`` of 16 bits."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srcli.errors import ArtifactError
from srcli.frames.checks import check_intrinsics, check_pose
from srcli.frames.files import matrix, positive, read_colour, read_depth, read_json, write_colour, write_depth
from srcli.frames.observation import Observation, Workspace
from srcli.frames.units import QUANTUM, in_steps, stacked

CAMERAS = "cameras.json"
ONE_ALONE = "several views need poses; --camera NAME --fit-table decides from one without"
_KEYS = ("name", "K", "T_world_cam", "depth_scale", "width", "height")
_TOP = ("cameras", "workspace", "shift")
_LONGEST = 200
"""Bytes of a camera's name: file systems know no longer names of files."""


def is_native(folder: Path) -> bool:
    """Whether the folder is one."""
    return (folder / CAMERAS).exists()


def read_native(folder: Path, wanted: Sequence[str] = ()) -> Observation:
    """The views of a native folder.

    Args:
        wanted: names of the cameras to use; empty: all.

    Raises:
        ArtifactError: a file is missing or damaged, or an entry is wrong.
    """
    file = folder / CAMERAS
    data = read_json(file)
    top: Mapping[str, Any] = data if isinstance(data, dict) else {"cameras": data}
    _known(top, _TOP, str(file))
    entries = top.get("cameras")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ArtifactError(
            f"{file}: a list of cameras is expected", "[{name, K, T_world_cam, depth_scale}, ...], one per camera"
        )
    names = [_name(entry, number, file) for number, entry in enumerate(entries)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ArtifactError(f"{file}: two cameras are named '{twice[0]}'", "each camera has a name and files of its own")
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ArtifactError(f"{file}: no camera '{missing[0]}'", f"there are {', '.join(names)}")
    chosen = [(name, entry) for name, entry in zip(names, entries, strict=True) if not wanted or name in wanted]
    posed = "T_world_cam" in chosen[0][1]
    if not posed and len(chosen) > 1:
        raise ArtifactError(
            f"{file}: camera '{chosen[0][0]}' has no T_world_cam",
            ONE_ALONE,
        )
    parts = [_view(folder, name, entry, posed, f"{file}: camera '{name}'") for name, entry in chosen]
    rgb, depth, K, poses = stacked([name for name, _ in chosen], parts)
    shift = top.get("shift", 0.0)
    if not isinstance(shift, int | float) or isinstance(shift, bool) or not abs(shift) <= 0.5:
        raise ArtifactError(f"{file}: shift is {shift!r}", "metres along y from the arm to the middle of the workspace")
    return Observation(
        rgb,
        depth,
        K,
        poses,
        names=tuple(name for name, _ in chosen),
        workspace=_workspace(top.get("workspace"), file),
        shift=float(shift),
        posed=posed,
        source=str(folder),
    )


def _known(entry: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in entry:
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            if "dist" in str(key).lower() or str(key) == "D":
                hint = "undistort the images first and leave it away; "
            raise ArtifactError(f"{where}: unknown key '{key}'", f"{hint}known: {', '.join(keys)}")


def _name(entry: Mapping[str, Any], number: int, file: Path) -> str:
    _known(entry, _KEYS, f"{file}: camera {number}")
    name = entry.get("name")
    plain = isinstance(name, str) and name.strip() and Path(name).name == name and name not in (".", "..")
    if not plain or len(str(name).encode(errors="replace")) > _LONGEST:
        raise ArtifactError(f"{file}: camera {number} has no usable name: {name!r}", "a word, as in NAME.png")
    return str(name)


def _view(folder: Path, name: str, entry: Mapping[str, Any], posed: bool, where: str) -> tuple[Any, Any, Any, Any]:
    if "K" not in entry:
        raise ArtifactError(f"{where} has no K", "3 x 3 intrinsics in pixels, of the size that the images are stored in")
    K = matrix(entry["K"], (3, 3), f"{where}: K")
    check_intrinsics(K, where)
    pose = np.eye(4)
    if posed:
        if "T_world_cam" not in entry:
            raise ArtifactError(f"{where} has no T_world_cam", ONE_ALONE)
        pose = matrix(entry["T_world_cam"], (4, 4), f"{where}: T_world_cam")
        check_pose(pose, where)
    hint = "metres per unit of the depth image: 0.001 for millimetres"
    scale = positive(entry.get("depth_scale"), f"{where}: depth_scale", hint)
    rgb = read_colour(folder / f"{name}.png")
    for key, size in (("width", rgb.shape[1]), ("height", rgb.shape[0])):
        if key in entry and entry[key] != size:
            raise ArtifactError(
                f"{where}: {key} is {entry[key]!r}, the image has {size} pixels", "K and images have to be of one size"
            )
    return rgb, read_depth(folder / f"{name}_depth.png").astype(np.float32) * np.float32(scale), K, pose


def _workspace(value: object, file: Path) -> Workspace | None:
    if value is None:
        return None
    where = f"{file}: workspace"
    if not isinstance(value, dict) or set(value) != {"lower", "upper"}:
        raise ArtifactError(f"{where}: lower and upper are expected", 'for example {"lower": [x, y, z], "upper": [x, y, z]}')
    lower, upper = (matrix(value[key], (3,), f"{where}: {key}").tolist() for key in ("lower", "upper"))
    if any(low >= high for low, high in zip(lower, upper, strict=True)):
        raise ArtifactError(f"{where}: lower is not below upper", "metres, world frame")
    return Workspace((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def write_native(folder: Path, observation: Observation, depth_scale: float = QUANTUM) -> None:
    """The views of an observation as a native folder.

    Raises:
        SceneError: depth beyond what 16 bits hold.
    """
    entries = []
    for i, name in enumerate(observation.labels):
        write_colour(folder / f"{name}.png", observation.rgb[i])
        write_depth(folder / f"{name}_depth.png", in_steps(observation.depth[i], depth_scale, name))
        entry: dict[str, Any] = {"name": name, "K": observation.K[i].tolist(), "depth_scale": depth_scale}
        if observation.posed:
            entry["T_world_cam"] = observation.T_world_cam[i].tolist()
        entries.append(entry)
    top: dict[str, Any] = {"cameras": entries}
    if observation.workspace is not None:
        box = observation.workspace
        top["workspace"] = {"lower": list(box.lower), "upper": list(box.upper)}
    if observation.shift:
        top["shift"] = observation.shift
    (folder / CAMERAS).write_text(json.dumps(top, indent=1) + "\n", encoding="utf-8")
