"""Wavefront files: the groups of an OBJ and the colours of its materials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from srcli.objects.formats import FARTHEST
from srcli.objects.mesh import Mesh
from srcli.objects.palette import GREY, RGB


@dataclass(frozen=True, slots=True)
class Group:
    """The faces of one ``o`` or ``g`` that have one material, in the file's unit."""

    name: str
    color: RGB
    mesh: Mesh


def read_obj(path: Path, files: list[Path], fail: Callable[[str, str], NoReturn]) -> list[Group]:
    """Groups of an OBJ file by (``o`` or ``g``) and material; polygons become fans of triangles.

    Args:
        files: gets the material libraries that were read.
        fail: gets what is wrong with the file, and a hint; raises.
    """
    vertices: list[list[float]] = []
    faces: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    materials: dict[str, RGB] = {}
    name, material = "", ""
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "v":
                if len(words) < 4:
                    raise ValueError
                vertices.append([float(word) for word in words[1:4]])
            elif words[0] in ("o", "g"):
                name = " ".join(words[1:])
            elif words[0] == "usemtl":
                material = " ".join(words[1:])
            elif words[0] == "mtllib":
                library = path.parent / " ".join(words[1:])
                if library.is_file():
                    files.append(library)
                    materials.update(read_mtl(library))
            elif words[0] == "f":
                corners = [int(word.split("/")[0]) for word in words[1:]]
                index = [c - 1 if c > 0 else len(vertices) + c for c in corners]
                if len(index) < 3 or not all(0 <= i < len(vertices) for i in index):
                    raise ValueError
                group = faces.setdefault((name, material), [])
                group += [(index[0], index[i], index[i + 1]) for i in range(1, len(index) - 1)]
        except (ValueError, IndexError):
            fail(f"{path.name}:{number}: '{line.strip()[:40]}' cannot be read", "export the mesh again")
    if not faces:
        fail(f"{path.name} has no faces", "export the mesh again")
    points = np.asarray(vertices, dtype=np.float64)
    if not (np.abs(points) <= FARTHEST).all():
        fail(f"{path.name} has a vertex that is not three finite numbers up to {FARTHEST:g}", "export the mesh again")
    groups = []
    for (group_name, group_material), triangles in faces.items():
        used, index_of = np.unique(np.asarray(triangles, dtype=np.int32), return_inverse=True)
        own = index_of.reshape(-1, 3).astype(np.int32)
        groups.append(Group(group_name, materials.get(group_material, GREY), Mesh(points[used], own)))
    return groups


def read_mtl(path: Path) -> dict[str, RGB]:
    """Diffuse colour of every material; of a textured one the mean of its texture, where that can be read."""
    colors: dict[str, RGB] = {}
    name = ""
    for line in path.read_text("utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "newmtl":
            name = " ".join(words[1:])
        elif len(words) > 3 and words[0] == "Kd":
            colors.setdefault(name, rgb_of(words[1:4]))
        elif len(words) > 1 and words[0] == "map_Kd":
            mean = _mean_color(path.parent / words[-1])
            if mean is not None:
                colors[name] = mean
            elif colors.get(name) == (0.0, 0.0, 0.0):
                colors[name] = GREY
    return colors


def _mean_color(path: Path) -> RGB | None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixel = np.asarray(image.convert("RGB").resize((1, 1), Image.Resampling.BOX))[0, 0]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # What Pillow raises on damaged and on huge pictures.
        return None
    red, green, blue = (float(value) / 255 for value in pixel)
    return red, green, blue


def rgb_of(words: Sequence[str]) -> RGB:
    """The colour of the first three words, cut to 0..1; grey where they are no numbers."""
    try:
        red, green, blue = (min(max(float(word), 0.0), 1.0) for word in words[:3])
    except ValueError:
        return GREY
    if not np.isfinite((red, green, blue)).all():
        return GREY
    return red, green, blue
