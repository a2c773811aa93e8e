"""Wavefront files: the groups of an OBJ, and the colours and textures of its materials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from srcli.objects.coloring import color_groups
from srcli.objects.formats import FARTHEST
from srcli.objects.mesh import Mesh, face_normals
from srcli.objects.palette import GREY, RGB
from srcli.objects.sources import Files, short
from srcli.objects.textures import Texture, read_texture, textured
from srcli.types import F64, I32, I64, Bool

MOST_VERTICES = 1_000_000
_OPTIONS = {"-blendu": 1, "-blendv": 1, "-boost": 1, "-bm": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2, "-texres": 1}
"""Of a texture statement, with the number of their words; ``-o``, ``-s`` and ``-t`` take one to three numbers."""


@dataclass(frozen=True, slots=True)
class Group:
    """Faces of one ``o`` or ``g`` that have one colour, in the file's unit."""

    name: str
    color: RGB
    mesh: Mesh


@dataclass(frozen=True, slots=True)
class Material:
    """A material of an MTL file.

    Attributes:
        color: diffuse colour, or None.
        texture: its picture, where that could be read.
        scale, offset: of the coordinates on it.
    """

    color: RGB | None = None
    texture: Texture | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass
class _Faces:
    """Triangles of one group and material: vertex numbers, and texture coordinate numbers or -1."""

    corners: list[tuple[int, int, int]] = field(default_factory=list)
    spots: list[tuple[int, int, int]] = field(default_factory=list)


def read_obj(path: Path, files: Files, fail: Callable[[str, str], NoReturn]) -> list[Group]:
    """Groups of an OBJ file by (``o`` or ``g``), material and colour; polygons become fans of triangles.

    Args:
        files: finds the material libraries and textures.
        fail: gets what is wrong with the file, and a hint; raises.
    """
    vertices: list[list[float]] = []
    painted: list[list[float]] = []
    spots: list[list[float]] = []
    faces: dict[tuple[str, str], _Faces] = {}
    materials: dict[str, Material] = {}
    name, material = "", ""
    for number, line in _lines(path):
        words = line.split()
        try:
            if words[0] == "v":
                if len(words) < 4:
                    raise ValueError
                vertices.append([float(word) for word in words[1:4]])
                if len(words) >= 7:
                    painted.append([float(word) for word in words[4:7]])
            elif words[0] == "vt":
                spots.append([float(words[1]), float(words[2]) if len(words) > 2 else 0.0])
            elif words[0] in ("o", "g"):
                name = " ".join(words[1:])
            elif words[0] == "usemtl":
                material = " ".join(words[1:])
            elif words[0] == "mtllib":
                for library in _libraries(line[6:].strip(), files, path.parent):
                    materials.update(read_mtl(library, files))
            elif words[0] == "f":
                face, on = _corners(words[1:], len(vertices), len(spots))
                group = faces.setdefault((name, material), _Faces())
                group.corners += [(face[0], face[i], face[i + 1]) for i in range(1, len(face) - 1)]
                group.spots += [(on[0], on[i], on[i + 1]) for i in range(1, len(on) - 1)]
        except (ValueError, IndexError):
            fail(f"{path.name}:{number}: '{line.strip()[:40]}' cannot be read", "export the mesh again")
        if len(vertices) > MOST_VERTICES:
            fail(f"{path.name} has more than {MOST_VERTICES} vertices", "simplify the mesh")
    if not faces:
        fail(f"{path.name} has no faces", "export the mesh again")
    points = np.asarray(vertices, dtype=np.float64)
    if not (np.abs(points) <= FARTHEST).all():
        fail(f"{path.name} has a vertex that is not three finite numbers up to {FARTHEST:g}", "export the mesh again")
    colors = np.clip(np.nan_to_num(np.asarray(painted)), 0.0, 1.0) if len(painted) == len(points) else None
    at = np.asarray(spots, dtype=np.float64).reshape(-1, 2)
    lost = sorted({used for _, used in faces if used and used not in materials})
    if lost and colors is None:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        files.note(f"the material {short(lost[0])}{more} is described nowhere: grey")
    groups: list[Group] = []
    for (group_name, used), triangles in faces.items():
        known = materials.get(used)
        corners = np.asarray(triangles.corners, dtype=np.int32)
        parts = _painted(points, corners, np.asarray(triangles.spots, dtype=np.int64), at, known, colors, files)
        groups += [Group(group_name, rgb, mesh) for rgb, mesh in parts]
    return groups


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered statements of a file: continued lines joined, comments and blank lines left out."""
    held, first = "", 0
    for number, raw in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), start=1):
        first = first if held else number
        # A comment runs to the line's end; a name may hold the sign where no blank stands before it.
        text = held + _uncommented(raw)
        if text.rstrip().endswith("\\") and not text.lstrip().startswith(("mtllib", "map_", "#")):
            held = text.rstrip()[:-1] + " "
            continue
        held = ""
        if text.strip():
            yield first, text
    if held.strip():
        yield first, held


def _uncommented(line: str) -> str:
    if "#" not in line:
        return line
    if line.lstrip().startswith(("v", "f")):
        return line[: line.index("#")]
    for place, sign in enumerate(line):
        if sign == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line


def _corners(words: Sequence[str], vertices: int, spots: int) -> tuple[list[int], list[int]]:
    """Vertex and texture coordinate numbers from 0 of a face; -1 for a coordinate that is left out."""
    corners, on = [], []
    for word in words:
        fields = word.split("/")
        corner = int(fields[0])
        corners.append(corner - 1 if corner > 0 else vertices + corner)
        spot = int(fields[1]) if len(fields) > 1 and fields[1] else 0
        spot = spot - 1 if spot > 0 else spots + spot if spot < 0 else -1
        on.append(spot if 0 <= spot < spots else -1)
    if len(corners) < 3 or not all(0 <= corner < vertices for corner in corners):
        raise ValueError
    return corners, on


def _libraries(text: str, files: Files, base: Path) -> list[Path]:
    """The libraries of an ``mtllib`` line: one whose name may hold blanks, or several."""
    names = text.split()
    several = len(names) > 1 and all(name.lower().endswith(".mtl") for name in names)
    found = [files.optional(name, base, "material library") for name in (names if several else [text])]
    return [path for path in found if path is not None]


def _painted(
    points: F64, corners: I32, spots: I64, at: F64, material: Material | None, colors: F64 | None, files: Files
) -> list[tuple[RGB, Mesh]]:
    """Faces as surfaces of one colour each, with the piece of the texture that lies on them."""
    made: list[tuple[RGB, Mesh]] = []
    plain: Bool = np.ones(len(corners), dtype=bool)
    rgb = GREY if material is None or material.color is None else material.color
    if material is not None and material.texture is not None:
        plain = np.asarray((spots < 0).any(axis=1), dtype=bool)
        rgb = material.texture.mean
        if plain.any():
            files.note(f"{int(plain.sum())} triangles have no place on their texture: its mean colour")
        if not plain.all():
            uv = at[spots[~plain]] * material.scale + material.offset
            made += textured(points, corners[~plain], uv, material.texture)
    if not plain.any():
        return made
    left = corners[plain]
    if colors is not None and material is None:
        areas = np.linalg.norm(face_normals(points, left), axis=1)
        return [*made, *((own, _part(points, left[chosen])) for own, chosen in color_groups(colors[left].mean(axis=1), areas))]
    return [*made, (rgb, _part(points, left))]


def _part(points: F64, faces: I32) -> Mesh:
    used, index = np.unique(faces, return_inverse=True)
    return Mesh(points[used], index.reshape(-1, 3).astype(np.int32))


def read_mtl(path: Path, files: Files) -> dict[str, Material]:
    """The materials of a library; a texture that is not to be had leaves the diffuse colour, with a note."""
    colors: dict[str, RGB] = {}
    textures: dict[str, Material] = {}
    name = ""
    for _, line in _lines(path):
        words = line.split()
        key = words[0].lower()
        if len(words) > 1 and key == "newmtl":
            name = " ".join(words[1:])
            colors.pop(name, None)
            textures.pop(name, None)
        elif len(words) > 3 and key == "kd":
            colors.setdefault(name, rgb_of(words[1:4]))
        elif len(words) > 1 and key == "map_kd":
            textures[name] = _texture(line.strip()[len(key) :].strip(), files, path.parent)
    materials = {}
    for known in dict.fromkeys((*colors, *textures)):
        laid, color = textures.get(known), colors.get(known)
        if laid is not None and laid.texture is None and color == (0.0, 0.0, 0.0):
            # Exporters write black where the texture says it all.
            color = None
        laid = laid or Material()
        materials[known] = Material(color, laid.texture, laid.scale, laid.offset)
    return materials


def _texture(text: str, files: Files, base: Path) -> Material:
    """A texture statement: options, then a file name that may hold blanks."""
    scale, offset = [1.0, 1.0], [0.0, 0.0]
    words = text.split()
    start = 0
    while start < len(words) and words[start].lower() in (*_OPTIONS, "-o", "-s", "-t"):
        option, start = words[start].lower(), start + 1
        if option in _OPTIONS:
            start += _OPTIONS[option]
            continue
        numbers: list[float] = []
        while len(numbers) < 3 and start < len(words) - 1 and _number(words[start]) is not None:
            numbers.append(_number(words[start]) or 0.0)
            start += 1
        target = {"-s": scale, "-o": offset}.get(option)
        if target is not None:
            target[: len(numbers[:2])] = numbers[:2]
    # The name as it stands, its blanks among it.
    for _ in range(start):
        text = text.split(maxsplit=1)[1] if len(text.split(maxsplit=1)) > 1 else ""
    text = text.strip()
    if not text:
        return Material()
    path = files.optional(text, base, "texture")
    texture = None if path is None else read_texture(path)
    if path is not None and texture is None:
        files.note(f"the texture {short(text)} cannot be read: its material's colour is taken")
    return Material(None, texture, (scale[0], scale[1]), (offset[0], offset[1]))


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def rgb_of(words: Sequence[str]) -> RGB:
    """The colour of the first three words, cut to 0..1; grey where they are no numbers."""
    try:
        red, green, blue = (min(max(float(word), 0.0), 1.0) for word in words[:3])
    except ValueError:
        return GREY
    if not np.isfinite((red, green, blue)).all():
        return GREY
    return red, green, blue
