"""Featurize: what the scoring network sees of each demonstration. Candidates are copied, never sampled anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from srcli.errors import SceneError, SrcliError
from srcli.stages.resume import do_missing

if TYPE_CHECKING:
    from srcli.artifacts.demos import DemoDataset, Demonstration
    from srcli.artifacts.features import FeatureSample
    from srcli.parallel import Progress
    from srcli.params import Params
    from srcli.types import Percept


class PerceiveFn(Protocol):
    """Turns a demonstration into a percept; made once per worker."""

    def __call__(self, demonstration: Demonstration) -> Percept: ...


class Perceiver(Protocol):
    """Makes the :class:`PerceiveFn` of a worker, and names its encoder. A function or an object of a module."""

    def identity(self, params: Params, device: str) -> dict[str, Any]: ...

    def start(self, params: Params, device: str) -> PerceiveFn: ...


@dataclass(frozen=True, slots=True)
class Summary:
    """What featurizing came to.

    Attributes:
        path: the features file.
        samples: one per demonstration.
        picks, places: of them.
        on_target: mean share of candidates that are right: on a target, or in the region asked for.
        label_on_target: share of samples whose chosen candidate is right by the same rule.
        reused: samples that an earlier run had finished already.
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
        from srcli.language.instructions import make_reader
        from srcli.perception.encoders import load_encoder
        from srcli.perception.pipeline import perceive

        encoder = load_encoder(params.encoder, device)
        read = make_reader(encoder.vocabulary, params.language)

        def percept_of(demonstration: Demonstration) -> Percept:
            step = demonstration.step
            return perceive(step.observation, read(demonstration.spec.instruction).text, encoder, params.cloud, step.phase)

        return percept_of


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
    from srcli.artifacts.core import FEATURES, file_digest, output_lock
    from srcli.artifacts.demos import DemoDataset
    from srcli.artifacts.pieces import Pieces, is_current

    out = Path(out)
    files = [Path(demos)] if isinstance(demos, (str, Path)) else [Path(path) for path in demos]
    perceiver = perceiver or EncoderPerceiver()
    datasets = [DemoDataset(path) for path in files]
    limit = params.featurize.limit or None
    wanted = [(i, *decision) for i, dataset in enumerate(datasets) for decision in dataset.decisions[:limit]]
    for i, path in enumerate(files):
        if not any(file == i for file, _, _ in wanted):
            raise SceneError(
                f"{path}: holds no demonstration", "no episode succeeded: collect more, or look at why with `srcli info`"
            )
    encoder = perceiver.identity(params, device)
    config = {
        "cloud": params.cloud.model_dump(mode="json"),
        "encoder": encoder,
        "sources": [{"sha256": file_digest(path), "config": data.config} for path, data in zip(files, datasets, strict=True)],
    }
    if params.language.spelling != "on":
        config["spelling"] = params.language.spelling
    whole = {**config, "samples": len(wanted)}
    with output_lock(out):
        pieces = Pieces(out, config)
        if is_current(out, FEATURES, whole, force):
            pieces.remove()
            return _summary(out, len(wanted), True)
        pieces.prepare(force)
        jobs = [_Job(i, *place, pieces.path(i)) for i, place in enumerate(wanted)]
        reused = do_missing(
            jobs,
            pieces,
            _sample,
            _start,
            (params, files, device, perceiver, config),
            executor=params.featurize.executor,
            workers=workers,
            progress=progress,
            noun="samples",
            tell=lambda results: f"{results[-1]} points in the last cloud",
        )
        _merge(out, jobs, datasets, encoder, whole)
        pieces.remove()
        return _summary(out, reused, False)


def _merge(out: Path, jobs: list[_Job], datasets: Sequence[DemoDataset], encoder: dict[str, Any], config: dict[str, Any]) -> None:
    from srcli.artifacts.features import create_features, read_part

    valid = {(i, int(demo)) for i, dataset in enumerate(datasets) for demo in dataset.split("valid")}
    kept_back = np.array([(job.file, job.demo) in valid for job in jobs], dtype=np.bool_)
    splits = {"train": np.flatnonzero(~kept_back).astype(np.int64), "valid": np.flatnonzero(kept_back).astype(np.int64)}
    with create_features(out, len(jobs), encoder, config) as writer:
        for job in jobs:
            writer.add(*read_part(job.part))
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

_worker: tuple[list[DemoDataset], PerceiveFn, dict[str, Any]] | None = None


def _start(params: Params, demos: Sequence[Path], device: str, perceiver: Perceiver, config: dict[str, Any]) -> None:
    from srcli.artifacts.demos import DemoDataset

    global _worker
    _worker = ([DemoDataset(path) for path in demos], perceiver.start(params, device), config)


def _sample(job: _Job) -> int:
    """Make one sample and keep it as a part; returns its number of points."""
    from srcli.artifacts.features import write_part

    if _worker is None:
        raise SrcliError("a worker was given a job before it was started")
    datasets, percept_of, config = _worker
    dataset = datasets[job.file]
    demonstration = dataset.demonstration(job.demo, job.step)
    try:
        percept = percept_of(demonstration)
    except SceneError as error:
        raise SceneError(f"{dataset.path}: episode {job.demo}: {error.message}", error.hint) from error
    write_part(job.part, to_sample(demonstration, percept, job.file), config)
    return len(percept.cloud.points)


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
