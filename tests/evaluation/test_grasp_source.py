"""Episodes whose grasps come from the user's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srcli.actions.graspnet import from_candidates, write_grasps
from srcli.config.candidates import CandidateConfig
from srcli.errors import UnknownNameError
from srcli.evaluation.attempt import source_of
from srcli.types import Candidates, EpisodeSpec, Goal, Observation

SPEC = EpisodeSpec("pick", "seen", (0, 7, 3), "give me the pear", Goal("pear", "label", (0,)), ("pear",), np.zeros((1, 7)))


def _observation() -> Observation:
    eye = np.eye(4)[None]
    return Observation(np.zeros((1, 4, 4, 3), np.uint8), np.ones((1, 4, 4), np.float32), np.eye(3)[None], eye)


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
