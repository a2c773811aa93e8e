"""Rendering with PyBullet's software renderer: no display, the same bytes every time.

The table is an infinite plane and is drawn analytically behind the rendered bodies: exact depth at no cost, any colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pybullet
from pybullet_utils.bullet_client import BulletClient

from srcli.sim.cameras import FAR, NEAR, Camera, look_at, projection, view
from srcli.types import F32, U8

if TYPE_CHECKING:
    from srcli.objects import ObjectModel

I32Image = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Light:
    """How a scene is lit: one distant light without shadows.

    Attributes:
        direction: from the scene towards the light, world frame.
        color: RGB, 0..1.
        ambient, diffuse, specular: coefficients, 0..1.
    """

    direction: tuple[float, float, float] = (0.3, -0.4, 1.0)
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    ambient: float = 0.55
    diffuse: float = 0.5
    specular: float = 0.05


TABLE_COLOR = (0.30, 0.29, 0.28)


def _shade(color: tuple[float, float, float], light: Light) -> npt.NDArray[np.uint8]:
    """The colour (3,) that the renderer gives to a horizontal surface, without its highlight."""
    up = light.direction[2] / math.sqrt(sum(v * v for v in light.direction))
    level = light.ambient + light.diffuse * max(up, 0.0)
    return np.asarray([min(255.0, 255.0 * c * s * level) for c, s in zip(color, light.color, strict=True)]).astype(np.uint8)


def table_depth(camera: Camera) -> F32:
    """Depth (H, W) in metres of the plane z = 0; 0 where a ray does not meet it within the far plane."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    x, y = (u - camera.K[0, 2]) / camera.K[0, 0], (v - camera.K[1, 2]) / camera.K[1, 1]
    fall = camera.T_world_cam[2, 0] * x + camera.T_world_cam[2, 1] * y + camera.T_world_cam[2, 2]
    depth = np.where(fall < -1e-6, -camera.T_world_cam[2, 3] / np.minimum(fall, -1e-6), 0.0)
    return np.where(depth < FAR, depth, 0.0).astype(np.float32)


def render(
    client: Any, camera: Camera, table: F32, color: tuple[float, float, float] = TABLE_COLOR, light: Light | None = None
) -> tuple[U8, F32, I32Image]:
    """One noise-free view: colour (H, W, 3) uint8, depth (H, W) metres, body ids (H, W) with -1 for table and nothing.

    Args:
        client: the ``BulletClient`` that holds the scene.
        table: (H, W) from :func:`table_depth` of the same camera.
    """
    light = light or Light()
    _, _, rgba, buffer, bodies = client.getCameraImage(
        camera.width,
        camera.height,
        viewMatrix=view(camera),
        projectionMatrix=projection(camera),
        lightDirection=light.direction,
        lightColor=light.color,
        lightDistance=2.0,
        shadow=0,
        lightAmbientCoeff=light.ambient,
        lightDiffuseCoeff=light.diffuse,
        lightSpecularCoeff=light.specular,
        renderer=pybullet.ER_TINY_RENDERER,
    )
    shape = (camera.height, camera.width)
    rgb = np.asarray(rgba, dtype=np.uint8).reshape(*shape, 4)[:, :, :3].copy()
    ids = np.asarray(bodies, dtype=np.int32).reshape(shape).copy()
    depth = (FAR * NEAR / (FAR - (FAR - NEAR) * np.asarray(buffer, dtype=np.float32).reshape(shape))).astype(np.float32)
    behind = ids < 0
    depth[behind] = table[behind]
    rgb[behind] = _shade(color, light)
    return rgb, depth, ids


def contact_sheet_images(models: Sequence[ObjectModel], size: int = 192) -> list[U8]:
    """One picture (size, size, 3) per model: it stands at rest orientation on a plain ground, seen from above at an angle.

    Each object fills the picture whatever its size; only single objects are shown, so this says nothing about scale.
    """
    from srcli.objects import write_urdf

    images: list[U8] = []
    client = BulletClient(pybullet.DIRECT)
    try:
        with TemporaryDirectory() as folder:
            for model in models:
                client.resetSimulation()
                body = client.loadURDF(str(write_urdf(model, Path(folder))))
                low, high = (np.asarray(v) for v in client.getAABB(body))
                centre = -(low + high) / 2
                client.resetBasePositionAndOrientation(body, [*centre[:2].tolist(), float(-low[2])], [0.0, 0.0, 0.0, 1.0])
                radius = float(np.linalg.norm(high - low)) / 2
                camera = _portrait(radius, float(high[2] - low[2]) / 2, size)
                images.append(render(client, camera, table_depth(camera), (0.93, 0.93, 0.93))[0])
    finally:
        client.disconnect()
    return images


def _portrait(radius: float, centre: float, size: int) -> Camera:
    distance = max(3.2 * radius, 0.15)
    focal = 0.46 * size * distance / max(radius, 0.02)
    k = np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    eye = (0.55 * distance, -0.6 * distance, centre + 0.58 * distance)
    return Camera("portrait", k, look_at(eye, (0.0, 0.0, centre)), size, size)
