"""One scene of each kind, as the simulator observes it, and a method that decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from srcli.evaluation.deciding import Decider
from srcli.evaluation.scene import Scene
from srcli.frames import Observation, write_frames
from srcli.frames.observation import changed
from srcli.params import Params
from srcli.stages.decide import chosen_method, scene_of


@pytest.fixture(scope="session")
def params() -> Params:
    return Params()


@pytest.fixture(scope="session")
def decider(params: Params) -> Decider:
    return Decider(params, chosen_method(params))


@pytest.fixture(scope="session")
def picked(params: Params) -> Iterator[Scene]:
    """A scene for picking, of which nobody may change anything."""
    with scene_of(params, "pick", 1) as scene:
        yield scene


@pytest.fixture(scope="session")
def observed(picked: Scene) -> Observation:
    return picked.observe()


@pytest.fixture(scope="session")
def native(observed: Observation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames") / "native", observed)


@pytest.fixture(scope="session")
def lone(observed: Observation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The top camera alone: quicker to read."""
    first = changed(
        observed,
        rgb=observed.rgb[:1],
        depth=observed.depth[:1],
        K=observed.K[:1],
        T_world_cam=observed.T_world_cam[:1],
        names=observed.names[:1],
    )
    return write_frames(tmp_path_factory.mktemp("frames") / "lone", first)
