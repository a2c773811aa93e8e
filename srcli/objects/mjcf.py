"""MuJoCo's files: the geoms of an MJCF model as surfaces and convex pieces, and the old binary mesh (MSH).

MuJoCo itself compiles the model (defaults, units, frames, materials), from text and files that were picked here: what the model
names beyond its folder is not read, and only what gives a rigid body its shape and colour is handed over.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import numpy as np

from srcli.errors import ArtifactError, MissingAssetError
from srcli.objects import shapes
from srcli.objects.formats import FARTHEST, MOST_FACES, MOST_VERTICES, THINNEST, check_declared, optional
from srcli.objects.mesh import Mesh, clean, hull_mesh
from srcli.objects.palette import RGB
from srcli.objects.scenery import Left, leave_large, leave_scenery, leave_unused
from srcli.objects.sources import Files, plain
from srcli.objects.textures import Texture, textured
from srcli.types import F64

_KEPT = {
    "mujoco": ("compiler", "default", "asset", "worldbody"),
    "asset": ("mesh", "texture", "material"),
    "worldbody": ("body", "geom", "frame"),
    "body": ("body", "geom", "frame", "inertial", "joint", "freejoint"),
    "frame": ("body", "geom", "frame"),
    "default": ("default", "mesh", "material", "geom", "joint"),
}
"""What is read below each element; a missing parent keeps nothing."""
_SIDES = tuple(f"file{side}" for side in ("right", "left", "up", "down", "front", "back"))
"""Six pictures of a texture that MuJoCo would look up by itself, wherever they lie; what is seen of an object are flat ones."""
_FOLDERS = ("meshdir", "texturedir", "assetdir", "strippath")
_MOST_ELEMENTS, _DEEPEST = 5_000, 8
_MESH_KINDS = (".obj", ".stl", ".msh")


@dataclass(frozen=True, slots=True)
class Geoms:
    """An MJCF model in the frame of its world, metres, z up.

    Attributes:
        surfaces: (colour, mesh) of what is seen.
        hulls: convex vertex sets (P, 3) of what collides.
        solid: the model says itself what collides, by geoms beside those that are only seen, or by primitives.
        mass: kg, or None where the model states none.
        friction: lateral friction, or None.
    """

    surfaces: tuple[tuple[RGB, Mesh], ...]
    hulls: tuple[F64, ...]
    solid: bool
    mass: float | None
    friction: float | None


def read_mjcf(path: Path, files: Files) -> Geoms:
    """The geoms of an MJCF file.

    Raises:
        MissingAssetError: MuJoCo is not installed.
        ArtifactError: no MJCF, several moving parts, a mesh that is missing or lies elsewhere, or MuJoCo refuses it.
    """
    mujoco = optional("mujoco")
    if mujoco is None:
        raise MissingAssetError(f"{path}: MJCF files need MuJoCo", "pip install 'srcli[meshes]', or export it as OBJ")
    root = _root(path, files)
    left = Left()
    leave_scenery(root, left)
    leave_unused(root)
    data = _pick(root, path, files)
    model = _compiled(mujoco, root, data, path)
    try:
        crowded = leave_large(root, _still(mujoco, model, path), left)
    except ArtifactError as error:
        _fail(path, error.message, error.hint)
    if crowded:
        model = _compiled(mujoco, root, data, path)
    if left:
        files.note(f"left out, as no part of the object: {left}")
    return _geoms(mujoco, model, path, files, _stated(root))


def _fail(path: Path, what: str, hint: str = "correct the file") -> NoReturn:
    raise ArtifactError(f"{path}: {what}", hint)


def _parsed(path: Path) -> ET.Element:
    try:
        return ET.fromstring(path.read_bytes())
    except (ET.ParseError, LookupError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read as MJCF ({error})", "correct the file") from error


def _root(path: Path, files: Files) -> ET.Element:
    """The model with its includes in place, and nothing in it but what counts."""
    files.take(path)
    root = _parsed(path)
    if root.tag not in ("mujoco", "mujocoinclude"):
        _fail(path, f"is no MJCF file: it begins with <{root.tag[:40]}>", "known .xml files: those of MuJoCo (<mujoco>)")
    _include(root, path, files, 0)
    if root.tag == "mujocoinclude":
        # A fragment that others include may hold bodies without a world.
        root.tag = "mujoco"
        loose = [child for child in root if child.tag in ("body", "geom")]
        if loose:
            world = ET.SubElement(root, "worldbody")
            for child in loose:
                root.remove(child)
                world.append(child)
    _keep(root)
    if sum(1 for _ in root.iter()) > _MOST_ELEMENTS:
        _fail(path, f"has more than {_MOST_ELEMENTS} elements", "take the object's body out of the model")
    if next((geom for world in root.findall("worldbody") for geom in world.iter("geom")), None) is None:
        _fail(path, "has no geom", "give a model whose <worldbody> holds the object")
    return root


def _include(element: ET.Element, path: Path, files: Files, depth: int) -> None:
    if depth > _DEEPEST:
        _fail(path, f"includes files more than {_DEEPEST} deep", "take the object's body out of the model")
    for child in list(element):
        if child.tag != "include":
            _include(child, path, files, depth)
            continue
        other = files.mesh(child.get("file", ""), path.parent)
        held = _parsed(other)
        _include(held, other, files, depth + 1)
        place = list(element).index(child)
        element.remove(child)
        for offset, inner in enumerate(held):
            element.insert(place + offset, inner)
        if sum(1 for _ in element.iter()) > _MOST_ELEMENTS:
            _fail(path, f"has more than {_MOST_ELEMENTS} elements", "take the object's body out of the model")


def _keep(element: ET.Element) -> None:
    for child in list(element):
        if child.tag in _KEPT.get(element.tag, ()):
            _keep(child)
        else:
            element.remove(child)


@dataclass(frozen=True, slots=True)
class _Stated:
    """What a model says in words, before defaults of MuJoCo fill the rest."""

    mass: bool
    friction: bool


def _stated(root: ET.Element) -> _Stated:
    geoms = list(root.iter("geom"))
    mass = any(geom.get("mass") or geom.get("density") for geom in geoms) or next(root.iter("inertial"), None) is not None
    return _Stated(mass, any(geom.get("friction") for geom in geoms))


def _pick(root: ET.Element, path: Path, files: Files) -> dict[str, bytes]:
    """The files that the model names, under names of our own."""
    compilers = root.findall("compiler")
    folders: dict[str, str] = {}
    for name in _FOLDERS:
        folders[name] = next((value for c in reversed(compilers) if (value := c.get(name))), "")
    for compiler in compilers:
        for name in _FOLDERS:
            compiler.attrib.pop(name, None)
    data: dict[str, bytes] = {}
    for element in [child for asset in root.findall("asset") for child in asset]:
        sides = [element.attrib.pop(side) for side in _SIDES if side in element.attrib]
        named = element.get("file")
        if not named and sides:
            files.note("the pictures of a cube's six sides are not taken: grey")
            _grey(element)
        if not named:
            continue
        below = folders["meshdir" if element.tag == "mesh" else "texturedir"] or folders["assetdir"]
        whole: str = PurePosixPath(plain(named)).name if folders["strippath"] == "true" else named
        whole = f"{plain(below).rstrip('/')}/{whole}" if below and not plain(whole).startswith("/") else whole
        element.set("name", element.get("name") or PurePosixPath(plain(named)).stem)
        if element.tag == "mesh":
            found = files.mesh(whole, path.parent)
            kind = found.suffix.lower()
            if kind not in _MESH_KINDS:
                _fail(path, f"the mesh {found.name} is a '{kind}' file", f"convert it to one of {', '.join(_MESH_KINDS)}")
            held = found.read_bytes()
            check_declared(found, held)
            if kind == ".obj" and held.count(b"\nf ") > MOST_FACES:
                _fail(path, f"{found.name} has more than {MOST_FACES} faces", "simplify the mesh")
        else:
            picture = files.optional(whole, path.parent, "texture")
            if picture is None or picture.suffix.lower() != ".png":
                if picture is not None:
                    files.note(f"the texture {picture.name} is no PNG file: grey")
                _grey(element)
                continue
            kind, held = ".png", picture.read_bytes()
        key = f"file{len(data)}{kind}"
        data[key] = held
        element.set("file", key)
    return data


def _grey(element: ET.Element) -> None:
    """A texture that is not to be had."""
    name = element.get("name", "")
    element.attrib.clear()
    element.attrib.update({"name": name, "type": "2d", "builtin": "flat", "rgb1": "0.6 0.6 0.6", "width": "4", "height": "4"})


def _compiled(mujoco: Any, root: ET.Element, data: dict[str, bytes], path: Path) -> Any:
    before = mujoco.get_mju_user_warning()
    # Its warnings would be written to a file in the working folder.
    mujoco.set_mju_user_warning(lambda text: None)
    try:
        return _model(mujoco, root, data, path)
    finally:
        mujoco.set_mju_user_warning(before)


def _model(mujoco: Any, root: ET.Element, data: dict[str, bytes], path: Path) -> Any:
    try:
        return mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"), data)
    except Exception as first:
        # Thin and open surfaces have no inertia that MuJoCo would take; their shape is good enough to be seen.
        for mesh in root.iter("mesh"):
            mesh.set("inertia", "shell")
        try:
            return mujoco.MjModel.from_xml_string(ET.tostring(root, encoding="unicode"), data)
        except Exception:
            reason = " ".join(str(first).split())[:120]
            what = f"{path}: MuJoCo cannot compile it ({reason})"
            raise ArtifactError(what, "correct the file, or export it as OBJ") from first


def _geoms(mujoco: Any, model: Any, path: Path, files: Files, stated: _Stated) -> Geoms:
    free = int(mujoco.mjtJoint.mjJNT_FREE)
    moving = int((np.asarray(model.jnt_type) != free).sum())
    roots = int((np.asarray(model.jnt_type) == free).sum())
    if moving or roots > 1:
        what = f"has {moving + roots} joints; an object to be grasped is one rigid body"
        _fail(path, what, "take the object's body out of the model")
    bodies = np.asarray(model.geom_bodyid)
    # A floor or a stand of the world is no part of the object.
    own = [i for i in range(model.ngeom) if bodies[i] != 0] or list(range(model.ngeom))
    own = [i for i in own if int(model.geom_type[i]) not in _without_shape(mujoco)]
    found = _meshes(mujoco, model, path)
    meshes = {i: found[i] for i in own if i in found}
    if own and not meshes:
        _fail(path, "all its geoms are flat", "give a solid shape")
    if len(meshes) < len(own):
        files.note(f"{len(own) - len(meshes)} of {len(own)} geoms are flat and left out")
    own = list(meshes)
    seen_only = [i for i in own if not model.geom_contype[i] and not model.geom_conaffinity[i]]
    touched = [i for i in own if i not in seen_only] or own
    surfaces: list[tuple[RGB, Mesh]] = []
    for i in seen_only or own:
        surfaces += _surface(mujoco, model, i, meshes[i])
    if not surfaces:
        _fail(path, "has no geom that is a mesh, box, sphere, capsule, ellipsoid or cylinder")
    hulls = [meshes[i].vertices for i in touched]
    mesh_type = int(mujoco.mjtGeom.mjGEOM_MESH)
    solid = len(touched) < len(own) or all(int(model.geom_type[i]) != mesh_type for i in touched)
    mass = float(np.asarray(model.body_mass)[sorted({int(bodies[i]) for i in own})].sum()) if stated.mass else None
    friction = float(model.geom_friction[touched[0], 0]) if stated.friction else None
    return Geoms(
        tuple(surfaces),
        tuple(hulls),
        solid,
        mass if mass is not None and mass > 0 else None,
        friction if friction is not None and 0 < friction <= 2 else None,
    )


def _meshes(mujoco: Any, model: Any, path: Path) -> dict[int, Mesh]:
    """The surfaces of all geoms that have one and are not flat, by number, in the frame of the world."""
    state = mujoco.MjData(model)
    mujoco.mj_kinematics(model, state)
    found: dict[int, Mesh] = {}
    for geom in range(model.ngeom):
        if int(model.geom_type[geom]) in _without_shape(mujoco) or (mesh := _mesh(mujoco, model, geom, path)) is None:
            continue
        rotation = np.asarray(state.geom_xmat[geom], dtype=np.float64).reshape(3, 3)
        points = mesh.vertices @ rotation.T + np.asarray(state.geom_xpos[geom], dtype=np.float64)
        if not (np.abs(points) <= FARTHEST).all():
            _fail(path, f"a geom lies more than {FARTHEST:g} m away")
        found[geom] = Mesh(points, mesh.faces)
    return found


def _still(mujoco: Any, model: Any, path: Path) -> dict[str, F64]:
    """(P, 3) points of each body in the world itself, by name; none where a body is free to move."""
    if (np.asarray(model.jnt_type) == int(mujoco.mjtJoint.mjJNT_FREE)).any():
        return {}
    roots = np.asarray(model.body_rootid)[np.asarray(model.geom_bodyid)]
    points: dict[str, list[F64]] = {}
    for geom, mesh in _meshes(mujoco, model, path).items():
        if roots[geom]:
            points.setdefault(model.body(int(roots[geom])).name, []).append(mesh.vertices)
    return {name: np.vstack(parts) for name, parts in points.items()}


def _without_shape(mujoco: Any) -> tuple[int, ...]:
    """Types of geoms that no rigid body consists of."""
    names = ("PLANE", "HFIELD", "SDF")
    return tuple(int(getattr(mujoco.mjtGeom, f"mjGEOM_{name}")) for name in names)


def _mesh(mujoco: Any, model: Any, geom: int, path: Path) -> Mesh | None:
    """A geom's surface in its own frame; None where it is flat."""
    kind, size = mujoco.mjtGeom(int(model.geom_type[geom])), np.asarray(model.geom_size[geom], dtype=np.float64)
    if kind != mujoco.mjtGeom.mjGEOM_MESH:
        counts = {mujoco.mjtGeom.mjGEOM_SPHERE: 1, mujoco.mjtGeom.mjGEOM_CAPSULE: 2, mujoco.mjtGeom.mjGEOM_CYLINDER: 2}
        size = size[: counts.get(kind, 3)]
        if not (size <= FARTHEST).all():
            _fail(path, f"a geom measures more than {FARTHEST:g} m")
        if not (size >= THINNEST).all():
            return None
    try:
        return _surface_of(mujoco, model, geom, kind, size)
    except ValueError:
        return None


def _surface_of(mujoco: Any, model: Any, geom: int, kind: Any, size: F64) -> Mesh:
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        number = int(model.geom_dataid[geom])
        first, count = int(model.mesh_vertadr[number]), int(model.mesh_vertnum[number])
        start, faces = int(model.mesh_faceadr[number]), int(model.mesh_facenum[number])
        vertices = np.asarray(model.mesh_vert[first : first + count], dtype=np.float64)
        return Mesh(vertices, np.asarray(model.mesh_face[start : start + faces], dtype=np.int32))
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return shapes.box((2 * size).tolist()).mesh
    if kind in (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_ELLIPSOID):
        radii = size if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID else np.full(3, size[0])
        ball = shapes.ball(1.0, 20, 12).mesh
        return Mesh(ball.vertices * radii, ball.faces)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return shapes.loft([[-size[1], 2 * size[0]], [size[1], 2 * size[0]]], n=24).mesh
    ball = shapes.ball(float(size[0]), 20, 13).mesh
    ends = np.where(ball.vertices[:, 2:] >= 0, size[1], -size[1])
    return hull_mesh(np.vstack([ball.vertices + ends * [0, 0, 1], ball.vertices - ends * [0, 0, 1]]))


def _surface(mujoco: Any, model: Any, geom: int, mesh: Mesh) -> list[tuple[RGB, Mesh]]:
    """The parts of a geom that have one colour."""
    material = int(model.geom_matid[geom])
    rgba = np.asarray(model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom], dtype=np.float64).clip(0.0, 1.0)
    tint = (round(float(rgba[0]), 4), round(float(rgba[1]), 4), round(float(rgba[2]), 4))
    texture = _texture(mujoco, model, material, rgba) if material >= 0 else None
    if texture is None:
        return [(tint, mesh)]
    uv = _coordinates(mujoco, model, geom, material)
    return [(texture.mean, mesh)] if uv is None else textured(mesh.vertices, mesh.faces, uv, texture)


def _texture(mujoco: Any, model: Any, material: int, rgba: F64) -> Texture | None:
    role = int(mujoco.mjtTextureRole.mjTEXROLE_RGB)
    number = int(model.mat_texid[material][role])
    if number < 0 or int(model.tex_type[number]) != int(mujoco.mjtTexture.mjTEXTURE_2D):
        return None
    height, width, channels = (int(a[number]) for a in (model.tex_height, model.tex_width, model.tex_nchannel))
    start = int(model.tex_adr[number])
    data = np.asarray(model.tex_data[start : start + height * width * channels]).reshape(height, width, channels)
    from PIL import Image

    from srcli.objects.textures import texture_of

    picture = np.ascontiguousarray(np.repeat(data, 3, axis=2) if channels < 3 else data[:, :, :3])
    return texture_of(Image.fromarray(picture), (float(rgba[0]), float(rgba[1]), float(rgba[2])))


def _coordinates(mujoco: Any, model: Any, geom: int, material: int) -> F64 | None:
    """(F, 3, 2) of a mesh's corners, (0, 0) the lower left corner of the picture."""
    if int(model.geom_type[geom]) != int(mujoco.mjtGeom.mjGEOM_MESH):
        return None
    number = int(model.geom_dataid[geom])
    first, count = int(model.mesh_texcoordadr[number]), int(model.mesh_texcoordnum[number])
    if first < 0 or not count:
        return None
    start, faces = int(model.mesh_faceadr[number]), int(model.mesh_facenum[number])
    spots = np.asarray(model.mesh_texcoord[first : first + count], dtype=np.float64)
    uv = spots[np.asarray(model.mesh_facetexcoord[start : start + faces])] * np.asarray(model.mat_texrepeat[material])
    uv[..., 1] = 1.0 - uv[..., 1]
    return np.asarray(uv, dtype=np.float64)


def read_msh(path: Path) -> Mesh:
    """MuJoCo's old binary mesh: four counts (vertices, normals, texture coordinates, faces), then float32 and int32 rows.

    Raises:
        ArtifactError: it is damaged.
    """
    data = path.read_bytes()
    hint = "a .msh file is read as MuJoCo's; those of Gmsh have to be exported as STL or OBJ"
    if len(data) < 16:
        raise ArtifactError(f"{path}: cannot be read as MSH (it is too short)", hint)
    vertices, normals, spots, faces = struct.unpack("<4i", data[:16])
    sizes = (12 * vertices, 12 * normals, 8 * spots, 12 * faces)
    if min(vertices, normals, spots, faces) < 0 or vertices > MOST_VERTICES or 16 + sum(sizes) != len(data):
        raise ArtifactError(f"{path}: cannot be read as MSH (its length is not what its head says)", hint)
    if not faces or faces > MOST_FACES:
        raise ArtifactError(f"{path}: has {faces} faces; read are 1 to {MOST_FACES}", "give a mesh with faces, simplified")
    points = np.frombuffer(data, "<f4", 3 * vertices, 16).reshape(-1, 3).astype(np.float64)
    corners = np.frombuffer(data, "<i4", 3 * faces, 16 + sum(sizes[:3])).reshape(-1, 3)
    if not (np.abs(points) <= FARTHEST).all() or corners.min() < 0 or corners.max() >= vertices:
        raise ArtifactError(f"{path}: cannot be read as MSH (a vertex or a face is out of range)", hint)
    return clean(points, corners.astype(np.int32))
