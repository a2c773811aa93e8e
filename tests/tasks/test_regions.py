"""Outlines of settled objects, valid regions and the physical rules."""

from __future__ import annotations

import numpy as np
import pytest

from srcli.objects import build, catalogue
from srcli.tasks.outlines import Outline, body, distance, opening_of, opening_size, outline
from srcli.tasks.regions import index_region, lies_in, rests_on, satisfied, valid_region
from srcli.types import F64, HeldExtent

HELD = HeldExtent(radius=0.03, half_width=0.02, height=0.04)


def at(name: str, x: float, y: float, z: float, quaternion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)) -> Outline:
    return outline(name, np.array([x, y, z, *quaternion]))


def standing(name: str, x: float = 0.5, y: float = 0.0) -> Outline:
    from srcli.objects import build, catalogue

    return at(name, x, y, -float(build(catalogue()[name]).low[2]))


def around(x: float, y: float, count: int = 72, radius: float = 0.0) -> F64:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def test_distance_to_a_polygon_is_negative_inside() -> None:
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    points = np.array([[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [0.5, 1.0]])
    np.testing.assert_allclose(distance(points, square), [-1.0, 1.0, 2**0.5, -0.5])


def test_an_upright_bowl_is_open_and_a_turned_one_is_not() -> None:
    bowl = standing("red_bowl")
    assert bowl.opening is not None
    assert bowl.low == pytest.approx(0.0, abs=1e-3)
    assert bowl.rim == pytest.approx(0.055, abs=1e-3)
    # The catalogue's rim is 157 mm wide and the wall 3.5 mm.
    np.testing.assert_allclose(np.linalg.norm(bowl.opening - (0.5, 0.0), axis=1), 0.075, atol=1e-3)
    over = at("red_bowl", 0.5, 0.0, 0.03, (1.0, 0.0, 0.0, 0.0))
    assert over.opening is None
    assert over.top is not None, "an upturned bowl has a flat bottom to put things on"
    assert at("red_bowl", 0.5, 0.0, 0.08, (0.70711, 0.0, 0.0, 0.70711)).top is None


def test_a_yaw_turns_the_outline() -> None:
    box = standing("soap_box")
    turned = at("soap_box", 0.5, 0.0, 0.0175, (0.0, 0.0, 0.70711, 0.70711))
    np.testing.assert_allclose(turned.half, box.half[::-1], atol=1e-3)
    assert box.top is not None
    assert standing("orange").top is None


def test_only_wide_openings_count() -> None:
    assert opening_size("cup") == pytest.approx((0.071, 0.071), abs=1e-3)
    assert opening_size("peeler_cover") == (0.0, 0.0)
    assert body("ice_mould").rim is None


def test_in_is_eroded_by_what_is_held_and_blocked_by_what_lies_there() -> None:
    scene = {0: standing("red_bowl"), 1: standing("tape", 0.62, 0.15)}
    rings = np.vstack([around(0.5, 0.0, radius=r) for r in (0.0, 0.045, 0.06, 0.09)])
    valid = valid_region(rings, "in", [0], scene, HELD).reshape(4, -1)
    assert valid.all(axis=1).tolist() == [True, True, False, False]
    assert not valid[2:].any()
    assert not valid_region(rings, "in", [1], scene, HELD).any()
    scene[2] = at("plum", 0.5, 0.0, 0.04)
    assert not valid_region(rings[:1], "in", [0], scene, HELD).any()
    assert not valid_region(rings, "on", [7], scene, HELD).any(), "an absent reference has no region"


def test_a_tight_opening_keeps_its_middle() -> None:
    wide = HeldExtent(0.04, 0.034, 0.06)
    points = np.array([[0.5, 0.0], [0.505, 0.0], [0.52, 0.0]])
    assert valid_region(points, "in", [0], {0: standing("cup")}, wide).tolist() == [True, True, False]


def test_on_needs_a_flat_top_and_in_an_opening() -> None:
    points = np.array([[0.5, 0.0], [0.535, 0.0]])
    box, ball = {0: standing("gelatin_box")}, {0: standing("racquetball")}
    assert valid_region(points, "on", [0], box, HELD).tolist() == [True, False]
    assert not valid_region(points, "in", [0], box, HELD).any()
    assert not valid_region(points, "on", [0], ball, HELD).any()


def test_around_keeps_clear_and_near() -> None:
    scene = {0: standing("apple"), 1: standing("pantene", 0.61, 0.0)}
    rings = np.vstack([around(0.5, 0.0, radius=r) for r in (0.02, 0.055, 0.1, 0.13, 0.16)])
    valid = valid_region(rings, "around", [0], scene, HELD).reshape(5, -1)
    assert valid.any(axis=1).tolist() == [False, False, True, True, False]
    taken = distance(rings, scene[1].footprint).reshape(5, -1) < HELD.half_width
    assert not (valid & taken).any()
    assert valid_region(np.array([[0.74, 0.0]]), "around", [0], {0: standing("apple", 0.67)}, None).tolist() == [False]


def test_the_workspace_is_the_one_of_the_settings() -> None:
    scene, rings = {0: standing("apple")}, around(0.5, 0.0, radius=0.1)
    assert valid_region(rings, "around", [0], scene, HELD).all()
    narrow = ((0.4, 0.6), (-0.2, 0.0))
    inside = valid_region(rings, "around", [0], scene, HELD, narrow)
    clear = (rings[:, 1] <= -HELD.half_width) & (np.abs(rings[:, 0] - 0.5) <= 0.1 - HELD.half_width)
    assert 0 < clear.sum() < len(rings) and inside.tolist() == clear.tolist()


def block(low: tuple[float, float, float], high: tuple[float, float, float]) -> F64:
    return np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])


def open_box(walls: int = 4) -> list[F64]:
    """12 cm wide, 5 cm high, walls of 3 mm."""
    sides = [
        ((-0.06, -0.06), (-0.057, 0.06)),
        ((0.057, -0.06), (0.06, 0.06)),
        ((-0.06, -0.06), (0.06, -0.057)),
        ((-0.06, 0.057), (0.06, 0.06)),
    ]
    floor = block((-0.06, -0.06, 0.0), (0.06, 0.06, 0.004))
    return [floor, *(block((*low, 0.0), (*high, 0.05)) for low, high in sides[:walls])]


def test_the_opening_of_a_mesh_is_found_where_it_is_closed_around() -> None:
    edge = opening_of(open_box())
    assert edge is not None and np.ptp(edge, axis=0) == pytest.approx([0.114, 0.114, 0.0], abs=0.004)
    assert edge[:, 2] == pytest.approx(0.05, abs=0.003) and np.abs(edge[:, :2].mean(axis=0)).max() < 0.003
    assert opening_of(open_box(walls=3)) is None and opening_of([block((-0.06, -0.06, 0.0), (0.06, 0.06, 0.05))]) is None


@pytest.mark.parametrize("name", ["red_bowl", "red_mug", "cup", "soap_dish", "yellow_bowl", "yellow_cup", "apple", "gelatin_box"])
def test_the_opening_of_solid_pieces_is_the_one_that_the_catalogue_states(name: str) -> None:
    found, stated = opening_of(build(catalogue()[name]).hulls), body(name).rim
    if stated is None:
        assert found is None
        return
    assert found is not None and np.abs(np.ptp(found, axis=0) - np.ptp(stated, axis=0)).max() < 0.016
    assert np.linalg.norm(found.mean(axis=0) - stated.mean(axis=0)) < 0.008


def test_the_benchmarks_rule_is_a_disc_or_a_ring_without_boxes() -> None:
    scene = {0: standing("gelatin_box")}
    points = np.array([[0.5, 0.0], [0.532, 0.0], [0.536, 0.0], [0.56, 0.0], [0.64, 0.0], [0.66, 0.0]])
    assert index_region(points, "on", [0], scene, None).tolist() == [True, True, False, False, False, False]
    assert index_region(points, "around", [0], scene, None).tolist() == [False, False, False, True, True, False]
    assert index_region(points[-1:], "around", [0], scene, HELD).all()
    scene[1] = standing("tape", 0.64, 0.0)
    assert not index_region(points[4:5], "around", [0], scene, HELD).any()


def test_carried_means_touching_without_the_table() -> None:
    assert rests_on(2, 0, [(0, 2), (-1, 0)])
    assert rests_on(2, 0, [(1, 2), (0, 1), (-1, 0)]), "through another object"
    assert not rests_on(2, 0, [(0, 2), (-1, 2)])
    assert not rests_on(2, 0, [(1, 2), (0, 1), (-1, 1)]), "the other stands on the table"
    assert not rests_on(2, 0, [])


def test_relations_are_told_apart_physically() -> None:
    bowl = standing("red_bowl")
    inside = {0: bowl, 1: at("plum", 0.5, 0.01, 0.035)}
    contacts = ((-1, 0), (0, 1))
    assert lies_in(inside[1], inside[1].center, bowl)
    assert satisfied("in", 1, 0, inside, contacts)
    assert satisfied("on", 1, 0, inside, contacts), "what lies inside is carried as well"
    assert not satisfied("around", 1, 0, inside, contacts)

    above = {0: standing("gelatin_box"), 1: at("soap", 0.5, 0.01, 0.04)}
    assert satisfied("on", 1, 0, above, contacts)
    assert not satisfied("in", 1, 0, above, contacts)
    assert not satisfied("around", 1, 0, above, contacts)
    assert not satisfied("on", 1, 0, above, ((-1, 0), (-1, 1), (0, 1)))

    beside = {0: bowl, 1: standing("plum", 0.65, 0.0)}
    assert satisfied("around", 1, 0, beside, ((-1, 0), (-1, 1)))
    assert not satisfied("on", 1, 0, beside, ((-1, 0), (-1, 1)))
    far = {0: standing("apple", 0.3, -0.2), 1: standing("plum", 0.6, 0.2)}
    assert not satisfied("around", 1, 0, far, ())
    assert not satisfied("around", 1, 0, {0: bowl}, ()), "it left the workspace"
