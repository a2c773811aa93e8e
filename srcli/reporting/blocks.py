"""What a report is made of, independent of how it is shown: sections of prose, tables, charts, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with its interval: text in Markdown, text and a small bar on the page.

    Attributes:
        text: as printed, interval included.
        value, low, high: where dot and whiskers stand; None draws no bar.
        bounds: what the two ends of the bar stand for.
        zero: mark this position, for differences.
    """

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    bounds: tuple[float, float] = (0.0, 1.0)
    zero: bool = False


Cell = str | Measure
"""Text is shown as text; a drawing is markup (:class:`markupsafe.Markup`, which is text too)."""
RowKind = Literal["ours", "control", "theirs", "privileged", "group"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    ``control``: of an untrained network; ``theirs``: numbers that others published; ``group``: a heading over the lines below it.
    """

    cells: tuple[Cell, ...]
    kind: RowKind = "ours"


@dataclass(frozen=True, slots=True)
class Table:
    """A table; a cell of text may use the inline marks of :class:`Prose`.

    Attributes:
        left: how many columns, from the left, hold words; the others hold numbers.
    """

    caption: str
    headers: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    left: int = 1


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph with `code`, **strong** and _emphasis_."""

    text: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that cannot be built yet: what is missing and the command that makes it."""

    what: str
    command: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing that takes its colours from the page; a ``wide`` one has a line of its own."""

    svg: Markup
    caption: str
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """An image in the page: PNG, WebP or GIF bytes."""

    data: bytes
    alt: str
    caption: str = ""
    mime: str = "image/png"


@dataclass(frozen=True, slots=True)
class Panel:
    """One method in a case study.

    Attributes:
        good: how it ended; None when it did not run.
        facts: short lines under the title.
    """

    title: str
    verdict: str
    good: bool | None
    facts: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Panels side by side under one sentence."""

    title: str
    lead: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Cards:
    """The numbers that a reader looks for first: label, number, what stands under it."""

    cards: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks behind a line that opens them."""

    summary: str
    blocks: tuple[Block, ...]


Block = Prose | Table | Missing | Chart | Picture | Gallery | Cards | Folded


@dataclass(frozen=True, slots=True)
class Section:
    """One chapter; ``anchor`` names it in links."""

    anchor: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)

    @property
    def missing(self) -> tuple[Missing, ...]:
        """The gaps in this section."""
        return tuple(block for block in self.blocks if isinstance(block, Missing))


@dataclass(frozen=True, slots=True)
class Report:
    """The whole: a headline, one sentence or two under it, sections."""

    title: str
    headline: str
    sections: tuple[Section, ...]
