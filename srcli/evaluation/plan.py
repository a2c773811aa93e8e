"""What an evaluation has to play: which episodes by which methods, what they depend on, and which are there already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.actions.sources import content_of
from srcli.artifacts.digests import config_digest, content_digest
from srcli.config.encoder import SEEN_ONLY
from srcli.errors import ConfigError
from srcli.evaluation.casefiles import CaseFolder, read_cases_folder
from srcli.evaluation.journal import Journal, code_digest
from srcli.evaluation.methods import Method
from srcli.evaluation.suites import SuiteEpisode, file_episodes, suite_episodes
from srcli.evaluation.worker import Job, Setup
from srcli.language.relations import own_relation_records
from srcli.objects.library import library_folder, library_records
from srcli.seeding import CALIBRATION_OFFSET, Domain, episode_seed
from srcli.tasks.records import extensions

if TYPE_CHECKING:
    from srcli.objects.assets import Asset
    from srcli.params import Params


def case_folder(cases: Path | None, assets: Path | None) -> CaseFolder | None:
    """The user's case files with their own objects; None without.

    Raises:
        ConfigError: objects without case files.
        ArtifactError: a damaged case file.
    """
    if assets is not None and cases is None:
        raise ConfigError("objects of your own belong to case files of your own", "give the case files with --cases")
    return None if cases is None else read_cases_folder(cases, assets)


def planned_episodes(params: Params, suite: str, folder: CaseFolder | None) -> tuple[SuiteEpisode, ...]:
    """The episodes of a suite, or of the user's case files.

    Raises:
        ConfigError: none of the case files belongs to the splits asked for.
        UnknownNameError: no such suite or task.
    """
    section = params.evaluate
    if folder is not None:
        episodes = file_episodes(folder.cases, params.seed, section.splits, section.episodes, section.limit)
        if not episodes:
            raise ConfigError("none of the case files belongs to the splits asked for", "see evaluate.splits")
        return tuple(replace(episode, content=_asked(episode)) for episode in episodes)
    return tuple(
        episode
        for task in dict.fromkeys(section.tasks)
        for episode in suite_episodes(
            suite, params.seed, section.splits, section.wording, section.episodes, section.limit, task=task
        )
    )


def _asked(episode: SuiteEpisode) -> str:
    """Digest of all that a case file says but its name: whatever of it is edited, the episode is another one."""
    assert episode.case is not None
    said = replace(episode.case, name="", drops=None)
    return config_digest({"content": episode.content, "case": repr(said)})[:8]


def calibration_episodes(root: int, count: int) -> tuple[SuiteEpisode, ...]:
    """Seen scenes with training wording, from a range of seeds that nothing else uses."""
    return tuple(SuiteEpisode(i, "seen", episode_seed(root, Domain.PROBE, CALIBRATION_OFFSET + i), "train") for i in range(count))


def make_setup(
    params: Params, methods: Sequence[Method], tasks: Iterable[str], device: str = "cpu", assets: Sequence[Asset] = ()
) -> Setup:
    """What the workers of an evaluation need, from the parameters."""
    section = params.evaluate
    return Setup(
        tasks=tuple(tasks),
        scene=params.scene,
        sim=params.sim,
        language=params.language,
        candidates=params.candidates,
        placements=params.placements,
        cloud=params.cloud,
        encoder=params.encoder,
        methods=tuple(methods),
        attempts=section.attempts,
        judge=section.similarity_rule,
        device=device,
        perturb=section.perturb if section.perturb.disturbs else None,
        assets=tuple(assets),
    )


def scene_record(setup: Setup, task: str, seed: int) -> dict[str, Any]:
    """What every episode of a task depends on, whatever the method."""
    sections = ["scene", "sim", "language", "candidates", "cloud", "encoder"]
    recorded: dict[str, Any] = {
        "seed": seed,
        "task": task,
        "attempts": setup.attempts,
        "similarity_rule": setup.judge,
        "code": code_digest(),
        **{key: getattr(setup, key).model_dump(mode="json") for key in sections},
    }
    content = content_of(setup.candidates)
    named = setup.encoder.pretrained
    if weights := content_digest(Path(named)) if named and named != SEEN_ONLY else "":
        content["encoder.pretrained"] = weights
    if content:
        recorded["content"] = content
    if task != "pick":
        recorded["placements"] = setup.placements.model_dump(mode="json")
        recorded |= extensions(task)
    if relations := own_relation_records():
        # Their words are read in any sentence.
        recorded["relations"] = relations
    if setup.perturb is not None:
        recorded["perturb"] = setup.perturb.model_dump(mode="json")
    if setup.assets:
        recorded["assets"] = {asset.name: asset.digest for asset in setup.assets}
    if own := library_records(library_folder()):
        recorded["library"] = own
    return recorded


def journal_of(
    method: Method, setup: Setup, task: str, seed: int, folder: Path, elsewhere: Mapping[str, Sequence[Path]]
) -> Journal:
    """The journal of a method and task."""
    name = method.name if task == "pick" else f"{method.name}-{task}"
    config = {**scene_record(setup, task, seed), **method.depends_on()}
    # What the similarity rule says is one field more, and changes nothing that happens.
    richer = [] if setup.judge else [{**config, "similarity_rule": True}]
    return Journal(folder, name, config, elsewhere, richer)


def missing_jobs(
    episodes: Sequence[SuiteEpisode],
    methods: Sequence[Method],
    journals: Mapping[str, Sequence[Journal]],
    out_dir: Path,
    figures: int,
) -> list[Job]:
    """What is left to play: each episode with all methods that miss it, so that they share it and a partial run stays paired.

    Args:
        figures: episodes of each group that are drawn for the first method.
    """
    jobs: list[Job] = []
    for number, episode in _numbered(episodes):
        todo: list[int] = []
        pictures: list[tuple[int, str]] = []
        for index, journal in enumerate(journals[episode.task]):
            path = picture_of(out_dir, number, methods[index], journal, episode)
            drawn_too = number < figures and index == 0
            # An episode without attempts leaves nothing to draw.
            known = journal.records.get(episode.key)
            if known is None or (drawn_too and known["attempts"] and not path.exists()):
                todo.append(index)
                pictures += [(index, str(path))] if drawn_too else []
        if todo:
            jobs.append(Job(episode, tuple(todo), tuple(pictures)))
    return jobs


def picture_of(out_dir: Path, number: int, method: Method, journal: Journal, episode: SuiteEpisode) -> Path:
    """The picture of an episode, the ``number``-th of its task and split; another episode or other weights have another one."""
    tag = config_digest({"episode": episode.key, "journal": journal.path.stem})[:6]
    return out_dir / "figures" / f"{group_of(episode.task, episode.split)}-{number:02d}-{method.name}-{tag}.png"


def pictures_of(
    episodes: Sequence[SuiteEpisode],
    methods: Sequence[Method],
    journals: Mapping[str, Sequence[Journal]],
    out_dir: Path,
    figures: int,
) -> list[Path]:
    """The pictures that there are of these episodes, in order; arguments as for :func:`missing_jobs`."""
    shown = [(number, episode) for number, episode in _numbered(episodes) if number < figures]
    found = (picture_of(out_dir, number, methods[0], journals[episode.task][0], episode) for number, episode in shown)
    return [path for path in found if path.exists()]


def _numbered(episodes: Sequence[SuiteEpisode]) -> Iterator[tuple[int, SuiteEpisode]]:
    """Each episode with its number, from 0, among those of its task and split."""
    counts: dict[str, int] = {}
    for episode in episodes:
        group = group_of(episode.task, episode.split)
        number = counts.get(group, 0)
        counts[group] = number + 1
        yield number, episode


def group_of(task: str, split: str) -> str:
    """How pictures of a task and split are called; those of picking by the split alone."""
    return split if task == "pick" else f"{task}-{split}"
