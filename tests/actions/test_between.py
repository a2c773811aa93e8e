"""What a grasp closes on, against a plain check of every point."""

import numpy as np
from scipy.spatial.transform import Rotation

from srcli.actions.between import between_fingers


def test_same_as_checking_every_point() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.06, 0.06, (3000, 3)).astype(np.float32)
    turns = Rotation.random(12, random_state=1)
    poses = np.concatenate([rng.uniform(-0.02, 0.02, (12, 3)), turns.as_quat()], axis=1).astype(np.float32)
    widths = np.linspace(0, 0.085, 12, dtype=np.float32)
    found = between_fingers(points, poses, widths)
    for pose, turn, width, index in zip(poses, turns, widths, found, strict=True):
        tool = turn.inv().apply(points - pose[:3])
        inside = (np.abs(tool[:, 0]) <= width / 2) & (np.abs(tool[:, 1]) <= 0.011) & (tool[:, 2] >= -0.03) & (tool[:, 2] <= 0.005)
        assert index.tolist() == np.flatnonzero(inside).tolist()
    assert len(found[0]) == 0 and len(found[-1]) > 50


def test_nothing_to_look_at() -> None:
    poses, widths = np.zeros((2, 7), np.float32), np.full(2, 0.05, np.float32)
    poses[:, 3] = 1.0
    assert [len(index) for index in between_fingers(np.zeros((0, 3), np.float32), poses, widths)] == [0, 0]
    assert between_fingers(np.zeros((4, 3), np.float32), poses[:0], widths[:0]) == []
