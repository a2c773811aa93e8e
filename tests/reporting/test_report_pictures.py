"""Pictures, drawings and animations: they decode, they show what they should, they stay small."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_inputs import policy

from srcli.config.ablate import AblateConfig
from srcli.config.sim import SimConfig
from srcli.evaluation.figures import draw_case, project
from srcli.evaluation.rollout import AttemptRecord, EpisodeRecord
from srcli.methods.base import Choice
from srcli.params import Params
from srcli.reporting.blocks import Cards, Measure, Prose
from srcli.reporting.film import HEIGHT, WIDTH, Recorder, animation, film_camera
from srcli.reporting.page import inline
from srcli.reporting.pictures import attention, decision_pictures
from srcli.reporting.plain import _block as plain_block
from srcli.reporting.replay import CASE_STUDIES, fixed_case, shown_methods
from srcli.reporting.result_files import gather
from srcli.reporting.svg import interval_bar, stacked_bars, strip
from srcli.sim.cameras import Camera, cameras
from srcli.types import (
    U8,
    Action,
    Candidates,
    EpisodeSpec,
    Execution,
    Goal,
    HeldExtent,
    Observation,
    Outcome,
    Percept,
    Reason,
    SceneTruth,
    SemanticCloud,
    TextEmbedding,
)


def _record(kind: str, masked: bool = True) -> AttemptRecord:
    rng = np.random.default_rng(0)
    views = cameras(SimConfig(camera_scale=0.25))
    observation = Observation(
        rgb=rng.integers(0, 255, (3, 180, 320, 3), dtype=np.uint8),
        depth=np.ones((3, 180, 320), np.float32),
        K=np.stack([c.K for c in views]),
        T_world_cam=np.stack([c.T_world_cam for c in views]),
    )
    points = (np.array([0.5, 0.0, 0.03]) + rng.uniform(-0.15, 0.15, (60, 3)) * [1, 1, 0.1]).astype(np.float32)
    similarity = rng.random(60).astype(np.float32)
    cloud = SemanticCloud(points, np.zeros((60, 4), np.float32), similarity, np.ones(60, np.uint8))
    text = TextEmbedding(np.zeros(4, np.float32), np.zeros((2, 4), np.float32), np.ones(2, bool))
    poses = np.concatenate([points[:5], np.tile([1.0, 0, 0, 0], (5, 1))], axis=1).astype(np.float32)
    widths = np.full(5, 0.05 if kind == "grasp" else 0.0, np.float32)
    candidates = Candidates(poses, widths, np.linspace(0.1, 0.9, 5).astype(np.float32), kind)  # type: ignore[arg-type]
    action = Action(candidates.kind, poses[2], float(widths[2]), 2)
    return AttemptRecord(
        phase="pick" if kind == "grasp" else "place",
        observation=observation,
        segmentation=np.zeros((3, 180, 320), np.uint16),
        truth=SceneTruth(np.zeros((2, 7)), np.ones(2, bool), np.zeros((0, 0, 0), np.uint16)),
        candidates=candidates,
        excluded=np.array([True, False, False, False, False]),
        choice=Choice(action, candidates.quality, rng.random(60).astype(np.float32) if masked else None),
        execution=Execution(Reason.SUCCESS, 0, 100),
        outcome=Outcome(kind == "grasp", Reason.SUCCESS if kind == "grasp" else Reason.WRONG_REGION, 0),
        percept=Percept(cloud, text),
        held=HeldExtent(0.03, 0.02, 0.05) if kind == "place" else None,
    )


@pytest.mark.parametrize("kind", ["grasp", "place"])
def test_a_decision_is_drawn(kind: str) -> None:
    record = _record(kind)
    view, cloud = decision_pictures(record, "SR, first attempt")
    for picture in (view, cloud):
        image = np.asarray(Image.open(BytesIO(picture.data)).convert("RGB"), dtype=int)
        assert image.shape == (440, 440, 3) and len(picture.data) < 200_000
        # The mark of the chosen action is the only saturated green.
        green = (image[..., 1] > 180) & (image[..., 0] < 110) & (image[..., 2] < 160)
        assert green.sum() > 40
    assert "semantic mask" in cloud.caption and ("strokes" if kind == "grasp" else "dots") in cloud.caption


def test_a_method_without_a_mask_says_so() -> None:
    record = _record("grasp", masked=False)
    values, name = attention(record)
    assert record.percept is not None and values is record.percept.cloud.similarity and "has no mask" in name


def test_the_case_figure_of_a_placement_names_the_relation(tmp_path: Path) -> None:
    goal = Goal("", "", (), "near", (1,), "apple")
    spec = EpisodeSpec("place", "seen", (0, 1, 2), "put it near the apple", goal, ("plum", "apple"), np.zeros((2, 7)))
    record = _record("place")
    from srcli.evaluation.figures import describe

    episode = EpisodeRecord(spec, "sr", (record,), False)
    assert describe(episode, record) == "wrong region, released plum; asked: near apple"
    assert draw_case(episode, tmp_path / "case.png").stat().st_size > 20_000


class _World:
    """Counts pictures; every frame is darker than the one before."""

    def __init__(self) -> None:
        self.on_step: Callable[[int], None] | None = None
        self.taken = 0

    def picture(self, camera: Camera) -> U8:
        self.taken += 1
        return np.full((camera.height, camera.width, 3), 255 - self.taken % 256, np.uint8)


def test_a_film_has_few_frames_however_long_it_runs() -> None:
    world = _World()
    recorder = Recorder(world, film_camera(wide=False), 20)
    assert recorder.frames == ()
    recorder.start()
    for step in range(0, 6000, 2):
        assert world.on_step is not None
        world.on_step(step)
    recorder.stop()
    assert world.on_step is None
    assert 10 <= len(recorder.frames) <= 20 and recorder.frames[0].shape == (HEIGHT, WIDTH, 3)
    assert world.taken < 100
    levels = [int(frame[0, 0, 0]) for frame in recorder.frames]
    assert levels == sorted(levels, reverse=True)


def test_an_animation_is_small_and_repeats() -> None:
    rng = np.random.default_rng(0)
    frames = tuple(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(24))
    data = animation(frames, 8.0)
    image = Image.open(BytesIO(data))
    assert image.n_frames == 24 and image.size == (WIDTH, HEIGHT) and image.info["loop"] == 0
    assert len(data) < 1_000_000


@pytest.mark.parametrize("wide", [False, True])
def test_the_film_camera_sees_zones_and_gripper(wide: bool) -> None:
    camera = film_camera(wide)
    sides = (-0.224, 0.224) if wide else (0.0,)
    points = np.array([[x, y + dy, z] for y in sides for x in (0.3, 0.7) for dy in (-0.2, 0.2) for z in (0.0, 0.25)])
    pixels, front = project(points, camera.K, camera.T_world_cam)
    inside = (pixels >= 0).all(axis=1) & (pixels < [camera.width, camera.height]).all(axis=1)
    assert front.all() and inside.mean() > 0.85


def test_case_studies_are_cases_of_the_paper_suite() -> None:
    assert [study.task for study in CASE_STUDIES] == ["pick", "place", "pick_place"]
    assert fixed_case("pick", CASE_STUDIES[0].case).instruction == "grasp a round object"
    for study in CASE_STUDIES[1:]:
        assert fixed_case(study.task, study.case).relation


def test_case_studies_play_the_methods_of_the_ablation_with_policies_found_or_shipped(tmp_path: Path) -> None:
    for seed in (3, 1):
        policy(tmp_path / f"s-{seed}.h5", "sr_a_plus", 2.0, seed)
    policy(tmp_path / "a-0.h5", "sr_a_plus", 2.0, 0, {"network.encoder.layers": 2})
    names = ("sr_plus", "untrained:sr_plus", "sr_a_plus", "absent")
    params = Params().model_copy(update={"ablate": AblateConfig(methods=names)})
    methods, missing = shown_methods(gather([tmp_path]), params)
    assert list(methods) == ["sr_plus", "sr_a_plus"], "a control is not played"
    assert methods["sr_a_plus"].path == str(tmp_path / "s-1.h5"), "that of other settings does not stand for the method"
    assert str(methods["sr_plus"].path).endswith("weights/sr_plus.h5")
    assert len(missing) == 1 and "absent" in missing[0].what and "--method absent" in missing[0].command


def test_text_is_escaped_and_marked_up() -> None:
    assert inline("a < b & `x_y_z<1>` **bold `code`** _soft_ snake_case_name") == (
        "a &lt; b &amp; <code>x_y_z&lt;1&gt;</code> <strong>bold <code>code</code></strong> <em>soft</em> snake_case_name"
    )


def test_bars_stand_where_the_numbers_are() -> None:
    assert interval_bar(Measure("no number")) == ""
    bar = interval_bar(Measure("50 [0, 100]", 0.5, 0.0, 1.0))
    assert 'x1="4.0" x2="104.0"' in bar and 'cx="54.0"' in bar
    assert 'class="zero" x1="54.0"' in interval_bar(Measure("", 0.1, 0.0, 0.2, bounds=(-1.0, 1.0), zero=True))


def test_drawings_keep_their_numbers_in_markdown() -> None:
    from srcli.reporting.blocks import Row, Table

    text = plain_block(Table("c", ("method", "batches"), (Row(("SR", strip([(10, 10), (7, 10)]))),)))
    assert "| SR | 10 7 |" in text
    assert ">3<" in stacked_bars([("SR / seen", 10, [("wrong_object", 3)])])
    assert plain_block(Cards((("SR", "95%", "19/20"),))) == "- SR: **95%** (19/20)"
    assert plain_block(Prose("x")) == "x"
