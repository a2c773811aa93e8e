"""A scene of GraspNet-1Billion: ``CAMERA/{rgb,depth}/0000.png``, ``camK.npy``, ``camera_poses.npy``, ``cam0_wrt_table.npy``.

Depth divided by ``factor_depth`` (of ``meta/0000.mat``, else 1000) is in metres. The poses map each camera to the first one,
``cam0_wrt_table`` maps that to the table, where z points up and the table is at z = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srcli.errors import ArtifactError
from srcli.frames.checks import check_intrinsics, check_pose
from srcli.frames.files import read_array, read_colour, read_depth, write_colour, write_depth
from srcli.frames.observation import Observation
from srcli.frames.sequences import chosen
from srcli.frames.units import QUANTUM, in_steps, stacked

INTRINSICS, POSES, TABLE = "camK.npy", "camera_poses.npy", "cam0_wrt_table.npy"
_DEFAULT_FACTOR = 1000.0
#: The two cameras of the data set; of a scene that has both the first one is read.
_CAMERAS = ("realsense", "kinect")


def is_graspnet(folder: Path) -> bool:
    """Whether the folder is a scene, or that of one of its cameras."""
    return (folder / INTRINSICS).exists() or any((folder / camera / INTRINSICS).exists() for camera in _CAMERAS)


def read_graspnet(folder: Path, wanted: Sequence[str] = ()) -> Observation:
    """Views of a scene, or of the folder of one of its cameras.

    Args:
        wanted: numbers of the images to use; empty: all of few, three of many.

    Raises:
        ArtifactError: a file is missing or damaged, or of a wrong shape.
    """
    place = folder
    if not (folder / INTRINSICS).exists():
        place = next((folder / c for c in _CAMERAS if (folder / c / INTRINSICS).exists()), folder)
    K = read_array(place / INTRINSICS, (3, 3))
    check_intrinsics(K, str(place / INTRINSICS))
    poses = read_array(place / POSES, (None, 4, 4))
    table = read_array(place / TABLE, (4, 4))
    numbers, note = chosen(range(len(poses)), wanted, str(place / POSES)) if len(poses) else ([], "")
    if not numbers:
        raise ArtifactError(f"{place / POSES}: holds no pose", "one (4, 4) matrix per image is expected")
    parts: list[tuple[Any, Any, Any, Any]] = []
    for number in numbers:
        pose = table @ poses[number]
        check_pose(pose, f"{place}: image {number}")
        # Times one over it, as other formats have it: a quotient may differ in its last bit.
        scale = np.float32(1.0 / _factor(place / "meta" / f"{number:04d}.mat"))
        depth = read_depth(place / "depth" / f"{number:04d}.png").astype(np.float32) * scale
        parts.append((read_colour(place / "rgb" / f"{number:04d}.png"), depth, K, pose))
    names = [f"{number:04d}" for number in numbers]
    rgb, depths, matrices, placed = stacked(names, parts)
    return Observation(rgb, depths, matrices, placed, names=tuple(names), notes=(note,) if note else (), source=str(place))


def _factor(path: Path) -> float:
    """Units of depth per metre; the data set's own number where there is no file."""
    from scipy.io import loadmat

    if not path.is_file():
        return _DEFAULT_FACTOR
    try:
        factor = float(np.asarray(loadmat(path)["factor_depth"]).reshape(-1)[0])
    except Exception as error:  # a damaged file ends in whatever the reader meets first
        raise ArtifactError(f"{path}: has no factor_depth", "a MATLAB file with units of depth per metre is expected") from error
    if not (np.isfinite(factor) and factor > 0):
        raise ArtifactError(f"{path}: factor_depth is {factor:g}", "units of depth per metre: 1000 for millimetres")
    return factor


def write_graspnet(folder: Path, observation: Observation, depth_scale: float = QUANTUM) -> None:
    """The views of an observation as the scene of a camera ``realsense``, numbered from 0. All views need one K.

    Args:
        depth_scale: metres per unit.

    Raises:
        ArtifactError: the views have different intrinsics, which the format cannot say.
    """
    from scipy.io import savemat

    if np.abs(observation.K - observation.K[0]).max() > 0:
        raise ArtifactError("the cameras differ in K, but this format has one for all", "write them as native or bop")
    place = folder / _CAMERAS[0]
    first = np.linalg.inv(observation.T_world_cam[0])
    for i, name in enumerate(observation.labels):
        write_colour(place / "rgb" / f"{i:04d}.png", observation.rgb[i])
        write_depth(place / "depth" / f"{i:04d}.png", in_steps(observation.depth[i], depth_scale, name))
        (place / "meta").mkdir(exist_ok=True)
        savemat(
            place / "meta" / f"{i:04d}.mat",
            {"factor_depth": np.array([[1.0 / depth_scale]]), "intrinsic_matrix": observation.K[i]},
        )
    np.save(place / INTRINSICS, observation.K[0])
    np.save(place / POSES, np.stack([np.eye(4), *(first @ pose for pose in observation.T_world_cam[1:])]))
    np.save(place / TABLE, observation.T_world_cam[0])
