"""The Python interface: light to import, whole, and its documented example runs."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import srcli
from srcli import api
from srcli.actions.graspnet import read_grasps, to_candidates
from srcli.cli.running import encoder_flags, parameters
from srcli.config.evaluate import PerturbConfig
from srcli.evaluation.deciding import Decider
from srcli.evaluation.rollout import run_episode
from srcli.evaluation.scene import Scene
from srcli.evaluation.suites import suite_episodes
from srcli.frames import Observation
from srcli.params import Params
from srcli.sim import World
from srcli.stages.decide import chosen_method, scene_of
from srcli.tasks import get_task
from srcli.types import Action

DOCUMENT = Path(__file__).parents[2] / "docs" / "python.md"


def test_import_is_light_and_everything_is_there() -> None:
    code = "import sys, srcli; assert not {'numpy', 'torch', 'pybullet', 'pydantic'} & set(sys.modules); dir(srcli)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert srcli.__all__ == api.__all__
    for name in srcli.__all__:
        assert getattr(srcli, name) is getattr(api, name)
        assert (getattr(api, name).__doc__ or "").strip()
    with pytest.raises(AttributeError):
        srcli.no_such_thing  # noqa: B018


def test_the_document_names_the_whole_interface() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [name for name in srcli.__all__ if f"`{name}" not in text and f"srcli.{name}" not in text] == []


@pytest.mark.parametrize(
    "encoder",
    ["hf-hub:a/b", "hf-hub:a/b=c.bin", "embedded", "embedded/seen-only", "embedded=m.safetensors", "ViT-B-32", "ViT-B-32/x"],
)
def test_an_encoder_is_read_as_the_command_line_reads_it(encoder: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("encoder:\n  name: ViT-L-14\n  pretrained: openai\n")
    found = api._parameters(tmp_path / "params.yaml", None, encoder).encoder
    wanted = parameters(tmp_path / "params.yaml", encoder_flags(encoder)).encoder
    assert found == wanted and (found.pretrained == "openai") == (encoder == "ViT-B-32")


def test_the_documents_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.+?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {"__name__": "example"}
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), names)
    assert isinstance(names["decision"], srcli.Decision) and names["decision"].found
    assert (tmp_path / "decided" / "decision.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("task", "seed", "method", "turn"),
    [("pick", 2, "similarity", 0.0), ("pick_place", 0, "", 0.0), ("pick", 2, "similarity", 0.5)],
)
def test_a_loop_of_ones_own_is_the_episode(
    task: str, seed: int, method: str, turn: float, params: Params, decider: Decider
) -> None:
    disturbed = PerturbConfig(translation=turn / 10, rotation=turn)
    params = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"perturb": disturbed})})
    decide = decider if not method else Decider(params, chosen_method(params, method))
    played = get_task(task, params.language)
    episode = suite_episodes("development", 0, ("seen",), episodes=seed + 1, task=task)[-1]
    with World(params.sim) as world:
        record = run_episode(
            world,
            played,
            episode.spec(played, params.scene),
            decide.policy,
            candidates_config=params.candidates,
            placements_config=params.placements,
            cloud_config=params.cloud,
            encoder=decide.encoder,
            max_attempts=params.evaluate.attempts,
            reader=decide.listener.read,
            perturbation=disturbed if turn else None,
        )
    with scene_of(params, task, seed) as scene:
        poses = []
        while not scene.done:
            decision = decide(scene.observe(), scene.sentence)
            poses.append(decision.pose)
            scene.execute(decision)
        assert (scene.success, scene.ended) == (record.success, record.ended)
        assert [step.reason for step in scene.steps] == [a.outcome.reason.value for a in record.attempts]
        for pose, attempt in zip(poses, record.attempts, strict=True):
            assert attempt.choice is not None and np.array_equal(pose.astype(np.float32), attempt.choice.action.pose)
        with pytest.raises(srcli.SrcliError, match="the episode is over"):
            scene.observe()


def test_a_guess_says_so(observed: Observation, picked: Scene, decider: Decider) -> None:
    assert not decider(observed, "give me the apple").guess
    guessed = decider(observed, "zorble qwex")
    assert guessed.guess and guessed.as_dict()["guess"] and "understood nothing" in guessed.notes[-1]


def test_a_decision_has_the_bits_of_one_thread_whatever_was_asked_before(observed: Observation, params: Params) -> None:
    before, scores = torch.get_num_threads(), []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            fresh = Decider(params, chosen_method(params, "sr_plus"))
            # What the session of `srcli play` does first: the embedding of the sentence is kept.
            fresh.understand("give me something to drink from")
            scores.append(fresh(observed, "give me something to drink from").scores)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*scores)


def test_actions_of_ones_own_are_checked(picked: Scene) -> None:
    down = np.array([0.5, 0.0, 0.1, 1, 0, 0, 0], dtype=np.float32)
    for action in (
        Action("place", down, 0.0),
        Action("grasp", down * np.nan, 0.05),
        Action("grasp", np.zeros(7, np.float32), 0.05),
    ):
        with pytest.raises(srcli.SrcliError):
            picked.execute(action)
    assert picked.steps == [] and not picked.done


def test_a_decision_is_told_in_every_frame(observed: Observation, picked: Scene, decider: Decider, tmp_path: Path) -> None:
    decision = decider(observed, picked.sentence)
    files = decision.save(tmp_path, count=10)
    rows = read_grasps(files["graspnet"])
    back = to_candidates(rows, observed.T_world_cam[0])
    assert np.allclose(back.poses[0, :3], decision.pose[:3], atol=1e-5) and rows.scores[0] == 1.0
    assert np.all(np.diff(rows.scores) <= 0) and len(rows) == 10
    assert list(decision.order[:1]) == [decision.index] and decision.scores is not None
    assert decision.score == decision.scores.max()
    data = decision.as_dict(3)
    assert data["action"]["pose"] == data["best"][0]["pose"] and len(data["best"]) == 3
    T = observed.T_world_cam[1]
    inside = np.append(np.array(data["action"]["in_camera"]["left"][:3]), 1.0)
    assert np.allclose((T @ inside)[:3], decision.pose[:3], atol=1e-6)
    assert np.allclose(decision.matrix[:3, 3], decision.pose[:3]) and np.isclose(np.linalg.det(decision.matrix), 1.0)
    assert decision.mask is not None and len(decision.mask) == len(decision.points) == len(decision.similarity)
    assert srcli.read(files["graspnet"]).rows.shape == (10, 17)


def test_failed_poses_are_left_out(observed: Observation, picked: Scene, decider: Decider) -> None:
    from srcli.frames.observation import changed

    first = decider(observed, picked.sentence)
    second = decider(changed(observed, failed=(first.action.pose,)), picked.sentence)
    assert second.index != first.index and second.excluded[first.index]


class Blind:
    """An encoder whose images fail, and which says in which thread it was asked."""

    def __init__(self, encoder: object) -> None:
        self._encoder = encoder
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def dense(self, _: object) -> None:
        self.asked.append(threading.current_thread().name)
        raise srcli.SrcliError("nothing can be seen", "")


def test_what_cannot_be_perceived_is_the_error_of_who_looks(params: Params, observed: Observation, picked: Scene) -> None:
    """The cloud is made beside the candidates, whoever decides: a method that does not look at it decides all the same."""
    before = torch.get_num_threads()
    deciders = {name: Decider(params, chosen_method(params, name)) for name in ("sr_plus", "quality")}
    for decider in deciders.values():
        decider.encoder = Blind(decider.encoder)  # type: ignore[assignment]
    with pytest.raises(srcli.SrcliError, match="nothing can be seen"):
        deciders["sr_plus"](observed, picked.sentence)
    assert deciders["quality"](observed, picked.sentence).action is not None
    asked = deciders["quality"].encoder.asked  # type: ignore[attr-defined]
    assert asked and asked[0] != threading.current_thread().name
    assert torch.get_num_threads() == before


def test_threads_of_an_application_keep_torchs_threads(observed: Observation, picked: Scene, decider: Decider) -> None:
    """A server with a thread for each request: a decision leaves no thread that comes later with fewer."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    found: list[int] = []

    def request() -> None:
        found.append(torch.get_num_threads())
        decider(observed, picked.sentence)

    try:
        for _ in range(3):
            thread = threading.Thread(target=request)
            thread.start()
            thread.join()
    finally:
        torch.set_num_threads(before)
    assert found == [4, 4, 4]


def test_what_recorded_frames_cannot_do_is_refused(params: Params, decider: Decider, observed: Observation) -> None:
    with pytest.raises(srcli.SrcliError, match="simulator's truth"):
        Decider(params, chosen_method(params, "expert"))
    with pytest.raises(srcli.SrcliError, match="the sentence is empty"):
        decider(observed, "  ")
    assert "a guess" in decider(observed, "good morning").notes[-1]
