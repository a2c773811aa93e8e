"""Proposals and their features against slow references, cell by cell."""

from collections.abc import Callable

import numpy as np
import pytest

from srcli.actions.features import FEATURES, LOOK, describe
from srcli.actions.gripper import GRIPPER
from srcli.actions.heightmaps import HeightMaps, build_maps
from srcli.actions.poses import approach_frames
from srcli.actions.proposals import DEPTHS, Clearance, Proposals, clearance_maps, propose
from srcli.config.candidates import CandidateConfig


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    rng = np.random.default_rng(2)
    boxes = [(0.50, 0.00, 0.03, 0.05, 0.06), (0.56, 0.05, 0.05, 0.03, 0.04), (0.47, 0.09, 0.02, 0.02, 0.09)]
    return np.concatenate(
        [
            np.column_stack([rng.uniform(x, x + a, 900), rng.uniform(y, y + b, 900), h + rng.normal(0, 0.001, 900)])
            for x, y, a, b, h in boxes
        ]
    ).astype(np.float32)


@pytest.fixture(scope="module")
def maps(points: np.ndarray) -> HeightMaps:
    return build_maps(points, approach_frames(4), 0.003, 0.11)


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


def _run(heights: np.ndarray, on: Callable[[np.ndarray], np.ndarray], v: int, u: int) -> list[float]:
    """Lengths in cm over which a column of the map goes on to both sides of (v, u), the shorter first."""
    lines = [on(heights[v + s * np.arange(1, 26), u]) for s in (-1, 1)]
    return sorted((len(line) if line.all() else int(np.argmin(line))) * 0.3 for line in lines)


def _side(patch: np.ndarray, rows: dict[int, np.ndarray], end: int, near: int) -> tuple[float, float, float]:
    """Contact, engagement and skew of the pad on one side; ``rows`` are the occupied columns of the rows that have some."""
    touching = [r for r, c in rows.items() if abs(c[end] - near) < 1.7]
    inward = 1 if end == 0 else -1
    behind = [max(patch[r + 3, np.clip(near + 16 + k * inward, 0, 32)] for k in range(3)) for r in touching]
    skew = abs(np.polyfit(list(rows), [c[end] for c in rows.values()], 1)[0]) if len(rows) > 1 else 0.0
    return len(touching) / 7, float(np.mean(behind)) * 100 if behind else 0.0, min(skew, 3.0)


def test_features_equal_a_reference_grasp_by_grasp(maps: HeightMaps, clearance: Clearance, proposals: Proposals) -> None:
    some = proposals.take(np.arange(0, len(proposals), 7))
    found = describe(maps, clearance, some)
    assert np.isfinite(found).all()
    columns = np.arange(-16, 17)
    for row, values in enumerate(found):
        f, v, u = some.frame[row], int(some.v[row]), int(np.floor(some.u[row]))
        fraction, height = float(some.u[row]) - u, some.height[row]
        surface = maps.heights[f]
        patch = surface[v - 3 : v + 4, u - 16 : u + 17] - height
        inside = np.abs(columns - fraction) * maps.cell < some.opening[row] / 2 + maps.cell / 2

        def occupied(level: float, patch: np.ndarray = patch, inside: np.ndarray = inside) -> dict[int, np.ndarray]:
            return {r - 3: columns[line] for r, line in enumerate((patch > level) & inside) if line.any()}

        rows = occupied(0.004)
        left, right = min(r[0] for r in rows.values()), max(r[-1] for r in rows.values())
        between = (columns >= left) & (columns <= right)
        wanted = {
            "opening": [some.opening[row] * 100],
            "closed_width": [(right - left + 1) * 0.3],
            "top": [max(0.0, patch[:, inside].max()) * 100],
            "off_centre": [abs((left + right) / 2 - fraction) * 0.3],
            "solidity": [((patch > 0.004) & inside)[:, between].mean()],
            "tip_height": [(height - maps.floor[f, v, u]) * 100],
        }
        tip, here = _run(surface, lambda z, h=height: z > h + np.float32(0.004), v, u), surface[v, u]  # type: ignore[misc]
        band = np.float32(0.012)
        near = _run(surface, lambda z, h=here, b=band: (z > h - b) & (z < h + b), v, u)  # type: ignore[misc]
        for name, pair in (("run_tip", tip), ("run", near)):
            wanted[f"{name}_short"], wanted[f"{name}_long"] = [pair[0]], [pair[1]]
        for name, level in (("lean", 0.014), ("lean_high", 0.026)):
            upper = occupied(level)
            inwards = [3.0, 3.0]
            if upper:
                ends = (min(r[0] for r in upper.values()) - left, right - max(r[-1] for r in upper.values()))
                inwards = sorted(min(end * 0.3, 3.0) for end in ends)
            wanted[f"{name}_less"], wanted[f"{name}_more"] = [inwards[0]], [inwards[1]]
        sides = zip(_side(patch, rows, 0, left), _side(patch, rows, -1, right), strict=True)
        for name, both in zip(("contact", "engagement", "skew"), sides, strict=True):
            wanted[f"{name}_less"], wanted[f"{name}_more"] = [min(both)], [max(both)]
        assert len(wanted) == 20
        for name, (value,) in wanted.items():
            assert values[FEATURES.index(name)] == pytest.approx(float(value), abs=3e-4), (row, name)


@pytest.mark.parametrize("cell", [0.003, 0.006])
def test_features_on_a_part_of_the_maps_are_those_on_the_whole(points: np.ndarray, cell: float) -> None:
    frames, config = approach_frames(4, 0.44), CandidateConfig(cell=cell)
    chosen = (np.abs(points[:, :2] - [0.515, 0.025]) < 0.02).all(axis=1)
    found = []
    for around in (None, points[chosen]):
        maps = build_maps(points, frames, cell, max(0.11, LOOK * cell), around)
        mask = np.zeros(maps.heights.shape, bool)
        cells = np.rint((points[chosen].astype(np.float64) @ frames[:, :, :2] - maps.origin[:, None]) / cell).astype(int)
        mask[np.arange(len(frames))[:, None], cells[:, :, 1], cells[:, :, 0]] = True
        clearance = clearance_maps(maps)
        proposals = propose(maps, clearance, config, mask)
        found.append((maps.heights.size, describe(maps, clearance, proposals)))
    (whole, wanted), (part, features) = found
    assert part < whole and len(wanted) > 20
    np.testing.assert_allclose(features, wanted, atol=1e-5)
