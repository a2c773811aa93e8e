"""Training GraspNet's network in the simulation: grades of grasps, loss, resuming, and what it says afterwards."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srcli.actions.graspnet import GraspGroup, make_group
from srcli.actions.gripper import GRIPPER
from srcli.actions.poses import rotation_matrices
from srcli.actions.sources import DetectorSource
from srcli.config.candidates import CandidateConfig
from srcli.config.pretrain import GraspNetConfig
from srcli.config.scene import SceneConfig
from srcli.config.sim import SimConfig
from srcli.errors import ArtifactError, MismatchError
from srcli.models.graspnet.checkpoint import load_graspnet
from srcli.models.graspnet.decode import decode
from srcli.models.graspnet.detector import camera_cloud
from srcli.models.graspnet.layers import SetAbstraction
from srcli.models.graspnet.network import ANGLES, DEPTHS, VIEWS, GraspNet, Prediction
from srcli.models.graspnet.views import approach_frames
from srcli.objects import ObjectModel, build, catalogue
from srcli.parallel.serial import SerialExecutor
from srcli.params import Params
from srcli.pretraining.grasp_quality.outcomes import _outcome
from srcli.pretraining.graspnet import labels, training
from srcli.pretraining.graspnet.labels import Labels, SceneJob, grade, label, tolerances
from srcli.pretraining.graspnet.loss import accuracy, loss, predict
from srcli.pretraining.surface import Surface, sample_surface
from srcli.seeding import generator
from srcli.sim import World
from srcli.stages import pretrain_graspnet
from srcli.tasks.draws import pile_drops
from srcli.types import F32, F64, Action, Observation


@pytest.fixture(autouse=True)
def _few_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same network on a sixteenth of the centres, so that a step takes a moment."""
    whole = SetAbstraction.__init__

    def fewer(self: SetAbstraction, points: int, radius: float, samples: int, widths: tuple[int, ...]) -> None:
        whole(self, points // 16, radius, samples, widths)

    monkeypatch.setattr(SetAbstraction, "__init__", fewer)


def block(size: tuple[float, float, float], centre: tuple[float, float, float], most: int = 1500) -> Surface:
    """The surface of an upright box."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
    found = sample_surface([corners], most)
    return Surface(found.points + centre, found.normals)


def down() -> F64:
    """The frame of an approach straight down; its closing direction at angle 0 is the world's y."""
    return approach_frames(torch.tensor([[0.0, 0.0, -1.0]], dtype=torch.float64)).numpy()


def graded(surfaces: list[Surface], point: tuple[float, float, float]) -> tuple[Any, Any]:
    points = np.concatenate([s.points for s in surfaces])
    normals = np.concatenate([s.normals for s in surfaces])
    own = np.repeat(np.arange(len(surfaces)), [len(s.points) for s in surfaces]) == 0
    score, width = grade(np.array(point), down(), points, normals, own)
    return score[0], width[0]


def test_a_narrow_bar_is_held_across_and_not_along() -> None:
    bar = block((0.15, 0.03, 0.06), (0.5, 0.0, 0.03))
    score, width = graded([bar], (0.5, 0.0, 0.06))
    assert score.shape == (ANGLES, len(DEPTHS))
    across, along = 0, ANGLES // 2
    # At angle 0 the closing direction is y: straight onto both faces.
    np.testing.assert_allclose(score[across, 1:], 1.0, atol=0.02)
    np.testing.assert_allclose(width[across, 1:], 0.03 + 2 * 0.004, atol=0.003)
    assert (score[along] == 0).all(), "along it the bar is wider than the gripper"
    # Turned by 30 degrees the contacts need friction tan 30.
    assert score[2, 2] == pytest.approx(1 - math.tan(math.radians(30)), abs=0.05)
    assert score[3].max() < 0.02, "tan 45 = 1 leaves nothing"


def test_neighbours_and_the_table_are_in_the_way() -> None:
    bar = block((0.15, 0.03, 0.06), (0.5, 0.0, 0.03))
    wall = block((0.15, 0.01, 0.08), (0.5, 0.03, 0.04))
    score, _ = graded([bar, wall], (0.5, 0.0, 0.06))
    assert (score[0] == 0).all(), "a finger would stand in the wall"
    far = block((0.15, 0.01, 0.08), (0.5, 0.03 + GRIPPER.finger_thickness, 0.04))
    assert graded([bar, far], (0.5, 0.0, 0.06))[0][0].max() > 0.9
    low = block((0.15, 0.03, 0.02), (0.5, 0.0, 0.01))
    score, _ = graded([low], (0.5, 0.0, 0.02))
    assert score[0, 0] > 0.9
    assert (score[0, 2:] == 0).all(), "below the table"


def test_tolerance_counts_good_neighbours() -> None:
    score = np.zeros((ANGLES, len(DEPTHS)), np.float32)
    score[:, 1:3] = 1
    found = tolerances(score)
    assert found[:, 0].max() == 0
    np.testing.assert_allclose(found[:, 1], 0.05 * 6 / 9, rtol=1e-5)
    np.testing.assert_allclose(tolerances(np.ones_like(score)), 0.05, rtol=1e-5)


def scene(count: int = 2048) -> Labels:
    """A labelled box under a camera that looks straight down."""
    bar = block((0.12, 0.03, 0.06), (0.5, 0.0, 0.03))
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.uniform(0.35, 0.65, count - 700), rng.uniform(-0.15, 0.15, count - 700), np.zeros(count - 700)])
    top = bar.points[bar.points[:, 2] > 0.055]
    world = np.concatenate([table, top[rng.integers(0, len(top), 700)]])
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = np.diag([1.0, -1.0, -1.0]), [0.5, 0.0, 0.7]
    cloud = ((world - camera[:3, 3]) @ camera[:3, :3]).astype(np.float32)
    return label(cloud, camera, [bar], 20, rng)


@pytest.fixture(scope="module")
def labelled() -> Labels:
    return scene()


def test_labels_of_a_scene(labelled: Labels) -> None:
    assert labelled.views.shape == (20, VIEWS)
    assert 0.3 < labelled.on_object.mean() < 0.4
    top = labelled.points[:, 2] < 0.642
    assert top.sum() >= 5
    assert labelled.views[top].max(axis=1).mean() > 0.9, "from above the bar is held"
    for row in np.flatnonzero(top):
        assert labelled.score[row].max() == pytest.approx(labelled.views[row].max())
        # The camera looks down: approaches go along its z.
        assert labelled.approach[row, 2] >= labels.STEEPEST


#: Grasps executed as labelled, as many a quarter turn further, and how many of one pile at most.
CASES, OF_A_PILE = 24, 4
#: As many of the former hold at least, and fewer of the latter.
BOUND = 11


@pytest.mark.slow
def test_true_labels_decoded_and_executed_hold() -> None:
    """Frames, angles and depths on the whole way: labels -> network's output -> rows -> candidates -> the arm.

    Graded where they ended up, candidates are as good as their labels said: that sees a mirrored angle too. Executed, they hold.
    Whether one grasp holds is a matter of chance: contacts are chaotic, and another rounding is another outcome. Of grasps that
    the labels call good, and hopeless a quarter turn further, 141 of 160 held, and 9 of 161 when they were turned. By the
    binomial distribution fewer than 11 of 24 hold with a probability of 1e-6 where the rate is 0.85, and 11 or more with one of
    1e-5 where it is 0.1: both rates lie beyond what was measured, towards the bound.
    """
    world, right, turned = World(SimConfig()), list[bool](), list[bool]()
    good, bad = list[bool](), list[bool]()
    for pile in range(4 * CASES // OF_A_PILE):
        models, poses, observation, surfaces, group = good_grasps(world, pile)
        aside = group.rotations[:, :, [0, 2, 1]] * [1, 1, -1]
        wrong = make_group(group.scores, group.widths, group.depths, aside, group.translations)
        for rows, held, as_labelled in ((group, right, good), (wrong, turned, bad)):
            grasps = DetectorSource(lambda _, rows=rows: rows, CandidateConfig(), 0)(observation)
            as_labelled += [regraded(place, surfaces) > 0 for place in grasps.poses]
            for pose, width in list(zip(grasps.poses, grasps.widths, strict=True))[:OF_A_PILE]:
                reached, holds = _outcome(world, models, poses, Action("grasp", pose, float(width)))
                if reached:
                    held.append(holds)
        if min(len(right), len(turned)) >= CASES:
            break
    assert min(len(right), len(turned)) >= CASES, "the piles offer too few grasps"
    assert np.mean(good) > 0.9
    assert np.mean(bad) < 0.1
    assert sum(right[:CASES]) >= BOUND
    assert sum(turned[:CASES]) < BOUND, "closing along what should be closed across"


def regraded(pose: F32, surfaces: list[Surface]) -> float:
    """The label's score of a candidate at its place in the world, of whichever object it holds."""
    closing, across, approach = rotation_matrices(pose[None])[0].T
    frame = np.stack([approach, closing, across], axis=1)[None]
    points, normals = (np.concatenate([getattr(s, name) for s in surfaces]) for name in ("points", "normals"))
    owner = np.repeat(np.arange(len(surfaces)), [len(s.points) for s in surfaces])
    seed = pose[:3] - DEPTHS[0] * approach
    near = np.linalg.norm(points - seed, axis=1) < 0.2
    return max(
        float(grade(seed, frame, points[near], normals[near], owner[near] == one)[0][0, 0, 0]) for one in range(len(surfaces))
    )


def good_grasps(world: World, pile: int) -> tuple[list[ObjectModel], F64, Observation, list[Surface], GraspGroup]:
    """A pile of four, and rows decoded from its labels: good ones where the labels know no grasp a quarter turn further."""
    rng = generator((2, pile))
    models = [build(catalogue()[str(name)]) for name in rng.choice(catalogue().seen, 4, replace=False)]
    poses = pile_drops(rng, len(models), SceneConfig())
    world.reset(models, poses)
    observation, _ = world.observe(rng)
    truth = world.truth()
    surfaces = [
        sample_surface(m.hulls, 500).moved(p) for m, p, here in zip(models, truth.poses, truth.present, strict=True) if here
    ]
    found = label(camera_cloud(observation, 4000), np.asarray(observation.T_world_cam[0], dtype=float), surfaces, 16, rng)
    group = decode(as_predicted(found))[0]
    depth = found.score.max(axis=1).argmax(axis=1)
    row = np.arange(len(depth))
    angle = found.score[row, :, depth].argmax(axis=1)
    across = found.score[row, (angle + ANGLES // 2) % ANGLES].max(axis=1)
    return models, poses, observation, surfaces, group.take((group.scores > 0.3) & (across == 0))


def as_predicted(found: Labels) -> Prediction:
    """What a network would say that has learned these labels by heart."""
    count = len(found.points)
    score, width, tolerance = (
        torch.from_numpy(values).permute(1, 0, 2)[None] for values in (found.score, found.width, found.tolerance)
    )
    return Prediction(
        seeds=torch.from_numpy(found.points)[None],
        seed_index=torch.arange(count)[None],
        objectness=torch.stack([torch.zeros(count), torch.ones(count)])[None],
        views=torch.from_numpy(found.views)[None],
        approach=torch.from_numpy(found.approach)[None],
        score=score,
        angle=score.clone(),
        width=width,
        tolerance=tolerance,
    )


def test_the_loss_sees_what_is_right(labelled: Labels) -> None:
    torch.manual_seed(0)
    network = GraspNet()
    prediction, numbers, there = predict(network, [labelled])
    assert bool(there.any())
    values = loss(prediction, numbers, there, [labelled])
    assert all(bool(torch.isfinite(value)) for value in values.values())
    values["total"].backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())
    on_object = torch.from_numpy(labelled.on_object)[prediction.seed_index]
    score, width, tolerance = (
        torch.from_numpy(values)[numbers[0]].permute(1, 0, 2)[None]
        for values in (labelled.score, labelled.width, labelled.tolerance)
    )
    prediction = replace(
        prediction,
        objectness=torch.stack([~on_object, on_object], dim=1) * 20.0,
        views=torch.from_numpy(labelled.views)[numbers],
        score=score,
        angle=200 * score,
        width=width,
        tolerance=tolerance,
    )
    best = loss(prediction, numbers, there, [labelled])
    assert float(best["total"]) < 0.1 * float(values["total"].detach())
    assert all(float(best[name]) < 1e-6 for name in ("objectness", "views", "score", "width", "tolerance"))
    right = accuracy(prediction, numbers, there, [labelled])
    assert np.mean(right["objectness"]) == 1
    assert right["view_score"] == right["best_score"]


def test_a_scene_without_objects_teaches_objectness_alone() -> None:
    cloud = np.random.default_rng(0).uniform(-0.1, 0.1, (2048, 3)).astype(np.float32)
    empty = label(cloud, np.eye(4), [], 10, np.random.default_rng(0))
    prediction, numbers, there = predict(GraspNet(), [empty])
    values = loss(prediction, numbers, there, [empty])
    assert not bool(there.any())
    assert float(values["views"].detach()) == 0
    assert bool(torch.isfinite(values["total"]))


def test_training_resumes_to_the_same_weights_and_serves_as_a_source(
    labelled: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "make", lambda job: labelled)
    monkeypatch.setattr(labels, "start", lambda params: None)

    def params(**changes: Any) -> Params:
        config = GraspNetConfig(scenes=2, valid_scenes=1, points=2048, steps=2, batch=1, checkpoint_every=1, threads=1)
        whole = Params()
        graspnet = config.model_copy(update=changes)
        return whole.model_copy(update={"pretrain": whole.pretrain.model_copy(update={"graspnet": graspnet})})

    out, cache = tmp_path / "graspnet.tar", tmp_path / "cache"
    summary = pretrain_graspnet.run(params(), out, cache, executor=SerialExecutor())
    note = json.loads(out.with_suffix(".json").read_text())
    assert note["metrics"] == summary.metrics
    assert {"loss", "objectness", "view_score", "best_score"} <= set(summary.metrics)
    network = load_graspnet(out)

    class Stopped(Exception):
        pass

    def stop(phase: str, done: int, total: int, values: dict[str, float]) -> None:
        if phase == "train":
            raise Stopped

    again = tmp_path / "again"
    monkeypatch.setattr(training, "_REPORT_EVERY", 1)
    with pytest.raises(Stopped):
        pretrain_graspnet.run(params(), tmp_path / "b.tar", again, executor=SerialExecutor(), report=stop)
    pretrain_graspnet.run(params(), tmp_path / "b.tar", again, executor=SerialExecutor())
    for name, value in load_graspnet(tmp_path / "b.tar").state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=0, atol=0)

    with pytest.raises(MismatchError, match="other settings"):
        pretrain_graspnet.run(params(learning_rate=0.01), out, cache, executor=SerialExecutor())
    (again / "checkpoint.safetensors").write_bytes(b"no")
    with pytest.raises(ArtifactError, match="not a training checkpoint"):
        pretrain_graspnet.run(params(), out, again, executor=SerialExecutor())
    with pytest.raises(ArtifactError, match="not a labelled scene"):
        labels.load(again / "checkpoint.safetensors")
    damaged = labels.scene_path(cache, SceneJob("train", 0))
    whole = damaged.read_bytes()
    damaged.write_bytes(b"no")
    (cache / "checkpoint.safetensors").unlink()
    pretrain_graspnet.run(params(), out, cache, executor=SerialExecutor())
    assert damaged.read_bytes() == whole


def test_a_scene_of_the_simulation() -> None:
    config = GraspNetConfig(points=2048, labelled=4, objects_min=3, objects_max=3)
    params = Params()
    labels.start(params.model_copy(update={"pretrain": params.pretrain.model_copy(update={"graspnet": config})}))
    made = labels.make(SceneJob("train", 0))
    assert made.cloud.shape == (2048, 3)
    assert made.on_object.any()
    assert made.points.shape == (4, 3)
    labels._worker = None
