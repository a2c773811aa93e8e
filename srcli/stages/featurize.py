"""Featurize: what the scoring network sees of each demonstration. Candidates are copied, never sampled anew."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from srcli.errors import ArtifactError, SceneError, SrcliError

if TYPE_CHECKING:
    from srcli.artifacts.demos import DemoDataset, Demonstration
    from srcli.artifacts.features import FeatureSample
    from srcli.config import Params
    from srcli.parallel import Progress
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
        on_target: mean share of candidates that lie on a target.
        label_on_target: share of samples whose chosen candidate lies on a target by segmentation.
        reused: samples that an earlier run had finished already.
        up_to_date: the complete file was there, made with the same configuration.
    """

    path: str
    samples: int
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
    demo: int
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
        from srcli.perception.encoders import load_encoder
        from srcli.perception.pipeline import perceive

        encoder = load_encoder(params.encoder, device)

        def look(demonstration: Demonstration) -> Percept:
            step = demonstration.step
            return perceive(step.observation, demonstration.spec.instruction, encoder, params.cloud, step.phase)

        return look


def as_plain(identity: Any) -> dict[str, Any]:
    """An encoder's identity as plain data, as it is recorded and compared."""
    if isinstance(identity, dict):
        return dict(identity)
    method = getattr(identity, "as_dict", None) or getattr(identity, "model_dump", None)
    plain: dict[str, Any] = method() if callable(method) else asdict(identity)
    return plain


def run(
    params: Params,
    demos: Path | str,
    out: Path | str,
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    *,
    force: bool = False,
    perceiver: Perceiver | None = None,
) -> Summary:
    """Write the features of every demonstration of a file.

    Args:
        demos: the demonstrations file.
        out: the features file.
        workers: number of workers.
        device: where the encoder runs.
        progress: told after each sample.
        force: replace an output, or unfinished work, of another configuration.
        perceiver: by default the encoder of ``params``.

    Raises:
        ArtifactError: the demonstrations cannot be used.
        SceneError: there is no demonstration, or one cannot be perceived (names it).
        MismatchError: the output was made with another configuration.
        BusyError: another run is writing the same output.
        DiskError: the disk is full or the place not writable; finished samples are kept.
    """
    from srcli.artifacts.core import file_digest, output_lock
    from srcli.artifacts.demos import DemoDataset
    from srcli.artifacts.parts import Parts

    demos, out = Path(demos), Path(out)
    perceiver = perceiver or EncoderPerceiver()
    dataset = DemoDataset(demos)
    wanted = dataset.demonstrations
    if params.featurize.limit:
        wanted = wanted[: params.featurize.limit]
    if not len(wanted):
        raise SceneError(
            f"{demos}: holds no demonstration", "no episode succeeded: collect more, or look at why with `srcli info`"
        )
    encoder = perceiver.identity(params, device)
    config = {
        "cloud": params.cloud.model_dump(mode="json"),
        "encoder": encoder,
        "source": {"sha256": file_digest(demos), "config": dataset.config},
    }
    whole = {**config, "samples": len(wanted)}
    with output_lock(out):
        parts = Parts(out, config)
        if _is_current(out, whole, force):
            parts.remove()
            return _summary(out, len(wanted), True)
        parts.prepare(force)
        jobs = [_Job(i, int(demo), parts.path(i)) for i, demo in enumerate(wanted)]
        reused = _compute(params, demos, jobs, parts, workers, device, progress, perceiver)
        _merge(out, jobs, dataset, encoder, whole)
        parts.remove()
        return _summary(out, reused, False)


def _is_current(out: Path, config: dict[str, Any], force: bool) -> bool:
    from srcli.artifacts.core import FEATURES, open_artifact, read_config
    from srcli.artifacts.parts import check_existing

    if not out.exists():
        return False
    try:
        with open_artifact(out, FEATURES) as handle:
            recorded = read_config(handle)
    except ArtifactError:
        if force:
            return False
        raise
    return check_existing(recorded, config, out, force)


def _compute(
    params: Params,
    demos: Path,
    jobs: list[_Job],
    parts: Any,
    workers: int,
    device: str,
    progress: Progress | None,
    perceiver: Perceiver,
) -> int:
    from srcli.parallel import make_executor

    there = parts.finished()
    missing = [job for job in jobs if job.index not in there]
    done = len(jobs) - len(missing)
    reused = done
    if progress is not None:
        progress(done, len(jobs), f"{done} samples are there already" if done else "starting")
    if missing:
        executor = make_executor(params.featurize.executor, min(workers, len(missing)))
        for points in executor.imap(_sample, missing, _start, (params, demos, device, perceiver, dict(parts.config))):
            done += 1
            if progress is not None:
                progress(done, len(jobs), f"{points} points in the last cloud")
    return reused


def _merge(out: Path, jobs: list[_Job], dataset: DemoDataset, encoder: dict[str, Any], config: dict[str, Any]) -> None:
    from srcli.artifacts.features import create_features, read_part

    valid = set(dataset.split("valid").tolist())
    splits = {
        "train": np.array([j.index for j in jobs if j.demo not in valid], np.int64),
        "valid": np.array([j.index for j in jobs if j.demo in valid], np.int64),
    }
    with create_features(out, len(jobs), encoder, config) as writer:
        for job in jobs:
            writer.add(*read_part(job.part))
        writer.finish(splits)


def _summary(out: Path, reused: int, up_to_date: bool) -> Summary:
    from srcli.artifacts.features import FeatureDataset

    data = FeatureDataset(out)
    valid, mask, label = data.arrays["valid"], data.arrays["candidate_mask"], data.arrays["label"]
    return Summary(
        path=str(out),
        samples=len(data),
        train=len(data.split("train")),
        valid=len(data.split("valid")),
        points=int(data.arrays["points"].shape[1]),
        encoder=str(data.encoder.get("name", "")),
        on_target=float(np.mean(valid.sum(axis=1) / np.maximum(mask.sum(axis=1), 1))),
        label_on_target=float(np.mean(valid[np.arange(len(data)), label])),
        reused=reused,
        up_to_date=up_to_date,
    )


# --------------------------------------------------------------------------------------------------------------- workers

_worker: tuple[DemoDataset, PerceiveFn, dict[str, Any]] | None = None


def _start(params: Params, demos: Path, device: str, perceiver: Perceiver, config: dict[str, Any]) -> None:
    from srcli.artifacts.demos import DemoDataset

    global _worker
    _worker = (DemoDataset(demos), perceiver.start(params, device), config)


def _sample(job: _Job) -> int:
    """Make one sample and keep it as a part; returns its number of points."""
    from srcli.artifacts.features import write_part

    if _worker is None:
        raise SrcliError("a worker was given a job before it was started")
    dataset, look, config = _worker
    demonstration = dataset.demonstration(job.demo)
    try:
        percept = look(demonstration)
    except SceneError as error:
        raise SceneError(f"{dataset.path}: episode {job.demo}: {error.message}", error.hint) from error
    write_part(job.part, to_sample(demonstration, percept), config)
    return len(percept.cloud.points)


def to_sample(demonstration: Demonstration, percept: Percept) -> FeatureSample:
    """One sample: the percept, the candidates as they were, the label, and which candidates lie on a target.

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
        valid=np.isin(step.slots, np.asarray(spec.goal.targets, dtype=np.int32)) & usable,
        label=demonstration.label,
        seed=spec.seed,
        source=demonstration.index,
    )
