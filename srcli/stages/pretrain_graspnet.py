"""``srcli pretrain graspnet``: train GraspNet's network on labelled scenes of the simulation, at a small scale."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.pretraining.cache import Report, catalogue_digest, claim, silent

if TYPE_CHECKING:
    from srcli.parallel import Executor
    from srcli.params import Params


_STREAM = 42
_REPORT_EVERY = 5


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
    report: Report = silent,
) -> GraspNetSummary:
    """Label the scenes that are not in the cache yet, train, measure on validation scenes.

    Args:
        out: checkpoint to write; a JSON file with recipe and metrics goes beside it.
        cache: folder for labelled scenes and the state of the training; interrupted, a run goes on from both.
        device: of the network.
        executor: labels the scenes; None makes ``workers`` processes.
        report: called with phase, done, total and values.

    Raises:
        MismatchError: the cache belongs to other settings.
        BusyError: another run is writing to the cache.
    """
    import torch

    from srcli.artifacts.core import atomic_write, file_digest, output_lock, sidecar_path
    from srcli.models.graspnet.network import GraspNet
    from srcli.pretraining.graspnet.labels import SceneJob, load, scene_path
    from srcli.pretraining.graspnet.loss import accuracy, loss, predict
    from srcli.seeding import generator

    config, sidecar = params.pretrain.graspnet, sidecar_path(out)
    cache.mkdir(parents=True, exist_ok=True)
    with output_lock(cache / "scenes"):
        _claim(params, cache)
        jobs = {
            kind: [SceneJob(kind, number) for number in range(count)]
            for kind, count in (("valid", config.valid_scenes), ("train", config.scenes))
        }
        _label(params, cache, [*jobs["valid"], *jobs["train"]], workers, executor, report)
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, config.threads))
        try:
            with torch.random.fork_rng():
                torch.manual_seed(config.seed)
                network = GraspNet().to(device)
            optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
            state, first = cache / "state.pt", 0
            wanted = {"recipe": config.model_dump(mode="json", exclude={"threads", "checkpoint_every"})}
            if state.is_file():
                first = _resume(state, wanted, network, optimizer, device)
            network.train()
            means: list[float] = []
            for step in range(first, config.steps):
                rng = generator((config.seed, step), _STREAM)
                batch = [load(scene_path(cache, jobs["train"][int(n)])) for n in rng.integers(config.scenes, size=config.batch)]
                prediction, numbers, there = predict(network, batch)
                total = loss(prediction, numbers, there, batch)["total"]
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * 0.1 ** sum(step >= share * config.steps for share in (0.5, 0.75, 0.9))
                optimizer.zero_grad(set_to_none=True)
                total.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                means.append(float(total.detach()))
                done = step + 1
                if done % config.checkpoint_every == 0 or done == config.steps:
                    saved = {**wanted, "step": done, "model": network.state_dict(), "optimizer": optimizer.state_dict()}
                    with atomic_write(state) as temporary:
                        torch.save(saved, temporary)
                if done % _REPORT_EVERY == 0 or done == config.steps:
                    report("train", done, config.steps, {"loss": sum(means) / len(means)})
                    means = []
            network.eval()
            found: dict[str, list[float]] = {"loss": []}
            for job in jobs["valid"]:
                scene = [load(scene_path(cache, job))]
                with torch.no_grad():
                    prediction, numbers, there = predict(network, scene)
                    found["loss"].append(float(loss(prediction, numbers, there, scene)["total"]))
                for name, values in accuracy(prediction, numbers, there, scene).items():
                    found.setdefault(name, []).extend(values)
        finally:
            torch.set_num_threads(threads)
        metrics = {name: round(sum(values) / len(values), 4) for name, values in found.items() if values}
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(out) as temporary:
            torch.save({"model_state_dict": {key: value.cpu() for key, value in network.state_dict().items()}}, temporary)
        digest = file_digest(out)
        note = {"sha256": digest, **wanted, "metrics": metrics}
        with atomic_write(sidecar) as temporary:
            temporary.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return GraspNetSummary(out, digest, config.scenes, metrics)


def _resume(state: Path, wanted: dict[str, Any], network: Any, optimizer: Any, device: str) -> int:
    """Weights and moments of the last checkpoint; the steps done."""
    import torch

    from srcli.errors import ArtifactError, MismatchError

    try:
        saved = torch.load(state, map_location=device, weights_only=True)
        recipe, step = saved["recipe"], int(saved["step"])
    except Exception as error:
        # What a damaged file raises depends on where it is damaged.
        raise ArtifactError(f"{state}: not a state of this training", "delete it; training starts anew") from error
    if recipe != wanted["recipe"]:
        raise MismatchError(f"{state} belongs to a training with other settings", "name another --cache or delete this one")
    network.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return step


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

    left = [job for job in jobs if not labels.scene_path(cache, job).is_file()]
    done = len(jobs) - len(left)
    report("label", done, len(jobs), {})
    pool = executor or make_executor("processes", workers)
    for job, made in zip(left, pool.imap(labels.make, left, labels.start, (params,)), strict=True):
        labels.store(labels.scene_path(cache, job), made)
        done += 1
        report("label", done, len(jobs), {})
