"""From a catalogue entry to one rigid body: coloured surfaces, convex pieces, mass and inertia."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from srcli.errors import ArtifactError
from srcli.objects.catalogue import ObjectEntry
from srcli.objects.mesh import Mesh, Skin, area, clean, hull_mesh, joined, mass_properties, split_creases, support_points
from srcli.objects.palette import palette
from srcli.objects.parts import Piece, assemble
from srcli.types import F64, I32

RGBA = tuple[float, float, float, float]
Jitter = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Variation:
    """How an instance differs from the catalogue's own.

    Attributes:
        scale: (3,) factors on the entry's axes.
        recolor: (palette name, palette name) pairs: the first becomes the second.
        jitter: (palette name, (hue turns, saturation, value)) shifts, by the original name.
    """

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    recolor: tuple[tuple[str, str], ...] = ()
    jitter: tuple[tuple[str, Jitter], ...] = ()


@dataclass(frozen=True, slots=True)
class Visual:
    """A surface of one colour: vertices (V, 3) metres in the body frame, split at creases; faces (F, 3); sRGB and alpha.

    ``skin``: the picture on it; ``rgba`` then multiplies the picture.
    """

    vertices: F64
    faces: I32
    rgba: RGBA
    skin: Skin | None = None


@dataclass(frozen=True, slots=True)
class ObjectModel:
    """One rigid body. The frame's origin is the centre of mass, its axes are the entry's.

    Attributes:
        name: catalogue name.
        visuals: one per colour.
        hulls: convex vertex sets (P, 3), metres; their union is the collision shape.
        mass: kg.
        inertia: (3, 3) about the origin, kg m^2.
        extent: (3,) size of the axis-aligned box, metres.
        low: (3,) lowest corner of that box; ``-low[2]`` is the height of the origin above the ground when it stands upright.
        friction: lateral friction, or None for the simulator's default.
    """

    name: str
    visuals: tuple[Visual, ...]
    hulls: tuple[F64, ...]
    mass: float
    inertia: F64
    extent: F64
    low: F64
    friction: float | None = None


def shade(color: str, variation: Variation) -> RGBA:
    """The rendered colour of a part that the entry paints ``color``: recolouring first, then the HSV shift."""
    rgb = palette()[dict(variation.recolor).get(color, color)].rgb
    shift = dict(variation.jitter).get(color)
    if shift is not None:
        hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
        saturation, value = (min(max(v, 0.0), 1.0) for v in (saturation * (1 + shift[1]), value * (1 + shift[2])))
        rgb = colorsys.hsv_to_rgb((hue + shift[0]) % 1.0, saturation, value)
    return (float(rgb[0]), float(rgb[1]), float(rgb[2]), 1.0)


def _visual(color: str, mesh: Mesh, vertices: F64, variation: Variation) -> Visual:
    """A surface as an instance shows it: one that is recoloured loses its picture, a shifted colour tints it."""
    rgba = shade(color, variation)
    if mesh.skin is None or color in dict(variation.recolor):
        return Visual(vertices, mesh.faces, rgba)
    own = shade(color, Variation())
    red, green, blue = (min(now / before, 1.0) if before > 0 else 1.0 for now, before in zip(rgba[:3], own[:3], strict=True))
    return Visual(vertices, mesh.faces, (red, green, blue, 1.0), mesh.skin)


def build(entry: ObjectEntry, variation: Variation | None = None) -> ObjectModel:
    """The rigid body of an entry; without a variation, the catalogue's own instance.

    Mass follows the volume when the variation scales.

    Raises:
        ArtifactError: a part's numbers do not describe a shape.
    """
    varied = variation or Variation()
    scale = np.asarray(varied.scale, dtype=np.float64)
    shape = _geometry(entry)
    hulls = tuple(Mesh(mesh.vertices * scale, mesh.faces) for mesh in shape.hulls)
    properties = mass_properties(hulls, shape.densities)
    mass = entry.mass * float(np.prod(scale))
    visuals = tuple(_visual(color, mesh, mesh.vertices * scale - properties.center, varied) for color, mesh in shape.surfaces)
    points = np.vstack([v.vertices for v in visuals])
    low, high = points.min(axis=0), points.max(axis=0)
    return ObjectModel(
        name=entry.name,
        visuals=visuals,
        hulls=tuple(mesh.vertices - properties.center for mesh in hulls),
        mass=mass,
        inertia=properties.inertia * mass,
        extent=high - low,
        low=low,
        friction=entry.friction,
    )


@dataclass(frozen=True, slots=True)
class _Geometry:
    """What all instances of an entry share: surfaces by palette name (creases split), closed convex pieces, their densities."""

    surfaces: tuple[tuple[str, Mesh], ...]
    hulls: tuple[Mesh, ...]
    densities: tuple[float, ...]


@lru_cache(maxsize=512)
def _geometry(entry: ObjectEntry) -> _Geometry:
    pieces = _pieces(entry)
    hulls = [(points, piece.density) for piece in pieces for points in piece.hulls]
    if not hulls:
        raise ArtifactError(f"object '{entry.name}' has no solid part", "leave out 'solid: false' on at least one part")
    try:
        meshes = tuple(hull_mesh(support_points(points)) for points, _ in hulls)
    except ValueError as error:
        raise ArtifactError(f"object '{entry.name}': {error}", "a part is flat or of zero size") from error
    surfaces = []
    for color in entry.palette_colors:
        same = [mesh for piece in pieces for name, mesh in piece.surfaces if name == color]
        if same:
            surfaces.append((color, _joined(same)))
    return _Geometry(tuple(surfaces), meshes, tuple(density for _, density in hulls))


def color_shares(entry: ObjectEntry, variation: Variation | None = None) -> dict[str, float]:
    """Share of an instance's surface that each colour word covers, largest first; without a variation, of the catalogue's own."""
    swapped = dict(variation.recolor) if variation else {}
    shares: dict[str, float] = {}
    for color, painted in _painted(entry):
        word = palette()[swapped.get(color, color)].word
        shares[word] = shares.get(word, 0.0) + painted
    total = sum(shares.values())
    return dict(sorted(((word, share / total) for word, share in shares.items()), key=lambda pair: -pair[1]))


@lru_cache(maxsize=512)
def _painted(entry: ObjectEntry) -> tuple[tuple[str, float], ...]:
    """Palette name and area of every coloured surface."""
    return tuple((color, area(mesh)) for piece in _pieces(entry) for color, mesh in piece.surfaces)


def _pieces(entry: ObjectEntry) -> list[Piece]:
    pieces: list[Piece] = []
    for number, part in enumerate(entry.parts):
        try:
            pieces.extend(assemble(part))
        except ValueError as error:
            raise ArtifactError(f"object '{entry.name}': part {number} ({part.color}): {error}", "see docs/objects.md") from error
    return pieces


def _joined(meshes: list[Mesh]) -> Mesh:
    """Meshes of one colour as one, creases split."""
    return joined([split_creases(clean(mesh.vertices, mesh.faces, mesh.skin)) for mesh in meshes])
