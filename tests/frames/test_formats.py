"""Frames that the simulator rendered: read back from each format, they give the decision of the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from srcli.errors import ArtifactError, ConfigError, UnknownNameError
from srcli.evaluation.deciding import Decider
from srcli.evaluation.rollout import run_episode
from srcli.evaluation.scene import Scene
from srcli.evaluation.suites import suite_episodes
from srcli.frames import FORMATS, Observation, Workspace, placed, read_frames, write_frames
from srcli.frames.observation import changed
from srcli.frames.placing import in_cell
from srcli.params import Params
from srcli.perception.geometry import unproject_view
from srcli.sim import World
from srcli.stages.decide import chosen_method, scene_of
from srcli.tasks import get_task


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read(format: str, observed: Observation, tmp_path: Path) -> None:
    read = read_frames(write_frames(tmp_path / "frames", observed, format))
    assert np.array_equal(read.rgb, observed.rgb)
    assert np.array_equal(read.depth, observed.depth)
    assert read.depth.dtype == np.float32
    assert np.array_equal(read.K, observed.K)
    # Native poses are written as they are; the others are inverted, or related to the first camera.
    assert np.abs(read.T_world_cam - observed.T_world_cam).max() <= (0.0 if format == "native" else 1e-15)
    if format == "native":
        assert (read.names, read.workspace) == (observed.names, observed.workspace)


@pytest.mark.parametrize("format", FORMATS)
def test_frames_decide_as_the_simulator_does(
    format: str, observed: Observation, picked: Scene, params: Params, decider: Decider, tmp_path: Path
) -> None:
    episode = suite_episodes("development", 0, ("seen",), episodes=2)[-1]
    task = get_task("pick", params.language)
    with World(params.sim) as world:
        played = (
            run_episode(
                world,
                task,
                episode.spec(task, params.scene),
                decider.policy,
                candidates_config=params.candidates,
                cloud_config=params.cloud,
                encoder=decider.encoder,
                max_attempts=1,
                reader=decider.listener.read,
            )
            if format == "native"
            else None
        )
    read = Observation.from_folder(write_frames(tmp_path / "frames", observed, format))
    found, live = decider(read, picked.sentence), decider(observed, picked.sentence)
    if played is not None:
        choice = played.attempts[0].choice
        assert choice is not None and choice.scores is not None
        assert picked.sentence == played.spec.instruction
        assert np.array_equal(choice.action.pose, found.pose.astype(np.float32)) and choice.action.index == found.index
        assert found.scores is not None and np.array_equal(choice.scores, found.scores)
    assert found.index == live.index and found.width == live.width
    assert np.abs(found.pose - live.pose).max() <= (0.0 if format == "native" else 1e-6)
    assert found.observation.workspace == live.observation.workspace


def test_placing_and_drawing_methods_decide_as_in_the_simulator(params: Params, decider: Decider, tmp_path: Path) -> None:
    with scene_of(params, "place", 0) as scene:
        seen, sentence = scene.observe(), scene.sentence
    assert seen.held is not None
    write_frames(tmp_path / "frames", seen)
    read = Observation.from_folder(tmp_path / "frames", held=seen.held).with_seed(seen.seed)
    drawing = Decider(params, chosen_method(params, "random"))
    for decide in (decider, drawing):
        one, other = decide(seen, sentence), decide(read, sentence)
        assert one.kind == other.kind == "place"
        assert one.index == other.index and np.array_equal(one.pose, other.pose)
    assert drawing(read.with_seed((7,)), sentence).index != drawing(read.with_seed((8,)), sentence).index


def test_a_world_frame_elsewhere_gives_the_same_grasp(
    observed: Observation, picked: Scene, decider: Decider, native: Path
) -> None:
    away = np.eye(4)
    away[:3, 3] = (1.25, -0.75, 0.0)
    box = observed.workspace
    assert box is not None
    x, y, _ = away[:3, 3]
    moved = Workspace((box.lower[0] + x, box.lower[1] + y, box.lower[2]), (box.upper[0] + x, box.upper[1] + y, box.upper[2]))
    there = Observation.from_views(
        observed.rgb, observed.depth, observed.K, away @ observed.T_world_cam, names=observed.names, workspace=moved
    )
    here, found = decider(observed, picked.sentence), decider(there, picked.sentence)
    assert found.index == here.index
    assert np.allclose(found.pose[:3], here.pose[:3] + away[:3, 3], atol=1e-5)
    assert np.allclose(found.in_camera("left"), here.in_camera("left"), atol=1e-5)
    # Nobody says where the workspace is: it is found around what stands there.
    alone = Observation.from_views(observed.rgb, observed.depth, observed.K, away @ observed.T_world_cam)
    assert alone.workspace is not None
    assert np.abs(np.array(alone.workspace.lower[:2]) - np.array(moved.lower[:2])).max() < 0.12
    assert np.all(decider(alone, picked.sentence).pose[:2] > np.array(alone.workspace.lower[:2]))


@pytest.mark.parametrize("away", [(0.0, 0.0), (1.25, -0.75)])
def test_heights_of_a_workspace_are_those_of_the_file_wherever_it_lies(observed: Observation, away: tuple[float, float]) -> None:
    T = np.eye(4)
    T[:2, 3] = away
    box = observed.workspace
    assert box is not None
    (x0, y0, _), (x1, y1, _) = box.lower, box.upper
    given = Workspace((x0 + away[0], y0 + away[1], 0.02), (x1 + away[0], y1 + away[1], 0.15))
    there = Observation.from_views(
        observed.rgb, observed.depth, observed.K, T @ observed.T_world_cam, names=observed.names, workspace=given
    )
    _, inside = in_cell(placed(there))
    assert np.allclose([inside.lower[2], inside.upper[2]], [0.02, 0.15])


def test_a_camera_without_a_pose_decides_from_the_table(
    observed: Observation, picked: Scene, decider: Decider, lone: Path
) -> None:
    read = read_frames(lone)
    unknown = changed(read, T_world_cam=np.eye(4)[None], posed=False, workspace=None)
    found = decider(placed(unknown, fit_table=True), picked.sentence)
    assert found.observation.table is not None and abs(found.observation.table.height - 0.85) < 2e-3
    # The pose is in the camera's frame, on a thing that this camera sees there.
    u, v = (read.K[0, :2, :2] @ (found.pose[:2] / found.pose[2]) + read.K[0, :2, 2]).round().astype(int)
    assert 0 < read.depth[0, v, u] < found.pose[2] + 0.02 < 0.87


def test_a_workspace_in_the_frame_of_a_leaning_camera_is_where_its_things_are(observed: Observation) -> None:
    """The left camera looks down at 46 degrees; without its pose the world is its own frame, where z = 0 is the lens."""
    pose = observed.T_world_cam[1]
    points = unproject_view(observed.depth[1], observed.K[1], np.eye(4)).astype(np.float64)
    world = points @ pose[:3, :3].T + pose[:3, 3]
    near = np.abs(world[:, :2] - [0.5, 0.0]).max(axis=1) < 0.15
    things = points[near & (world[:, 2] > 0.02) & (world[:, 2] < 0.2)]
    centre = (things.min(axis=0) + things.max(axis=0)) / 2
    (x0, y0, z0), (x1, y1, z1) = (centre - 0.2).tolist(), (centre + 0.2).tolist()
    one = {key: getattr(observed, key)[1:2] for key in ("rgb", "depth", "K")}
    box = Workspace((x0, y0, z0), (x1, y1, z1))
    found = placed(Observation(**one, T_world_cam=np.eye(4)[None], posed=False, workspace=box), fit_table=True)
    _, cell = in_cell(found)
    assert found.T_cell_world is not None
    inside = things @ found.T_cell_world[:3, :3].T + found.T_cell_world[:3, 3]
    assert np.all((inside > cell.lower) & (inside < cell.upper), axis=1).mean() > 0.98


def test_a_workspace_over_a_table_elsewhere_is_led_to_the_table(observed: Observation) -> None:
    """The frame is 0.3 m off and leans by 10 degrees: the middle of the box is taken on the table, not at z = 0."""
    lean = np.eye(4)
    lean[:3, :3] = Rotation.from_euler("y", 10, degrees=True).as_matrix()
    lean[2, 3] = 0.3
    x, y, z = (lean @ [0.5, 0.0, 0.0, 1.0])[:3]
    box = Workspace((x - 0.22, y - 0.22, z - 0.1), (x + 0.22, y + 0.22, z + 0.4))
    moved = changed(observed, T_world_cam=lean @ observed.T_world_cam, workspace=box, T_cell_world=None)
    found = placed(moved, fit_table=True)
    assert found.T_cell_world is not None
    assert np.allclose((found.T_cell_world @ [x, y, z, 1.0])[:3], [0.5, 0.0, 0.0], atol=3e-3)


def test_folders_are_not_overwritten_by_chance(observed: Observation, tmp_path: Path) -> None:
    place = write_frames(tmp_path / "one", observed)
    with pytest.raises(ConfigError, match="is not empty"):
        write_frames(place, observed, "bop")
    assert read_frames(write_frames(place, observed, "bop", force=True)).names[0] == "000000"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="was not written by srcli"):
        write_frames(tmp_path / "other", observed, force=True)
    assert (tmp_path / "other" / "thesis.tex").exists()
    with pytest.raises(UnknownNameError):
        write_frames(tmp_path / "new", observed, "ros")
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == ["one", "other"]


@pytest.mark.parametrize("format", FORMATS)
def test_recordings_of_others_are_never_replaced(observed: Observation, tmp_path: Path, format: str) -> None:
    place = write_frames(tmp_path / "recorded", observed, format)
    (place / "srcli.json").unlink()
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="was not written by srcli"):
        write_frames(place, observed, force=True)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_long_recordings_are_thinned_or_chosen_from(observed: Observation, tmp_path: Path) -> None:
    often = changed(
        observed,
        **{key: np.concatenate([getattr(observed, key)] * 2) for key in ("rgb", "depth", "K", "T_world_cam")},
        names=(),
    )
    place = write_frames(tmp_path / "scene", often, "bop")
    read = read_frames(place)
    assert read.names == ("000000", "000002", "000004") and "of 6 are used" in read.notes[0]
    assert read_frames(place, cameras=("5", "1")).names == ("000005", "000001")
    with pytest.raises(ArtifactError, match="no image '9'"):
        read_frames(place, cameras=("9",))
