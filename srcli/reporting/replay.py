"""Case studies, played while the report is made: the same scene for each method of the ablation (Fig. 9 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from srcli.config.report import ReportConfig
from srcli.errors import SrcliError
from srcli.evaluation.figures import describe
from srcli.evaluation.methods import Method, method_sections, resolve_methods
from srcli.evaluation.rollout import AttemptRecord, EpisodeRecord, run_episode
from srcli.language.instructions import make_reader
from srcli.methods.registry import UNTRAINED
from srcli.parallel import Progress
from srcli.reporting.blocks import Block, Gallery, Missing, Panel, Picture, Prose, Section
from srcli.reporting.film import Filmed, FilmedWorld, Recorder, animation, film_camera
from srcli.reporting.naming import named
from srcli.reporting.numbers import TASK_NAMES
from srcli.reporting.pictures import decision_pictures
from srcli.reporting.result_files import ResultFiles
from srcli.seeding import CASE_STUDY_OFFSET, Domain, episode_seed
from srcli.tasks import get_task
from srcli.tasks.base import Case, Task
from srcli.types import EpisodeSpec

if TYPE_CHECKING:
    from srcli.params import Params
    from srcli.perception.encoders.interface import Encoder
    from srcli.sim import World

LEAD = (
    "Drawn beforehand, with poses from seeds that no suite uses (`report.scene`), not chosen by outcome. All methods start from "
    "the same scene, noise and candidates; shown is the first decision of each phase. Click a picture to enlarge it."
)


@dataclass(frozen=True, slots=True)
class CaseStudy:
    """One scene: which task, and which fixed case its sentence and objects are taken from."""

    task: str
    case: str

    def spec(self, task: Task, params: Params, number: int) -> EpisodeSpec:
        """The episode, of a seed in the range for probing."""
        seed = episode_seed(params.seed, Domain.PROBE, CASE_STUDY_OFFSET + number)
        return task.from_case(fixed_case(self.task, self.case), seed, params.scene)


CASE_STUDIES = (
    CaseStudy("pick", "round-1"),
    CaseStudy("place", "in-yellow-bowl"),
    CaseStudy("pick_place", "cup-beside-hammer"),
)


def fixed_case(task: str, name: str) -> Case:
    """The case of that name in the `paper` suite; only its sentence and objects are used, not its seeds."""
    from srcli.evaluation.suites import paper_cases

    return next(case for case in paper_cases(task) if case.name == name)


def case_studies(
    results: ResultFiles, params: Params, section: ReportConfig, device: str = "cpu", progress: Progress | None = None
) -> Section:
    """Play the case studies and show them; a method without a policy gets a line that says so."""
    if not section.replay:
        blocks: tuple[Block, ...] = (Missing("The case studies were switched off.", "srcli report -S report.replay=true"),)
        return Section("cases", "Case studies (Fig. 9)", blocks)
    from srcli.perception.encoders.loading import load_encoder
    from srcli.sim import World

    encoder = load_encoder(params.encoder, device)
    played: list[Block] = [Prose(LEAD)]
    methods, missing = shown_methods(results, params)
    played += missing
    with World(params.sim) as world:
        table = _Table(world, encoder, params, section, device)
        for done, study in enumerate(CASE_STUDIES):
            if progress is not None:
                progress(done, len(CASE_STUDIES), f"case study: {study.task}")
            played.append(_gallery(study, methods, table))
    if progress is not None:
        progress(len(CASE_STUDIES), len(CASE_STUDIES), "writing")
    return Section("cases", "Case studies (Fig. 9)", tuple(played))


def shown_methods(results: ResultFiles, params: Params) -> tuple[dict[str, Method], tuple[Missing, ...]]:
    """The methods of section ``ablate`` without controls, each with a policy file found or shipped; and those that have none."""
    methods: dict[str, Method] = {}
    missing: list[Missing] = []
    sections = method_sections(params.methods)
    for name in dict.fromkeys(params.ablate.methods):
        if name.startswith(UNTRAINED):
            continue
        found = results.policy(name)
        given = [] if found is None else [f"{name}={found.path}"]
        try:
            (methods[name],) = resolve_methods([name], given, sections, params.encoder)
        except SrcliError as error:
            command = f"srcli train FEATURES --method {name} --out results/train/{name}.h5"
            missing.append(Missing(f"No policy of {named(name).title}: {error.message}.", command))
    return methods, tuple(missing)


@dataclass(frozen=True, slots=True)
class _Table:
    world: World
    encoder: Encoder
    params: Params
    section: ReportConfig
    device: str

    def play(self, method: Method, task: Task, spec: EpisodeSpec) -> tuple[EpisodeRecord, Picture | None]:
        """One recorded episode, and its animation."""
        params, section = self.params, self.section
        policy = method.build(self.encoder, self.device)
        camera = film_camera(wide=len(set(spec.shifts)) > 1)
        recorder = Recorder(cast("FilmedWorld", self.world), camera, section.frames)
        try:
            episode = run_episode(
                self.world,
                task,
                spec,
                Filmed(policy, recorder) if section.animations else policy,
                candidates_config=params.candidates,
                placements_config=params.placements,
                cloud_config=params.cloud,
                reader=make_reader(self.encoder.vocabulary, params.language),
                encoder=self.encoder,
                max_attempts=params.evaluate.attempts,
                record=True,
            )
        finally:
            recorder.stop()
        if len(recorder.frames) < 2:
            return episode, None
        film = animation(recorder.frames, section.frame_rate)
        return episode, Picture(film, f"{named(method.name).title}: the arm at work", "the whole episode", "image/webp")


def _gallery(study: CaseStudy, methods: dict[str, Method], table: _Table) -> Block:
    command = f"srcli evaluate --task {study.task}"
    try:
        task = get_task(study.task, table.params.language)
        spec = study.spec(task, table.params, table.section.scene)
        panels = [_panel(method, task, spec, table) for method in methods.values()]
    except SrcliError as error:
        # One scene that cannot be played must not cost the whole page.
        return Missing(f"The case study of {TASK_NAMES[study.task].lower()} could not be played: {error.message}.", command)
    wanted = ", ".join(sorted({spec.objects[slot] for slot in spec.goal.targets}))
    asked = [f"meant: {wanted}"] if wanted and study.task != "place" else []
    if spec.goal.relation:
        asked.append(f"{spec.goal.relation}: {', '.join(sorted({spec.objects[slot] for slot in spec.goal.references}))}")
    lead = f"{TASK_NAMES[study.task]}, {spec.split} objects; {'; '.join(asked)}. Seed `{'-'.join(str(s) for s in spec.seed)}`."
    return Gallery(f"“{spec.instruction}”", lead, tuple(panels))


def _panel(method: Method, task: Task, spec: EpisodeSpec, table: _Table) -> Panel:
    episode, film = table.play(method, task, spec)
    name = named(method.name).title
    pictures: list[Picture] = []
    for number, record in _shown(episode):
        pictures += decision_pictures(record, f"{name}, {record.phase}, attempt {number}")
    if film is not None:
        pictures.append(film)
    facts = tuple(f"{number}: {describe(episode, record)}" for number, record in enumerate(episode.attempts, 1))
    if len(facts) > 4:
        facts = (*facts[:2], f"... {len(facts) - 3} more ...", facts[-1])
    count = len(episode.attempts)
    word = f"{count} attempt{'s' if count != 1 else ''}"
    verdict = f"solved, {word}" if episode.success else episode.ended or f"failed, {word}"
    return Panel(name, verdict, episode.success, facts, tuple(pictures))


def _shown(episode: EpisodeRecord) -> Iterator[tuple[int, AttemptRecord]]:
    """The first attempt of each phase that was recorded, with its number in the episode."""
    phases: Sequence[str] = list(dict.fromkeys(record.phase for record in episode.attempts))
    for phase in phases:
        yield next((i, r) for i, r in enumerate(episode.attempts, 1) if r.phase == phase and r.observation is not None)
