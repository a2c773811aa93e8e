"""Mesh files as objects: read, brought to metres and z up, checked, simplified, cut into convex pieces, weighed.

OBJ files, and URDF files that name OBJ files, need nothing beyond numpy; STL, GLB, PLY and DAE files need trimesh, MJCF files
MuJoCo, the decomposition of hollow shapes coacd (extra ``meshes``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from srcli.errors import ArtifactError, ConfigError, MissingAssetError
from srcli.objects.assets import digest_of
from srcli.objects.bodies import DENSITY, HEAVIEST, MESHES, read_shapes
from srcli.objects.decompose import SECONDS, decompose, empty_share
from srcli.objects.formats import MOST_FACES, Y_UP, optional
from srcli.objects.mesh import Mesh, clean, face_normals, hull_mesh, joined, mass_properties, turned
from srcli.objects.palette import RGB
from srcli.objects.resting import resting
from srcli.objects.sources import MOST_BYTES, Places
from srcli.types import F64

FORMATS = (*MESHES, ".urdf", ".xml")
SMALLEST, LARGEST = 0.005, 0.4
"""Longest side that an object may have, metres; outside of it the unit is wrong."""
OPENING = 0.085
"""Widest opening of the gripper, metres."""
SHOWN_FACES = 12_000
"""What is rendered of finer meshes: their shading costs per vertex in every process."""
CONVEX = 0.95
"""A closed mesh that fills this share of its convex hull is one piece."""
WIDE = 0.3
"""Share of its ways to lie in which a body may be wider than the gripper opens before that is said."""
FILLED = 0.2
"""Collision shapes of a file of which this share is empty space of what is seen are not taken as they are."""

Up = Literal["auto", "y", "z"]
Pieces = Literal["auto", "coacd", "hull", "file"]


@dataclass(frozen=True, slots=True)
class Raw:
    """A file as written: (colour, mesh) in the file's unit, convex pieces and mass where the file has them."""

    surfaces: tuple[tuple[RGB, Mesh], ...]
    hulls: tuple[F64, ...]
    mass: float | None
    friction: float | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A mesh as it goes to the library.

    Attributes:
        surfaces: (colour, mesh), metres, z up, the largest first.
        hulls: convex vertex sets (P, 3), metres.
        extent: (3,) metres.
        volume: of the closed mesh, or of the pieces where it is not closed, cubic metres.
        hull_share: volume over that of the convex hull.
        closed: every edge has two triangles.
        faces: triangles of the file.
        mass: kg.
        friction: as the file says, or None.
        pieces: how the pieces were made.
        sha256: of the file and the meshes that it names.
        up: the file's axis that points up.
        notes: what the user should know.
    """

    surfaces: tuple[tuple[RGB, Mesh], ...]
    hulls: tuple[F64, ...]
    extent: F64
    volume: float
    hull_share: float
    closed: bool
    faces: int
    mass: float
    friction: float | None
    pieces: str
    sha256: str
    up: Literal["y", "z"]
    notes: tuple[str, ...]


def prepare(
    path: Path,
    scale: float | None = None,
    up: Up = "auto",
    density: float | None = None,
    mass: float | None = None,
    pieces: Pieces = "auto",
    places: Places | None = None,
    seconds: float = SECONDS,
    progress: Callable[[str], None] | None = None,
) -> Prepared:
    """Read a mesh file and make it an object's body.

    Args:
        path: OBJ, STL, GLB, PLY, DAE, MSH, URDF or MJCF file.
        scale: metres per unit of the file; None: 1.
        up: the file's axis that points up; ``auto``: y for GLB, z for the others.
        density: kg per cubic metre; None: 400, or the URDF's mass.
        mass: kg, beats the density and the URDF.
        pieces: ``hull``: one convex hull; ``coacd``: decompose; ``file``: the file's own; ``auto``: the file's own where they do
            not fill what is seen to be empty, one hull for convex shapes, else coacd where it is installed.
        places: folders that the user named, for what the file names.
        seconds: time limit of the decomposition; a coarser one then has half of it.
        progress: gets a line before what takes long.

    Raises:
        ArtifactError: the file is missing, damaged, huge, flat, or of a size that no object on the table has.
        MissingAssetError: trimesh or coacd is needed and not installed.
        ConfigError: a number is out of range.
    """
    for name, value in (("--scale", scale), ("--density", density), ("--mass", mass), ("--seconds", seconds)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ConfigError(f"{name} {value:g}: must be a number above 0")
    notes: list[str] = []
    places = places or Places()
    places.check()
    raw = read_mesh_file(path, notes, places)
    faces = sum(len(mesh.faces) for _, mesh in raw.surfaces)
    if faces > MOST_FACES:
        raise ArtifactError(f"{path}: has {faces} triangles, more than {MOST_FACES}", "simplify the mesh")
    axis: Literal["y", "z"] = up if up != "auto" else ("y" if path.suffix.lower() == ".glb" else "z")
    linear = (Y_UP if axis == "y" else np.eye(3)) * (scale or 1.0)
    surfaces = [(rgb, Mesh(mesh.vertices @ linear.T, mesh.faces, mesh.skin)) for rgb, mesh in raw.surfaces]
    hulls = [points @ linear.T for points in raw.hulls]
    points = np.vstack([mesh.vertices for _, mesh in surfaces])
    extent = np.ptp(points, axis=0)
    check_size(path, extent, scale or 1.0)
    whole = clean(points, joined([Mesh(mesh.vertices, mesh.faces) for _, mesh in surfaces]).faces)
    closed, volume = _volume(whole)
    if closed and volume < 0:
        surfaces = [(rgb, turned(mesh)) for rgb, mesh in surfaces]
        whole, volume = turned(whole), -volume
        notes.append("the surface was inside out and has been turned")
    try:
        hull = hull_mesh(whole.vertices)
        hull_volume = mass_properties((hull,), (1.0,)).volume
    except ValueError:
        hull, hull_volume = None, 0.0
    # Less than a sheet of 0.1 mm over its widest square has no thickness that fingers could close on.
    if hull is None or hull_volume < 1e-4 * float(extent.max()) ** 2 or (closed and volume <= 1e-3 * hull_volume):
        raise ArtifactError(f"{path}: has no volume: it is flat or its surface is folded onto itself", "give a solid shape")
    if not closed:
        notes.append("the surface is not closed: the volume is that of the convex pieces")
    shown = _simplified(surfaces, float(extent.max())) if faces > SHOWN_FACES else surfaces
    if faces > SHOWN_FACES:
        notes.append(f"simplified for display from {faces} to {sum(len(m.faces) for _, m in shown)} triangles")
    stated = mass if mass is not None else raw.mass if density is None else None
    if stated is not None or closed:
        # What no pieces can change is judged before they are made.
        check_mass(path, stated if stated is not None else (density or DENSITY) * volume)
    cutter = _Cutter(notes, seconds, progress)
    made, how = _pieces(whole, hull, volume / hull_volume if closed else None, hulls, pieces, cutter)
    solid = mass_properties(tuple(hull_mesh(piece) for piece in made), (1.0,) * len(made)).volume
    volume = volume if closed else solid
    weight = stated if stated is not None else (density or DENSITY) * volume
    check_mass(path, weight)
    notes += too_wide(whole.vertices, made)
    return Prepared(
        surfaces=tuple(sorted(shown, key=lambda pair: -float(np.linalg.norm(face_normals(*_arrays(pair[1])), axis=1).sum()))),
        hulls=tuple(made),
        extent=extent,
        volume=volume,
        hull_share=min(volume / hull_volume, 1.0),
        closed=closed,
        faces=faces,
        mass=float(weight),
        friction=raw.friction,
        pieces=how,
        sha256=raw.sha256,
        up=axis,
        notes=tuple(notes),
    )


def too_wide(points: F64, hulls: Sequence[F64]) -> list[str]:
    """What to say of a body whose parts the gripper cannot close around; no estimate of a grasp's quality knows it as surely."""
    bodies = tuple(hull_mesh(piece) for piece in hulls)
    centre = mass_properties(bodies, (1.0,) * len(bodies)).center
    wide = [rest for rest in resting(points, centre, [body.vertices for body in bodies]) if rest.width > OPENING]
    share = sum(rest.share for rest in wide)
    if share < WIDE:
        return []
    least, opens = 1000 * min(rest.width for rest in wide), 1000 * OPENING
    return [
        f"in {100 * share:.0f}% of its ways to lie all of it is {least:.0f} mm wide or more, the gripper opens {opens:.0f} mm"
    ]


def check_mass(path: Path, mass: float) -> None:
    """Refuse what is heavier than 2 kg, or weighs nothing.

    Raises:
        ArtifactError: see above.
    """
    if not 0 < mass <= HEAVIEST:
        raise ArtifactError(
            f"{path}: mass {mass:.4g} kg is not allowed: above 0 and up to {HEAVIEST:g} kg", "give --mass, or another --density"
        )


def check_size(path: Path, extent: F64, scale: float) -> None:
    """Refuse what is smaller than 5 mm or larger than 0.4 m, with the unit that the file seems to have.

    Raises:
        ArtifactError: see above.
    """
    size = float(extent.max())
    if SMALLEST <= size <= LARGEST:
        return
    own = size / scale
    units = (("millimetres", 0.001), ("centimetres", 0.01), ("metres", 1.0), ("inches", 0.0254))
    fitting = [(name, unit) for name, unit in units if 0.02 <= own * unit <= LARGEST and unit != scale]
    guess = f"if the file is in {fitting[0][0]}, add --scale {fitting[0][1]:g}" if fitting else "give --scale (metres per unit)"
    others = "".join(f" (in {name}: --scale {unit:g})" for name, unit in fitting[1:])
    raise ArtifactError(
        f"{path}: measures {size:.4g} m at --scale {scale:g}; objects on the table measure {SMALLEST:g} to {LARGEST:g} m",
        guess + others,
    )


def read_mesh_file(path: Path, notes: list[str], places: Places | None = None) -> Raw:
    """The surfaces of a file by colour.

    Args:
        notes: gets what the user should know.
        places: folders that the user named.

    Raises:
        ArtifactError: missing, huge, of an unknown format, damaged, or it names what lies outside of its folder.
        MissingAssetError: trimesh or MuJoCo is needed and not installed.
    """
    kind = path.suffix.lower()
    try:
        if path.is_dir():
            raise ArtifactError(f"{path}: is a folder", "give a mesh file; 'srcli objects import FOLDER' adds all of a folder")
        if not path.exists():
            raise ArtifactError(f"{path}: no such file", "give the path of a mesh file")
        if not path.is_file():
            raise ArtifactError(f"{path}: is no regular file", "give the path of a mesh file")
        if kind not in FORMATS:
            raise ArtifactError(f"{path}: '{kind}' files are not read", f"known: {', '.join(FORMATS)}")
        check_weight(path)
        shapes = read_shapes(path, places)
        digest = digest_of(shapes.files)
    except OSError as error:
        # Also a file that this one names, by a name that no file can have.
        reason = f"{(error.strerror or type(error).__name__).lower()}: {error.filename or path}"
        raise ArtifactError(f"{path}: cannot be read ({reason})", "check the files and their permissions") from error
    except MemoryError as error:
        raise ArtifactError(f"{path}: does not fit into memory", "simplify the mesh") from error
    notes.extend(shapes.notes)
    return Raw(shapes.surfaces, shapes.hulls, shapes.mass, shapes.friction, digest)


def check_weight(path: Path) -> None:
    """Refuse a huge file before reading it.

    Raises:
        ArtifactError: more than 100 MB, or an OBJ with more than 200,000 faces.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ArtifactError(f"{path}: has {size / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f} MB", "simplify the mesh")
    if path.suffix.lower() == ".obj" and (count := path.read_bytes().count(b"\nf ")) > MOST_FACES:
        raise ArtifactError(f"{path}: has {count} faces, more than {MOST_FACES}", "simplify the mesh")


def _arrays(mesh: Mesh) -> tuple[F64, Any]:
    return mesh.vertices, mesh.faces


def _volume(mesh: Mesh) -> tuple[bool, float]:
    """Whether each edge is used once in each direction, and the signed volume."""
    if not len(mesh.faces):
        return False, 0.0
    edges = np.vstack([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).astype(np.int64)
    count = len(mesh.vertices)
    there, back = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    closed = len(np.unique(there)) == len(there) and bool(np.array_equal(np.sort(there), np.sort(back)))
    centred = mesh.vertices - mesh.vertices.mean(axis=0)
    return closed, float(np.linalg.det(centred[mesh.faces]).sum()) / 6.0


def _simplified(surfaces: Sequence[tuple[RGB, Mesh]], size: float) -> list[tuple[RGB, Mesh]]:
    """Vertices of one cell of a grid become their mean, on the finest of some grids that leaves few enough faces."""
    made: list[tuple[RGB, Mesh]] = []
    for cells in (160, 120, 90, 64, 45, 32):
        made = []
        for rgb, mesh in surfaces:
            keys = np.floor(mesh.vertices / (size / cells)).astype(np.int64)
            _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
            inverse = inverse.reshape(-1)
            means = np.stack([np.bincount(inverse, weights=mesh.vertices[:, k]) / counts for k in range(3)], axis=1)
            coarse = clean(means, inverse[mesh.faces].astype(np.int32), mesh.skin)
            if len(coarse.faces):
                made.append((rgb, coarse))
        if sum(len(mesh.faces) for _, mesh in made) <= SHOWN_FACES:
            break
    return made


@dataclass(frozen=True, slots=True)
class _Cutter:
    notes: list[str]
    seconds: float
    progress: Callable[[str], None] | None

    def __call__(self, whole: Mesh, hull: Mesh) -> tuple[list[F64], str]:
        made, how = decompose(whole, self.notes, self.seconds, self.progress)
        if made:
            return made, how
        self.notes.append("one convex hull stands for the shape; give --seconds, simplify the mesh, or bring collision shapes")
        return [hull.vertices], "one convex hull (coacd failed)"


def _pieces(
    whole: Mesh, hull: Mesh, share: float | None, given: Sequence[F64], wanted: Pieces, cut: _Cutter
) -> tuple[list[F64], str]:
    """Convex pieces and how they were made."""
    notes, own = cut.notes, f"from the file ({len(given)})"
    if wanted == "file" and not given:
        raise ConfigError("--pieces file: the file has no collision shapes", "choose --pieces auto, coacd or hull")
    if wanted == "file":
        return list(given), own
    if wanted == "auto" and given:
        empty = empty_share(whole, given)
        if empty < FILLED:
            return list(given), own
        filled = f"the file's {len(given)} collision shapes fill {100 * empty:.0f}% that is seen to be empty"
        if optional("coacd") is None:
            notes.append(f"{filled}; coacd, which is not installed, could cut better ones: pip install 'srcli[meshes]'")
            return list(given), own
        made, how = decompose(whole, notes, cut.seconds, cut.progress)
        if made and empty_share(whole, made) < empty:
            notes.append(f"{filled}: cut anew from what is seen (--pieces file keeps them)")
            return made, how
        notes.append(f"{filled}, and cutting anew did no better: they are kept")
        return list(given), own
    if wanted == "hull" or (wanted == "auto" and share is not None and share >= CONVEX):
        return [hull.vertices], "one convex hull"
    if optional("coacd") is None:
        if wanted == "coacd":
            raise MissingAssetError("--pieces coacd: coacd is not installed", "pip install 'srcli[meshes]', or --pieces hull")
        filled = "" if share is None else f", {100 * (1 - share):.0f}% more than the shape fills"
        notes.append(f"coacd is not installed: one convex hull stands for the shape{filled}; pip install 'srcli[meshes]'")
        return [hull.vertices], "one convex hull (coacd is not installed)"
    return cut(whole, hull)
