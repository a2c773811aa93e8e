"""Training loss over updates (Fig. 8 of the paper) from the curves inside the policy files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, floor, isfinite

from srcli.reporting.blocks import Block, Chart, Missing, Row, Section, Table
from srcli.reporting.naming import colours, default_family, default_method, rank
from srcli.reporting.published import SR_A_ROW, SR_ROW
from srcli.reporting.result_files import ResultFiles, Trained
from srcli.reporting.svg import Axes, Series, line_chart

SHOWN = (SR_ROW, SR_A_ROW)
Pair = Mapping[str, tuple[Trained, ...]]


def pairs(results: ResultFiles) -> tuple[Pair, ...]:
    """Policies by row of the paper, for each form of which SR and SR-A were both trained and kept their curves."""
    found: dict[str, dict[str, tuple[Trained, ...]]] = {}
    for method in dict.fromkeys(policy.method for policy in results.policies):
        own = tuple(p for p in results.fitted(method) if len(p.curves.get("update", ())) and len(p.curves.get("train_loss", ())))
        if own and own[0].named.paper_row in SHOWN:
            found.setdefault(own[0].named.family, {})[own[0].named.paper_row] = own
    complete = (family for family in found if set(found[family]) == set(SHOWN))
    return tuple(found[family] for family in sorted(complete, key=lambda family: (family != default_family(), family)))


def training(results: ResultFiles) -> Section:
    """SR-A against SR, every training seed; all trained files in a table. Without such policies: those that the ablation took of
    the package."""
    blocks: list[Block] = []
    found = pairs(results)
    origin = "" if found else " Policies of the package."
    for pair in found or pairs(replace(results, policies=results.packaged)):
        own = [policy for row in SHOWN for policy in pair[row]]
        chart = line_chart(*_lines(own), dots=False)
        updates = sorted({int(p.training.get("updates", 0)) for p in own})
        budget = f"{updates[0]} updates each" if len(updates) == 1 else f"budgets differ: {', '.join(map(str, updates))} updates"
        titles = " against ".join(pair[row][0].named.title for row in reversed(SHOWN))
        caption = (
            f"Cross-entropy on the augmented training batches (dashed) and on the validation split (solid), {titles}, "
            f"{budget}; thin lines are further training seeds.{origin}"
        )
        blocks.append(Chart(chart, caption))
    if not blocks:
        there = {policy.method for policy in results.policies}
        wanted = next((m for m in map(default_method, SHOWN) if m not in there), default_method(SR_A_ROW))
        command = f"srcli train FEATURES --method {wanted} --out results/train/{wanted}.h5"
        blocks.append(Missing("Policies of SR and of SR-A, both in one form, are needed for the loss curves.", command))
    if results.policies:
        rows = tuple(_row(p) for p in sorted(results.policies, key=lambda p: (rank(p.named), p.seed, p.name)))
        headers = ("policy", "settings", "training seed", "updates", "training loss", "validation loss", "valid choice %")
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
    colour = colours([policy.named for policy in policies])
    for policy in sorted(policies, key=lambda p: (rank(p.named), p.seed)):
        xs = policy.curves["update"]
        last = max(last, xs[-1])
        for curve, style, what in (("valid_loss", "solid", "validation"), ("train_loss", "dashed", "training")):
            points = [(x, y) for x, y in zip(xs, policy.curves.get(curve, ()), strict=False) if isfinite(y)]
            if not points:
                continue
            faint = " faint" if policy.method in first else ""
            name = f"{policy.named.title}, {what}" + (", other seeds" if faint else "")
            ys = [y for _, y in points]
            low, high = min(low, *ys), max(high, *ys)
            series.append(Series(name, [x for x, _ in points], ys, colour[policy.method], style=style + faint))
        first.add(policy.method)
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
            policy.named.title,
            "usual" if policy.usual else "changed",
            str(policy.seed),
            str(policy.training.get("updates", "")),
            f"{loss[-1]:.3f}" if len(loss) else "",
            "" if valid is None else f"{valid:.3f}",
            "" if right is None else f"{100 * right:.1f}",
        )
    )
