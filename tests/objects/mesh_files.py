"""Small mesh files of a user, written by the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
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
