"""Convex pieces of a hollow shape, by coacd, within a time limit; and how much of the pieces is empty space of the shape."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from srcli.objects.mesh import Mesh, clean, has_volume, hull_mesh, mass_properties
from srcli.types import F64

MOST_PIECES = 32
SECONDS = 60.0
"""Of the first try; the coarse one gets half of it."""
_FACES = (3_000, 800)
"""Triangles that each of the two tries starts from, at most."""
_SETTINGS = (
    {"threshold": 0.05, "max_convex_hull": MOST_PIECES, "max_ch_vertex": 64, "seed": 0},
    {
        "threshold": 0.15,
        "max_convex_hull": MOST_PIECES // 2,
        "max_ch_vertex": 48,
        "preprocess_resolution": 25,
        "resolution": 800,
        "mcts_nodes": 10,
        "mcts_iterations": 40,
        "mcts_max_depth": 2,
        "seed": 0,
    },
)
_SAMPLES = 1_500
_PROGRAM = """
import json, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
except (ImportError, OSError, ValueError):
    pass
import numpy as np
import coacd
coacd.set_log_level("error")
with np.load(sys.argv[1], allow_pickle=False) as held:
    mesh = coacd.Mesh(held["vertices"], held["faces"])
found = coacd.run_coacd(mesh, **json.loads(sys.argv[3]))
np.savez(sys.argv[2], **{f"piece{i}": np.asarray(vertices) for i, (vertices, _) in enumerate(found)})
"""


def decompose(
    mesh: Mesh, notes: list[str], seconds: float = SECONDS, progress: Callable[[str], None] | None = None
) -> tuple[list[F64], str]:
    """Convex vertex sets of a shape and how they were made; none where coacd fails or takes too long.

    It runs in a process of its own, so that it can be ended: some meshes of a few hundred faces take it many minutes. A second,
    coarser try starts from fewer triangles.

    Args:
        notes: gets what went wrong.
        seconds: limit of the first try; the second has half of it.
        progress: gets a line before each try.
    """
    for number, (most, settings) in enumerate(zip(_FACES, _SETTINGS, strict=True)):
        limit = seconds / (1 + number)
        coarse = reduced(mesh, most)
        if progress is not None:
            progress(f"cutting {len(coarse.faces)} triangles into convex pieces, {limit:g} s at most")
        made, why = _try(coarse, settings, limit)
        if made:
            return made, f"coacd ({len(made)})" if number == 0 else f"coacd, coarse ({len(made)})"
        notes.append(f"coacd {why}" + ("; tried again, coarser" if number == 0 else ""))
    return [], ""


def _try(mesh: Mesh, settings: dict[str, float], limit: float) -> tuple[list[F64], str]:
    import json

    with tempfile.TemporaryDirectory(prefix="srcli-pieces-") as folder:
        given, made = Path(folder) / "mesh.npz", Path(folder) / "pieces.npz"
        np.savez(given, vertices=mesh.vertices, faces=mesh.faces)
        program = [sys.executable, "-c", _PROGRAM, str(given), str(made), json.dumps(settings)]
        try:
            # One thread of BLAS: each reserves memory, and the process may have little.
            place = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            done = subprocess.run(program, capture_output=True, timeout=limit, check=False, env=place)
        except subprocess.TimeoutExpired:
            return [], f"took more than {limit:g} s"
        if done.returncode != 0 or not made.is_file():
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            return [], f"failed ({' '.join(lines[-1].split())[:60] if lines else f'exit code {done.returncode}'})"
        with np.load(made, allow_pickle=False) as held:
            pieces = [held[f"piece{i}"].astype(np.float64) for i in range(len(held.files))]
    pieces = [points for points in pieces if has_volume(points)]
    return pieces, "" if pieces else "found no piece with a volume"


def reduced(mesh: Mesh, most: int) -> Mesh:
    """A surface of at most about ``most`` triangles: vertices of one cell of a grid become their mean."""
    if len(mesh.faces) <= most:
        return mesh
    size = float(np.ptp(mesh.vertices, axis=0).max())
    coarse = mesh
    for cells in (160, 120, 90, 64, 45, 32, 24, 18):
        keys = np.floor(mesh.vertices / (size / cells)).astype(np.int64)
        _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        inverse = inverse.reshape(-1)
        means = np.stack([np.bincount(inverse, weights=mesh.vertices[:, k]) / counts for k in range(3)], axis=1)
        coarse = clean(means, inverse[mesh.faces].astype(np.int32))
        if len(coarse.faces) <= most:
            break
    return coarse


def empty_share(mesh: Mesh, hulls: Sequence[F64]) -> float:
    """The share of the pieces' volume that lies outside of a surface: the inside of a cup whose collision shape is filled.

    Points are spread evenly over the pieces; inside is where the surface's winding number is at least one half, which needs no
    closed surface.

    Args:
        mesh: the surface, seen faces outwards.
        hulls: convex vertex sets (P, 3).
    """
    surface = reduced(mesh, 4_000)
    bodies = [hull_mesh(points) for points in hulls]
    volumes = np.array([mass_properties((body,), (1.0,)).volume for body in bodies])
    rng = np.random.default_rng(0)
    counts = np.maximum(np.rint(_SAMPLES * volumes / volumes.sum()).astype(int), 1)
    points = np.vstack([_inside(body, count, rng) for body, count in zip(bodies, counts, strict=True)])
    return float((np.abs(winding(points, surface)) < 0.5).mean())


def _inside(body: Mesh, count: int, rng: np.random.Generator) -> F64:
    """(count, 3) points spread evenly over a convex body: tetrahedra from its centre to its faces."""
    centre = body.vertices.mean(axis=0)
    corners = body.vertices[body.faces] - centre
    weights = np.abs(np.linalg.det(corners))
    chosen = rng.choice(len(corners), size=count, p=weights / weights.sum())
    shares = rng.dirichlet(np.ones(4), size=count)[:, :3]
    return np.asarray(np.einsum("nk,nkd->nd", shares, corners[chosen]) + centre, dtype=np.float64)


def winding(points: F64, mesh: Mesh) -> F64:
    """(N,) generalised winding numbers of points about a surface (van Oosterom and Strackee's solid angles)."""
    total = np.zeros(len(points))
    for start in range(0, len(mesh.faces), 500):
        corners = mesh.vertices[mesh.faces[start : start + 500]]
        a, b, c = (corners[None, :, k] - points[:, None] for k in range(3))
        la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
        det = np.einsum("nfd,nfd->nf", a, np.cross(b, c))
        below = la * lb * lc + (a * b).sum(axis=2) * lc + (b * c).sum(axis=2) * la + (c * a).sum(axis=2) * lb
        total += 2 * np.arctan2(det, below).sum(axis=1)
    return np.asarray(total / (4 * np.pi), dtype=np.float64)
