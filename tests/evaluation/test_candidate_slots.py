"""Which object a candidate lies on, against a scene whose answer is known."""

import numpy as np

from srcli.evaluation.attempt import aimed_at
from srcli.evaluation.candidate_slots import candidate_slots
from srcli.types import Action, Candidates, Observation

K = np.array([[200.0, 0, 80], [0, 200.0, 60], [0, 0, 1]])
# A camera 0.5 m above (0.5, 0), looking down; image right is world -y, image down is world -x.
LOOKING_DOWN = np.array([[0.0, -1, 0, 0.5], [-1, 0, 0, 0], [0, 0, -1, 0.5], [0, 0, 0, 1]])


def scene():
    """Two boxes of 4 cm height: slot 0 at y = +0.05, slot 2 at y = -0.05."""
    depth = np.full((120, 160), 0.5, np.float32)
    labels = np.zeros((120, 160), np.uint16)
    rows, columns = np.mgrid[:120, :160]
    x = 0.5 - (rows + 0.5 - 60) / 200 * 0.46
    y = -(columns + 0.5 - 80) / 200 * 0.46
    for slot, centre in ((0, 0.05), (2, -0.05)):
        box = (np.abs(x - 0.5) < 0.02) & (np.abs(y - centre) < 0.02)
        depth[box], labels[box] = 0.46, slot + 1
    labels[0, :], depth[0, :] = 65535, 0.3
    observation = Observation(np.zeros((1, 120, 160, 3), np.uint8), depth[None], K[None], LOOKING_DOWN[None])
    return observation, labels[None]


def test_known_scene():
    observation, labels = scene()
    down = [0.0, 1.0, 0.0, 0.0]  # half a turn about y: the tool looks down, and closes along x
    poses = np.array(
        [
            [0.5, 0.05, 0.03, *down],  # on slot 0
            [0.5, -0.05, 0.03, *down],  # on slot 2
            [0.5, -0.075, 0.05, *down],  # beside slot 2, within 3 cm
            [0.7, 0.2, 0.03, *down],  # on nothing
        ],
        np.float32,
    )
    candidates = Candidates(poses, np.full(4, 0.06, np.float32), np.ones(4, np.float32))
    assert candidate_slots(observation, labels, candidates).tolist() == [0, 2, 2, -1]
    assert candidate_slots(observation, np.zeros_like(labels), candidates).tolist() == [-1] * 4


def test_what_one_action_is_aimed_at():
    observation, labels = scene()
    down = [0.0, 1.0, 0.0, 0.0]

    def aimed(xyz, kind="grasp", turn=down):
        return aimed_at(observation, labels, Action(kind, np.array([*xyz, *turn], np.float32), 0.06))

    assert (aimed([0.5, 0.05, 0.03]), aimed([0.5, -0.05, 0.03]), aimed([0.7, 0.2, 0.03])) == (0, 2, None)
    assert aimed([0.5, 0.05, 0.03], "place") is None
    assert aimed([np.nan, 0, 0]) is None and aimed([0.5, 0.05, 0.03], turn=[0, 0, 0, 0]) is None
