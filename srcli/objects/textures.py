"""Textures of mesh files: read, bounded, sampled, and laid on a surface."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from srcli.objects.coloring import color_groups
from srcli.objects.mesh import Mesh, Skin, face_normals
from srcli.objects.palette import RGB
from srcli.types import F64, U8

LARGEST_SIDE = 512
"""Pixels; finer pictures are reduced: an object covers some hundred pixels of a camera."""
MOST_PIXELS = 64_000_000
_INSIDE = 1e-3
# Where in a triangle its colour is looked up: barycentric weights of the centre and of points near the corners.
_SAMPLES = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4]]) / np.array([[3], [6], [6], [6]])


@dataclass(frozen=True)
class Texture:
    """A picture (H, W, 3) uint8, sRGB, its first row on top."""

    pixels: U8

    @cached_property
    def png(self) -> bytes:
        """The picture as a PNG file."""
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(self.pixels).save(stream, format="PNG")
        return stream.getvalue()

    @cached_property
    def mean(self) -> RGB:
        """Mean colour."""
        red, green, blue = (round(float(c) / 255, 4) for c in self.pixels.reshape(-1, 3).mean(axis=0))
        return red, green, blue

    def at(self, uv: F64) -> F64:
        """(..., 3) colours 0..1 at (..., 2) coordinates, (0, 0) the lower left corner; the picture repeats."""
        height, width = self.pixels.shape[:2]
        column = np.clip((np.mod(uv[..., 0], 1.0) * width).astype(np.int64), 0, width - 1)
        row = np.clip(((1.0 - np.mod(uv[..., 1], 1.0)) * height).astype(np.int64), 0, height - 1)
        return np.asarray(self.pixels[row, column], dtype=np.float64) / 255


def read_texture(path: Path) -> Texture | None:
    """The picture of a file; None where it cannot be read or is huge."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return texture_of(image)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        # What Pillow raises on damaged and on huge pictures.
        return None


def texture_of(image: Any, factor: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Texture | None:
    """A picture of Pillow, reduced; ``factor`` multiplies its colours. None for a huge one."""
    from PIL import Image

    if image.width * image.height > MOST_PIXELS:
        return None
    plain = image.convert("RGB")
    if max(plain.size) > LARGEST_SIDE:
        plain.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(plain, dtype=np.uint8)
    if factor != (1.0, 1.0, 1.0):
        pixels = np.clip(np.rint(pixels * np.asarray(factor)), 0, 255).astype(np.uint8)
    return Texture(pixels)


def textured(vertices: F64, faces: Any, uv: F64, texture: Texture) -> list[tuple[RGB, Mesh]]:
    """A surface under a picture, cut into few parts by the colours that show there; each keeps its piece of the picture.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        uv: (F, 3, 2) of the corners.
    """
    finite = np.where(np.isfinite(uv) & (np.abs(uv) < 1e6), uv, 0.0)
    # The renderer repeats pictures for coordinates from 0 on.
    moved = finite - np.floor(finite.min(axis=1, keepdims=True) + 1e-9)
    whole = (moved.max(axis=1, keepdims=True) <= 1.0 + 1e-6) & np.ones_like(moved, dtype=bool)
    moved = np.where(whole, np.clip(moved, _INSIDE, 1.0 - _INSIDE), np.maximum(moved, 0.0))
    colors = texture.at(np.einsum("sc,fcd->fsd", _SAMPLES, moved)).mean(axis=1)
    made = []
    for rgb, chosen in color_groups(colors, np.linalg.norm(face_normals(vertices, faces), axis=1)):
        used, index = np.unique(faces[chosen], return_inverse=True)
        own = index.reshape(-1, 3).astype(np.int32)
        made.append((rgb, Mesh(vertices[used], own, Skin(moved[chosen], texture.png))))
    return made
