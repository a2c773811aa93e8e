"""The probes: what they count as right, what the dense search finds, and that a copied scene answers like one built anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.cli.running import split_encoder
from srcli.errors import SceneError
from srcli.evaluation.rollout import run_episode
from srcli.language import could_mean
from srcli.language.phrases import PHRASE_KINDS
from srcli.objects import build, catalogue
from srcli.objects.library import read_library
from srcli.parallel import make_executor
from srcli.params import Params
from srcli.params.loading import override
from srcli.perception.encoders.interface import DenseFeatures, EncoderIdentity
from srcli.probing import encoder as encoder_part
from srcli.probing import grasps as grasp_part
from srcli.probing.antipodal_search import search
from srcli.probing.colors import histogram
from srcli.probing.rates import average_precision, calibration, encoder_numbers, grasp_numbers, rate
from srcli.probing.scenes import (
    PICK_KINDS,
    Question,
    Scene,
    build_episode,
    build_scene,
    pick_questions,
    place_questions,
    point_owners,
)
from srcli.probing.surface import scene_points, surface
from srcli.probing.tables import encoder_table
from srcli.sim import World
from srcli.stages import probe as stage
from srcli.stages.add_object import run as add
from srcli.stages.object_requests import Request
from srcli.tasks import get_task
from srcli.types import U8, Candidates, Reason, TextEmbedding

SMALL = override(
    Params(),
    {
        "scene.objects": 3,
        "scene.place_objects": 3,
        "probe.sampled": 2,
        "probe.dense_grasps": 2,
        "probe.scenes": 1,
        "probe.grasp_scenes": 1,
        "probe.splits": ["seen"],
        "probe.suites": [],
        "probe.drawn": 1,
        "cloud.voxel": 0.015,
    },
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(SMALL.sim) as made:
        yield made


@pytest.fixture(scope="module")
def scene(world: World) -> Scene:
    found = build_scene(world, SMALL, "pick", "seen", 0)
    assert found is not None
    return found


def test_rates_and_average_precision() -> None:
    assert rate([True] * 3 + [False]) == {"k": 3, "n": 4, "rate": 0.75, "low": 0.3006, "high": 0.9544}
    assert rate([])["rate"] is None
    held = np.array([True, False, True, False])
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.6]), held) == pytest.approx((1 + 2 / 3) / 2)
    # Equal qualities say nothing of the order.
    assert average_precision(np.full(4, 0.5), held) == pytest.approx(0.5)
    assert np.isnan(average_precision(np.array([0.5]), np.array([False])))
    rows = calibration(np.array([0.95, 1.0, 0.11]), np.array([True, False, True]))
    assert [(row["n"], row["k"]) for row in rows] == [(1, 1), (2, 1)] and rows[1]["quality"] == pytest.approx(0.975)


def test_numbers_of_grasps() -> None:
    base = {"candidates": 2, "top": True, "random": False, "holds": True, "reason": "success", "dense": True}
    none = {"candidates": 0, "top": None, "random": None, "holds": False, "reason": "", "dense": True}
    slip = {"candidates": 1, "top": False, "random": False, "holds": False, "reason": "slipped", "dense": False}
    record = {
        "split": "seen",
        "set_up": True,
        "milliseconds": 5.0,
        "candidates": 3,
        "objects": [base, none, slip],
        "sampled": [(0.9, True), (0.2, False)],
    }
    lost = {"split": "unseen", "set_up": False}
    found = grasp_numbers([record, lost])
    row = found["groups"]["seen"]
    counted = {key: (row[key]["k"], row[key]["n"]) for key in ("covered", "graspable", "graspable_with_holding", "top_holds")}
    assert counted == {"covered": (2, 3), "graspable": (2, 3), "graspable_with_holding": (1, 2), "top_holds": (1, 2)}
    assert row["top_failures"] == {"slipped": 1} and row["average_precision"]["value"] == 1.0
    assert found["not_set_up"] == 1 and found["groups"]["unseen"]["covered"]["rate"] is None


def test_histograms_tell_colours_apart() -> None:
    red, green = np.full((50, 3), (200, 20, 20), np.uint8), np.full((50, 3), (20, 190, 30), np.uint8)
    assert histogram(red) @ histogram(red) == pytest.approx(1.0, abs=1e-5)
    assert histogram(red) @ histogram(green) == 0.0
    mixed = histogram(np.concatenate([red, green]))
    assert mixed @ histogram(red) == pytest.approx(np.sqrt(0.5), abs=1e-5)


def test_the_true_surface_is_where_the_cameras_see_it(scene: Scene) -> None:
    """Poses, body frames and shapes fit together: points on an object lie at its surface at its true pose."""
    from scipy.spatial import cKDTree

    from srcli.perception.cloud import unproject

    points = unproject(scene.observation, SMALL.cloud)
    owner = point_owners(scene, points)
    checked = 0
    for slot in np.unique(owner):
        own = points[owner == slot]
        moved = surface(scene.spec.objects[slot]).moved(scene.truth.poses[slot])
        assert np.allclose(np.linalg.norm(moved.normals, axis=1), 1.0)
        if len(own) >= 20:
            assert float(np.median(cKDTree(moved.points).query(own)[0])) < 0.005
            checked += 1
    assert checked


def test_the_dense_search_finds_what_holds_and_nothing_in_a_block(world: World) -> None:
    drop = np.array([[0.5, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0]])
    world.reset([build(catalogue()["soap_box"])], drop)
    truth = world.truth()
    points = scene_points(("soap_box",), truth.poses, truth.present)
    own = surface("soap_box").moved(truth.poses[0])
    actions = search(own, truth.poses[0, :3], points, 6)
    assert len(actions) == 6
    block = np.random.default_rng(0).uniform([0.35, -0.15, 0.0], [0.65, 0.15, 0.3], (40_000, 3))
    assert search(own, truth.poses[0, :3], np.concatenate([points, block]), 6) == []
    executed = world.execute(actions[0])
    assert (executed.reason, executed.slot) == (Reason.SUCCESS, 0)


def test_questions_have_answers_and_no_doubt(scene: Scene) -> None:
    visible = [int(slot) for slot in np.flatnonzero(scene.truth.present)]
    asked = pick_questions(scene, visible, SMALL)
    assert {q.wording for q in asked} == {"train", "heldout"}
    assert {q.kind for q in asked} <= {"episode", *PICK_KINDS} and any(q.kind == "label" for q in asked)
    names = scene.spec.objects
    for question in asked:
        assert question.targets
        for slot, name in enumerate(names):
            assert (slot in question.targets) == could_mean(name, question.keyword) or question.kind == "function"
    train = [q.keyword for q in asked if q.wording == "train"]
    assert train == [q.keyword for q in asked if q.wording == "heldout"]
    assert pick_questions(scene, visible, SMALL) == asked


def test_references_are_asked_for_in_placements(world: World) -> None:
    zone = build_scene(world, SMALL, "place", "unseen", 0)
    assert zone is not None
    visible = [int(slot) for slot in np.flatnonzero(zone.truth.present)]
    assert zone.spec.held not in visible
    asked = place_questions(zone, visible, SMALL)
    assert asked[0].targets == zone.spec.goal.references and all(q.keyword in q.sentence for q in asked)


@dataclass
class PaintedEncoder:
    """Sees the colours that objects were painted with, and takes the words of a label for one of them."""

    colors: U8
    words: dict[str, int]
    vocabulary: frozenset[str] | None = None
    identity: EncoderIdentity = field(default=EncoderIdentity("painted", "0" * 64, 4, "none", "none", "fp32", 1))

    def dense(self, rgb: U8) -> DenseFeatures:
        same = (rgb[..., None, :] == self.colors).all(axis=-1)
        return DenseFeatures(np.concatenate([same, ~same.any(axis=-1, keepdims=True)], axis=-1).astype(np.float32))

    def text(self, texts: Any) -> list[TextEmbedding]:
        out = []
        for text in texts:
            pooled = np.full(len(self.colors) + 1, 1e-3, dtype=np.float32)
            for word, slot in self.words.items():
                if word in text:
                    pooled[slot] = 1.0
            out.append(TextEmbedding(pooled / np.linalg.norm(pooled), pooled[None], np.ones(1, dtype=bool)))
        return out


@pytest.fixture()
def painted(scene: Scene, world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], dict[str, Any]]:
    """Plays the scene with an encoder that is right, or one that takes every object for its neighbour."""
    slots = len(scene.spec.objects)
    colors = np.stack([np.array([250 - 60 * slot, 60 * slot, 90], np.uint8) for slot in range(slots)])
    rgb = np.zeros_like(scene.observation.rgb)
    for slot in range(slots):
        rgb[scene.segmentation == slot + 1] = colors[slot]
    shown = replace(scene, observation=replace(scene.observation, rgb=rgb))
    labels = [catalogue()[name].label for name in scene.spec.objects]
    monkeypatch.setattr(encoder_part, "build_scene", lambda *_: shown)
    monkeypatch.setattr(encoder_part, "reference_histograms", lambda params, names: np.ones((len(names), 324), np.float32))
    monkeypatch.setattr("srcli.sim.World", lambda config: world)
    monkeypatch.setattr(
        encoder_part,
        "pick_questions",
        lambda scene, visible, params: [
            Question("label", "train", labels[slot], f"give me the {labels[slot]}", (slot,), (scene.spec.objects[slot],))
            for slot in visible
        ],
    )

    def play(right: bool) -> dict[str, Any]:
        words = {label: (slot if right else (slot + 1) % slots) for slot, label in enumerate(labels)}
        fake = PaintedEncoder(colors, words)
        monkeypatch.setattr("srcli.perception.encoders.loading.load_encoder", lambda config, device: fake)
        encoder_part.start(SMALL, "cpu")
        return encoder_part.play(encoder_part.EncoderJob("pick", "seen", 0))

    return play


def test_an_encoder_that_knows_is_right_and_one_that_mistakes_is_wrong(painted: Callable[[bool], dict[str, Any]]) -> None:
    record = painted(True)
    assert record["set_up"] and len(record["questions"]) == len(record["regions"]) >= 2
    assert all(q["point"] and q["region"] for q in record["questions"])
    assert all(r["found"] == r["name"] and r["rank"] == 1 for r in record["regions"])
    assert [d["right"] for d in record["drawings"]] == [True]
    wrong = painted(False)
    assert not any(q["point"] or q["region"] for q in wrong["questions"])
    assert not any(r["true"] for r in wrong["regions"]) and [d["right"] for d in wrong["drawings"]] == [False]


@pytest.fixture()
def own(tmp_path: Path) -> Iterator[set[str]]:
    """Three objects of the user's library."""
    corners = [(x, y, z) for x in (0, 0.05) for y in (0, 0.03) for z in (0, 0.04)]
    faces = "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n"
    (tmp_path / "box.obj").write_text("".join(f"v {x} {y} {z}\n" for x, y, z in corners) + faces)
    words = ("whisk", "valve", "dial")
    for word in words:
        request = Request(file=str(tmp_path / "box.obj"), name=f"my_{word}", label=word)
        add(request, tmp_path / "lib", test=False, words_known=lambda text: ())
    known = catalogue()
    before = dict(known._entries)
    known.include(read_library(tmp_path / "lib"))
    yield {f"my_{word}" for word in words}
    known._entries.clear()
    known._entries.update(before)
    known.include(())


def test_scenes_of_own_objects_are_measured(own: set[str], world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    params = override(SMALL, {"scene.library": "only", "probe.drawn": 0})
    words = {"whisk": 0, "valve": 1, "dial": 2}
    fake = PaintedEncoder(np.zeros((3, 3), np.uint8), words)
    monkeypatch.setattr(encoder_part, "reference_histograms", lambda params, names: np.ones((len(names), 324), np.float32))
    monkeypatch.setattr("srcli.perception.encoders.loading.load_encoder", lambda config, device: fake)
    monkeypatch.setattr("srcli.sim.World", lambda config: world)
    encoder_part.start(params, "cpu")
    record = encoder_part.play(encoder_part.EncoderJob("pick", "seen", 0))
    assert record["regions"] and {row["name"] for row in record["regions"]} <= own
    assert {question["keyword"] for question in record["questions"]} <= set(words)
    # Where an object carries the word, colours have an answer.
    found = build_scene(world, params, "pick", "seen", 0)
    assert found is not None
    assert all(set(q.names) & own and q.targets for q in pick_questions(found, [0], params))


class Served:
    """An executor that runs in this process, and remembers what it gave."""

    workers = 1

    def imap(self, function: Any, jobs: Any, initializer: Any = None, initargs: Any = ()) -> Iterator[Any]:
        self.records = [function(job) for job in jobs]
        yield from self.records


def test_the_encoder_part_writes_numbers_tables_and_pictures(
    tmp_path: Path, painted: Callable[[bool], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = iter([painted(True), {**painted(False), "split": "seen"}])

    def play(job: encoder_part.EncoderJob) -> dict[str, Any]:
        return said(job.suite, job.split, job.episode.kind, True) if job.episode else next(own)

    monkeypatch.setattr(encoder_part, "play", play)
    params = override(SMALL, {"probe.parts": ["encoder"], "probe.suites": ["compositional-development"]})
    summary = stage.run(params, tmp_path, executor=Served())
    found = json.loads((tmp_path / "encoder.json").read_text())
    count = found["regions"]["seen"]["top1"]["n"]
    assert found["regions"]["seen"]["top1"]["k"] * 2 == count and found["answers"][0]["point"]["n"] == count
    assert {path.name for path in summary.pictures} == {"answers.png", "confusions.png", "similarity-seen.png"}
    assert all(path.stat().st_size > 5000 for path in summary.pictures)
    assert f"{count // 2}/{count} = 50%" in summary.markdown == (tmp_path / "encoder.md").read_text()
    assert list(found["suites"]["compositional-development"]["seen"]) == list(PHRASE_KINDS)
    assert "compositional-development: compositional sentences" in summary.markdown


def said(suite: str, split: str, kind: str, right: bool) -> dict[str, Any]:
    """The record of a suite's sentence: its region is found, its point as said."""
    question = {"kind": kind, "wording": "train", "point": right, "region": True, "color": False, "chance": 0.125}
    empty: dict[str, Any] = {"regions": [], "drawings": []}
    return {"task": "pick", "suite": suite, "split": split, "set_up": True, "dense_ms": 1.0, "questions": [question], **empty}


def test_sentences_of_suites_are_counted_by_kind_and_apart_from_the_probes_own() -> None:
    free, composed = "free-development", "compositional-development"
    records = [
        said("", "seen", "label", False),
        *(said(free, "seen", "typing", right) for right in (True, True, False)),
        said(free, "unseen", "polite", False),
        said(composed, "seen", "reference", True),
        {"suite": composed, "split": "seen", "set_up": False},
    ]
    numbers = encoder_numbers(records)
    assert [(row["kind"], row["point"]["n"]) for row in numbers["answers"]] == [("label", 1)]
    assert numbers["scenes"] == {"seen": 1, "unseen": 0} and numbers["dense_ms_per_view"]["n"] == 1
    typing = numbers["suites"][free]["seen"]["typing"]
    assert (typing["n"], typing["point"]["k"], typing["region"]["k"], typing["chance"]) == (3, 2, 3, 0.125)
    assert {suite: {split: list(kinds) for split, kinds in of.items()} for suite, of in numbers["suites"].items()} == {
        free: {"seen": ["typing"], "unseen": ["polite"]},
        composed: {"seen": ["reference"]},
    }
    table = encoder_table(numbers, {"name": "toy", "sha256": "0", "dim": 4, "route": "none"}).splitlines()
    start = table.index("free-development: sentences as people say them")
    assert table[start + 2 : start + 6] == [
        "| kind | seen: point | region | chance | unseen: point | region | chance |",
        "|---|---|---|---|---|---|---|",
        "| typing | 2/3 | 3/3 | 12% | - | - | - |",
        "| polite | - | - | - | 0/1 | 1/1 | 12% |",
    ]
    assert "| reference | 1/1 | 1/1 | 12% |" in table and "1 scene(s) could not be laid out" in table[-1]


class Looked(Exception):
    """A method has seen enough."""


class Looks:
    """A method that keeps what it sees at its first attempt."""

    name, privileged = "looks", False

    def act(self, decision: Any) -> Any:
        self.observation, self.cloud = decision.observation, decision.percept().cloud
        raise Looked


def test_suites_are_answered_in_the_scenes_and_words_of_an_evaluation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    params = override(
        SMALL, {"probe.suites": ["free-development", "compositional-development"], "probe.sentences": 1, "cloud.select": "all"}
    )
    monkeypatch.setattr(encoder_part, "reference_histograms", lambda params, names: np.ones((len(names), 324), np.float32))
    monkeypatch.setattr("srcli.sim.World", lambda config: world)
    encoder_part.start(params, "cpu")
    assert encoder_part._worker is not None
    encoder, reader = encoder_part._worker.encoder, encoder_part._worker.reader
    one = Candidates(np.eye(1, 7, dtype=np.float32), np.ones(1, np.float32), np.ones(1, np.float32), "grasp")
    jobs = {job.episode.kind: job for job in encoder_part.suite_jobs(params) if job.episode is not None}
    assert len(jobs) == 10 and {job.split for job in jobs.values()} == {"seen"}
    for kind in ("typing", "attribute_noun"):
        job = jobs[kind]
        assert job.episode is not None
        record = encoder_part.play(job)
        (question,) = record["questions"]
        assert (record["suite"], record["regions"], question["kind"]) == (job.suite, [], kind)
        # Easy ones: "give me the aple", "I want the yellow box".
        assert question["point"] and question["region"] and 0 < question["chance"] < 0.5

        scene = build_episode(world, params, job.episode)
        assert scene is not None
        assert (question["sentence"] != scene.spec.instruction) == (kind == "typing")
        task, looks = get_task("pick", params.language), Looks()
        with pytest.raises(Looked):
            run_episode(
                world,
                task,
                job.episode.spec(task, params.scene),
                looks,
                sampler=lambda observation: one,
                cloud_config=params.cloud,
                encoder=encoder,
                reader=reader,
            )
        assert np.array_equal(scene.observation.rgb, looks.observation.rgb)
        assert np.array_equal(scene.observation.depth, looks.observation.depth)
        best = point_owners(scene, looks.cloud.points)[int(np.argmax(looks.cloud.similarity))]
        assert question["found"] == scene.spec.objects[best]


def test_scenes_that_cannot_be_laid_out_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grasp_part, "play", lambda job: {"split": job.split, "set_up": False})
    with pytest.raises(SceneError, match="none of the 1 scenes"):
        stage.run(override(SMALL, {"probe.parts": ["grasps"]}), tmp_path, executor=Served())


def test_an_interrupted_grasp_part_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = override(SMALL, {"probe.parts": ["grasps"], "probe.splits": ["seen", "unseen"]})
    played: list[str] = []

    def play(job: Any) -> dict[str, Any]:
        if job.split == "unseen" and not played:
            raise KeyboardInterrupt
        played.append(job.split)
        return {
            "split": job.split,
            "number": 0,
            "set_up": True,
            "milliseconds": 1.0,
            "candidates": 1,
            "objects": [],
            "sampled": [],
        }

    monkeypatch.setattr(grasp_part, "play", play)
    monkeypatch.setattr(grasp_part, "start", lambda params: None)
    first = grasp_part.GraspJob("seen", 0)

    class Stopped(Served):
        def imap(self, function: Any, jobs: Any, initializer: Any = None, initargs: Any = ()) -> Iterator[Any]:
            assert jobs[0] == first
            yield {**play(first), "milliseconds": 7.0}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(params, tmp_path, executor=Stopped())
    summary = stage.run(params, tmp_path, executor=Served())
    assert played == ["seen", "unseen"] and summary.numbers["grasps"]["milliseconds"]["slowest"] == 7.0
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_copied_scene_answers_like_one_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = grasp_part.jobs(["seen"], 1)[0]
    copied = next(make_executor("processes", 1).imap(grasp_part.play, [job], grasp_part.start, (SMALL,)))
    grasp_part.start(SMALL)
    anew = grasp_part.play(job)
    assert {**copied, "milliseconds": 0} == {**anew, "milliseconds": 0}
    assert copied["objects"] and all(o["holds"] for o in copied["objects"] if o["top"])
    monkeypatch.setattr(grasp_part, "play", lambda job: copied)
    summary = stage.run(override(SMALL, {"probe.parts": ["grasps"]}), tmp_path, executor=Served())
    assert "objects with a candidate" in summary.markdown and summary.pictures[0].name == "calibration.png"
    assert len(json.loads((tmp_path / "grasps.json").read_text())["objects"]) == len(copied["objects"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (None, (None, None)),
        ("embedded", ("embedded", "")),
        ("embedded/seen-only", ("embedded", "seen-only")),
        ("embedded=runs/mine.safetensors", ("embedded", "runs/mine.safetensors")),
        ("ViT-L-14-quickgelu/openai", ("ViT-L-14-quickgelu", "openai")),
        ("hf-hub:org/repo", ("hf-hub:org/repo", "")),
    ],
)
def test_encoders_on_the_command_line(text: str | None, parts: tuple[str | None, str | None]) -> None:
    assert split_encoder(text) == parts


def test_a_dry_run_tells_the_scale(tmp_path: Path) -> None:
    words = ["probe", "--scenes", "7", "--part", "grasps", "--split", "unseen", "--dry-run", "--json", "-o", str(tmp_path / "o")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    plan = json.loads(result.output)
    assert plan["settings"]["probe"]["scenes"] == plan["settings"]["probe"]["grasp_scenes"] == 7
    assert len(plan["does"]) == 1 and "in 7 piles" in plan["does"][0] and not (tmp_path / "o").exists()
    wrong = CliRunner().invoke(app, ["probe", "--part", "arm", "--dry-run"])
    assert wrong.exit_code == 2 and "probe.parts" in wrong.output
    nowhere = CliRunner().invoke(app, ["probe", "--encoder", "nonsense", "--dry-run"])
    assert nowhere.exit_code == 8 and "unknown encoder 'nonsense'" in nowhere.stderr
    whole = CliRunner().invoke(app, ["probe", "--scenes", "2", "--part", "encoder", "--dry-run"])
    assert whole.exit_code == 0 and "2 sentences of each kind per split of free-development" in " ".join(whole.output.split())


def test_an_unknown_suite_is_refused_before_any_work(tmp_path: Path) -> None:
    out = tmp_path / "o"
    result = CliRunner().invoke(app, ["probe", "--part", "encoder", "-S", 'probe.suites=["fre"]', "-o", str(out)])
    assert result.exit_code == 2 and not out.exists()
    (line,) = [line for line in result.output.splitlines() if line.startswith("error:")]
    assert "probe.suites" in line and '"fre"' in line and "'free-development'" in line and "'compositional'" in line
