"""Training loss over updates (Fig. 8 of the paper) from the curves inside the policy files."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, isfinite

from srcli.reporting.blocks import Block, Chart, Missing, Row, Section, Table
from srcli.reporting.numbers import method_colour, method_name, method_rank
from srcli.reporting.sources import Sources, Trained
from srcli.reporting.svg import Axes, Series, line_chart

_SHOWN = ("sr", "sr_a")


def training(sources: Sources) -> Section:
    """SR-A against SR, every training seed; all trained files in a table."""
    own = [p for p in sources.policies if p.variant in _SHOWN and p.sparse == "relu2" and len(p.curves.get("update", ()))]
    blocks: list[Block] = []
    if {p.variant for p in own} == set(_SHOWN):
        chart = line_chart(*_lines(own), dots=False)
        updates = sorted({int(p.training.get("updates", 0)) for p in own})
        budget = f"{updates[0]} updates each" if len(updates) == 1 else f"budgets differ: {', '.join(map(str, updates))} updates"
        caption = (
            "Cross-entropy on the augmented training batches (dashed) and on the validation split (solid), SR-A against SR, "
            f"{budget}; thin lines are further training seeds."
        )
        blocks.append(Chart(chart, caption))
    else:
        blocks.append(
            Missing(
                "Policies of SR and of SR-A are both needed for the loss curves.",
                "srcli train FEATURES -S model.variant=sr_a --out results/train/sr_a.h5",
            )
        )
    if sources.policies:
        rows = tuple(_row(p) for p in sorted(sources.policies, key=lambda p: (method_rank(p.variant), p.sparse, p.seed)))
        headers = ("policy", "sparse branch", "training seed", "updates", "training loss", "validation loss", "valid choice %")
        blocks.append(
            Table(
                "**Trained policies**",
                headers,
                rows,
                "Losses in nats, at the end (training) and of the kept weights (validation).",
                left=2,
            )
        )
    return Section("training", "Training: SR-A against SR (Fig. 8)", tuple(blocks))


def _lines(policies: Sequence[Trained]) -> tuple[list[Series], Axes]:
    series: list[Series] = []
    first: set[str] = set()
    low, high, last = float("inf"), 0.0, 0.0
    for policy in sorted(policies, key=lambda p: (method_rank(p.variant), p.seed)):
        xs = policy.curves["update"]
        last = max(last, xs[-1])
        for curve, style, what in (("valid_loss", "solid", "validation"), ("train_loss", "dashed", "training")):
            points = [(x, y) for x, y in zip(xs, policy.curves.get(curve, ()), strict=False) if isfinite(y)]
            if not points:
                continue
            faint = " faint" if policy.variant in first else ""
            name = f"{method_name(policy.variant)}, {what}" + (", other seeds" if faint else "")
            ys = [y for _, y in points]
            low, high = min(low, *ys), max(high, *ys)
            series.append(Series(name, [x for x, _ in points], ys, method_colour(policy.variant), style=style + faint))
        first.add(policy.variant)
    bottom, top = floor(low * 5) / 5, ceil(high * 5) / 5
    step = 0.1 if top - bottom <= 0.8 else 0.2 if top - bottom <= 1.6 else 0.5
    ticks = [round(bottom + i * step, 2) for i in range(int((top - bottom) / step + 1e-6) + 1)]
    return series, Axes(
        "update", "cross-entropy (nats)", (0, last), (bottom, top), [round(last * i / 4) for i in range(5)], ticks
    )


def _row(policy: Trained) -> Row:
    metrics = policy.training.get("metrics") or {}
    loss = policy.curves.get("train_loss", ())
    valid, right = metrics.get("loss"), metrics.get("valid_rate")
    return Row(
        (
            method_name(policy.variant),
            policy.sparse if policy.variant == "sr" else "",
            str(policy.seed),
            str(policy.training.get("updates", "")),
            f"{loss[-1]:.3f}" if len(loss) else "",
            "" if valid is None else f"{valid:.3f}",
            "" if right is None else f"{100 * right:.1f}",
        )
    )
