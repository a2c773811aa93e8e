"""Cameras of other sizes and distances: things are brought to the size at which they are known."""

from __future__ import annotations

import numpy as np
import pytest

from srcli.evaluation import deciding
from srcli.evaluation.apparent import magnification, resampled
from srcli.evaluation.deciding import Decider
from srcli.evaluation.scene import Scene
from srcli.frames import Observation, placed
from srcli.frames.observation import changed
from srcli.frames.placing import CELL
from srcli.perception.geometry import unproject_view
from srcli.sim import cameras
from srcli.types import Observation as Views


def halved(seen: Observation) -> Observation:
    """As cameras of half the pixels each way would have seen it."""
    count, height, width = seen.depth.shape
    rgb = seen.rgb.reshape(count, height // 2, 2, width // 2, 2, 3).mean(axis=(2, 4))
    K = seen.K * np.array([[0.5], [0.5], [1.0]])
    found = changed(seen, rgb=np.rint(rgb).astype(np.uint8), depth=seen.depth[:, ::2, ::2].copy(), K=K)
    return changed(found, workspace=None, T_cell_world=None)


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0])
def test_the_cell_itself_is_left_alone(scale: float) -> None:
    from srcli.config.sim import SimConfig

    for chosen in (slice(None), slice(0, 1), slice(1, 2)):
        made = cameras(SimConfig(camera_scale=scale))[chosen]
        K, poses = np.stack([c.K for c in made]), np.stack([c.T_world_cam for c in made])
        empty = np.zeros((len(made), 8, 8), dtype=np.float32)
        views = Views(np.zeros((len(made), 8, 8, 3), dtype=np.uint8), empty, K, poses)
        assert magnification(views, CELL, scale) == 1.0 and resampled(views, 1.0) is views
        assert magnification(views, CELL, 2 * scale) == pytest.approx(2.0, rel=0.02)


def test_an_enlarged_view_shows_the_same_points(observed: Observation) -> None:
    rows, columns = np.mgrid[:40, :48]
    depth = (0.6 + 0.001 * rows + 0.002 * columns)[None].astype(np.float32)
    depth[0, :, 30:] += 0.3
    K = np.array([[[60.0, 0, 24], [0, 60.0, 20], [0, 0, 1]]])
    views = Views(np.zeros((1, 40, 48, 3), dtype=np.uint8), depth, K, observed.T_world_cam[:1])
    for factor in (0.5, 2.0, 2.4):
        made = resampled(views, factor)
        first, second = (unproject_view(v.depth[0], v.K[0], np.eye(4)) for v in (views, made))
        # Both lie on one of the two planes z = 0.6 + 0.001 v + 0.002 u, whatever the grid.
        for points in (first, second):
            v, u = points[:, 1] / points[:, 2] * 60 + 20, points[:, 0] / points[:, 2] * 60 + 24
            off = points[:, 2] - (0.6 + 0.001 * v + 0.002 * u)
            assert np.minimum(np.abs(off), np.abs(off - 0.3)).max() < 0.004
        assert made.rgb.shape[1:3] == made.depth.shape[1:] and made.depth.shape[2] == round(48 * factor / 8) * 8


def test_half_the_pixels_are_brought_to_the_cells_size(
    observed: Observation, picked: Scene, decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def keep(views: Views, factor: float) -> Views:
        made.append((factor, resampled(views, factor)))
        return made[-1][1]

    monkeypatch.setattr(deciding, "resampled", keep)
    half = halved(observed)
    decision = decider(placed(half), picked.sentence)
    ((factor, read),) = made
    assert factor == pytest.approx(2.0, rel=0.03) and decision.found and decision.views.rgb.shape == half.rgb.shape
    assert read.rgb.shape == observed.rgb.shape and np.abs(read.K - observed.K).max() < 0.6
    assert np.abs(read.rgb.astype(float) - observed.rgb).mean() < 6
    both = (read.depth > 0) & (observed.depth > 0)
    assert both.mean() > 0.9 and np.median(np.abs(read.depth - observed.depth)[both]) < 0.003
