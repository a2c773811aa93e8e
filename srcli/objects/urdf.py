"""An :class:`ObjectModel` as a URDF folder whose name is its content."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from srcli.errors import DiskError
from srcli.objects.mesh import hull_mesh, vertex_normals
from srcli.objects.model import ObjectModel, Visual
from srcli.types import F64, I32

URDF_NAME = "object.urdf"
FORMAT = 2
"""Raise it when the written text changes: it is part of the address."""


def write_urdf(model: ObjectModel, folder: Path) -> Path:
    """Write the body below ``folder`` and return its URDF file.

    The folder's name holds the SHA-256 of the body's content, so equal bodies share one and an existing one is never rewritten. A
    new one appears by a single rename: processes that write the same body at the same time cannot see each other's halves.

    Raises:
        DiskError: ``folder`` cannot be written.
    """
    target = folder / f"{model.name}-{content_address(model)}"
    urdf = target / URDF_NAME
    if urdf.exists():
        return urdf
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{model.name}-", dir=folder))
        try:
            for name, text in urdf_files(model).items():
                (temporary / name).write_text(text, encoding="ascii")
            for visual in model.visuals:
                if visual.skin is not None:
                    (temporary / _picture(visual.skin.png)).write_bytes(visual.skin.png)
            os.rename(temporary, target)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            if not urdf.exists():
                raise
    except OSError as error:
        raise DiskError(
            f"cannot write object meshes below {folder}: {error.strerror}", "free space or choose another folder"
        ) from error
    return urdf


def content_address(model: ObjectModel) -> str:
    """SHA-256 (24 hex digits) of geometry, colours, mass and inertia, at the precision that is written."""
    digest = hashlib.sha256(f"{FORMAT}\0{model.name}\0{model.mass:.9g}".encode())
    arrays: list[tuple[F64, I32 | None]] = [(visual.vertices, visual.faces) for visual in model.visuals]
    arrays += [(points, None) for points in model.hulls]
    for vertices, faces in arrays:
        # Adding zero turns -0.0 into 0.0, so that equal geometry has equal bytes.
        digest.update((np.round(vertices, 8) + 0.0).astype("<f8").tobytes())
        digest.update(b"" if faces is None else faces.astype("<i4").tobytes())
        digest.update(f"\0{len(vertices)}".encode())
    digest.update("|".join(f"{channel:.6g}" for visual in model.visuals for channel in visual.rgba).encode())
    digest.update("|".join(f"{moment:.9g}" for moment in model.inertia.ravel()).encode())
    for number, visual in enumerate(model.visuals):
        if visual.skin is not None:
            digest.update(f"\0skin{number}\0".encode())
            digest.update((np.round(visual.skin.uv, 6) + 0.0).astype("<f8").tobytes() + visual.skin.png)
    return digest.hexdigest()[:24]


def urdf_files(model: ObjectModel) -> dict[str, str]:
    """File name -> text of the URDF and its meshes: one link, one visual per colour, one collision mesh of convex groups."""
    files = {f"visual{i}.obj": _visual_obj(visual, i) for i, visual in enumerate(model.visuals)}
    for number, visual in enumerate(model.visuals):
        if visual.skin is not None:
            files[f"visual{number}.mtl"] = f"newmtl skin\nKd 1 1 1\nmap_Kd {_picture(visual.skin.png)}\n"
    files["collision.obj"] = _collision_obj(model.hulls)
    i = model.inertia
    lines = [
        '<?xml version="1.0"?>',
        f'<robot name="{model.name}">',
        '  <link name="body">',
        "    <inertial>",
        '      <origin xyz="0 0 0" rpy="0 0 0"/>',
        f'      <mass value="{model.mass:.9g}"/>',
        # Products of inertia are left out: Bullet would turn the body's frame to the principal axes, and poses with it.
        f'      <inertia ixx="{i[0, 0]:.9g}" ixy="0" ixz="0" iyy="{i[1, 1]:.9g}" iyz="0" izz="{i[2, 2]:.9g}"/>',
        "    </inertial>",
    ]
    for number, visual in enumerate(model.visuals):
        rgba = " ".join(f"{channel:.6g}" for channel in visual.rgba)
        lines += [
            "    <visual>",
            f'      <geometry><mesh filename="visual{number}.obj"/></geometry>',
            # The simulator keys colours by material name across bodies: it must be unique.
            f'      <material name="{model.name}_{number}_{_slug(rgba)}"><color rgba="{rgba}"/></material>',
            "    </visual>",
        ]
    lines += [
        "    <collision>",
        '      <geometry><mesh filename="collision.obj"/></geometry>',
        "    </collision>",
        "  </link>",
        "</robot>",
        "",
    ]
    files[URDF_NAME] = "\n".join(lines)
    return files


def _slug(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _points(tag: str, rows: F64) -> list[str]:
    # Adding zero turns -0.0 into 0.0, so that equal geometry is equal text.
    return [f"{tag} {x:.7g} {y:.7g} {z:.7g}" for x, y, z in (np.round(rows, 8) + 0.0).tolist()]


def _picture(png: bytes) -> str:
    """File name of a picture: surfaces that share it share the file."""
    return f"skin-{hashlib.sha256(png).hexdigest()[:12]}.png"


def _visual_obj(visual: Visual, number: int) -> str:
    lines = [*_points("v", visual.vertices), *_points("vn", vertex_normals(visual.vertices, visual.faces))]
    if visual.skin is None:
        lines += [f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in (visual.faces + 1).tolist()]
        return "\n".join([*lines, ""])
    spots, index = np.unique(np.round(visual.skin.uv.reshape(-1, 2), 6) + 0.0, axis=0, return_inverse=True)
    lines = [f"mtllib visual{number}.mtl", "usemtl skin", *lines, *(f"vt {u:.7g} {v:.7g}" for u, v in spots.tolist())]
    corners = zip((visual.faces + 1).tolist(), (index.reshape(-1, 3) + 1).tolist(), strict=True)
    lines += ["f " + " ".join(f"{v}/{t}/{v}" for v, t in zip(face, spot, strict=True)) for face, spot in corners]
    return "\n".join([*lines, ""])


def _collision_obj(hulls: tuple[F64, ...]) -> str:
    lines: list[str] = []
    offset = 1
    for number, points in enumerate(hulls):
        mesh = hull_mesh(points)
        lines += [f"o piece{number}", *_points("v", mesh.vertices)]
        lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + offset).tolist()]
        offset += len(mesh.vertices)
    return "\n".join([*lines, ""])
