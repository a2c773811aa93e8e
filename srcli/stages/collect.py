"""Collect demonstrations: the expert plays episodes, every attempt is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ArtifactError, SrcliError
from srcli.seeding import OBSERVE, Domain, episode_seed, generator
from srcli.stages.library_use import drawn
from srcli.stages.resume import do_missing

if TYPE_CHECKING:
    from srcli.artifacts.demos import DemoEpisode, DemoStep
    from srcli.artifacts.pieces import Pieces
    from srcli.evaluation.rollout import AttemptRecord, EpisodeRecord
    from srcli.parallel import Progress
    from srcli.params import Params
    from srcli.sim import World
    from srcli.tasks import Task
    from srcli.types import EpisodeSpec, Observation

EpisodeFn = Callable[["Params", str, tuple[int, ...]], "DemoEpisode"]

# The sections of params.yaml that a demonstration depends on; placements only where a task has a phase of that kind.
SECTIONS = ("scene", "sim", "language", "candidates")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a collection came to.

    Attributes:
        path: the demonstrations file.
        successes: episodes that reached their goal.
        demonstrations: one per phase of those episodes.
        attempts: attempts of all episodes.
        reused: episodes that an earlier run had finished already.
        up_to_date: the complete file was there, made with the same configuration.
    """

    path: str
    episodes: int
    successes: int
    demonstrations: int
    attempts: int
    reused: int
    up_to_date: bool
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Job:
    index: int
    seed: tuple[int, ...]
    part: Path


def recorded_config(params: Params, task: str, seed: int) -> dict[str, Any]:
    """What the bytes of one episode depend on; the number of episodes comes on top of it for the whole file."""
    from srcli.actions.sources import content_of
    from srcli.tasks.records import extensions

    kept = {"split", "wording", "max_attempts"}
    if _composed(params, task):
        kept.add("compositional")
    if params.collect.next_obs:
        kept.add("next_obs")
    collect = params.collect.model_dump(mode="json", include=kept)
    config: dict[str, Any] = {"task": task, "seed": seed, "collect": collect}
    for name in SECTIONS if task == "pick" else (*SECTIONS, "placements"):
        # How a sentence is read for an encoder changes no demonstration: the expert knows what is meant.
        config[name] = getattr(params, name).model_dump(mode="json", exclude={"spelling"} if name == "language" else None)
    if content := content_of(params.candidates):
        config["content"] = content
    own = ("user",) if params.scene.library != "none" else ()
    return {**config, **extensions(task), **drawn((params.collect.split, *own))}


def run(
    params: Params,
    task: str | None = None,
    out: Path | str = "demos.h5",
    workers: int = 1,
    seed: int | None = None,
    progress: Progress | None = None,
    *,
    force: bool = False,
    episode_fn: EpisodeFn | None = None,
) -> Summary:
    """Collect demonstrations into one file.

    Each finished episode is kept beside the output until all are there: a run that was ended in any way goes on where it was, and
    the bytes of the result depend on neither that nor the number of workers. A complete output with the wanted configuration is
    taken as it is.

    Args:
        task: overrides ``collect.task``.
        out: the demonstrations file.
        workers: number of workers.
        seed: overrides the root seed of ``params``.
        progress: told after each episode.
        force: replace an output, or unfinished work, of another configuration.
        episode_fn: plays one episode; by default the simulator with the expert. A function of a module.

    Raises:
        MismatchError: the output was made with another configuration (names what differs).
        BusyError: another run is writing the same output.
        ConfigError: the output is a folder, a link, a device or a pipe, or names no file.
        DiskError: the disk is full or the place not writable; finished episodes are kept.
        UnknownNameError: no such task.
    """
    from srcli.actions.sources import check_source
    from srcli.artifacts.core import DEMOS, artifact_lock, check_target
    from srcli.artifacts.pieces import Pieces, is_current
    from srcli.stages.grasp_rows import check_rows

    out = Path(out)
    task = task or params.collect.task
    root = params.seed if seed is None else seed
    if episode_fn is None:
        _task(task, params)
        check_source(params.candidates)
        check_rows(params)
    episode = recorded_config(params, task, root)
    whole = {**episode, "collect": {**episode["collect"], **params.collect.model_dump(include={"episodes", "valid_every"})}}
    check_target(out)
    pieces = Pieces(out, episode)
    if not pieces.folder.exists() and is_current(out, DEMOS, whole, force):
        # Nothing is written, so the folder need not be writable.
        return _summary(out, reused=params.collect.episodes, up_to_date=True)
    with artifact_lock(out):
        if is_current(out, DEMOS, whole, force):
            pieces.remove()
            return _summary(out, reused=params.collect.episodes, up_to_date=True)
        pieces.prepare(force)
        reused = _play(params, task, root, pieces, workers, progress, episode_fn or simulate)
        _merge(out, pieces, whole, params)
        pieces.remove()
        return _summary(out, reused=reused, up_to_date=False)


def _play(
    params: Params, task: str, root: int, pieces: Pieces, workers: int, progress: Progress | None, episode_fn: EpisodeFn
) -> int:
    """Play the episodes that are not there yet; returns how many were."""
    jobs = [_Job(i, episode_seed(root, Domain.TRAIN, i), pieces.path(i)) for i in range(params.collect.episodes)]
    return do_missing(
        jobs,
        pieces,
        _play_one,
        _start,
        (params, task, dict(pieces.config), episode_fn),
        executor=params.collect.executor,
        workers=workers,
        progress=progress,
        noun="episodes",
        tell=lambda results: f"{sum(results)} of {len(results)} episodes succeeded",
    )


def _merge(out: Path, pieces: Pieces, config: dict[str, Any], params: Params) -> None:
    from srcli.artifacts.demos import merge_parts
    from srcli.artifacts.pieces import check_space
    from srcli.sim.cameras import cameras

    total = params.collect.episodes
    check_space(out, pieces.size(total))
    try:
        views = tuple(camera.name for camera in cameras(params.sim))
        merge_parts(out, (pieces.path(i) for i in range(total)), config, params.collect.valid_every, views)
    except ArtifactError as error:
        raise ArtifactError(error.message, "delete that file and run the same command again; all others are kept") from error


def _summary(out: Path, reused: int, up_to_date: bool) -> Summary:
    from srcli.artifacts.demos import DemoDataset

    dataset = DemoDataset(out)
    return Summary(
        path=str(out),
        episodes=len(dataset),
        successes=len(dataset.demonstrations),
        demonstrations=len(dataset.decisions),
        attempts=dataset.attempts,
        reused=reused,
        up_to_date=up_to_date,
        bytes=out.stat().st_size,
    )


# --------------------------------------------------------------------------------------------------------------- workers

_worker: tuple[Params, str, dict[str, Any], EpisodeFn] | None = None


def _start(params: Params, task: str, config: dict[str, Any], episode_fn: EpisodeFn) -> None:
    global _worker
    _worker = (params, task, config, episode_fn)


def _play_one(job: _Job) -> bool:
    """Play one episode and keep it as a part; only its success crosses the process boundary."""
    from srcli.artifacts.demos import write_part

    if _worker is None:
        raise SrcliError("a worker was given a job before it was started")
    params, task, config, episode_fn = _worker
    episode = episode_fn(params, task, job.seed)
    write_part(job.part, episode, job.index, config)
    return episode.success


def simulate(params: Params, task: str, seed: tuple[int, ...]) -> DemoEpisode:
    """Play one episode in the simulator with the expert.

    Args:
        seed: entropy of the episode.
    """
    from srcli.evaluation.rollout import run_episode
    from srcli.methods.expert import Expert

    game = _task(task, params)
    collect = params.collect
    spec = draw(game, params, seed)
    world = _world(params.sim.model_dump_json())
    record = run_episode(
        world,
        game,
        spec,
        Expert(),
        candidates_config=params.candidates,
        placements_config=params.placements,
        max_attempts=collect.max_attempts,
        record=True,
    )
    after = None
    if collect.next_obs and record.attempts:
        after, _ = world.observe(generator(record.spec.seed, len(record.attempts), OBSERVE))
    return to_demo(record, game, after)


def draw(task: Task, params: Params, seed: tuple[int, ...]) -> EpisodeSpec:
    """The episode of a seed: of task pick, a share has a compositional sentence, its kind uniform over the three."""
    from srcli.language.phrases import PHRASE_KINDS
    from srcli.seeding import COMPOSED
    from srcli.tasks.pick import PickTask

    collect = params.collect
    if isinstance(task, PickTask) and _composed(params, task.name):
        rng = generator(seed, *COMPOSED)
        if rng.random() < collect.compositional:
            kind = PHRASE_KINDS[int(rng.integers(len(PHRASE_KINDS)))]
            return task.compose(seed, collect.split, collect.wording, kind, params.scene)
    return task.sample(seed, collect.split, collect.wording, params.scene)


def _composed(params: Params, task: str) -> bool:
    """Whether some of the episodes have compositional sentences."""
    return task == "pick" and params.collect.compositional > 0


def _task(name: str, params: Params) -> Task:
    from srcli.tasks import get_task

    return get_task(name, params.language)


@lru_cache(maxsize=1)
def _world(config: str) -> World:
    """The one world of this process; loading the robot takes longer than resetting a scene."""
    from srcli.config.sim import SimConfig
    from srcli.sim import World

    return World(SimConfig.model_validate_json(config))


def to_demo(record: EpisodeRecord, task: Task, after: Observation | None = None) -> DemoEpisode:
    """The stored form of a recorded episode.

    Args:
        after: what is seen after its last attempt.

    Raises:
        SrcliError: the episode was not recorded.
    """
    from srcli.artifacts.demos import DemoEpisode

    steps = tuple(_to_step(record.spec, attempt, task) for attempt in record.attempts)
    return DemoEpisode(record.spec, steps, record.success, record.demonstration, after)


def _to_step(spec: EpisodeSpec, attempt: AttemptRecord, task: Task) -> DemoStep:
    from srcli.artifacts.demos import DemoStep
    from srcli.evaluation.candidate_slots import candidate_slots

    if attempt.observation is None or attempt.segmentation is None:
        raise SrcliError("the episode was played without recording")
    slots = candidate_slots(attempt.observation, attempt.segmentation, attempt.candidates)
    valid = attempt.valid
    if valid is None:
        valid = task.valid(spec, attempt.truth, attempt.candidates, attempt.phase, slots=slots)
    return DemoStep(
        phase=attempt.phase,
        observation=attempt.observation,
        candidates=attempt.candidates,
        slots=slots,
        valid=valid,
        excluded=attempt.excluded,
        action=attempt.choice.action if attempt.choice is not None else None,
        outcome=attempt.outcome,
        steps=attempt.execution.steps,
        poses=attempt.truth.poses,
        segmentation=attempt.segmentation,
        held=attempt.held,
    )
