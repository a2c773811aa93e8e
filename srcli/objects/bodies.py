"""Reading one object file: a URDF, OBJ, MJCF or mesh file as coloured surfaces, convex pieces, mass and friction.

Read with the standard library and numpy alone; STL, GLB, PLY and DAE meshes of a URDF by trimesh, MJCF files by MuJoCo.
Of a URDF count its one link's visual and collision shapes, scale, mass and friction; the origin becomes the centre of mass, as
for every catalogue object. Every group of a collision OBJ (``o`` or ``g``, as V-HACD writes them) and every mesh of another file
is one convex piece; without collision shapes the convex hull of what is seen. Surfaces take the material's diffuse colour
(``Kd``) or its texture. What a file names is read only below its own folder, or below folders that the user named
(:mod:`srcli.objects.sources`).
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from srcli.errors import ArtifactError
from srcli.objects import shapes
from srcli.objects.formats import BY_TRIMESH, FARTHEST, THINNEST, Y_UP, read_parts
from srcli.objects.formats import MOST_FACES as MOST_FILE_FACES
from srcli.objects.mesh import Mesh, has_volume, hull_mesh, joined, mass_properties, turned
from srcli.objects.palette import GREY, RGB
from srcli.objects.shapes import Solid
from srcli.objects.sources import Files, Places, is_file
from srcli.objects.wavefront import Group, read_obj, rgb_of
from srcli.types import F64

DENSITY = 400.0
"""kg per cubic metre, for files without a mass: between a filled and an empty household object."""

SMALLEST, LARGEST = 0.005, 0.5
"""Longest side that an object on the table may have, metres; outside of it the unit is wrong."""

HEAVIEST, MOST_FACES = 2.0, 60_000
MESHES = (".obj", *BY_TRIMESH, ".msh")


@dataclass(frozen=True, slots=True)
class Body:
    """What a file describes, metres, in the frame of its link.

    Attributes:
        surfaces: (colour, mesh) by material.
        hulls: convex vertex sets (P, 3).
        mass: kg.
        friction: lateral friction or None.
        files: all files that were read.
        notes: what the user should know.
    """

    surfaces: tuple[tuple[RGB, Mesh], ...]
    hulls: tuple[F64, ...]
    mass: float
    friction: float | None
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def load_body(path: str, folder: str = "") -> Body:
    """Read a URDF, MJCF or OBJ file; once, until one of the files that it is made of has changed.

    Args:
        folder: what it names may lie anywhere below it; empty: its own folder.

    Raises:
        ArtifactError: missing mesh, several links, no solid shape, mass or size out of range; names the file.
        MissingAssetError: a mesh needs trimesh, which is not installed.
    """
    stamps, body = _BODIES.get((path, folder), ((), None))
    if body is None or stamps != _stamps(body.files):
        reader, mass, friction = _read(Path(path), Places(folder=folder), upright=True)
        body = reader.body(mass, friction)
        while len(_BODIES) >= _MOST_BODIES:
            del _BODIES[next(iter(_BODIES))]
        _BODIES[path, folder] = (_stamps(body.files), body)
    return body


def _stamps(files: Sequence[Path]) -> tuple[tuple[int, int, int], ...]:
    """What tells that files are those that were read; empty where one is gone."""
    try:
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in map(os.stat, files))
    except OSError:
        return ()


_BODIES: dict[tuple[str, str], tuple[tuple[tuple[int, int, int], ...], Body]] = {}
_MOST_BODIES = 256


@dataclass(frozen=True, slots=True)
class Shapes:
    """A file as it is written, its size and mass not judged.

    Attributes:
        surfaces: (colour, mesh) by material, in the file's unit.
        hulls: convex vertex sets of a URDF that says what is solid (collision shapes, or no mesh at all); else none.
        mass: kg, or None.
        friction: lateral friction, or None.
        files: all files that were read.
        notes: what the user should know.
    """

    surfaces: tuple[tuple[RGB, Mesh], ...]
    hulls: tuple[F64, ...]
    mass: float | None
    friction: float | None
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def read_shapes(path: Path, places: Places | None = None) -> Shapes:
    """Read a URDF, MJCF, OBJ or other mesh file of any size and unit.

    Args:
        places: folders that the user named.

    Raises:
        ArtifactError: the file or a mesh that it names is missing or damaged, or there are several links.
        MissingAssetError: a mesh needs trimesh, which is not installed.
    """
    reader, mass, friction = _read(path, places or Places())
    surfaces = reader.joined()
    if not surfaces:
        reader.fail("has no surface")
    hulls = tuple(reader.solid()) if reader.convex else ()
    return Shapes(surfaces, hulls, mass, friction, tuple(reader.files.read), tuple(reader.files.notes))


def _read(path: Path, places: Places, upright: bool = False) -> tuple[_Reader, float | None, float | None]:
    reader = _Reader(path, Files(path, places), upright)
    kind = path.suffix.lower()
    if kind == ".urdf":
        return (reader, *reader.urdf())
    if kind == ".xml":
        return (reader, *reader.mjcf())
    reader.mesh(path, np.eye(4), np.ones(3), None, visual=True, solid=True)
    return reader, None, None


@dataclass
class _Reader:
    """Collects the shapes of one file; ``upright`` turns a GLB that stands alone."""

    path: Path
    files: Files
    upright: bool = False
    surfaces: dict[tuple[RGB, bytes], list[Mesh]] = field(default_factory=dict)
    hulls: list[F64] = field(default_factory=list)
    convex: bool = False

    def fail(self, what: str, hint: str = "correct the file") -> NoReturn:
        raise ArtifactError(f"{self.path}: {what}", hint)

    def joined(self) -> tuple[tuple[RGB, Mesh], ...]:
        """The surfaces, those of one colour and picture as one."""
        return tuple((color, joined(meshes)) for (color, _), meshes in self.surfaces.items())

    def solid(self) -> list[F64]:
        """The convex pieces that have a volume; a file whose collision shapes are flat is told."""
        found = [piece for piece in self.hulls if has_volume(piece)]
        flat = len(self.hulls) - len(found)
        if flat and self.convex:
            instead = "" if found else ": the shape that is seen stands for them"
            self.files.note(f"{flat} of {len(self.hulls)} collision shapes are flat and left out{instead}")
        return found

    def mjcf(self) -> tuple[float | None, float | None]:
        from srcli.objects.mjcf import read_mjcf

        found = read_mjcf(self.path, self.files)
        for color, mesh in found.surfaces:
            self._see(color, mesh, np.eye(4))
        self.hulls += found.hulls
        self.convex = found.solid
        return found.mass, found.friction

    def urdf(self) -> tuple[float | None, float | None]:
        self.files.take(self.path)
        try:
            root = ET.fromstring(self.path.read_bytes())
        except (ET.ParseError, OSError, LookupError, ValueError) as error:
            # The last two: an encoding that Python does not know, or cannot use here.
            self.fail(f"cannot be read as URDF ({error})")
        links = root.findall("link")
        if len(links) != 1:
            self.fail(f"has {len(links)} links; an object to be grasped is one rigid body with one link")
        materials = {m.get("name", ""): _color(m) for m in root.iter("material") if m.find("color") is not None}
        link = links[0]
        has_collision = link.find("collision") is not None
        # A mesh that is only to be seen need not be convex.
        self.convex = has_collision or next(link.iter("mesh"), None) is None
        for shape in link.findall("visual"):
            self._shape(shape, materials, visual=True, solid=not has_collision)
        for shape in link.findall("collision"):
            self._shape(shape, materials, visual=link.find("visual") is None, solid=True)
        mass = link.find("inertial/mass")
        friction = next(iter(link.iter("lateral_friction")), None)
        return (
            None if mass is None else self._number(mass.get("value", ""), "mass"),
            None if friction is None else self._number(friction.get("value", ""), "friction"),
        )

    def _number(self, text: str, what: str) -> float:
        try:
            return float(text)
        except ValueError:
            self.fail(f"the {what} '{text}' is not a number")

    def _length(self, text: str, what: str) -> float:
        value = self._number(text, what)
        if not THINNEST <= value <= FARTHEST:
            self.fail(f"the {what} '{text}' is not a length above 0 and up to {FARTHEST:g}")
        return value

    def _vector(self, text: str, what: str) -> F64:
        values = np.array([self._number(word, what) for word in text.split()])
        if values.shape != (3,) or not (np.abs(values) <= FARTHEST).all():
            self.fail(f"the {what} '{text}' is not three finite numbers up to {FARTHEST:g}")
        return values

    def _shape(self, element: ET.Element, materials: Mapping[str, RGB | None], visual: bool, solid: bool) -> None:
        origin = element.find("origin")
        pose = np.eye(4)
        if origin is not None:
            pose[:3, :3] = _euler(self._vector(origin.get("rpy", "0 0 0"), "rpy of an origin"))
            pose[:3, 3] = self._vector(origin.get("xyz", "0 0 0"), "xyz of an origin")
        material = element.find("material")
        color = None
        if material is not None:
            color = _color(material) or materials.get(material.get("name", ""))
            if material.find("texture") is not None:
                self.files.note("a <texture> of a URDF is not taken: name it in the mesh's own material (map_Kd of an MTL)")
        geometry = element.find("geometry")
        inner = next(iter(geometry), None) if geometry is not None else None
        if inner is None:
            self.fail(f"a {element.tag} has no geometry")
        if inner.tag == "mesh":
            scale = self._vector(inner.get("scale", "1 1 1"), "scale of a mesh")
            file = self.files.mesh(inner.get("filename", ""), self.path.parent)
            self.mesh(file, pose, scale, color, visual, solid)
            return
        if inner.tag == "box":
            text = inner.get("size", "")
            size = self._vector(text, "size of a box")
            if not (size >= THINNEST).all():
                self.fail(f"the size of a box '{text}' is not three lengths above 0")
            made = self._made(inner, lambda: shapes.box(size.tolist()))
        elif inner.tag == "sphere":
            radius = self._length(inner.get("radius", ""), "radius of a sphere")
            made = self._made(inner, lambda: shapes.ball(radius, 14, 8))
        elif inner.tag == "cylinder":
            radius, height = (self._length(inner.get(key, ""), f"{key} of a cylinder") for key in ("radius", "length"))
            made = self._made(inner, lambda: shapes.loft([[-height / 2, 2 * radius], [height / 2, 2 * radius]], n=16))
        else:
            self.fail(f"the geometry '{inner.tag}' is unknown", "known: mesh, box, cylinder, sphere")
        if visual:
            self._see(color or GREY, made.mesh, pose)
        if solid:
            self.hulls += [_moved(points, pose) for points in made.hulls]

    def _made(self, element: ET.Element, make: Callable[[], Solid]) -> Solid:
        try:
            return make()
        except ValueError as error:
            numbers = " ".join(f'{key}="{value}"' for key, value in element.items())
            self.fail(f"the {element.tag} {numbers} has no volume ({error})")

    def mesh(self, file: Path, pose: F64, scale: F64, color: RGB | None, visual: bool, solid: bool) -> None:
        if not is_file(file):
            self.fail(f"the mesh {file.name} is missing (looked at {file})", "put the mesh beside its URDF")
        kind = file.suffix.lower()
        if kind not in MESHES:
            self.fail(f"the mesh {file.name} is a '{kind}' file", f"convert it to one of {', '.join(MESHES)}")
        self.files.take(file)
        if kind == ".obj" and (count := file.read_bytes().count(b"\nf ")) > MOST_FILE_FACES:
            self.fail(f"{file.name} has {count} faces, more than {MOST_FILE_FACES}", "simplify the mesh")
        groups = read_obj(file, self.files, self.fail) if kind == ".obj" else _other(file, self.files, self.upright)
        if visual:
            flipped = np.prod(scale) < 0
            for kd, mesh in _by_color(groups):
                scaled = Mesh(mesh.vertices * scale, mesh.faces, mesh.skin)
                # A colour of the URDF stands for a material without a picture.
                own = kd if mesh.skin is not None else color or kd
                self._see(own, turned(scaled) if flipped else scaled, pose)
        if solid:
            pieces: dict[str, list[F64]] = {}
            for group in groups:
                pieces.setdefault(group.name, []).append(group.mesh.vertices)
            for points in pieces.values():
                self.hulls.append(_moved(np.vstack(points) * scale, pose))

    def _see(self, color: RGB, mesh: Mesh, pose: F64) -> None:
        key = (color, b"" if mesh.skin is None else mesh.skin.png)
        self.surfaces.setdefault(key, []).append(Mesh(_moved(mesh.vertices, pose), mesh.faces, mesh.skin))

    def body(self, mass: float | None, friction: float | None) -> Body:
        surfaces = self.joined()
        if not surfaces:
            self.fail("has no surface")
        if sum(len(mesh.faces) for _, mesh in surfaces) > MOST_FACES:
            self.fail(f"has more than {MOST_FACES} triangles", "simplify the mesh")
        points = np.vstack([mesh.vertices for _, mesh in surfaces])
        size = float(np.ptp(points, axis=0).max())
        if not SMALLEST <= size <= LARGEST:
            self.fail(
                f"measures {size:.4g} m; objects on the table measure {SMALLEST} to {LARGEST} m",
                'files are in metres: for millimetres write <mesh scale="0.001 0.001 0.001"/>',
            )
        hulls = self.solid()
        if not hulls and not has_volume(points):
            self.fail("is flat: it has no convex piece of any volume", "give a closed surface")
        hulls = hulls or [points]
        volume = mass_properties(tuple(hull_mesh(piece) for piece in hulls), (1.0,) * len(hulls)).volume
        weight = float(np.clip(DENSITY * volume, 0.01, 1.0)) if mass is None else mass
        if not 0 < weight <= HEAVIEST:
            self.fail(f"the mass {weight:g} kg is not above 0 and up to {HEAVIEST:g} kg", "correct <mass value=.../> (kg)")
        if friction is not None and not 0 < friction <= 2:
            self.fail(f"the friction {friction:g} is not above 0 and up to 2")
        return Body(surfaces, tuple(hulls), weight, friction, tuple(self.files.read), tuple(self.files.notes))


def _other(path: Path, files: Files, upright: bool) -> list[Group]:
    """Meshes of an STL, GLB, PLY, DAE or MSH file as groups, z up; a GLB that stands alone only with ``upright``."""
    if path.suffix.lower() == ".msh":
        from srcli.objects.mjcf import read_msh

        return [Group("", GREY, read_msh(path))]
    turn = Y_UP if path.suffix.lower() == ".glb" and (upright or path != files.model) else np.eye(3)
    return [
        Group(str(number), rgb, Mesh(mesh.vertices @ turn.T, mesh.faces, mesh.skin))
        for number, part in enumerate(read_parts(path, files))
        for rgb, mesh in part
    ]


def _color(material: ET.Element) -> RGB | None:
    element = material.find("color")
    return None if element is None else rgb_of(element.get("rgba", "").split())


def _by_color(groups: Sequence[Group]) -> list[tuple[RGB, Mesh]]:
    keys = [(group.color, b"" if group.mesh.skin is None else group.mesh.skin.png) for group in groups]
    return [
        (key[0], joined([group.mesh for group, own in zip(groups, keys, strict=True) if own == key]))
        for key in dict.fromkeys(keys)
    ]


def _moved(points: F64, pose: F64) -> F64:
    moved: F64 = points @ pose[:3, :3].T + pose[:3, 3]
    return moved


def _euler(rpy: F64) -> F64:
    """(3, 3) rotation of fixed-axis roll, pitch, yaw in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(rpy), np.sin(rpy)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, dtype=np.float64)
