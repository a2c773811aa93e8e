"""Episodes whose grasps come from the user's own files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from srcli.actions import sources
from srcli.actions.graspnet import from_candidates, write_grasps
from srcli.actions.grasps import sample_grasps
from srcli.actions.sources import Detector, check_source
from srcli.artifacts.evaluation import load_evaluation
from srcli.config.candidates import CandidateConfig
from srcli.errors import ArtifactError, UnknownNameError
from srcli.evaluation.attempt import source_of
from srcli.evaluation.setup import set_up
from srcli.evaluation.suites import suite_episodes
from srcli.parallel.serial import SerialExecutor
from srcli.params import Params
from srcli.seeding import generator
from srcli.sim import World
from srcli.stages import collect, evaluate
from srcli.tasks import get_task
from srcli.types import Candidates, EpisodeSpec, Goal, Observation

SPEC = EpisodeSpec("pick", "seen", (0, 7, 3), "give me the pear", Goal("pear", "label", (0,)), ("pear",), np.zeros((1, 7)))


def _observation(camera: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Observation:
    pose = np.eye(4)[None]
    pose[0, :3, 3] = camera
    return Observation(np.zeros((1, 4, 4, 3), np.uint8), np.ones((1, 4, 4), np.float32), np.eye(3)[None], pose)


def _candidates() -> Candidates:
    poses = np.tile(np.array([0.5, 0.0, 0.05, 1.0, 0.0, 0.0, 0.0], np.float32), (3, 1))
    poses[:, 0] += np.float32(0.05) * np.arange(3, dtype=np.float32)
    return Candidates(poses, np.full(3, 0.04, np.float32), np.array([0.9, 0.8, 0.7], np.float32))


@pytest.mark.parametrize("name", ["grasps.npy", "folder/0-7-3.npy"])
def test_candidates_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    wanted = _candidates()
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write_grasps(path, from_candidates(wanted))
    source = path if name == "grasps.npy" else path.parent
    found = source_of(CandidateConfig(source=f"{source}@world"), SPEC)(_observation())
    np.testing.assert_allclose(found.poses[:, :3], wanted.poses[:, :3], atol=1e-5)
    np.testing.assert_allclose(found.quality, wanted.quality, atol=1e-6)


def test_an_unknown_detector_is_named() -> None:
    with pytest.raises(UnknownNameError, match="no_such_detector"):
        source_of(CandidateConfig(source="no_such_detector"), SPEC)


def test_rows_in_another_frame_or_unit_are_refused_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "grasps.npy"
    write_grasps(path, from_candidates(_candidates()))
    with pytest.raises(
        ArtifactError, match="none of its 3 grasps can be used: 0 have their fingertips in the workspace"
    ) as caught:
        source_of(CandidateConfig(source=str(path)), SPEC)(_observation(camera=(9.0, 0.0, 0.0)))
    assert "@world" in caught.value.hint
    group = from_candidates(_candidates())
    group.rows[1, 1] = 60.0
    write_grasps(path, group)
    with pytest.raises(ArtifactError, match="row 1 has a width of 60 m"):
        check_source(CandidateConfig(source=str(path)))


def test_a_source_is_checked_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "text.npy").write_text("no rows")
    wrong = {"none": "no .npy file", "text.npy": "cannot read grasps", "nothing.npy": "no grasp file or folder"}
    for name, message in wrong.items():
        config = CandidateConfig(source=str(tmp_path / name))
        with pytest.raises(ArtifactError, match=message):
            check_source(config)
        params = Params().model_copy(update={"candidates": config})
        with pytest.raises(ArtifactError, match=message):
            evaluate.run(params, [], tmp_path / "out", executor=NoExecutor())
        with pytest.raises(ArtifactError, match=message):
            collect.run(params, "pick", tmp_path / "demos.h5")
    with pytest.raises(UnknownNameError):
        check_source(CandidateConfig(source="smapler"))
    check_source(CandidateConfig())


class NoExecutor:
    """Nothing may be played with it."""

    workers = 1

    def imap(self, *args: object, **options: object) -> Iterator[object]:
        raise AssertionError("started although the grasps cannot be used")


def test_a_detector_that_takes_a_device_is_told_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []

    def placed(argument: str, device: str = "") -> Detector:
        told.append((argument, device))
        return lambda observation: _candidates()

    def plain(argument: str) -> Detector:
        told.append((argument, "plain"))
        return lambda observation: _candidates()

    points = {"placed": placed, "plain": plain}
    monkeypatch.setattr(sources, "_announced", lambda name: (points[name.partition(":")[0]], name.partition(":")[2]))
    monkeypatch.setattr(sources, "_factory", lambda point: point)
    monkeypatch.setattr(sources, "_device", None)
    sources.use_device("cuda:1")
    for name in ("placed:w.pt", "plain:w.pt"):
        assert len(sources.grasp_source(name, CandidateConfig())(_observation())) == 3
    assert told == [("w.pt", "cuda:1"), ("w.pt", "plain")]


def test_grasps_of_a_file_are_executed_in_an_evaluation(tmp_path: Path) -> None:
    """From rows in the first camera's frame to objects held, by the command's own stage."""
    params = Params.model_validate_json(json.dumps({"evaluate": {"splits": ["seen"], "methods": ["quality"], "figure_cases": 0}}))
    section = params.evaluate.model_copy(
        update={"suite": "development", "episodes": 1, "reference": "quality", "similarity_rule": False}
    )
    params = params.model_copy(update={"evaluate": section, "candidates": CandidateConfig(quality="shape")})
    episode = suite_episodes("development", params.seed, ("seen",), "train", 1, 0, task="pick")[0]
    task = get_task("pick", params.language)
    world = World(params.sim)
    spec = set_up(world, task, episode.spec(task, params.scene))
    observation, _ = world.observe(generator(spec.seed, 9))
    rows = from_candidates(sample_grasps(observation, params.candidates), observation.T_world_cam[0])
    folder = tmp_path / "rows"
    write_grasps(folder / f"{'-'.join(map(str, spec.seed))}.npy", rows)
    named = params.model_copy(update={"candidates": CandidateConfig(source=str(folder))})
    summary = evaluate.run(named, [], tmp_path / "out", executor=SerialExecutor())
    attempts = load_evaluation(summary.results).attempts
    assert {int(count) for count in attempts["candidates"][:1]} <= set(range(1, len(rows) + 1))
    # The rows are of the settled scene. A single grasp may slip; that none of an episode's best holds is no accident.
    assert np.isin(attempts["reason"], ("success", "wrong_object")).any()
