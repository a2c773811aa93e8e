"""What of an MJCF model is the object: a file may hold the whole scene around it, and robots."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from srcli.errors import ArtifactError
from srcli.objects.bodies import LARGEST
from srcli.objects.sources import plain, short
from srcli.types import F64

_TOLD = 6
"""Things of a model that a line names."""
_FLOORS = ("plane", "hfield")


@dataclass
class Left:
    """What was left out of a model."""

    bodies: list[str] = field(default_factory=list)
    geoms: int = 0

    def __bool__(self) -> bool:
        return bool(self.bodies or self.geoms)

    def __str__(self) -> str:
        told = [f"the body {short(name)}" if name else "a body without a name" for name in self.bodies]
        if len(told) > _TOLD:
            told[_TOLD - 1 :] = [f"{len(told) - _TOLD + 1} other bodies"]
        if self.geoms:
            told.append(f"{self.geoms} geom{'s' if self.geoms > 1 else ''} of the world")
        return ", ".join(told)


def leave_scenery(root: ET.Element, left: Left) -> None:
    """Take out what stands still around an object: floors, geoms of the world beside bodies, bodies beside a free one.

    A body with a free joint is what moves by itself: where there is one of its kind, everything else is scenery or a robot.
    """
    for parent in root.iter():
        for geom in [child for child in parent if child.tag == "geom" and child.get("type") in _FLOORS]:
            if parent.tag != "default":
                parent.remove(geom)
                left.geoms += 1
    parts = _parts(root)
    bodies = [part for _, part in parts if part.tag == "body" and part.find(".//geom") is not None]
    free = [body for body in bodies if any(_is_free(child) for child in body)]
    kept = free if len(free) == 1 else [body for body in bodies if body.get("mocap") != "true"] or bodies
    if kept:
        _leave(parts, [part for _, part in parts if part not in kept], left)
    for number, body in enumerate(kept, start=1):
        body.set("name", body.get("name") or f"body {number} of the world")
    for compiler in root.findall("compiler"):
        # It would make still bodies part of the world.
        compiler.attrib.pop("fusestatic", None)


def _is_free(element: ET.Element) -> bool:
    return element.tag == "freejoint" or (element.tag == "joint" and element.get("type") == "free")


def _parts(root: ET.Element) -> list[tuple[ET.Element, ET.Element]]:
    """(parent, element) of the bodies and geoms that lie in the world itself, frames looked through."""
    waiting, found = root.findall("worldbody"), []
    for parent in waiting:
        waiting += parent.findall("frame")
        found += [(parent, child) for child in parent if child.tag != "frame"]
    return found


def _leave(parts: Sequence[tuple[ET.Element, ET.Element]], unwanted: Sequence[ET.Element], left: Left) -> None:
    for parent, part in parts:
        if part in unwanted:
            parent.remove(part)
            if part.tag == "geom":
                left.geoms += 1
            elif part.find(".//geom") is not None:
                left.bodies.append(part.get("name", ""))


def leave_unused(root: ET.Element) -> None:
    """Take out meshes, materials and textures that nothing needs any more: their files may be missing."""
    geoms = list(root.iter("geom"))
    for asset in root.findall("asset"):
        for kind in ("mesh", "material"):
            used = {geom.get(kind) for geom in geoms}
            for child in asset.findall(kind):
                if (child.get("name") or PurePosixPath(plain(child.get("file", ""))).stem) not in used:
                    asset.remove(child)
    pictures = {material.get("texture") for material in root.iter("material")}
    for asset in root.findall("asset"):
        for child in asset.findall("texture"):
            if (child.get("name") or PurePosixPath(plain(child.get("file", ""))).stem) not in pictures:
                asset.remove(child)


def leave_large(root: ET.Element, points: Mapping[str, F64], left: Left) -> bool:
    """Take out bodies without joints that are too large for an object where others are not: tables, walls, shelves.

    Args:
        points: (P, 3) metres, of each body that lies in the world itself, by its name.

    Returns:
        whether there were such.

    Raises:
        ArtifactError: several bodies remain, each small enough, that lie too far apart for one object; without the file's name.
    """
    parts = _parts(root)
    bodies = {part: points[name] for _, part in parts if part.tag == "body" and (name := part.get("name", "")) in points}
    small = [body for body, own in bodies.items() if _longest(own) <= LARGEST]
    large = [body for body in bodies if body not in small and body.find(".//joint") is None]
    if len(small) > 1 and _longest(np.vstack([bodies[body] for body in small])) > LARGEST:
        told = ", ".join(short(body.get("name", "")) for body in small[:_TOLD])
        what = f"holds {len(small)} bodies apart from each other ({told}), and does not say which is the object"
        raise ArtifactError(what, "give the object's body a <freejoint/>, or take it out of the model")
    if small:
        _leave(parts, large, left)
    return bool(small and large)


def _longest(points: F64) -> float:
    return float(np.ptp(points, axis=0).max())
