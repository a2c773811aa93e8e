"""Made-up scenes of things on a table, as features with whole views: for methods that look at things."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from srcli.artifacts.features import LAYOUT, create_features
from srcli.types import Percept, SemanticCloud, TextEmbedding

DIM, THINGS = 8, 4
NEAR, ON, OTHER = np.eye(DIM)[5:8]
"""Words: two relations, and one that says nothing."""
HALF = 0.015
"""Half size of a thing, metres."""
HELD = 0.02


def nothing_seen(text: TextEmbedding) -> Callable[[], Percept]:
    """A percept of one point: what looks at whole views needs the sentence alone."""
    features = np.eye(DIM, dtype=np.float32)[:1]
    cloud = SemanticCloud(np.zeros((1, 3), np.float32), features, np.zeros(1, np.float32), np.ones(1, np.uint8))
    return lambda: Percept(cloud, text)


def clump(centre: Any) -> Any:
    """(16, 3) cells of a thing: 4 x 4, a centimetre apart, 3 cm above the table."""
    grid = (np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(-1, 2) - 1.5) * 0.01
    return np.concatenate([grid + centre, np.full((16, 1), 0.03)], axis=1)


def scene(rng: np.random.Generator, place: bool) -> dict[str, Any]:
    """Rows of one decision: four things, a sentence that names one, and what is right."""
    corners = np.array([[0.4, -0.1], [0.4, 0.1], [0.6, -0.1], [0.6, 0.1]])
    centres = corners + rng.uniform(-0.02, 0.02, (THINGS, 2))
    target, near = int(rng.integers(THINGS)), bool(rng.integers(2))
    table = np.array([[x, y, 0.0] for x in np.arange(0.35, 0.66, 0.1) for y in np.arange(-0.15, 0.16, 0.1)])
    cells = np.concatenate([*map(clump, centres), table])
    kinds = np.concatenate([np.repeat(np.arange(THINGS), 16), np.full(len(table), THINGS)])
    if place:
        # On each thing, and around each where it just does not touch.
        angle = rng.uniform(0, 2 * np.pi, 5)
        ring = 1.3 * (HALF + HELD) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        spots = [(c, k, False) for k, c in enumerate(centres)] + [(c + r, k, True) for k, c in enumerate(centres) for r in ring]
        xy = np.array([spot for spot, _, _ in spots])
        valid = np.array([k == target and around == near for _, k, around in spots])
    else:
        xy = np.concatenate([centres + rng.uniform(-0.005, 0.005, centres.shape) for _ in range(3)])
        valid = np.arange(len(xy)) % THINGS == target
    poses = np.concatenate([xy, np.full((len(xy), 1), 0.03), np.tile([1.0, 0, 0, 0], (len(xy), 1))], axis=1)
    text = np.eye(DIM)[target]
    words = np.stack([OTHER, NEAR if near else ON, OTHER])
    return {
        "points": cells[:16],
        "features": np.eye(DIM)[kinds[:16]],
        "similarity": np.zeros(16),
        "point_mask": np.ones(16),
        "text": text,
        "tokens": words,
        "token_mask": np.ones(3),
        "candidates": poses,
        "candidate_mask": np.ones(len(poses)),
        "widths": np.full(len(poses), 0.05),
        "quality": np.full(len(poses), 0.5),
        "valid": valid,
        "label": np.asarray(rng.choice(np.flatnonzero(valid))),
        "seed": np.array([0, 1, 2]),
        "source": np.asarray(0),
        "file": np.asarray(0),
        "phase": np.asarray(int(place)),
        "cell_points": cells,
        "cell_features": np.eye(DIM)[kinds],
        "cell_mask": np.ones(len(cells)),
        "surface_points": cells,
        "surface_colors": np.zeros((len(cells), 3)),
        "surface_mask": np.ones(len(cells)),
        "held": np.array([HELD, HELD, 0.05]) * place,
    }


def write_things(path: Path, picks: int = 24, places: int = 24, back: int = 4) -> Path:
    """A features file; of each phase the last ``back`` are kept for validation."""
    rng = np.random.default_rng(3)
    phases = [False] * picks + [True] * places
    with create_features(path, len(phases), {"name": "made-up", "dim": DIM}, {}) as writer:
        for place in phases:
            rows = scene(rng, place)
            assert set(LAYOUT) <= set(rows)
            writer.add(rows, "put it near the thing" if place else "give me the thing")
        number = np.arange(len(phases))
        kept = (number >= len(phases) - back) | ((number >= picks - back) & (number < picks))
        writer.finish({"train": number[~kept], "valid": number[kept]})
    return path
