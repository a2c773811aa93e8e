"""Featurize: what the scoring network sees of each demonstration. Candidates are copied, never sampled anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from srcli.errors import SceneError, SrcliError
from srcli.stages.resume import do_missing

if TYPE_CHECKING:
    from srcli.artifacts.core import Looked
    from srcli.artifacts.demos import DemoDataset, Demonstration
    from srcli.artifacts.features import FeatureSample
    from srcli.artifacts.pieces import Pieces
    from srcli.parallel import Progress
    from srcli.params import Params
    from srcli.perception.pipeline import Encoded
    from srcli.types import Observation, Percept


_PIECES = 2
"""How the pieces of unfinished work are laid out: one for each observation, with all of its samples."""


class PerceiveFn(Protocol):
    """Turns a demonstration into a percept; made once per worker."""

    def __call__(self, demonstration: Demonstration) -> Percept: ...

    def views(self, demonstration: Demonstration) -> dict[str, Any]:
        """What all views show of it, by the names of :data:`srcli.artifacts.features.VIEWS`."""
        ...


class Perceiver(Protocol):
    """Makes the :class:`PerceiveFn` of a worker, and names its encoder. A function or an object of a module."""

    def identity(self, params: Params, device: str) -> dict[str, Any]: ...

    def start(self, params: Params, device: str) -> PerceiveFn: ...


@dataclass(frozen=True, slots=True)
class Summary:
    """What featurizing came to.

    Attributes:
        path: the features file.
        samples: one per demonstration, and those of other sentences for the same observations.
        picks, places: of them.
        on_target: mean share of candidates that are right: on a target, or in the region asked for.
        label_on_target: share of samples whose chosen candidate is right by the same rule.
        reused: observations that an earlier run had finished already.
        up_to_date: the complete file was there, made with the same configuration.
    """

    path: str
    samples: int
    picks: int
    places: int
    train: int
    valid: int
    points: int
    encoder: str
    on_target: float
    label_on_target: float
    reused: int
    up_to_date: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Job:
    index: int
    file: int
    demo: int
    step: int
    part: Path
    shown: bool = True
    """Whether the attempt is a demonstration."""
    others: int = 0
    """Other sentences that are wanted for what it saw."""


class EncoderPerceiver:
    """The real one: the encoder of the configuration and the one route of ``perception``."""

    def identity(self, params: Params, device: str) -> dict[str, Any]:
        """Identity of the encoder of ``params``.

        Raises:
            MissingAssetError: its weights are not there.
        """
        from srcli.perception.encoders import load_encoder

        return as_plain(load_encoder(params.encoder, device).identity)

    def start(self, params: Params, device: str) -> PerceiveFn:
        """Load the encoder."""
        return _Perceiving(params, device)


class _Perceiving:
    """Perceives with the encoder of ``params``. The views of one observation are encoded once."""

    def __init__(self, params: Params, device: str) -> None:
        from srcli.language.instructions import make_reader
        from srcli.perception.encoders import load_encoder

        self.params = params
        self.encoder = load_encoder(params.encoder, device)
        self.read = make_reader(self.encoder.vocabulary, params.language)
        self._last: tuple[Observation, Encoded] | None = None

    def __call__(self, demonstration: Demonstration) -> Percept:
        from srcli.perception.pipeline import perceive

        step = demonstration.step
        text = self.read(demonstration.spec.instruction).text
        return perceive(step.observation, text, self._encoded(step.observation), self.params.cloud, step.phase)

    def views(self, demonstration: Demonstration) -> dict[str, Any]:
        """What all views show."""
        from srcli.learning.whole_view import whole_view

        step = demonstration.step
        seen = whole_view(step.observation, self._encoded(step.observation).features)
        held = step.held
        return {
            "cell_points": seen.cells,
            "cell_features": seen.features,
            "cell_mask": np.ones(len(seen.cells), np.bool_),
            "surface_points": seen.points,
            "surface_colors": seen.colors,
            "surface_mask": np.ones(len(seen.points), np.bool_),
            "held": np.array((0.0, 0.0, 0.0) if held is None else (held.radius, held.half_width, held.height), np.float32),
        }

    def _encoded(self, observation: Observation) -> Encoded:
        from srcli.perception.pipeline import Encoded

        if self._last is None or self._last[0] is not observation:
            self._last = observation, Encoded(self.encoder, self.encoder.dense(observation.rgb))
        return self._last[1]


def as_plain(identity: Any) -> dict[str, Any]:
    """An encoder's identity as plain data, as it is recorded and compared."""
    if isinstance(identity, dict):
        return dict(identity)
    method = getattr(identity, "as_dict", None) or getattr(identity, "model_dump", None)
    plain: dict[str, Any] = method() if callable(method) else asdict(identity)
    return plain


def run(
    params: Params,
    demos: Path | str | Sequence[Path | str],
    out: Path | str,
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    *,
    force: bool = False,
    perceiver: Perceiver | None = None,
) -> Summary:
    """Write the features of every demonstration of one or more files, so that one policy can learn from all of them.

    With ``featurize.relabel`` what was seen in the episodes that are trained on gets other sentences as well
    (:mod:`srcli.learning.relabel`), every attempt of them; those kept back for validation have their own decisions alone.

    Args:
        demos: the demonstrations files, in the order in which their samples are to stand.
        out: the features file.
        workers: number of workers.
        device: where the encoder runs.
        progress: told after each sample.
        force: replace an output, or unfinished work, of another configuration.
        perceiver: by default the encoder of ``params``.

    Raises:
        ArtifactError: the demonstrations cannot be used.
        SceneError: a file holds no demonstration, or one cannot be perceived (names it).
        MismatchError: the output was made with another configuration.
        BusyError: another run is writing the same output.
        DiskError: the disk is full or the place not writable; finished samples are kept.
    """
    from srcli.artifacts.core import FEATURES, artifact_lock, check_target, looked_at
    from srcli.artifacts.demos import DemoDataset
    from srcli.artifacts.digests import file_digest
    from srcli.artifacts.pieces import Pieces, is_current

    out = Path(out)
    files = [Path(demos)] if isinstance(demos, (str, Path)) else [Path(path) for path in demos]
    perceiver = perceiver or EncoderPerceiver()
    datasets = [DemoDataset(path) for path in files]
    for dataset in datasets:
        dataset.check()
    limit = params.featurize.limit or None
    wanted = [(i, *decision) for i, dataset in enumerate(datasets) for decision in dataset.decisions[:limit]]
    for i, path in enumerate(files):
        if not any(file == i for file, _, _ in wanted):
            raise SceneError(
                f"{path}: holds no demonstration", "no episode succeeded: collect more, or look at why with `srcli info`"
            )
    encoder = perceiver.identity(params, device)
    config: dict[str, Any] = {
        "cloud": params.cloud.model_dump(mode="json"),
        "encoder": encoder,
        "sources": [{"sha256": file_digest(path), "config": data.config} for path, data in zip(files, datasets, strict=True)],
    }
    if params.language.spelling != "on":
        config["spelling"] = params.language.spelling
    whole = {**config, "samples": len(wanted)}
    if params.featurize.relabel:
        asked = params.featurize.model_dump(mode="json", include={"relabel", "compositional"})
        more = {"asked": {**asked, "synonym_share": params.language.synonym_share}}
        config, whole = {**config, **more}, {**whole, **more}
    if params.featurize.views:
        config, whole = {**config, "views": True}, {**whole, "views": True}
    check_target(out)
    # A piece is found by its place in the list, which the limit moves.
    pieces = Pieces(out, {**config, "limit": params.featurize.limit, "pieces": _PIECES})
    if not pieces.folder.exists() and is_current(out, FEATURES, whole, force):
        # Nothing is written, so the folder need not be writable.
        return _summary(out, len(wanted), True)
    with artifact_lock(out):
        if is_current(out, FEATURES, whole, force):
            pieces.remove()
            return _summary(out, len(wanted), True)
        pieces.prepare(force)
        jobs = _jobs(params, datasets, wanted, pieces)
        reused = do_missing(
            jobs,
            pieces,
            _sample,
            _start,
            (params, files, device, perceiver, dict(pieces.config), looked_at()),
            executor=params.featurize.executor,
            device=device,
            workers=workers,
            progress=progress,
            noun="samples",
            tell=lambda results: f"{results[-1]} points in the last cloud",
        )
        _merge(out, jobs, datasets, encoder, whole)
        pieces.remove()
        return _summary(out, reused, False)


def _jobs(params: Params, datasets: Sequence[DemoDataset], wanted: Sequence[tuple[int, int, int]], pieces: Pieces) -> list[_Job]:
    """One job per demonstration; with other sentences one per attempt of the episodes trained on, too, in their order."""
    others = params.featurize.relabel
    places = dict.fromkeys(wanted, (True, 0))
    if others:
        for file, dataset in enumerate(datasets):
            last = max(demo for number, demo, _ in wanted if number == file)
            lengths, back = dataset.lengths(), dataset.held_back()
            for demo in range(last + 1):
                for step in range(lengths[demo] if demo not in back else 0):
                    places[file, demo, step] = ((file, demo, step) in places, others)
    return [_Job(i, *place, pieces.path(i), *places[place]) for i, place in enumerate(sorted(places))]


def _merge(out: Path, jobs: list[_Job], datasets: Sequence[DemoDataset], encoder: dict[str, Any], config: dict[str, Any]) -> None:
    from srcli.artifacts.features import create_features, part_size, read_part

    valid = {(i, demo) for i, dataset in enumerate(datasets) for demo in dataset.held_back()}
    sizes = [part_size(job.part) for job in jobs]
    kept_back = np.repeat(np.array([(job.file, job.demo) in valid for job in jobs], dtype=np.bool_), sizes)
    splits = {"train": np.flatnonzero(~kept_back).astype(np.int64), "valid": np.flatnonzero(kept_back).astype(np.int64)}
    with create_features(out, sum(sizes), encoder, config) as writer:
        for job in jobs:
            for sample in read_part(job.part):
                writer.add(*sample)
        writer.finish(splits)


def _summary(out: Path, reused: int, up_to_date: bool) -> Summary:
    from srcli.artifacts.features import FeatureDataset

    data = FeatureDataset(out)
    valid, mask, label, phase = (data.column(name) for name in ("valid", "candidate_mask", "label", "phase"))
    return Summary(
        path=str(out),
        samples=len(data),
        picks=int((phase == 0).sum()),
        places=int((phase == 1).sum()),
        train=len(data.split("train")),
        valid=len(data.split("valid")),
        points=data.column("point_mask").shape[1],
        encoder=str(data.encoder.get("name", "")),
        on_target=float(np.mean(valid.sum(axis=1) / np.maximum(mask.sum(axis=1), 1))),
        label_on_target=float(np.mean(valid[np.arange(len(data)), label])),
        reused=reused,
        up_to_date=up_to_date,
    )


# --------------------------------------------------------------------------------------------------------------- workers

_worker: tuple[list[DemoDataset], PerceiveFn, dict[str, Any], Params] | None = None


def _start(
    params: Params, demos: Sequence[Path], device: str, perceiver: Perceiver, config: dict[str, Any], known: Looked
) -> None:
    from srcli.artifacts.core import take_over
    from srcli.artifacts.demos import DemoDataset

    global _worker
    take_over(known)
    _worker = ([DemoDataset(path) for path in demos], perceiver.start(params, device), config, params)


def _sample(job: _Job) -> int:
    """Make the samples of one observation and keep them as a part; returns the number of points of the last."""
    from srcli.artifacts.features import write_part

    if _worker is None:
        raise SrcliError("a worker was given a job before it was started")
    datasets, percept_of, config, params = _worker
    dataset = datasets[job.file]
    asked = [dataset.demonstration(job.demo, job.step)] if job.shown else []
    asked += _asked_anew(dataset, job, params, asked[0] if asked else None) if job.others else []
    try:
        samples = [to_sample(demonstration, percept_of(demonstration), job.file) for demonstration in asked]
        if params.featurize.views:
            samples = [
                replace(sample, views=percept_of.views(demonstration))
                for sample, demonstration in zip(samples, asked, strict=True)
            ]
    except SceneError as error:
        raise SceneError(f"{dataset.path}: episode {job.demo}: {error.message}", error.hint) from error
    write_part(job.part, samples, config)
    return len(samples[-1].percept.cloud.points) if samples else 0


def _asked_anew(dataset: DemoDataset, job: _Job, params: Params, own: Demonstration | None) -> list[Demonstration]:
    """What the expert would have done at an attempt, had it been asked for something else.

    Args:
        own: the demonstration that the attempt is, if it is one; its views are not read, nor encoded, again.
    """
    from srcli.artifacts.demos import Demonstration
    from srcli.config.sim import SimConfig
    from srcli.learning.relabel import ask_anew, recorded_truth
    from srcli.seeding import RELABEL, generator
    from srcli.tasks import get_task

    spec, step = dataset.step(job.demo, job.step) if own is None else (own.spec, own.step)
    if not len(step.candidates) or step.excluded.all():
        return []
    found = ask_anew(
        get_task(spec.task, params.language),
        spec,
        recorded_truth(step.poses, SimConfig.recorded(dataset.config["sim"])),
        step.candidates,
        step.phase,
        slots=step.slots,
        excluded=step.excluded,
        held=step.held,
        count=job.others,
        # Where objects do not look as the catalogue's do, its colour words are not true of them.
        compositional=1.0 if spec.looks else params.featurize.compositional,
        rng=generator(spec.seed, job.step, RELABEL),
        language=params.language,
    )
    return [
        Demonstration(
            job.demo,
            job.step,
            replace(spec, instruction=other.instruction, goal=other.goal),
            replace(step, valid=other.valid),
            other.label,
        )
        for other in found
    ]


def to_sample(demonstration: Demonstration, percept: Percept, file: int = 0) -> FeatureSample:
    """One sample: the percept, the candidates as they were, the label, and which candidates are right.

    A candidate that had failed before in its episode is neither shown nor counted as valid: at a decision it is excluded, too.
    """
    from srcli.artifacts.features import FeatureSample

    step, spec = demonstration.step, demonstration.spec
    usable = ~step.excluded
    return FeatureSample(
        percept=percept,
        instruction=spec.instruction,
        candidates=step.candidates,
        usable=usable,
        valid=step.valid & usable,
        label=demonstration.label,
        seed=spec.seed,
        source=demonstration.index,
        file=file,
        phase=step.phase,
    )
