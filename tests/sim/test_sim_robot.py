import numpy as np
import pybullet
from pybullet_utils.bullet_client import BulletClient

from srcli.sim.robot import HOME, LIMITS, REST, TIP, forward, inverse, robot_urdf


def _top_down(x, y, z, yaw, tilt=0.0):
    cy, sy, ct, st = np.cos(yaw), np.sin(yaw), np.cos(tilt), np.sin(tilt)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[cy, sy, 0], [sy, -cy, 0], [0, 0, -1]]) @ np.array([[ct, 0, st], [0, 1, 0], [-st, 0, ct]])
    pose[:3, 3] = x, y, z
    return pose


def test_urdf_is_the_same_text_every_time():
    assert robot_urdf() == robot_urdf()


def test_forward_kinematics_agrees_with_the_loaded_urdf(tmp_path):
    path = tmp_path / "robot.urdf"
    path.write_text(robot_urdf())
    client = BulletClient(pybullet.DIRECT)
    body = client.loadURDF(str(path), useFixedBase=True)
    rng = np.random.default_rng(0)
    for _ in range(20):
        joints = rng.uniform(-2.5, 2.5, 6)
        for joint, angle in enumerate(joints):
            client.resetJointState(body, joint, angle)
        state = client.getLinkState(body, 6, computeForwardKinematics=True)
        rotation = np.array(client.getMatrixFromQuaternion(state[5])).reshape(3, 3)
        tip = forward(joints)
        assert np.abs(tip[:3, 3] - (np.array(state[4]) + rotation[:, 2] * TIP)).max() < 1e-6
        assert np.abs(tip[:3, :3] - rotation).max() < 1e-6
    client.disconnect()


def test_inverse_kinematics_reaches_the_workspace_elbow_up():
    rng = np.random.default_rng(1)
    for _ in range(300):
        pose = _top_down(
            rng.uniform(0.276, 0.724),
            rng.uniform(-0.224, 0.224),
            rng.uniform(0.0, 0.3),
            rng.uniform(-1.6, 1.6),
            rng.uniform(-0.4, 0.4),
        )
        joints = inverse(pose)
        assert joints is not None
        assert np.abs(forward(joints)[:3, 3] - pose[:3, 3]).max() < 1e-4
        assert np.abs(forward(joints)[:3, :3] - pose[:3, :3]).max() < 1e-4
        assert joints[2] > 0
        assert np.all(np.abs(joints) <= LIMITS)
        assert abs(joints[0]) < np.pi / 2


def test_home_points_straight_down_and_out_of_reach_is_none():
    for joints in (HOME, REST):
        assert np.allclose(forward(joints)[:3, 2], [0, 0, -1], atol=1e-9)
    assert inverse(_top_down(1.5, 0.0, 0.1, 0.0)) is None
