"""What one worker of an evaluation does: it keeps a world, the encoders and the methods, and plays episodes.

Everything sent between processes is plain data; an episode's record is what results, tables and statistics are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srcli.config.candidates import CandidateConfig
from srcli.config.cloud import CloudConfig
from srcli.config.encoder import EncoderConfig
from srcli.config.evaluate import CombineConfig
from srcli.config.language import LanguageConfig
from srcli.config.scene import SceneConfig
from srcli.config.sim import SimConfig
from srcli.evaluation.rollout import OBSERVE, EpisodeRecord, run_episode, set_up
from srcli.evaluation.suites import SuiteEpisode
from srcli.policies import Policy, get_policy
from srcli.seeding import generator
from srcli.tasks import get_task

if TYPE_CHECKING:
    from srcli.evaluation.similarity_rule import SimilarityRule
    from srcli.perception.encoders.interface import Encoder
    from srcli.sim import World
    from srcli.tasks import Task


@dataclass(frozen=True, slots=True)
class Method:
    """A method of an evaluation.

    Attributes:
        name: as in tables.
        path: policy file of a trained network; None for a registered method.
        learned: a trained network, from ``path``.
    """

    name: str
    path: str | None = None

    def build(self, encoder: Encoder, combine: CombineConfig, device: str) -> Policy:
        """The policy itself; a trained network is refused when its encoder is another one."""
        if self.path is None:
            return get_policy(self.name)
        return get_policy(
            "learned", path=self.path, encoder=encoder.identity.as_dict(), combine=combine, name=self.name, device=device
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a worker needs, sent to it once.

    Attributes:
        judge: score what was taken by the similarity rule, with the embedded encoder.
    """

    task: str
    scene: SceneConfig
    sim: SimConfig
    language: LanguageConfig
    candidates: CandidateConfig
    cloud: CloudConfig
    encoder: EncoderConfig
    combine: CombineConfig
    methods: tuple[Method, ...]
    attempts: int
    judge: bool
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Job:
    """One episode of one method, or a calibration scene (``method`` is None).

    Attributes:
        figure: where to draw the last attempt, or None.
    """

    episode: SuiteEpisode
    method: int | None
    figure: str | None = None


class _Worker:
    def __init__(self, setup: Setup) -> None:
        from srcli.perception.encoders.loading import load_encoder
        from srcli.sim import World

        self.setup = setup
        self.task: Task = get_task(setup.task, setup.language)
        self.world: World = World(setup.sim)
        self.encoder: Encoder = load_encoder(setup.encoder, setup.device)
        self.methods = [method.build(self.encoder, setup.combine, setup.device) for method in setup.methods]
        self.rule: SimilarityRule | None = None
        if setup.judge:
            from srcli.evaluation.similarity_rule import SimilarityRule

            # One fixed judge, whatever encoder the methods use.
            fixed = EncoderConfig()
            self.rule = SimilarityRule(self.encoder if fixed == setup.encoder else load_encoder(fixed, setup.device))


_worker: _Worker | None = None


def start(setup: Setup) -> None:
    """Prepare this process."""
    global _worker
    _worker = _Worker(setup)


def play(job: Job) -> dict[str, Any]:
    """Play one job in this process; the record of its episode, or the similarities of a calibration scene."""
    if _worker is None:
        raise RuntimeError("the worker has not been started")
    worker = _worker
    spec = job.episode.spec(worker.task, worker.setup.scene)
    if job.method is None:
        return _calibration(worker, job.episode)
    episode = run_episode(
        worker.world,
        worker.task,
        spec,
        worker.methods[job.method],
        candidates_config=worker.setup.candidates,
        cloud_config=worker.setup.cloud,
        encoder=worker.encoder,
        max_attempts=worker.setup.attempts,
        record=job.figure is not None,
        judge=worker.rule,
    )
    if job.figure is not None and episode.attempts:
        from srcli.evaluation.figures import draw_case

        draw_case(episode, Path(job.figure))
    return record_of(episode, job.episode)


def _calibration(worker: _Worker, episode: SuiteEpisode) -> dict[str, Any]:
    spec = episode.spec(worker.task, worker.setup.scene)
    spec = set_up(worker.world, worker.task, spec)
    observation, segmentation = worker.world.observe(generator(spec.seed, 0, OBSERVE))
    if worker.rule is None:
        return {"positive": [], "negative": []}
    values = worker.rule.similarities(observation, segmentation, range(len(spec.objects)), spec.instruction)
    seen = [(slot in spec.goal.targets, float(v)) for slot, v in enumerate(values) if np.isfinite(v)]
    return {"positive": [v for target, v in seen if target], "negative": [v for target, v in seen if not target]}


def record_of(record: EpisodeRecord, episode: SuiteEpisode) -> dict[str, Any]:
    """An episode as plain data: what was asked, and every attempt with its reason."""
    spec = record.spec
    return {
        "key": episode.key,
        "seed": list(episode.seed),
        "split": spec.split,
        "cluster": episode.cluster,
        "case": spec.case,
        "wording": spec.wording,
        "instruction": spec.instruction,
        "keyword_kind": spec.goal.keyword_kind,
        "success": record.success,
        "ended": record.ended,
        "attempts": [
            {
                "reason": attempt.outcome.reason.value,
                "slot": -1 if attempt.outcome.slot is None else attempt.outcome.slot,
                "object": "" if attempt.outcome.slot is None else spec.objects[attempt.outcome.slot],
                "candidates": len(attempt.candidates),
                "excluded": int(attempt.excluded.sum()),
                "index": -1 if attempt.choice is None or attempt.choice.action.index is None else attempt.choice.action.index,
                "steps": attempt.execution.steps,
                "similarity": attempt.outcome.detail.get("similarity"),
            }
            for attempt in record.attempts
        ],
    }
