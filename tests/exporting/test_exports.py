"""Exports are read back, hold the rows of the demonstrations, and have the same bytes every time."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

import fake_episodes as fake

from srcli.actions.graspnet import read_grasps, to_candidates
from srcli.artifacts.demo_writing import merge_parts, write_part
from srcli.artifacts.demos import DemoDataset
from srcli.cli.app import app
from srcli.errors import ArtifactError, ConfigError, MissingAssetError, SceneError
from srcli.exporting import folders, lerobot, ply
from srcli.exporting.lerobot_stats import histogram, image_stats
from srcli.methods.registry import shipped
from srcli.params import Params
from srcli.stages import export
from srcli.types import Reason

CAMERAS = ("top", "left", "right")
runner = CliRunner()


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Episodes 4 (failed) and 7 (no attempt) have no demonstration; number 8 has two phases."""
    folder = tmp_path_factory.mktemp("demos")
    played = [fake.episode(None, "pick", (0, 1, i)) for i in range(8)]
    played.append(fake.two_phase_episode(None, "pick_place", (0, 1, 8)))
    for number, episode in enumerate(played):
        write_part(folder / f"{number}.part", episode, number, {"task": "pick"})
    merge_parts(folder / "demos.h5", [folder / f"{i}.part" for i in range(len(played))], {"task": "pick"}, 4, CAMERAS)
    return folder / "demos.h5"


def files_of(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_lerobot_dataset_has_the_rows_of_the_demonstrations(demos, tmp_path):
    summary = export.run(Params(), demos, "lerobot", tmp_path / "out")
    dataset = DemoDataset(demos)
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert (summary.episodes, summary.frames) == (len(dataset.demonstrations), len(dataset.decisions)) == (7, 8)
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v3.0", 7, 8)
    table = pyarrow.parquet.read_table(tmp_path / "out/data/chunk-000/file-000.parquet").to_pylist()
    assert set(table[0]) == set(info["features"]) and not any("/" in key for key in info["features"])
    tasks = pyarrow.parquet.read_table(tmp_path / "out/meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    sentences = {row["task_index"]: row["task"] for row in tasks.to_pylist()}
    assert [row["index"] for row in table] == list(range(8))
    for row, (index, number) in zip(table, dataset.decisions, strict=True):
        spec, step = dataset.step(index, number)
        assert sentences[row["task_index"]] == spec.instruction
        np.testing.assert_array_equal(
            np.float32(row["action"]), np.append(step.action.pose, step.action.width).astype(np.float32)
        )
        for view, name in enumerate(CAMERAS):
            image = np.asarray(Image.open(io.BytesIO(row[f"observation.images.{name}"]["bytes"])))
            np.testing.assert_array_equal(image, step.observation.rgb[view])
        held = 0.0 if step.held is None else step.held.radius
        assert row["observation.state"][8] == pytest.approx(held) and row["next.reward"] == 1.0
    assert [row["next.done"] for row in table][-2:] == [False, True]
    episodes = pyarrow.parquet.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in episodes][-1] == (6, 8)
    about = json.loads((tmp_path / "out/meta/srcli.json").read_text())
    assert [camera["name"] for camera in about["cameras"]] == list(CAMERAS)


def test_the_same_export_has_the_same_bytes(demos, tmp_path):
    for to in ("lerobot", "graspnet"):
        for name in ("a", "b"):
            export.run(Params(), demos, to, tmp_path / f"{to}-{name}")
        assert files_of(tmp_path / f"{to}-a") == files_of(tmp_path / f"{to}-b") != {}
    for name in ("a", "b"):
        export.run(Params(), demos, "ply", tmp_path / f"{name}.ply")
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()


def test_a_recording_for_rerun_has_the_same_bytes_in_every_process(demos, tmp_path):
    """rerun's identifiers hold the time, and its orders follow from a seed of the process."""
    pytest.importorskip("rerun.chunk")
    command = [sys.executable, "-m", "srcli", "export", str(demos), "--to", "rerun", "--episode", "8", "--out"]
    subprocess.run([*command, str(tmp_path / "a.rrd")], check=True, capture_output=True)
    for name in ("b", "c"):
        export.run(Params(), demos, "rerun", tmp_path / f"{name}.rrd", export.Options(episode=8))
    first = (tmp_path / "a.rrd").read_bytes()
    assert first == (tmp_path / "b.rrd").read_bytes() == (tmp_path / "c.rrd").read_bytes() != b""
    export.run(Params(), demos, "rerun", tmp_path / "other.rrd", export.Options(episode=2))
    assert (tmp_path / "other.rrd").read_bytes() != first


def test_a_recording_is_found_through_its_footer(demos, tmp_path):
    """Its checksum and its manifest are those that rerun reads."""
    RrdReader = pytest.importorskip("rerun.chunk").RrdReader

    export.run(Params(), demos, "rerun", tmp_path / "e.rrd", export.Options(episode=8))
    reader = RrdReader(tmp_path / "e.rrd")
    numbers = [int(chunk.id.removeprefix("chunk_"), 16) for chunk in reader.stream()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [int(chunk.id.removeprefix("chunk_"), 16) for chunk in reader.store().stream()] == numbers
    damaged = bytearray((tmp_path / "e.rrd").read_bytes())
    damaged[-16] ^= 1
    (tmp_path / "damaged.rrd").write_bytes(damaged)
    with pytest.raises(Exception, match="CRC"):
        RrdReader(tmp_path / "damaged.rrd").store()


def test_a_recording_of_an_unknown_layout_is_refused(demos, tmp_path):
    pytest.importorskip("rerun.chunk")
    from srcli.exporting import rrd

    export.run(Params(), demos, "rerun", tmp_path / "e.rrd", export.Options(episode=8))
    whole = (tmp_path / "e.rrd").read_bytes()
    rrd.settle(tmp_path / "e.rrd")
    assert (tmp_path / "e.rrd").read_bytes() == whole
    for data in (b"RRF3" + whole[4:], whole[:-40], whole[:100] + b"\0" + whole[100:], b"RRF2"):
        (tmp_path / "e.rrd").write_bytes(data)
        with pytest.raises(MissingAssetError, match=r"rerun .* writes files that are not known here"):
            rrd.settle(tmp_path / "e.rrd")


def test_every_attempt_and_full_files(demos, tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot, "FILE_BYTES", 5000)
    made = export.run(Params(), demos, "lerobot", tmp_path / "out", export.Options(every=True))
    dataset = DemoDataset(demos)
    assert (made.episodes, made.frames) == (8, dataset.attempts)
    parts = sorted((tmp_path / "out/data/chunk-000").iterdir())
    assert len(parts) > 1
    rows = [row for part in parts for row in pyarrow.parquet.read_table(part).to_pylist()]
    assert [row["index"] for row in rows] == list(range(dataset.attempts))
    assert sum(row["next.success"] for row in rows) == len(dataset.demonstrations)
    episodes = pyarrow.parquet.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for row in episodes:
        inside = pyarrow.parquet.read_table(parts[row["data/file_index"]]).to_pylist()
        assert [r["index"] for r in inside if r["episode_index"] == row["episode_index"]] == list(
            range(row["dataset_from_index"], row["dataset_to_index"])
        )


def test_statistics_of_images_are_those_of_their_pixels():
    rng = np.random.default_rng(0)
    images = rng.integers(3, 200, (4, 9, 7, 3)).astype(np.uint8)
    found = image_stats(sum(histogram(image) for image in images), len(images))
    pixels = images.reshape(-1, 3) / 255
    for name, wanted in (("min", pixels.min(0)), ("max", pixels.max(0)), ("mean", pixels.mean(0)), ("std", pixels.std(0))):
        np.testing.assert_allclose(np.ravel(found[name]), wanted, atol=1e-9)
    np.testing.assert_allclose(np.ravel(found["q50"]), np.quantile(pixels, 0.5, axis=0), atol=1 / 255)
    assert np.shape(found["mean"]) == (3, 1, 1) and found["count"] == [4]


def test_a_recording_for_rerun_is_read_back(demos, tmp_path):
    RrdReader = pytest.importorskip("rerun.chunk").RrdReader  # no wheel for Python 3.10

    made = export.run(Params(), demos, "rerun", tmp_path / "e.rrd", export.Options(episode=8))
    reader = RrdReader(tmp_path / "e.rrd")
    assert reader.recordings()[0].recording_id == "0-1-8"
    chunks = list(reader.stream())
    episode = DemoDataset(demos).episode(8)
    assert made.frames == len(episode.steps) == 3
    by_entity = {}
    for chunk in chunks:
        by_entity.setdefault(chunk.entity_path, []).append(chunk)
    for entity in ("/world/cloud", "/world/candidates", "/world/taken", "/world/cameras/top/rgb", "/outcome"):
        times = [chunk.to_record_batch().column("attempt")[0].as_py() for chunk in by_entity[entity]]
        assert sorted(times) == [0, 1, 2]
    strips = by_entity["/world/candidates"][0].to_record_batch().column("LineStrips3D:strips")[0].as_py()
    assert len(strips) == len(episode.steps[0].candidates)
    sentence = by_entity["/sentence"][0].to_record_batch().column("TextDocument:text")[0].as_py()
    assert sentence == [episode.spec.instruction] and by_entity["/sentence"][0].is_static
    image = by_entity["/world/cameras/top/rgb"][0].to_record_batch().column("Image:buffer")[0].as_py()[0]
    assert bytes(image) == episode.steps[0].observation.rgb[0].tobytes()


def test_a_cloud_is_read_back_by_another_library(tmp_path):
    import trimesh

    rng = np.random.default_rng(0)
    points, colors = rng.normal(size=(20, 3)).astype(np.float32), rng.integers(0, 256, (20, 3)).astype(np.uint8)
    mask = rng.uniform(size=20).astype(np.float32)
    ply.write_ply(tmp_path / "a.ply", points, colors, {"mask": mask})
    found = trimesh.load(tmp_path / "a.ply", process=False)
    np.testing.assert_array_equal(found.vertices, points)
    np.testing.assert_array_equal(found.colors[:, :3], colors)
    np.testing.assert_array_equal(found.metadata["_ply_raw"]["vertex"]["data"]["mask"].reshape(-1), mask)


def test_rows_of_graspnet_come_back_as_the_candidates(tmp_path):
    from scipy.spatial.transform import Rotation

    from srcli.actions.poses import canonical_quaternions

    rng = np.random.default_rng(0)
    episode = fake.episode(None, "pick", (0, 1, 0))
    steps = []
    for step in episode.steps:
        turns = Rotation.random(len(step.candidates), random_state=1).as_matrix()
        poses = np.concatenate([rng.normal(size=(len(turns), 3)), canonical_quaternions(turns)], axis=1).astype(np.float32)
        steps.append(fake.dataclasses.replace(step, candidates=fake.dataclasses.replace(step.candidates, poses=poses)))
    write_part(tmp_path / "0.part", fake.dataclasses.replace(episode, steps=tuple(steps)), 0, {})
    merge_parts(tmp_path / "d.h5", [tmp_path / "0.part"], {}, 4, CAMERAS)
    export.run(Params(), tmp_path / "d.h5", "graspnet", tmp_path / "rows")
    found = to_candidates(read_grasps(tmp_path / "rows/0-1-0/0000.npy"), steps[0].observation.T_world_cam[0])
    np.testing.assert_allclose(found.poses, steps[0].candidates.poses, atol=1e-5)
    np.testing.assert_allclose(found.widths, steps[0].candidates.widths, atol=1e-6)


def test_scores_and_attention_of_a_method(demos, tmp_path):
    """As they come from a method: into the recording, and into a second cloud."""
    import trimesh

    RrdReader = pytest.importorskip("rerun.chunk").RrdReader  # no wheel for Python 3.10

    from srcli.exporting.decisions import Seen
    from srcli.exporting.rerun import export_rerun
    from srcli.methods.base import Choice

    episode = DemoDataset(demos).episode(8)
    percept = fake.FakePerceiver().look(DemoDataset(demos).demonstration(8))
    mask = np.linspace(0, 1, len(percept.cloud.points)).astype(np.float32)

    def view(episode, number):
        step = episode.steps[number]
        scores = np.arange(len(step.candidates), dtype=np.float32)
        return Seen(Choice(step.action, scores, mask), percept)

    cloud = Params().cloud
    export_rerun(episode, CAMERAS, cloud, tmp_path / "e.rrd", view)
    found = {chunk.entity_path: chunk.to_record_batch() for chunk in RrdReader(tmp_path / "e.rrd").stream()}
    assert len(found["/world/attention"].column("Points3D:positions")[0].as_py()) == len(mask)
    assert {"/scores", "/world/chosen"} <= set(found)
    first, second = ply.export_ply(episode.steps[0].observation, view(episode, 0), cloud, tmp_path / "e.ply")
    assert (first.name, second.name) == ("e.ply", "e-mask.ply")
    vertices = trimesh.load(second, process=False).metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(vertices["mask"].reshape(-1), mask)
    np.testing.assert_array_equal(vertices["similarity"].reshape(-1), percept.cloud.similarity)


def test_a_method_is_shown_a_stored_attempt(demos):
    from srcli.evaluation.methods import resolve_methods
    from srcli.exporting.decisions import Viewer
    from srcli.language.instructions import reader

    episode = DemoDataset(demos).episode(0)
    step = episode.steps[0]
    method = resolve_methods(["quality"], [], {})[0].build(None, "cpu")
    seen = Viewer(method, None, Params().cloud, reader(None))(episode, 0)
    wanted = np.argmax(np.where(step.excluded, -np.inf, step.candidates.quality))
    assert seen.choice.action.index == wanted and seen.percept is None


def test_a_method_knows_what_has_failed_before_in_the_phase(demos):
    from dataclasses import replace

    from srcli.exporting.decisions import Viewer
    from srcli.language.instructions import reader

    class Noted:
        def act(self, decision):
            self.given = decision
            return None

    episode = DemoDataset(demos).episode(0)
    step = episode.steps[0]
    reasons = (Reason.NOTHING_HELD, Reason.WRONG_OBJECT)
    lost, held = (replace(step, outcome=replace(step.outcome, success=False, reason=reason)) for reason in reasons)
    method = Noted()
    Viewer(method, None, Params().cloud, reader(None))(replace(episode, steps=(lost, held, step)), 2)
    # Something wrong that was held is no grasp that failed.
    np.testing.assert_array_equal(method.given.failed, [step.action.pose])
    assert method.given.repeats(step.action.pose[None]).all()


def test_the_second_cloud_of_an_attempt_overwrites_nothing(demos, tmp_path):
    (tmp_path / "a-mask.ply").write_text("somebody else's")
    with pytest.raises(ConfigError, match=r"a-mask\.ply: is there already"):
        export.run(Params(), demos, "ply", tmp_path / "a.ply", export.Options(method="quality"))
    assert [file.name for file in tmp_path.iterdir()] == ["a-mask.ply"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--to", "lerobott"], 2, "did you mean 'lerobot'"),
        (["--to", "lerobot", "--episode", "1"], 2, "--to lerobot takes no --episode"),
        (["--to", "ply", "--all"], 2, "--to ply takes no --all"),
        (["--to", "rerun", "--episode", "9"], 2, "has episodes 0 to 8"),
        (["--to", "rerun", "--episode", "7"], 2, "episode 7 of"),
        (["--to", "ply", "--episode", "8", "--attempt", "3"], 2, "has attempts 0 to 2"),
        (["--to", "safetensors"], 3, "where a policy file is needed"),
        (["--to", "ply", "-m", "no_such"], 8, "unknown method 'no_such'"),
        (["--to", "ply", "-m", "expert"], 2, "is shown the simulator's state"),
    ],
)
def test_bad_input_is_told_in_two_lines(demos, tmp_path, arguments, code, text):
    told = runner.invoke(app, ["export", str(demos), "--out", str(tmp_path / "out"), *arguments])
    assert told.exit_code == code, told.output
    assert text in told.stderr and len(told.stderr.splitlines()) <= 2 and "unexpected" not in told.stderr
    assert not (tmp_path / "out").exists()


def test_what_stands_there_is_kept_without_force(demos, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        export.run(Params(), demos, "lerobot", tmp_path / "out")
    # Neither is it taken away with it: nobody knows what the folder is.
    with pytest.raises(ArtifactError, match="is no export of srcli, so it is not replaced"):
        export.run(Params(), demos, "lerobot", tmp_path / "out", force=True)
    assert (tmp_path / "out" / "mine").read_text() == "mine"
    (tmp_path / "out" / "mine").unlink()
    for _ in range(2):
        export.run(Params(), demos, "lerobot", tmp_path / "out", force=True)
    assert (tmp_path / "out/meta/info.json").exists()
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["out"]


def test_the_name_is_that_of_the_episode_that_is_written(tmp_path):
    """The first one has no attempt."""
    for number, index in enumerate((7, 2)):
        write_part(tmp_path / f"{number}.part", fake.episode(None, "pick", (0, 1, index)), number, {})
    merge_parts(tmp_path / "d.h5", [tmp_path / "0.part", tmp_path / "1.part"], {}, 4, CAMERAS)
    made = export.run(Params(), tmp_path / "d.h5", "ply")
    assert Path(made.path) == tmp_path / "d-000001.ply" and (tmp_path / "d-000001.ply").is_file()
    assert export.target(tmp_path / "d.h5", "rerun", export.Options(episode=0)).name == "d-000000.rrd"


def test_weights_are_kept_without_force(tmp_path):
    for name in ("sr_plus", "base_plus"):
        (tmp_path / f"{name}.h5").write_bytes(shipped(name).read_bytes())
    out = tmp_path / "w.safetensors"
    export.run(Params(), tmp_path / "sr_plus.h5", out=out)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=r"w\.safetensors: is there already"):
        export.run(Params(), tmp_path / "base_plus.h5", out=out)
    assert out.read_bytes() == before
    export.run(Params(), tmp_path / "base_plus.h5", out=out, force=True)
    assert out.read_bytes() != before
    out.write_text("years of work")
    with pytest.raises(ArtifactError, match="is no export of srcli"):
        export.run(Params(), tmp_path / "base_plus.h5", out=out, force=True)


def test_nothing_to_export_and_a_missing_library(tmp_path, monkeypatch):
    write_part(tmp_path / "0.part", fake.episode(None, "pick", (0, 1, 4)), 0, {})
    merge_parts(tmp_path / "d.h5", [tmp_path / "0.part"], {}, 4, CAMERAS)
    with pytest.raises(SceneError, match="no demonstration to export"):
        export.run(Params(), tmp_path / "d.h5", "lerobot", tmp_path / "out")

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(folders.importlib, "import_module", absent)
    with pytest.raises(MissingAssetError, match="needs the package pyarrow") as caught:
        export.run(Params(), tmp_path / "d.h5", "lerobot", tmp_path / "out")
    assert caught.value.hint == "pip install 'srcli[lerobot]'"
