"""Made-up decisions, batches and features files for tests of methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import normalize

from srcli.artifacts.features import LAYOUT, create_features
from srcli.learning.keyposes import WORKSPACE
from srcli.methods.base import Decision
from srcli.methods.registry import settings, spec_of
from srcli.methods.sr.network import SRNetwork
from srcli.methods.sr.network import build_network as build_sr
from srcli.methods.sr.section import SRConfig
from srcli.models.batch import Batch
from srcli.types import F32, Bool, Candidates, Observation, Percept, SemanticCloud, TextEmbedding

B, N, K, L, D = 2, 40, 9, 6, 24
STRICT = ("sr", "sr_a", "base")
PLUS = ("sr_plus", "sr_a_plus", "base_plus", "base_words_plus")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_batch(points: int = N, candidates: int = K, tokens: int = L, place: bool | None = None) -> Batch:
    ones = torch.ones
    middle = torch.tensor([0.5, 0.0, 0.05])
    poses = torch.cat([middle + 0.04 * normal(B, candidates, 3), normalize(normal(B, candidates, 4), dim=-1)], -1)
    return Batch(
        points=middle + 0.04 * normal(B, points, 3, seed=1),
        features=normalize(normal(B, points, D, seed=2), dim=-1),
        similarity=normal(B, points, seed=3),
        point_mask=ones(B, points, dtype=torch.bool),
        text=normalize(normal(B, D, seed=4), dim=-1),
        tokens=normalize(normal(B, tokens, D, seed=5), dim=-1),
        token_mask=ones(B, tokens, dtype=torch.bool),
        candidates=poses,
        candidate_mask=ones(B, candidates, dtype=torch.bool),
        quality=torch.rand(B, candidates, generator=torch.Generator().manual_seed(6), dtype=torch.float64),
        place=None if place is None else torch.full((B,), place),
    )


def padded(batch: Batch, points: int, candidates: int, tokens: int) -> Batch:
    """The same batch with junk behind every masked axis."""

    def grow(x: Tensor, count: int, junk: float) -> Tensor:
        shape = (x.shape[0], count, *x.shape[2:])
        tail = torch.zeros(shape, dtype=torch.bool) if x.dtype == torch.bool else torch.full(shape, junk, dtype=x.dtype)
        return torch.cat([x, tail], dim=1)

    return replace(
        batch,
        points=grow(batch.points, points, 0.45),
        features=grow(batch.features, points, 3.0),
        similarity=grow(batch.similarity, points, 50.0),
        point_mask=grow(batch.point_mask, points, 0),
        tokens=grow(batch.tokens, tokens, -2.0),
        token_mask=grow(batch.token_mask, tokens, 0),
        candidates=grow(batch.candidates, candidates, 0.5),
        candidate_mask=grow(batch.candidate_mask, candidates, 0),
        quality=grow(batch.quality, candidates, 0.9),
    )


def sr_section(name: str = "sr_plus", **changes: Any) -> SRConfig:
    """The section of an identifier of the folder sr; changes by dotted key, with ``__`` for the dots."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    section = settings(spec_of(name), SRConfig(), {"network.heads": 4, **dotted})
    assert isinstance(section, SRConfig)
    return section


def sr_network(name: str = "sr_plus", dim: int = D, seed: int = 3, **changes: Any) -> SRNetwork:
    return build_sr(sr_section(name, **changes), dim, seed).double()


def shaken(network: torch.nn.Module, size: float = 0.05) -> Any:
    """The network with noise on every parameter, so that nothing is hidden by a start at zero or one."""
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(size * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return network


def decision(
    xyz: list[list[float]], excluded: list[bool] | None = None, percept: Callable[[], Percept] | None = None, seed: int = 0
) -> Decision:
    count = len(xyz)
    poses = np.zeros((count, 7), dtype=np.float32)
    poses[:, :3] = xyz
    poses[:, 3] = 1.0
    quality = np.linspace(0.1, 0.9, count, dtype=np.float32)
    blocked: Bool = np.array(excluded if excluded is not None else [False] * count)

    def none() -> Percept:
        raise AssertionError("the percept was not to be looked at")

    image = np.zeros((1, 2, 2, 3), np.uint8)
    observation = Observation(image, np.ones((1, 2, 2), np.float32), np.eye(3)[None], np.eye(4)[None])
    return Decision(
        task="pick",
        phase="pick",
        instruction="give me the apple",
        observation=observation,
        candidates=Candidates(poses, np.full(count, 0.04, np.float32), quality),
        excluded=blocked,
        rng=np.random.default_rng(seed),
        percept=percept or none,
    )


def placing(xyz: list[list[float]], percept: Callable[[], Percept] | None = None) -> Decision:
    made = decision(xyz, percept=percept)
    return replace(made, task="place", phase="place", candidates=replace(made.candidates, kind="place"))


def from_above() -> Observation:
    """One view from above: a block whose near side is 4 cm right of the middle, another far away."""
    depth = np.full((1, 200, 200), 1.0, np.float32)
    K = np.array([[[400.0, 0, 100], [0, 400.0, 100], [0, 0, 1]]])
    down = np.array([[[0.0, -1, 0, 0.5], [-1, 0, 0, 0], [0, 0, -1, 1.0], [0, 0, 0, 1]]])
    depth[0, 90:110, 60:84] = 0.95
    depth[0, 20:40, 150:170] = 0.95
    return Observation(np.zeros((1, 200, 200, 3), np.uint8), depth, K, down)


def cloud(points: list[list[float]], similarity: list[float]) -> Callable[[], Percept]:
    xyz = np.array(points, np.float32)
    features = np.ones((len(xyz), 4), np.float32) / 2
    text = TextEmbedding(np.ones(4, np.float32) / 2, np.ones((2, 4), np.float32) / 2, np.ones(2, bool))
    return lambda: Percept(SemanticCloud(xyz, features, np.array(similarity, np.float32), np.ones(len(xyz), np.uint8)), text)


ENCODER = {"name": "made-up", "dim": 8}


def random_percept(dim: int = 8, points: int = 30, seed: int = 0) -> Percept:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(points, dim)).astype(np.float32)
    text = rng.normal(size=dim).astype(np.float32)
    xyz = rng.normal([0.5, 0.0, 0.05], 0.04, (points, 3)).astype(np.float32)
    tokens = rng.normal(size=(3, dim)).astype(np.float32)
    similarity = (features @ text).astype(np.float32)
    return Percept(
        SemanticCloud(xyz, features, similarity, np.ones(points, np.uint8)), TextEmbedding(text, tokens, np.ones(3, bool))
    )


def write_features(path: Path, count: int = 6, dim: int = 8) -> Path:
    """Made-up picks and placements of a made-up encoder; in each the candidate nearest to the most similar point is right."""
    rng = np.random.default_rng(0)
    n, k = 12, 5
    with create_features(path, count, {**ENCODER, "dim": dim}, {}) as writer:
        for i in range(count):
            points, similarity = rng.uniform(0.3, 0.6, (n, 3)), rng.normal(size=n)
            tips = rng.uniform([0.3, -0.2, 0.0], [0.6, 0.2, 0.1], (k, 3))
            label = int(np.argmin(np.linalg.norm(tips - points[int(np.argmax(similarity))], axis=1)))
            rows: dict[str, Any] = {
                "points": points,
                "features": rng.normal(size=(n, dim)),
                "similarity": similarity,
                "point_mask": np.ones(n),
                "text": rng.normal(size=dim),
                "tokens": rng.normal(size=(3, dim)),
                "token_mask": np.ones(3),
                "candidates": np.concatenate([tips, np.tile([1.0, 0, 0, 0], (k, 1))], 1),
                "candidate_mask": np.ones(k),
                "widths": np.full(k, 0.05),
                "quality": rng.uniform(0.2, 0.9, k),
                "valid": np.arange(k) == label,
                "label": np.asarray(label),
                "seed": np.array([0, 1, i]),
                "source": np.asarray(i),
                "phase": np.asarray(i % 2),
            }
            cells = rng.uniform([0.3, -0.2, 0.0], [0.6, 0.2, 0.1], (30, 3))
            seen = {
                "cell_points": cells,
                "cell_features": rng.normal(size=(30, dim)),
                "cell_mask": np.ones(30),
                "surface_points": np.repeat(cells, 3, axis=0),
                "surface_colors": rng.integers(0, 256, (90, 3)),
                "surface_mask": np.ones(90),
                "held": np.array([0.03, 0.02, 0.05]) * (i % 2),
            }
            rows = {name: rows.get(name, np.zeros((2,) * len(axes))) for name, (_, axes) in LAYOUT.items()} | seen
            writer.add(rows, "give me the thing")
        writer.finish({"train": np.arange(count - 2), "valid": np.arange(count - 2, count)})
    return path


def random_poses(count: int, seed: int = 0) -> F32:
    """(count, 7) keyposes in the workspace, turned in any way."""
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(*WORKSPACE, (count, 3))
    return np.concatenate([xyz, Rotation.random(count, random_state=seed).as_quat()], axis=1).astype(np.float32)
