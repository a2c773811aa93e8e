"""Demonstrations: round trip, and reading as readers of robomimic files do."""

import dataclasses
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

import fake_episodes as fake

from srcli.artifacts.demo_writing import demo_name, merge_parts, write_part
from srcli.artifacts.demos import DemoDataset
from srcli.artifacts.seal import seal
from srcli.config.sim import SimConfig
from srcli.errors import ArtifactError
from srcli.sim.noise import noisy_depth
from srcli.types import Action, Reason

CONFIG = {"task": "pick", "seed": 0}


@pytest.fixture(scope="module")
def episodes():
    return [fake.episode(None, "pick", (0, 1, i)) for i in range(10)]


@pytest.fixture(scope="module")
def demos(tmp_path_factory, episodes):
    folder = tmp_path_factory.mktemp("demos")
    parts = [folder / f"{i}.h5" for i in range(len(episodes))]
    for i, (part, episode) in enumerate(zip(parts, episodes, strict=True)):
        write_part(part, episode, i, CONFIG)
    merge_parts(folder / "demos.h5", parts, CONFIG, 4)
    return folder / "demos.h5"


def test_round_trip(demos, episodes):
    dataset = DemoDataset(demos)
    assert dataset.config == CONFIG
    for index, wanted in enumerate(episodes):
        found = dataset.episode(index)
        assert found.success == wanted.success and found.demonstration == wanted.demonstration
        assert found.spec.goal == wanted.spec.goal and found.spec.objects == wanted.spec.objects
        assert found.spec.instruction == wanted.spec.instruction and found.spec.seed == wanted.spec.seed
        np.testing.assert_array_equal(found.spec.drops, wanted.spec.drops)
        assert len(found.steps) == len(wanted.steps)
        for a, b in zip(found.steps, wanted.steps, strict=True):
            for key in ("rgb", "depth", "K", "T_world_cam"):
                np.testing.assert_array_equal(getattr(a.observation, key), getattr(b.observation, key))
            for key in ("poses", "widths", "quality"):
                np.testing.assert_array_equal(getattr(a.candidates, key), getattr(b.candidates, key))
            assert a.held == b.held
            for key in ("slots", "valid", "excluded", "poses", "segmentation"):
                np.testing.assert_array_equal(getattr(a, key), getattr(b, key))
            np.testing.assert_array_equal(a.action.pose, b.action.pose)
            assert a.action.index == b.action.index and a.action.width == pytest.approx(b.action.width)
            assert a.outcome == b.outcome and a.steps == b.steps and a.phase == b.phase
            assert a.observation.depth.dtype == np.float32 and a.segmentation.dtype == np.uint16


def test_demonstration(demos, episodes):
    dataset = DemoDataset(demos)
    found = dataset.demonstration(0)
    assert found.label == episodes[0].steps[-1].action.index and found.index == 0
    with pytest.raises(ArtifactError, match="episode 4 has no demonstration"):
        dataset.demonstration(4)
    with pytest.raises(ArtifactError, match=r"no split 'test'"):
        dataset.split("test")
    assert dataset.most_candidates == max(len(s.candidates) for e in episodes for s in e.steps)


def test_reads_like_a_robomimic_file(demos, episodes):
    """What such a reader does: env_args, a filter key, then whole trajectories by name."""
    with h5py.File(demos, "r", swmr=True, libver="latest") as handle:
        data = handle["data"]
        env = json.loads(data.attrs["env_args"])
        assert {"env_name", "env_type", "type", "env_kwargs"} <= set(env)
        assert sum(int(data[name].attrs["num_samples"]) for name in data) == data.attrs["total"]
        names = [name.decode() for name in np.array(handle["mask/train"][:])]
        assert names and set(names) <= set(data)
        assert not set(names) & {n.decode() for n in handle["mask/valid"][:]}
        for name in names:
            demo = data[name]
            count = int(demo.attrs["num_samples"])
            assert demo["actions"].shape == (count, 8)
            assert demo["rewards"].shape == demo["dones"].shape == (count,)
            assert demo["dones"][-1] == 1 and demo["rewards"][-1] == 1.0
            assert demo["states"].shape == (count, 7 * fake.SLOTS)
            for key in demo["obs"]:
                assert demo["obs"][key].shape[0] == count
            assert demo["obs/rgb"].dtype == np.uint8 and demo["obs/rgb"].shape[2:] == (fake.HEIGHT, fake.WIDTH, 3)
            assert json.loads(demo.attrs["ep_meta"])["lang"] == demo.attrs["instruction"]
        assert handle["data/demo_000000/obs/rgb"].chunks == (1, 1, fake.HEIGHT, fake.WIDTH, 3)
        assert data.attrs["schema"] == "srcli/demos" and json.loads(data.attrs["config"]) == CONFIG


def test_own_pose_and_no_action_survive(tmp_path, episodes):
    first = episodes[0].steps[0]
    own = dataclasses.replace(first, action=Action("grasp", first.candidates.poses[0], 0.05, None))
    nothing = dataclasses.replace(
        first, action=None, outcome=dataclasses.replace(first.outcome, success=False, reason=Reason.NO_CANDIDATE, slot=None)
    )
    episode = dataclasses.replace(episodes[0], steps=(own, nothing), success=False, demonstration=-1)
    write_part(tmp_path / "0.h5", episode, 0, CONFIG)
    merge_parts(tmp_path / "demos.h5", [tmp_path / "0.h5"], CONFIG, 10)
    found = DemoDataset(tmp_path / "demos.h5").episode(0)
    assert found.steps[0].action.index is None and found.steps[0].action.width == pytest.approx(0.05)
    assert found.steps[1].action is None and found.steps[1].outcome.reason is Reason.NO_CANDIDATE


def test_no_candidates_at_all(tmp_path, episodes):
    from srcli.types import Candidates

    empty = Candidates(np.zeros((0, 7), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))
    step = dataclasses.replace(
        episodes[0].steps[0],
        candidates=empty,
        slots=np.zeros(0, np.int32),
        valid=np.zeros(0, bool),
        excluded=np.zeros(0, bool),
        action=None,
    )
    episode = dataclasses.replace(episodes[0], steps=(step,), success=False, demonstration=-1)
    write_part(tmp_path / "0.h5", episode, 0, CONFIG)
    merge_parts(tmp_path / "demos.h5", [tmp_path / "0.h5"], CONFIG, 10)
    assert len(DemoDataset(tmp_path / "demos.h5").episode(0).steps[0].candidates) == 0


def test_moving_cameras_are_refused(tmp_path, episodes):
    first = episodes[0].steps[0]
    moved = dataclasses.replace(first, observation=dataclasses.replace(first.observation, K=first.observation.K * 2))
    episode = dataclasses.replace(episodes[0], steps=(first, moved))
    with pytest.raises(ArtifactError, match="cameras moved"):
        write_part(tmp_path / "0.h5", episode, 0, CONFIG)


def test_both_phases_of_an_episode_are_demonstrations(tmp_path):
    wanted = fake.two_phase_episode(None, "pick_place", (0, 1, 0))
    write_part(tmp_path / "0.h5", wanted, 0, CONFIG)
    merge_parts(tmp_path / "demos.h5", [tmp_path / "0.h5"], CONFIG, 10)
    dataset = DemoDataset(tmp_path / "demos.h5")
    assert dataset.demonstrations.tolist() == [0] and dataset.decisions == ((0, 1), (0, 2))
    pick, place = (dataset.demonstration(*decision) for decision in dataset.decisions)
    assert (pick.step.phase, place.step.phase) == ("pick", "place") and (pick.number, place.number) == (1, 2)
    assert pick.step.held is None and place.step.held == wanted.steps[2].held
    np.testing.assert_array_equal(place.step.valid, wanted.steps[2].valid)
    assert place.step.candidates.kind == "place" and dataset.demonstration(0).number == 2
    assert place.spec == dataclasses.replace(place.spec, shifts=wanted.spec.shifts, held=3) and place.spec.goal.reference == "b"
    with pytest.raises(ArtifactError, match="step 0 of episode 0 has no demonstration"):
        dataset.demonstration(0, 0)


def test_files_of_an_earlier_version(demos, episodes, tmp_path):
    """They hold picks in one zone, and which candidates are right follows from the goal."""
    old = tmp_path / "old.h5"
    old.write_bytes(demos.read_bytes())
    with h5py.File(old, "r+") as handle:
        group = handle["data/demo_000000"]
        del group["candidates/valid"], group["candidates/held"], group["shifts"], group.attrs["held"]
        goal = json.loads(group.attrs["goal"])
        del goal["reference"]
        group.attrs["goal"] = json.dumps(goal)
    seal(old)
    found = DemoDataset(old).episode(0)
    assert found.spec.shifts == () and found.spec.held == -1 and found.spec.goal == episodes[0].spec.goal
    for a, b in zip(found.steps, episodes[0].steps, strict=True):
        np.testing.assert_array_equal(a.valid, b.valid)
        assert a.held is None


def test_names_sort_like_their_index():
    assert demo_name(12) == "demo_000012"


def test_depth_in_the_sensor_s_steps_takes_two_bytes_and_loses_nothing(tmp_path, episodes):
    rng = np.random.default_rng(0)
    shape = episodes[0].steps[0].observation.depth.shape
    counted = rng.integers(0, 65536, shape)
    smooth = rng.uniform(0.5, 1.5, shape).astype(np.float32)
    kept = {
        "every step": (counted.astype(np.float32) * np.float32(0.00025), np.uint16),
        "of the sensor": (np.stack([noisy_depth(view, 460.0, SimConfig(), rng) for view in smooth]), np.uint16),
        "without noise": (rng.uniform(0.5, 1.5, shape).astype(np.float32), np.float32),
        "far": (np.full(shape, 65536 * 0.00025, np.float32), np.float32),
        "damaged": (np.full(shape, np.nan, np.float32), np.float32),
    }
    for number, (depth, kind) in enumerate(kept.values()):
        episode = episodes[0]
        steps = tuple(dataclasses.replace(s, observation=dataclasses.replace(s.observation, depth=depth)) for s in episode.steps)
        part, whole = tmp_path / f"{number}.part", tmp_path / f"{number}.h5"
        write_part(part, dataclasses.replace(episode, steps=steps), 0, CONFIG)
        merge_parts(whole, [part], CONFIG, 4)
        with h5py.File(whole) as handle:
            assert handle["data/demo_000000/obs/depth"].dtype == kind
        np.testing.assert_array_equal(DemoDataset(whole, check=False).episode(0).steps[0].observation.depth, depth)
        if not np.isfinite(depth).all():
            with pytest.raises(ArtifactError, match="depth holds a value that is not finite"):
                DemoDataset(whole).episode(0)


def test_depth_of_the_first_version_is_in_metres_and_a_wrong_unit_is_refused(tmp_path, episodes):
    part, whole = tmp_path / "0.part", tmp_path / "0.h5"
    write_part(part, episodes[0], 0, CONFIG)
    merge_parts(whole, [part], CONFIG, 4)
    depth = episodes[0].steps[0].observation.depth
    with h5py.File(whole, "r+") as handle:
        stored = handle["data/demo_000000/obs"]
        del stored["depth"]
        stored["depth"] = np.stack([s.observation.depth for s in episodes[0].steps])
        handle.attrs["schema_version"] = 1
    seal(whole)
    np.testing.assert_array_equal(DemoDataset(whole).episode(0).steps[0].observation.depth, depth)
    for unit in (np.nan, 0.0, -1.0, 0.00025):
        with h5py.File(whole, "r+") as handle:
            handle["data/demo_000000/obs/depth"].attrs["unit_m"] = unit
        seal(whole)
        with pytest.raises(ArtifactError, match="cannot be the unit of its depths"):
            DemoDataset(whole).episode(0)


CAMERAS = ("top", "left", "right")


@pytest.fixture(scope="module")
def with_next(tmp_path_factory, episodes):
    """A file whose episodes say what was seen after them."""
    folder = tmp_path_factory.mktemp("next")
    rng = np.random.default_rng(0)
    played = []
    for number, episode in enumerate(episodes):
        after = dataclasses.replace(
            fake.episode(None, "pick", (0, 1, 0)).steps[0].observation,
            rgb=rng.integers(0, 256, (fake.VIEWS, fake.HEIGHT, fake.WIDTH, 3)).astype(np.uint8),
        )
        played.append(dataclasses.replace(episode, after=after if episode.steps else None))
        write_part(folder / f"{number}.part", played[-1], number, CONFIG)
    merge_parts(folder / "demos.h5", [folder / f"{i}.part" for i in range(len(played))], CONFIG, 4, CAMERAS)
    return folder / "demos.h5", played


def test_each_camera_has_its_keys_and_takes_no_bytes_for_them(with_next, episodes):
    path, played = with_next
    with h5py.File(path, "r", swmr=True, libver="latest") as handle:
        for number, episode in enumerate(played):
            demo = handle[f"data/{demo_name(number)}"]
            if not episode.steps:
                continue
            for view, name in enumerate(CAMERAS):
                for key, shape in ((f"rgb_{name}", (3,)), (f"depth_{name}", (1,))):
                    found = demo[f"obs/{key}"]
                    assert found.shape == (len(episode.steps), fake.HEIGHT, fake.WIDTH, *shape)
                    assert found.is_virtual and found.id.get_storage_size() == 0
                np.testing.assert_array_equal(demo[f"obs/rgb_{name}"][()], demo["obs/rgb"][:, view])
                np.testing.assert_array_equal(demo[f"obs/depth_{name}"][..., 0], demo["obs/depth"][:, view])
                assert demo[f"obs/depth_{name}"].attrs["unit_m"] == demo["obs/depth"].attrs["unit_m"]
                following = demo[f"next_obs/rgb_{name}"]
                np.testing.assert_array_equal(following[:-1], demo[f"obs/rgb_{name}"][1:])
                np.testing.assert_array_equal(following[-1], episode.after.rgb[view])
    found = DemoDataset(path).episode(0)
    np.testing.assert_array_equal(found.after.rgb, played[0].after.rgb)
    np.testing.assert_array_equal(found.after.depth, played[0].after.depth)


def _robomimic_info(path):
    """What robomimic's get_dataset_info does with a file."""
    with h5py.File(path, "r") as handle:
        names = sorted(handle["data"].keys())
        names = [names[i] for i in np.argsort([int(name[5:]) for name in names])]
        keys = {key: sorted(n.decode() for n in np.array(handle[f"mask/{key}"])) for key in handle["mask"]}
        actions = [handle[f"data/{name}/actions"][()] for name in names if handle[f"data/{name}"].attrs["num_samples"]]
        low, high = min(a.min() for a in actions), max(a.max() for a in actions)
        env = json.loads(handle["data"].attrs["env_args"])
        shapes = {key: handle[f"data/{names[0]}/obs/{key}"].shape for key in handle[f"data/{names[0]}/obs"]}
    return keys, (low, high), env, shapes


class _Sequences:
    """What robomimic's SequenceDataset does with a file: sequences of a filter key, padded by their last step."""

    def __init__(self, path, obs_keys, dataset_keys, filter_key, seq_length):
        self.file = h5py.File(path, "r", swmr=True, libver="latest")
        demos = [elem.decode("utf-8") for elem in np.array(self.file[f"mask/{filter_key}"][:])]
        self.demos = [demos[i] for i in np.argsort([int(elem[5:]) for elem in demos])]
        self.rows = [(d, i) for d in self.demos for i in range(self.file[f"data/{d}"].attrs["num_samples"])]
        self.obs_keys, self.dataset_keys, self.length = obs_keys, dataset_keys, seq_length

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        demo, start = self.rows[index]
        count = int(self.file[f"data/{demo}"].attrs["num_samples"])
        keys = [*self.dataset_keys, *(f"{prefix}/{key}" for prefix in ("obs", "next_obs") for key in self.obs_keys)]
        out = {}
        for key in keys:
            values = self.file[f"data/{demo}/{key}"][start : min(count, start + self.length)]
            out[key] = np.concatenate([values, np.repeat(values[-1:], self.length - len(values), axis=0)])
        return out


def test_robomimic_s_readers_open_it(with_next):
    path, played = with_next
    keys, _, env, shapes = _robomimic_info(path)
    assert all(keys[key] for key in ("train", "valid")) and env["type"] == "srcli"
    assert {f"{kind}_{name}" for kind in ("rgb", "depth") for name in CAMERAS} <= set(shapes)
    cameras = [f"{kind}_{name}" for kind in ("rgb", "depth") for name in CAMERAS]
    for filter_key in ("train", "valid"):
        sequences = _Sequences(path, cameras, ["actions", "rewards", "dones"], filter_key, 2)
        assert len(sequences) == sum(len(played[int(name[5:])].steps) for name in sequences.demos) > 0
        for row in range(len(sequences)):
            found = sequences[row]
            assert found["actions"].shape == (2, 8)
            for name in CAMERAS:
                # The channel is the last axis, one for depth: what its image and depth modalities ask for.
                assert found[f"obs/rgb_{name}"].shape == (2, fake.HEIGHT, fake.WIDTH, 3)
                assert found[f"obs/depth_{name}"].shape == (2, fake.HEIGHT, fake.WIDTH, 1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_filter_key_of_few_demonstrations_is_not_empty(tmp_path, episodes, count):
    for number in range(count):
        write_part(tmp_path / f"{number}.part", episodes[number], number, CONFIG)
    merge_parts(tmp_path / "demos.h5", [tmp_path / f"{i}.part" for i in range(count)], CONFIG, 10)
    dataset = DemoDataset(tmp_path / "demos.h5")
    train, valid = dataset.split("train").tolist(), dataset.split("valid").tolist()
    assert valid == [count - 1] and train == (list(range(count - 1)) or [0])
    # A single one serves both keys, and is still trained on.
    assert dataset.held_back() == (frozenset() if count == 1 else {count - 1})


def test_parts_of_a_collection_that_an_earlier_version_began_are_taken(tmp_path, episodes):
    """They hold the images of all cameras; the keys of each are made where all is put together."""
    for number in range(2):
        write_part(tmp_path / f"{number}.part", episodes[number], number, CONFIG)
        with h5py.File(tmp_path / f"{number}.part") as handle:
            assert set(handle[f"data/{demo_name(number)}/obs"]) == {"rgb", "depth"}
    merge_parts(tmp_path / "demos.h5", [tmp_path / "0.part", tmp_path / "1.part"], CONFIG, 10, CAMERAS)
    with h5py.File(tmp_path / "demos.h5") as handle:
        assert handle.attrs["schema_version"] == 2 and "rgb_top" in handle["data/demo_000000/obs"]
        assert "next_obs" not in handle["data/demo_000000"]
