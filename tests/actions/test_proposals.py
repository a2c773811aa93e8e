"""Proposals and their features against slow references, cell by cell."""

import numpy as np
import pytest

from srcli.actions.features import FEATURES, describe
from srcli.actions.gripper import GRIPPER
from srcli.actions.heightmaps import HeightMaps, build_maps
from srcli.actions.poses import approach_frames
from srcli.actions.proposals import DEPTHS, Clearance, Proposals, clearance_maps, propose
from srcli.config.candidates import CandidateConfig


@pytest.fixture(scope="module")
def maps() -> HeightMaps:
    rng = np.random.default_rng(2)
    boxes = [(0.50, 0.00, 0.03, 0.05, 0.06), (0.56, 0.05, 0.05, 0.03, 0.04), (0.47, 0.09, 0.02, 0.02, 0.09)]
    points = np.concatenate(
        [
            np.column_stack([rng.uniform(x, x + a, 900), rng.uniform(y, y + b, 900), h + rng.normal(0, 0.001, 900)])
            for x, y, a, b, h in boxes
        ]
    )
    return build_maps(points.astype(np.float32), approach_frames(4), 0.003, 0.11)


@pytest.fixture(scope="module")
def clearance(maps: HeightMaps) -> Clearance:
    return clearance_maps(maps)


@pytest.fixture(scope="module")
def proposals(maps: HeightMaps, clearance: Clearance) -> Proposals:
    return propose(maps, clearance, CandidateConfig())


def _slow(maps: HeightMaps, clearance: Clearance, config: CandidateConfig) -> set[tuple[int, int, int, int, int]]:
    """(frame, row, half columns, height in mm, opening in mm) of every proposal."""
    cell, found = maps.cell, set()
    reach = int((GRIPPER.max_opening + GRIPPER.finger_thickness) / cell)
    offsets = range(2, reach - 1)
    widest = (GRIPPER.max_opening + GRIPPER.finger_thickness) / cell
    for f, v, u in np.argwhere(maps.heights - maps.floor > 0.008):
        if v % 3 or u % 2 or not 6 <= v < maps.heights.shape[1] - 6 or not reach < u < maps.heights.shape[2] - reach - 1:
            continue
        finger, generous, top = clearance.finger[f, v], clearance.generous[f, v], maps.heights[f, v, u]
        for depth in (*DEPTHS, None):
            if depth is None:
                sides = (min(finger[u + o] for o in offsets), min(finger[u - o] for o in offsets))
                lowest = np.float32(max(sides)) + np.float32(config.clearance)
                level = np.ceil(max(lowest, top - np.float32(config.max_depth)) * 1000) / 1000
            else:
                level = np.ceil((top - np.float32(min(depth, config.max_depth))) * 250) / 250
            level = np.float32(level)
            limit = level - np.float32(config.clearance) + np.float32(1e-6)
            a = next((o for o in offsets if finger[u - o] <= limit), None)
            b = next((o for o in offsets if finger[u + o] <= limit), None)
            if a is None or b is None:
                continue
            a += int(generous[u - a - 1] <= limit and a + 1 + b <= widest)
            b += int(generous[u + b + 1] <= limit and b + 1 + a <= widest)
            opening = (a + b) * cell - GRIPPER.finger_thickness
            centre = u + (b - a) / 2
            fits = clearance.hand[f, v, int(np.floor(centre))] + np.float32(config.clearance) <= level + GRIPPER.finger_length
            if opening <= GRIPPER.max_opening and top - level > 0.006 and fits:
                found.add((int(f), int(v), round(centre * 2), round(float(level) * 1000), round(opening * 1000)))
    return found


def test_proposals_equal_a_search_cell_by_cell(maps: HeightMaps, clearance: Clearance, proposals: Proposals) -> None:
    slow = _slow(maps, clearance, CandidateConfig())
    fast = {
        (int(f), int(v), round(2 * float(u)), round(float(h) * 1000), round(float(o) * 1000))
        for f, v, u, h, o in zip(proposals.frame, proposals.v, proposals.u, proposals.height, proposals.opening, strict=True)
    }
    assert len(fast) == len(proposals) > 300
    assert fast == slow


def test_only_wanted_cells_are_started_from(maps: HeightMaps, clearance: Clearance, proposals: Proposals) -> None:
    wanted = np.zeros(maps.heights.shape, bool)
    assert len(propose(maps, clearance, CandidateConfig(), wanted)) == 0
    wanted[1] = True
    some = propose(maps, clearance, CandidateConfig(), wanted)
    assert len(some) == (proposals.frame == 1).sum() > 0


def test_features_equal_a_reference_grasp_by_grasp(maps: HeightMaps, clearance: Clearance, proposals: Proposals) -> None:
    some = proposals.take(np.arange(0, len(proposals), 7))
    found = describe(maps, clearance, some)
    assert np.isfinite(found).all()
    for row, values in enumerate(found):
        f, v, u = some.frame[row], int(some.v[row]), int(np.floor(some.u[row]))
        fraction, height = float(some.u[row]) - u, float(some.height[row])
        columns = np.arange(-16, 17)
        patch = maps.heights[f, v - 3 : v + 4, u - 16 : u + 17].astype(np.float64) - height
        inside = np.abs(columns - fraction) * maps.cell < some.opening[row] / 2 + maps.cell / 2
        low = (patch > 0.004) & inside
        rows = [columns[line] for line in low if line.any()]
        left, right = min(r[0] for r in rows), max(r[-1] for r in rows)
        lines = [maps.heights[f, v + s * np.arange(1, 26), u] > height + 0.004 for s in (-1, 1)]
        runs = sorted(len(line) if line.all() else int(np.argmin(line)) for line in lines)
        between = (columns >= left) & (columns <= right)
        wanted = {
            "opening": some.opening[row] * 100,
            "closed_width": (right - left + 1) * maps.cell * 100,
            "top": max(0.0, patch[:, inside].max()) * 100,
            "off_centre": abs((left + right) / 2 - fraction) * maps.cell * 100,
            "solidity": low[:, between].mean(),
            "run_tip_short": runs[0] * maps.cell * 100,
            "run_tip_long": runs[1] * maps.cell * 100,
            "tip_height": (height - maps.floor[f, v, u]) * 100,
        }
        for name, value in wanted.items():
            assert values[FEATURES.index(name)] == pytest.approx(float(value), abs=2e-4), (row, name)
        counts = [sum(abs(r[side] - near) < 1.7 for r in rows) / 7 for side, near in ((0, left), (-1, right))]
        assert values[FEATURES.index("contact_less")] == pytest.approx(min(counts))
        assert values[FEATURES.index("contact_more")] == pytest.approx(max(counts))
