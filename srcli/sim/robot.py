"""The arm and the gripper: a UR5 of primitives with a two-finger parallel gripper, written as URDF text.

Kinematics: the manufacturer's Denavit-Hartenberg parameters of the UR5 (Universal Robots support article "DH parameters for
calculations of kinematics and dynamics"). The base stands at the world origin, turned by pi about z, so that joint zero points
the arm along +x. The tool frame has z along the approach and x along the closing direction; the tip lies between the finger tips.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from srcli.types import F64

DH_D = (0.089159, 0.0, 0.0, 0.10915, 0.09465, 0.0823)
DH_A = (0.0, -0.425, -0.39225, 0.0, 0.0, 0.0)
DH_ALPHA = (math.pi / 2, 0.0, 0.0, math.pi / 2, -math.pi / 2, 0.0)
LIMITS = (2 * math.pi, 2 * math.pi, math.pi, 2 * math.pi, 2 * math.pi, 2 * math.pi)
EFFORTS = (150.0, 150.0, 150.0, 28.0, 28.0, 28.0)
SPEEDS = (3.14, 3.14, 3.14, 6.28, 6.28, 6.28)
MASSES = (3.7, 8.393, 2.275, 1.219, 1.219, 0.1879)
HOME: tuple[float, ...] = tuple(math.pi * v for v in (0.0, -0.8, 0.5, -0.2, -0.5, 0.0))
REST: tuple[float, ...] = tuple(math.pi * v for v in (0.0, -0.5, 0.5, -0.5, -0.5, 0.0))

STROKE = 0.0425
FINGER = (0.012, 0.022, 0.060)
HAND = (0.10, 0.06, 0.095)
TIP = HAND[2] + FINGER[2]
MAX_OPENING = 2 * STROKE

ARM_JOINTS = tuple(range(6))
FINGER_JOINTS = (8, 9)
HAND_LINK = 7

_GREY = "0.72 0.74 0.77 1"
_BLUE = "0.28 0.52 0.72 1"
_DARK = "0.22 0.23 0.25 1"


def _inertia(mass: float, size: tuple[float, float, float]) -> str:
    x, y, z = (v * v for v in size)
    ixx, iyy, izz = mass * (y + z) / 12, mass * (x + z) / 12, mass * (x + y) / 12
    return f'<inertia ixx="{ixx:.9f}" ixy="0" ixz="0" iyy="{iyy:.9f}" iyz="0" izz="{izz:.9f}"/>'


def _shape(geometry: str, xyz: tuple[float, float, float], rpy: tuple[float, float, float], colour: str, name: str) -> str:
    origin = f'<origin xyz="{xyz[0]:.6f} {xyz[1]:.6f} {xyz[2]:.6f}" rpy="{rpy[0]:.9f} {rpy[1]:.9f} {rpy[2]:.9f}"/>'
    return (
        f'<visual>{origin}<geometry>{geometry}</geometry><material name="{name}"><color rgba="{colour}"/></material></visual>'
        f"<collision>{origin}<geometry>{geometry}</geometry></collision>"
    )


def _cylinder(radius: float, length: float) -> str:
    return f'<cylinder radius="{radius:.6f}" length="{length:.6f}"/>'


def _box(size: tuple[float, float, float]) -> str:
    return f'<box size="{size[0]:.6f} {size[1]:.6f} {size[2]:.6f}"/>'


def _link(
    name: str, mass: float, com: tuple[float, float, float], size: tuple[float, float, float], shapes: Iterable[str]
) -> str:
    origin = f'<origin xyz="{com[0]:.6f} {com[1]:.6f} {com[2]:.6f}" rpy="0 0 0"/>'
    inertial = f'<inertial>{origin}<mass value="{mass}"/>{_inertia(mass, size)}</inertial>'
    return f'<link name="{name}">{inertial}{"".join(shapes)}</link>'


def _arm_links() -> list[str]:
    half = math.pi / 2
    along_x = (0.0, half, 0.0)
    along_y = (half, 0.0, 0.0)
    straight = (0.0, 0.0, 0.0)
    return [
        _link(
            "base",
            4.0,
            (0, 0, 0.02),
            (0.15, 0.15, 0.05),
            [_shape(_cylinder(0.075, 0.05), (0, 0, 0.025), straight, _GREY, "grey")],
        ),
        _link(
            "shoulder",
            MASSES[0],
            (0, 0, DH_D[0]),
            (0.12, 0.12, 0.15),
            [
                _shape(_cylinder(0.06, 0.13), (0, 0, DH_D[0]), straight, _GREY, "grey"),
                _shape(_cylinder(0.055, 0.15), (0, -0.06, DH_D[0]), along_y, _BLUE, "blue"),
            ],
        ),
        _link(
            "upper_arm",
            MASSES[1],
            (-0.2125, 0, 0.136),
            (0.43, 0.11, 0.11),
            [
                _shape(_cylinder(0.048, 0.425), (-0.2125, 0, 0.136), along_x, _GREY, "grey"),
                _shape(_cylinder(0.055, 0.12), (-0.425, 0, 0.1), straight, _BLUE, "blue"),
            ],
        ),
        _link(
            "forearm",
            MASSES[2],
            (-0.196, 0, 0.018),
            (0.40, 0.09, 0.09),
            [
                _shape(_cylinder(0.038, 0.39225), (-0.196, 0, 0.018), along_x, _GREY, "grey"),
                _shape(_cylinder(0.042, 0.09), (-0.39225, 0, 0.03), straight, _BLUE, "blue"),
            ],
        ),
        _link(
            "wrist_1",
            MASSES[3],
            (0, 0, DH_D[3]),
            (0.08, 0.08, 0.11),
            [_shape(_cylinder(0.038, 0.10), (0, 0, DH_D[3]), straight, _GREY, "grey")],
        ),
        _link(
            "wrist_2",
            MASSES[4],
            (0, 0, DH_D[4]),
            (0.08, 0.08, 0.10),
            [_shape(_cylinder(0.038, 0.10), (0, 0, DH_D[4]), straight, _BLUE, "blue")],
        ),
        _link(
            "wrist_3",
            MASSES[5],
            (0, 0, DH_D[5] - 0.015),
            (0.07, 0.07, 0.03),
            [_shape(_cylinder(0.037, 0.03), (0, 0, DH_D[5] - 0.015), straight, _GREY, "grey")],
        ),
    ]


def _gripper_links() -> list[str]:
    links = [_link("tool0", 0.01, (0, 0, 0), (0.02, 0.02, 0.02), [])]
    links.append(
        _link("hand", 0.6, (0, 0, HAND[2] / 2), HAND, [_shape(_box(HAND), (0, 0, HAND[2] / 2), (0, 0, 0), _DARK, "dark")])
    )
    for side, sign in (("left", 1.0), ("right", -1.0)):
        centre = (sign * FINGER[0] / 2, 0.0, HAND[2] + FINGER[2] / 2)
        links.append(_link(f"{side}_finger", 0.1, centre, FINGER, [_shape(_box(FINGER), centre, (0, 0, 0), _GREY, "grey")]))
    return links


def robot_urdf() -> str:
    """URDF text of arm and gripper; the same text every time.

    Joint indices: 0-5 the arm, 6 the fixed tool0, 7 the fixed hand, 8 and 9 the fingers (metres of half opening).
    """
    parts = ['<robot name="ur5_gripper">', *_arm_links(), *_gripper_links()]
    names = ["base", "shoulder", "upper_arm", "forearm", "wrist_1", "wrist_2", "wrist_3"]
    for i in range(6):
        xyz, roll, yaw = ((0.0, 0.0, 0.0), 0.0, math.pi) if i == 0 else ((DH_A[i - 1], 0.0, DH_D[i - 1]), DH_ALPHA[i - 1], 0.0)
        parts.append(
            f'<joint name="{names[i + 1]}_joint" type="revolute"><parent link="{names[i]}"/><child link="{names[i + 1]}"/>'
            f'<origin xyz="{xyz[0]:.6f} {xyz[1]:.6f} {xyz[2]:.6f}" rpy="{roll:.15f} 0 {yaw:.15f}"/><axis xyz="0 0 1"/>'
            f'<limit lower="{-LIMITS[i]:.9f}" upper="{LIMITS[i]:.9f}" effort="{EFFORTS[i]}" velocity="{SPEEDS[i]}"/></joint>'
        )
    parts.append(
        '<joint name="tool0_joint" type="fixed"><parent link="wrist_3"/><child link="tool0"/>'
        f'<origin xyz="0 0 {DH_D[5]}" rpy="0 0 0"/></joint>'
        '<joint name="hand_joint" type="fixed"><parent link="tool0"/><child link="hand"/>'
        '<origin xyz="0 0 0" rpy="0 0 0"/></joint>'
    )
    for side, sign in (("left", 1), ("right", -1)):
        parts.append(
            f'<joint name="{side}_finger_joint" type="prismatic"><parent link="hand"/><child link="{side}_finger"/>'
            f'<origin xyz="0 0 0" rpy="0 0 0"/><axis xyz="{sign} 0 0"/>'
            f'<limit lower="0" upper="{STROKE}" effort="500" velocity="0.5"/></joint>'
        )
    parts.append("</robot>")
    return "\n".join(parts) + "\n"


def _dh(i: int, q: float) -> F64:
    ct, st, ca, sa = math.cos(q), math.sin(q), math.cos(DH_ALPHA[i]), math.sin(DH_ALPHA[i])
    return np.array(
        [
            [ct, -st * ca, st * sa, DH_A[i] * ct],
            [st, ct * ca, -ct * sa, DH_A[i] * st],
            [0.0, sa, ca, DH_D[i]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


_BASE = np.diag([-1.0, -1.0, 1.0, 1.0])


def forward(joints: Iterable[float]) -> F64:
    """World pose (4, 4) of the tip frame for six joint angles in radians."""
    pose = _BASE
    for i, q in enumerate(joints):
        pose = pose @ _dh(i, q)
    tip = np.eye(4)
    tip[2, 3] = TIP
    return np.asarray(pose @ tip)


def _near(angle: float, reference: float) -> float:
    return reference + math.remainder(angle - reference, 2 * math.pi)


def inverse(pose: F64, reference: Iterable[float] = REST) -> F64 | None:
    """Closed-form inverse kinematics in the elbow-up configuration.

    The branches follow from the DH chain: the wrist centre gives joint 1, the approach joints 5 and 6, and joints 2-4 are a
    planar chain. Of the branches with the elbow up (joint 3 positive) the one nearest to ``reference`` is taken, one without a
    turn of the shoulder first.

    Args:
        pose: (4, 4) wanted world pose of the tip.
        reference: six joint angles that the solution shall be near to.

    Returns:
        (6,) joint angles in radians, or None when the pose is out of reach or of the joint limits.
    """
    ref = tuple(reference)
    flange = _BASE @ pose
    r = flange[:3, :3]
    p = flange[:3, 3] - (TIP * r[:, 2])
    wx, wy = p[0] - DH_D[5] * r[0, 2], p[1] - DH_D[5] * r[1, 2]
    radius = math.hypot(wx, wy)
    if radius < DH_D[3]:
        return None
    psi, phi = math.atan2(wy, wx), math.acos(DH_D[3] / radius)
    best: tuple[tuple[bool, float], F64] | None = None
    for q1 in (psi + phi + math.pi / 2, psi - phi + math.pi / 2):
        s1, c1 = math.sin(q1), math.cos(q1)
        c5 = (p[0] * s1 - p[1] * c1 - DH_D[3]) / DH_D[5]
        if abs(c5) > 1.0 + 1e-9:
            continue
        for q5 in (math.acos(max(-1.0, min(1.0, c5))), -math.acos(max(-1.0, min(1.0, c5)))):
            s5 = math.sin(q5)
            if abs(s5) < 1e-6:
                continue
            q6 = math.atan2((-r[0, 1] * s1 + r[1, 1] * c1) / s5, (r[0, 0] * s1 - r[1, 0] * c1) / s5)
            wrist = np.linalg.inv(_dh(0, q1)) @ _with(r, p) @ np.linalg.inv(_dh(4, q5) @ _dh(5, q6))
            x, y = wrist[0, 3], wrist[1, 3]
            c3 = (x * x + y * y - DH_A[1] ** 2 - DH_A[2] ** 2) / (2 * DH_A[1] * DH_A[2])
            if abs(c3) > 1.0:
                continue
            q3 = math.acos(c3)
            q2 = math.atan2(y, x) - math.atan2(DH_A[2] * math.sin(q3), DH_A[1] + DH_A[2] * math.cos(q3))
            q4 = math.atan2(wrist[1, 0], wrist[0, 0]) - q2 - q3
            joints = np.array([_near(q, ref[i]) for i, q in enumerate((q1, q2, q3, q4, q5, q6))])
            if np.any(np.abs(joints) > np.asarray(LIMITS)):
                continue
            moves = np.abs(joints - ref)
            cost = (bool(moves[0] > math.pi / 2), float(moves.max()))
            if best is None or cost < best[0]:
                best = (cost, joints)
    return None if best is None else best[1]


def _with(rotation: F64, position: F64) -> F64:
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = position
    return pose
