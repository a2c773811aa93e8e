"""Collection: the same bytes whatever happens, and nothing lost."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import fake_episodes as fake
import numpy as np
import pytest

from srcli.artifacts.core import output_lock
from srcli.artifacts.demos import DemoDataset
from srcli.errors import ArtifactError, BusyError, DiskError, MismatchError, SceneError, SrcliError
from srcli.language.phrases import PHRASE_KINDS, phrase_sentences
from srcli.objects import catalogue
from srcli.params import Params
from srcli.seeding import Domain, episode_seed
from srcli.stages import collect
from srcli.tasks.composed import phrase_of
from srcli.types import Look


def make_params(episodes=12, seed=3, **sections):
    data = Params().model_dump()
    data["seed"] = seed
    data["collect"] |= {"episodes": episodes, "executor": "serial"}
    for name, values in sections.items():
        data[name] |= values
    return Params.model_validate(data)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The bytes that every way of collecting has to end in."""
    out = tmp_path_factory.mktemp("reference") / "demos.h5"
    collect.run(make_params(), out=out, episode_fn=fake.episode)
    return out.read_bytes()


def test_summary_and_episodes(tmp_path):
    out = tmp_path / "deep" / "demos.h5"
    seen = []
    summary = collect.run(make_params(), out=out, episode_fn=fake.episode, progress=lambda *a: seen.append(a))
    dataset = DemoDataset(out)
    assert summary.episodes == len(dataset) == 12
    assert summary.successes == 9  # 4 and 9 never succeed, 7 has no attempt
    assert summary.attempts == sum(len(dataset.episode(i).steps) for i in range(12))
    assert not summary.up_to_date and summary.reused == 0
    assert [s[0] for s in seen] == list(range(13)) and seen[-1][1] == 12
    assert not (tmp_path / "deep" / "demos.h5.parts").exists()
    assert [p.name for p in out.parent.iterdir() if not p.name.startswith(".")] == ["demos.h5"]
    assert dataset.split("failed").tolist() == [4, 7, 9]
    # Index 9 would be kept for validation, but has no demonstration: the last one stands in.
    assert dataset.split("valid").tolist() == [11] and 11 not in dataset.split("train")
    assert dataset.config["task"] == "pick" and dataset.config["seed"] == 3
    assert dataset.spec(5).seed == (3, 1, 5)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_bytes_do_not_depend_on_workers(tmp_path, reference, workers):
    out = tmp_path / "other.h5"
    params = make_params(collect={"executor": "processes", "episodes": 12})
    collect.run(params, out=out, workers=workers, episode_fn=fake.uneven_episode)
    assert out.read_bytes() == reference


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import fake_episodes, test_collect
from srcli.stages import collect
if __name__ == "__main__":
    params = test_collect.make_params(collect={{"executor": "processes", "episodes": 12}})
    collect.run(params, out={out!r}, workers=2, episode_fn=fake_episodes.slow_episode)
"""


def start_run(tmp_path, out):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent), out=str(out)))
    return subprocess.Popen([sys.executable, str(script)])


def wait_for(condition, seconds=60.0):
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def test_kill_and_resume_ends_in_the_same_bytes(tmp_path, reference):
    out = tmp_path / "demos.h5"
    parts = tmp_path / "demos.h5.parts"
    for wanted in (2, 5):
        process = start_run(tmp_path, out)
        wait_for(lambda n=wanted: len(list(parts.glob("part_*"))) >= n)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists()
    # Workers leave with their parent: nothing grows any more.
    time.sleep(0.5)
    left = sorted(parts.iterdir())
    time.sleep(0.5)
    assert sorted(parts.iterdir()) == left
    there = len(list(parts.glob("part_*")))
    assert 5 <= there < 12
    # What a kill may leave behind besides: an unfinished temporary file.
    (parts / ".part_000011_0123456789ab.h5.1.tmp").write_bytes(b"half")
    summary = collect.run(make_params(), out=out, episode_fn=fake.episode)
    assert summary.reused >= there
    assert out.read_bytes() == reference
    assert not parts.exists()


def test_complete_output_is_taken_as_it_is(tmp_path):
    out = tmp_path / "demos.h5"
    collect.run(make_params(), out=out, episode_fn=fake.episode)
    before = out.stat().st_mtime_ns
    summary = collect.run(make_params(), out=out, episode_fn=fake.failing_episode)
    assert summary.up_to_date and out.stat().st_mtime_ns == before


def test_other_configuration_is_named_and_forced(tmp_path):
    out = tmp_path / "demos.h5"
    collect.run(make_params(), out=out, episode_fn=fake.episode)
    before = out.read_bytes()
    with pytest.raises(MismatchError, match=r"collect\.max_attempts \(8 -> 5\), seed \(3 -> 4\)") as caught:
        collect.run(
            make_params(seed=4, collect={"max_attempts": 5, "episodes": 12, "executor": "serial"}),
            out=out,
            episode_fn=fake.episode,
        )
    assert caught.value.exit_code == 5 and "--force" in caught.value.hint
    assert out.read_bytes() == before
    collect.run(make_params(seed=4), out=out, episode_fn=fake.episode, force=True)
    assert DemoDataset(out).config["seed"] == 4


def test_unfinished_work_of_another_configuration_is_named(tmp_path):
    out = tmp_path / "demos.h5"
    with pytest.raises(SceneError):
        collect.run(make_params(), out=out, episode_fn=fake.failing_episode)
    with pytest.raises(MismatchError, match=r"seed \(3 -> 4\)"):
        collect.run(make_params(seed=4), out=out, episode_fn=fake.episode)
    collect.run(make_params(seed=4), out=out, episode_fn=fake.episode, force=True)
    assert DemoDataset(out).spec(0).seed == (4, 1, 0)


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_failing_episode_keeps_the_others(tmp_path, reference, executor):
    out = tmp_path / "demos.h5"
    params = make_params(collect={"executor": executor, "episodes": 12})
    with pytest.raises(SceneError, match="scene 3 cannot be used") as caught:
        collect.run(params, out=out, workers=2, episode_fn=fake.failing_episode)
    assert caught.value.hint == "leave it out"
    summary = collect.run(make_params(), out=out, episode_fn=fake.episode)
    assert summary.reused >= 3
    assert out.read_bytes() == reference


def test_a_dying_worker_is_reported(tmp_path, reference):
    out = tmp_path / "demos.h5"
    params = make_params(collect={"executor": "processes", "episodes": 12})
    with pytest.raises(SrcliError, match="worker process died") as caught:
        collect.run(params, out=out, workers=1, episode_fn=fake.dying_episode)
    assert "finished work is kept" in caught.value.hint
    assert collect.run(make_params(), out=out, episode_fn=fake.episode).reused == 3
    assert out.read_bytes() == reference


def test_full_disk_keeps_finished_episodes(tmp_path, reference, monkeypatch):
    from srcli.artifacts import demo_writing

    out = tmp_path / "demos.h5"
    real = demo_writing.put
    calls = []

    def full(group, key, value, chunks=None):
        calls.append(key)
        if len(calls) > 60:
            raise OSError(28, "No space left on device")
        real(group, key, value, chunks)

    monkeypatch.setattr(demo_writing, "put", full)
    with pytest.raises(DiskError, match="disk is full") as caught:
        collect.run(make_params(), out=out, episode_fn=fake.episode)
    assert caught.value.exit_code == 6
    monkeypatch.undo()
    assert not list((tmp_path / "demos.h5.parts").glob(".*tmp"))
    assert collect.run(make_params(), out=out, episode_fn=fake.episode).reused >= 2
    assert out.read_bytes() == reference


def test_too_little_space_is_said_before_writing(tmp_path, monkeypatch):
    from srcli.artifacts import pieces

    monkeypatch.setattr(pieces.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DiskError, match=r"needs .* MB"):
        collect.run(make_params(), out=tmp_path / "demos.h5", episode_fn=fake.episode)
    assert len(list((tmp_path / "demos.h5.parts").glob("part_*"))) == 12


def test_second_run_on_the_same_output_is_refused(tmp_path):
    out = tmp_path / "demos.h5"
    with output_lock(out), pytest.raises(BusyError, match="another run") as caught:
        collect.run(make_params(), out=out, episode_fn=fake.episode)
    assert caught.value.exit_code == 7


def test_damaged_output_is_not_overwritten_silently(tmp_path):
    out = tmp_path / "demos.h5"
    out.write_text("notes")
    with pytest.raises(ArtifactError, match="not an HDF5 file"):
        collect.run(make_params(), out=out, episode_fn=fake.episode)
    with pytest.raises(ArtifactError, match="is no file of srcli, so it is not replaced"):
        collect.run(make_params(), out=out, episode_fn=fake.episode, force=True)
    assert out.read_text() == "notes"
    out.unlink()
    collect.run(make_params(), out=out, episode_fn=fake.episode)
    whole = out.read_bytes()
    out.write_bytes(whole[:-9])
    with pytest.raises(ArtifactError, match="is truncated"):
        collect.run(make_params(), out=out, episode_fn=fake.episode)
    collect.run(make_params(), out=out, episode_fn=fake.episode, force=True)
    assert out.read_bytes() == whole


def test_damaged_part_is_made_again_and_that_is_said(tmp_path, caplog):
    collect.run(make_params(), out=tmp_path / "whole.h5", episode_fn=fake.episode)
    out = tmp_path / "demos.h5"
    with pytest.raises(SceneError):
        collect.run(make_params(), out=out, episode_fn=fake.failing_episode)
    part = next((tmp_path / "demos.h5.parts").glob("part_000001*"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    (part.parent / "config.json").write_text("[1]")
    collect.run(make_params(), out=out, episode_fn=fake.episode)
    assert "1 damaged, made again: part_000001" in caplog.text
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_more_episodes_reuse_unfinished_ones(tmp_path):
    out = tmp_path / "demos.h5"
    with pytest.raises(SceneError):
        collect.run(make_params(episodes=5), out=out, episode_fn=fake.failing_episode)
    assert collect.run(make_params(episodes=8), out=out, episode_fn=fake.episode).reused == 3


def test_valid_split_and_summary_is_plain(tmp_path):
    out = tmp_path / "demos.h5"
    params = make_params(collect={"valid_every": 3, "episodes": 12, "executor": "serial"})
    summary = collect.run(params, out=out, episode_fn=fake.episode)
    assert json.loads(json.dumps(summary.as_dict()))["episodes"] == 12
    dataset = DemoDataset(out)
    assert dataset.split("valid").tolist() == [2, 5, 8, 11]
    both = np.concatenate([dataset.split("train"), dataset.split("valid")])
    assert sorted(both.tolist()) == dataset.demonstrations.tolist()


def test_leftovers_of_a_kill_during_the_merge_are_removed(tmp_path, reference):
    out = tmp_path / "demos.h5"
    (tmp_path / ".demos.h5.123.tmp").write_bytes(b"half")
    collect.run(make_params(), out=out, episode_fn=fake.episode)
    assert out.read_bytes() == reference
    assert not list(tmp_path.glob(".*.tmp"))
    (tmp_path / "demos.h5.parts").mkdir()
    assert collect.run(make_params(), out=out, episode_fn=fake.episode).up_to_date
    assert not (tmp_path / "demos.h5.parts").exists()


def test_a_share_of_the_picks_has_compositional_sentences():
    task = collect._task("pick", make_params())
    seeds = [episode_seed(3, Domain.TRAIN, i) for i in range(120)]
    for share in (0.0, 0.5, 1.0):
        params = make_params(collect={"compositional": share})
        specs = [collect.draw(task, params, seed) for seed in (seeds if share else seeds[:20])]
        kinds = Counter(spec.goal.keyword_kind for spec in specs if spec.goal.modifier)
        assert abs(sum(kinds.values()) / len(specs) - share) < 0.08
        assert not share or (set(kinds) == set(PHRASE_KINDS) and min(kinds.values()) > 0.2 * sum(kinds.values()))
        # Seen objects and training wording only; the episodes that have none are what they were.
        for seed, spec in zip(seeds, specs, strict=False):
            if spec.goal.modifier:
                phrase = phrase_of(spec.goal)
                assert spec.instruction in phrase_sentences(phrase, "train")
                assert set(spec.objects) <= set(catalogue().seen) and (spec.split, spec.wording) == ("seen", "train")
            else:
                assert spec.instruction == task.sample(seed, "seen", "train", params.scene).instruction


def test_the_share_is_recorded_where_it_matters():
    plain, mixed = make_params(), make_params(collect={"compositional": 0.5})
    assert "compositional" not in collect.recorded_config(plain, "pick", 0)["collect"]
    assert collect.recorded_config(mixed, "pick", 0)["collect"]["compositional"] == 0.5
    for task in ("place", "pick_place"):
        assert collect.recorded_config(mixed, task, 0) == collect.recorded_config(plain, task, 0)


def test_a_compositional_episode_is_stored_with_its_looks(tmp_path):
    out = tmp_path / "demos.h5"
    collect.run(make_params(episodes=4), out=out, episode_fn=fake.composed_episode)
    spec = DemoDataset(out).spec(1)
    assert spec.looks == (Look(1.2, ""), Look(), Look(0.9, "red"), Look())
    assert (spec.goal.modifier, spec.goal.keyword_kind, spec.goal.targets) == ("largest", "superlative", (0,))
    plain = tmp_path / "plain.h5"
    collect.run(make_params(episodes=4), out=plain, episode_fn=fake.episode)
    assert DemoDataset(plain).spec(1).looks == () and DemoDataset(plain).spec(1).goal.modifier == ""
