"""What is wrong with a recording is named, with its exit code; the rest goes through."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srcli.errors import SrcliError
from srcli.frames import Observation, Workspace, placed, read_frames, write_frames
from srcli.frames.checks import findings
from srcli.frames.observation import changed
from srcli.types import HeldExtent

Change = Callable[[Path], object]


def _json(name: str, change: Callable[[Any], object]) -> Change:
    def apply(folder: Path) -> None:
        data = json.loads((folder / name).read_text())
        change(data)
        (folder / name).write_text(json.dumps(data))

    return apply


def _camera(**values: Any) -> Change:
    return _json("cameras.json", lambda data: data["cameras"][0].update(values))


def _poses(change: Callable[[Any], Any]) -> Change:
    def apply(data: Any) -> None:
        for camera in data["cameras"]:
            camera["T_world_cam"] = change(np.array(camera["T_world_cam"])).tolist()

    return _json("cameras.json", apply)


def _depth(change: Callable[[Any], Any]) -> Change:
    def apply(folder: Path) -> None:
        values = change(np.asarray(Image.open(folder / "top_depth.png")))
        Image.fromarray(values).save(folder / "top_depth.png")

    return apply


def _cut(name: str) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:3000])


def _raise(metres: float) -> Callable[[Any], Any]:
    lift = np.eye(4)
    lift[2, 3] = metres
    return lambda pose: lift @ pose


def _millimetres(pose: Any) -> Any:
    pose[:3, 3] *= 1000
    return pose


def _tilted(pose: Any) -> Any:
    from scipy.spatial.transform import Rotation

    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("x", 40, degrees=True).as_matrix()
    return turn @ pose


BAD: dict[str, tuple[Change, int, str]] = {
    "no cameras.json": (lambda f: (f / "cameras.json").unlink(), 3, "holds no frames"),
    "no JSON": (lambda f: (f / "cameras.json").write_text("{"), 3, "line 1: not JSON"),
    "a number without end": (lambda f: (f / "cameras.json").write_text("9" * 5000), 3, "not JSON"),
    "no camera": (lambda f: (f / "cameras.json").write_text("[]"), 3, "a list of cameras"),
    "two of one name": (_json("cameras.json", lambda d: d["cameras"].append(d["cameras"][0])), 3, "two cameras are named 'top'"),
    "K of another shape": (_camera(K=[[1, 0, 0], [0, 1, 0]]), 3, "K: is 2 x 3, expected 3 x 3"),
    "K of nine": (_camera(K=[1.0] * 9), 3, "K: is 9, expected 3 x 3"),
    "K of words": (_camera(K="wide"), 3, "K: is not 3 x 3 numbers"),
    "K of no camera": (_camera(K=np.zeros((3, 3)).tolist()), 3, "K is no camera matrix"),
    "K of another size": (_camera(K=[[914, 0, 640], [0, 914, 360], [0, 0, 1]]), 9, "K is not of this image"),
    "NaN in a pose": (_camera(T_world_cam=np.full((4, 4), np.nan).tolist()), 3, "T_world_cam: holds NaN"),
    "no rotation": (_camera(T_world_cam=np.diag([2.0, 1, 1, 1]).tolist()), 3, "holds no rotation"),
    "transposed": (_poses(lambda pose: pose.T), 3, "is it transposed"),
    "a pose in millimetres": (
        _poses(_millimetres),
        9,
        "m from the origin",
    ),
    "no scale": (_camera(depth_scale=None), 3, "depth_scale is None"),
    "millimetres": (_camera(depth_scale=0.25), 9, "median is 850 m"),
    "a key misspelt": (_camera(T_cam_world=1), 3, "did you mean 'T_world_cam'"),
    "distortion": (_camera(distortion=[0.1]), 3, "undistort the images first"),
    "a name that no file can have": (_camera(name="x" * 300), 3, "no usable name"),
    "a name that is a path": (_camera(name="../top"), 3, "no usable name"),
    "another width": (_camera(width=1280), 3, "width is 1280, the image has 640"),
    "no depth image": (lambda f: (f / "top_depth.png").unlink(), 3, "no depth image there"),
    "a film": (lambda f: (f / "top.png").rename(f / "top.mp4"), 3, "but top.mp4"),
    "a film named PNG": (lambda f: (f / "top.png").write_bytes(b"\0\0\0\x20ftypisom" + bytes(90)), 3, "is no image"),
    "8 bits of depth": (_depth(lambda d: (d // 16).astype(np.uint8)), 3, "8-bit grey"),
    "colours as depth": (lambda f: shutil.copy(f / "top.png", f / "top_depth.png"), 3, "no depth of 16 bits"),
    "depth as colours": (lambda f: shutil.copy(f / "top_depth.png", f / "top.png"), 3, "is it the depth"),
    "a truncated image": (_cut("top.png"), 3, "truncated or damaged"),
    "a truncated depth image": (_cut("top_depth.png"), 3, "truncated or damaged"),
    "an empty image": (lambda f: (f / "top.png").write_bytes(b""), 3, "is no image"),
    "depth of another size": (_depth(lambda d: d[::2, ::2].copy()), 3, "colour has 640 x 360 pixels, depth 320 x 180"),
    "no depth at all": (_depth(np.zeros_like), 9, "no depth at all"),
    "not registered": (_depth(lambda d: np.roll(d, (10, 22), (0, 1))), 9, "best -22 pixels across and -10 down"),
    "upside down": (_poses(lambda pose: np.diag([1, -1, -1, 1.0]) @ pose), 9, "the world is upside down"),
    "z not up": (_poses(_tilted), 9, "z axis is not up: it is 40 degrees off"),
    "a table elsewhere": (_poses(_raise(0.05)), 9, "the table is 50 mm above z = 0"),
    "a workspace elsewhere": (
        _json("cameras.json", lambda d: d.update(workspace={"lower": [3, 3, 0], "upper": [3.4, 3.4, 0.4]})),
        9,
        "nothing stands on the table in the workspace",
    ),
    "a workspace in millimetres": (
        _json("cameras.json", lambda d: d.update(workspace={"lower": [276, -224, -20], "upper": [724, 224, 400]})),
        9,
        "workspace: is 448 m large",
    ),
    "a scale beyond 64 bits": (_camera(depth_scale=10**400), 3, "depth_scale is 1000"),
    "a name of stars": (_camera(name="a**"), 3, "no colour image there"),
    "a name of a bracket": (_camera(name="["), 3, "no colour image there"),
    "a workspace of words": (_json("cameras.json", lambda d: d.update(workspace="table")), 3, "lower and upper"),
    "no pose": (_json("cameras.json", lambda d: d["cameras"][0].pop("T_world_cam")), 9, "has no pose"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named(name: str, lone: Path, tmp_path: Path) -> None:
    change, code, said = BAD[name]
    folder = tmp_path / "frames"
    shutil.copytree(lone, folder)
    change(folder)
    with pytest.raises(SrcliError) as caught:
        Observation.from_folder(folder)
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.exit_code == code and caught.value.hint


def test_an_empty_table_is_named_with_what_is_seen(observed: Observation) -> None:
    flat = observed.T_world_cam[:1]
    bare = Observation(observed.rgb[:1], np.full_like(observed.depth[:1], 0.85), observed.K[:1], flat)
    with pytest.raises(SrcliError, match="nothing stands on the table"):
        placed(bare)


def test_what_is_right_is_left_alone(native: Path, lone: Path) -> None:
    for folder in (native, lone):
        found = Observation.from_folder(folder)
        assert found.notes == () and findings(found) == []
        assert found.table is not None and abs(found.table.height) < 5e-4 and found.table.tilt < 0.1
        assert found.T_cell_world is not None and np.array_equal(found.T_cell_world, np.eye(4))
    assert Observation.from_folder(native, cameras=("left",)).names == ("left",)


def test_what_is_unlikely_can_be_overruled(lone: Path, tmp_path: Path) -> None:
    shutil.copytree(lone, tmp_path / "frames")
    _depth(lambda d: np.roll(d, (10, 22), (0, 1)))(tmp_path / "frames")
    found = Observation.from_folder(tmp_path / "frames", check=False)
    assert len(found.notes) == 1 and "not aligned" in found.notes[0]


def test_a_table_that_is_off_is_told_and_fitted(observed: Observation) -> None:
    from scipy.spatial.transform import Rotation

    off = np.eye(4)
    off[:3, :3] = Rotation.from_euler("y", 2.0, degrees=True).as_matrix()
    off[:3, 3] = (0.0, 0.0, 0.02)
    moved = changed(observed, T_world_cam=off @ observed.T_world_cam, T_cell_world=None, workspace=None)
    told = placed(moved)
    assert told.table is not None and abs(told.table.tilt - 2.0) < 0.1
    # In the middle of what is seen of it: the turn is about the origin.
    assert abs(told.table.height - (0.02 - np.sin(np.deg2rad(2.0)) * told.table.point[0])) < 2e-3
    assert "--fit-table" in told.notes[0]
    fitted = placed(moved, fit_table=True)
    assert fitted.notes == () and fitted.T_cell_world is not None
    again = placed(changed(moved, T_world_cam=fitted.T_cell_world @ moved.T_world_cam))
    assert again.table is not None and abs(again.table.height) < 5e-4 and again.table.tilt < 0.05


def test_cameras_of_different_calibration_are_told(observed: Observation, native: Path) -> None:
    poses = observed.T_world_cam.copy()
    poses[1, 2, 3] += 0.015
    told = placed(changed(observed, T_world_cam=poses))
    assert told.table is not None and told.table.cameras[1] > 0.008
    assert any("the cameras disagree: the table of left" in note for note in told.notes)
    poses[1] = np.linalg.inv(poses[1])
    with pytest.raises(SrcliError, match="the cameras disagree"):
        placed(changed(observed, T_world_cam=poses))
    everything = np.linalg.inv(observed.T_world_cam[1:2])
    view = {key: getattr(observed, key)[1:2] for key in ("rgb", "depth", "K")}
    with pytest.raises(SrcliError) as caught:
        placed(Observation(**view, T_world_cam=everything))
    assert "inverse" in caught.value.hint


def test_bop_and_graspnet_name_what_is_missing(observed: Observation, tmp_path: Path) -> None:
    bop = write_frames(tmp_path / "bop" / "000001", observed, "bop")
    _json("scene_camera.json", lambda d: d["1"].pop("cam_K"))(bop)
    with pytest.raises(SrcliError, match="image 1 has no cam_K"):
        read_frames(bop)
    with pytest.raises(SrcliError, match="no image '9999"):
        read_frames(bop, cameras=("9" * 5000,))
    _json("scene_camera.json", lambda d: d["0"].update(depth_scale=2**64))(bop)
    assert read_frames(bop, cameras=("0",)).depth.max() > 1e15
    _json("scene_camera.json", lambda d: d.update({"9" * 5000: d["0"]}))(bop)
    with pytest.raises(SrcliError, match="a camera for each number of an image"):
        read_frames(bop)
    with pytest.raises(SrcliError, match="holds 1 scenes"):
        read_frames(tmp_path / "bop")
    grasps = write_frames(tmp_path / "scene_0100", observed, "graspnet")
    assert read_frames(grasps / "realsense").names == ("0000", "0001", "0002")
    (grasps / "realsense" / "meta" / "0001.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(SrcliError, match="has no factor_depth"):
        read_frames(grasps)
    for shape in ("(1" + "0" * 15 + ", 4, 4)", "(1" + "0" * 30 + ", 4, 4)"):
        head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        (grasps / "realsense" / "camera_poses.npy").write_bytes(b"\x93NUMPY\x01\0" + len(head).to_bytes(2, "little") + head)
        with pytest.raises(SrcliError, match=r"camera_poses\.npy: cannot be read"):
            read_frames(grasps)
    np.save(grasps / "realsense" / "camera_poses.npy", np.zeros((3, 3, 4)))
    with pytest.raises(SrcliError, match="is 3 x 3 x 4, expected N x 4 x 4"):
        read_frames(grasps)


def test_arrays_are_checked_like_files(observed: Observation) -> None:
    view = [observed.rgb[0], observed.depth[0] * 1000, observed.K[0], observed.T_world_cam[0]]
    assert Observation.from_views(*view, depth_scale=0.001).views == 1
    with pytest.raises(SrcliError, match="median is 850 m"):
        Observation.from_views(*view)
    for place, wrong in (
        (2, np.zeros((3, 3))),
        (2, np.eye(4)),
        (2, [[1, 2], [3]]),
        (2, "x"),
        (3, [[1, 2], [3]]),
        (1, "far"),
        (0, "blue"),
        (3, np.zeros((4, 4))),
        (1, observed.depth),
        (0, observed.depth[0]),
    ):
        given = [*view[:place], wrong, *view[place + 1 :]]
        with pytest.raises(SrcliError):
            Observation.from_views(*given, depth_scale=0.001)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"workspace": Workspace((276.0, -224.0, -20.0), (724.0, 224.0, 400.0))}, "workspace: is 448 m large"),
        ({"workspace": Workspace((0.7, 0.2, 0.4), (0.3, -0.2, 0.0))}, "workspace: lower is not below upper"),
        ({"workspace": Workspace((np.nan, -0.2, 0.0), (0.7, 0.2, 0.4))}, "workspace: lower is not below upper"),
        ({"workspace": Workspace((0.3, -0.2), (0.7, 0.2))}, "workspace: a corner is not three numbers"),  # type: ignore[arg-type]
        ({"held": HeldExtent(-0.03, 0.02, 0.05)}, "not the size of something that a gripper holds"),
        ({"held": HeldExtent(0.03, 0.04, 0.05)}, "not the size of something that a gripper holds"),
        ({"held": HeldExtent(35.0, 30.0, 90.0)}, "not the size of something that a gripper holds"),
    ],
)
def test_what_python_is_given_beside_the_views_is_checked(given: dict[str, Any], said: str, observed: Observation) -> None:
    with pytest.raises(SrcliError, match=said) as caught:
        Observation.from_views(observed.rgb, observed.depth, observed.K, observed.T_world_cam, **given, check=False)
    assert caught.value.exit_code == 9 and caught.value.hint
