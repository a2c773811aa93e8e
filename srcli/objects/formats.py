"""Mesh files that trimesh reads (STL, GLB, PLY, DAE), cut into surfaces of one colour; what they declare is checked before."""

from __future__ import annotations

import importlib
import io
import json
import logging
import re
import struct
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from srcli.errors import ArtifactError, MissingAssetError
from srcli.objects.coloring import color_groups
from srcli.objects.mesh import Mesh, face_normals
from srcli.objects.palette import GREY, RGB
from srcli.objects.sources import Files
from srcli.types import F64

BY_TRIMESH = (".stl", ".glb", ".ply", ".dae")
"""Formats that cannot be read without trimesh; DAE needs pycollada, too."""
Y_UP: F64 = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""(3, 3) rotation that turns a file whose y points up, as glTF has it, to z up."""
FARTHEST = 1e9
"""Coordinates of a file beyond it are mistakes in any unit, and products of them overflow."""
THINNEST = 1e-9
"""Shorter lengths of a file's shapes are none: their products underflow."""
MOST_FACES, MOST_VERTICES, MOST_NODES = 200_000, 1_000_000, 1_000


def optional(name: str) -> Any:
    """A library of the extra ``meshes``, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def read_parts(path: Path, files: Files | None = None) -> tuple[tuple[tuple[RGB, Mesh], ...], ...]:
    """Every mesh of a file, in the frame and the unit of its scene, as (colour, surface) by the colours of its faces.

    Args:
        files: finds what the file names; None: only what lies in its folder.

    Raises:
        MissingAssetError: trimesh (for DAE: pycollada) is not installed.
        ArtifactError: the file is damaged, holds no triangles, or declares more than an object has.
    """
    trimesh = optional("trimesh")
    kind = path.suffix.lower()
    if trimesh is None:
        raise MissingAssetError(f"{path}: {kind} files need trimesh", "pip install 'srcli[meshes]', or export the mesh as OBJ")
    if kind == ".dae" and optional("collada") is None:
        raise MissingAssetError(f"{path}: .dae files need pycollada", "pip install 'srcli[meshes]', or export it as OBJ")
    data = path.read_bytes()
    check_declared(path, data)
    # It logs tracebacks and warns about what it then reads all the same; what matters is checked below.
    logging.getLogger("trimesh").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            resolver = _resolver(trimesh, files or Files(path), path.parent)
            scene = trimesh.load(io.BytesIO(data), file_type=kind[1:], resolver=resolver, force="scene", process=False)
            parts = [part for part in scene.dump() if hasattr(part, "faces") and len(part.faces)] if scene is not None else []
    except ArtifactError:
        raise
    except Exception as error:
        # A reader of many formats fails in many ways; what the user can do is the same for all.
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ArtifactError(f"{path}: cannot be read as {path.suffix[1:].upper()} ({reason})", "export the mesh again") from error
    if not parts:
        raise ArtifactError(f"{path}: has no faces", "export the mesh again")
    linear = _frame(data) if kind == ".dae" else np.eye(3)
    return tuple(_by_color(part, path, linear) for part in parts)


def _frame(data: bytes) -> F64:
    """(3, 3) to metres and z up, as a DAE file states its unit and axis; the reader leaves both alone."""
    root = ET.fromstring(data)
    named = {element.tag.rsplit("}", 1)[-1]: element for element in root.iter()}
    unit, axis = named.get("unit"), named.get("up_axis")
    try:
        metres = float(unit.get("meter", "1")) if unit is not None else 1.0
    except ValueError:
        metres = 1.0
    up = "Y_UP" if axis is None else (axis.text or "").strip().upper()
    turn = {"Z_UP": np.eye(3), "X_UP": np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])}.get(up, Y_UP)
    return np.asarray(turn * (metres if np.isfinite(metres) and metres > 0 else 1.0), dtype=np.float64)


def _resolver(trimesh: Any, files: Files, base: Path) -> Any:
    """What trimesh asks for the files that a file names: only those that :class:`Files` gives."""

    class Named(trimesh.resolvers.Resolver):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

        def get(self, name: str) -> bytes:
            found = files.optional(str(name), base, "file")
            if found is None:
                raise FileNotFoundError(name)
            return found.read_bytes()

        def namespaced(self, namespace: str) -> Any:
            return _resolver(trimesh, files, base / namespace)

        def keys(self) -> list[str]:
            return []

        def write(self, name: str, data: bytes) -> None:
            raise FileNotFoundError(name)

    return Named()


def check_declared(path: Path, data: bytes) -> None:
    """Refuse a file by what its head declares, before a reader reserves memory for it.

    Raises:
        ArtifactError: more vertices, faces or nodes than an object has, or than the file can hold.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".glb":
            _check_glb(path, data)
        elif kind == ".ply":
            _check_ply(path, data)
        elif kind == ".stl" and len(data) >= 84 and not data[:512].lstrip().startswith(b"solid"):
            _count(path, struct.unpack("<I", data[80:84])[0], "triangles", MOST_FACES)
        elif kind == ".dae":
            _check_dae(path, data)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, struct.error, ET.ParseError) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise ArtifactError(f"{path}: cannot be read as {kind[1:].upper()} ({reason})", "export the mesh again") from error


def _count(path: Path, number: int, what: str, most: int) -> None:
    if number > most:
        raise ArtifactError(f"{path}: declares {number} {what}, more than {most}", "simplify the mesh")


def _damaged(what: str) -> NoReturn:
    raise ValueError(what)


def _check_glb(path: Path, data: bytes) -> None:
    if len(data) < 20 or data[:4] != b"glTF":
        _damaged("it does not begin as one")
    length = struct.unpack("<I", data[12:16])[0]
    tree = json.loads(data[20 : 20 + length])
    nodes, meshes, accessors = tree.get("nodes", []), tree.get("meshes", []), tree.get("accessors", [])
    _count(path, len(nodes), "nodes", MOST_NODES)
    _count(path, len(accessors), "accessors", 10 * MOST_NODES)
    for buffer in tree.get("buffers", []):
        if int(buffer["byteLength"]) > len(data) and "uri" not in buffer:
            _damaged("it ends before its buffer does")
    children = [child for node in nodes for child in node.get("children", [])]
    if len(set(children)) != len(children):
        _damaged("a node hangs in two places")
    held = sum(int(buffer["byteLength"]) for buffer in tree.get("buffers", []))
    for accessor in accessors:
        if not 0 <= int(accessor["count"]) <= max(held, len(data)):
            _damaged(f"it declares {accessor['count']} values, more than it has bytes")
    used = [node["mesh"] for node in nodes if "mesh" in node]
    vertices = faces = 0
    for number in used:
        for primitive in meshes[number].get("primitives", []):
            points = int(accessors[primitive["attributes"]["POSITION"]]["count"])
            vertices += points
            faces += (int(accessors[primitive["indices"]]["count"]) if "indices" in primitive else points) // 3
    _count(path, vertices, "vertices", MOST_VERTICES)
    _count(path, faces, "triangles", MOST_FACES)


def _check_ply(path: Path, data: bytes) -> None:
    end = data.find(b"end_header")
    for kind, number in re.findall(rb"element\s+(\w+)\s+(\d+)", data[: end if end >= 0 else 65536]):
        # At least one byte per row, whatever the row holds.
        if int(number) > len(data):
            _damaged(f"it declares {int(number)} rows, more than it has bytes")
        _count(path, int(number), kind.decode("ascii", "replace"), MOST_FACES if kind == b"face" else MOST_VERTICES)


def _check_dae(path: Path, data: bytes) -> None:
    if b"<!ENTITY" in data:
        _damaged("it declares entities")
    root = ET.fromstring(data)
    count = sum(element.tag.rsplit("}", 1)[-1] in ("node", "instance_node") for element in root.iter())
    _count(path, count, "nodes", MOST_NODES)
    if any(element.tag.rsplit("}", 1)[-1] == "instance_node" for element in root.iter()) and count > 64:
        # Nodes that hold nodes that hold nodes multiply.
        raise ArtifactError(f"{path}: has nodes within {count} nodes", "export the mesh with its instances made real")


def _by_color(part: Any, path: Path, linear: F64) -> tuple[tuple[RGB, Mesh], ...]:
    vertices, faces = np.asarray(part.vertices, dtype=np.float64), np.asarray(part.faces, dtype=np.int32)
    if vertices.shape[1:] != (3,) or not (np.abs(vertices) <= FARTHEST).all():
        what = f"has a vertex that is not three finite numbers up to {FARTHEST:g}"
        raise ArtifactError(f"{path}: {what}", "export the mesh again")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ArtifactError(f"{path}: has a face with a vertex that is not there", "export the mesh again")
    vertices = vertices @ linear.T
    laid = _laid(part, vertices, faces)
    if laid is not None:
        return laid
    groups = color_groups(_face_colors(part), np.linalg.norm(face_normals(vertices, faces), axis=1))
    return tuple((rgb, _part(vertices, faces[chosen])) for rgb, chosen in groups)


def _laid(part: Any, vertices: F64, faces: Any) -> tuple[tuple[RGB, Mesh], ...] | None:
    """The surface under its texture; None where it has none that can be used."""
    from srcli.objects.textures import texture_of, textured

    try:
        material = part.visual.material if part.visual.kind == "texture" else None
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if image is None:
            return None
        uv = np.asarray(part.visual.uv, dtype=np.float64)[:, :2]
        factor = getattr(material, "baseColorFactor", None)
        # trimesh gives factors as bytes.
        tint = (1.0, 1.0, 1.0) if factor is None else tuple(float(c) / 255 for c in np.asarray(factor)[:3])
        texture = texture_of(image, (tint[0], tint[1], tint[2]))
        if texture is None or uv.shape != (len(vertices), 2):
            return None
        return tuple(textured(vertices, faces, uv[faces], texture))
    except (AttributeError, TypeError, ValueError, IndexError, OSError):
        # A texture that is missing or odd costs the picture, not the object.
        return None


def _face_colors(part: Any) -> F64:
    """(F, 3) sRGB 0..1: face or vertex colours, or that of the material; grey where the file has none."""
    plain = np.tile(np.asarray(GREY), (len(part.faces), 1))
    try:
        visual = part.visual
        if visual.kind == "texture":
            return np.tile(np.asarray(visual.material.main_color, dtype=np.float64)[:3] / 255, (len(part.faces), 1))
        if visual.kind in ("face", "vertex"):
            return np.asarray(visual.face_colors, dtype=np.float64)[:, :3] / 255
    except (AttributeError, ValueError, IndexError, OSError):
        return plain
    return plain


def _part(vertices: F64, faces: Any) -> Mesh:
    used, index = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], index.reshape(faces.shape).astype(np.int32))
