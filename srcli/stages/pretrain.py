"""``srcli pretrain encoder``: render scenes, train the embedded encoder on them, write its weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.config.pretrain import PretrainConfig
from srcli.config.sim import SimConfig
from srcli.objects.library import library_folder, library_records
from srcli.pretraining.cache import Report, catalogue_digest, claim, making, no_report
from srcli.stages.library_use import drawn

if TYPE_CHECKING:
    from srcli.parallel import Executor
    from srcli.pretraining.encoder.lexicon import Lexicon
    from srcli.pretraining.encoder.loop import Learner
    from srcli.pretraining.encoder.render import Kind


@dataclass(frozen=True)
class PretrainSummary:
    """What a run made.

    Attributes:
        weights: the safetensors file; its JSON sidecar lies beside it.
        sha256: of the weights.
        metrics: last validation, keys prefixed ``seen/`` and ``unseen/``.
    """

    weights: Path
    sha256: str
    steps: int
    scenes: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class RenderJob:
    """One shard of scenes."""

    config: PretrainConfig
    sim: SimConfig
    kind: Kind
    folder: Path
    shard: int
    scenes: int
    taught: tuple[str, ...]


def render_job(job: RenderJob) -> None:
    """Render a shard, in whatever process."""
    from srcli.pretraining.encoder.render import render_shard

    render_shard(job.config, job.sim, job.kind, job.folder, job.shard, job.scenes, job.taught)


def render_all(
    config: PretrainConfig,
    sim: SimConfig,
    cache: Path,
    report: Report = no_report,
    *,
    taught: tuple[str, ...] = (),
    executor: Executor | None = None,
) -> None:
    """Render whatever scenes of validation and training are not in the cache yet; interrupted, it goes on where it was.

    Args:
        cache: folder; training scenes go to ``train``, validation scenes to ``valid_seen`` and ``valid_unseen``.
        taught: names of objects that training shows more often; they get validation scenes of their own, ``valid_taught``.
        executor: None renders in this process.
    """
    from srcli.parallel.serial import SerialExecutor
    from srcli.pretraining.encoder.store import SCENES_PER_SHARD, is_whole

    _claim(config, sim, cache, taught)
    kinds: list[Kind] = ["valid_seen"]
    kinds += [] if config.hide_unseen else ["valid_unseen"]
    kinds += ["valid_taught", "train"] if taught else ["train"]
    wanted = {kind: config.scenes if kind == "train" else config.valid_scenes for kind in kinds}
    jobs = [
        RenderJob(config, sim, kind, cache / kind, shard, scenes, taught)
        for kind, scenes in wanted.items()
        for shard in range(-(-scenes // SCENES_PER_SHARD))
    ]

    def told(job: RenderJob) -> None:
        report(f"render {job.kind}", min((job.shard + 1) * SCENES_PER_SHARD, job.scenes), job.scenes, {})

    left = []
    for job in jobs:
        if is_whole(job.folder, job.shard, job.scenes):
            told(job)
        else:
            left.append(job)
    for job, _ in zip(left, (executor or SerialExecutor()).imap(render_job, left), strict=True):
        told(job)


def _claim(config: PretrainConfig, sim: SimConfig, cache: Path, taught: tuple[str, ...]) -> None:
    """Record what the cache was rendered with; refuse a cache of other settings."""
    from srcli.artifacts.digests import file_digest
    from srcli.objects import variation
    from srcli.pretraining.encoder import render

    keys = {"seed", "objects_min", "objects_max", "hide_unseen", "twins"}
    wanted: dict[str, Any] = {
        "pretrain": config.model_dump(mode="json", include=keys),
        "sim": sim.model_dump(mode="json"),
        "catalogue": catalogue_digest(),
        **drawn(("seen", "unseen")),
        "drawing": [file_digest(Path(inspect.getfile(module))) for module in (render, variation)],
    }
    if taught:
        known = library_records(library_folder())
        wanted["taught"] = {name: known[name] for name in taught}
    claim(cache, wanted, "the scenes")


def run(
    config: PretrainConfig,
    sim: SimConfig,
    out: Path,
    cache: Path,
    *,
    rendered: Callable[[int], None] | None = None,
    executor: Executor | None = None,
    report: Report = no_report,
) -> PretrainSummary:
    """Render, train and export; killed and started again it goes on from the last checkpoint.

    Args:
        out: ``*.safetensors`` to write; it is replaced at every checkpoint, so a usable encoder is there early.
        cache: folder for rendered scenes and the checkpoint.
        rendered: called one step ahead with the number of scenes a step may draw from; blocks until they are there (another
            process renders). By default all scenes are rendered first.
        executor: renders the scenes; None does it in this process.
        report: called with phase, done, total and values.

    Raises:
        MismatchError: cache or checkpoint belong to other settings.
        BusyError: another run is writing to the cache.
    """
    from srcli.artifacts.core import sidecar_path
    from srcli.perception.encoders.embedded import load_embedded
    from srcli.pretraining.encoder.batches import scenes_in_use
    from srcli.pretraining.encoder.lexicon import build_lexicon, widened
    from srcli.pretraining.encoder.loop import make_learner, start_weights, train

    sidecar_path(out)
    lexicon = build_lexicon(config.hide_unseen)
    if config.start:
        lexicon = widened(lexicon, load_embedded(start_weights(config)).vocabulary)
    # Before hours of rendering: weights to start from may be missing or foreign.
    learner = make_learner(config, lexicon)
    with making(out, cache, "scenes"):
        if rendered is None:
            render_all(config, sim, cache, report, executor=executor)
        metrics: dict[str, float] = {}
        digest = ""

        def checkpointed(done: int, values: dict[str, float]) -> None:
            nonlocal digest
            if done % config.validate_every < config.checkpoint_every or done == config.steps:
                metrics.update(measure(config, learner, lexicon, cache))
            digest = export(config, learner, lexicon, done, metrics, out)
            report("train", done, config.steps, {**values, **metrics})

        def ready(step: int) -> None:
            if rendered is not None:
                rendered(scenes_in_use(config, step))

        train(config, learner, lexicon, cache / "train", cache / "checkpoint.safetensors", checkpointed, ready)
        if not digest:  # a finished run was started again
            metrics.update(measure(config, learner, lexicon, cache))
            digest = export(config, learner, lexicon, config.steps, metrics, out)
        return PretrainSummary(out, digest, config.steps, config.scenes, metrics)


def measure(
    config: PretrainConfig, learner: Learner, lexicon: Lexicon, cache: Path, taught: tuple[str, ...] = ()
) -> dict[str, float]:
    """Validation on both splits, and of the objects that are taught, with the learner's present weights."""
    import torch
    from torch.nn import functional

    from srcli.perception.encoders.embedded import dense_forward, image_tensor
    from srcli.perception.encoders.text import forward_text
    from srcli.pretraining.encoder.validate import validate

    def dense(rgb: Any) -> Any:
        with torch.inference_mode():
            features = functional.normalize(dense_forward(learner.model, image_tensor(rgb)), dim=1)
        return features.permute(0, 2, 3, 1).numpy()

    def text(texts: Any) -> Any:
        with torch.inference_mode():
            return forward_text(learner.model, learner.ids(tuple(texts)))[0].numpy()

    learner.model.eval()
    out = {}
    for split in ("seen", "unseen", "taught"):
        if (split == "unseen" and config.hide_unseen) or (split == "taught" and not taught):
            continue
        only = frozenset(taught) if split == "taught" else None
        values = validate(cache / f"valid_{split}", config.valid_scenes, lexicon, dense, text, config.seed, only)
        out.update({f"{split}/{k}": round(v, 4) for k, v in values.items()})
    learner.model.train()
    return out


def export(
    config: PretrainConfig,
    learner: Learner,
    lexicon: Lexicon,
    steps: int,
    metrics: dict[str, float],
    out: Path,
    parents: tuple[str, ...] = (),
    taught: tuple[str, ...] = (),
    **more: Any,
) -> str:
    """Write the present weights as an embedded encoder; returns their sha256.

    Args:
        parents: sha256 of the weights that these were taught from, nearest last.
        taught: names of the user's objects that they were taught.
        more: for the sidecar.
    """
    from srcli.perception.encoders.embedded import save_embedded

    recipe = config.model_dump(mode="json", exclude={"grasp", "teach", "language", "graspnet"})
    if learner.start_sha256:
        # Where a file lies says nothing to others.
        recipe |= {"start": Path(config.start).name, "start_sha256": learner.start_sha256}
    sidecar = {"recipe": recipe, "steps_done": steps, "metrics": metrics, "taught": list(taught), **more}
    return save_embedded(
        learner.model.state_dict(), learner.rows, lexicon.words, out, sidecar, parents, taught, config.hide_unseen
    )
