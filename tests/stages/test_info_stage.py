"""`info` tells what a file is and finds what is wrong with it."""

import json

import fake_episodes as fake
import h5py
import numpy as np
import pytest

from srcli.artifacts.evaluation import save_evaluation
from srcli.artifacts.policy import save_policy
from srcli.artifacts.seal import seal
from srcli.errors import ArtifactError
from srcli.methods.registry import shipped
from srcli.params import Params
from srcli.stages import collect, featurize, info


def make_params():
    data = Params().model_dump()
    data["collect"] |= {"episodes": 8, "executor": "serial", "valid_every": 3}
    data["featurize"] |= {"executor": "serial"}
    return Params.model_validate(data)


@pytest.fixture()
def demos(tmp_path):
    out = tmp_path / "demos.h5"
    collect.run(make_params(), out=out, episode_fn=fake.episode)
    return out


def test_demonstrations(demos):
    found = info.run(demos)
    assert found["problems"] == []
    assert found["kind"] == "demonstrations" and found["schema"] == "srcli/demos" and found["schema_version"] == 2
    assert found["summary"]["episodes"] == 8 and found["summary"]["demonstrations"] == 6
    assert found["summary"]["splits"] == {"failed": 2, "train": 4, "valid": 2}
    assert found["summary"]["reasons"]["success"] == 6
    assert sum(found["summary"]["reasons"].values()) == found["summary"]["attempts"]
    names = {row["name"] for row in found["contents"]}
    assert "data/demo_000000/obs/rgb" in names and not any("demo_000001" in n for n in names)
    json.dumps(found)


def test_features_policy_evaluation(tmp_path, demos):
    features = tmp_path / "features.h5"
    featurize.run(make_params(), demos, features, perceiver=fake.FakePerceiver())
    found = info.run(features)
    assert found["problems"] == [] and found["summary"]["samples"] == 6 and found["summary"]["dimensions"] == 8
    policy = tmp_path / "policy.h5"
    save_policy(
        policy, {"a.w": np.ones((3, 4), np.float32)}, {"width": 4}, {"name": "fake"}, {"loss": np.ones(5)}, {"updates": 5}
    )
    found = info.run(policy)
    assert found["summary"]["parameters"] == 12 and found["summary"]["curves"] == {"names": ["loss"], "records": 5}
    assert len(found["problems"]) == 1 and "no method here knows" in found["problems"][0]
    assert info.run(policy, validate=False)["problems"] == [] and info.run(shipped("sr"))["problems"] == []
    result = tmp_path / "result.h5"
    save_evaluation(result, {"policy": ["sr"], "success": [True]}, {"reason": ["slipped"]}, {"rows": [1]}, {"suite": "wide"})
    found = info.run(result)
    assert found["summary"] == {"rows": [1]} and found["config"] == {"suite": "wide"} and found["problems"] == []


def test_broken_contract_is_found(demos):
    with h5py.File(demos, "r+") as handle:
        handle["data/demo_000000/candidates/chosen"][0] = 77
        handle["data"].attrs["total"] = 1
        handle["data/demo_000001"].attrs["success"] = False
    seal(demos)
    problems = info.run(demos)["problems"]
    assert "episode 0: attempt 0: names no candidate" in problems
    assert any("'total' says 1" in p for p in problems)
    assert "episode 1: success and demonstration contradict each other" in problems
    assert info.run(demos, validate=False)["problems"] == []


def test_nan_depth_and_missing_dataset_are_found(demos):
    with h5py.File(demos, "r+") as handle:
        handle["data/demo_000002/obs/depth"][0, 1, 3, 4] = np.nan
        del handle["data/demo_000003/candidates/quality"]
    seal(demos)
    problems = info.run(demos)["problems"]
    assert any("depth holds a value that is not finite" in p for p in problems) or any(
        "breaks its contract" in p for p in problems
    )
    with h5py.File(demos, "r+") as handle:
        handle["data/demo_000003/candidates/quality"] = np.zeros(handle["data/demo_000003/candidates/slot"].shape, np.float32)
    seal(demos)
    assert info.run(demos)["problems"] == ["episode 2: attempt 0: depth holds a value that is not finite"]


def test_flipped_bit_is_found(demos):
    with h5py.File(demos, "r") as handle:
        chunk = handle["data/demo_000001/obs/rgb"].id.get_chunk_info(0)
    data = bytearray(demos.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 0x10
    demos.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match="is damaged: its content is not what was written"):
        info.run(demos)


def test_policy_without_finite_weights(tmp_path):
    policy = tmp_path / "policy.h5"
    save_policy(policy, {"a": np.array([1.0, np.nan], np.float32)}, {}, {})
    assert info.run(policy)["problems"] == [f"{policy}: breaks its contract: weight 'a' holds a value that is not finite"]


def test_what_is_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match="no such file"):
        info.run(tmp_path / "none.h5")
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as handle:
        handle["x"] = 1
    with pytest.raises(ArtifactError, match="not a file of srcli"):
        info.run(foreign)
