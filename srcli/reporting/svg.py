"""Small drawings as SVG. Colours are classes of the page's style, so that light and dark both read well.

A drawing is markup; every word in it is escaped here, where it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor

from markupsafe import Markup

from srcli.reporting.blocks import Measure
from srcli.reporting.style import METHOD_COLOURS

BAR_WIDTH, BAR_HEIGHT = 108, 14


def interval_bar(measure: Measure) -> Markup:
    """Dot and whisker on a thin axis; empty text when the measure has no value."""
    if measure.value is None or measure.low is None or measure.high is None:
        return Markup("")
    start, end = measure.bounds

    def x(value: float) -> float:
        share = (value - start) / (end - start)
        return 4.0 + (BAR_WIDTH - 8.0) * min(max(share, 0.0), 1.0)

    middle = BAR_HEIGHT / 2
    zero = f'<line class="zero" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="1" y2="{BAR_HEIGHT - 1}"/>' if measure.zero else ""
    return Markup(
        f'<svg class="bar" width="{BAR_WIDTH}" height="{BAR_HEIGHT}" viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" aria-hidden="true">'
        f'<line class="track" x1="4" x2="{BAR_WIDTH - 4}" y1="{middle}" y2="{middle}"/>{zero}'
        f'<line class="whisker" x1="{x(measure.low):.1f}" x2="{x(measure.high):.1f}" y1="{middle}" y2="{middle}"/>'
        f'<circle class="dot" cx="{x(measure.value):.1f}" cy="{middle}" r="3.4"/></svg>'
    )


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: values over x, with the ends of their intervals where there are any.

    Attributes:
        colour: index of the method colour.
        style: "solid", "dashed" or "faint".
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()
    style: str = "solid"


@dataclass(frozen=True, slots=True)
class Axes:
    """Titles and limits of a chart; ``x_ticks``, ``y_ticks`` are values, printed as they are."""

    x_title: str
    y_title: str
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]


def line_chart(series: Sequence[Series], axes: Axes, width: int = 560, height: int = 320, dots: bool = True) -> Markup:
    """Lines with interval bands and a legend."""
    left, right, top, bottom = 52, 14, 12, 42
    (x0, x1), (y0, y1) = axes.x_limits, axes.y_limits

    def px(x: float) -> float:
        return left + (x - x0) / ((x1 - x0) or 1.0) * (width - left - right)

    def py(y: float) -> float:
        return top + (y1 - min(max(y, y0), y1)) / ((y1 - y0) or 1.0) * (height - top - bottom)

    parts: list[str] = []
    for tick in axes.y_ticks:
        parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(tick):.1f}" y2="{py(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 7}" y="{py(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in axes.x_ticks:
        parts.append(f'<text class="tick" x="{px(tick):.1f}" y="{height - bottom + 17}" text-anchor="middle">{tick:g}</text>')
    middle = (left + width - right) / 2
    parts.append(f'<text class="axis" x="{middle:.0f}" y="{height - 6}" text-anchor="middle">{escape(axes.x_title)}</text>')
    side = (top + height - bottom) / 2
    parts.append(
        f'<text class="axis" transform="translate(13 {side:.0f}) rotate(-90)" text-anchor="middle">{escape(axes.y_title)}</text>'
    )
    for line in series:
        colour = f"c{line.colour % METHOD_COLOURS}"
        if len(line.lows) == len(line.xs) and len(line.xs) > 1:
            there = [f"{px(x):.1f},{py(v):.1f}" for x, v in zip(line.xs, line.highs, strict=True)]
            back = [f"{px(x):.1f},{py(v):.1f}" for x, v in zip(line.xs, line.lows, strict=True)][::-1]
            parts.append(f'<polygon class="band {colour}" points="{" ".join(there + back)}"/>')
        points = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in zip(line.xs, line.ys, strict=True))
        parts.append(f'<polyline class="line {colour} {line.style}" points="{points}"/>')
        if dots:
            for x, y in zip(line.xs, line.ys, strict=True):
                title = f"<title>{escape(line.name)}: {y:.3g} at {x:g}</title>"
                parts.append(f'<circle class="mark {colour}" cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.2">{title}</circle>')
    label = escape(f"{axes.y_title} over {axes.x_title}")
    drawing = (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{label}" '
        f'style="max-width:{width}px">{"".join(parts)}</svg>'
    )
    return Markup(legend([(line.name, f"c{line.colour % METHOD_COLOURS} {line.style}") for line in series]) + drawing)


@dataclass(frozen=True, slots=True)
class Dot:
    """A value with the ends of its interval; ``hollow`` draws a ring."""

    value: float
    low: float
    high: float
    colour: int
    hollow: bool = False


Line = tuple[str, Sequence[Sequence[Dot]]]
"""A label, and the dots of each column."""


def interval_chart(groups: Sequence[tuple[str, Sequence[Line]]], heads: Sequence[str], axis: str, width: int = 1040) -> Markup:
    """Values with intervals as a list of labelled lines under headings, side by side in columns that share one scale around zero.

    Args:
        groups: headings and the lines below them.
        heads: titles of the columns.
        axis: what the scale counts.
    """
    left = _room(label for _, lines in groups for label, _ in lines) + 14
    row, gap, top, bottom = 23, 56, 30, 46
    dots = [dot for _, lines in groups for _, columns in lines for column in columns for dot in column]
    low, high = min([0.0, *(d.low for d in dots)]), max([0.0, *(d.high for d in dots)])
    step = next(s for s in (1, 2, 5, 10, 20, 25, 50) if (high - low) / s <= 6 or s == 50)
    low, high = min(floor(low / step), -1) * step, max(ceil(high / step), 1) * step
    column = (width - left) / max(len(heads), 1)
    height = top + bottom + row * sum(len(lines) + 1 for _, lines in groups)

    def px(number: int, value: float) -> float:
        return left + number * column + gap / 2 + (value - low) / (high - low) * (column - gap)

    parts: list[str] = []
    for number, head in enumerate(heads):
        middle = (px(number, low) + px(number, high)) / 2
        parts.append(f'<text class="heading" x="{middle:.1f}" y="16" text-anchor="middle">{escape(head)}</text>')
        for tick in range(low, high + 1, step):
            x, kind = px(number, tick), "grid" if tick else "zero"
            parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{height - bottom}"/>')
            text = f"{tick:+d}" if tick else "0"
            parts.append(f'<text class="tick" x="{x:.1f}" y="{height - bottom + 17}" text-anchor="middle">{text}</text>')
        parts.append(f'<text class="axis" x="{middle:.1f}" y="{height - 8}" text-anchor="middle">{escape(axis)}</text>')
    y = float(top)
    for heading, lines in groups:
        parts.append(f'<text class="heading" x="4" y="{y + 15:.1f}">{escape(heading)}</text>')
        y += row
        for label, columns in lines:
            parts.append(f'<text class="label" x="16" y="{y + 15:.1f}">{escape(label)}</text>')
            for number, own in enumerate(columns):
                for place, dot in enumerate(own):
                    at = y + row / 2 + (place - (len(own) - 1) / 2) * 8
                    parts.append(_dot(dot, label, at, px(number, dot.low), px(number, dot.value), px(number, dot.high)))
            y += row
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(axis)}" '
        f'style="max-width:{width}px">{"".join(parts)}</svg>'
    )


def _dot(dot: Dot, label: str, y: float, low: float, middle: float, high: float) -> str:
    colour = f"c{dot.colour % METHOD_COLOURS}"
    title = f"<title>{escape(label)}: {dot.value:+.1f} [{dot.low:+.1f}, {dot.high:+.1f}]</title>"
    whisker = f'<line class="whisker {colour}" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    shape = "ring" if dot.hollow else "mark"
    return f'{whisker}<circle class="{shape} {colour}" cx="{middle:.1f}" cy="{y:.1f}" r="3.6">{title}</circle>'


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Coloured keys with names; the second part of an entry is the colour's classes."""
    seen = dict(entries)
    keys = (
        f'<span class="key"><svg width="18" height="10" aria-hidden="true">'
        f'<line class="line {classes}" x1="1" x2="17" y1="5" y2="5"/></svg>{escape(name)}</span>'
        for name, classes in seen.items()
    )
    return f'<div class="legend">{"".join(keys)}</div>'


def stacked_bars(groups: Sequence[tuple[str, int, Sequence[tuple[str, int]]]], width: int = 720) -> Markup:
    """Shares of a total as stacked horizontal bars.

    Args:
        groups: label, total, and (part, count) with counts summing to at most the total; a part's colour is the page's class
            ``r-<part>``.
    """
    left, row, right = _room(label for label, _, _ in groups), 26, 64
    longest = max((sum(c for _, c in parts) / max(total, 1) for _, total, parts in groups), default=1.0) or 1.0
    scale = (width - left - right) / longest
    out: list[str] = []
    for number, (label, total, parts) in enumerate(groups):
        y = number * row + 4
        out.append(f'<text class="label" x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        x = float(left)
        for name, count in parts:
            wide = count / max(total, 1) * scale
            title = f"{name.replace('_', ' ')}: {count} of {total} ({100 * count / max(total, 1):.1f}%)"
            out.append(
                f'<rect class="r-{escape(name)}" x="{x:.1f}" y="{y}" width="{max(wide - 1, 0.5):.1f}" height="18" rx="2">'
                f"<title>{escape(title)}</title></rect>"
            )
            if wide > 24:
                out.append(f'<text class="inside" x="{x + wide / 2:.1f}" y="{y + 13}" text-anchor="middle">{count}</text>')
            x += wide
        out.append(f'<text class="tick" x="{x + 6:.1f}" y="{y + 13}">of {total}</text>')
    height = len(groups) * row + 6
    keys = dict.fromkeys(name for _, _, parts in groups for name, _ in parts)
    names = "".join(f'<span class="key"><i class="swatch r-{escape(n)}"></i>{escape(n.replace("_", " "))}</span>' for n in keys)
    return Markup(
        f'<div class="legend">{names}</div><svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="failed attempts by reason" style="max-width:{width}px">{"".join(out)}</svg>'
    )


def _room(labels: Iterable[str]) -> int:
    """Pixels that labels need at the left of a drawing; wide letters of any system font fit."""
    return max(200, *(ceil(6.5 * len(label)) + 12 for label in labels), 0)


def strip(values: Sequence[tuple[int, int]]) -> Markup:
    """Cells of one row, each ``successes`` of ``total``, darker where more succeeded."""
    size, gap = 22, 2
    cells = []
    for i, (good, total) in enumerate(values):
        share = good / max(total, 1)
        tone = " dark" if share > 0.55 else ""
        cells.append(
            f'<rect class="cell" x="{i * (size + gap)}" y="0" width="{size}" height="{size}" rx="3" '
            f'fill-opacity="{0.06 + 0.9 * share:.2f}"><title>batch {i + 1}: {good} of {total}</title></rect>'
            f'<text class="in-cell{tone}" x="{i * (size + gap) + size / 2}" y="{size / 2 + 4}" text-anchor="middle">{good}</text>'
        )
    width = max(len(values) * (size + gap) - gap, 1)
    return Markup(
        f'<svg class="strip" viewBox="0 0 {width} {size}" width="{width}" height="{size}" role="img" '
        f'aria-label="successes per batch">{"".join(cells)}</svg>'
    )
