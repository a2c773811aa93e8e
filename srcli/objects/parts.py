"""How a catalogue entry describes its parts: typed models over the builders of :mod:`srcli.objects.shapes`.

Data lengths are millimetres and angles degrees; :func:`assemble` returns metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from srcli.objects import shapes
from srcli.objects.mesh import Mesh, turned
from srcli.objects.shapes import Solid
from srcli.types import F64

Vec2 = tuple[float, float]
Vec3 = tuple[float, float, float]
Section = Annotated[tuple[float, ...], Field(min_length=2, max_length=5)]
MM = 1e-3


class Data(BaseModel):
    """Base of what is read from the catalogue's files: unknown keys are refused, lists become tuples."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PartBase(Data):
    """What every part has.

    Attributes:
        color: a name of the palette.
        at: one position or several (copies), mm.
        rot: rotation about x, then y, then z (fixed axes), degrees.
        stretch: factors along the part's own axes, before the rotation.
        mirror: also build the images under these coordinate planes' reflections: "x" negates x, "xy" gives four copies.
        solid: False for print and trim that adds nothing to the collision shape.
        density: relative to the other parts (a steel head on a wooden handle).
    """

    color: str
    at: tuple[Vec3, ...] = ((0.0, 0.0, 0.0),)
    rot: Vec3 = (0.0, 0.0, 0.0)
    stretch: Vec3 = (1.0, 1.0, 1.0)
    mirror: Literal["", "x", "y", "z", "xy", "xz", "yz"] = ""
    solid: bool = True
    density: float = Field(1.0, gt=0.0)

    @field_validator("at", mode="before")
    @classmethod
    def _one_position(cls, value: object) -> object:
        if isinstance(value, (list, tuple)) and value and all(isinstance(v, (int, float)) for v in value):
            return [value]
        return value

    def make(self) -> Solid:
        """The part in its own frame, mm."""
        raise NotImplementedError

    @property
    def inner_color(self) -> str:
        """Colour of the inside of a vessel; the part's own by default."""
        return self.color


class Loft(PartBase):
    """Stacked sections [z, width_x, width_y, offset_x, offset_y]; with ``wall`` an open vessel. See :func:`shapes.loft`."""

    shape: Literal["loft"]
    sections: Annotated[tuple[Section, ...], Field(min_length=2)]
    n: int = Field(20, ge=3, le=48)
    corner: float = Field(2.0, ge=1.0, le=20.0)
    smooth: int = Field(1, ge=1, le=6)
    wall: float = Field(0.0, ge=0.0)
    floor: float = Field(0.0, ge=0.0)
    arc: Vec2 | None = None
    inner: str = ""

    def make(self) -> Solid:
        return shapes.loft(
            self.sections,
            n=self.n,
            exponent=self.corner,
            steps=self.smooth,
            wall=self.wall,
            floor=self.floor,
            arc=self.arc,
        )

    @property
    def inner_color(self) -> str:
        return self.inner or self.color


class Cylinder(PartBase):
    """A cylinder or cone around z, centred: bottom radius ``r``, top radius ``top`` (``r`` when omitted), height ``h``."""

    shape: Literal["cylinder"]
    r: float = Field(gt=0.0)
    h: float = Field(gt=0.0)
    top: float | None = Field(None, ge=0.0)
    n: int = Field(16, ge=3, le=48)

    def make(self) -> Solid:
        top = self.r if self.top is None else self.top
        return shapes.loft([[-self.h / 2, 2 * self.r], [self.h / 2, 2 * top]], n=self.n)


class Ball(PartBase):
    """A sphere of radius ``r``; ``stretch`` makes it an ellipsoid."""

    shape: Literal["ball"]
    r: float = Field(gt=0.0)
    n: int = Field(14, ge=4, le=32)
    rows: int = Field(8, ge=2, le=16)

    def make(self) -> Solid:
        return shapes.ball(self.r, self.n, self.rows)


class Box(PartBase):
    """A box of full side lengths ``size`` with edges cut by ``chamfer``."""

    shape: Literal["box"]
    size: Vec3
    chamfer: float = Field(0.0, ge=0.0)

    def make(self) -> Solid:
        return shapes.box(self.size, self.chamfer)


class Tube(PartBase):
    """A rod along ``path``; ``r`` is one radius or one per point. See :func:`shapes.tube`."""

    shape: Literal["tube"]
    path: Annotated[tuple[Vec3, ...], Field(min_length=2)]
    r: float | tuple[float, ...]
    n: int = Field(8, ge=3, le=24)
    smooth: int = Field(1, ge=1, le=6)
    closed: bool = False
    flatten: float = Field(1.0, gt=0.0)

    def make(self) -> Solid:
        radii = np.full(len(self.path), self.r) if isinstance(self.r, float) else np.asarray(self.r)
        if len(radii) != len(self.path):
            raise ValueError("r must be one number or one per point of the path")
        path = np.asarray(self.path, dtype=np.float64)
        return shapes.tube(path, radii.astype(np.float64), n=self.n, steps=self.smooth, closed=self.closed, flatten=self.flatten)


class Ring(PartBase):
    """A hoop about z; ``thick`` is [diameter] or [radial, axial]; ``arc`` in degrees for a part of it."""

    shape: Literal["ring"]
    r: float = Field(gt=0.0)
    thick: Annotated[tuple[float, ...], Field(min_length=1, max_length=2)]
    arc: Vec2 = (0.0, 360.0)
    n: int = Field(18, ge=3, le=48)

    def make(self) -> Solid:
        return shapes.ring(self.r, self.thick, arc=self.arc, n=self.n)


class Prism(PartBase):
    """A polygon extruded over ``h``, centred; ``taper`` scales its top."""

    shape: Literal["prism"]
    outline: Annotated[tuple[Vec2, ...], Field(min_length=3)]
    h: float = Field(gt=0.0)
    taper: float = Field(1.0, gt=0.0)

    def make(self) -> Solid:
        return shapes.prism(np.asarray(self.outline, dtype=np.float64), self.h, self.taper)


class Hull(PartBase):
    """The convex hull of ``points``."""

    shape: Literal["hull"]
    points: Annotated[tuple[Vec3, ...], Field(min_length=4)]

    def make(self) -> Solid:
        return shapes.convex(np.asarray(self.points, dtype=np.float64))


Part = Annotated[Loft | Cylinder | Ball | Box | Tube | Ring | Prism | Hull, Field(discriminator="shape")]


@dataclass(frozen=True, slots=True)
class Piece:
    """One placed copy of a part, metres.

    Attributes:
        surfaces: (palette name, mesh) of what is seen.
        hulls: convex vertex sets; empty for print.
        density: relative density.
    """

    surfaces: tuple[tuple[str, Mesh], ...]
    hulls: tuple[F64, ...]
    density: float


def rotation(degrees: Vec3) -> F64:
    """(3, 3) rotation about x, then y, then z (fixed axes)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, dtype=np.float64)


def assemble(part: PartBase) -> tuple[Piece, ...]:
    """All copies of a part, placed in the entry's frame, metres.

    Raises:
        ValueError: the part's numbers do not describe a shape.
    """
    solid = part.make()
    linear = rotation(part.rot) * np.asarray(part.stretch)
    surfaces = [(part.color, solid.mesh)] + ([(part.inner_color, solid.inner)] if solid.inner is not None else [])
    hulls = solid.hulls if part.solid else ()
    choices = [(1.0, -1.0) if axis in part.mirror else (1.0,) for axis in "xyz"]
    signs = [np.array(sign) for sign in product(*choices)]
    pieces = []
    for at in part.at:
        for sign in signs:
            placed = [(color, _place(mesh, linear, np.asarray(at), sign)) for color, mesh in surfaces]
            moved = tuple((points @ linear.T + at) * sign * MM for points in hulls)
            pieces.append(Piece(tuple(placed), moved, part.density))
    return tuple(pieces)


def _place(mesh: Mesh, linear: F64, at: F64, sign: F64) -> Mesh:
    vertices = np.asarray((mesh.vertices @ linear.T + at) * sign * MM, dtype=np.float64)
    mirrored = np.linalg.det(linear) * np.prod(sign) < 0
    placed = Mesh(vertices, mesh.faces, mesh.skin)
    return turned(placed) if mirrored else placed
