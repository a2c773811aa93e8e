"""Small mesh files of a user, written by the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
RED, BLUE = (220, 20, 20), (20, 40, 220)
FACES = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]


def box_text(size: tuple[float, float, float], faces: list[str] | None = None, start: int = 0) -> str:
    corners = (CORNERS * size).tolist()
    lines = [f"v {x} {y} {z}" for x, y, z in corners]
    return "\n".join([*lines, *("f " + " ".join(str(int(i) + start) for i in f.split()) for f in faces or FACES)]) + "\n"


def box(folder: Path, size: tuple[float, float, float] = (0.05, 0.04, 0.06), faces: list[str] | None = None) -> Path:
    path = folder / "box.obj"
    (folder / "box.mtl").write_text("newmtl red\nKd 0.9 0.1 0.05\n")
    path.write_text("mtllib box.mtl\nusemtl red\n" + box_text(size, faces))
    return path


def picture(path: Path, size: int = 64) -> Path:
    """Red on the left, blue on the right."""
    pixels = np.zeros((size, size, 3), dtype=np.uint8)
    pixels[:, : size // 2], pixels[:, size // 2 :] = RED, BLUE
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def laid(size: float = 0.05, without: int = 0) -> str:
    """A box whose faces look at the left and the right half of a picture in turn; some without texture coordinates."""
    text = box_text((size,) * 3).split("f ")[0] + "vt 0.2 0.5\nvt 0.8 0.5\n"
    for number, face in enumerate(FACES):
        spot = "" if number < without else f"/{1 + number % 2}"
        text += "f " + " ".join(f"{corner}{spot}" for corner in face.split()) + "\n"
    return text


def link(mesh: str, more: str = "") -> str:
    shape = f'<geometry><mesh filename="{mesh}" scale="1 1 1"/></geometry>'
    return f'<robot name="x"><link name="a"><visual>{shape}</visual>{more}</link></robot>'


MJCF = """<mujoco model="can"><compiler meshdir="meshes" angle="radian"/>
<asset><mesh file="part.obj" scale="0.05 0.05 0.05"/>
<texture name="t" type="2d" file="{texture}"/><material name="m" texture="t"/></asset>
<default><default class="seen"><geom contype="0" conaffinity="0" group="1" mass="0"/></default></default>
<worldbody><geom type="plane" size="1 1 1"/><body name="object" pos="0 0 0.1"><freejoint/>
<geom class="seen" type="mesh" mesh="part" material="m"/>
<geom type="box" size="0.025 0.025 0.01" pos="0.025 0.025 0.01" mass="0.12" friction="0.7 0.01 0.001"/>
<geom type="cylinder" size="0.02 0.015" pos="0.025 0.025 0.035" mass="0.03"/>
<site name="grip"/></body></worldbody><actuator><motor joint="none"/></actuator></mujoco>"""
