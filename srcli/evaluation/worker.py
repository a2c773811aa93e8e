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
from srcli.config.evaluate import PerturbConfig
from srcli.config.language import LanguageConfig
from srcli.config.placements import PlacementConfig
from srcli.config.scene import SceneConfig
from srcli.config.sim import SimConfig
from srcli.config.tasks import BUILT_IN
from srcli.errors import ArtifactError
from srcli.evaluation.methods import Method
from srcli.evaluation.rollout import EpisodeRecord, SetupError, run_together, set_up
from srcli.evaluation.suites import SuiteEpisode
from srcli.evaluation.understanding import Listener
from srcli.language.instructions import make_reader
from srcli.language.relations import RELATIONS
from srcli.seeding import OBSERVE, generator
from srcli.tasks import get_task
from srcli.types import EpisodeSpec

if TYPE_CHECKING:
    from srcli.evaluation.rollout import AttemptRecord
    from srcli.evaluation.similarity_rule import SimilarityRule
    from srcli.methods.base import Policy
    from srcli.objects.assets import Asset
    from srcli.perception.encoders.interface import Encoder
    from srcli.sim import World
    from srcli.tasks import Task


_NAMES_SHOWN = 3
"""Closest names in a picture."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a worker needs, sent to it once.

    Attributes:
        tasks: by name; an episode says which it belongs to.
        judge: score what was taken by the similarity rule, with the embedded encoder.
        perturb: disturbance of executed actions, or None.
        assets: the user's own objects.
    """

    tasks: tuple[str, ...]
    scene: SceneConfig
    sim: SimConfig
    language: LanguageConfig
    candidates: CandidateConfig
    placements: PlacementConfig
    cloud: CloudConfig
    encoder: EncoderConfig
    methods: tuple[Method, ...]
    attempts: int
    judge: bool
    device: str = "cpu"
    perturb: PerturbConfig | None = None
    assets: tuple[Asset, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One episode for some of the methods, or a calibration scene (no methods).

    Attributes:
        methods: indices into those of the setup; they share what is equal for them.
        figures: (method, file) where the last attempt of a method is to be drawn.
    """

    episode: SuiteEpisode
    methods: tuple[int, ...]
    figures: tuple[tuple[int, str], ...] = ()


class _Worker:
    def __init__(self, setup: Setup) -> None:
        from srcli.actions.sources import use_device
        from srcli.perception.encoders.loading import load_encoder
        from srcli.sim import World

        use_device(setup.device)
        if setup.assets:
            from srcli.objects.assets import install

            install(setup.assets)
        self.setup = setup
        self.tasks: dict[str, Task] = {name: get_task(name, setup.language) for name in setup.tasks}
        self.world: World = World(setup.sim)
        self.encoder: Encoder = load_encoder(setup.encoder, setup.device)
        self.listener = Listener(self.encoder, setup.language, setup.cloud.denied)
        self.reader = self.listener.read
        self.methods = [_built(method, self.encoder, setup.device) for method in setup.methods]
        self.rule: SimilarityRule | None = None
        if setup.judge:
            from srcli.evaluation.similarity_rule import SimilarityRule

            # One fixed judge, whatever encoder the methods use.
            fixed = EncoderConfig()
            judge = self.encoder if fixed == setup.encoder else load_encoder(fixed, setup.device)
            self.rule = SimilarityRule(judge, make_reader(judge.vocabulary, setup.language))


_UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


def _built(method: Method, encoder: Encoder, device: str) -> Policy:
    """The policy of a method.

    Raises:
        ArtifactError: its file holds what no network can be made of.
    """
    try:
        return method.build(encoder, device)
    except _UNFIT as error:
        if method.path is None:
            raise
        line = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise ArtifactError(f"{method.path}: no method can be made of it ({line})", "train again with `srcli train`") from error


_worker: _Worker | None = None


def start(setup: Setup) -> None:
    """Prepare this process."""
    global _worker
    _worker = _Worker(setup)


def run_job(job: Job) -> list[dict[str, Any]]:
    """Play one job in this process; a record for each of its methods, or one with the similarities of a calibration scene."""
    if _worker is None:
        raise RuntimeError("the worker has not been started")
    worker = _worker
    if not job.methods:
        return [_calibration(worker, job.episode)]
    task = worker.tasks[job.episode.task]
    spec = job.episode.spec(task, worker.setup.scene)
    figures = dict(job.figures)
    reading = worker.reader(spec.instruction)
    read: dict[str, Any] = {"read": [list(pair) for pair in reading.corrected]} if reading.corrected else {}
    read |= {"unknown": list(reading.unknown)} if reading.unknown else {}

    def finish(index: int, episode: EpisodeRecord) -> dict[str, Any]:
        figure = figures.get(job.methods[index])
        if figure is not None and episode.attempts:
            from srcli.evaluation.figures import draw_case

            draw_case(episode, Path(figure), reading, worker.listener(spec.instruction, _NAMES_SHOWN))
        own = {} if task.name in BUILT_IN else {"phases": list(task.phases)}
        return {**record_of(episode, job.episode), **own, **read}

    return run_together(
        worker.world,
        task,
        spec,
        [worker.methods[method] for method in job.methods],
        finish,
        candidates_config=worker.setup.candidates,
        placements_config=worker.setup.placements,
        cloud_config=worker.setup.cloud,
        encoder=worker.encoder,
        max_attempts=worker.setup.attempts,
        record=bool(figures),
        judge=worker.rule,
        perturbation=worker.setup.perturb,
        reader=worker.reader,
    )


def _calibration(worker: _Worker, episode: SuiteEpisode) -> dict[str, Any]:
    task = get_task(episode.task, worker.setup.language)
    try:
        spec = set_up(worker.world, task, episode.spec(task, worker.setup.scene))
    except SetupError:
        return {"positive": [], "negative": []}
    observation, segmentation = worker.world.observe(generator(spec.seed, 0, OBSERVE))
    if worker.rule is None:
        return {"positive": [], "negative": []}
    values = worker.rule.similarities(observation, segmentation, range(len(spec.objects)), spec.instruction)
    seen = [(slot in spec.goal.targets, float(v)) for slot, v in enumerate(values) if np.isfinite(v)]
    return {"positive": [v for target, v in seen if target], "negative": [v for target, v in seen if not target]}


def record_of(record: EpisodeRecord, episode: SuiteEpisode) -> dict[str, Any]:
    """An episode as plain data: what was asked, and every attempt with its reason."""
    spec = record.spec
    goal = spec.goal
    return {
        "key": episode.key,
        "task": spec.task,
        "seed": list(episode.seed),
        "split": spec.split,
        "cluster": episode.cluster,
        "case": spec.case,
        "wording": spec.wording,
        "instruction": spec.instruction,
        "keyword_kind": goal.keyword_kind,
        "relation": goal.relation,
        "region": RELATIONS[goal.relation].region if goal.relation in RELATIONS else "",
        "reference": goal.reference,
        "held": "" if spec.held < 0 else spec.objects[spec.held],
        "success": record.success,
        "ended": record.ended,
        "detail": record.detail,
        "attempts": [_attempt(attempt, spec) for attempt in record.attempts],
    }


def _attempt(attempt: AttemptRecord, spec: EpisodeSpec) -> dict[str, Any]:
    outcome, choice = attempt.outcome, attempt.choice
    return {
        "phase": attempt.phase,
        "reason": outcome.reason.value,
        "slot": -1 if outcome.slot is None else outcome.slot,
        "object": "" if outcome.slot is None else spec.objects[outcome.slot],
        "aimed": "" if attempt.aimed is None else spec.objects[attempt.aimed],
        "aimed_right": -1 if attempt.aimed is None else int(attempt.aimed in spec.goal.targets),
        "candidates": len(attempt.candidates),
        "excluded": int(attempt.excluded.sum()),
        "valid": -1 if attempt.valid is None else int(attempt.valid.sum()),
        "index": -1 if choice is None or choice.action.index is None else choice.action.index,
        "pose": None if choice is None else [round(float(value), 5) for value in choice.action.pose],
        "steps": attempt.execution.steps,
        "similarity": outcome.detail.get("similarity"),
        "index_rule": outcome.detail.get("index_rule"),
    }
