"""Measuring what hangs at the gripper, on drawn boxes between two drawn fingers under a drawn hand."""

import numpy as np
import pytest

from srcli.actions.gripper import GRIPPER
from srcli.errors import SceneError
from srcli.perception import held as module
from srcli.perception.held import measure_held
from srcli.seeding import generator
from srcli.types import Observation

HEIGHT, WIDTH, FOCAL = 360, 640, 457.0
EYES = ((0.48, 0.55, 0.55), (0.48, -0.55, 0.55), (0.95, 0.05, 0.35))
TIP = np.array([0.5, 0.0, 0.3])
FRAME = np.diag([1.0, -1.0, -1.0])
Box = tuple[np.ndarray, np.ndarray]


def box(center: tuple[float, float, float], size: tuple[float, float, float]) -> Box:
    """A box at ``center`` in the tip's frame, as its two corners."""
    return np.array(center) - np.array(size) / 2, np.array(center) + np.array(size) / 2


def gripper(opening: float) -> list[Box]:
    length, thick = GRIPPER.finger_length, GRIPPER.finger_thickness
    side = (opening + thick) / 2
    fingers = [box((sign * side, 0.0, -length / 2), (thick, GRIPPER.finger_width, length)) for sign in (-1.0, 1.0)]
    return [*fingers, box((0.0, 0.0, -length - 0.05), (GRIPPER.hand_x, GRIPPER.hand_y, 0.10))]


def draw(boxes: list[Box], turn: np.ndarray = FRAME) -> Observation:
    rng = generator((3,))
    K = np.array([[FOCAL, 0.0, WIDTH / 2], [0.0, FOCAL, HEIGHT / 2], [0.0, 0.0, 1.0]])
    column, row = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    pixels = np.stack([(column - K[0, 2]) / FOCAL, (row - K[1, 2]) / FOCAL, np.ones_like(row)], axis=-1)
    depths, poses = [], []
    for eye in EYES:
        forward = np.array([0.5, 0.0, 0.25]) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = np.stack([right, np.cross(forward, right), forward], axis=1), eye
        rays = pixels @ pose[:3, :3].T
        depth = np.where(rays[..., 2] < -1e-6, -eye[2] / np.minimum(rays[..., 2], -1e-6), np.inf)
        start, way = (np.array(eye) - TIP) @ turn, rays @ turn
        way[np.abs(way) < 1e-12] = 1e-12
        for low, high in boxes:
            one, two = (low - start) / way, (high - start) / way
            enter, leave = np.minimum(one, two).max(axis=-1), np.maximum(one, two).min(axis=-1)
            depth = np.where((enter < leave) & (enter > 0), np.minimum(depth, enter), depth)
        depth = np.where(depth < 2, depth + rng.normal(0, 0.0015, depth.shape), 0.0)
        depths.append(depth.astype(np.float32))
        poses.append(pose)
    return Observation(np.zeros((3, HEIGHT, WIDTH, 3), np.uint8), np.stack(depths), np.stack([K] * 3), np.stack(poses))


def tip_pose(turn: np.ndarray = FRAME) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn, TIP
    return pose


def test_gripper_numbers_are_those_of_the_gripper() -> None:
    assert GRIPPER.max_opening == 2 * module._STROKE
    assert (
        GRIPPER.finger_thickness,
        GRIPPER.finger_width,
        GRIPPER.finger_length,
    ) == (module._THICKNESS, module._WIDTH, module._LENGTH)


@pytest.mark.parametrize("size", [(0.05, 0.05, 0.08), (0.03, 0.16, 0.04), (0.06, 0.09, 0.05)])
def test_a_box_between_the_fingers(size: tuple[float, float, float]) -> None:
    # Grasped 3 cm below its top.
    thing = box((0.0, 0.0, size[2] / 2 - 0.03), size)
    found = measure_held(draw([*gripper(size[0]), thing]), tip_pose())
    half = np.sort(size[:2]) / 2
    assert found.radius == pytest.approx(np.hypot(*half), abs=0.010)
    assert found.half_width == pytest.approx(half[0], abs=0.008)
    assert found.height == pytest.approx(size[2], abs=0.012)


def test_yaw_does_not_matter() -> None:
    c, s = np.cos(0.6), np.sin(0.6)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ FRAME
    thing = box((0.0, 0.0, 0.0), (0.03, 0.14, 0.05))
    found = measure_held(draw([*gripper(0.03), thing], turn), tip_pose(turn))
    assert found.radius == pytest.approx(0.0716, abs=0.010)
    assert found.half_width == pytest.approx(0.015, abs=0.008)


def test_what_stands_on_the_table_does_not_count() -> None:
    thing = box((0.0, 0.0, 0.0), (0.04, 0.04, 0.05))
    below = box((0.02, 0.02, 0.24), (0.15, 0.15, 0.12))
    alone, crowded = (measure_held(draw([*gripper(0.04), thing, *more]), tip_pose()) for more in ([], [below]))
    assert crowded.radius == pytest.approx(alone.radius, abs=0.004)
    assert crowded.height == pytest.approx(alone.height, abs=0.006)


def test_something_hidden_gets_what_the_gripper_can_hide() -> None:
    found = measure_held(draw(gripper(0.02)), tip_pose())
    assert found.half_width == pytest.approx(0.011, abs=0.004)
    assert found.radius >= found.half_width
    assert 0.0 < found.height <= 0.06


def test_damaged_views_are_refused() -> None:
    views = draw(gripper(0.02))
    depth = views.depth.copy()
    depth[0, 0, 0] = np.inf
    with pytest.raises(SceneError, match="infinity"):
        measure_held(Observation(views.rgb, depth, views.K, views.T_world_cam), tip_pose())
