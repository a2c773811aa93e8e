"""Mesh files that trimesh reads: STL, GLB, PLY and textured OBJ files, cut into surfaces of one colour."""

from __future__ import annotations

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from srcli.errors import ArtifactError, MissingAssetError
from srcli.objects.mesh import Mesh, face_normals
from srcli.objects.palette import GREY, RGB, palette
from srcli.types import F64, I64

BY_TRIMESH = (".stl", ".glb", ".ply")
"""Formats that cannot be read without trimesh."""
Y_UP: F64 = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""(3, 3) rotation that turns a file whose y points up, as glTF has it, to z up."""
FARTHEST = 1e9
"""Coordinates of a file beyond it are mistakes in any unit, and products of them overflow."""
_COLORS, _LEAST_SHARE = 6, 0.03


def optional(name: str) -> Any:
    """A library of the extra ``meshes``, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def read_parts(path: Path) -> tuple[tuple[tuple[RGB, Mesh], ...], ...]:
    """Every mesh of a file, in the frame and the unit of its scene, as (colour, surface) by the colours of its faces.

    Raises:
        MissingAssetError: trimesh is not installed.
        ArtifactError: the file is damaged or holds no triangles.
    """
    trimesh = optional("trimesh")
    if trimesh is None:
        kind = path.suffix.lower()
        raise MissingAssetError(f"{path}: {kind} files need trimesh", "pip install 'srcli[meshes]', or export the mesh as OBJ")
    # It logs tracebacks and warns about what it then reads all the same; what matters is checked below.
    logging.getLogger("trimesh").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = trimesh.load(str(path), force="scene", process=False)
            parts = [part for part in scene.dump() if hasattr(part, "faces") and len(part.faces)]
    except Exception as error:
        # A reader of many formats fails in many ways; what the user can do is the same for all.
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ArtifactError(f"{path}: cannot be read as {path.suffix[1:].upper()} ({reason})", "export the mesh again") from error
    if not parts:
        raise ArtifactError(f"{path}: has no faces", "export the mesh again")
    return tuple(_by_color(part, path) for part in parts)


def _by_color(part: Any, path: Path) -> tuple[tuple[RGB, Mesh], ...]:
    vertices, faces = np.asarray(part.vertices, dtype=np.float64), np.asarray(part.faces, dtype=np.int32)
    if vertices.shape[1:] != (3,) or not (np.abs(vertices) <= FARTHEST).all():
        what = f"has a vertex that is not three finite numbers up to {FARTHEST:g}"
        raise ArtifactError(f"{path}: {what}", "export the mesh again")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ArtifactError(f"{path}: has a face with a vertex that is not there", "export the mesh again")
    groups = color_groups(_face_colors(part), np.linalg.norm(face_normals(vertices, faces), axis=1))
    return tuple((rgb, _part(vertices, faces[chosen])) for rgb, chosen in groups)


def _face_colors(part: Any) -> F64:
    """(F, 3) sRGB 0..1: face or vertex colours, or the texture where it lies on the face; grey where the file has none."""
    plain = np.tile(np.asarray(GREY), (len(part.faces), 1))
    try:
        visual = part.visual
        if visual.kind == "texture":
            material = visual.material
            if getattr(material, "image", None) is None and getattr(material, "baseColorTexture", None) is None:
                return np.tile(np.asarray(material.main_color, dtype=np.float64)[:3] / 255, (len(part.faces), 1))
            visual = visual.to_color()
            at_corners = np.asarray(visual.vertex_colors, dtype=np.float64)[np.asarray(part.faces), :3]
            return np.asarray(at_corners.mean(axis=1) / 255, dtype=np.float64)
        if visual.kind in ("face", "vertex"):
            return np.asarray(visual.face_colors, dtype=np.float64)[:, :3] / 255
    except (AttributeError, ValueError, IndexError, OSError):
        # A texture that is missing or odd costs the colour, not the object.
        return plain
    return plain


def color_groups(colors: F64, areas: F64) -> list[tuple[RGB, I64]]:
    """Few colours for many faces: by the nearest palette colour, at most 6 groups, none below 3% of the area.

    Args:
        colors: (F, 3) sRGB 0..1.
        areas: (F,) any unit.

    Returns:
        (mean colour of the group, indices of its faces), the largest first.
    """
    if (colors == colors[0]).all():
        red, green, blue = (round(float(c), 4) for c in colors[0])
        return [((red, green, blue), np.arange(len(colors)))]
    known = np.array([color.array() for name, color in palette().items() if not name.startswith("user ")])
    weights = np.maximum(areas, 1e-12 * max(float(areas.max()), 1e-30))
    nearest = ((colors[:, None] - known[None]) ** 2).sum(axis=2).argmin(axis=1)
    shares = np.bincount(nearest, weights=weights, minlength=len(known)) / weights.sum()
    order = [int(i) for i in np.argsort(-shares, kind="stable")]
    kept = [i for i in order[:_COLORS] if shares[i] >= _LEAST_SHARE] or order[:1]
    member = np.asarray(kept)[((colors[:, None] - known[kept][None]) ** 2).sum(axis=2).argmin(axis=1)]
    groups: list[tuple[RGB, I64]] = []
    for index in kept:
        chosen = np.flatnonzero(member == index)
        if len(chosen):
            red, green, blue = (round(float(c), 4) for c in np.average(colors[chosen], axis=0, weights=weights[chosen]))
            groups.append(((red, green, blue), chosen))
    return groups


def _part(vertices: F64, faces: Any) -> Mesh:
    used, index = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], index.reshape(faces.shape).astype(np.int32))
