"""Stage ``train``: a features file becomes a policy file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srcli.config.train import TrainConfig
from srcli.methods.sr.section import ModelConfig

if TYPE_CHECKING:
    from srcli.methods.sr.trainer import Progress, Trained


@dataclass(frozen=True)
class TrainSummary:
    """What training did.

    Attributes:
        path: the policy file.
        curves, figure: the loss curves as CSV and as PNG, beside it.
        variant: of the network.
        updates: made in all, resumed ones included.
        samples: of the training split.
        parameters: trainable numbers.
        valid_loss, valid_top1, valid_rate: of the kept weights on the validation split; NaN without one.
        pick_rate, place_rate: the rate of each phase; NaN without samples of it.
    """

    path: Path
    curves: Path
    figure: Path
    variant: str
    updates: int
    samples: int
    parameters: int
    valid_loss: float
    valid_top1: float
    valid_rate: float
    pick_rate: float
    place_rate: float


def run(
    model: ModelConfig,
    train: TrainConfig,
    features_path: Path,
    out_path: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    threads: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> TrainSummary:
    """Train the network on a features file; a run that was killed goes on from its checkpoint and ends with the same weights.

    Writes ``out_path`` (policy), ``<stem>.curves.csv``, ``<stem>.curves.png`` and ``<stem>.metrics.json`` beside it; the
    checkpoint ``<stem>.checkpoint`` goes when training is complete.

    Args:
        threads: of torch on the processor; 0 leaves them as they are. The result is the same for the same number of threads.

    Raises:
        ArtifactError: the features cannot be used.
        SceneError: they hold no training sample, or the loss is not finite.
        ConfigError: the model section contradicts itself.
        DiskError: the disk is full or the place is not writable.
    """
    import torch

    from srcli.artifacts.core import file_digest
    from srcli.learning.dataset import TrainingSet
    from srcli.methods.sr.policy_file import write_policy
    from srcli.methods.sr.trainer import Trainer

    if threads:
        torch.set_num_threads(threads)
    data = TrainingSet.load(features_path)
    checkpoint = out_path.with_suffix(".checkpoint")
    trainer = Trainer(data, model, train, seed=seed, device=device, checkpoint=checkpoint)
    trained = trainer.run(progress)
    write_policy(out_path, trained, model, train, data.encoder, data.feature_dim, file_digest(features_path))
    metrics = trained.metrics
    summary = TrainSummary(
        path=out_path,
        curves=out_path.with_suffix(".curves.csv"),
        figure=out_path.with_suffix(".curves.png"),
        variant=model.variant,
        updates=trained.updates,
        samples=len(data.train),
        parameters=sum(w.size for w in trained.weights.values()),
        valid_loss=metrics.loss,
        valid_top1=metrics.top1,
        valid_rate=metrics.valid_rate,
        pick_rate=metrics.pick_rate,
        place_rate=metrics.place_rate,
    )
    _write_curves(trained, summary)
    checkpoint.unlink(missing_ok=True)
    return summary


def _write_curves(trained: Trained, summary: TrainSummary) -> None:
    from srcli.artifacts.core import atomic_write

    names = list(trained.curves)
    rows = list(zip(*(trained.curves[name].tolist() for name in names), strict=True))
    # `dvc plots` would draw an empty cell as zero: the table has the validations, the policy file all records.
    column = names.index("valid_loss")
    validated = [row for row in rows if row[column] == row[column]]
    lines = [",".join(names), *(",".join(_cell(v) for v in row) for row in validated or rows)]
    with atomic_write(summary.curves) as path:
        path.write_text("\n".join(lines) + "\n")
    told = ("updates", "samples", "valid_loss", "valid_top1", "valid_rate", "pick_rate", "place_rate")
    numbers = {name: getattr(summary, name) for name in told}
    # JSON has no NaN: a value that does not exist is null.
    clean = {k: v if v == v else None for k, v in numbers.items()}
    with atomic_write(summary.path.with_suffix(".metrics.json")) as path:
        path.write_text(json.dumps(clean, indent=2) + "\n")
    curves = {name: trained.curves[name].tolist() for name in names}
    with atomic_write(summary.figure) as path:
        draw_curves(path, {summary.variant: curves})


def _cell(value: float) -> str:
    return f"{value:.6g}" if value == value else ""


def draw_curves(path: Path, runs: dict[str, dict[str, Sequence[float]]]) -> None:
    """Loss and valid-rate over updates, one colour per run, as PNG.

    Args:
        path: any name; the format is PNG.
        runs: curves by name of the run.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for i, (name, curves) in enumerate(runs.items()):
        for axis, curve, style, label in (
            (left, "train_loss", "--", "training (augmented)"),
            (left, "valid_loss", "-", "validation"),
            (right, "valid_rate", "-", "a right candidate"),
            (right, "valid_top1", ":", "the expert's candidate"),
        ):
            known = [(x, y) for x, y in zip(curves["update"], curves[curve], strict=True) if y == y]
            axis.plot([x for x, _ in known], [y for _, y in known], f"C{i}{style}", linewidth=1.2, label=f"{name}, {label}")
    left.set(xlabel="update", ylabel="cross-entropy (nats)")
    right.set(xlabel="update", ylabel="share of validation samples", ylim=(0.0, 1.02))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
