"""The encoder alone: naming of regions, and whether a sentence's most similar point lies on what it asks for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from srcli.evaluation.suites import SuiteEpisode, suite_episodes
from srcli.evaluation.understanding import NAME_PROMPT
from srcli.language import could_mean, make_reader
from srcli.params import Params
from srcli.perception.cloud import neighbour_mean
from srcli.perception.encoders.interface import DenseFeatures
from srcli.perception.pipeline import Encoded, cosine, perceive, sentence
from srcli.probing.colors import reference_histograms, region_histograms
from srcli.probing.scenes import (
    Question,
    Scene,
    all_names,
    build_episode,
    build_scene,
    pick_questions,
    place_questions,
    point_owners,
    suite_question,
)
from srcli.tasks import get_task
from srcli.types import F32, I64, U8, Observation, Phase, SemanticCloud

if TYPE_CHECKING:
    from srcli.perception.encoders.interface import Encoder

TASKS: tuple[Phase, ...] = ("pick", "place")
"""Piles, and zones for placing."""


@dataclass(frozen=True, slots=True)
class EncoderJob:
    """One scene: a pile, or a zone with references for placing.

    Attributes:
        suite, episode: the suite and its episode that the scene is of; empty and None of the probe's own scenes.
    """

    task: Phase
    split: str
    number: int
    suite: str = ""
    episode: SuiteEpisode | None = None


def suite_jobs(params: Params) -> list[EncoderJob]:
    """The first episodes of each suite that ``probe.suites`` names, equally many of each kind of sentence and split."""
    section = params.probe
    task = get_task("pick", params.language)
    jobs = []
    for suite in dict.fromkeys(section.suites):
        count: dict[tuple[str, str], int] = {}
        for episode in suite_episodes(suite, params.seed, tuple(dict.fromkeys(section.splits))):
            group = episode.split, episode.kind or episode.spec(task, params.scene).goal.keyword_kind
            count[group] = count.get(group, 0) + 1
            if count[group] <= min(section.sentences, section.scenes):
                jobs.append(EncoderJob("pick", episode.split, episode.index, suite, episode))
    return jobs


class _Worker:
    def __init__(self, params: Params, device: str) -> None:
        from srcli.objects import catalogue
        from srcli.perception.encoders.loading import load_encoder
        from srcli.sim import World

        self.params, self.device = params, device
        self.world = World(params.sim)
        self.encoder: Encoder = load_encoder(params.encoder, device)
        self.reader = make_reader(self.encoder.vocabulary, params.language)
        self.names = all_names(params.scene)
        self.colors = reference_histograms(params, self.names)
        texts = self.encoder.text([NAME_PROMPT.format(catalogue()[name].label) for name in self.names])
        self.directions = np.stack([text.pooled for text in texts])
        # The first call of a model is slower than all others.
        camera = self.world.cameras[0]
        self.encoder.dense(np.zeros((len(self.world.cameras), camera.height, camera.width, 3), dtype=np.uint8))


_worker: _Worker | None = None


def start(params: Params, device: str) -> None:
    """Prepare this process: a world, the encoder, the names' embeddings and the colours of all catalogue instances."""
    global _worker
    _worker = _Worker(params, device)


def play(job: EncoderJob) -> dict[str, Any]:
    """Measure one scene.

    Returns:
        Plain data: ``regions`` (piles only: true name, rank of its own name, the names found), ``questions`` (right or wrong by
        point, region and colours), ``dense_ms`` per view, and ``drawings``, one right and one wrong question with its cloud.
        Of a suite's episode there are no regions and drawings, and one question at most.
    """
    if _worker is None:
        raise RuntimeError("the worker has not been started")
    worker = _worker
    record: dict[str, Any] = {"task": job.task, "split": job.split, "number": job.number, "suite": job.suite, "set_up": False}
    if job.episode is None:
        scene = build_scene(worker.world, worker.params, job.task, job.split, job.number)
    else:
        scene = build_episode(worker.world, worker.params, job.episode)
    if scene is None:
        return record
    features, milliseconds = _timed_dense(worker, scene.observation.rgb)
    config = worker.params.cloud.model_copy(update={"select": "all"})
    cloud = perceive(scene.observation, scene.spec.instruction, Encoded(worker.encoder, features), config, job.task).cloud
    owner = point_owners(scene, cloud.points, config.table_height if job.task == "place" else 0.0)
    slots, counts = np.unique(owner[owner >= 0], return_counts=True)
    enough = slots[counts >= worker.params.probe.min_points]
    visible = [int(slot) for slot in enough if scene.truth.present[slot]]
    record.update(set_up=True, dense_ms=milliseconds, points=len(cloud.points), regions=[], questions=[], drawings=[])
    if not visible:
        return record
    means = np.stack([cloud.features[owner == slot].mean(axis=0) for slot in visible])
    colors = region_histograms(scene.observation.rgb, scene.segmentation, visible) @ worker.colors.T
    if job.episode is not None:
        questions = [suite_question(scene, worker.reader)]
    elif job.task == "pick":
        record["regions"] = _named(worker, scene, visible, means, colors)
        questions = pick_questions(scene, visible, worker.params)
    else:
        questions = place_questions(scene, visible, worker.params)
    answers = []
    for question in questions:
        text = sentence(question.sentence, worker.encoder, job.task, config.denied)
        similarity = neighbour_mean(cloud.points, cosine(cloud.features, text.pooled), config.smooth_radius)
        best = int(np.argmax(similarity))
        region = visible[int(np.argmax(cosine(means, text.pooled)))]
        carriers = [worker.names.index(name) for name in question.names]
        color = visible[int(np.argmax(colors[:, carriers].max(axis=1)))] if carriers else -1
        answers.append((question, similarity, best, int(owner[best])))
        record["questions"].append(
            {
                "kind": question.kind,
                "wording": question.wording,
                "keyword": question.keyword,
                "sentence": question.sentence,
                "point": int(owner[best]) in question.targets,
                "region": region in question.targets,
                "color": color in question.targets,
                "chance": float(np.mean([slot in question.targets for slot in visible])),
                "found": "table" if owner[best] < 0 else scene.spec.objects[int(owner[best])],
            }
        )
    if job.episode is None and job.number < worker.params.probe.drawn:
        record["drawings"] = _drawings(scene, cloud, owner, answers, job)
    return record


def _timed_dense(worker: _Worker, rgb: U8) -> tuple[DenseFeatures, float]:
    """Dense features of (M, H, W, 3) views and milliseconds per view: of this process's core, or of the clock on a GPU."""
    clock = time.process_time if worker.device == "cpu" else time.perf_counter
    begin = clock()
    features = worker.encoder.dense(rgb)
    return features, 1000.0 * (clock() - begin) / len(rgb)


def _named(worker: _Worker, scene: Scene, visible: Sequence[int], means: F32, colors: F32) -> list[dict[str, Any]]:
    """What each region (R, D) is called among all catalogue names, by the encoder and by its colours (R, names)."""
    from srcli.objects import catalogue

    scores = means @ worker.directions.T
    out = []
    for row, slot in enumerate(visible):
        name = scene.spec.objects[slot]
        own = worker.names.index(name)
        found, colored = (worker.names[int(np.argmax(values[row]))] for values in (scores, colors))
        out.append(
            {
                "name": name,
                "found": found,
                "rank": int((scores[row] > scores[row, own]).sum()) + 1,
                "true": found == name or could_mean(name, catalogue()[found].label),
                "color_found": colored,
                "color_true": colored == name or could_mean(name, catalogue()[colored].label),
            }
        )
    return out


def _workspace(observation: Observation) -> U8:
    """What the first camera sees of the workspace's table."""
    from srcli.config.cloud import WORKSPACE_LOWER, WORKSPACE_UPPER

    corners = np.array(
        [[x, y, 0.0] for x in (WORKSPACE_LOWER[0], WORKSPACE_UPPER[0]) for y in (WORKSPACE_LOWER[1], WORKSPACE_UPPER[1])]
    )
    pose = observation.T_world_cam[0]
    local = (corners - pose[:3, 3]) @ pose[:3, :3] @ observation.K[0].T
    pixels = local[:, :2] / local[:, 2:]
    (left, top), (right, bottom) = np.maximum(pixels.min(axis=0), 0).astype(int), np.ceil(pixels.max(axis=0)).astype(int)
    cut: U8 = observation.rgb[0][top:bottom, left:right]
    return cut


def _drawings(
    scene: Scene, cloud: SemanticCloud, owner: I64, answers: Sequence[tuple[Question, F32, int, int]], job: EncoderJob
) -> list[dict[str, Any]]:
    """At most one right and one wrong question with what a picture needs; which kind comes first goes round with the scenes."""
    out = []
    turned = [answers[(i + 3 * job.number) % len(answers)] for i in range(len(answers))]
    for wanted in (True, False):
        for question, similarity, best, slot in turned:
            if (slot in question.targets) is not wanted:
                continue
            out.append(
                {
                    "right": wanted,
                    "task": job.task,
                    "split": job.split,
                    "kind": question.kind,
                    "sentence": question.sentence,
                    "found": "table" if slot < 0 else scene.spec.objects[slot],
                    "wanted": sorted({scene.spec.objects[target] for target in question.targets}),
                    "points": cloud.points,
                    "similarity": similarity,
                    "target": np.isin(owner, question.targets),
                    "best": best,
                    "image": _workspace(scene.observation),
                }
            )
            break
    return out
