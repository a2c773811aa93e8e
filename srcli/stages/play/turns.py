"""What one sentence of a session was, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srcli.evaluation.open_scene import Layout
    from srcli.tasks.outlines import Outline
    from srcli.types import F32


@dataclass(frozen=True)
class Act:
    """One decision of a turn, and its execution.

    Attributes:
        decision: as plain data.
        picture: file of it.
        happened: what was held or where it was put, in words.
        film: file of the arm at work; None where nothing was filmed.
        pose: (7,) of what was chosen, as a later look leaves it out.
    """

    decision: Mapping[str, Any]
    picture: Path
    happened: str
    pose: F32
    film: Path | None = None


@dataclass(frozen=True)
class Put:
    """What was put down, and how everything lay then.

    Attributes:
        slot: of what was put down.
        outlines: of what is in the zone, by slot.
        contacts: pairs of slots that touch.
    """

    slot: int
    outlines: Mapping[int, Outline]
    contacts: tuple[tuple[int, int], ...]


@dataclass
class Turn:
    """One sentence and what came of it.

    Attributes:
        layout: what lay where when it was said; None on recorded frames.
        placing: it asks to put something down, and the scene has a place for that.
        targets, references: slots of what is right to take, and of what it is right to be put at.
        relation, reference: the words for where, as they were read.
        counted_by: what says so: the sentence's words, or ``meant``; empty where nothing does.
        taken: slot of what was taken.
        put: what was put down.
        undone: taken back.
    """

    number: int
    sentence: str
    layout: Layout | None = None
    placing: bool = False
    acts: list[Act] = field(default_factory=list)
    targets: tuple[int, ...] = ()
    references: tuple[int, ...] = ()
    relation: str = ""
    reference: str = ""
    counted_by: str = ""
    taken: int | None = None
    put: Put | None = None
    undone: bool = False
