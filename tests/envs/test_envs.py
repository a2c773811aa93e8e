"""The environments are what gymnasium and Stable-Baselines3 expect, and play what an evaluation plays."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3

import srcli.envs
from srcli.envs import vector
from srcli.envs.actions import Poses
from srcli.envs.env import _params
from srcli.envs.numbers import numbered
from srcli.errors import ArtifactError, ConfigError, UnknownNameError
from srcli.evaluation.methods import resolve_methods
from srcli.evaluation.rollout import run_episode
from srcli.evaluation.suites import suite_episodes
from srcli.types import Action

SMALL = {
    "scene.objects": 2,
    "scene.place_objects": 2,
    "sim.camera_scale": 0.15,
    "candidates.count": 40,
    "placements.count": 40,
    "cloud.count": 60,
    "cloud.min_pixels": 1,
}
"""Scenes that are built in a moment; pictures are 192 x 108."""


def make(task="Pick", **settings):
    more = settings.pop("settings", {})
    return gymnasium.make(f"srcli/{task}-v0", settings={**SMALL, **more}, **settings)


@pytest.fixture(scope="module")
def pick():
    env = make(privileged=True)
    yield env
    env.close()


def test_checkers_find_nothing():
    """Not even something to warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make(render_mode="rgb_array")
        check_env(env.unwrapped)
        check_sb3(env, skip_render_check=True)
        env.close()


@pytest.mark.parametrize(
    ("task", "options"), [("Place", {"action": "pose", "observation": "images"}), ("PickPlace", {"observation": "images"})]
)
def test_other_tasks_and_spaces_pass_while_they_are_played(task, options):
    """``gymnasium.make`` wraps every environment into a checker of what it returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make(task, **options)
        observation, _ = env.reset(seed=1)
        assert observation["rgb_top"].shape == (108, 192, 3) and observation["phase"] == (task == "Place")
        assert (observation["held"] > 0).all() == (task == "Place")
        env.action_space.seed(0)
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        # A placement has one attempt: with it the episode is over, and no limit of time has cut it off.
        assert (terminated, truncated) == (task == "Place", False)
        env.close()


def test_an_environment_for_lerobot(tmp_path):
    env = make(observation="lerobot", action="metres").unwrapped
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert list(observation["pixels"]) == ["top", "left", "right"] and observation["pixels"]["top"].dtype == np.uint8
    assert observation["agent_pos"].shape == (11,) and observation["agent_pos"][7] == pytest.approx(0.085)
    assert env.task_description == info["instruction"] != "" and env.task == "pick" and env._max_episode_steps == 8
    env.close()


@pytest.mark.parametrize(("task", "method", "seeds"), [("Pick", "random", (0, 1)), ("PickPlace", "expert", (4,))])
def test_episodes_are_those_of_an_evaluation(task, method, seeds):
    """The same method, asked attempt by attempt from outside and played by the rollout."""
    env = make(task).unwrapped
    agent, params = env.player(method), env.params
    name = "pick" if task == "Pick" else "pick_place"
    for seed in seeds:
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            _, reward, terminated, truncated, info = env.step(agent(info))
            over = terminated or truncated
        episode = suite_episodes("development", 0, ("seen",), task=name)[seed]
        assert info["key"] == episode.key
        wanted = run_episode(
            env.stepper.world,
            env.stepper.task,
            episode.spec(env.stepper.task, params.scene),
            resolve_methods([method], [], {})[0].build(None, "cpu"),
            candidates_config=params.candidates,
            placements_config=params.placements,
            max_attempts=params.evaluate.attempts,
        )
        found = env.record
        assert {a.phase for a in found.attempts} == set(env.stepper.task.phases)
        assert (found.success, found.ended) == (wanted.success, wanted.ended) and reward == float(wanted.success)
        assert [(a.phase, a.outcome, a.execution, a.aimed) for a in found.attempts] == [
            (a.phase, a.outcome, a.execution, a.aimed) for a in wanted.attempts
        ]
        assert [a.choice and a.choice.action.index for a in found.attempts] == [
            a.choice and a.choice.action.index for a in wanted.attempts
        ]
        np.testing.assert_array_equal(found.spec.drops, wanted.spec.drops)
    env.close()


def test_reset_by_case_and_by_key(pick):
    env = pick.unwrapped
    _, info = env.reset(options={"case": "0-4-1000007-train"})
    assert info["key"] == "0-4-1000007-train" and info["split"] == "unseen"
    _, again = env.reset(seed=7, options={"suite": "wide", "split": "unseen"})
    assert again["instruction"] == info["instruction"] and again["key"] == info["key"]
    paper = suite_episodes("paper", 0, ("seen",))
    _, info = env.reset(options={"case": paper[0].case.name, "repeat": 2})
    assert info["case"] == paper[0].case.name and info["key"] == paper[len({e.case.name for e in paper})].key
    with pytest.raises(ConfigError, match="is of the task 'place', not 'pick'"):
        env.reset(options={"case": "0-3-10000000-train"})
    with pytest.raises(UnknownNameError, match="case 'nothing-like-it'"):
        env.reset(options={"case": "nothing-like-it"})
    with pytest.raises(ConfigError, match="is no whole number"):
        env.reset(options={"case": paper[0].case.name, "repeat": "second"})
    with pytest.raises(ConfigError, match="unknown option of reset 'sede'"):
        env.reset(options={"sede": 1})


@pytest.mark.parametrize("suite", ["development", "wide", "paper", "compositional", "compositional-development", "free"])
def test_numbers_are_counted_as_a_suite_lists_them(suite):
    for split in ("seen", "unseen"):
        listed = suite_episodes(suite, 3, (split,))
        for number in (0, 1, len(listed) - 1):
            found = numbered(suite, split, "train", 3, "pick", number)
            assert (found.seed, found.case, found.kind, found.split) == (
                listed[number].seed,
                listed[number].case,
                listed[number].kind,
                split,
            )


def test_scenes_to_learn_on_are_in_no_suite():
    found = numbered("train", "seen", "train", 0, "pick", 5)
    assert found.seed == (0, 1, 5)
    assert numbered("wide", "seen", "train", 0, "place", 2**32 - 1).seed[2] < 11_000_000


def test_what_is_no_candidate_moves_nothing(pick):
    env = pick.unwrapped
    first, info = env.reset(seed=0)
    count = int(info["action_mask"].sum())
    assert 0 < count < 40 and (info["action_mask"] == env.action_masks()).all()
    assert (first["candidate_mask"] == info["action_mask"]).all()
    assert info["valid"][:count].any() and not info["valid"][count:].any()
    poses = info["poses"]
    _, reward, terminated, truncated, told = env.step(39)
    assert (reward, terminated, truncated, told["invalid"], told["reason"]) == (0.0, False, False, True, "no_candidate")
    np.testing.assert_array_equal(told["poses"], poses)
    for left in range(7, 0, -1):
        observation, _, terminated, truncated, told = env.step(39)
        assert observation["attempts_left"][0] == pytest.approx((left - 1) / 8)
        assert (terminated, truncated) == (False, left == 1)
    assert told["ended"] == "" and not told["is_success"] and not env.action_masks().any()
    with pytest.raises(ConfigError, match="no episode has begun"):
        env.step(0)


def test_a_pose_is_the_candidate_that_it_was_made_of():
    rng = np.random.default_rng(0)
    for metres in (False, True):
        poses = Poses((0.2, -0.3, 0.0), (0.8, 0.3, 0.4), metres)
        quaternion = rng.normal(size=4)
        quaternion *= np.sign(quaternion[3]) / np.linalg.norm(quaternion)
        action = Action("grasp", np.array([0.5, 0.1, 0.05, *quaternion], np.float32), 0.06)
        view = type("View", (), {"candidates": type("Candidates", (), {"kind": "grasp"})})
        vector_of_it = poses.encode(action)
        assert poses.space.contains(vector_of_it)
        found = poses.decode(vector_of_it * [1, 1, 1, 1, 1, 1, 1, 1], view).action
        np.testing.assert_allclose(found.pose, action.pose, atol=1e-6)
        assert found.width == pytest.approx(0.06, abs=1e-6) and found.index is None
        assert poses.decode(np.zeros(8), view) is None and poses.decode(np.full(8, np.nan), view) is None


def blocks():
    """The documented examples, as they are printed."""
    document = (Path(__file__).parents[2] / "docs" / "gymnasium.md").read_text("utf-8")
    return re.findall(r"^```python\n(.*?)```", document, re.DOTALL | re.MULTILINE)


@pytest.fixture
def small_by_default(monkeypatch):
    """What is printed makes small scenes, seen well enough to be grasped in."""
    settings = {**SMALL, "sim.camera_scale": 0.3}
    monkeypatch.setattr(gymnasium.registry["srcli/Pick-v0"], "kwargs", {"task": "pick", "settings": settings})


def test_the_documents_vector_plays_the_same_episodes_in_any_number_of_environments(small_by_default):
    _, code = blocks()
    names = {}
    exec(compile(code, "docs/gymnasium.md", "exec"), names)
    told = names["played"]
    assert told[1] == told[2] and [row[0] for row in told[1]] == [7, 0, 3]
    assert len({row[2:] for row in told[1]}) > 1  # episodes that can be told apart
    assert [row[1] for row in told[1]] == [suite_episodes("development", 0, ("seen",))[seed].key for seed in (7, 0, 3)]
    with pytest.raises(ConfigError, match="begin new episodes by themselves"):
        vector.play(gymnasium.make_vec("srcli/Pick-v0", num_envs=1), [0], names["best"])


def test_what_cannot_be_played_is_over_with_the_first_step(pick, monkeypatch):
    from srcli.envs import stepping
    from srcli.evaluation.setup import SetupError

    def fails(*_):
        raise SetupError("nothing stays on the table")

    env = pick.unwrapped
    monkeypatch.setattr(stepping, "set_up", fails)
    observation, info = env.reset(seed=0)
    assert not info["action_mask"].any() and env.observation_space.contains(observation)
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated, info["ended"]) == (0.0, True, False, "not set up")
    assert env.record.attempts == () and not env.record.success


def test_after_the_end_there_is_no_picture(small_by_default):
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    env.close()
    assert env.unwrapped.render() is None


@pytest.mark.parametrize(
    ("options", "text"),
    [({"repeat": 2}, "repeat of reset without case"), ({"case": "pear", "split": "unseen"}, "split of reset beside case")],
)
def test_options_of_reset_that_say_nothing_are_refused(pick, options, text):
    with pytest.raises(ConfigError, match=text):
        pick.unwrapped.reset(options=options)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"observation": "feature"}, ConfigError, "unknown observation 'feature'"),
        ({"action": "joints"}, ConfigError, "unknown action 'joints'"),
        ({"suite": "tests"}, UnknownNameError, "unknown suite 'tests'"),
        ({"split": "new"}, UnknownNameError, "unknown split 'new'"),
        ({"settings": {"scene.objcts": 3}}, ConfigError, "scene.objcts"),
        ({"params": "no-such.yaml"}, ConfigError, "no such file"),
        ({"cases": "no-such-folder"}, ArtifactError, "no such folder"),
        ({"root": -1}, ConfigError, "root is -1"),
    ],
)
def test_bad_input_is_told_in_a_line(options, error, text):
    with pytest.raises(error, match=re.escape(text)) as caught:
        make(**options)
    assert "\n" not in caught.value.message and caught.value.hint


def test_settings_may_be_numbers_of_numpy_and_paths():
    found = _params(None, {"scene.objects": np.int64(5), "cloud.voxel": np.float64(0.02), "candidates.source": Path("x.npy")})
    assert (found.scene.objects, found.cloud.voxel, found.candidates.source) == (5, 0.02, "x.npy")
    assert _params(None, {"cloud.lower": np.array([0.3, -0.2, 0.0])}).cloud.lower == (0.3, -0.2, 0.0)


def test_the_documents_agents_play(small_by_default, capsys):
    code, _ = blocks()
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 16
    exec(compile(code, "docs/gymnasium.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [(line.split()[0], line.split()[2:]) for line in lines] == [("random", ["of", "5"]), ("sr_plus", ["of", "5"])]


def test_identifiers_are_registered_once():
    assert set(srcli.envs.IDS) <= set(gymnasium.registry)
    before = gymnasium.registry["srcli/Pick-v0"]
    srcli.envs.register()
    assert gymnasium.registry["srcli/Pick-v0"] is before
