"""Three calibrated cameras around the workspace, with the intrinsics of an Intel RealSense L515."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from srcli.config.sim import SimConfig
from srcli.types import F64

FULL_WIDTH, FULL_HEIGHT, FULL_FOCAL = 1280, 720, 914.01
NEAR, FAR = 0.1, 3.0

# Eye and aim in metres, world frame. The side cameras stand beside the arm and look past it, so that the arm at its observing
# pose is in no image; every point of the workspace up to 0.2 m is in every image (tested).
_PLACES: tuple[tuple[str, tuple[float, float, float], tuple[float, float, float]], ...] = (
    ("top", (0.50, 0.0, 0.85), (0.50, 0.0, 0.0)),
    ("left", (0.48, 0.60, 0.60), (0.64, 0.10, 0.06)),
    ("right", (0.48, -0.60, 0.60), (0.64, -0.10, 0.06)),
)


@dataclass(frozen=True, slots=True)
class Camera:
    """One pinhole camera without distortion.

    Attributes:
        name: "top", "left" or "right".
        K: (3, 3) intrinsics in pixels; the centre of pixel (column u, row v) has image coordinates (u, v).
        T_world_cam: (4, 4) camera to world, OpenCV optical axes (x right, y down, z forward).
        width, height: image size in pixels.
    """

    name: str
    K: F64
    T_world_cam: F64
    width: int
    height: int


def look_at(eye: tuple[float, float, float], aim: tuple[float, float, float]) -> F64:
    """Camera-to-world pose (4, 4) of a camera at ``eye`` that looks at ``aim`` (metres, world frame), image up towards +z.

    A camera that looks straight down has its image up towards +x.
    """
    forward = np.asarray(aim, float) - np.asarray(eye, float)
    forward /= np.linalg.norm(forward)
    up = np.array([1.0, 0.0, 0.0]) if abs(forward[2]) > 0.999 else np.array([0.0, 0.0, 1.0])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(forward, right), forward, eye
    return pose


def intrinsics(scale: float) -> tuple[F64, int, int]:
    """Intrinsics (3, 3) in pixels, width and height at a fraction of the full 1280x720 image (f = 914.01, centre 640, 360)."""
    width, height = round(FULL_WIDTH * scale), round(FULL_HEIGHT * scale)
    focal = FULL_FOCAL * scale
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]]), width, height


def cameras(config: SimConfig) -> tuple[Camera, ...]:
    """The three cameras (top, left, right) of the cell."""
    k, width, height = intrinsics(config.camera_scale)
    return tuple(Camera(name, k.copy(), look_at(eye, aim), width, height) for name, eye, aim in _PLACES)


def shifted(camera: Camera, shift: float) -> Camera:
    """The camera moved by ``shift`` metres along y."""
    pose = camera.T_world_cam.copy()
    pose[1, 3] += shift
    return replace(camera, T_world_cam=pose)


def projection(camera: Camera) -> list[float]:
    """OpenGL projection matrix (column-major, 16) that makes the software renderer sample pixel (u, v) at coordinates (u, v).

    By itself it samples a pixel at its lower left corner and stores rows from the top: left as it is in u, one row lower in v.
    """
    fx, fy, cx, cy = camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2] + 1.0
    w, h = camera.width, camera.height
    matrix = np.array(
        [
            [2 * fx / w, 0.0, 1.0 - 2 * cx / w, 0.0],
            [0.0, 2 * fy / h, 2 * cy / h - 1.0, 0.0],
            [0.0, 0.0, -(FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)],
            [0.0, 0.0, -1.0, 0.0],
        ]
    )
    return [float(v) for v in matrix.T.reshape(-1)]


def view(camera: Camera) -> list[float]:
    """OpenGL view matrix (column-major, 16) of the camera."""
    flipped = camera.T_world_cam @ np.diag([1.0, -1.0, -1.0, 1.0])
    return [float(v) for v in np.linalg.inv(flipped).T.reshape(-1)]
