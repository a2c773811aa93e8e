"""Stage ``train``: demonstrations or features become a policy file of one method."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.core import artifact_lock, atomic_write
from srcli.errors import ConfigError

if TYPE_CHECKING:
    from srcli.config.base import Section
    from srcli.methods.base import Fitted, MethodSpec, TrainingData


@dataclass(frozen=True)
class TrainSummary:
    """What training did.

    Attributes:
        path: the policy file.
        curves, figure: the training curves as CSV and as PNG, beside it; None for a method that records none.
        method: its identifier.
        updates: made in all, resumed ones included.
        samples: decisions of the training split.
        parameters: numbers learned.
        metrics: of the kept weights on the validation split; NaN for what does not exist.
    """

    path: Path
    curves: Path | None
    figure: Path | None
    method: str
    updates: int
    samples: int
    parameters: int
    metrics: Mapping[str, float]


def run(
    spec: MethodSpec,
    section: Section,
    out_path: Path,
    *,
    features: Path | None = None,
    demos: Sequence[Path] = (),
    seed: int = 0,
    device: str = "cpu",
    threads: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> TrainSummary:
    """Fit a method; a run that was killed goes on from its checkpoint and ends with the same weights.

    Writes ``out_path`` (policy), ``<stem>.curves.csv``, ``<stem>.curves.png`` and ``<stem>.metrics.json`` beside it; the
    checkpoint ``<stem>.checkpoint`` goes when training is complete.

    Args:
        section: the method's settings, with the preset of its identifier.
        features: features file, for a method that reads features.
        demos: demonstrations, for a method that reads them.
        threads: of torch on the processor; 0 leaves them as they are. The result is the same for the same number of threads.

    Raises:
        ConfigError: the method learns nothing, or its settings contradict themselves.
        ArtifactError: the data cannot be used.
        SceneError: they hold no training sample, or the loss is not finite.
        BusyError: another run is writing the same output.
        DiskError: the disk is full or the place is not writable.
    """
    from srcli.methods.policy_file import write_policy
    from srcli.methods.registry import fitter

    fit = fitter(spec)
    if threads:
        import torch

        torch.set_num_threads(threads)
    data, encoder, digest = training_data(spec, features, demos)
    with artifact_lock(out_path):
        checkpoint = out_path.with_suffix(".checkpoint")
        fitted = fit(section, data, seed=seed, device=device, checkpoint=checkpoint, progress=progress)
        write_policy(out_path, spec, section, fitted, seed=seed, encoder=encoder, data=digest)
        summary = TrainSummary(
            path=out_path,
            curves=out_path.with_suffix(".curves.csv") if fitted.curves else None,
            figure=out_path.with_suffix(".curves.png") if fitted.curves else None,
            method=spec.name,
            updates=fitted.updates,
            samples=fitted.samples,
            parameters=sum(int(w.size) for w in fitted.weights.values()),
            metrics=dict(fitted.metrics),
        )
        _write_beside(fitted, summary)
        checkpoint.unlink(missing_ok=True)
    return summary


def training_data(spec: MethodSpec, features: Path | None, demos: Sequence[Path]) -> tuple[TrainingData, Mapping[str, Any], str]:
    """What a method reads, the identity of the encoder that made it, and its digest.

    Raises:
        ConfigError: it reads demonstrations and none are given, or features.
        ArtifactError: a file is missing or cannot be used.
    """
    from srcli.artifacts.digests import config_digest, file_digest
    from srcli.methods.base import TrainingData

    if spec.reads == "features":
        from srcli.artifacts.features import FeatureDataset

        if features is None:
            raise ConfigError(f"method '{spec.name}' is trained on features", "give a file that `srcli featurize` has written")
        dataset = FeatureDataset(features)
        return TrainingData(features=dataset), dataset.encoder, file_digest(features)
    if spec.reads == "demos":
        from srcli.artifacts.demos import DemoDataset

        if not demos:
            raise ConfigError(f"method '{spec.name}' is trained on demonstrations", "give files of `srcli collect` with --demos")
        digest = config_digest({"demos": [file_digest(path) for path in demos]})
        shown = tuple(DemoDataset(path) for path in demos)
        for each in shown:
            each.check()
        return TrainingData(demos=shown), {}, digest
    return TrainingData(), {}, ""


def _write_beside(fitted: Fitted, summary: TrainSummary) -> None:
    numbers = {"updates": summary.updates, "samples": summary.samples, **{f"valid_{k}": v for k, v in fitted.metrics.items()}}
    # JSON has no NaN: a value that does not exist is null.
    clean = {k: v if v == v else None for k, v in numbers.items()}
    with atomic_write(summary.path.with_suffix(".metrics.json")) as path:
        path.write_text(json.dumps(clean, indent=2) + "\n")
    if summary.curves is None or summary.figure is None:
        return
    names = list(fitted.curves)
    columns = {name: fitted.curves[name].tolist() for name in names}
    rows = list(zip(*columns.values(), strict=True))
    # `dvc plots` would draw an empty cell as zero: the table has the validations, the policy file all records.
    column = names.index("valid_loss") if "valid_loss" in names else 0
    validated = [row for row in rows if row[column] == row[column]]
    lines = [",".join(names), *(",".join(_cell(v) for v in row) for row in validated or rows)]
    with atomic_write(summary.curves) as path:
        path.write_text("\n".join(lines) + "\n")
    with atomic_write(summary.figure) as path:
        draw_curves(path, {summary.method: columns})


def _cell(value: float) -> str:
    return f"{value:.6g}" if value == value else ""


SHOWN = (
    ("left", "train_loss", "--", "training (augmented)"),
    ("left", "valid_loss", "-", "validation"),
    ("right", "valid_rate", "-", "a right candidate"),
    ("right", "valid_top1", ":", "the expert's candidate"),
)
"""Curves that are drawn where a method records them: axis, name, line, label."""


def draw_curves(path: Path, runs: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Loss and rates over updates, one colour per run, as PNG.

    Args:
        path: any name; the format is PNG.
        runs: curves by name of the run; ``update`` is the horizontal axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for i, (name, curves) in enumerate(runs.items()):
        for side, curve, style, label in SHOWN:
            axis = left if side == "left" else right
            if curve not in curves or "update" not in curves:
                continue
            known = [(x, y) for x, y in zip(curves["update"], curves[curve], strict=True) if y == y]
            if not known:
                continue
            # One point is no line.
            marker = "o" if len(known) == 1 else ""
            axis.plot(*zip(*known, strict=True), f"C{i}{style}{marker}", linewidth=1.2, markersize=4, label=f"{name}, {label}")
    left.set(xlabel="update", ylabel="loss (nats)")
    right.set(xlabel="update", ylabel="share of validation samples", ylim=(0.0, 1.02))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
