"""GraspNet rows: files, conventions, conversion, suppression, sources, picture."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from srcli.actions import sources
from srcli.actions.graspnet import (
    GraspGroup,
    best,
    check_group,
    draw_grasps,
    from_candidates,
    make_group,
    read_grasps,
    rotation_distance,
    suppress,
    to_candidates,
    write_grasps,
)
from srcli.actions.poses import canonical_quaternions, rotation_matrices
from srcli.actions.sources import episode_keys, grasp_source, prepare
from srcli.config.candidates import CandidateConfig
from srcli.errors import ArtifactError, ConfigError, DiskError, SceneError, UnknownNameError
from srcli.types import F64, Candidates, EpisodeSpec, Goal, Observation

CONFIG = CandidateConfig()
DOWN = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
"""Approach -z, closing +x: what the camera's rows look like in the world for a vertical grasp."""


def pose(seed: int = 0) -> F64:
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    T[:3, 3] = np.random.default_rng(seed).normal(size=3)
    return T


def random_group(count: int, seed: int = 0) -> GraspGroup:
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(count, random_state=seed).as_matrix()
    return make_group(
        rng.random(count), rng.uniform(0, 0.08, count), rng.choice([0.01, 0.04], count), rotations, rng.normal(size=(count, 3))
    )


def vertical(positions: list[tuple[float, float, float]], scores: list[float], depth: float = 0.02) -> GraspGroup:
    """Vertical grasps in the world frame whose fingertips are at the positions."""
    at = np.array(positions) + np.array([0, 0, depth])
    count = len(scores)
    return make_group(np.array(scores), np.full(count, 0.05), np.full(count, depth), np.stack([DOWN] * count), at)


def observation(T: F64 | None = None) -> Observation:
    T = np.eye(4) if T is None else T
    return Observation(
        np.zeros((1, 4, 4, 3), np.uint8), np.ones((1, 4, 4), np.float32), np.eye(3)[None], np.asarray(T, np.float64)[None]
    )


def episode(case: str = "") -> EpisodeSpec:
    return EpisodeSpec("pick", "seen", (0, 7, 3), "", Goal("", "label", ()), (), np.zeros((0, 7)), case=case)


def test_a_grasp_known_by_hand() -> None:
    # A camera 0.6 m above (0.5, 0), looking down: its x is the world's x, its y the world's -y, its z downwards.
    T = np.array([[1.0, 0, 0, 0.5], [0, -1, 0, 0], [0, 0, -1, 0.6], [0, 0, 0, 1]])
    # Seen from it: approach along +z, closing along +y, surface point 0.5 m away, fingertips 3 cm deeper.
    rotation = np.stack([[0.0, 0, 1], [0, 1, 0], np.cross([0.0, 0, 1], [0, 1, 0])], axis=1)
    row = np.array([[0.9, 0.06, 0.02, 0.03, *rotation.ravel(), 0.1, 0.05, 0.5, -1]])
    found = to_candidates(check_group(row, "row"), T)
    np.testing.assert_allclose(found.poses[0, :3], [0.6, -0.05, 0.07], atol=1e-6)
    tool = rotation_matrices(found.poses)[0]
    np.testing.assert_allclose(tool[:, 2], [0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(np.abs(tool[:, 0]), [0, 1, 0], atol=1e-6)
    assert np.linalg.det(tool) == pytest.approx(1)
    assert (found.widths[0], found.quality[0], found.kind) == (np.float32(0.06), np.float32(0.9), "grasp")


def test_candidates_survive_the_round_trip() -> None:
    rng = np.random.default_rng(1)
    rotations = Rotation.random(50, random_state=2).as_matrix()
    poses = np.concatenate([rng.normal(size=(50, 3)), canonical_quaternions(rotations)], axis=1).astype(np.float32)
    start = Candidates(poses, rng.random(50).astype(np.float32), rng.random(50).astype(np.float32))
    for T in (None, pose()):
        for depth in (0.0, 0.04):
            back = to_candidates(from_candidates(start, T, depth), T)
            np.testing.assert_allclose(back.poses, start.poses, atol=2e-6)
            np.testing.assert_array_equal(back.widths, start.widths)
            np.testing.assert_array_equal(back.quality, start.quality)


def test_rows_survive_the_round_trip_up_to_half_a_turn() -> None:
    start, T = random_group(40), pose(3)
    for index in range(len(start)):
        one = start.take(np.array([index]))
        back = from_candidates(to_candidates(one, T), T, float(one.depths[0]))
        np.testing.assert_allclose(back.translations, one.translations, atol=2e-6)
        assert rotation_distance(back.rotations[0], one.rotations)[0] < 2e-3
        np.testing.assert_allclose(back.rotations[0, :, 0], one.rotations[0, :, 0], atol=2e-6)


def test_left_handed_rows_keep_approach_and_closing() -> None:
    group = random_group(5)
    rows = group.rows.copy()
    rows[:, [6, 9, 12]] *= -1
    mirrored = check_group(rows, "rows")
    assert (np.linalg.det(mirrored.rotations) < 0).all()
    np.testing.assert_allclose(to_candidates(mirrored).poses, to_candidates(group).poses, atol=1e-6)


def test_scores_become_qualities_without_losing_their_order() -> None:
    np.testing.assert_allclose(to_candidates(vertical([(0, 0, 0)] * 3, [-0.2, 0.5, 0.9])).quality, [0, 0.5, 0.9])
    np.testing.assert_allclose(to_candidates(vertical([(0, 0, 0)] * 4, [-0.2, 20.0, 80.0, 40.0])).quality, [0, 0.25, 1, 0.5])


def test_files_are_what_other_tools_read(tmp_path: Path) -> None:
    path, group = tmp_path / "scene_0100" / "realsense" / "0000.npy", random_group(7)
    write_grasps(path, group)
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), group.rows)
    np.testing.assert_array_equal(read_grasps(path).rows, group.rows)
    np.save(path, group.rows.astype(np.float32))
    np.testing.assert_allclose(read_grasps(path).rows, group.rows, atol=1e-6)
    assert [file.name for file in path.parent.iterdir()] == ["0000.npy"]
    np.save(path, np.zeros((0, 17)))
    assert len(read_grasps(path)) == 0
    assert len(to_candidates(read_grasps(path), pose())) == 0


def test_what_is_no_grasp_file_is_refused(tmp_path: Path) -> None:
    path, good = tmp_path / "g.npy", random_group(3).rows
    with pytest.raises(ArtifactError, match="no grasp file"):
        read_grasps(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="cannot read"):
        read_grasps(path)
    np.save(path, good)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match="cannot read"):
        read_grasps(path)
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ArtifactError, match="cannot read"):
        read_grasps(path)
    for column, value, message in ((0, np.nan, "row 1"), (4, 3.0, "no rotation"), (1, -0.1, "negative width")):
        bad = good.copy()
        bad[1, column] = value
        np.save(path, bad)
        with pytest.raises(ArtifactError, match=message):
            read_grasps(path)
    for shape in ((3, 16), (17,)):
        np.save(path, np.zeros(shape))
        with pytest.raises(ArtifactError, match="holds shape"):
            read_grasps(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError):
        write_grasps(tmp_path / "file" / "g.npy", random_group(1))


def slow_suppress(group: GraspGroup, distance: float, angle: float) -> list[int]:
    kept: list[int] = []
    half = np.diag([1.0, -1.0, -1.0])
    for index in sorted(range(len(group)), key=lambda i: (-group.scores[i], i)):
        clash = False
        for other in kept:
            near = np.linalg.norm(group.translations[index] - group.translations[other]) < distance
            turns = [
                Rotation.from_matrix(group.rotations[index].T @ group.rotations[other] @ h).magnitude() for h in (np.eye(3), half)
            ]
            clash |= bool(near and min(turns) < angle)
        if not clash:
            kept.append(index)
    return kept


@pytest.mark.parametrize("value", [1e200, -1e308, 1.5])
def test_rows_that_overflow_are_refused_without_a_warning(value: float) -> None:
    group = random_group(4)
    rows = group.rows.copy()
    rows[2, 4:13] = value
    # One product of the columns is infinity less infinity.
    rows[2, 7] = -value
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(check_group(group.rows, "x").rows, group.rows)
        with pytest.raises(ArtifactError, match="row 2 holds no rotation"):
            check_group(rows, "x")


def test_grasps_at_the_end_of_the_world_are_left_out_without_a_warning() -> None:
    near = vertical([(0.5, 0.0, 0.1)], [0.5])
    rows = np.repeat(near.rows, 4, axis=0)
    rows[1, 13:16], rows[2, 3], rows[3, 13:16] = 1.7e308, 1.7e308, [1.7e308, -1.7e308, 1.7e308]
    with np.errstate(all="raise"):
        found = prepare(check_group(rows, "x").moved(pose()).moved(np.linalg.inv(pose())), CONFIG)
    assert len(found) == 1 and found.poses[0, :3] == pytest.approx([0.5, 0.0, 0.1], abs=1e-6)


def test_suppression_agrees_with_the_slow_one() -> None:
    rng = np.random.default_rng(5)
    base = random_group(50, 4)
    rotations = (Rotation.from_matrix(np.stack([DOWN] * 50)) * Rotation.from_rotvec(rng.normal(size=(50, 3)) * 0.5)).as_matrix()
    scores = np.round(base.scores, 1)  # with ties
    group = make_group(scores, base.widths, base.depths, rotations, rng.uniform(0, 0.06, (50, 3)))
    kept = suppress(group, 0.03, np.pi / 6).tolist()
    assert kept == slow_suppress(group, 0.03, np.pi / 6)
    assert 10 < len(kept) < 50
    assert suppress(group.take(np.zeros(0, dtype=np.int64))).tolist() == []
    assert suppress(group, 0.0).tolist() == np.argsort(-scores, kind="stable").tolist()


def test_half_a_turn_is_the_same_grasp_only_when_symmetric() -> None:
    turned = DOWN @ np.diag([1.0, -1.0, -1.0])
    group = make_group(np.array([0.9, 0.8]), np.ones(2), np.ones(2), np.stack([DOWN, turned]), np.zeros((2, 3)))
    assert suppress(group).tolist() == [0]
    assert suppress(group, symmetric=False).tolist() == [0, 1]


def test_best_grasps_in_all_and_per_object() -> None:
    group = random_group(6)
    rows = group.rows.copy()
    rows[:, 0], rows[:, 16] = [0.1, 0.9, 0.8, 0.7, 0.6, 0.9], [1, 0, 0, 0, 1, 1]
    group = GraspGroup(rows)
    assert best(group, 3).tolist() == [1, 5, 2]
    assert best(group, 10, per_object=2).tolist() == [1, 5, 2, 4]
    assert best(group, 2, per_object=1).tolist() == [1, 5]


def test_prepared_candidates_are_in_the_workspace_and_few() -> None:
    group = vertical([(0.5, 0, 0.03), (0.501, 0, 0.03), (0.9, 0, 0.03), (0.5, 0.1, -0.01), (0.6, 0, 0.02)], [0.5, 0.6, 1, 1, 0.9])
    rows = group.rows.copy()
    rows[4, 1] = 0.1
    upwards = group.take(np.array([0])).rows.copy()
    upwards[:, 4:13] = (-DOWN @ np.diag([1, -1, 1])).ravel()
    upwards[:, 15] -= 0.03
    found = prepare(GraspGroup(np.concatenate([rows, upwards])), CONFIG)
    np.testing.assert_allclose(found.poses[:, :2], [[0.6, 0], [0.501, 0]], atol=1e-6)
    assert found.widths[0] == np.float32(0.085)
    assert len(prepare(group, CONFIG.model_copy(update={"count": 1}))) == 1


@pytest.mark.parametrize("seed", range(3))
def test_scores_that_differ_by_less_than_a_step_are_equal_and_the_earlier_row_is_taken(seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-4e-7, 4e-7, 4)
    scores = np.array([0.50001, 0.50002, 0.50004, 0.7]) + noise
    group = vertical([(0.5, 0.0, 0.03), (0.5, 0.1, 0.03), (0.5, -0.1, 0.03), (0.6, 0.0, 0.03)], scores.tolist())
    found = prepare(group, CONFIG.model_copy(update={"count": 3}))
    np.testing.assert_allclose(found.poses[:, :2], [[0.6, 0], [0.5, 0], [0.5, 0.1]], atol=1e-6)
    assert found.quality.tolist() == [np.float32(v) for v in (0.7, 0.5, 0.5)]


def test_files_by_episode_and_attempt(tmp_path: Path) -> None:
    first, second = vertical([(0.5, 0, 0.03)], [0.9]), vertical([(0.6, 0, 0.03)], [0.8])
    T = pose(8)
    camera = np.linalg.inv(T)
    write_grasps(tmp_path / "0-7-3" / "0000.npy", first.moved(camera))
    write_grasps(tmp_path / "0-7-3" / "0001.npy", second.moved(camera))
    write_grasps(tmp_path / "tea.npy", second)
    view = observation(T)
    sample = grasp_source(str(tmp_path), CONFIG).episode(episode("tea"))
    xs = [float(sample(view).poses[0, 0]) for _ in range(3)]
    np.testing.assert_allclose(xs, [0.5, 0.6, 0.6], atol=1e-6)
    again = grasp_source(str(tmp_path), CONFIG).episode(episode("tea"))
    assert float(again(view).poses[0, 0]) == pytest.approx(0.5)
    (tmp_path / "0-7-3" / "0000.npy").unlink()
    (tmp_path / "0-7-3" / "0001.npy").unlink()
    by_case = grasp_source(f"{tmp_path}@world", CONFIG).episode(episode("tea"))
    assert float(by_case(view).poses[0, 0]) == pytest.approx(0.6)
    single = grasp_source(f"{tmp_path / 'tea.npy'}@world", CONFIG)
    assert float(single(view).poses[0, 0]) == float(single.episode(episode())(view).poses[0, 0]) == pytest.approx(0.6)
    with pytest.raises(ArtifactError, match="no grasps for this episode") as caught:
        grasp_source(str(tmp_path), CONFIG).episode(episode())
    assert "0-7-3.npy" in caught.value.hint
    with pytest.raises(ConfigError, match="view 4"):
        grasp_source(f"{tmp_path / 'tea.npy'}@4", CONFIG)(view)
    with pytest.raises(ConfigError, match="by episode"):
        grasp_source(str(tmp_path), CONFIG)(view)
    assert episode_keys(episode("tea")) == ("0-7-3", "tea")


def installed_rows(argument: str) -> object:
    return lambda observation: vertical([(0.5, 0, 0.03)], [float(argument)]).rows


def installed_candidates(argument: str) -> object:
    quaternion = np.array([[0.0, 1, 0, 0]], np.float32) * (0.1 if argument == "bad" else 1)
    poses = np.concatenate([np.array([[0.5, 0.1, 0.02]], np.float32), quaternion], axis=1)
    return lambda observation: Candidates(poses, np.array([0.04], np.float32), np.array([0.7], np.float32))


def test_installed_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("rows", f"{__name__}:installed_rows", sources.ENTRY_POINTS),
        EntryPoint("poses", f"{__name__}:installed_candidates", sources.ENTRY_POINTS),
        EntryPoint("broken", "no_such_module:thing", sources.ENTRY_POINTS),
    ]
    monkeypatch.setattr(sources, "entry_points", lambda group: [point for point in points if point.group == group])
    view = observation()
    assert grasp_source("rows:0.5@world", CONFIG)(view).quality.tolist() == [0.5]
    found = grasp_source("poses", CONFIG).episode(episode())(view)
    np.testing.assert_allclose(found.poses[0], [0.5, 0.1, 0.02, 1, 0, 0, 0], atol=1e-6)
    assert found.widths.tolist() == [pytest.approx(0.04)]
    with pytest.raises(SceneError, match="quaternion"):
        grasp_source("poses:bad", CONFIG)(view)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        grasp_source("broken", CONFIG)
    with pytest.raises(UnknownNameError, match="smapler") as caught:
        grasp_source("smapler", CONFIG)
    assert "sampler" in caught.value.hint
    with pytest.raises(ArtifactError, match="no grasp file or folder"):
        grasp_source("missing/grasps.npy", CONFIG)
    with pytest.raises(ConfigError, match="no frame"):
        grasp_source("rows@sideways", CONFIG)
    assert grasp_source("sampler", CONFIG).name == "sampler"


def test_the_picture_shows_fingers_where_they_are() -> None:
    K = np.array([[500.0, 0, 160], [0, 500, 120], [0, 0, 1]])
    # Straight ahead, closing along the image's x, 8 cm open, fingertips half a metre away: pads 40 pixels from the centre.
    rotation = np.stack([[0.0, 0, 1], [1, 0, 0], np.cross([0.0, 0, 1], [1, 0, 0])], axis=1)
    group = make_group(np.ones(1), np.full(1, 0.08), np.full(1, 0.02), rotation[None], np.array([[0, 0, 0.48]]))
    black = np.zeros((240, 320, 3), np.uint8)
    drawn = draw_grasps(black, group, K).any(axis=2)
    assert not black.any()
    assert drawn[120, 118:123].any() and drawn[120, 198:203].any()
    assert not drawn[:110].any() and not drawn[130:].any()
    T = pose(4)
    # The same up to the rounding of single pixels.
    assert int((draw_grasps(black, group.moved(T), K, T).any(axis=2) != drawn).sum()) < 10 < int(drawn.sum())
    behind = make_group(np.ones(1), np.full(1, 0.08), np.full(1, 0.02), rotation[None], np.array([[0, 0, -0.48]]))
    assert not draw_grasps(black, behind, K).any()
