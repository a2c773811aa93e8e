"""What is wrong with a recording, named: a line of what it is and a line of what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srcli.errors import ArtifactError, SceneError
from srcli.frames.observation import Observation, Workspace
from srcli.types import F32, F64, U8, HeldExtent

#: The median depth of a table-top recording lies between these, metres.
NEAREST, FARTHEST = 0.2, 2.0
#: No side of a workspace is longer, nor of what a gripper holds, metres.
LARGEST, LARGEST_HELD = 3.0, 0.5
#: Cameras farther than this from the world's origin have their position in another unit, metres.
_FAR_CAMERA = 10.0
_RIGID = 1e-3
#: What depth may have been taken for metres by mistake, and the factor that makes it right.
_UNITS = (("millimetres", 1e-3), ("quarter millimetres", 2.5e-4), ("metres divided by 1000", 1e3))
#: The principal point lies within this share of the image's middle.
_CENTRE = 0.25
#: Focal lengths as a share of the image's width.
_SHORT, _LONG = 0.35, 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that cannot be right.

    Attributes:
        problem, hint: what it is, and what to do.
    """

    problem: str
    hint: str

    def error(self) -> SceneError:
        """As the error that a command ends with."""
        return SceneError(self.problem, self.hint)


def check_intrinsics(K: F64, where: str) -> None:
    """Refuse a matrix that is none of a pinhole camera.

    Raises:
        ArtifactError: names what is wrong.
    """
    if not np.allclose(K[2], (0.0, 0.0, 1.0)) or K[0, 0] <= 0 or K[1, 1] <= 0 or abs(K[1, 0]) > 1e-9:
        raise ArtifactError(f"{where}: K is no camera matrix", "[[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels is expected")
    if abs(K[0, 1]) > 1e-3 * K[0, 0]:
        raise ArtifactError(f"{where}: K has a skew of {K[0, 1]:g}", "rectify the images to square axes first")


def check_pose(pose: F64, where: str) -> None:
    """Refuse a (4, 4) matrix that is no pose.

    Raises:
        ArtifactError: names what is wrong.
    """
    rotation = pose[:3, :3]
    if not np.allclose(pose[3], (0.0, 0.0, 0.0, 1.0)):
        raise ArtifactError(f"{where}: T_world_cam ends in {pose[3].tolist()}", "its last row is [0, 0, 0, 1]; is it transposed?")
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > _RIGID or np.linalg.det(rotation) < 0:
        raise ArtifactError(
            f"{where}: T_world_cam holds no rotation", "its first three columns and rows are a right-handed rotation matrix"
        )


def check_workspace(box: Workspace | None) -> None:
    """Refuse a box that is none, or that is not in metres.

    Raises:
        SceneError: names what is wrong.
    """
    if box is None:
        return
    try:
        lower, upper = np.array(box.lower, dtype=np.float64), np.array(box.upper, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        lower = upper = np.zeros(0)
    if lower.shape != (3,) or upper.shape != (3,):
        raise SceneError("workspace: a corner is not three numbers", "Workspace((x, y, z), (x, y, z)), metres, world frame")
    # NaN is below nothing.
    if not bool((lower < upper).all()):
        raise SceneError("workspace: lower is not below upper", "metres, world frame")
    size = float((upper - lower).max())
    if size > LARGEST:
        raise SceneError(f"workspace: is {size:.4g} m large", "its corners are in metres, not in millimetres")


def check_held(held: HeldExtent | None) -> None:
    """Refuse what is no size of something that a gripper holds.

    Raises:
        SceneError: names it.
    """
    if held is None:
        return
    try:
        sizes = [float(size) for size in (held.radius, held.half_width, held.height)]
    except (TypeError, ValueError, OverflowError):
        sizes = [float("nan")]
    if not all(0 < size <= LARGEST_HELD for size in sizes) or held.half_width > held.radius:
        raise SceneError(
            f"{held}: not the size of something that a gripper holds",
            "radius, half width (no more than that) and height in metres: HeldExtent(0.035, 0.03, 0.09)",
        )


def findings(observation: Observation) -> list[Finding]:
    """What cannot be right of depth, K, registration and camera positions, whatever the scene shows."""
    found: list[Finding] = []
    height, width = observation.rgb.shape[1:3]
    views = zip(observation.labels, observation.rgb, observation.depth, observation.K, observation.T_world_cam, strict=True)
    for name, rgb, depth, K, pose in views:
        found += [f for f in (_unit(name, depth), _position(name, pose), _size(name, K, width, height)) if f is not None]
        shift = _misaligned(rgb, depth)
        if shift is not None:
            found.append(
                Finding(
                    f"{name}: colour and depth are not aligned: they fit best {shift[0]:+d} pixels across and {shift[1]:+d} down",
                    "register depth to colour while recording (RealSense: align to color); --unchecked decides all the same",
                )
            )
    return found


def _unit(name: str, depth: F32) -> Finding | None:
    median = float(np.median(depth[depth > 0])) if bool((depth > 0).any()) else 0.0
    if NEAREST <= median <= FARTHEST or not median:
        return None
    fitting = [(unit, factor) for unit, factor in _UNITS if NEAREST <= median * factor <= FARTHEST]
    guess = f"it looks like {fitting[0][0]}: multiply the depth scale by {fitting[0][1]:g}; " if fitting else ""
    return Finding(
        f"{name}: depth is implausible: its median is {median:.3g} m, a table-top view has {NEAREST:g} to {FARTHEST:g} m",
        f"{guess}it is metres per unit (native), millimetres per unit (BOP), 1 / factor_depth (GraspNet)",
    )


def _position(name: str, pose: F64) -> Finding | None:
    away = float(np.linalg.norm(pose[:3, 3]))
    if away <= _FAR_CAMERA:
        return None
    return Finding(
        f"{name}: T_world_cam puts the camera {away:.0f} m from the origin", "its last column is in metres, not in millimetres"
    )


def _size(name: str, K: F64, width: int, height: int) -> Finding | None:
    """A principal point far from the middle, or a focal length that no such image has."""
    middle = np.array([width, height]) / 2
    ratio = K[:2, 2] / middle
    if bool((np.abs(ratio - 1.0) <= _CENTRE).all()) and _SHORT * width <= K[0, 0] <= _LONG * width:
        return None
    hint = "K belongs to the size that the images are stored in"
    if ratio.min() > 0 and abs(ratio[0] - ratio[1]) < _CENTRE * ratio.max():
        factor = float(ratio.mean())
        hint = f"K fits {factor * width:.0f} x {factor * height:.0f}: scale its first two rows by {1 / factor:.3g}"
    return Finding(
        f"{name}: K is not of this image: its centre is ({K[0, 2]:.0f}, {K[1, 2]:.0f}) and its focal length {K[0, 0]:.0f}, "
        f"the image has {width} x {height} pixels",
        hint,
    )


#: Pixels of the longer side at which colour and depth are compared, and how far they may be apart there.
_COMPARED, _REACH = 320, 24
#: Nearer than this share of the width the two count as aligned.
_SAME = 0.012
#: How much better another place has to fit than the present one, and how well it has to fit at least (correlation).
_BETTER, _FITS = 1.35, 0.18


def _misaligned(rgb: U8, depth: F32) -> tuple[int, int] | None:
    """By how many pixels (across, down) depth has to be moved to fit the colour image; None where it fits or nothing tells."""
    step = max(1, round(max(depth.shape) / _COMPARED))
    grey = _small(rgb.astype(np.float32).mean(axis=2), step)
    distance = _small_depth(depth, step)
    if distance is None:
        return None
    # Outlines of things are in both; what is painted on them is in colour alone, so it only adds to the background.
    first, second = _edges(grey), _edges(distance)
    if first.std() < 1e-6 or second.std() < 1e-6:
        return None
    first, second = (first - first.mean()) / first.std(), (second - second.mean()) / second.std()
    spectrum = np.fft.rfft2(first) * np.conj(np.fft.rfft2(second))
    match = np.fft.irfft2(spectrum, first.shape) / first.size
    reach = min(_REACH, first.shape[0] // 4, first.shape[1] // 4)
    rows, columns = np.r_[-reach : reach + 1], np.r_[-reach : reach + 1]
    near = match[np.ix_(rows, columns)]
    best = np.unravel_index(int(np.argmax(near)), near.shape)
    down, across = int(rows[best[0]]), int(columns[best[1]])
    here = float(near[reach - 1 : reach + 2, reach - 1 : reach + 2].max())
    away = float(np.hypot(down, across)) / first.shape[1]
    peak = float(near[best])
    if away <= _SAME or peak < _FITS or peak < _BETTER * here:
        return None
    return across * step, down * step


def _small(image: F32, step: int) -> F32:
    rows, columns = image.shape[0] // step * step, image.shape[1] // step * step
    blocks = image[:rows, :columns].reshape(rows // step, step, columns // step, step)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _small_depth(depth: F32, step: int) -> F32 | None:
    """Depth at the same places as :func:`_small`, holes filled by the nearest return; None where nearly nothing returned."""
    from scipy import ndimage

    taken = depth[step // 2 :: step, step // 2 :: step][: depth.shape[0] // step, : depth.shape[1] // step]
    hole = taken <= 0
    if hole.mean() > 0.7:
        return None
    where = ndimage.distance_transform_edt(hole, return_distances=False, return_indices=True)
    filled: F32 = ndimage.median_filter(taken[tuple(where)], 3).astype(np.float32)
    return filled


def _edges(image: F32) -> F32:
    """Strength of edges, cut where they are strongest so that one bright line does not decide."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image, 1.0)
    strength = np.hypot(ndimage.sobel(smooth, axis=0), ndimage.sobel(smooth, axis=1))
    return np.asarray(np.minimum(strength, np.quantile(strength, 0.97)), dtype=np.float32)
