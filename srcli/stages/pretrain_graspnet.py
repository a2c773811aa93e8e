"""``srcli pretrain graspnet``: train GraspNet's network on labelled scenes of the simulation, at a small scale."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.pretraining.cache import Report, catalogue_digest, claim, making, no_report

if TYPE_CHECKING:
    from srcli.parallel import Executor
    from srcli.params import Params


@dataclass(frozen=True)
class GraspNetSummary:
    """What a run made.

    Attributes:
        weights: the checkpoint, for :func:`srcli.models.graspnet.checkpoint.load_graspnet` and the source ``graspnet:PATH``.
        sha256: of the file.
        scenes: labelled for training.
        metrics: on validation scenes, see :func:`srcli.pretraining.graspnet.loss.accuracy`; ``loss`` beside them.
    """

    weights: Path
    sha256: str
    scenes: int
    metrics: dict[str, float]


def run(
    params: Params,
    out: Path,
    cache: Path,
    *,
    workers: int = 1,
    device: str = "cpu",
    executor: Executor | None = None,
    report: Report = no_report,
) -> GraspNetSummary:
    """Label the scenes that are not in the cache yet, train, measure on validation scenes.

    Args:
        out: checkpoint to write; a JSON file with recipe and metrics goes beside it.
        cache: folder for labelled scenes and the state of the training; interrupted, a run goes on from both.
        device: of the network.
        executor: labels the scenes; None makes ``workers`` processes.
        report: called with phase, done, total and values.

    Raises:
        ArtifactError: a scene or the checkpoint in the cache is damaged.
        MismatchError: the cache belongs to other settings.
        SceneError: the loss is not finite.
        BusyError: another run is writing to the cache.
    """
    import torch

    from srcli.artifacts.core import atomic_write, sidecar_path
    from srcli.artifacts.digests import file_digest
    from srcli.pretraining.graspnet.labels import SceneJob
    from srcli.pretraining.graspnet.training import measure, train

    config, sidecar = params.pretrain.graspnet, sidecar_path(out)
    with making(out, cache, "scenes"):
        _claim(params, cache)
        jobs = {
            kind: [SceneJob(kind, number) for number in range(count)]
            for kind, count in (("valid", config.valid_scenes), ("train", config.scenes))
        }
        _label(params, cache, [*jobs["valid"], *jobs["train"]], workers, executor, report)
        recipe = config.model_dump(mode="json", exclude={"threads", "checkpoint_every"})

        def trained(done: int, values: dict[str, float]) -> None:
            report("train", done, config.steps, values)

        network = train(config, jobs["train"], cache, recipe, device, trained)
        found = measure(network, jobs["valid"], cache, config.threads)
        metrics = {name: round(sum(values) / len(values), 4) for name, values in found.items() if values}
        with atomic_write(out) as temporary:
            torch.save({"model_state_dict": {key: value.cpu() for key, value in network.state_dict().items()}}, temporary)
        digest = file_digest(out)
        note = {"sha256": digest, "recipe": recipe, "metrics": metrics}
        with atomic_write(sidecar) as temporary:
            temporary.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return GraspNetSummary(out, digest, config.scenes, metrics)


def _claim(params: Params, cache: Path) -> None:
    """Record what the scenes are made with; refuse those of other settings."""
    keys = {"seed", "points", "labelled", "objects_min", "objects_max"}
    wanted = {
        "pretrain": {"graspnet": params.pretrain.graspnet.model_dump(mode="json", include=keys)},
        **params.model_dump(mode="json", include={"sim", "scene"}),
        "catalogue": catalogue_digest(),
    }
    claim(cache, wanted, "the labelled scenes")


def _label(params: Params, cache: Path, jobs: list[Any], workers: int, executor: Executor | None, report: Report) -> None:
    from srcli.parallel import make_executor
    from srcli.pretraining.graspnet import labels

    left = labels.missing(cache, jobs)
    done = len(jobs) - len(left)
    report("label", done, len(jobs), {})
    pool = executor or make_executor("processes", workers)
    for job, made in zip(left, pool.imap(labels.make, left, labels.start, (params,)), strict=True):
        labels.store(labels.scene_path(cache, job), made)
        done += 1
        report("label", done, len(jobs), {})
