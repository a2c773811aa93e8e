"""The user's own objects: files that :mod:`srcli.objects.bodies` reads become catalogue entries of this process."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
from pydantic import Field

from srcli.errors import ArtifactError
from srcli.objects.bodies import load_body
from srcli.objects.catalogue import ObjectEntry, catalogue
from srcli.objects.formats import BY_TRIMESH
from srcli.objects.mesh import Mesh
from srcli.objects.palette import RGB, Color, palette
from srcli.objects.parts import MM, PartBase
from srcli.objects.shapes import Solid
from srcli.objects.sources import is_file

KINDS = (".urdf", ".obj", ".xml", ".msh", *BY_TRIMESH)
"""Files that may be an object, in the order in which they are looked for."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the user.

    Attributes:
        name: what it is called in episodes.
        path: its URDF or OBJ file.
        namesake: the catalogue object whose words describe it, or empty: words from the file's name.
        digest: SHA-256 of the file, the meshes and the textures that it names.
        folder: what it names may lie anywhere below it.
        notes: what the user should know.
    """

    name: str
    path: str
    namesake: str
    digest: str
    folder: str = ""
    notes: tuple[str, ...] = ()


class MeshPart(PartBase):
    """The part of a user's mesh that has one colour; the first one carries the collision pieces."""

    shape: Literal["mesh"] = "mesh"
    path: str
    number: int
    folder: str = ""

    def make(self) -> Solid:
        """Vertices in millimetres, as all parts."""
        body = load_body(self.path, self.folder)
        mesh = body.surfaces[self.number][1]
        hulls = body.hulls if self.number == 0 else ()
        return Solid(Mesh(mesh.vertices / MM, mesh.faces, mesh.skin), tuple(points / MM for points in hulls))


class AssetEntry(ObjectEntry):
    """A user's object. It belongs to no split of the catalogue, so that nothing generated ever draws it."""

    split: Literal["user"] = "user"  # type: ignore[assignment]
    parts: Annotated[tuple[MeshPart, ...], Field(min_length=1)]  # type: ignore[assignment]
    namesake: str = ""


def find_asset(folder: Path, reference: str, namesake: str | None = None) -> Asset | None:
    """The user's file for a reference of a case file, or None.

    Looked for below ``folder`` under the reference's path, without its first parts, and with the endings of :data:`KINDS`.

    Args:
        namesake: catalogue object whose words apply.

    Raises:
        ArtifactError: the file is there but cannot be used.
        MissingAssetError: a mesh that it names needs trimesh, which is not installed.
    """
    parts = Path(reference.replace("\\", "/")).parts
    for start in range(len(parts)):
        kept = [part for part in parts[start:] if part not in ("/", "..")]
        if not kept:
            continue
        wanted = folder.joinpath(*kept)
        for path in dict.fromkeys((wanted, *(wanted.with_suffix(kind) for kind in KINDS))):
            if is_file(path) and path.suffix.lower() in KINDS:
                body = load_body(str(path), str(folder))
                digest = digest_of(body.files)
                # Names of files lose what no identifier may hold; the content tells two apart that then read alike.
                word = re.sub(r"[^a-z0-9]+", "_", Path(reference).with_suffix("").as_posix().lower()).strip("_")
                mark = hashlib.sha256(f"{digest}\0{namesake or ''}".encode()).hexdigest()[:10]
                name = "_".join(part for part in ("asset", word, mark) if part)
                return Asset(name, str(path), namesake or "", digest, str(folder), body.notes)
    return None


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of several files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def install(assets: Sequence[Asset]) -> None:
    """Make the objects known to this process: ``catalogue()[name]`` and ``build`` then serve them like their own.

    Raises:
        ArtifactError: a file cannot be used, or two objects of different content have one name.
    """
    known: dict[str, Asset] = {}
    for asset in assets:
        other = known.setdefault(asset.name, asset)
        if (other.digest, other.namesake) != (asset.digest, asset.namesake):
            raise ArtifactError(f"{other.path} and {asset.path} are both called '{asset.name}'", "rename one of the files")
    catalogue().include(entry_of(asset) for asset in assets)


def entry_of(asset: Asset) -> ObjectEntry:
    """The catalogue entry of a user's object; its colours join the palette of this process."""
    body = load_body(asset.path, asset.folder)
    colors = [palette_name(rgb, mesh) for rgb, mesh in body.surfaces]
    known = catalogue()[asset.namesake] if asset.namesake else None
    stem = re.sub(r"[^a-z0-9]+", " ", Path(asset.path).stem.lower()).strip()
    label = re.sub(r"\s+\d+$", "", stem) or stem or "object"
    return AssetEntry(
        name=asset.name,
        label=known.label if known else label,
        synonyms=known.synonyms if known else (),
        general=known.general if known else (),
        attributes=known.attributes if known else (),
        functions=known.functions if known else (),
        category=known.category if known else "user",
        mass=body.mass,
        friction=body.friction,
        parts=tuple(MeshPart(color=c, path=asset.path, number=i, folder=asset.folder) for i, c in enumerate(colors)),
        namesake=asset.namesake,
    )


def palette_name(rgb: RGB, mesh: Mesh | None = None) -> str:
    """Palette name of a colour, called by the word of the nearest one; it joins the palette of this process.

    Args:
        mesh: what it is on. Surfaces of one colour are drawn as one, so a picture makes the name its own.
    """
    name = "user " + " ".join(f"{channel:.4f}" for channel in rgb)
    if mesh is not None and mesh.skin is not None:
        name += f" {hashlib.sha256(mesh.skin.png).hexdigest()[:12]}"
    colors = cast("dict[str, Color]", palette())
    if name not in colors:
        nearest = min(colors.values(), key=lambda color: float(np.linalg.norm(color.array() - rgb)))
        colors[name] = Color(rgb=rgb, word=nearest.word)
    return name
